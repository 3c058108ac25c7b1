//! The mock as a process: one line when it is ready, an end when it is told to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

#[test]
fn a_mock_says_where_it_is_and_ends_on_sigterm() {
    let mut mock = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["mock", "--body-bytes", "64", "--tokens", "3"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(mock.stdout.take().expect("piped"));
    let mut line = String::new();
    lines.read_line(&mut line).expect("one line");
    let ready: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    let mut stream = TcpStream::connect(ready["addr"].as_str().expect("an address")).expect("it listens");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("content-length: 64"), "{answer}");
    let status = Command::new("kill").arg(mock.id().to_string()).status().expect("kill runs");
    assert!(status.success());
    assert!(mock.wait().expect("it ends").success());
    let mut rest = String::new();
    lines.read_to_string(&mut rest).expect("closed");
    assert_eq!(rest, "", "nothing else on standard output");
}
