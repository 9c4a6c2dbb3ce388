//! Executes any bytes as a template, with data parsed from their second half.
#![no_main]

use std::sync::{Arc, LazyLock};

use flux_gotemplate::{Functions, Limits, Nothing, Session, Templates, Value, json};
use libfuzzer_sys::fuzz_target;

static FUNCTIONS: LazyLock<Arc<Functions>> = LazyLock::new(|| {
    let mut functions = flux_sprig::functions();
    flux_sprig::add_cryptography(&mut functions);
    // Each call takes a second, which would leave no time for other input.
    for slow in ["bcrypt", "htpasswd", "derivePassword"] {
        functions.remove(slow);
    }
    Arc::new(functions)
});

fuzz_target!(|input: &[u8]| {
    let (text, data) = input.split_at(input.len() / 2);
    let mut templates = Templates::new("t", Arc::clone(&FUNCTIONS));
    if templates.parse("t", text).is_err() {
        return;
    }
    let limits = Limits {
        steps: 20_000,
        output: 1 << 20,
        allocation: 16 << 20,
        ..Limits::default()
    };
    let data = json::unmarshal(data)
        .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(data).into_owned()));
    let mut session = Session::new(Nothing, limits);
    let _ = templates.execute(&mut session, "t", data);
});
