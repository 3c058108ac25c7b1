//! The few system calls that need `unsafe`: around the commands that give secrets.
#![allow(unsafe_code)]

use std::io;
use tokio::process::Command;

/// `CLOSE_RANGE_CLOEXEC` of `close_range(2)`: mark instead of close, so that the pipe through which the
/// parent learns of a failed exec still works.
const CLOSE_RANGE_CLOEXEC: libc::c_uint = 1 << 2;

/// Has `command` inherit descriptors 0 to 2 only, even if some other one was opened without `O_CLOEXEC`.
pub(super) fn inherit_no_descriptors(command: &mut Command) {
    let highest = descriptor_limit();
    // SAFETY: the closure runs between fork and exec of a process that has threads, so it may only make
    // calls that are async-signal-safe: `mark_descriptors` makes system calls, allocates nothing, takes no
    // lock.
    unsafe {
        command.pre_exec(move || mark_descriptors(highest));
    }
}

fn mark_descriptors(highest: libc::c_int) -> io::Result<()> {
    // SAFETY: close_range with this flag takes three integers and only sets a flag on descriptors.
    let marked = unsafe {
        libc::syscall(libc::SYS_close_range, 3 as libc::c_uint, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC)
    };
    if marked != 0 {
        // The kernel is older than 5.11, or a filter forbids the call.
        for descriptor in 3..highest {
            // SAFETY: F_SETFD takes integers; a descriptor that is not open gives EBADF, which is fine.
            unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

/// One more than the highest descriptor that this process can have.
fn descriptor_limit() -> libc::c_int {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit that getrlimit writes to and does not keep.
    let read = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    let limit = if read == 0 { limit.rlim_cur } else { 1 << 20 };
    libc::c_int::try_from(limit.min(1 << 20)).unwrap_or(1 << 20)
}

/// Kills all processes of the group that `leader` leads. The caller has not yet waited for the leader: until
/// then its number cannot belong to anybody else.
pub(super) fn kill_group(leader: u32) {
    let Ok(group) = libc::pid_t::try_from(leader) else { return };
    if group > 1 {
        // SAFETY: kill takes two integers. A group above 1 is never this process's own or everybody.
        unsafe { libc::kill(-group, libc::SIGKILL) };
    }
}

/// The user whose rights this process has.
pub(super) fn effective_user() -> u32 {
    // SAFETY: geteuid takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn inherited(descriptor: libc::c_int, prepare: impl FnOnce(&mut Command)) -> String {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &format!("[ -e /proc/self/fd/{descriptor} ] && echo open || echo closed")]);
        prepare(&mut command);
        String::from_utf8(command.output().await.unwrap().stdout).unwrap()
    }

    #[test]
    fn a_descriptor_without_cloexec_is_not_inherited() {
        // SAFETY: takes integers; the copy of standard error is closed below.
        let descriptor = unsafe { libc::fcntl(2, libc::F_DUPFD, 200) };
        assert!(descriptor >= 200);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            assert_eq!(inherited(descriptor, |_| ()).await, "open\n");
            assert_eq!(inherited(descriptor, inherit_no_descriptors).await, "closed\n");
        });
        // SAFETY: the descriptor was opened above and is used by nobody else.
        unsafe { libc::close(descriptor) };
    }
}
