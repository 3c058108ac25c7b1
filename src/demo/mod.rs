//! The demo: an embedded dev issuer, embedded upstreams, and the gateway before them, on loopback, without a
//! network or a configuration file.
//!
//! It is no part of the data plane, and nothing of it runs in a gateway that was started otherwise. What it
//! says on a terminal is written in `cli`.
//!
//! ```text
//!  caller ──► gateway ──► anthropic, openai, warehouse   (injected key)
//!    │           │  └───► customers                      (token exchanged for this request)
//!    │           └──────► recorder                       (listener `open`: no identity)
//!    └─ token ─ issuer ◄─ exchange, revocation ─ gateway
//!  people ──► admin port of the gateway ─ sign-in page ─► issuer
//! ```
//!
//! Start at [`start`]; `settings.toml` is what the gateway runs, `world` starts what is around it.

mod certificates;
mod directory;
mod issuer;
mod recorder;
mod serve;
mod settings;
mod stream;
mod upstream;
mod world;

use crate::app::{self, Ended, Running};
use crate::runtime;
use directory::Directory;
use issuer::key::random_text;
use issuer::{AGENT_CLIENT, GATEWAY_AUDIENCE};
use serde::Serialize;
use settings::Settings;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;
use world::World;

/// Shards of the demo's gateway, if there are as many cores.
const CORES_MAX: usize = 2;
/// The configuration, in the demo's directory.
const CONFIG: &str = "ringward.toml";
/// The log, in the demo's directory.
const LOG: &str = "ringward.log";
/// Password of the agent's client, in the demo's directory.
const AGENT_SECRET: &str = "secrets/agent-client.key";

/// Why the demo does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system gives no port, no directory, no thread.
    #[error("cannot set the demo up: {0}")]
    Host(#[from] std::io::Error),
    /// No random bytes for a key.
    #[error("the system gives no random bytes")]
    Random(#[from] aws_lc_rs::error::Unspecified),
    /// The issuer.
    #[error(transparent)]
    Issuer(#[from] issuer::Error),
    /// The certificates.
    #[error("no certificate could be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The gateway.
    #[error(transparent)]
    Gateway(#[from] app::Error),
}

/// Where everything is, once it serves.
#[derive(Clone, Debug, Serialize)]
pub struct Ready {
    /// The gateway, in clear text.
    pub gateway: String,
    /// The same over TLS.
    pub gateway_tls: String,
    /// Authority that signed its certificate.
    pub ca: PathBuf,
    /// Listener that takes any host and path without identity and forwards to the recorder.
    pub open: String,
    /// Admin interface.
    pub admin: String,
    /// The same, for a browser: people log in there with the dev issuer.
    pub ui: String,
    /// Admin socket of the command line.
    pub admin_socket: PathBuf,
    /// Where Prometheus reads.
    pub metrics: String,
    /// The dev issuer.
    pub issuer: String,
    /// A token of the agent's client, good for an hour.
    pub token: String,
    /// The agent's client at the issuer.
    pub client_id: &'static str,
    /// File with its password.
    pub client_secret_file: PathBuf,
    /// Audience that its tokens have.
    pub audience: &'static str,
    /// Segments and checkpoints.
    pub audit_dir: PathBuf,
    /// What the gateway runs.
    pub config: PathBuf,
    /// Below the gateway's address.
    pub routes: Routes,
    /// What is not said on standard output.
    pub log: PathBuf,
}

/// Paths of the upstreams at the gateway; those of the language models are what an SDK takes as base address.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Routes {
    pub anthropic: &'static str,
    pub openai: &'static str,
    pub customers: &'static str,
    pub warehouse: &'static str,
}

impl Routes {
    /// As `routes.toml` lays them.
    pub const ALL: Routes = Routes {
        anthropic: "/anthropic",
        openai: "/openai/v1",
        customers: "/customers",
        warehouse: "/warehouse",
    };
}

/// A running demo.
pub struct Demo {
    pub ready: Ready,
    pub gateway: Running,
    settings: Settings,
    world: World,
    directory: Directory,
}

/// How a demo is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether configuration and audit log stay when it ends.
    pub keep: bool,
    /// What is written to the log: a level or a filter.
    pub log_level: String,
}

/// Starts everything; when it returns, everything serves.
///
/// # Errors
/// See [`Error`]; nothing is left running.
pub fn start(options: &Options) -> Result<Demo, Error> {
    let directory = Directory::create(&random_text()?, options.keep)?;
    let world = World::start()?;
    let settings = settings(&world);
    let ca = write_files(&world, &directory)?;
    let config = directory.write(CONFIG, &settings.running())?;
    let log = directory.write(LOG, "")?;
    app::logging::init(&options.log_level, false, File::options().append(true).open(&log)?);
    let options = app::Options { author: "demo".to_owned(), allow_dev: true };
    let gateway = app::start(&config, options)?;
    let address = |name: &str| {
        let listener = gateway.addresses.listeners.iter().find(|(known, _)| **known == *name);
        listener.map(|(_, address)| *address)
    };
    let ready = Ready {
        gateway: url("http", address("agents")),
        gateway_tls: url("https", address("agents-tls")),
        ca,
        open: url("http", address("open")),
        admin: url("http", gateway.addresses.admin),
        ui: url("http", gateway.addresses.admin) + "/",
        admin_socket: gateway.addresses.admin_socket.clone(),
        metrics: url("http", gateway.addresses.metrics) + "/metrics",
        issuer: world.issuer.url().to_owned(),
        token: world.issuer.agent_token()?,
        client_id: AGENT_CLIENT,
        client_secret_file: directory.path().join(AGENT_SECRET),
        audience: GATEWAY_AUDIENCE,
        audit_dir: gateway.addresses.audit_dir.clone(),
        config,
        routes: Routes::ALL,
        log,
    };
    Ok(Demo { ready, gateway, settings, world, directory })
}

/// The configuration names all listeners, so there is an address for each.
fn url(scheme: &str, address: Option<SocketAddr>) -> String {
    address.map(|address| format!("{scheme}://{address}")).unwrap_or_default()
}

fn settings(world: &World) -> Settings {
    let cores = thread::available_parallelism().map_or(1, usize::from).min(CORES_MAX);
    let addresses = world.addresses;
    Settings {
        issuer: world.issuer.url().to_owned(),
        anthropic: addresses.anthropic,
        openai: addresses.openai,
        customers: addresses.customers,
        warehouse: addresses.warehouse,
        recorder: addresses.recorder,
        cores,
        approver_uid: runtime::sys::user_id(),
    }
}

/// Everything that the configuration names; where the authority's certificate is.
fn write_files(world: &World, directory: &Directory) -> Result<PathBuf, Error> {
    let certificates = certificates::make()?;
    directory.write("cert.pem", &certificates.certificate)?;
    directory.write("key.pem", &certificates.key)?;
    directory.write("secrets/anthropic.key", &world.keys.anthropic)?;
    directory.write("secrets/openai.key", &world.keys.openai)?;
    directory.write("secrets/warehouse.key", &world.keys.warehouse)?;
    directory.write("secrets/gateway-client.key", world.gateway_secret())?;
    directory.write(AGENT_SECRET, world.agent_secret())?;
    Ok(directory.write("ca.pem", &certificates.authority)?)
}

impl Demo {
    /// Drains the gateway for at most `drain`, then ends everything and removes what is not kept.
    ///
    /// # Errors
    /// What was to be kept could not be written.
    pub fn stop(self, drain: Duration) -> Result<Ended, Error> {
        let ended = self.gateway.stop(drain);
        drop(self.world);
        // The keys of servers that are gone are worth nothing, and what is left must not work as it is.
        for name in ["secrets", "cert.pem", "key.pem", "ca.pem", "admin.sock"] {
            self.directory.remove(name);
        }
        self.directory.write(CONFIG, &self.settings.kept())?;
        Ok(ended)
    }

    /// The directory that everything is in.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}
