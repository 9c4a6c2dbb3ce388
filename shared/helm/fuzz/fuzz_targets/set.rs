//! Applies arguments of `--set` and related flags, one after the other, to the same values.
#![no_main]

use flux_helm::{Values, set, set_json, set_literal, set_string};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut values = Values::new();
    for argument in text.split('\0') {
        let _ = set(&mut values, argument);
        let _ = set_string(&mut values, argument);
        let _ = set_json(&mut values, argument);
        let _ = set_literal(&mut values, argument);
    }
});
