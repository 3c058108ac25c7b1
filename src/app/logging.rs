//! The process's own log: lines for operators on standard error (or where it is pointed), never a body and
//! never a secret. The access log is another thing (`background::access_log`).

use std::{io, sync::OnceLock};
use tracing_subscriber::{EnvFilter, Registry, fmt, layer::SubscriberExt, reload, util::SubscriberInitExt};

static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Begins to log at `level` (a level or a filter such as `info,ringward::shard=trace`) to `writer`. Only the
/// first call of a process has an effect.
pub fn init<W>(level: &str, color: bool, writer: W)
where
    W: for<'a> fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let (filter, handle) = reload::Layer::new(filter);
    let lines = fmt::layer().with_ansi(color).with_writer(writer).with_target(false);
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_ok() {
        let _ = FILTER.set(handle);
    }
}

/// Begins to log to standard error.
pub fn init_stderr(level: &str, color: bool) {
    init(level, color, io::stderr);
}

/// Changes what is logged while the process runs.
///
/// # Errors
/// What is wrong with the filter, in words.
pub fn set_level(level: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(level).map_err(|error| format!("{level:?} is no log filter: {error}"))?;
    let handle = FILTER.get().ok_or("logging was not started")?;
    handle.reload(filter).map_err(|error| error.to_string())
}
