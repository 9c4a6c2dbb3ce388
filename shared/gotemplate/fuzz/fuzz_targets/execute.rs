//! Any bytes as a template, executed on data that is read from its second half.
#![no_main]

use std::sync::Arc;

use flux_gotemplate::{Limits, Nothing, Session, Templates, Value, json, sprig};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let (text, data) = input.split_at(input.len() / 2);
    let mut templates = Templates::new("t", Arc::new(sprig::functions()));
    if templates.parse("t", text).is_err() {
        return;
    }
    let limits = Limits { steps: 20_000, output: 1 << 20, allocation: 16 << 20, ..Limits::default() };
    let data = json::unmarshal(data).unwrap_or_else(|_| Value::from(String::from_utf8_lossy(data).into_owned()));
    let mut session = Session::new(Nothing, limits);
    let _ = templates.execute(&mut session, "t", data);
});
