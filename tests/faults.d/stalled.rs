//! Writes stand still, as on a disk that is far away: callers are refused after a second, and at once when
//! the queue of the journal is full; nothing is forwarded meanwhile, and then it goes on by itself.

use super::{
    Outcome, Run,
    callers::{Answer, Caller},
    disks::Ext4,
    world::{BOTH, World},
};
use std::time::Instant;

/// Connections that ask all at once, as one thread a caller could not.
const CROWD: usize = 900;
/// Rounds of the crowd in which the queue gets full.
const ROUNDS: usize = 8;

pub fn run(run: &mut Run) -> Outcome {
    let folder = World::folder();
    let disk = Ext4::mount(folder.path(), 96)?;
    // One address is one agent here, and may fill all of the queue.
    let mut world = World::start(folder, "agent_share_percent = 100");
    let mut deepest = 0;
    for cycle in 1..=run.cycles {
        let load = world.load(BOTH, 3, 300);
        world.until_served(&load, 20);
        let frozen = disk.freeze()?;
        // Every caller is refused now; what was on its way before got through until then.
        world.until_refused(&load, 6);
        let before = world.upstream.count();
        let mut answers = Vec::new();
        let (mut depth, mut is_full) = (0, false);
        for round in 0..ROUNDS {
            answers.extend(crowd(&world, cycle, round));
            // The round that finds it full is refused without being queued.
            if std::mem::replace(&mut is_full, world.queue_depth() == depth) {
                break;
            }
            depth = world.queue_depth();
        }
        deepest = deepest.max(depth);
        assert!(answers.iter().all(|answer| answer.status == 503), "{:?}", answers.first());
        assert_eq!(world.upstream.count(), before, "nothing is forwarded that is not recorded");
        drop(frozen);
        world.until_served(&load, 20);
        answers.extend(load.stop());
        world.went_on(&answers, run, cycle);
    }
    println!("  stalled: up to {deepest} records waited");
    Ok(world.end(run.cycles).0)
}

/// One request on each of many connections, all at once.
fn crowd(world: &World, cycle: u64, round: usize) -> Vec<Answer> {
    let address = world.gateway().address();
    let targets = (0..CROWD).map(|number| format!("/durable/crowd/{cycle}/{round}/{number}"));
    let mut asked = Vec::new();
    for target in targets {
        let mut caller = Caller::connect(&address).unwrap();
        caller.send(&target, 10).unwrap();
        asked.push((caller, target));
    }
    let answer = |(mut caller, target): (Caller, String)| {
        let status = caller.status().unwrap();
        Answer { target, status, at: Instant::now() }
    };
    asked.into_iter().map(answer).collect()
}
