//! The command line of a run, and what of it contradicts itself.

use crate::{
    auth::Auth,
    exit::Failure,
    expect::Expectations,
    limits,
    plan::{Profile, Timing},
    schedule::{Arrival, Rate},
    slo::Objectives,
    units,
};
use clap::{Args, ValueEnum};
use std::{path::PathBuf, time::Duration};

/// Send requests and measure the answers
///
/// The load is open: requests are sent when they are due, whether those before them were answered or not, and
/// a response lasts from then. So an answer that is late makes those late that wait behind it, as it does for
/// callers. `--closed` sends the next request when the last one is answered.
///
/// Exit codes: 0 done, 1 failed, 2 usage, 5 the target does not answer, 7 a threshold was missed.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Whom to send to: http or https; with the profile of a model's API its base address is enough
    pub url: String,

    /// Requests a second: 2000, or a ramp 100..5000/60s
    #[arg(long, value_name = "R", default_value = "100", value_parser = Rate::parse)]
    #[arg(help_heading = "Load")]
    pub rate: Rate,
    /// Each connection sends its next request when it has its answer
    #[arg(long, conflicts_with_all = ["rate", "arrival", "baseline"], help_heading = "Load")]
    pub closed: bool,
    /// Connections of a closed load
    #[arg(long, value_name = "N", requires = "closed", conflicts_with = "connections")]
    #[arg(help_heading = "Load")]
    pub concurrency: Option<usize>,
    /// How requests are spread at a rate
    #[arg(long, value_enum, default_value_t = Arrival::Constant, help_heading = "Load")]
    pub arrival: Arrival,
    /// How long, after the warm-up [default: 10s, or as long as the ramp]
    #[arg(long, value_name = "TIME", value_parser = units::duration, help_heading = "Load")]
    pub duration: Option<Duration>,
    /// Load before it that is not measured
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::duration)]
    #[arg(help_heading = "Load")]
    pub warmup: Duration,
    /// Connections, which are also the most requests in flight
    #[arg(long, value_name = "N", default_value_t = 64, help_heading = "Load")]
    pub connections: usize,
    /// A new connection for each request
    #[arg(long, help_heading = "Load")]
    pub no_keepalive: bool,
    /// Threads, each on a processor of its own
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Load")]
    pub cores: usize,
    /// What decides everything random: the same number, the same requests at the same times
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Load")]
    pub seed: u64,
    /// Longest time for one answer
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = units::duration)]
    #[arg(help_heading = "Load")]
    pub timeout: Duration,

    /// Version of HTTP
    #[arg(long, value_name = "VERSION", default_value = "1.1", value_parser = version)]
    #[arg(help_heading = "Requests")]
    pub http: String,
    /// Method; GET without a body, POST with one
    #[arg(long, value_name = "M", help_heading = "Requests")]
    pub method: Option<String>,
    /// A field, `NAME: VALUE` or `NAME: @FILE`; may be repeated
    #[arg(long, short = 'H', value_name = "FIELD", help_heading = "Requests")]
    pub header: Vec<String>,
    /// File with the body; - is standard input
    #[arg(long, value_name = "FILE", help_heading = "Requests")]
    pub body: Option<PathBuf>,
    /// What requests and answers are
    #[arg(long, value_enum, default_value_t = Profile::Raw, help_heading = "Requests")]
    pub profile: Profile,
    /// TOML file of weighted requests: [[request]] name, weight, method, path, headers, body, body_file,
    /// profile
    #[arg(long, value_name = "FILE", conflicts_with_all = ["replay", "body", "method", "profile"])]
    #[arg(help_heading = "Requests")]
    pub mix: Option<PathBuf>,
    /// Recorded requests, as `ringward sessions export ID --format jsonl` writes them
    #[arg(long, value_name = "FILE", conflicts_with_all = ["body", "method", "profile"])]
    #[arg(help_heading = "Requests")]
    pub replay: Option<PathBuf>,
    /// When recorded requests are sent
    #[arg(long, value_enum, default_value_t = Timing::Rate, requires = "replay")]
    #[arg(help_heading = "Requests")]
    pub timing: Timing,

    /// Who asks: none, token:@FILE, or oidc:NAME, a client of an issuer
    #[arg(long, value_name = "AUTH", default_value = "none", help_heading = "Trust")]
    pub auth: Auth,
    /// TOML file with a table [NAME]: token_endpoint, client_id, client_secret_file, scope, audience,
    /// resource; without it LOADTEST_OIDC_NAME_TOKEN_ENDPOINT and so on
    #[arg(long, value_name = "FILE", help_heading = "Trust")]
    pub oidc_config: Option<PathBuf>,
    /// Authority of the target's certificate, PEM; else those of the system
    #[arg(long, value_name = "FILE", conflicts_with = "insecure", help_heading = "Trust")]
    pub ca: Option<PathBuf>,
    /// Take any certificate
    #[arg(long, help_heading = "Trust")]
    pub insecure: bool,

    /// The same load beside it, without what is measured in between: what the gateway adds is the difference
    #[arg(long, value_name = "URL", help_heading = "Measures")]
    pub baseline: Option<String>,
    /// A field of requests to the baseline, as --header; --auth is not sent there
    #[arg(long, value_name = "FIELD", requires = "baseline", help_heading = "Measures")]
    pub baseline_header: Vec<String>,
    /// Time in each stage: from Server-Timing, or from a gateway's metrics at this URL or unix:PATH
    /// (else $RINGWARD_ADMIN)
    #[arg(long, value_name = "METRICS", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "", help_heading = "Measures")]
    pub stages: Option<String>,
    /// Shares or counts of answers by decision or status: 'block=5%±1% 2xx>94% 503=0'; what is named is no
    /// error
    #[arg(long, value_name = "SHARES", default_value = "", hide_default_value = true)]
    #[arg(help_heading = "Measures")]
    pub expect: Expectations,
    /// Promises: 'ttft<50ms overhead_p99<1ms errors<0.1%'; a time without _pN is its p99
    #[arg(long, value_name = "PROMISES", default_value = "", hide_default_value = true)]
    #[arg(help_heading = "Measures")]
    pub slo: Objectives,

    /// Write everything that was measured, for `compare` and `report`
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub out: Option<PathBuf>,
    /// Write the percentiles of the response, for HdrHistogram's plotter
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub hdr: Option<PathBuf>,
    /// Write a page with curves, which needs nothing else
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub plot: Option<PathBuf>,
    /// What is shown meanwhile, on standard error: auto is a display on a terminal and lines elsewhere
    #[arg(long, value_enum, default_value_t = Ui::Auto, help_heading = "Output")]
    pub ui: Ui,
    /// Print what --out writes instead of text
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// How long is measured where nothing says so.
const DURATION: Duration = Duration::from_secs(10);

/// What is shown while a run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ui {
    Auto,
    Tui,
    Plain,
    None,
}

fn version(text: &str) -> Result<String, String> {
    match text {
        "1.1" => Ok(text.to_owned()),
        "2" => Err("HTTP/2 is not spoken here yet: 1.1 is".to_owned()),
        _ => Err("1.1 is spoken here".to_owned()),
    }
}

impl Options {
    /// The fields of all requests.
    pub fn headers(&self) -> Vec<String> {
        self.header.clone()
    }

    /// Connections to one target.
    pub fn connections(&self) -> usize {
        self.concurrency.unwrap_or(self.connections)
    }

    /// How long is measured.
    pub fn duration(&self) -> Duration {
        let unsaid = if self.closed { Duration::ZERO } else { self.rate.over };
        self.duration.unwrap_or(if unsaid.is_zero() { DURATION } else { unsaid })
    }

    /// Whether requests go out as they were recorded.
    pub fn is_recorded(&self) -> bool {
        self.timing == Timing::Recorded
    }

    /// What clap cannot say.
    ///
    /// # Errors
    /// Exit code 2, with the option and what it may be.
    pub fn check(&self) -> Result<(), Failure> {
        let range = |option: &str, value: usize, most: usize| {
            if (1..=most).contains(&value) {
                return Ok(());
            }
            Err(Failure::usage(format!("--{option} {value}: write 1 to {most}")))
        };
        range("connections", self.connections(), limits::CONNECTIONS_MAX)?;
        range("cores", self.cores, limits::CORES_MAX)?;
        if self.cores > self.connections() {
            let (cores, connections) = (self.cores, self.connections());
            return Err(Failure::usage(format!(
                "--cores {cores}: each needs a connection, and there are {connections}: raise --connections"
            )));
        }
        if self.duration().is_zero() || self.duration() + self.warmup > limits::DURATION_MAX {
            return Err(Failure::usage("--duration: more than nothing, and 24h at most with the warm-up"));
        }
        if self.timeout.is_zero() {
            return Err(Failure::usage("--timeout: more than nothing"));
        }
        if self.closed && self.is_recorded() {
            return Err(Failure::usage("--closed: recorded times are an open load: leave one of both out"));
        }
        if self.slo.names("overhead") && self.baseline.is_none() {
            return Err(Failure::usage(
                "--slo: overhead is measured against --baseline URL: give that of what the gateway protects",
            ));
        }
        Ok(())
    }
}
