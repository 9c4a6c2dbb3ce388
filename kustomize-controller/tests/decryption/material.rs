//! What `.ci/sops` has made with the real sops.

use std::io::Read as _;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

static MATERIAL: LazyLock<Value> = LazyLock::new(|| {
    let packed = include_bytes!("../../../shared/sops/tests/material/material.json.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed.as_slice())
        .read_to_string(&mut text)
        .unwrap();
    serde_json::from_str(&text).unwrap()
});

/// A private key.
pub(crate) fn key(name: &str) -> &'static str {
    MATERIAL["keys"][name].as_str().unwrap()
}

fn case(name: &str) -> &'static Value {
    let cases = MATERIAL["cases"].as_array().unwrap();
    let found = cases.iter().find(|case| case["name"] == name);
    found.unwrap_or_else(|| panic!("no case {name}"))
}

/// An encrypted file.
pub(crate) fn file(name: &str) -> String {
    let file = STANDARD.decode(case(name)["file"].as_str().unwrap());
    String::from_utf8(file.unwrap()).unwrap()
}

/// The data key of the Secret for services, in base64.
pub(crate) fn data_key() -> &'static str {
    case("a Secret for KMS")["data_keys"][0].as_str().unwrap()
}

/// The Secret for services with these keys in place of the one of AWS.
pub(crate) fn for_service(keys: &str) -> String {
    let text = file("a Secret for KMS");
    let start = text.find("    kms:").unwrap();
    let end = text.find("    lastmodified:").unwrap();
    format!("{}{keys}{}", &text[..start], &text[end..])
}
