//! Replays the kept corpus of the load tester's fuzz target: what a fuzzer once found stays found.

use proptest::prelude::*;
use std::path::{Path, PathBuf};

#[path = "../../fuzz/targets/load.rs"]
mod load;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/load_response")
}

#[test]
fn every_kept_answer_means_the_same_in_any_pieces() {
    let mut count = 0;
    for input in std::fs::read_dir(corpus()).expect("a corpus") {
        let path = input.expect("a readable folder").path();
        println!("{}", path.display());
        load::response(&std::fs::read(&path).expect("a readable file"));
        count += 1;
    }
    assert!(count > 0, "the corpus is empty");
}

proptest! {
    #[test]
    fn changed_answers_mean_the_same_in_any_pieces(
        file in any::<prop::sample::Index>(), seed in any::<u8>(), length in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut files: Vec<_> = std::fs::read_dir(corpus()).expect("a corpus").flatten().collect();
        files.sort_by_key(std::fs::DirEntry::path);
        let mut data = std::fs::read(file.get(&files).path()).expect("a readable file");
        for (place, byte) in changes {
            let place = place.index(data.len());
            data[place] = byte;
        }
        data[0] = seed;
        data.truncate(1 + length.index(data.len()));
        load::response(&data);
    }
}
