//! A fault of the gateway itself. No request can cause one, so that the shard gets a recorder that panics.

use super::{
    harness::{Setup, Upstream},
    wire::{End, PATIENCE, Whole, Wire},
};
use ringward::{
    audit::{Cause, Commit, Direction, Record},
    config::{self, Host, Text},
    exchange::{
        Summary,
        handover::{Delivery, Errand, Errands, LogSink, Recorder, Refused, ShardTicket},
        share::{Held, ShareId},
    },
    metrics::Metrics,
    runtime::{self, Listener, MailboxSender, StartOptions, mailbox, probe},
    shard::{self, Capacity, Endpoint, Parts, World},
};
use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, mpsc},
    thread,
};

/// Acknowledges everything, but for the second piece of an answer's body.
struct Volatile {
    records: Arc<Mutex<Vec<Record>>>,
    shard: MailboxSender<Delivery>,
}

impl Recorder for Volatile {
    fn submit(&mut self, _: ShareId, ticket: ShardTicket, _: Commit, record: Record) -> Result<(), Refused> {
        if let Record::Content(content) = &record
            && content.direction == Direction::Response
            && content.offset > 0
        {
            panic!("a fault of our own");
        }
        self.records.lock().unwrap().push(record);
        if ticket != 0 {
            self.shard.send(Delivery::Recorded(ticket, Ok(1))).unwrap();
        }
        Ok(())
    }

    fn held(&self, _: ShareId) -> Held {
        Held::default()
    }

    fn inflight_bytes(&self) -> usize {
        0
    }
}

struct Nothing;

impl Errands for Nothing {
    fn send(&self, errand: Errand) -> Result<(), Errand> {
        Err(errand)
    }
}

impl LogSink for Nothing {
    fn log(&self, _: Box<Summary>) {}
}

/// A shard on a thread of its own; gives its address, what it records, its metrics, and its mailbox.
struct Lone {
    address: SocketAddr,
    records: Arc<Mutex<Vec<Record>>>,
    metrics: Arc<Metrics>,
    mailbox: MailboxSender<Delivery>,
    drained: mpsc::Receiver<()>,
}

fn lone_shard(setup: &Setup) -> Lone {
    let text = Text::new("ringward.toml", ".", setup.text());
    let loaded = config::load(&text).unwrap();
    let snapshot = config::compile(&loaded, &text, &Host::default(), None).unwrap();
    let endpoints = vec![Endpoint { name: "in".into(), tls: None }];
    let capacity = Capacity {
        connections_max: 1_000,
        memory_bytes: 1 << 30,
        agent_share_percent: 25,
        refusals_per_second: 20,
    };
    let world =
        World { plan: snapshot.plan.clone(), endpoints, client_tls: snapshot.upstream_tls.clone(), capacity };
    let (mailbox, inbox) = mailbox(64).unwrap();
    let (records, metrics) = (Arc::<Mutex<Vec<Record>>>::default(), Arc::new(Metrics::default()));
    let recorder = Volatile { records: records.clone(), shard: mailbox.clone() };
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let (on_drained, drained) = mpsc::channel();
    let shared = metrics.clone();
    thread::spawn(move || {
        let options = StartOptions { driver: probe().driver(), entries: 256, cpu: None };
        runtime::start(options, || async move {
            shard::run(Parts {
                index: 0,
                count: 1,
                world: Arc::new(arc_swap::ArcSwap::from_pointee(world)),
                listeners: vec![(0, Listener::from_std(socket).unwrap())],
                recorder: Box::new(recorder),
                errands: Box::new(Nothing),
                log: Box::new(Nothing),
                token_key: [0; 32],
                mailbox: inbox,
                metrics: shared,
                census: Default::default(),
                heartbeat: Default::default(),
                on_drained: Box::new(move || on_drained.send(()).unwrap()),
            })
            .await;
        })
    });
    Lone { address, records, metrics, mailbox, drained }
}

#[test]
fn a_panic_within_an_answer_resets_both_sides_and_is_recorded() {
    let upstream = Upstream::bind();
    let lone = lone_shard(&Setup::to(upstream.address));
    let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    for length in ["transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", "content-length: 8\r\n\r\nhalf"] {
        let mut client = Wire::connect(lone.address);
        client.send(get);
        let mut served = upstream.accept();
        served.request();
        served.send(format!("HTTP/1.1 200 OK\r\n{length}"));
        let head = client.head();
        if length.starts_with("transfer") {
            assert_eq!(client.chunk().unwrap(), b"half");
            served.send("4\r\nrest\r\n0\r\n\r\n");
        } else {
            // The first half was sent, because the head came with it.
            served.send("rest");
        }
        let response = client.body(head, true);
        assert_eq!(response.whole, Whole::No(End::Cut), "{response:?}");
        served.rest();
    }
    // The shard lives on, and so does its book-keeping.
    let mut client = Wire::connect(lone.address);
    client.send(get);
    let mut served = upstream.accept();
    served.request();
    served.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    assert_eq!(client.response().text(), "ok");
    drop(client);
    lone.mailbox.send(Delivery::Drain).unwrap();
    lone.drained.recv_timeout(PATIENCE).expect("no connection is left over");
    assert_eq!((lone.metrics.panics.get(), lone.metrics.totals().in_flight), (2, 0));
    let records = lone.records.lock().unwrap();
    let causes: Vec<_> = records
        .iter()
        .filter_map(|record| match record {
            Record::Outcome(outcome) => Some(outcome.cause),
            _ => None,
        })
        .collect();
    assert_eq!(causes, [Cause::Internal, Cause::Internal, Cause::Complete]);
}
