//! The command line: one definition, from which help, completions and man pages derive; one file a command.
//!
//! All text for people is written here and nothing is decided here. Start at [`Cli`]; exit codes are in
//! [`exit`].

mod admin_client;
mod approvals;
mod audit;
mod audit_credential;
mod audit_erase;
mod audit_follow;
mod audit_proof;
mod check;
mod completions;
mod config;
#[cfg(feature = "demo")]
mod demo;
mod env;
pub mod exit;
mod freeze;
mod grants;
mod healthcheck;
mod inert;
mod init;
mod kept_login;
mod login;
mod man;
mod mask;
mod notify;
mod output;
mod policy;
mod profile;
mod reindex;
mod reload;
mod run;
mod sessions;
mod status;
mod token;
mod tune;
mod version;

pub use profile::{Profile, runtime_profiles};

use clap::{Args, Parser, Subcommand};
use output::Output;
use std::path::PathBuf;
use std::process::ExitCode;

/// Layer-7 security gateway for AI agents: proves who calls, injects the real credential, blocks or holds
/// what is risky, masks what is sensitive, and records everything.
#[derive(Debug, Parser)]
#[command(name = "ringward", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
struct Global {
    /// Say less: only results and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Say more; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

/// Where the configuration is.
#[derive(Clone, Debug, Args)]
struct ConfigFile {
    /// Configuration file; - is standard input [default: ringward.toml here, else
    /// /etc/ringward/ringward.toml]
    #[arg(short, long, value_name = "FILE", env = "RINGWARD_CONFIG")]
    config: Option<PathBuf>,
}

impl ConfigFile {
    /// What was given, else the first default that exists, else the first default.
    fn path(&self) -> PathBuf {
        const DEFAULTS: [&str; 2] = ["ringward.toml", "/etc/ringward/ringward.toml"];
        let default = || DEFAULTS.iter().map(PathBuf::from).find(|path| path.exists());
        self.config.clone().or_else(default).unwrap_or_else(|| DEFAULTS[0].into())
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Command),
    #[cfg(feature = "demo")]
    Demo(demo::Command),
    Init(init::Command),
    Check(check::Command),
    Config(config::Command),
    Reload(reload::Command),
    Status(status::Command),
    Healthcheck(healthcheck::Command),
    Approvals(approvals::Command),
    Grants(grants::Command),
    Freeze(freeze::Freeze),
    Thaw(freeze::Thaw),
    Notify(notify::Command),
    Sessions(sessions::Command),
    Policy(policy::Command),
    Audit(audit::Command),
    Mask(mask::Command),
    Token(token::Command),
    Tune(tune::Command),
    Login(login::Login),
    Logout(login::Logout),
    Env(env::Command),
    Version(version::Command),
    Completions(completions::Command),
    Man(man::Command),
}

/// Runs the command of this process's arguments.
pub fn main() -> ExitCode {
    // The only other provider is none: this cannot fail twice.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing can be said about a terminal that is gone.
            let _ = error.print();
            let code = if error.use_stderr() { exit::USAGE } else { exit::OK };
            return ExitCode::from(code);
        }
    };
    let mut output = Output::new(cli.global.quiet, cli.global.verbose);
    let code = match cli.command {
        Command::Run(command) => command.run(&mut output),
        #[cfg(feature = "demo")]
        Command::Demo(command) => command.run(&mut output),
        Command::Init(command) => command.run(&mut output),
        Command::Check(command) => command.run(&mut output),
        Command::Config(command) => command.run(&mut output),
        Command::Reload(command) => command.run(&mut output),
        Command::Status(command) => command.run(&mut output),
        Command::Healthcheck(command) => command.run(&mut output),
        Command::Approvals(command) => command.run(&mut output),
        Command::Grants(command) => command.run(&mut output),
        Command::Freeze(command) => command.run(&mut output),
        Command::Thaw(command) => command.run(&mut output),
        Command::Notify(command) => command.run(&mut output),
        Command::Sessions(command) => command.run(&mut output),
        Command::Policy(command) => command.run(&mut output),
        Command::Audit(command) => command.run(&mut output),
        Command::Mask(command) => command.run(&mut output),
        Command::Token(command) => command.run(&mut output),
        Command::Tune(command) => command.run(&mut output),
        Command::Login(command) => command.run(&mut output),
        Command::Logout(command) => command.run(&mut output),
        Command::Env(command) => command.run(&mut output),
        Command::Version(command) => command.run(&mut output),
        Command::Completions(command) => command.run(&mut output),
        Command::Man(command) => command.run(&mut output),
    };
    ExitCode::from(code)
}

/// Runs a future on a runtime of its own, for commands that talk to somebody.
fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    // It fails only where the process may have no descriptor left, and then no command can work.
    runtime.expect("a runtime starts").block_on(future)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }
}
