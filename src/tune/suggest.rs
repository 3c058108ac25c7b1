use super::{Topology, topology::list};
use std::fmt::Write as _;

/// Physical cores from which on one of them is kept for the journal and the operators' side.
const CORES_TO_KEEP_ONE: usize = 4;

/// The text of a `cores.toml` that fits, with the reasons for what it says.
pub fn suggest(topology: &Topology) -> String {
    let cores = topology.cores();
    let mut text = String::from(
        "# Written by `ringward tune suggest`, for `[runtime] tuning = \"cores.toml\"`.\n\
         # What it leaves out has its default; tuning/cores.toml shows every key.\n",
    );
    let _ = writeln!(
        text,
        "# Found: {} CPUs, {} cores, {} NUMA {}{}.",
        topology.cpus.len(),
        cores.len(),
        topology.nodes(),
        if topology.nodes() == 1 { "node" } else { "nodes" },
        if topology.is_container { ", in a container" } else { "" },
    );
    text.push_str("\nversion = 1\n");
    match topology.quota {
        Some(quota) if quota < topology.cpus.len() as f64 => under_quota(&mut text, topology, quota),
        _ if cores.len() >= CORES_TO_KEEP_ONE => with_a_core_kept(&mut text, topology),
        _ => {
            text.push_str(
                "\n# A shard on each CPU: there are too few cores to keep one for other threads.\n",
            );
            let _ = writeln!(text, "shards = \"{}\"", all(topology));
        }
    }
    text
}

fn all(topology: &Topology) -> String {
    list(&topology.cpus.iter().map(|cpu| cpu.number).collect::<Vec<_>>())
}

/// More shards than the quota has CPUs would be stopped together, in the middle of requests.
fn under_quota(text: &mut String, topology: &Topology, quota: f64) {
    let shards = (quota.floor() as usize).max(1);
    let _ = write!(
        text,
        "\n# The control group may use {quota} of its {} CPUs at a time. More shards would use\n\
         # that up early in each period, and all of them would stand still for the rest of it.\n",
        topology.cpus.len(),
    );
    let _ = writeln!(text, "shards = {shards}");
}

/// The last core is kept, with all its threads.
fn with_a_core_kept(text: &mut String, topology: &Topology) {
    let mut cores = topology.cores();
    let Some((_, mut kept)) = cores.pop() else { return };
    let mut shards: Vec<usize> = cores.into_iter().flat_map(|(_, threads)| threads).collect();
    shards.sort_unstable();
    kept.sort_unstable();
    let kept = list(&kept);
    let _ = write!(
        text,
        "\n# The last core is kept for the threads beside the shards.\nshards = \"{}\"\n\n[threads]\n\
         journal = \"{kept}\"\nadmin = \"{kept}\"\n",
        list(&shards),
    );
    if topology.nodes() > 1 {
        text.push_str(
            "\n# There are several NUMA nodes. Memory of a shard is on the node of its own thread;\n\
             # whether callers come in there is for the network card to say.\n",
        );
    }
}
