//! The disk gets full under load, and there is room again, many times in one life: nothing is forwarded that
//! is not recorded, and it goes on by itself. Once with room for the reserve, once without.

use super::{
    Outcome, Run, Tally,
    disks::Memory,
    support::eventually,
    world::{BOTH, World},
};

/// Sizes of the two disks: one is too small for a reserve.
const SMALL_MIB: u64 = 48;
const LARGE_MIB: u64 = 160;

pub fn run(run: &mut Run) -> Outcome {
    let mut all = Tally::default();
    let half = run.cycles.div_ceil(2);
    for (mib, cycles) in [(SMALL_MIB, half), (LARGE_MIB, run.cycles - half)] {
        if cycles == 0 {
            continue;
        }
        let tally = fill_and_free(run, mib, all.cycles, cycles)?;
        all.cycles += tally.cycles;
        all.acknowledged += tally.acknowledged;
        all.found += tally.found;
        all.lost += tally.lost;
    }
    Ok(all)
}

fn fill_and_free(run: &mut Run, mib: u64, done: u64, cycles: u64) -> Outcome {
    let folder = World::folder();
    let disk = Memory::mount(&folder.path().join("disk"), mib)?;
    // Compression would make room by itself.
    let mut world = World::start(folder, "compress = false");
    let life = world.gateway().process.id();
    for cycle in 1..=cycles {
        let load = world.load(BOTH, 3, 2_000);
        world.until_served(&load, 10 + run.random.below(20));
        disk.fill();
        world.until_refused(&load, 20 + run.random.below(50));
        if cycle == 1 {
            let is_told =
                || world.audit_status("disk_full") == true || world.audit_status("state") == "failed";
            eventually("the operators are told", || is_told().then_some(()));
        }
        disk.free();
        world.until_served(&load, 10);
        let answers = load.stop();
        world.went_on(&answers, run, done + cycle);
    }
    assert_eq!(world.gateway().process.id(), life, "no restart was needed");
    Ok(world.end(cycles).0)
}
