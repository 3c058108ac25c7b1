//! Held bodies: in memory as long as there are few, then in files that have no name.

use crate::{
    buffer::{Chunk, Segments},
    limits::HOLD_MEMORY_BYTES,
};
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// One held body.
#[derive(Debug)]
pub enum Body {
    Memory(Chunk),
    /// Nobody can open it by name, and it is gone with the process.
    File(File),
}

/// Where bodies are put.
#[derive(Debug)]
pub struct Bodies {
    dir: PathBuf,
    in_memory: usize,
}

impl Bodies {
    /// Files lie on the file system of `dir`.
    pub fn new(dir: &Path) -> Bodies {
        Bodies { dir: dir.to_owned(), in_memory: 0 }
    }

    /// Keeps a body.
    ///
    /// # Errors
    /// It has no room in memory and none on the disk.
    pub fn keep(&mut self, bytes: Vec<u8>) -> io::Result<Body> {
        if self.in_memory + bytes.len() <= HOLD_MEMORY_BYTES {
            self.in_memory += bytes.len();
            return Ok(Body::Memory(Chunk::from(bytes)));
        }
        let mut file = tempfile::tempfile_in(&self.dir)?;
        file.write_all(&bytes)?;
        Ok(Body::File(file))
    }

    /// Gives a body back.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn take(&mut self, body: Body) -> io::Result<Segments> {
        match body {
            Body::Memory(chunk) => {
                self.in_memory -= chunk.len();
                Ok(chunk.into())
            }
            Body::File(mut file) => {
                let mut bytes = Vec::new();
                file.seek(SeekFrom::Start(0))?;
                file.read_to_end(&mut bytes)?;
                Ok(Chunk::from(bytes).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_memory_does_not_hold_comes_back_from_a_file_without_a_name() {
        let dir = tempfile::tempdir().unwrap();
        let mut bodies = Bodies::new(dir.path());
        bodies.in_memory = HOLD_MEMORY_BYTES - 4;
        let small = bodies.keep(b"four".to_vec()).unwrap();
        let large = bodies.keep(vec![7; 100_000]).unwrap();
        assert!(matches!((&small, &large), (Body::Memory(_), Body::File(_))));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(bodies.take(large).unwrap().to_vec(), vec![7; 100_000]);
        assert_eq!(bodies.take(small).unwrap().to_vec(), b"four");
        assert_eq!(bodies.in_memory, HOLD_MEMORY_BYTES - 4);
    }
}
