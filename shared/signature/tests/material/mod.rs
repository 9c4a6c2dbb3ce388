//! What the real signers made: `material.json.gz`, by `.ci/signatures`.

#![allow(dead_code)] // each test file uses a part

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// The whole document.
pub(crate) fn material() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/material/material.json.gz");
    let packed = std::fs::read(path).unwrap();
    serde_json::from_reader(flate2::read::GzDecoder::new(&*packed)).unwrap()
}

/// The text at a pointer.
pub(crate) fn text(material: &Value, pointer: &str) -> String {
    let found = material.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no {pointer}")).to_owned()
}

/// The bytes at a pointer, which are there in base64.
pub(crate) fn bytes(material: &Value, pointer: &str) -> Vec<u8> {
    STANDARD.decode(text(material, pointer)).unwrap()
}

/// Base64 with one bit of its last byte changed.
pub(crate) fn flipped(encoded: &str) -> String {
    let mut bytes = STANDARD.decode(encoded).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    STANDARD.encode(bytes)
}

/// Changes a bit at a pointer to base64.
pub(crate) fn flip(value: &mut Value, pointer: &str) {
    let at = value
        .pointer_mut(pointer)
        .unwrap_or_else(|| panic!("no {pointer}"));
    let changed = flipped(at.as_str().unwrap());
    *at = changed.into();
}
