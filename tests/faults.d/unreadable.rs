//! Every access to the disk is an I/O error: nothing is forwarded any more, refusals go out and are counted,
//! the operators are served, and a start on a disk that works again finds everything that was acknowledged.

use super::{
    Outcome, Run, Skipped,
    callers::Caller,
    disks::Ext4,
    support::eventually,
    world::{BOTH, World},
};
use std::{thread, time::Duration};

pub fn run(run: &mut Run) -> Outcome {
    let folder = World::folder();
    let mut disk = Ext4::mount(folder.path(), 96)?;
    let mut world = World::start(folder, "");
    for cycle in 1..=run.cycles {
        // What was only written is not promised to outlive a disk.
        let load = world.load(&["durable"], 4, 300);
        world.until_served(&load, 20);
        thread::park_timeout(Duration::from_millis(run.random.below(50)));
        if let Err(error) = disk.break_device() {
            return Err(Skipped(format!("the loop device cannot be cut: {error}")));
        }
        eventually("a journal that has failed", || (world.audit_status("state") == "failed").then_some(()));
        let answers = load.stop();
        world.acknowledge(&answers);
        check_refuses(&world);
        let folder = world.kill();
        disk.mount_again()?;
        world.revive(folder, run, cycle);
    }
    Ok(world.end(run.cycles).0)
}

/// A gateway whose journal is dead says so to callers and operators, and forwards nothing.
fn check_refuses(world: &World) {
    let address = world.gateway().address();
    let before = world.upstream.count();
    let counted = |code: &str| world.metric("ringward_requests_total", &format!("code=\"{code}\""));
    let (unavailable, refused) = (counted("503"), counted("403"));
    for number in 0..5 {
        for route in BOTH {
            let status = Caller::connect(&address)
                .and_then(|mut caller| caller.ask(&format!("/{route}/dead/{number}"), 100));
            assert_eq!(status.unwrap(), 503, "{}", world.gateway().log());
        }
        let status = Caller::connect(&address).and_then(|mut caller| caller.ask("/refused/dead", 100));
        assert_eq!(status.unwrap(), 403, "a refusal goes out, recorded or not");
    }
    assert_eq!(world.upstream.count(), before, "nothing is forwarded");
    eventually("counted refusals", || {
        ((counted("503"), counted("403")) == (unavailable + 10.0, refused + 5.0)).then_some(())
    });
    let error = world.audit_status("last_error");
    assert!(error.as_str().is_some_and(|error| error.contains("the audit disk failed")), "{error}");
}
