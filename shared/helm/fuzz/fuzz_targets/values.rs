//! Reads values from any text; merging them with themselves changes nothing.
#![no_main]

use flux_helm::{load_values, merge_maps};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(values) = load_values(bytes) {
        let mut merged = values.clone();
        merge_maps(&mut merged, values.clone());
        // NaN never equals itself, but no value that JSON can represent is one.
        assert_eq!(merged, values);
    }
});
