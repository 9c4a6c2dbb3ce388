//! Parses arbitrary lines as URLs and resolves them against each other: no panic, and what is written parses.
#![no_main]

use flux_golang::url::Url;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let at = input.iter().position(|byte| *byte == b'\n');
    let (base, reference) = input.split_at(at.unwrap_or(input.len()));
    let Ok(base) = Url::parse(base) else { return };
    let _ = (base.hostname(), base.raw_path(), base.text());
    if let Ok(reference) = Url::parse(reference.get(1..).unwrap_or_default()) {
        let _ = base.resolve(&reference).text();
    }
});
