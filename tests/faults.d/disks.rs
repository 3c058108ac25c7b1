//! Disks that can be made to fail: in memory, in a mount namespace of this process's own, so that everything
//! goes away with it. What a machine does not allow is skipped, with what it said.

#![allow(unsafe_code)]

use super::Skipped;
use std::{
    fs::{self, File},
    io::{self, Write},
    os::{fd::AsRawFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Set inside of the namespace.
const INSIDE: &str = "RINGWARD_FAULTS_INSIDE";

/// `EXT4_IOC_SHUTDOWN`, and its flag that throws the journal's unwritten part away: a power cut.
const SHUTDOWN: libc::c_ulong = 0x8004_587d;
const NO_LOG_FLUSH: u32 = 2;
/// `LOOP_GET_STATUS64`, `LOOP_SET_STATUS64`, the size of their structure, and where it holds the size that
/// the device is cut to (`linux/loop.h`).
const LOOP_GET_STATUS: libc::c_ulong = 0x4C05;
const LOOP_SET_STATUS: libc::c_ulong = 0x4C04;
const LOOP_STATUS_BYTES: usize = 232;
const LOOP_SIZE_LIMIT: usize = 32;

/// Goes on in a mount namespace of its own, where one is to be had; as root of a user namespace, too, which
/// is enough for disks in memory.
pub fn enter_own_namespace() {
    if std::env::var_os(INSIDE).is_some() {
        return;
    }
    for options in [&["--mount"][..], &["--mount", "--map-root-user"]] {
        let works = Command::new("unshare").args(options).arg("true").stderr(Stdio::null()).status();
        if works.is_ok_and(|status| status.success())
            && let Ok(this) = std::env::current_exe()
        {
            let mut command = Command::new("unshare");
            let arguments = std::env::args_os().skip(1);
            // Returns only if it fails: then it goes on without.
            let _ = command.args(options).arg(this).args(arguments).env(INSIDE, "1").exec();
        }
    }
}

/// Runs a command to its end; what it said is why it failed.
fn run(command: &mut Command) -> Result<(), Skipped> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| Skipped(format!("{command:?}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Skipped(format!("{command:?}: {}", said.lines().next().unwrap_or("failed"))))
}

/// A mounted file system, until it is dropped.
#[derive(Debug)]
struct Mount(PathBuf);

impl Mount {
    fn new(command: &mut Command, at: &Path) -> Result<Mount, Skipped> {
        if std::env::var_os(INSIDE).is_none() {
            return Err(Skipped("there is no mount namespace of one's own here".to_owned()));
        }
        fs::create_dir_all(at).map_err(|error| Skipped(format!("{}: {error}", at.display())))?;
        run(command.arg(at))?;
        Ok(Mount(at.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Whoever uses it still keeps it until its end, which comes before that of this process.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).stderr(Stdio::null()).status();
    }
}

/// A disk in memory, of one size.
#[derive(Debug)]
pub struct Memory(Mount);

impl Memory {
    /// # Errors
    /// [`Skipped`]: it cannot be mounted here.
    pub fn mount(at: &Path, mib: u64) -> Result<Memory, Skipped> {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"]);
        Mount::new(&mut command, at).map(Memory)
    }

    /// Takes all the room that is left.
    pub fn fill(&self) {
        let mut ballast = File::options().append(true).create(true).open(self.ballast()).unwrap();
        for piece in [vec![b'x'; 1 << 16], vec![b'x'; 1 << 12]] {
            let error = loop {
                if let Err(error) = ballast.write_all(&piece) {
                    break error;
                }
            };
            assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
        }
    }

    /// Gives it back.
    pub fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.0.0.join("ballast")
    }
}

/// An ext4 file system in a file in memory, through a loop device.
#[derive(Debug)]
pub struct Ext4 {
    mount: Option<Mount>,
    at: PathBuf,
    image: PathBuf,
    _memory: Memory,
}

impl Ext4 {
    /// Makes one in `folder` and mounts it at its `disk`.
    ///
    /// # Errors
    /// [`Skipped`]: this needs root, loop devices, and `mkfs.ext4`.
    pub fn mount(folder: &Path, mib: u64) -> Result<Ext4, Skipped> {
        let memory = Memory::mount(&folder.join("memory"), mib * 2)?;
        let image = folder.join("memory/image");
        let sized = File::create(&image).and_then(|file| file.set_len(mib << 20));
        sized.map_err(|error| Skipped(format!("{}: {error}", image.display())))?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        let mut disk = Ext4 { mount: None, at: folder.join("disk"), image, _memory: memory };
        disk.mount_image()?;
        Ok(disk)
    }

    fn mount_image(&mut self) -> Result<(), Skipped> {
        let mut command = Command::new("mount");
        // The loop device goes away with the mount.
        command.args(["-o", "loop"]).arg(&self.image);
        self.mount = Some(Mount::new(&mut command, &self.at)?);
        Ok(())
    }

    /// Unmounts it, which nobody uses, and mounts it anew: the file system replays its journal.
    ///
    /// # Errors
    /// [`Skipped`] as for the first time.
    pub fn mount_again(&mut self) -> Result<(), Skipped> {
        run(Command::new("umount").arg(&self.at)).unwrap_or_else(|Skipped(why)| panic!("{why}"));
        // It is unmounted already.
        std::mem::forget(self.mount.take());
        self.mount_image()
    }

    /// What a power cut does: nothing is written any more, and what was not synced is gone.
    ///
    /// # Errors
    /// The kernel does not know how.
    pub fn cut_power(&self) -> io::Result<()> {
        let root = File::open(&self.at)?;
        // SAFETY: the descriptor is open, and the argument is one that this request reads 4 bytes of.
        let result = unsafe { libc::ioctl(root.as_raw_fd(), SHUTDOWN as _, &NO_LOG_FLUSH) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// From now on each access is beyond the end of the device, an I/O error.
    ///
    /// # Errors
    /// The kernel does not do it.
    pub fn break_device(&self) -> io::Result<()> {
        let device = self.device()?;
        let mut status = [0u8; LOOP_STATUS_BYTES];
        // SAFETY: the descriptor is open, and the array is as long as the structure that this request fills.
        if unsafe { libc::ioctl(device.as_raw_fd(), LOOP_GET_STATUS as _, status.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        status[LOOP_SIZE_LIMIT..LOOP_SIZE_LIMIT + 8].copy_from_slice(&4096u64.to_ne_bytes());
        // SAFETY: as above; this request only reads it.
        if unsafe { libc::ioctl(device.as_raw_fd(), LOOP_SET_STATUS as _, status.as_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// The loop device.
    fn device(&self) -> io::Result<File> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let at = self.at.to_str().unwrap_or_default();
        let line = mounts.lines().find(|line| line.split(' ').nth(1) == Some(at));
        let device = line.and_then(|line| line.split(' ').next()).ok_or(io::ErrorKind::NotFound)?;
        File::options().read(true).write(true).open(device)
    }

    /// Writes stand still until this is dropped, or until this process ends.
    ///
    /// # Errors
    /// [`Skipped`]: it cannot be done here.
    pub fn freeze(&self) -> Result<Frozen, Skipped> {
        // Thaws when its input ends, however this process ends.
        let mut thaws = Command::new("sh")
            .args(["-c", "read line; exec fsfreeze --unfreeze \"$1\"", "thaw"])
            .arg(&self.at)
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|error| Skipped(error.to_string()))?;
        if let Err(skipped) = run(Command::new("fsfreeze").arg("--freeze").arg(&self.at)) {
            let _ = thaws.kill();
            let _ = thaws.wait();
            return Err(skipped);
        }
        Ok(Frozen(thaws))
    }
}

/// A file system whose writes stand still.
pub struct Frozen(Child);

impl Drop for Frozen {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
