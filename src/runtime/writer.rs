use super::{tls::stream::TlsTransmit, transmit::Transmit};
use crate::buffer::{Segments, Tally};
use std::{fmt, io};

/// The sending half of a connection.
///
/// The write that the kernel works on belongs to the writer, so that its futures may be dropped. On clear
/// text what was handed over is then sent all the same, before anything that follows; with TLS the stream may
/// have a hole, and everything that follows fails. Dropping the writer ends our direction: with FIN (and
/// never with close_notify: that is [`Writer::shutdown`]'s), or with a reset if a write is under way or
/// [`super::Control::reset_on_drop`] is set.
pub struct Writer {
    sink: Sink,
}

enum Sink {
    Clear(Transmit),
    Tls(TlsTransmit),
}

impl Writer {
    pub(super) fn clear(transmit: Transmit) -> Writer {
        Writer { sink: Sink::Clear(transmit) }
    }

    pub(super) fn tls(transmit: TlsTransmit) -> Writer {
        Writer { sink: Sink::Tls(transmit) }
    }

    /// The sending half of a clear-text connection, for TLS.
    pub(super) fn into_transmit(self) -> Option<Transmit> {
        match self.sink {
            Sink::Clear(transmit) => Some(transmit),
            Sink::Tls(_) => None,
        }
    }

    /// Sends all slices, in order, without a copy on clear text.
    ///
    /// # Errors
    /// The connection failed, was reset or was shut down; every later write fails too.
    pub async fn write(&mut self, segments: Segments) -> io::Result<()> {
        self.write_head(Vec::new(), false, segments).await.map(drop)
    }

    /// Sends a head of our own making and the slices behind it, in one vectored write where they fit; returns
    /// the head's vector, empty and, if it is `secret` (it holds a credential), wiped, for the next one.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub async fn write_head(&mut self, head: Vec<u8>, secret: bool, body: Segments) -> io::Result<Vec<u8>> {
        match &mut self.sink {
            Sink::Clear(transmit) => transmit.send(head, secret, body).await,
            Sink::Tls(transmit) => transmit.send(head, secret, body).await,
        }
    }

    /// Ends our direction after all that was written: close_notify with TLS, then FIN. The reader goes on.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub async fn shutdown(&mut self) -> io::Result<()> {
        match &mut self.sink {
            Sink::Clear(transmit) => transmit.shutdown().await,
            Sink::Tls(transmit) => transmit.shutdown().await,
        }
    }

    /// Bytes copied since the last call: small slices joined for TLS (`coalesced`).
    pub fn take_tally(&mut self) -> Tally {
        match &mut self.sink {
            Sink::Clear(_) => Tally::default(),
            Sink::Tls(transmit) => transmit.take_tally(),
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.sink {
            Sink::Clear(_) => "clear",
            Sink::Tls(_) => "tls",
        };
        f.debug_struct("Writer").field("kind", &kind).finish_non_exhaustive()
    }
}
