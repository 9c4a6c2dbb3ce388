//! Values of any text: reading ends, and merging them with themselves changes nothing.
#![no_main]

use flux_helm::{load_values, merge_maps};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(values) = load_values(bytes) {
        let mut merged = values.clone();
        merge_maps(&mut merged, values.clone());
        // Not a number is never equal to itself, and YAML has none that JSON could say.
        assert_eq!(merged, values);
    }
});
