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

/// What stands in the way of what this kernel has.
const FORBIDDEN: &str = "io_uring is forbidden here; allow the io_uring_setup, io_uring_enter and \
                         io_uring_register calls in the container's seccomp profile, and set the sysctl \
                         kernel.io_uring_disabled to 0";

fn explain(error: &io::Error) -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    explain_of(error, &release)
}

fn explain_of(error: &io::Error, release: &str) -> String {
    match error.raw_os_error() {
        // Some engines answer so for whatever their profile does not name.
        Some(libc::ENOSYS) if has_io_uring(release) => FORBIDDEN.into(),
        Some(libc::ENOSYS) => "this kernel has no io_uring; Linux 5.11 or newer has it".into(),
        Some(libc::EPERM | libc::EACCES) => FORBIDDEN.into(),
        Some(libc::ENOMEM) => {
            "io_uring may not lock memory; raise the limit (ulimit -l, LimitMEMLOCK=)".into()
        }
        _ => format!("io_uring cannot be set up: {error}"),
    }
}

/// Whether a kernel of this release, such as `6.1.0-9-amd64`, has what the gateway uses.
fn has_io_uring(release: &str) -> bool {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (5, 11),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_hides_io_uring_is_told_from_a_kernel_without_it() {
        let said = |code, release| explain_of(&io::Error::from_raw_os_error(code), release);
        assert!(said(libc::ENOSYS, "5.10.0-28-amd64\n").starts_with("this kernel has no io_uring"));
        assert!(said(libc::ENOSYS, "").starts_with("this kernel has no io_uring"));
        for (code, release) in
            [(libc::ENOSYS, "6.1.0-9-amd64\n"), (libc::ENOSYS, "5.11"), (libc::EPERM, "6.1")]
        {
            assert!(said(code, release).starts_with("io_uring is forbidden here"), "{code} {release}");
        }
    }
}
