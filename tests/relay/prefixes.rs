//! What becomes of a path on its way: the route's prefix is taken off, the upstream's own is put in front.

use super::harness::{Setup, Upstream};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// What upstream gets for each target that is asked for.
#[track_caller]
fn check(prefix: Option<&str>, pattern: &str, upstream_path: &str, cases: &[(&str, &str)]) {
    let upstream = Upstream::bind();
    let strip = prefix.map_or_else(String::new, |prefix| format!(", strip_prefix = \"{prefix}\""));
    let setup = Setup::to_url(&format!("http://{}{upstream_path}", upstream.address));
    let matching = format!("match = {{ path = \"{pattern}\"{strip} }}");
    let text = setup.text().replace("match = { listen = \"in\" }", &matching);
    let dir = tempfile::tempdir().unwrap();
    let gateway = setup.start_text_in(&text, dir);
    let mut client = gateway.connect();
    let mut served = None;
    for (asked, expected) in cases {
        client.send(format!("GET {asked} HTTP/1.1\r\nhost: a\r\n\r\n"));
        let served = served.get_or_insert_with(|| upstream.accept());
        let request = served.request();
        assert_eq!(request.head.start, format!("GET {expected} HTTP/1.1"), "{asked} below {upstream_path:?}");
        served.send(OK);
        assert_eq!(client.response().status(), 200);
    }
    drop(client);
    gateway.stop(cases.len() as u64, 0);
}

#[test]
fn the_prefix_of_the_route_is_taken_off_in_whole_segments() {
    check(
        Some("/openai"),
        "/openai/**",
        "",
        &[
            ("/openai/v1/models", "/v1/models"),
            ("/openai", "/"),
            ("/openai/", "/"),
            ("/openai?a=b", "/?a=b"),
            ("/openai/?a=/openai/b", "/?a=/openai/b"),
            ("/openai/v1/", "/v1/"),
            ("/openai//v1///models", "/v1/models"),
            ("/openai/openai/v1", "/openai/v1"),
            ("/openai/./v1/../v2", "/v2"),
            ("/x/../openai/v1", "/v1"),
            // The same characters, escaped.
            ("/%6fpenai/v1", "/v1"),
            ("/openai/%76%31", "/v1"),
            // What must stay escaped stays so.
            ("/openai/a%20b", "/a%20b"),
            ("/openai/a%3fb", "/a%3Fb"),
            ("/openai/caf%c3%a9", "/caf%C3%A9"),
            ("/openai/a;b=c", "/a;b=c"),
        ],
    );
}

#[test]
fn a_prefix_means_the_same_however_it_is_written() {
    for prefix in ["/openai/", "/open%61i", "/x/../openai"] {
        check(Some(prefix), "/openai/**", "", &[("/openai/v1", "/v1"), ("/openai", "/")]);
    }
    let cases = [("/caf%C3%A9/v1", "/v1"), ("/caf%c3%a9", "/")];
    check(Some("/caf%c3%a9"), "/caf%c3%a9/**", "", &cases);
}

#[test]
fn the_upstreams_own_prefix_is_put_in_front() {
    for upstream_path in ["/base", "/base/"] {
        let cases = [
            ("/openai/v1", "/base/v1"),
            ("/openai", "/base/"),
            ("/openai/", "/base/"),
            ("/openai?a=b", "/base/?a=b"),
        ];
        check(Some("/openai"), "/openai/**", upstream_path, &cases);
    }
    check(
        None,
        "/**",
        "/base/v2",
        &[("/", "/base/v2/"), ("/x", "/base/v2/x"), ("/a/../x?y", "/base/v2/x?y")],
    );
    check(None, "/**", "/", &[("/", "/"), ("/x/", "/x/")]);
}

#[test]
fn a_path_that_only_begins_alike_is_not_below_the_prefix() {
    let upstream = Upstream::bind();
    let setup = Setup::to(upstream.address);
    let matching = "match = { path = \"/openai/**\", strip_prefix = \"/openai\" }";
    let text = setup.text().replace("match = { listen = \"in\" }", matching);
    let gateway = setup.start_text_in(&text, tempfile::tempdir().unwrap());
    let asked = ["/openaix/v1", "/openai%20/v1", "/openai;a=b/v1", "/OpenAI/v1", "/openai/../v1", "/"];
    for path in asked {
        let mut client = gateway.ask(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
        client.response().is_refusal(404, "no_route", "No route");
    }
    upstream.is_left_alone();
    gateway.stop(0, asked.len() as u64);
}
