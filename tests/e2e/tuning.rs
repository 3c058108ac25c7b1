//! What a gateway takes of the machine is what its `cores.toml` says: read back from the kernel.

use super::support::{
    gateway::{Gateway, open_route, rewrite, ringward},
    http::ask,
    upstream::Upstream,
};
use std::{collections::BTreeMap, fs, path::Path, process::Command};

/// A gateway with this `cores.toml`.
fn write(folder: &Path, routes: &str, tuning: &str) {
    Gateway::prepare(folder, routes);
    let file = folder.join("ringward.toml");
    rewrite(&file, |text| text.replace("cores = 1", "tuning = \"cores.toml\""));
    fs::write(folder.join("cores.toml"), tuning).unwrap();
}

/// The CPUs in a list such as `0-3,8` of a process's or thread's status.
fn allowed(status: &Path) -> Vec<usize> {
    let text = fs::read_to_string(status).unwrap();
    let list = text.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        first.parse::<usize>().unwrap()..=last.parse::<usize>().unwrap()
    };
    list.trim().split(',').flat_map(range).collect()
}

/// Where the threads of a process may run, by their names.
fn threads(pid: u32) -> BTreeMap<String, Vec<usize>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let one = |task: std::io::Result<fs::DirEntry>| {
        let folder = task.unwrap().path();
        // A thread may end meanwhile.
        let name = fs::read_to_string(folder.join("comm")).ok()?;
        Some((name.trim().to_owned(), allowed(&folder.join("status"))))
    };
    tasks.filter_map(one).collect()
}

#[test]
fn threads_rings_and_sockets_are_what_the_file_says() {
    let here = allowed(Path::new("/proc/self/status"));
    let (first, last) = (here[0], here[here.len() - 1]);
    let tuning = format!(
        "version = 1\nshards = \"{first},{last}\"\nring.entries = 512\n\
         [threads]\njournal = \"{last}\"\nadmin = \"{first}\"\n\
         [listener]\nbacklog = 77\nsend_buffer = \"64KiB\"\n\
         [[cpu]]\ncpus = \"{last}\"\nring.entries = 1024\nlistener.backlog = 88\n"
    );
    let upstream = Upstream::answering("served");
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &open_route("up", upstream.address), &tuning);
    let command = Gateway::run_in(folder.path());
    let gateway = Gateway::spawn(folder, command);
    assert_eq!(ask(&gateway.address(), "GET", "/", &[], "").text(), "served");
    let threads = threads(gateway.process.id());
    let expected = [
        ("ringward", first),
        ("background", first),
        ("approvals", first),
        ("journal", last),
        ("journal-sync", last),
        ("journal-keeper", last),
        ("shard-0", first),
    ];
    for (name, cpu) in expected {
        assert_eq!(threads.get(name), Some(&vec![cpu]), "{name}: {threads:?}");
    }
    let has_two = first != last;
    assert_eq!(threads.get("shard-1"), has_two.then(|| vec![last]).as_ref(), "{threads:?}");
    let backlogs: &[u32] = if has_two { &[77, 88] } else { &[88] };
    check_sockets(&gateway.address(), backlogs);
    let masks: &[u32] = if has_two { &[511, 1023] } else { &[1023] };
    check_rings(gateway.process.id(), masks);
}

/// Looks with ss(8): the backlog stands where a connection has its send queue.
fn check_sockets(address: &str, backlogs: &[u32]) {
    let Ok(shown) = Command::new("ss").args(["-ltnmH", "src", address]).output() else {
        println!("skipped: ss is not installed: the listening sockets were not looked at");
        return;
    };
    let shown = String::from_utf8(shown.stdout).unwrap();
    let mut found: Vec<u32> =
        shown.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse().ok()).collect();
    found.sort_unstable();
    assert_eq!(found, backlogs, "{shown}");
    assert_eq!(shown.matches(",tb131072,").count(), backlogs.len(), "64 KiB, as the kernel counts: {shown}");
}

/// The rings of the shards, as the kernel describes them: entries, less one.
fn check_rings(pid: u32, masks: &[u32]) {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else {
        println!("skipped: only root may look at the rings of a process that is not dumpable");
        return;
    };
    let mask = |file: std::io::Result<fs::DirEntry>| {
        let text = fs::read_to_string(file.ok()?.path()).ok()?;
        let hex = text.lines().find_map(|line| line.strip_prefix("SqMask:"))?.trim().to_owned();
        u32::from_str_radix(hex.trim_start_matches("0x"), 16).ok()
    };
    let mut found: Vec<u32> = files.filter_map(mask).collect();
    found.sort_unstable();
    if found.is_empty() {
        println!("skipped: there is no io_uring here");
        return;
    }
    assert_eq!(found, masks);
}

#[test]
fn what_is_wrong_with_the_file_is_said_before_anything_starts() {
    let check = |tuning: &str, code: i32, said: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &open_route("up", "127.0.0.1:9"), tuning);
        let file = folder.path().join("ringward.toml");
        let output = ringward(&["run", "-c", file.to_str().unwrap()], &[]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{tuning}: {stderr}");
        said.iter().for_each(|part| assert!(stderr.contains(part), "{part}: {stderr}"));
    };
    check("version = 1\n[ring]\nentries = 7\n", 3, &["cores.toml:3:11", "from 256 to 32768"]);
    check(
        "version = 1\nshards = \"8000\"\n",
        1,
        &["a shard: this process may not run on CPU 8000; it may on ["],
    );
    check("version = 1\nthreads.journal = \"8000\"\n", 1, &["threads.journal: this process may not"]);
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &open_route("up", "127.0.0.1:9"), "");
    fs::remove_file(folder.path().join("cores.toml")).unwrap();
    let file = folder.path().join("ringward.toml");
    let output = ringward(&["check", "-c", file.to_str().unwrap()], &[]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("ringward.toml:3:") && stderr.contains("cores.toml"), "{stderr}");
    write(folder.path(), &open_route("up", "127.0.0.1:9"), "version = 1\nshards = 1\n");
    rewrite(&file, |text| text.replace("tuning = ", "cores = 1\ntuning = "));
    let output = ringward(&["check", "-c", file.to_str().unwrap()], &[]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("says with `shards` where shards run, too"), "{stderr}");
}
