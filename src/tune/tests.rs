use super::*;
use crate::limits::{CONNECTIONS_MAX, DESCRIPTORS_RESERVED, LISTEN_BACKLOG};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// A machine made of files.
struct Machine(TempDir);

impl Machine {
    fn new(files: &[(&str, &str)]) -> Machine {
        let machine = Machine(tempfile::tempdir().unwrap());
        files.iter().for_each(|(path, text)| machine.write(path, text));
        machine
    }

    fn place(&self, path: &str) -> PathBuf {
        self.0.path().join(path.trim_start_matches('/'))
    }

    fn write(&self, path: &str, text: &str) {
        let place = self.place(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.place(path)).unwrap().trim().to_owned()
    }

    fn host(&self) -> Host {
        Host::new(self.0.path(), None)
    }

    fn state(&self) -> PathBuf {
        self.place("/var/lib/ringward/tune.json")
    }
}

const SOMAXCONN: &str = "/proc/sys/net/core/somaxconn";
const PORTS: &str = "/proc/sys/net/ipv4/ip_local_port_range";
const SLOW_START: &str = "/proc/sys/net/ipv4/tcp_slow_start_after_idle";
const CONGESTION: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

/// A machine whose queue is short, whose ports are few, and whose connections start slowly again.
fn poor() -> Machine {
    let files =
        [(SOMAXCONN, "128\n"), (PORTS, "40000\t40099\n"), (SLOW_START, "1\n"), (CONGESTION, "cubic\n")];
    Machine::new(&files)
}

fn applied(machine: &Machine, definitions: &[Definition]) -> Vec<(String, Outcome)> {
    let host = machine.host();
    let findings = definitions.iter().map(|one| look(&host, one)).collect();
    let done = apply(&host, &plan(&host, findings), &machine.state()).unwrap();
    done.into_iter().map(|one| (one.id, one.outcome)).collect()
}

fn reverted(machine: &Machine, force: bool) -> Vec<(String, Outcome)> {
    let done = revert(&machine.host(), &machine.state(), force, false).unwrap();
    done.into_iter().map(|one| (one.id, one.outcome)).collect()
}

fn sysctls() -> Vec<Definition> {
    let names = ["somaxconn", "port-range", "slow-start-after-idle"];
    definitions().into_iter().filter(|one| names.contains(&one.id.as_str())).collect()
}

fn changed(id: &str, from: &str, to: &str) -> (String, Outcome) {
    (id.to_owned(), Outcome::Changed(from.to_owned(), to.to_owned()))
}

#[test]
fn the_definitions_are_sound_and_agree_with_the_bounds() {
    let all = definitions();
    for (index, one) in all.iter().enumerate() {
        let texts = [&one.why, &one.evidence, &one.fix, &one.undo, &one.source];
        assert!(texts.iter().all(|text| !text.is_empty()), "{}", one.id);
        assert!(one.why.len() <= 80, "{}: the table has one line", one.id);
        assert!(all[..index].iter().all(|other| other.id != one.id), "{} is there twice", one.id);
        assert!(one.target().is_none_or(|target| one.accepts(&target)), "{}: what is written", one.id);
    }
    let wanted = |id: &str| all.iter().find(|one| one.id == id).unwrap().wanted();
    let descriptors = 2 * CONNECTIONS_MAX as u64 + DESCRIPTORS_RESERVED;
    assert_eq!(wanted("nofile"), format!(">= {descriptors}"));
    assert_eq!(wanted("somaxconn"), format!(">= {LISTEN_BACKLOG}"));
}

#[test]
fn a_setting_is_good_bad_or_of_no_account() {
    let all = definitions();
    let check = |files: &[(&str, &str)], id: &str, mark: Mark, current: &str| {
        let machine = Machine::new(files);
        let definition = all.iter().find(|one| one.id == id).unwrap();
        let finding = look(&machine.host(), definition);
        assert_eq!((finding.mark, finding.current.as_str()), (mark, current), "{id} {files:?}");
    };
    check(&[(SOMAXCONN, "4096\n")], "somaxconn", Mark::Good, "4096");
    check(&[(SOMAXCONN, "128\n")], "somaxconn", Mark::Failure, "128");
    check(&[], "somaxconn", Mark::Skipped, "not here");
    check(&[(PORTS, "32768\t60999\n")], "port-range", Mark::Good, "32768 60999");
    check(&[(PORTS, "60999\t32768\n")], "port-range", Mark::Warning, "60999 32768");
    check(&[(SLOW_START, "1\n"), (CONGESTION, "cubic")], "slow-start-after-idle", Mark::Warning, "1");
    let bbr = [(SLOW_START, "1\n"), (CONGESTION, "bbr")];
    check(&bbr, "slow-start-after-idle", Mark::Skipped, "1, with bbr");
    let release = "/proc/sys/kernel/osrelease";
    check(&[(release, "6.1.0-18-amd64\n")], "kernel", Mark::Good, "6.1.0-18-amd64");
    check(&[(release, "10.0.1\n")], "kernel", Mark::Good, "10.0.1");
    check(&[(release, "5.15.0\n")], "kernel", Mark::Failure, "5.15.0");
    let limits = "/proc/self/limits";
    let text =
        |hard: &str| format!("Limit  Soft Limit  Hard Limit  Units\nMax open files  1024  {hard}  files\n");
    check(&[(limits, &text("1048576"))], "nofile", Mark::Good, "1048576");
    check(&[(limits, &text("unlimited"))], "nofile", Mark::Good, "unlimited");
    check(&[(limits, &text("4096"))], "nofile", Mark::Warning, "4096");
    check(&[(limits, "nonsense")], "nofile", Mark::Warning, "unreadable: invalid data");
    let clock = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    check(&[(clock, "hpet\n")], "clocksource", Mark::Warning, "hpet");
}

#[test]
fn what_is_applied_is_put_back() {
    let machine = poor();
    let expected = [
        changed("somaxconn", "128", "4096"),
        changed("slow-start-after-idle", "1", "0"),
        changed("port-range", "40000 40099", "32768 60999"),
    ];
    assert_eq!(applied(&machine, &sysctls()), expected);
    assert_eq!((machine.read(SOMAXCONN), machine.read(SLOW_START)), ("4096".into(), "0".into()));
    assert!(applied(&machine, &sysctls()).is_empty(), "nothing is left to do");
    let file = persist(&machine.host(), &machine.state()).unwrap().unwrap();
    let kept = machine.read(file.to_str().unwrap());
    assert!(kept.contains("\nnet.core.somaxconn = 4096\n"), "{kept}");
    assert_eq!(reverted(&machine, false).len(), 3);
    assert_eq!(machine.read(SOMAXCONN), "128");
    assert_eq!(machine.read(PORTS), "40000 40099");
    assert_eq!(machine.read(SLOW_START), "1");
    assert_eq!(unpersist(&machine.host(), &machine.state(), false).unwrap().as_deref(), Some(&*file));
    assert!(!machine.place(PERSISTED).exists() && !machine.state().exists());
    assert!(reverted(&machine, false).is_empty(), "again is no fault");
}

#[test]
fn an_apply_that_died_is_put_back() {
    let machine = poor();
    // The first was written; before the second the process ended.
    machine.write(SOMAXCONN, "4096\n");
    let slow = "slow-start-after-idle";
    let changes = vec![saved("somaxconn", SOMAXCONN, "128", "4096"), saved(slow, SLOW_START, "1", "0")];
    State { changes, persisted: None }.store(&machine.state()).unwrap();
    let expected = [(slow.to_owned(), Outcome::Kept("1".to_owned())), changed("somaxconn", "4096", "128")];
    assert_eq!(reverted(&machine, false), expected);
    assert!(!machine.state().exists());
}

fn saved(id: &str, file: &str, old: &str, new: &str) -> Saved {
    Saved { id: id.to_owned(), file: file.into(), old: old.to_owned(), new: new.to_owned() }
}

/// The state lies in the folder of the service, whose user is not root.
#[test]
fn a_forged_state_makes_root_write_nothing_else() {
    let machine = poor();
    let (cron, core) = ("/etc/crontab", "/proc/sys/kernel/core_pattern");
    machine.write(cron, "applied\n");
    machine.write(core, "applied\n");
    let evil = "4096\nkernel.core_pattern = |/tmp/evil";
    let changes = vec![
        saved("cron", cron, "* * * * * root evil", "applied"),
        saved("somaxconn", cron, "* * * * * root evil", "applied"),
        saved("somaxconn", core, "|/tmp/evil", "applied"),
        saved("core", core, "|/tmp/evil", "applied"),
        saved("somaxconn", SOMAXCONN, "128", evil),
    ];
    let state = State { changes, persisted: Some(cron.into()) };
    state.store(&machine.state()).unwrap();
    let done = reverted(&machine, true);
    let failed = done.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Failed(_))).count();
    assert_eq!((done.len(), failed), (5, 4), "{done:?}");
    assert_eq!((machine.read(cron), machine.read(core)), ("applied".into(), "applied".into()));
    let error = unpersist(&machine.host(), &machine.state(), false).unwrap_err();
    assert!(error.to_string().contains("/etc/crontab is to be removed"), "{error}");
    assert!(machine.place(cron).exists());
    state.store(&machine.state()).unwrap();
    assert_eq!(persist(&machine.host(), &machine.state()).unwrap(), None, "nothing of it is a setting");
}

#[test]
fn what_was_applied_twice_goes_back_to_what_was_first() {
    let machine = poor();
    applied(&machine, &sysctls());
    machine.write(SOMAXCONN, "256\n");
    assert_eq!(applied(&machine, &sysctls()), [changed("somaxconn", "256", "4096")]);
    assert!(reverted(&machine, false).contains(&changed("somaxconn", "4096", "128")));
}

#[test]
fn what_somebody_else_has_changed_is_left_alone() {
    let machine = poor();
    applied(&machine, &sysctls());
    machine.write(SOMAXCONN, "8192\n");
    let done = reverted(&machine, false);
    let failed = done.iter().find(|(id, _)| id == "somaxconn").unwrap();
    assert!(matches!(&failed.1, Outcome::Failed(why) if why.contains("it is 8192 now")), "{failed:?}");
    assert_eq!(machine.read(SOMAXCONN), "8192");
    assert_eq!(reverted(&machine, true), [changed("somaxconn", "8192", "128")]);
    assert_eq!(machine.read(SOMAXCONN), "128");
}

#[test]
fn without_a_state_nothing_is_changed() {
    let machine = poor();
    machine.write("/var/lib/ringward", "a file where the folder would be");
    let host = machine.host();
    let all = sysctls();
    let findings = all.iter().map(|one| look(&host, one)).collect();
    let error = apply(&host, &plan(&host, findings), &machine.state()).unwrap_err();
    assert!(error.to_string().contains("tune.json"), "{error}");
    assert_eq!(machine.read(SOMAXCONN), "128");
    machine.write("/broken.json", "{\"changes\": 7}");
    let error = State::load(&machine.place("/broken.json")).unwrap_err();
    assert!(error.to_string().contains("is not a state file"), "{error}");
}

#[test]
fn the_plan_is_a_script_and_says_what_would_not_last() {
    let machine = poor();
    machine.write("/proc/self/limits", "Max open files  1024  4096  files\n");
    let host = machine.host();
    let all = definitions();
    let chosen = all.iter().filter(|one| ["somaxconn", "nofile"].contains(&one.id.as_str()));
    let script = plan(&host, chosen.map(|one| look(&host, one)).collect()).script();
    let expected = "#!/bin/sh\n# What `ringward tune apply` does.\nset -eu\n\n\
        # somaxconn: 128 -> 4096\nprintf '%s\\n' '4096' > /proc/sys/net/core/somaxconn\n\n\
        # Gone after a reboot, unless /etc/sysctl.d/90-ringward.conf says (`apply --persist`):\n\
        #   net.core.somaxconn = 4096\n\n\
        # By hand, nofile: systemd: LimitNOFILE= in the unit;";
    assert!(script.starts_with(expected), "{script}");
}

/// Where each CPU is: package, core, node.
fn topology_files(cpus: &[(u32, u32, u32)]) -> Machine {
    let machine = Machine::new(&[("/proc/self/cgroup", "0::/\n")]);
    let mut nodes = std::collections::BTreeMap::<u32, Vec<usize>>::new();
    for (number, (package, core, node)) in cpus.iter().enumerate() {
        let folder = format!("/sys/devices/system/cpu/cpu{number}/topology");
        machine.write(&format!("{folder}/physical_package_id"), &package.to_string());
        machine.write(&format!("{folder}/core_id"), &core.to_string());
        nodes.entry(*node).or_default().push(number);
    }
    let online = nodes.keys().map(u32::to_string).collect::<Vec<_>>().join(",");
    machine.write("/sys/devices/system/node/online", &online);
    for (node, cpus) in nodes {
        machine.write(&format!("/sys/devices/system/node/node{node}/cpulist"), &topology::list(&cpus));
    }
    machine
}

fn suggested(machine: &Machine, cpus: usize) -> String {
    let allowed: Vec<usize> = (0..cpus).collect();
    suggest(&Topology::among(&machine.host(), &allowed))
}

#[test]
fn few_cores_all_run_shards() {
    let machine = topology_files(&[(0, 0, 0), (0, 1, 0)]);
    let text = suggested(&machine, 2);
    assert!(text.contains("Found: 2 CPUs, 2 cores, 1 NUMA node.\n"), "{text}");
    assert!(text.contains("\nshards = \"0-1\"\n") && !text.contains("[threads]"), "{text}");
    // Nothing is known of it: each CPU is a core.
    let text = suggested(&Machine::new(&[]), 2);
    assert!(text.contains("Found: 2 CPUs, 2 cores, 1 NUMA node.\n"), "{text}");
}

#[test]
fn of_many_cores_the_last_one_is_kept_with_both_its_threads() {
    let threads: Vec<_> = (0..8).map(|number| (0, number % 4, 0)).collect();
    let text = suggested(&topology_files(&threads), 8);
    assert!(text.contains("Found: 8 CPUs, 4 cores, 1 NUMA node.\n"), "{text}");
    assert!(text.contains("\nshards = \"0-2,4-6\"\n"), "{text}");
    assert!(text.contains("\njournal = \"3,7\"\nadmin = \"3,7\"\n"), "{text}");
    let two: Vec<_> = (0..8).map(|number| (number / 4, number, number / 4)).collect();
    let text = suggested(&topology_files(&two), 8);
    assert!(text.contains("2 NUMA nodes") && text.contains("several NUMA nodes"), "{text}");
    assert!(text.contains("\nshards = \"0-6\"\n"), "{text}");
}

#[test]
fn a_quota_bounds_the_shards() {
    let check = |group: &str, files: &[(&str, &str)], expected: &str| {
        let machine = topology_files(&[(0, 0, 0), (0, 1, 0), (0, 2, 0), (0, 3, 0)]);
        machine.write("/proc/self/cgroup", group);
        files.iter().for_each(|(path, text)| machine.write(path, text));
        let text = suggested(&machine, 4);
        assert!(text.contains(expected), "{text}");
    };
    let max = |text| [("/sys/fs/cgroup/a/cpu.max", text), ("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n")];
    check("0::/a/b\n", &max("250000 100000\n"), "\nshards = 2\n");
    check("0::/a/b\n", &max("50000 100000\n"), "\nshards = 1\n");
    check("0::/a/b\n", &max("400000 100000\n"), "\njournal = \"3\"\n");
    let old = [
        ("/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us", "150000"),
        ("/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us", "100000"),
    ];
    check("4:cpu,cpuacct:/x\n", &old, "may use 1.5 of its 4 CPUs");
    check("4:cpu,cpuacct:/x\n", &[], "\njournal = \"3\"\n");
}

#[test]
fn a_container_is_known_by_its_marks() {
    let is_container = |files: &[(&str, &str)]| Machine::new(files).host().is_container();
    assert!(!is_container(&[("/proc/self/cgroup", "0::/user.slice\n")]));
    assert!(is_container(&[("/.dockerenv", "")]));
    assert!(is_container(&[("/run/.containerenv", "")]));
    assert!(is_container(&[("/proc/self/cgroup", "0::/kubepods/besteffort/pod1\n")]));
    assert!(!Path::new("/.dockerenv").exists() || Host::new("/", None).is_container());
}
