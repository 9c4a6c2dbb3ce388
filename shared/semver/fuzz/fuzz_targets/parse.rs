//! Parses the first line as a range and the others as versions: what is written parses, and comparing is an order.
#![no_main]

use flux_semver::{Constraints, Version};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let range = Constraints::parse(lines.next().unwrap_or_default());
    let versions: Vec<Version> = lines
        .take(8)
        .filter_map(|line| Version::parse(line).ok())
        .collect();
    for version in &versions {
        let text = version.to_string();
        let again = match Version::parse(&text) {
            Ok(again) => again,
            // The parts that were left out may make it longer than what may be parsed.
            Err(error) => {
                assert!(text.len() > 256, "{text}: {error}");
                continue;
            }
        };
        assert!(again.compare(version).is_eq());
        let _ = Version::parse_strict(version.original());
        let _ = (
            version.inc_major(),
            version.inc_minor(),
            version.inc_patch(),
        );
        if let Ok(range) = &range {
            assert_eq!(range.check(version), range.validate(version).is_ok());
        }
        for other in &versions {
            assert_eq!(version.compare(other), other.compare(version).reverse());
        }
    }
});
