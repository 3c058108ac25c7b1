use super::{PATIENCE, descriptors, local_listener, on_both, pair, read_exactly, until};
use crate::{
    buffer::{Chunk, ChunkMut, Segments},
    limits,
    runtime::{Either, connect, join, now, race, sleep, sys},
};
use std::{
    future::ready,
    io::{ErrorKind, Read, Write},
    net::Shutdown,
    time::Duration,
};

#[test]
fn dropped_reads_lose_no_byte() {
    on_both(|| async {
        let (mut connection, mut peer) = pair().await;
        let count = 20_000u32;
        let early = race(connection.reader.read(), ready(())).await;
        assert!(matches!(early, Either::Second(())), "nothing was sent yet: this read is dropped");
        let sender = std::thread::spawn(move || {
            for number in 0..count {
                peer.write_all(&number.to_le_bytes()).expect("the reader reads");
                if number % 16 == 0 {
                    std::thread::sleep(Duration::from_micros(50));
                }
            }
        });
        let (mut bytes, mut dropped) = (Vec::new(), 0);
        loop {
            // The first is dropped whenever nothing has come, the second also in the kernel's hands.
            let mut read = race(async { connection.reader.read().await.unwrap() }, ready(())).await;
            if matches!(read, Either::Second(())) {
                dropped += 1;
                let patience = sleep(Duration::from_millis(1));
                read = race(async { connection.reader.read().await.unwrap() }, patience).await;
            }
            match read {
                Either::First(Some(buffer)) => bytes.extend_from_slice(&buffer),
                Either::First(None) => break,
                Either::Second(()) => dropped += 1,
            }
        }
        sender.join().expect("the sender sends all");
        let expected: Vec<u8> = (0..count).flat_map(u32::to_le_bytes).collect();
        assert!(bytes == expected, "{} of {} bytes, {dropped} reads dropped", bytes.len(), expected.len());
    });
}

#[test]
fn memory_is_read_into_again_when_nobody_holds_its_bytes() {
    on_both(|| async {
        let (mut connection, mut peer) = pair().await;
        let mut places = Vec::new();
        for number in 0..6u8 {
            peer.write_all(&[number]).unwrap();
            let mut buffer = connection.reader.read().await.unwrap().unwrap();
            let bytes = buffer.take();
            places.push(bytes.as_ptr() as usize);
            connection.reader.recycle(buffer);
            // As in an exchange: the next read begins while these are in use.
            connection.reader.start();
            assert_eq!(&bytes[..], [number]);
        }
        assert_ne!(places[0], places[1]);
        assert!(places.windows(3).all(|three| three[0] == three[2]), "two buffers, in turns: {places:?}");
    });
}

#[test]
fn read_more_appends_in_place_and_survives_a_drop() {
    on_both(|| async {
        let (mut connection, mut peer) = pair().await;
        peer.write_all(b"GET / ").unwrap();
        let head = connection.reader.read().await.unwrap().unwrap();
        let dropped = race(connection.reader.read_more(head), sleep(Duration::from_millis(2))).await;
        assert!(matches!(dropped, Either::Second(())));
        peer.write_all(b"HTTP/1.1\r\n").unwrap();
        let head = connection.reader.read().await.unwrap().unwrap();
        assert_eq!(&head[..], b"GET / HTTP/1.1\r\n");
        let start = head.as_ptr();
        peer.write_all(b"\r\n").unwrap();
        let mut head = connection.reader.read_more(head).await.unwrap().unwrap();
        assert_eq!(&head[..], b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(head.as_ptr(), start, "appended without a copy");
        connection.reader.unread(ChunkMut::from_inner(head.split_to(2).into_inner().into()));
        connection.reader.unread_chunk(Chunk::from_static(b"<"));
        assert!(connection.reader.is_ready());
        let bytes = connection.reader.read_more(head).await.unwrap().unwrap();
        assert_eq!(&bytes[..], b"T / HTTP/1.1\r\n\r\n<GE");
        drop(peer);
        assert!(connection.reader.read_more(bytes).await.unwrap().is_none(), "the end, not the same bytes");
        assert!(connection.reader.read().await.unwrap().is_none());
    });
}

#[test]
fn an_idle_connection_notices_its_peer() {
    on_both(|| async {
        for stray in [&b""[..], b"stray"] {
            let (mut connection, mut peer) = pair().await;
            connection.reader.start();
            sleep(Duration::from_millis(5)).await;
            assert!(!connection.reader.is_ready());
            peer.write_all(stray).unwrap();
            if stray.is_empty() {
                drop(peer);
            }
            until(|| connection.reader.is_ready()).await;
            let read = connection.reader.read().await.unwrap();
            assert_eq!(read.as_deref(), (!stray.is_empty()).then_some(stray));
        }
    });
}

#[test]
fn the_read_of_an_idle_connection_receives_the_response() {
    on_both(|| async {
        let (mut connection, mut peer) = pair().await;
        connection.reader.start();
        connection.writer.write(Chunk::from_static(b"ping").into()).await.unwrap();
        let mut request = [0; 4];
        peer.read_exact(&mut request).unwrap();
        peer.write_all(b"pong").unwrap();
        assert_eq!(read_exactly(&mut connection, 4).await, b"pong");
    });
}

#[test]
fn many_slices_reach_a_slow_reader_in_order() {
    on_both(|| async {
        let (mut connection, mut peer) = pair().await;
        let mut body = Segments::new();
        let mut expected = b"head".to_vec();
        for number in 0..300u32 {
            let slice: Vec<u8> = (0..number * 97 % 40_000).map(|n| (n + number) as u8).collect();
            expected.extend_from_slice(&slice);
            body.push(Chunk::from(slice));
        }
        let length = expected.len();
        let receiver = std::thread::spawn(move || {
            let (mut bytes, mut piece) = (Vec::new(), [0; 3_001]);
            while bytes.len() < length {
                let count = peer.read(&mut piece).expect("more bytes");
                assert_ne!(count, 0);
                bytes.extend_from_slice(&piece[..count]);
                std::thread::yield_now();
            }
            bytes
        });
        let head = connection.writer.write_head(b"head".to_vec(), true, body).await.unwrap();
        assert!(head.is_empty() && head.capacity() >= 4, "the vector comes back");
        until(|| receiver.is_finished()).await;
        assert!(receiver.join().unwrap() == expected);
    });
}

#[test]
fn a_dropped_write_is_finished_before_the_next() {
    on_both(|| async {
        let (mut connection, mut peer) = pair().await;
        let large: Vec<u8> = (0..16_000_000u32).map(|n| n as u8).collect();
        let mut expected = large.clone();
        let write = connection.writer.write(Chunk::from(large).into());
        let Either::Second(()) = race(write, sleep(Duration::from_millis(5))).await else {
            panic!("nobody reads yet")
        };
        expected.extend_from_slice(b"next");
        let length = expected.len();
        let receiver = std::thread::spawn(move || {
            let mut bytes = vec![0; length];
            peer.read_exact(&mut bytes).map(|()| bytes)
        });
        connection.writer.write(Chunk::from_static(b"next").into()).await.unwrap();
        until(|| receiver.is_finished()).await;
        assert!(receiver.join().unwrap().unwrap() == expected);
    });
}

#[test]
fn buffers_grow_for_bodies_and_shrink_again() {
    on_both(|| async {
        let (mut connection, mut peer) = pair().await;
        let sender = std::thread::spawn(move || {
            peer.write_all(&vec![7; 4_000_000]).unwrap();
            peer
        });
        let (mut total, mut largest) = (0, 0);
        while total < 4_000_000 {
            let buffer = connection.reader.read().await.unwrap().unwrap();
            (total, largest) = (total + buffer.len(), largest.max(buffer.len() + buffer.spare()));
        }
        assert!(largest >= limits::RECEIVE_BYTES_MAX, "{largest}");
        let mut peer = sender.join().unwrap();
        let mut smallest = usize::MAX;
        for _ in 0..20 {
            peer.write_all(b"x").unwrap();
            let buffer = connection.reader.read().await.unwrap().unwrap();
            smallest = smallest.min(buffer.len() + buffer.spare());
        }
        assert!(smallest < 2 * limits::RECEIVE_BYTES_MIN, "{smallest}");
    });
}

/// A request of which no byte has left may be sent again whatever it asks for.
#[test]
fn a_write_that_leaves_nothing_is_told_from_one_that_does() {
    on_both(|| async {
        let (mut connection, peer) = pair().await;
        let bytes = || Segments::from(Chunk::from_static(b"hello"));
        connection.writer.write(bytes()).await.unwrap();
        assert_eq!(connection.control.sent_bytes(), 5);
        socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
        drop(peer);
        assert!(connection.reader.read().await.is_err(), "the reset has arrived");
        assert!(connection.writer.write(bytes()).await.is_err());
        assert_eq!(connection.control.sent_bytes(), 5);
    });
}

#[test]
fn reset_is_not_a_clean_end() {
    on_both(|| async {
        let (connection, mut peer) = pair().await;
        let (mut reader, mut writer, control) = (connection.reader, connection.writer, connection.control);
        writer.write(Chunk::from_static(b"half of it").into()).await.unwrap();
        let mut received = [0; 10];
        peer.read_exact(&mut received).unwrap();
        let (read, ()) = join(reader.read(), async { control.reset() }).await;
        assert!(read.is_err() || read.is_ok_and(|read| read.is_none()), "the pending read ends");
        assert_eq!(peer.read(&mut received).unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert!(writer.write(Chunk::from_static(b"more").into()).await.is_err());
    });
}

#[test]
fn reset_ends_a_pending_write() {
    on_both(|| async {
        let (mut connection, mut peer) = pair().await;
        let control = connection.control.clone();
        let write = connection.writer.write(Chunk::from(vec![1; 32_000_000]).into());
        let (written, ()) = join(write, async {
            sleep(Duration::from_millis(5)).await;
            control.reset();
        })
        .await;
        assert!(written.is_err());
        let mut all = Vec::new();
        assert_eq!(peer.read_to_end(&mut all).unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_writer_dropped_in_a_message_resets() {
    on_both(|| async {
        let (mut connection, mut peer) = pair().await;
        connection.control.reset_on_drop(true);
        connection.writer.write(Chunk::from_static(b"half").into()).await.unwrap();
        let mut received = [0; 4];
        peer.read_exact(&mut received).unwrap();
        drop(connection);
        assert_eq!(peer.read(&mut received).unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn half_close_goes_on_in_the_other_direction() {
    on_both(|| async {
        let (mut connection, mut peer) = pair().await;
        connection.writer.shutdown().await.unwrap();
        let mut nothing = Vec::new();
        peer.read_to_end(&mut nothing).unwrap();
        assert!(nothing.is_empty());
        peer.write_all(b"still here").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_exactly(&mut connection, 10).await, b"still here");
        assert!(connection.reader.read().await.unwrap().is_none());
    });
}

#[test]
fn dropped_connections_close_their_descriptors() {
    // Other tests of this process open descriptors too, so that only the count of many can tell.
    on_both(|| async {
        let before = descriptors();
        for _ in 0..200 {
            let (mut connection, peer) = pair().await;
            connection.reader.start();
            drop(connection);
            drop(peer);
        }
        until(|| descriptors() < before + 150).await;
    });
}

#[test]
fn connect_tells_refusal_and_sets_the_socket_up() {
    on_both(|| async {
        let (listener, address) = local_listener();
        let connection = connect(address, PATIENCE).await.unwrap();
        assert_eq!(connection.control.peer_addr(), address);
        let (accepted, peer) = listener.accept().await.unwrap().unwrap();
        assert_eq!(connection.control.local_addr(), peer);
        assert_eq!(accepted.control.local_addr(), address);
        for control in [&connection.control, &accepted.control] {
            assert_eq!(control.socket_options(), Some((true, true)), "NODELAY and CLOEXEC");
        }
        drop(listener);
        // The kernel closes it in its own time.
        let refused = loop {
            if let Err(error) = connect(address, PATIENCE).await {
                break error;
            }
        };
        assert!(matches!(refused.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset));
    });
}

#[test]
fn a_closed_connection_is_not_touched_any_more() {
    on_both(|| async {
        let (connection, _peer) = pair().await;
        let control = connection.control.clone();
        drop(connection);
        until(|| !control.is_open()).await;
        control.set_deadline(Some(now().instant), 1);
        control.reset();
        control.shutdown();
        assert!(control.socket_options().is_none());
        assert!(sys::shutdown(-1, sys::Direction::Both).is_err());
    });
}
