//! Parses any bytes as a template: the result is a set or an error, never a panic.
#![no_main]

use std::sync::{Arc, LazyLock};

use flux_gotemplate::{Functions, Templates};
use libfuzzer_sys::fuzz_target;

static FUNCTIONS: LazyLock<Arc<Functions>> = LazyLock::new(|| Arc::new(flux_sprig::functions()));

fuzz_target!(|text: &[u8]| {
    let mut templates = Templates::new("t", Arc::clone(&FUNCTIONS));
    let _ = templates.parse("t", text);
});
