use super::{descriptors, local_listener, on_both, run, until};
use crate::runtime::{Connection, Driver, Either, Listener, join, race, sleep, spawn_guarded, sys};
use std::{
    cell::{Cell, RefCell},
    future::ready,
    io::{Read, Write},
    net::TcpStream as StdTcpStream,
    rc::Rc,
    time::Duration,
};

#[test]
fn dropped_accepts_lose_no_connection() {
    on_both(|| async {
        let (listener, address) = local_listener();
        let count = 500;
        let early = race(listener.accept(), ready(())).await;
        assert!(matches!(early, Either::Second(())), "nobody has connected yet: this accept is dropped");
        let clients = std::thread::spawn(move || {
            let connect = |number: usize| {
                if number.is_multiple_of(4) {
                    std::thread::sleep(Duration::from_micros(300));
                }
                StdTcpStream::connect(address).expect("it listens")
            };
            (0..count).map(connect).collect::<Vec<_>>()
        });
        let mut accepted = Vec::new();
        while accepted.len() < count {
            let mut accept = race(listener.accept(), ready(())).await;
            if matches!(accept, Either::Second(())) {
                accept = race(listener.accept(), sleep(Duration::from_millis(1))).await;
            }
            if let Either::First(connection) = accept {
                accepted.push(connection.unwrap().unwrap());
            }
        }
        clients.join().unwrap();
    });
}

#[test]
fn connections_that_came_together_are_handed_out_together() {
    on_both(|| async {
        let (listener, address) = local_listener();
        let early = race(listener.accept(), ready(())).await;
        assert!(matches!(early, Either::Second(())), "nobody has connected yet");
        let clients: Vec<_> = (0..4).map(|_| StdTcpStream::connect(address).unwrap()).collect();
        let mut peers = Vec::new();
        while peers.len() < clients.len() {
            peers.push(listener.accept().await.unwrap().unwrap().1);
        }
        let mut addresses: Vec<_> = clients.iter().map(|client| client.local_addr().unwrap()).collect();
        peers.sort();
        addresses.sort();
        assert_eq!(peers, addresses, "each once");
        listener.stop().await;
        assert!(listener.accept().await.unwrap().is_none());
    });
}

#[test]
fn stop_ends_accept_and_keeps_what_was_accepted() {
    on_both(|| async {
        for round in 0..40 {
            let (listener, address) = local_listener();
            let accepted = RefCell::new(Vec::new());
            let clients: Vec<_> = (0..round % 4).map(|_| StdTcpStream::connect(address).unwrap()).collect();
            let accept = async {
                while let Some((connection, _)) = listener.accept().await.unwrap() {
                    accepted.borrow_mut().push(connection);
                }
            };
            let stop = async {
                if round % 2 == 0 {
                    sleep(Duration::from_millis(1)).await;
                }
                listener.stop().await;
            };
            join(accept, stop).await;
            let mut accepted = accepted.into_inner();
            assert_eq!(accepted.len(), clients.len(), "every queued connection is handed out");
            assert!(listener.accept().await.unwrap().is_none(), "and it stays stopped");
            for (client, connection) in clients.iter().zip(&mut accepted) {
                (&*client).write_all(b"x").unwrap();
                assert_eq!(&connection.reader.read().await.unwrap().unwrap()[..], b"x");
            }
        }
    });
}

/// Each one that is handed out is followed by another that connects.
#[test]
fn who_goes_on_connecting_does_not_keep_a_stopped_listener_open() {
    on_both(|| async {
        let (listener, address) = local_listener();
        let most = crate::limits::LISTEN_BACKLOG as usize + 1;
        let connect = || {
            let client = StdTcpStream::connect(address).unwrap();
            // No port is left waiting behind it.
            socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
            client
        };
        let mut client = connect();
        listener.stop().await;
        let mut accepted = 0;
        while let Some((connection, _)) = listener.accept().await.unwrap() {
            client = connect();
            drop(connection);
            accepted += 1;
            assert!(accepted <= most, "it never ends");
        }
        assert_eq!(accepted, most);
        drop((listener, client));
        let refused = || StdTcpStream::connect(address).is_err();
        until(refused).await;
    });
}

#[test]
fn dropped_listeners_leak_no_descriptor() {
    on_both(|| async {
        let before = descriptors();
        for round in 0..200 {
            let (listener, address) = local_listener();
            let pending = race(listener.accept(), ready(())).await;
            assert!(matches!(pending, Either::Second(())));
            if round % 2 == 0 {
                let _client = StdTcpStream::connect(address).unwrap();
            }
            if round % 3 == 0 {
                listener.stop().await;
            }
            drop(listener);
        }
        // Other tests of this process open descriptors too.
        until(|| descriptors() < before + 150).await;
    });
}

#[test]
fn shards_share_a_port_only_on_purpose() {
    on_both(|| async {
        let first = Listener::bind(([127, 0, 0, 1], 0).into(), true).unwrap();
        let second = Listener::bind(first.local_addr(), true).unwrap();
        assert_eq!(first.local_addr(), second.local_addr());
        let alone = Listener::bind(([127, 0, 0, 1], 0).into(), false).unwrap();
        assert!(Listener::bind(alone.local_addr(), true).is_err());
    });
}

#[test]
fn a_listener_that_was_handed_over_works() {
    on_both(|| async {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = Listener::from_std(socket).unwrap();
        let client = StdTcpStream::connect(listener.local_addr()).unwrap();
        let (connection, _) = listener.accept().await.unwrap().unwrap();
        assert_eq!(connection.control.socket_options(), Some((true, true)));
        assert_eq!(connection.control.peer_addr(), client.local_addr().unwrap());
        // And a connection that was handed over, the other way round.
        let mut handed = Connection::from_std(client).unwrap();
        let mut connection = connection;
        handed.writer.write(crate::buffer::Chunk::from_static(b"hi").into()).await.unwrap();
        assert_eq!(&connection.reader.read().await.unwrap().unwrap()[..], b"hi");
    });
}

/// The limit holds for the process, so that the test runs in a child of its own.
#[test]
fn out_of_descriptors_pauses_instead_of_spinning() {
    for driver in ["io_uring", "epoll"] {
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "runtime::tests::listener::out_of_descriptors_child", "--ignored"])
            .args(["--nocapture", "--test-threads=1"])
            .env("RINGWARD_TEST_DRIVER", driver)
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&child.stdout).into_owned();
        let errors = String::from_utf8_lossy(&child.stderr).into_owned();
        assert!(child.status.success() && output.contains("1 passed"), "{driver}: {output}{errors}");
    }
}

#[test]
#[ignore = "run by out_of_descriptors_pauses_instead_of_spinning in a process of its own"]
fn out_of_descriptors_child() {
    let driver = match std::env::var("RINGWARD_TEST_DRIVER").as_deref() {
        Ok("io_uring") if super::super::probe().io_uring.is_ok() => Driver::IoUring,
        _ => Driver::Epoll,
    };
    run(driver, &|| async {
        let (listener, address) = local_listener();
        let clients: Vec<_> = (0..40).map(|_| StdTcpStream::connect(address).unwrap()).collect();
        sys::set_descriptor_limit(descriptors() as u64 + 5).unwrap();
        let listener = Rc::new(listener);
        let accepted = Rc::new(RefCell::new(Vec::new()));
        let (task_listener, task_accepted) = (Rc::clone(&listener), Rc::clone(&accepted));
        let total = Rc::new(Cell::new(0));
        let task_total = Rc::clone(&total);
        let accepting = async move {
            while let Some((connection, _)) = task_listener.accept().await.unwrap() {
                task_total.set(task_total.get() + 1);
                task_accepted.borrow_mut().push(connection);
            }
        };
        spawn_guarded("accept", accepting, |_| {});
        until(|| listener.errors() >= 4).await;
        assert!(total.get() < clients.len(), "the limit was reached");
        // Descriptors come back, and accepting resumes without a nudge.
        while total.get() < clients.len() {
            accepted.borrow_mut().clear();
            sleep(Duration::from_millis(1)).await;
        }
        assert!(listener.errors() < 100, "{} errors", listener.errors());
        accepted.borrow_mut().clear();
        for mut client in clients {
            let mut end = Vec::new();
            client.read_to_end(&mut end).unwrap();
        }
    });
    // Also only in a process of its own.
    sys::forbid_dumps().unwrap();
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap_or_default();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{core}");
}
