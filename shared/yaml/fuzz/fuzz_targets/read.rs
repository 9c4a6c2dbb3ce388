//! Reads arbitrary bytes: reading ends within bounds, and what was read can be written and read again.
#![no_main]

use flux_yaml::{edit, json, sigs, v3};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // Upstream converts through JSON text, which folds U+0085 (not escaped in JSON) into a blank and writes a key `<<`
    // without quotes.
    if let Ok(value) = sigs::yaml_to_json(bytes)
        && !["\\u{85}", "\"<<\": "]
            .iter()
            .any(|text| format!("{value:?}").contains(text))
        && let Ok(text) = sigs::to_string(&value)
    {
        let again = sigs::yaml_to_json(&text).expect("what is written can be read");
        let show = |mut value: flux_yaml::Value| {
            value.sort_keys();
            json::to_string(&value, json::Escape::Plain).expect("it was JSON before")
        };
        // JSON has a negative zero, YAML's integers do not.
        assert_eq!(
            show(value).replace("-0", "0"),
            show(again).replace("-0", "0"),
            "{text}"
        );
    }
    let _ = sigs::yaml_to_json_strict(bytes);
    let _ = json::from_str(bytes);
    if let Ok(documents) = v3::parse_all(bytes) {
        for document in documents {
            let _ = v3::to_value(&document);
            let _ = v3::to_string(&document);
            let _ = v3::expand(document, 10_000);
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(scalars) = edit::scalars(text)
    {
        // Each scalar's place is within the text; replacing it by its own value fails only for block scalars.
        for scalar in &scalars {
            assert!(text.get(scalar.range.clone()).is_some());
            let _ = edit::replace(text, [(scalar, scalar.value.as_str())]);
        }
    }
});
