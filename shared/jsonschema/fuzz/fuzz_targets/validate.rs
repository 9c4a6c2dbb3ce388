//! Compiles arbitrary text as a schema, and validates the document after a line `-- value --`: no panic, no endless work.
#![no_main]

use flux_jsonschema::{Compiled, Json, Remotes, Schema};
use libfuzzer_sys::fuzz_target;

const BETWEEN: &[u8] = b"-- value --\n";

fuzz_target!(|input: &[u8]| {
    let at = input
        .windows(BETWEEN.len())
        .position(|window| window == BETWEEN);
    let (schema, value) = input.split_at(at.unwrap_or(input.len()));
    let value = value.strip_prefix(BETWEEN).unwrap_or(b"{}");
    let mut remotes = Remotes::default();
    for _ in 0..3 {
        match Schema::compile("file:///values.schema.json", schema, &remotes) {
            Ok(Compiled::Schema(schema)) => {
                if let Ok(value) = Json::read(value)
                    && let Err(report) = schema.validate(&value)
                {
                    assert!(!report.to_string().is_empty());
                }
                return;
            }
            // Other documents are the value, which may be a schema as well.
            Ok(Compiled::Needs(address)) => remotes.insert(address, Ok(value.to_vec().into())),
            Err(_) => return,
        }
    }
});
