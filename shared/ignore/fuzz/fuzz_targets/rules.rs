//! Applies ignore rules to paths, which follow after a line `-- paths --`: no panic, and within the bound of steps.
#![no_main]

use flux_ignore::{Filter, Patterns};
use libfuzzer_sys::fuzz_target;

const BETWEEN: &[u8] = b"-- paths --\n";

fuzz_target!(|input: &[u8]| {
    let at = input
        .windows(BETWEEN.len())
        .position(|window| window == BETWEEN);
    let (rules, paths) = input.split_at(at.unwrap_or(input.len()));
    let paths = paths.strip_prefix(BETWEEN).unwrap_or_default();
    let mut patterns = Patterns::new();
    if patterns.read("", rules).is_err() || patterns.read("apps/a", rules).is_err() {
        return;
    }
    for filter in [Filter::for_source(patterns.clone()), Filter::bare(patterns)] {
        let filter = filter.with_steps(1 << 20);
        for path in paths.split(|byte| *byte == b'\n') {
            for is_dir in [false, true] {
                let _ = filter.excludes(path, is_dir);
            }
            let _ = filter.excludes([b"apps/a/", path].concat(), false);
        }
    }
});
