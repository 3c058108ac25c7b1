//! `ringward run`.

use super::{ConfigFile, exit, output::Output};
use crate::app::{self, Ended, Options, Running, logging, service::Notifier};
use crate::config::{Severity, UNREADABLE_FILE};
use clap::Args;
use std::{sync::Arc, time::Duration};
use tokio::signal::unix::{SignalKind, signal};

/// Run the gateway in the foreground
///
/// SIGTERM and SIGINT drain it, a second one ends it at once; SIGHUP reads the configuration again.
/// Exit code 0: every exchange ran to its end. 1: it did not start. 3: the configuration is invalid.
/// 124: the drain timed out.
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(flatten)]
    file: ConfigFile,
    /// How long a stop waits for exchanges in flight, such as 30s [default: `runtime.drain`]
    #[arg(long, value_name = "TIME", value_parser = period)]
    drain: Option<Duration>,
}

fn period(text: &str) -> Result<Duration, String> {
    text.parse::<crate::config::Period>().map(|period| period.0).map_err(|error| error.to_string())
}

impl Command {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        logging::init_stderr(&output.log_level(), output.is_colored());
        let options = Options { author: author(), allow_dev: false };
        let notifier = match Notifier::of_process() {
            Ok(notifier) => Arc::new(notifier),
            Err(error) => {
                output.error(&error.to_string());
                return exit::FAILED;
            }
        };
        let running = match app::start(&self.file.path(), options) {
            Ok(running) => running,
            Err(app::Error::Config(found)) => {
                output.diagnostics(&found);
                // A file that is not there is a fault of the host, not of the configuration.
                let mut errors = found.iter().filter(|one| one.severity == Severity::Error);
                if errors.all(|one| one.code == UNREADABLE_FILE) {
                    output.error("a file that the configuration names cannot be read; nothing was started");
                    return exit::FAILED;
                }
                output.error("the configuration is invalid; nothing was started");
                return exit::CONFIG;
            }
            Err(error @ app::Error::DevIssuer) => {
                output.error(&error.to_string());
                return exit::CONFIG;
            }
            Err(error) => {
                output.error(&error.to_string());
                return exit::FAILED;
            }
        };
        for (name, address) in &running.addresses.listeners {
            tracing::info!(listener = %name, %address, "listening");
        }
        if let Some(address) = running.addresses.admin {
            tracing::info!(listener = %"admin", %address, "listening");
        }
        let drain = self.drain.unwrap_or_else(|| running.drain_time());
        running.watch(notifier.clone());
        match serve(&running, &notifier, || notifier.ready("serving")) {
            Ok(()) => {}
            Err(error) => output.error(&format!("signals cannot be watched: {error}")),
        }
        notifier.stopping();
        match running.stop(drain) {
            Ended::Drained => exit::OK,
            Ended::TimedOut => exit::DRAIN,
        }
    }
}

/// Reloads on request, until the process is told to stop. `ready` is called once signals are watched.
///
/// # Errors
/// Signals cannot be watched; the system is at fault.
pub(super) fn serve(running: &Running, notifier: &Notifier, ready: impl FnOnce()) -> std::io::Result<()> {
    running.background().block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut drain = std::pin::pin!(running.drain_requested());
        ready();
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                () = &mut drain => break,
                _ = hangup.recv() => {
                    notifier.reloading();
                    // What is wrong was logged, and the old configuration stays.
                    let reloaded = running.reload("signal:HUP").await;
                    notifier.ready(match reloaded {
                        Ok(_) => "serving",
                        Err(_) => "serving; the last reload was refused",
                    });
                }
            }
        }
        // Whoever asks twice does not want to wait.
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            std::process::exit(i32::from(exit::DRAIN));
        });
        Ok(())
    })
}

/// Who starts the process, for the record.
fn author() -> String {
    format!("local:{}", crate::runtime::sys::user_id())
}
