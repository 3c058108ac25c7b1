//! What the process lets its operators see and do: the one door between this module and the rest.

use super::{
    Consistency, Credential, DeviceLogin, Editor, ErasedBodies, Events, LogFolder, LoginRules, NotLoggedIn,
    NotifyTarget, NotifyTried, Person, Readiness, Redemption, SignInPlace, Status, Unproven,
};
use crate::{
    approval,
    archive::{self, Archive},
    audit::StatedKey,
    metrics::Scrape,
    time::Timestamp,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{future::Future, pin::Pin, sync::Arc};

/// The running gateway, as its operators see it. `app` implements it.
///
/// The plain methods are called on the admin thread for each request that needs them: they read what is
/// published and never block. `author` is who asks, such as `local:1000`, for the log and the audit record.
pub trait Control: Send + Sync + 'static {
    /// Everything that `/api/v1/status` shows. Never a secret's value, not in an error text either.
    fn status(&self) -> Status;

    /// Values that exist only at the time of a scrape.
    fn scrape(&self) -> Scrape {
        self.status().scrape()
    }

    /// Whether requests would be served now, and if not, what is missing.
    fn readiness(&self) -> Readiness {
        self.status().readiness()
    }

    /// Reads the configuration again and swaps it in. The future is driven to its end even if the client that
    /// asked has gone; two of them may be under way, and the implementation puts them in a row.
    ///
    /// # Errors
    /// The configuration is bad (operator): the old one stays.
    fn reload(&self, author: String) -> Work<'_, Result<Reloaded, Rejected>>;

    /// Reads and checks the configuration as [`Control::reload`] would, and changes nothing.
    ///
    /// # Errors
    /// The configuration is bad (operator).
    fn check(&self) -> Work<'_, Result<(), Rejected>>;

    /// The tokens of the admin port that are in force. Read for each request, so that one that was taken away
    /// opens nothing any more.
    fn credentials(&self) -> Arc<[Credential]>;

    /// How people log in; `None`: they do not. Read for each request, as [`Control::credentials`].
    fn login(&self) -> Option<Arc<LoginRules>>;

    /// Where the issuer takes those who log in.
    ///
    /// # Errors
    /// [`NotLoggedIn::Unavailable`].
    fn sign_in_place(&self) -> Work<'_, Result<SignInPlace, NotLoggedIn>>;

    /// Who it is that the issuer has sent back, by its ID token.
    ///
    /// # Errors
    /// [`NotLoggedIn`].
    fn redeem(&self, redemption: Redemption) -> Work<'_, Result<Person, NotLoggedIn>>;

    /// Begins a login on another device.
    ///
    /// # Errors
    /// [`NotLoggedIn`]; the issuer may not know this way.
    fn begin_device(&self) -> Work<'_, Result<DeviceLogin, NotLoggedIn>>;

    /// Who has logged in on the device; `None`: nobody has yet.
    ///
    /// # Errors
    /// [`NotLoggedIn`].
    fn ask_device(&self, device_code: String) -> Work<'_, Result<Option<Person>, NotLoggedIn>>;

    /// Records what somebody did here, in the background.
    fn record_action(&self, author: &str, action: &str, object: &str);

    /// The time, for what ends.
    fn now(&self) -> Timestamp;

    /// Where the segments of the log are.
    fn log(&self) -> LogFolder;

    /// The statements of the log's keys in their order.
    ///
    /// # Errors
    /// [`Unproven::Failed`] (operator).
    fn stated_keys(&self) -> Work<'_, Result<Vec<StatedKey>, Unproven>>;

    /// The newest checkpoint of the log, as a signed note; `None` until this process has signed one. Each
    /// covers more than the one before it.
    fn checkpoint(&self) -> Option<Arc<str>>;

    /// The proof that a record is in the log (c2sp.org/tlog-proof).
    ///
    /// # Errors
    /// [`Unproven`]: no checkpoint covers it yet (caller), or the log cannot be read (operator).
    fn prove(&self, record: u64) -> Work<'_, Result<String, Unproven>>;

    /// That the first `from` records are the beginning of the first `to`, or of the newest checkpoint.
    ///
    /// # Errors
    /// [`Unproven`] as for [`Control::prove`].
    fn consistency(&self, from: u64, to: Option<u64>) -> Work<'_, Result<Consistency, Unproven>>;

    /// Has the key of the log sign a new one, which signs from then on; gives its public half.
    ///
    /// # Errors
    /// [`Unproven::Failed`] (operator).
    fn rotate_key(&self, author: String) -> Work<'_, Result<String, Unproven>>;

    /// Takes the bodies of `subject` out of the log, of tokens of one issuer or of all; with `dry_run` only
    /// counts the exchanges.
    ///
    /// # Errors
    /// [`Unproven::Failed`] (operator).
    fn erase(
        &self,
        author: String,
        subject: String,
        issuer: Option<String>,
        dry_run: bool,
    ) -> Work<'_, Result<ErasedBodies, Unproven>>;

    /// Begins to drain: no new connections, the process ends when the open ones are through. A second call
    /// changes nothing.
    fn drain(&self, author: &str);

    /// Sets what is logged: a level such as `debug`, or a filter such as `info,ringward::shard=trace`.
    ///
    /// # Errors
    /// What is wrong with the filter, in words (operator): the old one stays.
    fn set_log_level(&self, author: &str, level: &str) -> Result<(), String>;

    /// Carries out what is ordered about held requests, grants and stops.
    ///
    /// # Errors
    /// [`approval::Fault`].
    fn approvals(&self, order: approval::Order) -> Work<'_, Result<approval::Answered, approval::Fault>>;

    /// Who is told of what waits for people.
    fn notify_targets(&self) -> Vec<NotifyTarget>;

    /// Sends a test to one of them, and records that `author` did; `None`: there is none of this name.
    fn test_notify(&self, author: String, name: String) -> Work<'_, Option<NotifyTried>>;

    /// The configuration, to be seen, changed and tried.
    fn editor(&self) -> &dyn Editor;

    /// What happens to held requests.
    fn events(&self) -> Arc<Events>;

    /// The recordings, and the last record that they must hold by now. Opens them at the first use, and
    /// blocks meanwhile: never called on the admin thread itself.
    ///
    /// # Errors
    /// They cannot be opened.
    fn archive(&self) -> Result<(Arc<Archive>, u64), archive::Error>;

    /// Records that `author` reads `object`, durably. Blocks.
    ///
    /// # Errors
    /// It is not recorded, and why: then it is not read.
    fn record_read(&self, author: &str, action: &str, object: &str) -> Result<(), String>;
}

/// A future that the admin thread drives.
pub type Work<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A new configuration is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reloaded {
    /// Generation of the configuration; each reload adds 1.
    pub generation: u64,
}

/// Why a configuration was not taken.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rejected {
    /// One line for people, such as `ringward.toml has 2 errors`.
    pub message: String,
    /// The findings as `ringward check` prints them, without colour.
    pub text: String,
    /// The findings as `ringward check --format json` lists them.
    pub diagnostics: Vec<serde_json::Value>,
}
