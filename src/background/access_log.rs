//! The access log: one JSON line an exchange, written off the shards.

use crate::{exchange::Summary, metrics::Metrics};
use crossbeam::queue::ArrayQueue;
use serde_json::{Map, Value, json};
use std::{
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    fs::{File, OpenOptions},
    io::AsyncWriteExt,
    sync::oneshot,
};

/// Lines that are written at once.
const BATCH_LINES: usize = 256;
/// How often the queue is looked at. Shards never wake anybody for a line: that cost a fifth of a request.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Lines on their way, from all shards.
pub type Lines = ArrayQueue<Box<Summary>>;

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    Off,
    Stdout,
    /// Appended to; created if missing.
    File(PathBuf),
}

/// Writes lines until `end` says that no more will come, and the queue is empty. An output that fails is
/// reported and its lines are counted as dropped: the log never holds requests up.
pub async fn write(lines: Arc<Lines>, output: Output, metrics: Arc<Metrics>, mut end: oneshot::Receiver<()>) {
    let Some(mut file) = open(&output).await else { return };
    let mut batch = Vec::with_capacity(BATCH_LINES);
    loop {
        let is_last = !matches!(end.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        batch.extend(std::iter::from_fn(|| lines.pop()).take(BATCH_LINES).map(|boxed| *boxed));
        match batch.len() {
            0 if is_last => return,
            0 => tokio::time::sleep(POLL_INTERVAL).await,
            _ => write_batch(&mut file, &mut batch, &metrics).await,
        }
    }
}

async fn open(output: &Output) -> Option<File> {
    let (opened, name) = match output {
        Output::Off => return None,
        // Not by its name: of a socket, which a service manager gives, there is nothing to open.
        Output::Stdout => {
            let own = std::io::stdout().as_fd().try_clone_to_owned();
            (own.map(|own| File::from_std(own.into())), Path::new("standard output"))
        }
        Output::File(path) => (OpenOptions::new().create(true).append(true).open(path).await, path.as_path()),
    };
    opened
        .inspect_err(|error| {
            tracing::error!(path = %name.display(), %error, "the access log cannot be opened");
        })
        .ok()
}

async fn write_batch(file: &mut File, batch: &mut Vec<Summary>, metrics: &Metrics) {
    let count = batch.len() as u64;
    let mut text = Vec::with_capacity(batch.len() * 512);
    for summary in batch.drain(..) {
        // A value whose keys are texts always serialises.
        let _ = serde_json::to_writer(&mut text, &line(&summary));
        text.push(b'\n');
    }
    if let Err(error) = write_all(file, &text).await {
        tracing::error!(%error, "the access log cannot be written; lines are dropped");
        metrics.log_lines_dropped.inc_by(count);
    }
}

async fn write_all(target: &mut File, text: &[u8]) -> std::io::Result<()> {
    target.write_all(text).await?;
    target.flush().await
}

/// One exchange as the log shows it. Members without a value are left out.
fn line(summary: &Summary) -> Value {
    let times = &summary.times;
    let principal = summary.principal.as_deref();
    let stages = [
        ("record", times.record),
        ("credential", times.credential),
        ("hold", times.hold),
        ("connect", times.connect),
        ("first_byte", times.first_byte),
        ("response", times.response),
    ];
    let stages: Map<String, Value> = stages
        .into_iter()
        .filter(|(_, time)| !time.is_zero())
        .map(|(name, time)| (name.to_owned(), micros(time)))
        .collect();
    let masks: Map<String, Value> =
        summary.masks.iter().map(|(name, count)| (name.to_string(), json!(count))).collect();
    let mut line = json!({
        "ts": summary.at.to_string(),
        "req": summary.id.to_string(),
        "session": summary.session,
        "peer": summary.peer.to_string(),
        "listener": summary.listener,
        "method": summary.method.as_ref().map_or("", |method| method.as_str()),
        "path": summary.path,
        "decision": summary.decision,
        "bytes_in": summary.bytes_in,
        "bytes_out": summary.bytes_out,
        "dur_us": micros(summary.duration),
        "overhead_us": micros(summary.overhead()),
        "stages_us": stages,
        "client_closed": summary.client_closed,
        "shard": summary.shard,
    });
    let optional = [
        ("via", summary.via.map(|via| json!(via.to_string()))),
        ("iss", principal.map(|principal| json!(principal.issuer))),
        ("sub", principal.map(|principal| json!(principal.subject))),
        ("groups", principal.map(|principal| json!(principal.groups))),
        ("purpose", principal.and_then(|principal| principal.purpose.as_ref()).map(|text| json!(text))),
        ("route", summary.route.as_ref().map(|name| json!(name))),
        ("upstream", summary.upstream.as_ref().map(|name| json!(name))),
        ("status", summary.status.map(|status| json!(status))),
        ("code", summary.code.map(|code| json!(code))),
        ("upstream_error", summary.upstream_error.as_ref().map(|why| json!(why))),
        ("policy", summary.policy.as_ref().map(|name| json!(name))),
        ("dry_run", (!summary.dry_runs.is_empty()).then(|| json!(summary.dry_runs))),
        ("masks", (!masks.is_empty()).then_some(Value::Object(masks))),
        ("audit_seq", summary.audit_sequence.map(|sequence| json!(sequence))),
    ];
    if let Value::Object(members) = &mut line {
        members.extend(
            optional.into_iter().filter_map(|(name, value)| value.map(|value| (name.to_owned(), value))),
        );
    }
    line
}

fn micros(time: Duration) -> Value {
    json!(time.as_micros() as u64)
}
