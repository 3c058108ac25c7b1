//! The system calls that std and socket2 do not offer, each behind a safe function.
#![allow(unsafe_code)]

use std::{io, mem, os::fd::RawFd};

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Binds the calling thread to one logical CPU.
///
/// # Errors
/// `EINVAL` if the CPU does not exist or the process may not use it: the operator's fault.
pub fn pin_thread(cpu: usize) -> io::Result<()> {
    set_affinity(&[cpu])
}

/// Lets the calling thread run on these logical CPUs alone; threads that it starts do as well.
///
/// # Errors
/// `EINVAL` if the process may use none of them, or one does not exist: the operator's fault.
pub fn set_affinity(cpus: &[usize]) -> io::Result<()> {
    if cpus.iter().any(|cpu| *cpu >= libc::CPU_SETSIZE as usize) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: `cpu_set_t` is a plain bit array for which zeroes are a value; each CPU was checked to lie
    // within it; the kernel only reads the set, for the length that is given.
    check(unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        cpus.iter().for_each(|cpu| libc::CPU_SET(*cpu, &mut set));
        libc::sched_setaffinity(0, mem::size_of_val(&set), &set)
    })
}

/// Lets the calling thread run only while nothing else wants its processor (`SCHED_IDLE`, sched(7)).
///
/// # Errors
/// The system does not allow it.
pub fn run_when_idle() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the kernel only reads the parameters; 0 means the calling thread.
    check(unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &parameters) })
}

/// Logical CPUs that the calling thread may use, in ascending order.
pub fn allowed_cpus() -> Vec<usize> {
    // SAFETY: as in `pin_thread`; the kernel writes at most the length that is given.
    let set = unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        if libc::sched_getaffinity(0, mem::size_of_val(&set), &mut set) < 0 {
            return Vec::new();
        }
        set
    };
    // SAFETY: every index is below `CPU_SETSIZE`.
    (0..libc::CPU_SETSIZE as usize).filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) }).collect()
}

/// Marks a descriptor as not to be inherited by programs that the gateway starts (`exec` secret sources).
pub fn set_cloexec(fd: RawFd) -> io::Result<()> {
    // SAFETY: no memory is passed; a wrong descriptor gives EBADF.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) })
}

/// Which direction of a socket [`shutdown`] ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Pending and later reads end with 0 after what has arrived already.
    Read,
    /// Both; pending and later writes fail.
    Both,
}

/// Receives what has come already, behind the bytes that the buffer holds and within its capacity, and never
/// waits; says how many bytes that was, 0 at the end of the stream.
///
/// # Errors
/// `WouldBlock` without any; else the connection failed or was reset.
pub fn receive_now(fd: RawFd, buffer: &mut bytes::BytesMut) -> io::Result<usize> {
    let room = buffer.spare_capacity_mut();
    // SAFETY: the kernel writes at most the length that is given into memory that is lent for it alone.
    let received = unsafe { libc::recv(fd, room.as_mut_ptr().cast(), room.len(), libc::MSG_DONTWAIT) };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel has just initialised so many bytes behind the first `len`, within the capacity.
    unsafe { buffer.set_len(buffer.len() + received) };
    Ok(received)
}

/// `shutdown(2)`: ends pending operations of a socket without closing its descriptor.
pub fn shutdown(fd: RawFd, direction: Direction) -> io::Result<()> {
    let how = match direction {
        Direction::Read => libc::SHUT_RD,
        Direction::Both => libc::SHUT_RDWR,
    };
    // SAFETY: no memory is passed; a wrong descriptor gives EBADF.
    check(unsafe { libc::shutdown(fd, how) })
}

/// Aborts a TCP connection: RST, never FIN, and unsent data is thrown away. Pending operations end with
/// `ECONNRESET`. `SO_LINGER` 0 alone would not do: it acts on `close`, after `shutdown` has sent a FIN.
pub fn abort(fd: RawFd) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: the kernel reads one `linger` of the length that is given.
    let lingered = check(unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            mem::size_of_val(&linger) as libc::socklen_t,
        )
    });
    // SAFETY: `sockaddr` is plain bytes for which zeroes are a value, and zero is AF_UNSPEC; the kernel only
    // reads it. Connecting a TCP socket to AF_UNSPEC disconnects it (tcp_disconnect sends the RST).
    let disconnected = check(unsafe {
        let unspecified: libc::sockaddr = mem::zeroed();
        libc::connect(fd, &unspecified, mem::size_of_val(&unspecified) as libc::socklen_t)
    });
    lingered.and(disconnected)
}

/// Keeps memory out of core files and away from debuggers of the same user (SECURITY R46): no core dumps,
/// not dumpable.
pub fn forbid_dumps() -> io::Result<()> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel reads one `rlimit`.
    check(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) })?;
    // SAFETY: PR_SET_DUMPABLE takes one integer and no memory.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) })
}

/// Raises the soft limit of open descriptors to the hard one; returns the limit that holds now.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one `rlimit`.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the kernel reads one `rlimit`.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })?;
    Ok(limit.rlim_cur)
}

/// Sets the soft limit of open descriptors, within the hard one: how tests run out of them.
pub fn set_descriptor_limit(soft: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one `rlimit`.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    limit.rlim_cur = soft.min(limit.rlim_max);
    // SAFETY: the kernel reads one `rlimit`.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })
}

/// Whether NODELAY and CLOEXEC are set on a socket.
#[cfg(test)]
pub(super) fn socket_options(fd: RawFd) -> io::Result<(bool, bool)> {
    let mut nodelay: libc::c_int = 0;
    let mut length = mem::size_of_val(&nodelay) as libc::socklen_t;
    // SAFETY: the kernel writes one integer of the length that is given.
    check(unsafe {
        libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, (&raw mut nodelay).cast(), &mut length)
    })?;
    // SAFETY: no memory is passed.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    check(flags)?;
    Ok((nodelay != 0, flags & libc::FD_CLOEXEC != 0))
}

/// The listening socket that systemd handed over under `name` (`FileDescriptorName=`, sd_listen_fds(3));
/// `None` if there is none.
pub fn inherited_listener(name: &str) -> Option<std::net::TcpListener> {
    let own = std::env::var("LISTEN_PID").ok()? == std::process::id().to_string();
    let count: RawFd = std::env::var("LISTEN_FDS").ok()?.parse().ok()?;
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let index = names.split(':').position(|one| one == name)? as RawFd;
    if !own || index >= count {
        return None;
    }
    const FIRST: RawFd = 3;
    let fd = FIRST + index;
    set_cloexec(fd).ok()?;
    // SAFETY: systemd opened `fd` for this very process (LISTEN_PID) and passes it on as ours to close; it is
    // taken only here, and a duplicate is made, so that two listeners of one name do not share ownership.
    let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
    borrowed.try_clone_to_owned().ok().map(std::net::TcpListener::from)
}

/// The user that this process runs as.
pub fn user_id() -> u32 {
    // SAFETY: getuid(2) takes nothing, touches no memory of ours and cannot fail.
    unsafe { libc::getuid() }
}
