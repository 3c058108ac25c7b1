mod peer;

use super::{PATIENCE, on_both, pair, read_exactly, until};
use crate::{
    buffer::{Chunk, Segments},
    runtime::{
        Connection, Either, join, race, sleep,
        tls::{Certificate, ServerTls, TlsError, UnknownName},
    },
};
use peer::{Authority, Identity, Peer, V12, V13, Version, pattern};
use std::{
    io::{ErrorKind, Read, Write},
    net::Shutdown,
    time::Duration,
};

/// Sends everything back until the peer has ended its direction, then ends ours.
async fn echo(connection: Connection) {
    let Connection { mut reader, mut writer, control: _control } = connection;
    while let Some(buffer) = reader.read().await.expect("a healthy stream") {
        writer.write(buffer.freeze().into()).await.expect("a healthy stream");
    }
    writer.shutdown().await.expect("a healthy stream");
}

/// A TLS connection that a std rustls client has opened.
async fn accepted(authority: &Authority, version: Version) -> (Connection, Peer) {
    let (connection, socket) = pair().await;
    let client = authority.client(version, socket);
    let (connection, info) =
        connection.accept_tls(&authority.server_tls("localhost"), PATIENCE).await.expect("a good client");
    assert_eq!(info.version, if version == V12 { "1.2" } else { "1.3" });
    assert_eq!(info.alpn.as_deref(), Some(&b"http/1.1"[..]));
    assert_eq!(info.sni.as_deref(), Some("localhost"));
    (connection, client.await_handshake())
}

#[test]
fn ten_mebibytes_are_echoed_both_ways_at_once() {
    let authority = Authority::new();
    for version in [V12, V13] {
        on_both(|| async {
            let (connection, peer) = accepted(&authority, version).await;
            let data = pattern(10 << 20);
            let client = std::thread::spawn(move || peer.exchange(data, 100_000));
            echo(connection).await;
            until(|| client.is_finished()).await;
            client.join().unwrap();
        });
    }
}

#[test]
fn one_byte_writes_arrive_in_order() {
    let authority = Authority::new();
    on_both(|| async {
        let (connection, peer) = accepted(&authority, V13).await;
        let client = std::thread::spawn(move || peer.exchange(pattern(700), 1));
        echo(connection).await;
        until(|| client.is_finished()).await;
        client.join().unwrap();
    });
}

#[test]
fn small_slices_are_joined_and_counted() {
    let authority = Authority::new();
    on_both(|| async {
        let (mut connection, mut peer) = accepted(&authority, V13).await;
        let data = pattern(200_000);
        let body = Chunk::from(data.clone());
        let mut segments = Segments::new();
        let mut at = 0;
        // Small ones, a large one, small ones, two large ones, one small one at the end.
        for length in [10, 20, 30, 90_000, 1, 2, 50_000, 40_000, 100] {
            segments.push(body.slice(at..at + length));
            at += length;
        }
        let head = connection.writer.write_head(b"head".to_vec(), true, segments).await.unwrap();
        assert!(head.is_empty());
        assert_eq!(connection.writer.take_tally().coalesced, 10 + 20 + 30 + 1 + 2);
        assert_eq!(connection.writer.take_tally().coalesced, 0);
        let received = peer.read_exactly(4 + at);
        assert!(received[..4] == *b"head" && received[4..] == data[..at]);
        connection.writer.write(Segments::new()).await.unwrap();
        connection.writer.write(Chunk::from_static(b"alone").into()).await.unwrap();
        assert_eq!(peer.read_exactly(5), b"alone");
        assert_eq!(connection.writer.take_tally().coalesced, 0, "a slice alone is not copied");
    });
}

#[test]
fn dropped_reads_lose_no_byte_under_tls() {
    let authority = Authority::new();
    on_both(|| async {
        let (mut connection, peer) = accepted(&authority, V13).await;
        let data = pattern(300_000);
        let expected = data.clone();
        let early = race(connection.reader.read(), std::future::ready(())).await;
        assert!(matches!(early, Either::Second(())), "nothing was sent yet: this read is dropped");
        let client = std::thread::spawn(move || peer.write_in_pieces(&data, 77));
        let mut bytes = Vec::new();
        while bytes.len() < expected.len() {
            let patience = sleep(Duration::from_millis(1));
            match race(async { connection.reader.read().await.unwrap() }, std::future::ready(())).await {
                Either::First(buffer) => bytes.extend_from_slice(&buffer.expect("more bytes")),
                Either::Second(()) => {
                    if let Either::First(buffer) = race(connection.reader.read(), patience).await {
                        bytes.extend_from_slice(&buffer.unwrap().expect("more bytes"));
                    }
                }
            }
        }
        assert!(bytes == expected);
        client.join().unwrap();
    });
}

#[test]
fn half_close_leaves_the_other_direction_open() {
    let authority = Authority::new();
    for version in [V12, V13] {
        on_both(|| async {
            // The peer ends first.
            let (mut connection, mut peer) = accepted(&authority, version).await;
            peer.write(b"all");
            peer.close_notify();
            assert_eq!(read_exactly(&mut connection, 3).await, b"all");
            assert!(connection.reader.read().await.unwrap().is_none());
            assert!(connection.reader.read().await.unwrap().is_none());
            connection.writer.write(Chunk::from(pattern(100_000)).into()).await.unwrap();
            connection.writer.shutdown().await.unwrap();
            assert!(peer.read_exactly(100_000) == pattern(100_000));
            assert!(peer.at_clean_end());

            // We end first.
            let (mut connection, mut peer) = accepted(&authority, version).await;
            connection.writer.shutdown().await.unwrap();
            assert!(connection.writer.write(Chunk::from_static(b"x").into()).await.is_err());
            assert!(peer.at_clean_end());
            if version == V13 {
                peer.write(b"late");
                peer.close_notify();
                assert_eq!(read_exactly(&mut connection, 4).await, b"late");
                assert!(connection.reader.read().await.unwrap().is_none());
            }
        });
    }
}

#[test]
fn key_updates_are_followed_and_answered() {
    let authority = Authority::new();
    on_both(|| async {
        let (mut connection, mut peer) = accepted(&authority, V13).await;
        for round in 0..20u8 {
            peer.update_keys();
            let data = vec![round; 3_000];
            peer.write(&data);
            assert_eq!(read_exactly(&mut connection, 3_000).await, data);
            connection.writer.write(Chunk::from(data.clone()).into()).await.unwrap();
            assert_eq!(peer.read_exactly(3_000), data);
        }
        // While both directions are busy.
        let client = std::thread::spawn(move || peer.exchange_with_key_updates(pattern(2_000_000), 10_000));
        echo(connection).await;
        until(|| client.is_finished()).await;
        client.join().unwrap();
    });
}

#[test]
fn an_end_without_close_notify_is_an_error() {
    let authority = Authority::new();
    for version in [V12, V13] {
        on_both(|| async {
            let (mut connection, mut peer) = accepted(&authority, version).await;
            peer.write(b"cut he");
            peer.socket().shutdown(Shutdown::Write).unwrap();
            assert_eq!(read_exactly(&mut connection, 6).await, b"cut he");
            assert_eq!(connection.reader.read().await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
            // And ours is one for the peer: a dropped writer says no close_notify.
            drop(connection);
            assert!(!peer.at_clean_end());
        });
    }
}

#[test]
fn a_broken_record_is_an_error_and_answered_with_an_alert() {
    let authority = Authority::new();
    on_both(|| async {
        let (mut connection, mut peer) = accepted(&authority, V13).await;
        let mut record = vec![23, 3, 3, 0, 40];
        record.extend_from_slice(&[9; 40]);
        peer.socket().write_all(&record).unwrap();
        assert_eq!(connection.reader.read().await.unwrap_err().kind(), ErrorKind::InvalidData);
        assert!(connection.reader.read().await.is_err(), "and it stays one");
        let (received, ()) = join(
            async {
                let thread = std::thread::spawn(move || peer.read_failure());
                until(|| thread.is_finished()).await;
                thread.join().unwrap()
            },
            async { drop(connection) },
        )
        .await;
        assert!(received.contains("BadRecordMac"), "{received}");
    });
}

#[test]
fn wrong_certificates_are_refused_with_the_reason() {
    let (authority, other) = (Authority::new(), Authority::new());
    let cases = [
        (authority.good("localhost"), None),
        (authority.expired("localhost"), Some("it has expired")),
        (authority.not_yet("localhost"), Some("it is not valid yet")),
        (authority.good("elsewhere.example"), Some("wrong name")),
        (authority.self_signed("localhost"), Some("unknown issuer: it is self-signed")),
        (other.good("localhost"), Some("unknown issuer")),
    ];
    for (identity, reason) in cases {
        on_both(|| async {
            let (connection, socket) = pair().await;
            let server = Peer::serve(&identity, socket);
            let result = connection.connect_tls(&authority.client_tls(), "localhost", PATIENCE).await;
            match (result, reason) {
                (Ok(mut connection), None) => {
                    let mut server = server.await_handshake();
                    connection.writer.write(Chunk::from_static(b"hello").into()).await.unwrap();
                    assert_eq!(server.read_exactly(5), b"hello");
                    server.write(b"you too");
                    assert_eq!(read_exactly(&mut connection, 7).await, b"you too");
                }
                (Err(TlsError::Certificate(text)), Some(reason)) => {
                    assert!(text.starts_with(reason), "{text:?} for {reason:?}");
                    server.expect_refusal();
                }
                (result, _) => panic!("{result:?} instead of {reason:?}"),
            }
        });
    }
}

#[test]
fn a_client_that_refuses_us_is_told_apart() {
    let (authority, other) = (Authority::new(), Authority::new());
    on_both(|| async {
        let (connection, socket) = pair().await;
        let client = other.client(V13, socket);
        let error = connection.accept_tls(&authority.server_tls("localhost"), PATIENCE).await.unwrap_err();
        assert!(matches!(&error, TlsError::Refused(alert) if alert == "UnknownCA"), "{error:?}");
        client.expect_refusal();
    });
}

#[test]
fn what_is_not_tls_is_refused() {
    let authority = Authority::new();
    let tls = authority.server_tls("localhost");
    on_both(|| async {
        let (connection, mut peer) = pair().await;
        peer.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        let error = connection.accept_tls(&tls, PATIENCE).await.unwrap_err();
        assert!(matches!(error, TlsError::ClearText), "{error:?}");
        let mut reply = String::new();
        peer.read_to_string(&mut reply).unwrap();
        assert!(reply.starts_with("HTTP/1.1 400 ") && reply.contains("https://"), "{reply}");

        let (connection, mut peer) = pair().await;
        peer.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").unwrap();
        let error = connection.accept_tls(&tls, PATIENCE).await.unwrap_err();
        assert!(matches!(error, TlsError::Protocol(_)), "{error:?}");
        let mut alert = [0; 7];
        peer.read_exact(&mut alert).unwrap();
        assert_eq!(alert[0], 21, "an alert record (RFC 8446 section 5.1)");

        let (connection, peer) = pair().await;
        drop(peer);
        let error = connection.accept_tls(&tls, PATIENCE).await.unwrap_err();
        assert!(matches!(error, TlsError::Io(_)), "{error:?}");

        let (connection, _silent) = pair().await;
        let error = connection.accept_tls(&tls, Duration::from_millis(20)).await.unwrap_err();
        assert!(matches!(error, TlsError::TimedOut), "{error:?}");

        let (connection, _silent) = pair().await;
        let client = authority.client_tls();
        let error = connection.connect_tls(&client, "not a name!", PATIENCE).await.unwrap_err();
        assert!(matches!(error, TlsError::Configuration(_)), "{error:?}");
    });
}

#[test]
fn sessions_are_resumed() {
    let authority = Authority::new();
    for version in [V12, V13] {
        let (server, configuration) = (authority.server_tls("localhost"), authority.client_config(version));
        on_both(|| async {
            let mut kinds = Vec::new();
            for _ in 0..2 {
                let (connection, socket) = pair().await;
                let client = Peer::connect(configuration.clone(), socket);
                let (mut connection, info) = connection.accept_tls(&server, PATIENCE).await.unwrap();
                assert_eq!(info.sni.as_deref(), Some("localhost"), "also when resumed");
                let mut client = client.await_handshake();
                // The tickets of TLS 1.3 come before the first reply.
                connection.writer.write(Chunk::from_static(b"x").into()).await.unwrap();
                client.read_exactly(1);
                kinds.push(client.was_resumed());
            }
            assert!(kinds[1], "{version:?}");
        });
    }
}

/// Also over a reload that exchanges the certificate.
#[test]
fn sessions_are_resumed_by_a_successor() {
    let authority = Authority::new();
    for version in [V12, V13] {
        let first = authority.server_tls("localhost");
        let second = authority.server_tls("localhost").resuming(&first);
        let third = authority.server_tls("localhost");
        assert_ne!(first.certificates(), second.certificates());
        let configuration = authority.client_config(version);
        on_both(|| async {
            let mut kinds = Vec::new();
            for server in [&first, &second, &third] {
                let (connection, socket) = pair().await;
                let client = Peer::connect(configuration.clone(), socket);
                let (mut connection, info) = connection.accept_tls(server, PATIENCE).await.unwrap();
                let mut client = client.await_handshake();
                connection.writer.write(Chunk::from_static(b"x").into()).await.unwrap();
                client.read_exactly(1);
                assert_eq!(info.resumed, client.was_resumed());
                kinds.push(info.resumed);
            }
            assert_eq!(kinds[1..], [true, false], "{version:?}: not by one with other ticket keys");
        });
    }
}

#[test]
fn sessions_with_upstreams_are_resumed() {
    let authority = Authority::new();
    let configuration = authority.good("localhost").server();
    let tls = authority.client_tls();
    on_both(|| async {
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let (connection, socket) = pair().await;
            let server = Peer::serve_with(configuration.clone(), socket);
            let mut connection = connection.connect_tls(&tls, "localhost", PATIENCE).await.unwrap();
            let mut server = server.await_handshake();
            server.write(b"x");
            // The tickets come before it.
            assert_eq!(read_exactly(&mut connection, 1).await, b"x");
            kinds.push(server.was_resumed());
        }
        assert!(kinds[1]);
    });
}

/// RFC 9525 section 6.3: the name itself, then a wildcard for its first label, then the first certificate.
#[test]
fn the_certificate_follows_the_name_that_is_asked_for() {
    let authority = Authority::new();
    let names = ["first.example", "*.b.example", "x.b.example"];
    let identities = names.map(|name| authority.good(name));
    let pems: Vec<_> = identities.iter().map(Identity::pem).collect();
    let make = |unknown| ServerTls::new(&pems, unknown, Default::default()).unwrap();
    let (lenient, strict) = (make(UnknownName::First), make(UnknownName::Refused));
    let cases = [("first.example", 0), ("a.b.example", 1), ("X.B.example", 2), ("192.0.2.1", 0)];
    for (name, index) in cases {
        for server in [&lenient, &strict] {
            on_both(|| async {
                let (connection, socket) = pair().await;
                let client = Peer::connect_as(name, authority.client_config(V13), socket);
                let accepted = connection.accept_tls(server, PATIENCE).await;
                // An address is asked for without a name, so that the first is sent, which is not for it.
                match accepted {
                    Ok((_, info)) => {
                        assert_eq!(info.sni, Some(name.to_ascii_lowercase()));
                        let sent = client.await_handshake().certificate();
                        let expected = &server.certificates()[index];
                        assert_eq!(Certificate::parse(&sent).as_ref(), Some(expected), "{name}");
                    }
                    Err(TlsError::Refused(_)) => assert_eq!(name, "192.0.2.1"),
                    Err(error) => panic!("{name}: {error:?}"),
                }
            });
        }
    }
    for name in ["b.example", "a.x.b.example", "other.example"] {
        on_both(|| async {
            let (connection, socket) = pair().await;
            let _client = Peer::connect_as(name, authority.client_config(V13), socket);
            let error = connection.accept_tls(&lenient, PATIENCE).await.unwrap_err();
            assert!(matches!(error, TlsError::Refused(_)), "the client refuses another's: {error:?}");
            let (connection, socket) = pair().await;
            let client = Peer::connect_as(name, authority.client_config(V13), socket);
            let error = connection.accept_tls(&strict, PATIENCE).await.unwrap_err();
            assert!(matches!(&error, TlsError::UnknownName(asked) if asked == name), "{error:?}");
            client.expect_refusal();
        });
    }
}

#[test]
fn older_versions_can_be_left_out() {
    let authority = Authority::new();
    let identity = authority.good("localhost");
    let server = ServerTls::new(&[identity.pem()], UnknownName::First, crate::runtime::tls::Version::Tls13);
    let server = server.unwrap();
    on_both(|| async {
        let (connection, socket) = pair().await;
        let client = authority.client(V12, socket);
        let error = connection.accept_tls(&server, PATIENCE).await.unwrap_err();
        assert!(matches!(error, TlsError::Incompatible(_)), "{error:?}");
        client.expect_refusal();
    });
}

/// Each makes the other side compute keys; without data between them they are a flood.
#[test]
fn a_flood_of_key_updates_ends_the_connection() {
    let authority = Authority::new();
    on_both(|| async {
        let (mut connection, mut peer) = accepted(&authority, V13).await;
        let client = std::thread::spawn(move || {
            // The socket may be reset in the middle of it.
            (0..1_000).all(|_| peer.try_update_keys().is_ok())
        });
        let error = connection.reader.read().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
        assert!(error.to_string().contains("TooManyKeyUpdateRequests"), "{error}");
        drop(connection);
        until(|| client.is_finished()).await;
        client.join().unwrap();
    });
}

/// Records that are cut by reads anywhere; and the copies that are documented, no more.
#[test]
fn copies_are_counted() {
    let authority = Authority::new();
    for version in [V12, V13] {
        on_both(|| async {
            let (mut connection, peer) = accepted(&authority, version).await;
            let data = pattern(1 << 20);
            connection.writer.take_tally();
            let sent = data.clone();
            let client = std::thread::spawn(move || peer.write_in_pieces(&sent, 100_000));
            assert!(read_exactly(&mut connection, data.len()).await == data);
            let read = connection.writer.take_tally().tls_read;
            until(|| client.is_finished()).await;
            let mut peer = client.join().unwrap();
            // Two, and what is left of records that a read has cut.
            let twice = 2 * data.len() as u64;
            assert!((twice..=twice + twice / 4).contains(&read), "{read} for {}", data.len());
            let receiving = std::thread::spawn(move || peer.read_exactly(1 << 20));
            connection.writer.write(Chunk::from(data.clone()).into()).await.unwrap();
            until(|| receiving.is_finished()).await;
            assert!(receiving.join().unwrap() == data);
            assert_eq!(connection.writer.take_tally().tls_written, twice);
        });
    }
}

#[test]
fn tickets_on_an_idle_connection_are_not_stray_bytes() {
    let authority = Authority::new();
    on_both(|| async {
        let (connection, socket) = pair().await;
        let server = Peer::serve(&authority.good("localhost"), socket);
        let mut connection =
            connection.connect_tls(&authority.client_tls(), "localhost", PATIENCE).await.unwrap();
        let mut server = server.await_handshake();
        connection.reader.start();
        for _ in 0..10 {
            sleep(Duration::from_millis(1)).await;
            assert!(!connection.reader.is_ready(), "tickets are no reply");
        }
        server.close_notify();
        until(|| connection.reader.is_ready()).await;
        assert!(connection.reader.read().await.unwrap().is_none());
    });
}

#[test]
fn broken_configurations_say_what_is_wrong() {
    use crate::runtime::tls::ClientTls;
    let authority = Authority::new();
    let (good, other) = (authority.good("localhost"), authority.good("localhost"));
    let text = |result: Result<ServerTls, TlsError>| match result {
        Err(TlsError::Configuration(text)) => text,
        other => panic!("{other:?}"),
    };
    assert!(text(ServerTls::from_pem(b"nothing", good.key.as_bytes())).contains("no certificate"));
    assert!(text(ServerTls::from_pem(good.chain.as_bytes(), b"nothing")).contains("no usable private key"));
    let mismatch = text(ServerTls::from_pem(good.chain.as_bytes(), other.key.as_bytes()));
    assert!(!mismatch.is_empty());
    assert!(matches!(ClientTls::with_pem_roots(b"", Default::default()), Err(TlsError::Configuration(_))));
}
