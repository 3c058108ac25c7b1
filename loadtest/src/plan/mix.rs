//! A file of requests with weights.

use super::{Order, Plan, Profile, Request, field, fields, method, read_body};
use crate::{exit::Failure, limits, options::Options};
use serde::Deserialize;
use std::{
    fs,
    path::{Path, PathBuf},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mix {
    request: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default = "one")]
    weight: f64,
    method: Option<String>,
    path: Option<String>,
    #[serde(default)]
    headers: Vec<String>,
    body: Option<String>,
    body_file: Option<PathBuf>,
    #[serde(default)]
    profile: Profile,
}

fn one() -> f64 {
    1.0
}

/// Reads the file; paths in it start from its directory.
pub(super) fn load(path: &Path, options: &Options) -> Result<Plan, Failure> {
    let wrong = |what: String| Failure::usage(format!("--mix {}: {what}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let mix: Mix = toml::from_str(&text).map_err(|error| wrong(error.to_string().trim_end().to_owned()))?;
    if mix.request.is_empty() || mix.request.len() > limits::MIX_MAX {
        return Err(wrong(format!("it has to have 1 to {} [[request]] tables", limits::MIX_MAX)));
    }
    let directory = path.parent().unwrap_or(Path::new("."));
    let (mut requests, mut sums, mut sum) = (vec![], vec![], 0.0);
    for entry in mix.request {
        let in_entry = |what: String| wrong(format!("request `{}`: {what}", entry.name));
        if !(entry.weight > 0.0 && entry.weight.is_finite()) {
            return Err(in_entry("its weight has to be a number above 0".to_owned()));
        }
        sum += entry.weight;
        sums.push(sum);
        requests.push(request(&entry, directory, options).map_err(|failure| in_entry(failure.message))?);
    }
    Ok(Plan { requests, order: Order::Weighted(sums), times: None, notes: vec![] })
}

fn request(entry: &Entry, directory: &Path, options: &Options) -> Result<Request, Failure> {
    let body = match (&entry.body, &entry.body_file) {
        (Some(_), Some(_)) => return Err(Failure::usage("give `body` or `body_file`, not both")),
        (Some(text), None) => text.clone().into_bytes().into(),
        (None, Some(file)) => read_body(&directory.join(file))?,
        (None, None) => entry.profile.body(),
    };
    if let Some(path) = &entry.path
        && !(path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        return Err(Failure::usage("its path has to begin with `/` and to be printable ASCII"));
    }
    // Fields of the command line are everybody's; those of the entry win.
    let mut fields = fields(entry.profile, &options.headers())?;
    for line in &entry.headers {
        let own = field(line)?;
        fields.retain(|(name, _)| !name.eq_ignore_ascii_case(&own.0));
        fields.push(own);
    }
    Ok(Request {
        name: entry.name.clone(),
        method: method(entry.method.as_deref(), entry.profile, !body.is_empty())?,
        path: entry.path.clone().or((entry.profile != Profile::Raw).then(|| entry.profile.path().to_owned())),
        fields,
        body,
        profile: entry.profile,
    })
}
