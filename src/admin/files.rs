//! The files that may be changed while the gateway runs: `/api/v1/policies.d`, `connections.d` and
//! `connections`. Nothing else of the configuration is ever written.

use super::{
    access::Principal,
    editor::{ConfigFile, Connection, Edit, EditFault, Edited, Expected, Folder},
    endpoint::{Endpoint, delete, get, post, put},
    problem::{Problem, answer},
    routes::{Desk, Desked, finished, json_body, no_body},
};
use axum::{
    extract::{Extension, Path, Query, Request, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

type Answer = Result<Response, Problem>;
type Asked<T> = Result<Query<T>, QueryRejection>;

/// All files of a folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub(super) struct Listed {
    pub files: Vec<ConfigFile>,
}

/// The text of a file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    pub toml: String,
}

/// Whether anything is changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct How {
    /// Only check.
    pub dry_run: bool,
}

/// What is served here.
pub(super) fn endpoints() -> Vec<Endpoint> {
    let policies = of_folder(
        Folder::Policies,
        ["/api/v1/policies.d", "/api/v1/policies.d/{name}"],
        [
            "The files of policies.d",
            "A file of policies.d",
            "Writes a file of policies.d",
            "Removes a file of policies.d",
        ],
    );
    let connections = of_folder(
        Folder::Connections,
        ["/api/v1/connections.d", "/api/v1/connections.d/{name}"],
        [
            "The files of connections.d",
            "A file of connections.d",
            "Writes a file of connections.d",
            "Removes a file of connections.d",
        ],
    );
    let connect = post("/api/v1/connections", connect)
        .says("Writes the file of a new connection")
        .query::<How>()
        .body::<Connection>()
        .json_with::<Edited>(201)
        .json::<Edited>();
    policies.into_iter().chain(connections).chain([connect]).collect()
}

/// A folder and each of its files; what is said of them when they are listed, shown, written and removed.
fn of_folder(
    folder: Folder,
    [all, one]: [&'static str; 2],
    [lists, shows, writes, removes]: [&'static str; 4],
) -> [Endpoint; 4] {
    let put = put(one, move |desk, who, path, how, request| write(desk, who, folder, path, how, request));
    let remove = move |desk, who, path, how, request| remove(desk, who, folder, path, how, request);
    [
        get(all, move |desk| list(desk, folder)).says(lists).json::<Listed>(),
        get(one, move |desk, path| show(desk, folder, path)).says(shows).json::<ConfigFile>(),
        changed(put, writes).body::<Written>(),
        changed(delete(one, remove), removes),
    ]
}

/// What changes a file.
fn changed(endpoint: Endpoint, summary: &'static str) -> Endpoint {
    endpoint
        .says(summary)
        .query::<How>()
        .field("If-Match", "The ETag of the file as it was seen, or `*`; required where there is one.")
        .field("If-None-Match", "`*`: there is no such file yet.")
        .json::<Edited>()
        .json_with::<Edited>(201)
}

async fn list(State(desk): Desked, folder: Folder) -> Answer {
    let files = finished(async move { desk.control.editor().files(folder).await }).await??;
    Ok(answer(StatusCode::OK, &Listed { files }))
}

async fn show(State(desk): Desked, folder: Folder, Path(name): Path<String>) -> Answer {
    let file = finished(async move { desk.control.editor().file(folder, name).await }).await??;
    Ok(tagged(answer(StatusCode::OK, &file), Some(&file.digest)))
}

async fn write(
    State(desk): Desked,
    Extension(principal): Extension<Principal>,
    folder: Folder,
    Path(name): Path<String>,
    how: Asked<How>,
    request: Request,
) -> Answer {
    let (expected, dry_run) = (expected(request.headers())?, asked(how)?);
    let Written { toml } = json_body(&desk, request, "{\"toml\": \"[[policy]]…\"}").await?;
    edit(desk, principal, Edit { folder, name, text: Some(toml), expected, dry_run }).await
}

async fn remove(
    State(desk): Desked,
    Extension(principal): Extension<Principal>,
    folder: Folder,
    Path(name): Path<String>,
    how: Asked<How>,
    request: Request,
) -> Answer {
    let (expected, dry_run) = (expected(request.headers())?, asked(how)?);
    no_body(&desk, request).await?;
    edit(desk, principal, Edit { folder, name, text: None, expected, dry_run }).await
}

/// Writes the file of a new connection.
async fn connect(
    State(desk): Desked,
    Extension(principal): Extension<Principal>,
    how: Asked<How>,
    request: Request,
) -> Answer {
    let dry_run = asked(how)?;
    let example = "{\"name\": \"…\", \"url\": \"https://…\", \"identity\": [\"…\"], \"policies\": [\"…\"]}";
    let connection: Connection = json_body(&desk, request, example).await?;
    let text = desk.control.editor().connection(&connection)?;
    let (folder, expected) = (Folder::Connections, Expected::Absent);
    edit(desk, principal, Edit { folder, name: connection.name, text: Some(text), expected, dry_run }).await
}

async fn edit(desk: Arc<Desk>, principal: Principal, edit: Edit) -> Answer {
    let author = principal.name().to_owned();
    let edited = finished(async move { desk.control.editor().edit(author, edit).await }).await??;
    let is_new = edited.created && !edited.dry_run;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let digest = edited.digest.as_deref().filter(|_| !edited.dry_run);
    let mut response = tagged(answer(status, &edited), digest);
    let (folder, _) = edited.file.split_once('/').unwrap_or_default();
    // Names are lower-case letters, digits and `-`: always a header's value.
    let place = HeaderValue::try_from(format!("/api/v1/{folder}/{}", edited.name));
    if let (true, Ok(place)) = (is_new, place) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(response)
}

fn asked(how: Asked<How>) -> Result<bool, Problem> {
    let Query(How { dry_run }) = how.map_err(|_| Problem::malformed("want ?dry_run=true, or nothing"))?;
    Ok(dry_run)
}

/// With the entity tag of a file (RFC 9110 section 8.8.3).
fn tagged(mut response: Response, digest: Option<&str>) -> Response {
    // Hexadecimal digits in quotes are always a header's value.
    if let Some(Ok(tag)) = digest.map(|digest| HeaderValue::try_from(format!("\"{digest}\""))) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// What the sender expects the file to be (RFC 9110 section 13.1).
fn expected(headers: &HeaderMap) -> Result<Expected, Problem> {
    let joined = |name| {
        let mut values = headers.get_all(name).iter().peekable();
        values.peek()?;
        Some(values.map(|value| value.to_str().unwrap_or("?")).collect::<Vec<_>>().join(","))
    };
    match (joined(header::IF_MATCH), joined(header::IF_NONE_MATCH)) {
        (None, None) => Ok(Expected::Unsaid),
        (Some(tags), None) if tags.trim() == "*" => Ok(Expected::Present),
        (Some(tags), None) => {
            let tag = |tag: &str| Some(tag.trim().strip_prefix('"')?.strip_suffix('"')?.to_owned());
            let tags: Option<Vec<String>> = tags.split(',').map(tag).collect();
            tags.map(Expected::OneOf).ok_or_else(|| {
                Problem::malformed("If-Match takes `*`, or the ETag that a file was shown with")
            })
        }
        (None, Some(tags)) if tags.trim() == "*" => Ok(Expected::Absent),
        (None, Some(_)) => Err(Problem::malformed("If-None-Match takes `*`: there is no such file yet")),
        (Some(_), Some(_)) => Err(Problem::malformed("send If-Match or If-None-Match, not both")),
    }
}

impl From<EditFault> for Problem {
    fn from(fault: EditFault) -> Problem {
        let (status, code, message) = match fault {
            EditFault::Name(why) => (StatusCode::BAD_REQUEST, "name_invalid", why),
            EditFault::NotFound(why) => (StatusCode::NOT_FOUND, "not_found", why),
            EditFault::Invalid(why) => (StatusCode::UNPROCESSABLE_ENTITY, "request_invalid", why),
            EditFault::Unconditional(why) => {
                (StatusCode::PRECONDITION_REQUIRED, "precondition_required", why)
            }
            EditFault::Changed(why) => (StatusCode::PRECONDITION_FAILED, "precondition_failed", why),
            EditFault::Rejected { rejected, diff } => {
                return Problem::rejected(rejected).with("diff", diff.into());
            }
            EditFault::Failed(why) => (StatusCode::INTERNAL_SERVER_ERROR, "config_unwritable", why),
        };
        Problem::new(status, code, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preconditions_are_read_as_the_standard_writes_them() {
        let one = |tag: &str| Ok(Expected::OneOf(vec![tag.to_owned()]));
        type Case = (&'static [(&'static str, &'static str)], Result<Expected, ()>);
        let cases: [Case; 9] = [
            (&[], Ok(Expected::Unsaid)),
            (&[("if-match", "\"a\"")], one("a")),
            (&[("if-match", "\"a\" , \"b\"")], Ok(Expected::OneOf(vec!["a".into(), "b".into()]))),
            (&[("if-match", "*")], Ok(Expected::Present)),
            (&[("if-none-match", "*")], Ok(Expected::Absent)),
            (&[("if-match", "W/\"a\"")], Err(())),
            (&[("if-match", "a")], Err(())),
            (&[("if-none-match", "\"a\"")], Err(())),
            (&[("if-match", "\"a\""), ("if-none-match", "*")], Err(())),
        ];
        for (fields, wanted) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(expected(&headers).map_err(drop), wanted, "{fields:?}");
        }
    }
}
