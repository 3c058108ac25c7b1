use super::{PATIENCE, on_both, pair, until};
use crate::{
    buffer::{Budget, Chunk},
    limits,
    runtime::{Either, Slot, Sweeper, join, now, race, sleep, spawn_guarded, sys, timeout},
};
use std::{
    cell::RefCell,
    future::pending,
    io::{ErrorKind, Read, Write},
    rc::Rc,
    time::Duration,
};

#[test]
fn a_panicking_task_leaves_the_shard_alive() {
    on_both(|| async {
        let (connection, mut peer) = pair().await;
        let seen = Rc::new(RefCell::new(Vec::new()));
        let task = async move {
            let mut connection = connection;
            connection.control.reset_on_drop(true);
            while let Some(request) = connection.reader.read().await.unwrap() {
                assert_ne!(&request[..], b"boom", "a bug");
            }
        };
        let count = Rc::clone(&seen);
        spawn_guarded("connection", task, move |message| count.borrow_mut().push(message.to_owned()));
        peer.write_all(b"boom").unwrap();
        until(|| !seen.borrow().is_empty()).await;
        assert!(seen.borrow()[0].contains("a bug"), "{:?}", seen.borrow());
        let mut end = [0; 1];
        assert_eq!(peer.read(&mut end).unwrap_err().kind(), ErrorKind::ConnectionReset);

        struct Grenade;
        impl Drop for Grenade {
            fn drop(&mut self) {
                panic!("while dropped");
            }
        }
        let count = Rc::clone(&seen);
        let task = async move {
            let _grenade = Grenade;
            sleep(Duration::from_millis(1)).await;
        };
        spawn_guarded("grenade", task, move |message| count.borrow_mut().push(message.to_owned()));
        until(|| seen.borrow().len() == 2).await;
        // And others go on.
        let (mut connection, mut peer) = pair().await;
        peer.write_all(b"hello").unwrap();
        assert_eq!(&connection.reader.read().await.unwrap().unwrap()[..], b"hello");
    });
}

#[test]
fn the_sweeper_ends_a_pending_read_and_leaves_room_for_a_last_word() {
    on_both(|| async {
        let (connection, mut peer) = pair().await;
        let sweeper = Sweeper::new();
        let (mut reader, mut writer, control) = (connection.reader, connection.writer, connection.control);
        sweeper.register(&control);
        control.set_deadline(Some(now().instant + Duration::from_millis(1)), 7);
        let Either::First(read) = race(reader.read(), sweeper.run()).await else { unreachable!() };
        assert!(read.unwrap().is_none());
        assert_eq!(control.expired(), Some(7));
        writer.write(Chunk::from_static(b"408").into()).await.unwrap();
        let mut last = [0; 3];
        peer.read_exact(&mut last).unwrap();
        // Whoever goes on all the same is cut.
        assert_eq!(sweeper.sweep(now().instant), 0, "not at once");
        assert_eq!(sweeper.sweep(now().instant + limits::LAST_WRITE_TIMEOUT * 2), 1);
        assert!(writer.write(Chunk::from_static(b"more").into()).await.is_err());
        drop((reader, writer));
        until(|| {
            sweeper.sweep(now().instant);
            sweeper.is_empty()
        })
        .await;
    });
}

#[test]
fn the_sweeper_ends_a_stalled_write() {
    on_both(|| async {
        let (mut connection, _peer) = pair().await;
        let sweeper = Sweeper::new();
        sweeper.register(&connection.control);
        connection.control.set_deadline(Some(now().instant), 1);
        let write = connection.writer.write(Chunk::from(vec![0; 32_000_000]).into());
        let (written, ()) = join(write, async {
            until(|| sweeper.sweep(now().instant) == 1).await;
        })
        .await;
        assert!(written.is_err());
        connection.control.set_deadline(None, 0);
        assert_eq!(sweeper.sweep(now().instant), 0);
    });
}

#[test]
fn slots_hand_values_over() {
    on_both(|| async {
        let slot = Slot::new();
        assert!(matches!(race(slot.take(), sleep(Duration::ZERO)).await, Either::Second(())));
        let other = slot.clone();
        let (value, ()) = join(slot.take(), async move {
            sleep(Duration::from_millis(1)).await;
            other.put(5);
        })
        .await;
        assert_eq!(value, 5);
        assert_eq!((slot.put(1), slot.put(2)), (None, Some(1)));
        assert_eq!((slot.try_take(), slot.try_take()), (Some(2), None));
        assert_eq!(timeout(Duration::from_millis(1), pending::<()>()).await, None);
        assert_eq!(timeout(PATIENCE, async { 3 }).await, Some(3));
    });
}

#[test]
fn threads_can_be_pinned_and_clocks_advance() {
    std::thread::spawn(|| {
        let cpus = sys::allowed_cpus();
        let cpu = *cpus.last().unwrap();
        sys::pin_thread(cpu).unwrap();
        assert_eq!(sys::allowed_cpus(), [cpu]);
        assert!(sys::pin_thread(1 << 20).is_err());
    })
    .join()
    .unwrap();
    assert!(sys::raise_descriptor_limit().unwrap() > 0);
    let (first, second) = (now(), now());
    assert!(second.instant >= first.instant);
    assert!(first.wall.unix_seconds() > 1_600_000_000);
}

/// Looks so often that an idle connection gives its buffer back.
fn look_until_idle(sweeper: &Sweeper) {
    for _ in 0..=limits::IDLE_SWEEPS {
        sweeper.sweep(now().instant);
    }
}

#[test]
fn an_idle_connection_holds_no_buffer_and_loses_no_byte() {
    on_both(|| async {
        let (mut connection, mut peer) = pair().await;
        let sweeper = Sweeper::new();
        sweeper.register(&connection.control);
        let budget = Budget::new(1 << 20);
        connection.reader.charge(budget.hold(0));
        for turn in 0..3_u8 {
            // A connection that waits for its next message: its buffer is given back.
            let idle = async {
                until(|| budget.used() == limits::RECEIVE_BYTES_MIN).await;
                look_until_idle(&sweeper);
                until(|| budget.used() == 0).await;
                // It still waits, and does not spin: nothing has come.
                sleep(Duration::from_millis(2)).await;
                assert_eq!(budget.used(), 0);
                peer.write_all(&[turn; 10]).unwrap();
            };
            let (read, ()) = join(connection.reader.read_idle(), idle).await;
            assert_eq!(&read.unwrap().unwrap()[..], [turn; 10]);
            assert_eq!(budget.used(), limits::RECEIVE_BYTES_MIN, "the buffer of what came is counted");
        }
        // Bytes that come in the very moment in which the read is given up.
        for turn in 0..50_u8 {
            let race = async {
                until(|| budget.used() == limits::RECEIVE_BYTES_MIN).await;
                sleep(Duration::ZERO).await;
                peer.write_all(&[turn]).unwrap();
                look_until_idle(&sweeper);
            };
            let (read, ()) = join(connection.reader.read_idle(), race).await;
            assert_eq!(&read.unwrap().unwrap()[..], [turn]);
        }
        // The end, and a deadline, end the wait too.
        let end = async {
            until(|| budget.used() == limits::RECEIVE_BYTES_MIN).await;
            look_until_idle(&sweeper);
            until(|| budget.used() == 0).await;
            connection.control.set_deadline(Some(now().instant), 3);
            assert_eq!(sweeper.sweep(now().instant), 1);
        };
        let (read, ()) = join(connection.reader.read_idle(), end).await;
        assert!(read.unwrap().is_none());
        drop(connection);
        assert_eq!(budget.used(), 0);
    });
}

#[test]
fn only_a_read_that_waits_for_a_message_is_given_up() {
    on_both(|| async {
        let (mut connection, mut peer) = pair().await;
        let sweeper = Sweeper::new();
        sweeper.register(&connection.control);
        let budget = Budget::new(1 << 20);
        connection.reader.charge(budget.hold(0));
        let busy = async {
            until(|| budget.used() > 0).await;
            look_until_idle(&sweeper);
            sleep(Duration::from_millis(2)).await;
            assert_eq!(budget.used(), limits::RECEIVE_BYTES_MIN);
            peer.write_all(b"x").unwrap();
        };
        let (read, ()) = join(connection.reader.read(), busy).await;
        assert_eq!(&read.unwrap().unwrap()[..], b"x");
    });
}

#[test]
fn buffers_do_not_grow_while_memory_is_short() {
    on_both(|| async {
        let (mut connection, mut peer) = pair().await;
        let budget = Budget::new(16 << 10);
        let _rest = budget.hold(12 << 10);
        connection.reader.charge(budget.hold(0));
        let sent = 256 << 10;
        let writer = std::thread::spawn(move || peer.write_all(&vec![7; sent]).map(|()| peer));
        let mut received = 0;
        while received < sent {
            received += connection.reader.read().await.unwrap().unwrap().len();
            assert_eq!(budget.used(), (12 << 10) + limits::RECEIVE_BYTES_MIN);
        }
        drop(writer.join().unwrap());
    });
}
