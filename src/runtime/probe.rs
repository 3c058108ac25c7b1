use super::Driver;
use io_uring::{IoUring, opcode};
use std::io;

/// Whether io_uring can be used here.
#[derive(Clone, Debug)]
pub struct Probe {
    /// `Err` says why not, and what helps.
    pub io_uring: Result<(), String>,
}

impl Probe {
    /// The driver to start with: io_uring where it works, else epoll.
    pub fn driver(&self) -> Driver {
        if self.io_uring.is_ok() { Driver::IoUring } else { Driver::Epoll }
    }
}

/// Tries io_uring: sets a small ring up and asks for the operations that the gateway uses.
pub fn probe() -> Probe {
    Probe { io_uring: try_ring() }
}

fn try_ring() -> Result<(), String> {
    let ring = IoUring::new(8).map_err(|error| explain(&error))?;
    let mut supported = io_uring::Probe::new();
    ring.submitter().register_probe(&mut supported).map_err(|error| explain(&error))?;
    let needed = [
        ("accept", opcode::Accept::CODE),
        ("connect", opcode::Connect::CODE),
        ("recv", opcode::Recv::CODE),
        ("send", opcode::Send::CODE),
        ("writev", opcode::Writev::CODE),
        ("close", opcode::Close::CODE),
        ("async_cancel", opcode::AsyncCancel::CODE),
        ("timeout", opcode::Timeout::CODE),
    ];
    match needed.iter().find(|(_, code)| !supported.is_supported(*code)) {
        None => Ok(()),
        Some((name, _)) => {
            Err(format!("this kernel's io_uring lacks the operation {name}; Linux 5.11 or newer has it"))
        }
    }
}

fn explain(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => "this kernel has no io_uring; Linux 5.11 or newer has it".into(),
        Some(libc::EPERM | libc::EACCES) => "io_uring is forbidden here; \
             allow the io_uring_setup, io_uring_enter and io_uring_register calls in the container's seccomp \
             profile, and set the sysctl kernel.io_uring_disabled to 0"
            .into(),
        Some(libc::ENOMEM) => {
            "io_uring may not lock memory; raise the limit (ulimit -l, LimitMEMLOCK=)".into()
        }
        _ => format!("io_uring cannot be set up: {error}"),
    }
}
