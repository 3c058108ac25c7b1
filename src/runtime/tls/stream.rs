use super::session::Session;
use crate::{
    buffer::{ChunkMut, Segments, Tally},
    runtime::{
        receive::{Receive, Received},
        transmit::Transmit,
    },
};
use std::{cell::RefCell, rc::Rc};
use std::{
    io,
    task::{Context, Poll},
};

pub(in crate::runtime) struct TlsReceive {
    pub receive: Receive,
    pub session: Rc<RefCell<Session>>,
}
pub(in crate::runtime) struct TlsTransmit {
    pub transmit: Transmit,
    pub session: Rc<RefCell<Session>>,
}
impl TlsReceive {
    pub fn poll(&mut self, _cx: &mut Context<'_>, _kept: &mut ChunkMut) -> Poll<io::Result<Received>> {
        Poll::Pending
    }
}
impl TlsTransmit {
    pub async fn send(&mut self, head: Vec<u8>, _body: Segments) -> io::Result<Vec<u8>> {
        Ok(head)
    }
    pub async fn shutdown(&mut self) -> io::Result<()> {
        Ok(())
    }
    pub fn take_tally(&mut self) -> Tally {
        Tally::default()
    }
}
