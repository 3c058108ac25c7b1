//! The configuration of the demo, as text: what a person would write, and what `--keep` leaves.

use super::issuer::{CONSOLE_CLIENT, CUSTOMERS_AUDIENCE, GATEWAY_AUDIENCE, GATEWAY_CLIENT};
use std::net::SocketAddr;

const TEMPLATE: &str = include_str!("settings.toml");
const ROUTES: &str = include_str!("routes.toml");
/// Stands for the issuer in a configuration that was kept: `check` refuses it until somebody writes theirs.
const NO_ISSUER: &str = "EDIT-ME";

/// Where everything is that the configuration names.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub issuer: String,
    pub anthropic: SocketAddr,
    pub openai: SocketAddr,
    pub customers: SocketAddr,
    pub warehouse: SocketAddr,
    pub recorder: SocketAddr,
    /// Shards.
    pub cores: usize,
    /// User who may approve, over the admin socket.
    pub approver_uid: u32,
}

impl Settings {
    /// What the demo runs.
    pub(super) fn running(&self) -> String {
        let head = "# The configuration of a running `ringward demo`. Ports are chosen at start.\n";
        format!("{head}{}", self.fill(&self.issuer, "dev = true\n", ["0"; 5]))
    }

    /// What stays of it: fixed ports, and no issuer that anybody could get a token from.
    pub(super) fn kept(&self) -> String {
        let head = "# Left by `ringward demo --keep`. Before it runs, it needs your issuer (write it for \
                    EDIT-ME),\n# your upstreams, and their credentials in secrets/. `ringward check -c` \
                    says what is missing.\n";
        format!("{head}{}", self.fill(NO_ISSUER, "", ["8080", "8443", "8081", "8444", "9464"]))
    }

    fn fill(&self, issuer: &str, dev: &str, ports: [&str; 5]) -> String {
        let routes = [("agents", ""), ("agents-tls", "-tls")]
            .map(|(listener, suffix)| ROUTES.replace("@LISTENER@", listener).replace("@SUFFIX@", suffix));
        let [plain, tls, open, admin, metrics] = ports;
        let values = [
            ("@ROUTES@\n", routes.concat()),
            ("@DEV@\n", dev.to_owned()),
            ("@ISSUER@", issuer.to_owned()),
            ("@GATEWAY_AUDIENCE@", GATEWAY_AUDIENCE.to_owned()),
            ("@CUSTOMERS_AUDIENCE@", CUSTOMERS_AUDIENCE.to_owned()),
            ("@GATEWAY_CLIENT@", GATEWAY_CLIENT.to_owned()),
            ("@CONSOLE_CLIENT@", CONSOLE_CLIENT.to_owned()),
            ("@ANTHROPIC@", self.anthropic.to_string()),
            ("@OPENAI@", self.openai.to_string()),
            ("@CUSTOMERS@", self.customers.to_string()),
            ("@WAREHOUSE@", self.warehouse.to_string()),
            ("@RECORDER@", self.recorder.to_string()),
            ("@CORES@", self.cores.to_string()),
            ("@UID@", self.approver_uid.to_string()),
            ("@PLAIN_PORT@", plain.to_owned()),
            ("@TLS_PORT@", tls.to_owned()),
            ("@OPEN_PORT@", open.to_owned()),
            ("@ADMIN_PORT@", admin.to_owned()),
            ("@METRICS_PORT@", metrics.to_owned()),
        ];
        values.iter().fold(TEMPLATE.to_owned(), |text, (name, value)| text.replace(name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Diagnostic, Severity, Text};

    fn settings() -> Settings {
        let address: SocketAddr = "127.0.0.1:4000".parse().unwrap();
        Settings {
            issuer: "http://127.0.0.1:4001".into(),
            anthropic: address,
            openai: address,
            customers: address,
            warehouse: address,
            recorder: address,
            cores: 1,
            approver_uid: 1000,
        }
    }

    fn found(source: String) -> Vec<Diagnostic> {
        let text = Text::new("ringward.toml", ".", source);
        match config::load(&text) {
            Ok(loaded) => loaded.diagnostics,
            Err(diagnostics) => diagnostics,
        }
    }

    #[test]
    fn what_runs_is_sound_but_for_the_open_listener() {
        let found = found(settings().running());
        let codes: Vec<_> = found.iter().map(|one| (one.severity, one.code)).collect();
        assert_eq!(codes, [(Severity::Warning, "no-identity")], "{found:?}");
    }

    #[test]
    fn what_is_kept_names_no_issuer_and_is_refused() {
        let kept = settings().kept();
        assert!(!kept.contains("127.0.0.1:4001") && !kept.contains("dev = true") && !kept.contains('@'));
        let found = found(kept);
        assert!(found.iter().any(|one| one.severity == Severity::Error && one.message.contains("EDIT-ME")));
    }
}
