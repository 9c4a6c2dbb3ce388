//! Unpacks arbitrary bytes as a tar archive, and as a gzip stream: within the bounds, without a path that leads out, and
//! without memory kept.
#![no_main]

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use flux_artifact::{ExtractOptions, extract};
use flux_budget::Budget;
use flux_tree::{Entry, TreePath};
use libfuzzer_sys::fuzz_target;

fn unpack(archive: &[u8], budget: &Budget) {
    let options = ExtractOptions {
        max_bytes: 1 << 20,
        max_entries: 1000,
        ..ExtractOptions::default()
    };
    let Ok(tree) = extract(archive, &options, budget.claim()) else {
        return;
    };
    let mut bytes = 0;
    for (path, entry) in tree.iter() {
        assert!(
            path.as_str()
                .split('/')
                .all(|part| !part.is_empty() && part != "." && part != "..")
        );
        if let Entry::File(file) = entry {
            bytes += file.content.len();
        }
    }
    assert!(bytes <= 1 << 20);
    assert!(tree.iter().count() <= 1000);
    // Unpacking a part of it gives that part.
    if let Some((first, _)) = tree.iter().next() {
        let below = ExtractOptions {
            below: TreePath::new(first.as_str()).expect("it is a path"),
            ..options
        };
        let part = extract(archive, &below, budget.claim()).expect("the whole was unpacked");
        assert!(
            part.iter()
                .all(|(path, entry)| tree.get(path) == Some(entry))
        );
    }
}

fuzz_target!(|input: &[u8]| {
    let budget = Budget::new(2 << 20);
    unpack(input, &budget);
    let mut packed = GzEncoder::new(Vec::new(), Compression::none());
    packed.write_all(input).expect("memory can be written");
    unpack(&packed.finish().expect("memory can be written"), &budget);
    assert_eq!(budget.used(), 0);
});
