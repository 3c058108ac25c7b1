//! Replays the kept corpus of every fuzz target: what a fuzzer once found stays found.

use std::path::Path;

#[path = "../fuzz/targets/mod.rs"]
mod targets;

#[test]
fn every_kept_input_holds_its_targets_properties() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, target) in targets::TARGETS {
        let inputs = std::fs::read_dir(corpus.join(name)).expect("each target keeps a corpus");
        let mut count = 0;
        for input in inputs {
            let path = input.expect("a readable folder").path();
            println!("{}", path.display());
            target(&std::fs::read(&path).expect("a readable file"));
            count += 1;
        }
        assert!(count > 0, "the corpus of {name} is empty");
    }
}
