//! `ringward tune` on real sysctls: those of a network namespace of the test's own.

use std::process::{Command, Output, Stdio};

/// Runs a script in a network and mount namespace of its own, `$RINGWARD` being the binary. `None` where
/// namespaces are not permitted, which is said.
fn in_namespaces(script: &str) -> Option<Output> {
    // Without privileges a user namespace gives them within.
    let attempts: [&[&str]; 2] = [&["--net", "--mount"], &["--map-root-user", "--net", "--mount"]];
    let unshare = |options: &[&str], script: &str| {
        let mut command = Command::new("unshare");
        command.args(options).args(["--", "sh", "-euc", script]).stdin(Stdio::null());
        command.env("RINGWARD", env!("CARGO_BIN_EXE_ringward")).env("NO_COLOR", "1").output()
    };
    let may = |options: &&&[&str]| {
        let tried = unshare(options, "echo 128 > /proc/sys/net/core/somaxconn");
        tried.is_ok_and(|tried| tried.status.success())
    };
    let Some(options) = attempts.iter().find(may) else {
        println!("skipped: this test needs root, or user namespaces: sysctls of a network namespace");
        return None;
    };
    Some(unshare(options, script).unwrap())
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn apply_writes_real_sysctls_and_revert_restores_them() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "cd {}
        only=somaxconn,port-range,slow-start-after-idle
        show() {{ echo $(cat /proc/sys/net/core/somaxconn /proc/sys/net/ipv4/ip_local_port_range); }}
        echo 128 > /proc/sys/net/core/somaxconn
        echo 40000 40099 > /proc/sys/net/ipv4/ip_local_port_range
        show
        code=0; $RINGWARD tune check --only $only || code=$?; echo code=$code
        $RINGWARD tune plan --only somaxconn > plan.sh
        $RINGWARD tune apply --only somaxconn,port-range --dry-run > dry; show
        $RINGWARD tune apply --only somaxconn,port-range --state state.json; show
        $RINGWARD tune check --only somaxconn,port-range
        $RINGWARD tune revert --state state.json --dry-run; show
        $RINGWARD tune revert --state state.json; show
        test ! -e state.json
        $RINGWARD tune revert --state state.json
        sh plan.sh; show
        ",
        folder.path().display()
    );
    let Some(output) = in_namespaces(&script) else { return };
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    let is_shown = |line: &&str| line.bytes().all(|byte| byte.is_ascii_digit() || byte == b' ');
    let shown: Vec<&str> = said.lines().filter(is_shown).collect();
    let (poor, good) = ("128 40000 40099", "4096 32768 60999");
    // At first; after --dry-run, apply, revert --dry-run, revert; and after the script of the plan.
    assert_eq!(shown, [poor, poor, good, good, poor, "4096 40000 40099"], "{said}");
    assert!(said.contains("code=9"), "{said}");
    assert!(said.contains("somaxconn: 128 -> 4096") && said.contains("somaxconn: 4096 -> 128"), "{said}");
    assert!(said.contains("port-range: 40000 40099 -> 32768 60999"), "{said}");
}

#[test]
fn what_is_read_only_says_where_to_set_it() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "cd {}
        echo 128 > /proc/sys/net/core/somaxconn
        mount --bind /proc/sys /proc/sys
        mount -o remount,bind,ro /proc/sys
        $RINGWARD tune plan --only somaxconn
        code=0; $RINGWARD tune apply --only somaxconn --state state.json || code=$?; echo code=$code
        test ! -e state.json
        ",
        folder.path().display()
    );
    let Some(output) = in_namespaces(&script) else { return };
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("# read-only here: set it on the host"), "{said}");
    assert!(said.contains("somaxconn (/proc/sys/net/core/somaxconn): read-only here"), "{said}");
    assert!(said.contains("code=1"), "{said}");
}

#[test]
fn checks_are_listed_explained_and_printed_as_json() {
    let ringward = |arguments: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_ringward")).arg("tune").args(arguments).output().unwrap();
        (output.status.code(), text(&output))
    };
    let (code, listed) = ringward(&["list"]);
    assert!(code == Some(0) && listed.contains("net.core.somaxconn"), "{listed}");
    let (code, explained) = ringward(&["help", "somaxconn"]);
    assert!(code == Some(0) && explained.contains("undo") && explained.contains("measured"), "{explained}");
    let (code, unknown) = ringward(&["help", "somaxcon"]);
    assert!(code == Some(2) && unknown.contains("did you mean `somaxconn`?"), "{unknown}");
    let (code, checked) = ringward(&["check", "--json"]);
    assert!(matches!(code, Some(0 | 8 | 9)), "{checked}");
    let json: serde_json::Value = serde_json::from_str(&checked).unwrap();
    let bad = json["checks"].as_array().unwrap().iter().filter(|one| one["mark"] == "failure").count();
    assert_eq!(json["failures"], bad);
    let (code, suggested) = ringward(&["suggest"]);
    assert!(code == Some(0) && suggested.contains("version = 1"), "{suggested}");
}
