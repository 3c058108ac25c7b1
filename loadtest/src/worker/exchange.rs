//! One request and its answer.

use super::{connection::Connection, lane::Lane};
use crate::{
    plan::Wire,
    tally::Kind,
    wire::{Decoder, Event, Events, Head, Sort},
};
use std::{io, time::Instant};

/// A whole answer.
#[derive(Debug)]
pub struct Outcome {
    pub head: Head,
    /// Whether the connection may be used again.
    pub keep: bool,
    /// Of a stream: what is wrong with it.
    pub stream: Result<(), Kind>,
    pub first_token: Option<Instant>,
    pub ended: Instant,
}

/// Why there is none.
#[derive(Clone, Copy, Debug)]
pub struct Broken {
    pub kind: Kind,
    /// Whether anything of an answer came: without, a kept connection may have been closed before.
    pub has_begun: bool,
}

/// What is known of an answer while it comes.
struct Answer<'a> {
    head: Option<Head>,
    /// Where the answer is a stream that is looked at.
    events: Option<&'a mut Events>,
    first_token: Option<Instant>,
    last_token: Option<Instant>,
    is_last: bool,
    is_fault: bool,
}

/// Sends the request and then reads the answer, of which nothing is kept. `scanner` is of the wire's dialect.
pub async fn exchange(
    connection: &mut Connection,
    wire: &Wire,
    lane: &Lane,
    measured: bool,
    scanner: Option<&mut Events>,
) -> Result<Outcome, Broken> {
    let mut decoder = Decoder::new(wire.is_head, lane.want());
    let broken = |kind: Kind, has_begun: bool| Broken { kind, has_begun };
    // A server may answer and close before it has read all of a body: what it said is what counts.
    let is_sent = send(connection, wire, lane, measured).await.is_ok();
    let mut answer = Answer {
        head: None,
        events: scanner,
        first_token: None,
        last_token: None,
        is_last: false,
        is_fault: false,
    };
    loop {
        let mut input = connection.received();
        let before = input.len();
        let read = read(&mut decoder, &mut input, &mut answer, lane, measured);
        let left = input.len();
        let is_over = read.map_err(|error| broken(Kind::of(error), true))?;
        connection.consume(left);
        if is_over {
            if left > 0 {
                return Err(broken(Kind::Protocol, true));
            }
            break;
        }
        // Bytes that stay are the beginning of a head.
        let has_begun = decoder.has_begun() || before > 0;
        let count = connection.receive().await.map_err(|_| broken(Kind::Closed, has_begun))?;
        lane.received(measured, count);
        if count == 0 {
            decoder.finish().map_err(|error| broken(Kind::of(error), has_begun))?;
            break;
        }
    }
    let mut outcome = answer.end(wire).ok_or(broken(Kind::Closed, true))?;
    outcome.keep &= is_sent;
    Ok(outcome)
}

async fn send(connection: &mut Connection, wire: &Wire, lane: &Lane, measured: bool) -> io::Result<()> {
    let mut count = wire.head.len();
    connection.send(wire.head.clone()).await?;
    if let Some(body) = &wire.body {
        count += body.len();
        connection.send(body.clone()).await?;
    }
    lane.sent_bytes(measured, count);
    Ok(())
}

/// Reads all there is; says whether the answer is over.
fn read(
    decoder: &mut Decoder,
    input: &mut &[u8],
    answer: &mut Answer<'_>,
    lane: &Lane,
    measured: bool,
) -> Result<bool, crate::wire::Error> {
    // One look at the clock for all events that came together.
    let mut now = None;
    while let Some(event) = decoder.next(input)? {
        match event {
            Event::Head(head) => {
                if !head.is_stream {
                    answer.events = None;
                }
                answer.head = Some(head);
            }
            Event::Data(data) => {
                if let Some(events) = &mut answer.events {
                    let now = *now.get_or_insert_with(Instant::now);
                    let (first, last) = (&mut answer.first_token, &mut answer.last_token);
                    let (is_last, is_fault) = (&mut answer.is_last, &mut answer.is_fault);
                    events.push(data, |sort| match sort {
                        Sort::Token => {
                            lane.token(measured, last.replace(now).map(|last| now - last));
                            first.get_or_insert(now);
                        }
                        Sort::Last => *is_last = true,
                        Sort::Error => *is_fault = true,
                        Sort::Other => {}
                    });
                }
            }
            Event::End => return Ok(true),
        }
    }
    Ok(false)
}

impl Answer<'_> {
    fn end(self, wire: &Wire) -> Option<Outcome> {
        let head = self.head?;
        let is_good = head.status < 400;
        let missing = wire.profile.needs_stream() && is_good && !head.is_stream;
        // Any dialect looked at has a last event.
        let cut = self.events.is_some() && is_good && (self.is_fault || !self.is_last);
        Some(Outcome {
            keep: head.keep_alive,
            stream: if missing || cut { Err(Kind::Stream) } else { Ok(()) },
            first_token: self.first_token,
            ended: Instant::now(),
            head,
        })
    }
}
