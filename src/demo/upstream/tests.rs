use super::people::PEOPLE;
use super::*;
use crate::background::client::client;
use crate::demo::issuer::DevIssuer;
use crate::demo::serve::{bind, serve};
use serde_json::{Value, json};

const KEY: &str = "dev-key-of-this-test";

fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

async fn start(router: Router) -> String {
    format!("http://{}", serve(bind().await.unwrap(), router).unwrap())
}

/// An answer: status, content type, body.
async fn ask(url: String, header: (&str, &str), body: Option<Value>) -> (u16, String, String) {
    let http = client(None).unwrap();
    let request = match body {
        Some(body) => http.post(url).json(&body),
        None => http.get(url),
    };
    let answer = request.header(header.0, header.1).send().await.unwrap();
    let kind = answer.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
    (answer.status().as_u16(), kind.unwrap_or_default(), answer.text().await.unwrap())
}

/// The data of each event, checked to be a well-formed stream; `named` where each has its type as a name.
fn events(stream: &str, named: bool) -> Vec<Value> {
    let blocks = stream.strip_suffix("\n\n").unwrap().split("\n\n").filter(|block| *block != "data: [DONE]");
    let parse = |block: &str| {
        let (name, data) = match block.strip_prefix("event: ") {
            Some(block) => block.split_once('\n').map(|(name, data)| (Some(name), data)).unwrap(),
            None => (None, block),
        };
        let event: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(name, named.then(|| event["type"].as_str().unwrap()));
        event
    };
    blocks.map(parse).collect()
}

/// Texts that a mask must find lie across several pieces, and the pieces make the whole.
fn check_pieces(pieces: &[&str], whole: &str) {
    assert_eq!(pieces.concat(), whole);
    for secret in [PEOPLE[0].email, PEOPLE[0].card, "Project Falcon"] {
        assert!(whole.contains(secret));
        assert!(!pieces.iter().any(|piece| piece.contains(secret)));
    }
}

fn texts<'a>(values: impl Iterator<Item = &'a Value>) -> Vec<&'a str> {
    values.filter_map(Value::as_str).collect()
}

#[test]
fn anthropic_answers_whole_and_streamed() {
    run(async {
        let base = start(anthropic(KEY)).await;
        let key = ("x-api-key", KEY);
        let mut request = json!({
            "model": "claude-x", "max_tokens": 100, "messages": [{"role": "user", "content": [
                {"type": "text", "text": "Hello, use save_note"}]}],
            "tools": [{"name": "save_note", "input_schema": {"type": "object"}}],
        });
        let (status, _, body) = ask(format!("{base}/v1/messages"), key, Some(request.clone())).await;
        let message: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &message["stop_reason"]), (200, &json!("tool_use")));
        assert_eq!(message["model"], "claude-x");
        let whole = message["content"][0]["text"].as_str().unwrap();
        assert!(whole.ends_with("You wrote: Hello, use save_note"));

        request["stream"] = true.into();
        let (status, kind, body) = ask(format!("{base}/v1/messages?beta=true"), key, Some(request)).await;
        assert_eq!((status, kind.as_str()), (200, "text/event-stream; charset=utf-8"));
        let events = events(&body, true);
        let mut kinds: Vec<&str> = texts(events.iter().map(|event| &event["type"]));
        kinds.dedup();
        let block = ["content_block_start", "content_block_delta", "content_block_stop"];
        let first = ["message_start", "content_block_start", "ping"];
        let last = ["message_delta", "message_stop"];
        assert_eq!(kinds, [&first[..], &block[1..], &block[..], &last[..]].concat());
        assert!(events[0]["message"]["usage"]["input_tokens"].as_u64() > Some(0));
        check_pieces(&texts(events.iter().map(|event| &event["delta"]["text"])), whole);
        let input = texts(events.iter().map(|event| &event["delta"]["partial_json"])).concat();
        assert_eq!(serde_json::from_str::<Value>(&input).unwrap(), message["content"][1]["input"]);
    });
}

#[test]
fn anthropic_has_models_and_counts_tokens() {
    run(async {
        let base = start(anthropic(KEY)).await;
        let get = async |path: &str| ask(format!("{base}{path}"), ("x-api-key", KEY), None).await;
        let (status, _, body) = get("/v1/models?limit=1000").await;
        let list: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &list["has_more"]), (200, &json!(false)));
        let first = list["data"][0]["id"].as_str().unwrap();
        assert_eq!(get(&format!("/v1/models/{first}")).await.0, 200);
        assert_eq!(get("/v1/models/none").await.0, 404);
        assert_eq!(get("/v1/files").await.0, 404);
        let count = json!({"model": "m", "messages": []});
        let url = format!("{base}/v1/messages/count_tokens");
        let (status, _, body) = ask(url, ("x-api-key", KEY), Some(count)).await;
        assert!(status == 200 && body.contains("input_tokens"));
        for broken in [json!({}), json!({"model": "m", "messages": []}), json!(7)] {
            let (status, _, body) =
                ask(format!("{base}/v1/messages"), ("x-api-key", KEY), Some(broken)).await;
            assert!(status == 400 && body.contains("invalid_request_error"));
        }
    });
}

#[test]
fn openai_answers_whole_and_streamed() {
    run(async {
        let base = start(openai(KEY)).await;
        let bearer = format!("Bearer {KEY}");
        let post = async |path: &str, body: &Value| {
            ask(format!("{base}{path}"), ("authorization", &bearer), Some(body.clone())).await
        };
        let mut request = json!({
            "model": "gpt-x", "messages": [{"role": "user", "content": "Hello, use note"}],
            "tools": [{"type": "function", "function": {"name": "note"}}],
        });
        let whole: Value = serde_json::from_str(&post("/v1/chat/completions", &request).await.2).unwrap();
        let message = &whole["choices"][0]["message"];
        assert_eq!(whole["choices"][0]["finish_reason"], "tool_calls");

        request["stream"] = true.into();
        let plain = post("/v1/chat/completions", &request).await.2;
        assert!(events(&plain, false).iter().all(|chunk| chunk.get("usage").is_none()));
        request["stream_options"] = json!({"include_usage": true});
        let stream = post("/v1/chat/completions", &request).await.2;
        assert!(stream.ends_with("\n\ndata: [DONE]\n\n"));
        let chunks = events(&stream, false);
        let (last, earlier) = chunks.split_last().unwrap();
        assert!(last["choices"] == json!([]) && last["usage"]["total_tokens"].as_u64() > Some(0));
        assert!(earlier.iter().all(|chunk| chunk["usage"].is_null()));
        let delta = |chunk: &'_ Value| chunk["choices"][0]["delta"].clone();
        let deltas: Vec<Value> = earlier.iter().map(delta).collect();
        let contents = texts(deltas.iter().map(|delta| &delta["content"]));
        check_pieces(&contents, message["content"].as_str().unwrap());
        let arguments = deltas.iter().map(|delta| &delta["tool_calls"][0]["function"]["arguments"]);
        assert_eq!(texts(arguments).concat(), message["tool_calls"][0]["function"]["arguments"]);
    });
}

#[test]
fn openai_responses_repeat_their_text_at_the_end() {
    run(async {
        let base = start(openai(KEY)).await;
        let bearer = format!("Bearer {KEY}");
        let url = format!("{base}/v1/responses");
        let request = json!({"model": "gpt-x", "input": "Hello", "stream": true});
        let stream = ask(url, ("authorization", &bearer), Some(request)).await.2;
        let events = events(&stream, true);
        let done = events.last().unwrap();
        assert_eq!(done["type"], "response.completed");
        let whole = done["response"]["output"][0]["content"][0]["text"].as_str().unwrap();
        check_pieces(&texts(events.iter().map(|event| &event["delta"])), whole);
        let numbers: Vec<u64> =
            events.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
    });
}

#[test]
fn nobody_gets_in_without_the_injected_key() {
    run(async {
        let (anthropic, openai) = (start(anthropic(KEY)).await, start(openai(KEY)).await);
        let warehouse = start(warehouse(KEY)).await;
        for header in [("x-api-key", "another"), ("authorization", "Bearer dev-key-of-this-test ")] {
            let (status, _, body) = ask(format!("{anthropic}/v1/models"), header, None).await;
            assert!(status == 401 && body.contains("authentication_error"), "{body}");
        }
        for header in [("x-api-key", KEY), ("authorization", KEY)] {
            let (status, _, body) = ask(format!("{openai}/v1/models"), header, None).await;
            assert!(status == 401 && body.contains("invalid_api_key"), "{body}");
            let body = Some(json!({"sql": "SELECT 1"}));
            assert_eq!(ask(format!("{warehouse}/warehouse/query"), header, body).await.0, 401);
        }
        let bearer = format!("Bearer {KEY}");
        let query = Some(json!({"sql": "SELECT 1"}));
        let rows = ask(format!("{warehouse}/warehouse/query"), ("authorization", &bearer), query).await;
        assert!(rows.0 == 200 && rows.2.contains(PEOPLE[0].email));
    });
}

#[test]
fn customers_are_shown_for_exchanged_tokens_only() {
    run(async {
        let listener = bind().await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let issuer = Arc::new(DevIssuer::new(url.clone()).unwrap());
        serve(listener, issuer.clone().router()).unwrap();
        let base = start(customers(issuer.clone())).await;
        let http = client(None).unwrap();

        let agent = issuer.agent_token().unwrap();
        let exchange = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", &agent),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
            ("audience", "customers"),
        ];
        let secret = issuer.client_secret("ringward").unwrap();
        let endpoint = http.post(format!("{url}/token")).basic_auth("ringward", Some(secret));
        let answer: Value = endpoint.form(&exchange).send().await.unwrap().json().await.unwrap();
        let exchanged = answer["access_token"].as_str().unwrap();

        let status = async |method: reqwest::Method, path: &str, token: &str| {
            let request = http.request(method, format!("{base}{path}")).bearer_auth(token);
            request.send().await.unwrap().status().as_u16()
        };
        let (get, delete) = (reqwest::Method::GET, reqwest::Method::DELETE);
        assert_eq!(status(get.clone(), "/customers", &agent).await, 401);
        assert_eq!(http.get(format!("{base}/customers")).send().await.unwrap().status(), 401);
        assert_eq!(status(get.clone(), "/customers/c-1002", exchanged).await, 200);
        assert_eq!(status(get.clone(), "/customers/c-9", exchanged).await, 404);
        assert_eq!(status(delete.clone(), "/customers/c-1002", &agent).await, 401);
        assert_eq!(status(delete.clone(), "/customers/c-1002", exchanged).await, 204);
        assert_eq!(status(delete, "/customers/c-1002", exchanged).await, 404);
        let bearer = format!("Bearer {exchanged}");
        let list = ask(format!("{base}/customers"), ("authorization", &bearer), None).await.2;
        assert!(list.contains(PEOPLE[0].card) && !list.contains(PEOPLE[1].email));

        let end = [("token", exchanged)];
        let endpoint = http.post(format!("{url}/revoke")).basic_auth("ringward", Some(secret));
        assert_eq!(endpoint.form(&end).send().await.unwrap().status(), 200);
        assert_eq!(status(get, "/customers", exchanged).await, 401);
    });
}
