use super::*;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Nothing here takes this long; it bounds tests that hang.
const DEADLINE: Duration = Duration::from_secs(20);

fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(DEADLINE, future).await.expect("in time") })
}

async fn recorder() -> SocketAddr {
    serve(crate::demo::serve::bind().await.unwrap()).unwrap()
}

/// Sends all pieces on one connection, then says that no more comes; everything that was answered.
async fn talk(recorder: SocketAddr, pieces: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(recorder).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in pieces {
        stream.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    stream.shutdown().await.unwrap();
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).await.unwrap();
    String::from_utf8(answers).unwrap()
}

/// What was recorded, as text.
async fn recorded(recorder: SocketAddr) -> Vec<String> {
    let answer = talk(recorder, &[b"GET /recorded HTTP/1.1\r\nHost: x\r\n\r\n"]).await;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let list: Vec<String> = serde_json::from_str(body).unwrap();
    list.iter().map(|text| String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()).collect()
}

#[test]
fn requests_are_answered_and_recorded_as_they_came() {
    let check = |request: &'static str, answers: usize| {
        run(async move {
            let recorder = recorder().await;
            let answered = talk(recorder, &[request.as_bytes()]).await;
            assert_eq!(answered.matches("HTTP/1.1 200 OK\r\n").count(), answers, "{request:?}: {answered:?}");
            assert_eq!(recorded(recorder).await, [request]);
            // One byte at a time.
            talk(recorder, &[b"DELETE /recorded HTTP/1.1\r\n\r\n"]).await;
            let bytes: Vec<&[u8]> = request.as_bytes().chunks(1).collect();
            assert_eq!(talk(recorder, &bytes).await, answered);
            assert_eq!(recorded(recorder).await, [request]);
        });
    };
    check("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1);
    check("GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n", 2);
    check("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /recorded/x HTTP/1.1\r\n\r\n", 2);
    check("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nT: v\r\n\r\n", 1);
    check("GET / HTTP/1.0\r\n\r\nGET / HTTP/1.1\r\n\r\n".split_once("GET / HTTP/1.1").unwrap().0, 1);
    // What is incomplete is recorded and not answered.
    check("GET / HTTP/1.1\r\nHost", 0);
    check("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab", 0);
    check("GET /record", 0);
    // What is no HTTP is recorded to its end.
    check("\u{16}\u{3}\u{1} hello\nworld\r\n\r\nGET / HTTP/1.1\r\n\r\n", 0);
    check("POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\nabc", 0);
    check("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nGET / HTTP/1.1\r\n\r\n", 0);
}

#[test]
fn controls_are_not_recorded_wherever_they_stand() {
    run(async {
        let recorder = recorder().await;
        let get = "GET /recorded HTTP/1.1\r\nHost: x\r\n\r\n";
        let pipelined =
            format!("POST /1 HTTP/1.1\r\nContent-Length: 1\r\n\r\na{get}GET /2 HTTP/1.1\r\n\r\n{get}");
        let answered = talk(recorder, &[pipelined.as_bytes()]).await;
        assert_eq!(answered.matches("HTTP/1.1 200 OK").count(), 4);
        let expected = "POST /1 HTTP/1.1\r\nContent-Length: 1\r\n\r\naGET /2 HTTP/1.1\r\n\r\n";
        assert_eq!(recorded(recorder).await, [expected]);
        talk(recorder, &[b"GET /3 HTTP/1.1\r\n\r\n"]).await;
        assert_eq!(recorded(recorder).await, [expected, "GET /3 HTTP/1.1\r\n\r\n"]);
        let body = b"DELETE /recorded HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody";
        assert!(talk(recorder, &[body]).await.ends_with("\r\n\r\n[]"));
        assert!(recorded(recorder).await.is_empty());
    });
}

#[test]
fn a_kept_connection_is_one_recording_and_head_gets_no_body() {
    run(async {
        let recorder = recorder().await;
        let head = "HEAD / HTTP/1.1\r\n\r\n";
        let answered = talk(recorder, &[head.as_bytes(), head.as_bytes()]).await;
        assert!(answered.ends_with("Content-Length: 9\r\n\r\n") && !answered.contains("recorded"));
        assert_eq!(recorded(recorder).await, [format!("{head}{head}")]);
        let expect = "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na";
        assert!(talk(recorder, &[expect.as_bytes()]).await.starts_with("HTTP/1.1 100 Continue\r\n\r\n"));
    });
}
