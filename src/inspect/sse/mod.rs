//! Server-sent events (WHATWG HTML, "Server-sent events").
pub mod dialect;
use super::Error;
use super::stream::Work;
use crate::buffer::Chunk;
use dialect::Dialect;
#[derive(Debug)]
pub struct Sse {
    dialect: &'static Dialect,
}
impl Sse {
    pub fn new(dialect: &'static Dialect) -> Sse {
        Sse { dialect }
    }
    pub fn push(&mut self, _: &mut Work, _: &Chunk, _: u64) -> Result<(), Error> {
        Err(Error::NotText)
    }
    pub fn finish(&mut self, _: &mut Work) -> Result<(), Error> {
        Err(Error::NotText)
    }
    pub fn held_bytes(&self) -> usize {
        0
    }
}
