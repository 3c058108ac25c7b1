//! What is configured, without anything secret.

use super::super::{Core, control};
use crate::{
    admin::{
        Configured, ConfiguredFile, ConfiguredIdentities, ConfiguredIssuer, ConfiguredPolicies,
        ConfiguredPolicy, ConfiguredRoute, ConfiguredSecret, ConfiguredSecrets, PolicyUse,
    },
    config::{self, Document, Path, Record, Snapshot, Source, Step, Tree, tree},
    secrets::Template,
};
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What stands for that which is not shown.
const HIDDEN: &str = "(not shown)";

pub(super) fn configured(core: &Core) -> Configured {
    let snapshot = core.snapshot.load();
    let (document, tree) = (&snapshot.document, &snapshot.tree);
    let mut places = BTreeMap::new();
    written(tree, &tree.root, &mut Path::new(), &mut places);
    Configured {
        path: core.path.display().to_string(),
        generation: snapshot.plan.generation,
        loaded_at: core.loaded_at().to_string(),
        files: files(tree),
        config: shown(document),
        places,
        routes: (0..document.route.len()).map(|index| route(&snapshot, index)).collect(),
    }
}

/// SHA-256 in hexadecimal digits.
pub(super) fn hexadecimal(text: &str) -> String {
    digest(&SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn files(tree: &Tree) -> Vec<ConfiguredFile> {
    let file = |name: &str, text: &str| ConfiguredFile {
        name: name.to_owned(),
        bytes: text.len(),
        digest: hexadecimal(text),
    };
    let main = std::path::Path::new(&tree.file).file_name().and_then(|name| name.to_str());
    let main = file(main.unwrap_or(&tree.file), tree.main());
    let included = tree.included.iter().map(|one| file(&one.below, &tree.source[one.range.clone()]));
    std::iter::once(main).chain(included).collect()
}

/// The document as JSON, without what would give away more than how the gateway works.
fn shown(document: &Document) -> Value {
    // Tables with text keys always serialise.
    let mut config = serde_json::to_value(document).unwrap_or_default();
    let hide = |value: Option<&mut Value>| {
        if let Some(value) = value {
            *value = HIDDEN.into();
        }
    };
    for token in config.pointer_mut("/admin/token").and_then(Value::as_array_mut).into_iter().flatten() {
        hide(token.get_mut("hash"));
    }
    for mask in config["mask"].as_array_mut().into_iter().flatten() {
        mask["words"].as_array_mut().into_iter().flatten().for_each(|word| hide(Some(word)));
    }
    for secret in config["secrets"].as_object_mut().into_iter().flat_map(|all| all.values_mut()) {
        let command = secret.pointer_mut("/source/exec").and_then(Value::as_array_mut);
        command.into_iter().flatten().skip(1).for_each(|argument| hide(Some(argument)));
    }
    config
}

/// The place of each value that was written, by its JSON pointer.
fn written(tree: &Tree, node: &tree::Node, path: &mut Path, places: &mut BTreeMap<String, String>) {
    match &node.value {
        tree::Value::Table(entries) => {
            for entry in entries {
                path.push(Step::Key(entry.key.clone()));
                written(tree, &entry.node, path, places);
                path.pop();
            }
        }
        tree::Value::Array(items) if items.iter().any(|item| matches!(item.value, tree::Value::Table(_))) => {
            for (index, item) in items.iter().enumerate() {
                path.push(Step::Index(index));
                written(tree, item, path, places);
                path.pop();
            }
        }
        _ => {
            places.insert(pointer(path), tree.place_of(node));
        }
    }
}

fn pointer(path: &Path) -> String {
    let step = |step: &Step| match step {
        Step::Key(key) => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
        Step::Index(index) => format!("/{index}"),
    };
    path.iter().map(step).collect()
}

fn route(snapshot: &Snapshot, index: usize) -> ConfiguredRoute {
    let document = &snapshot.document;
    let written = &document.route[index];
    let upstream = document.upstreams.get(&written.upstream);
    let taken = &written.matching;
    ConfiguredRoute {
        name: written.name.clone(),
        place: place(snapshot, &["route".into(), index.into(), "name".into()]),
        listen: taken.listen.clone(),
        host: taken.host.clone(),
        methods: taken.method.clone(),
        path: taken.path.clone(),
        strip_prefix: taken.strip_prefix.clone(),
        identity: written.identity.clone(),
        upstream: written.upstream.clone(),
        url: upstream.map(|upstream| upstream.url.clone()).unwrap_or_default(),
        protocol: upstream.map(|upstream| word(&upstream.protocol)).unwrap_or_default(),
        secrets: upstream.map(secrets_of).unwrap_or_default(),
        policies: written.policies.clone(),
        masks: written.masks.clone(),
        recorded: written.record != Record::Off,
        max_body_bytes: written.max_body.0,
    }
}

fn place(snapshot: &Snapshot, path: &[Step]) -> String {
    snapshot.tree.place(path)
}

/// A value that is written as one word.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Names of the secrets that an upstream's requests get.
fn secrets_of(upstream: &config::Upstream) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let injected = upstream.inject.iter().filter_map(|inject| Template::parse(&inject.value).ok());
    let proxied = upstream.via_authorization.iter().filter_map(|one| one.template().ok());
    for template in injected.chain(proxied) {
        names.extend(template.names().map(|name| name.to_string()));
    }
    names.sort_unstable();
    names.dedup();
    names
}

pub(super) fn policies(core: &Core) -> ConfiguredPolicies {
    let snapshot = core.snapshot.load();
    let document = &snapshot.document;
    let policy = |(index, policy): (usize, &config::Policy)| {
        let uses = document.route.iter().filter_map(|route| {
            let position = route.policies.iter().position(|name| *name == policy.name)?;
            Some(PolicyUse { route: route.name.clone(), position })
        });
        let place = place(&snapshot, &["policy".into(), index.into(), "name".into()]);
        let (file, line) = place.rsplit_once(':').unwrap_or((&place, "0"));
        ConfiguredPolicy {
            name: policy.name.clone(),
            file: file.to_owned(),
            line: line.parse().unwrap_or(0),
            place: place.clone(),
            action: word(&policy.action),
            reason: policy.reason.clone(),
            next: policy.next.clone(),
            dry_run: policy.dry_run,
            when: json!(policy.when),
            approval: json!(policy.approval),
            routes: uses.collect(),
            decisions: core.metrics.policy_decisions(&policy.name),
        }
    };
    ConfiguredPolicies {
        generation: snapshot.plan.generation,
        policies: document.policy.iter().enumerate().map(policy).collect(),
    }
}

pub(super) fn identities(core: &Core) -> ConfiguredIdentities {
    let snapshot = core.snapshot.load();
    let document = &snapshot.document;
    let status = control::issuers(core, &snapshot);
    let issuer = |(index, written): (usize, &config::Identity)| {
        let now = status.iter().find(|one| one.name == written.name);
        let routes = document.route.iter().filter(|route| route.identity.contains(&written.name));
        ConfiguredIssuer {
            name: written.name.clone(),
            place: place(&snapshot, &["identity".into(), index.into(), "name".into()]),
            issuer: written.issuer.clone(),
            audience: written.audience.clone(),
            algorithms: written.algorithms.clone(),
            ready: now.is_some_and(|now| now.ready),
            keys: now.map_or(0, |now| now.keys),
            age_s: now.and_then(|now| now.age_s),
            last_error: now.and_then(|now| now.last_error.clone()),
            routes: routes.map(|route| route.name.clone()).collect(),
        }
    };
    ConfiguredIdentities { issuers: document.identity.iter().enumerate().map(issuer).collect() }
}

pub(super) fn secrets(core: &Core) -> ConfiguredSecrets {
    let snapshot = core.snapshot.load();
    let document = &snapshot.document;
    let status = control::secrets(&snapshot);
    let secret = |(name, written): (&String, &config::Secret)| {
        let now = status.iter().find(|one| one.name == *name);
        let (kind, source) = source(&written.source);
        let users = document.upstreams.iter().filter(|(_, upstream)| secrets_of(upstream).contains(name));
        let is_fetched = matches!(written.source, Source::Exchange(_));
        ConfiguredSecret {
            name: name.clone(),
            place: place(&snapshot, &["secrets".into(), name.into()]),
            kind: kind.to_owned(),
            source,
            age_s: now.and_then(|now| now.age_s),
            healthy: is_fetched || now.is_some_and(|now| now.age_s.is_some()),
            last_error: now.and_then(|now| now.last_error.clone()),
            upstreams: users.map(|(upstream, _)| upstream.clone()).collect(),
        }
    };
    ConfiguredSecrets { secrets: document.secrets.iter().map(secret).collect() }
}

/// The kind of a source, and where it is; never an argument of a command.
fn source(source: &Source) -> (&'static str, String) {
    match source {
        Source::Env { env } => ("env", format!("env {env}")),
        Source::File { file } => ("file", format!("file {}", file.display())),
        Source::Credential { credential } => ("credential", format!("credential {credential}")),
        Source::Exec { exec } => ("exec", format!("exec {}", exec.first().map_or("", String::as_str))),
        Source::Exchange(exchange) => ("exchange", format!("exchange {}", exchange.token_endpoint)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Text;

    const SOURCE: &str = r#"version = 1
[[listen]]
name = "main"
addr = "127.0.0.1:0"
[[admin.token]]
name = "auditor"
role = "auditor"
hash = "sha256:00112233"
[secrets.key]
source = { exec = ["/usr/bin/pass", "show", "llm-password"] }
[upstreams.up]
url = "http://127.0.0.1:1"
[[route]]
name = "up"
match = { listen = "main" }
identity = []
upstream = "up"
policies = ["default"]
masks = ["projects"]
[[policy]]
name = "default"
action = "allow"
[[mask]]
name = "projects"
kind = "literals"
words = ["Project Falcon"]
"#;

    #[test]
    fn what_would_give_more_away_than_how_it_works_is_not_shown() {
        let loaded = config::load(&Text::new("dir/ringward.toml", "dir", SOURCE)).unwrap();
        let shown = shown(&loaded.document);
        let text = shown.to_string();
        for hidden in ["00112233", "\"show\"", "llm-password", "Falcon"] {
            assert!(!text.contains(hidden), "{hidden}: {text}");
        }
        assert_eq!(shown["secrets"]["key"]["source"]["exec"][0], "/usr/bin/pass");
        assert_eq!(shown["mask"][0]["words"], json!([HIDDEN]));
        assert_eq!(shown["admin"]["token"][0]["hash"], HIDDEN);
        assert_eq!(shown["runtime"]["cores"], "auto", "defaults are there");
        let exec = &loaded.document.secrets["key"].source;
        assert_eq!(source(exec), ("exec", "exec /usr/bin/pass".to_owned()));
    }

    #[test]
    fn values_are_placed_by_their_pointers() {
        let loaded = config::load(&Text::new("dir/ringward.toml", "dir", SOURCE)).unwrap();
        let mut places = BTreeMap::new();
        written(&loaded.tree, &loaded.tree.root, &mut Path::new(), &mut places);
        let place = |pointer: &str| places.get(pointer).map(String::as_str);
        assert_eq!(place("/listen/0/addr"), Some("ringward.toml:4"));
        assert_eq!(place("/upstreams/up/url"), Some("ringward.toml:12"));
        assert_eq!(place("/route/0/policies"), Some("ringward.toml:18"));
        assert_eq!(place("/route/0/max_body"), None, "a default has no place");
        let path: Path = vec!["a/b".into(), "c~d".into(), 3.into()];
        assert_eq!(pointer(&path), "/a~1b/c~0d/3");
    }
}
