//! The process dies at any moment, also while it starts: nothing that was acknowledged is lost, neither what
//! was committed as durable nor what was only written.

use super::{
    Outcome, Run,
    world::{BOTH, World},
};
use std::{thread, time::Duration};

pub fn run(run: &mut Run) -> Outcome {
    let mut world = World::start(World::folder(), "");
    for cycle in 1..=run.cycles {
        let load = world.load(BOTH, 4, 300);
        world.until_served(&load, 1);
        thread::park_timeout(Duration::from_millis(run.random.below(60)));
        let folder = world.kill();
        // The callers find out by themselves.
        let answers = load.stop();
        world.acknowledge(&answers);
        for _ in 0..run.random.below(3) {
            // What recovers may die as well.
            world.short_life(folder.path(), Duration::from_millis(run.random.below(40)));
        }
        world.revive(folder, run, cycle);
    }
    let (tally, recoveries) = world.end(run.cycles);
    println!("  kill: {recoveries} recoveries were recorded");
    assert!(recoveries >= run.cycles, "each death of a gateway that served is recorded");
    Ok(tally)
}
