//! Any bytes as a template: a set or an error, never a panic.
#![no_main]

use std::sync::Arc;

use flux_gotemplate::{Templates, sprig};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let mut templates = Templates::new("t", Arc::new(sprig::functions()));
    let _ = templates.parse("t", text);
});
