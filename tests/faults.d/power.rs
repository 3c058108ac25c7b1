//! The power fails under load: what was acknowledged as durable before that is there when the file system was
//! mounted again.

use super::{Outcome, Run, Skipped, disks::Ext4, world::World};
use std::{
    thread,
    time::{Duration, Instant},
};

pub fn run(run: &mut Run) -> Outcome {
    let folder = World::folder();
    let mut disk = Ext4::mount(folder.path(), 96)?;
    let mut world = World::start(folder, "");
    for cycle in 1..=run.cycles {
        let load = world.load(&["durable"], 4, 300);
        world.until_served(&load, 20);
        thread::park_timeout(Duration::from_millis(run.random.below(80)));
        // What came before the cut was acknowledged before it.
        let forwarded = world.upstream.take();
        let cut = Instant::now();
        if let Err(error) = disk.cut_power() {
            return Err(Skipped(format!("the file system cannot be shut down: {error}")));
        }
        let folder = world.kill();
        let answers = load.stop();
        let before = answers.into_iter().filter(|answer| answer.status == 200 && answer.at < cut);
        world.log.expect(forwarded.into_iter().chain(before.map(|answer| answer.target)));
        // What got through after the cut promises nothing.
        drop(world.upstream.take());
        disk.mount_again()?;
        world.revive(folder, run, cycle);
    }
    Ok(world.end(run.cycles).0)
}
