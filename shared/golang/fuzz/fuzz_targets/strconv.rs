//! Reads arbitrary text as numbers and literals, and quotes it: what is quoted reads back.
#![no_main]

use flux_golang::{encoding, json, path, strconv, unicode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let quoted = strconv::quote(text);
    assert_eq!(
        strconv::unquote(quoted.as_bytes()).as_deref(),
        Some(text),
        "{quoted}"
    );
    let mut ascii = Vec::new();
    strconv::quote_into(&mut ascii, text, true);
    assert!(ascii.is_ascii());
    assert_eq!(strconv::unquote(&ascii).as_deref(), Some(text));
    let _ = (strconv::unquote(text), strconv::can_backquote(text));
    for base in [0, 2, 10, 16, 36] {
        if let Ok(number) = strconv::parse_int(text, base) {
            assert!(
                number <= 0 || strconv::parse_uint(text, base).is_ok() || text.starts_with(b"+")
            );
        }
        let _ = strconv::parse_uint(text, base);
    }
    let _ = strconv::parse_bool(text);
    if let Ok(number) = strconv::parse_float(text) {
        for format in [b'e', b'f', b'g'] {
            let shortest = strconv::format_float(number, format, None);
            let again = strconv::parse_float(shortest.as_bytes()).expect("it is a number");
            assert!(again == number || number.is_nan(), "{shortest}");
            let _ = strconv::format_float(number, format, Some(3));
        }
        let _ = (
            json::format_float(number),
            strconv::format_float32(number as f32, b'g', None),
        );
    }
    assert_eq!(
        encoding::decode_base64(encoding::base64(text).as_bytes()).as_deref(),
        Ok(text)
    );
    assert_eq!(
        encoding::decode_base32(encoding::base32(text).as_bytes()).as_deref(),
        Ok(text)
    );
    let _ = (encoding::decode_base64(text), encoding::decode_base32(text));
    let mut written = String::new();
    json::push_bytes(&mut written, text, true);
    assert!(written.starts_with('"') && written.ends_with('"'));
    assert_eq!(unicode::runes(text).count(), unicode::rune_count(text));
    let at = text
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(text.len());
    let (pattern, name) = text.split_at(at);
    if let Ok(compiled) = path::Pattern::compile(pattern) {
        let _ = compiled.matches(name);
        assert!(
            compiled
                .literal()
                .is_none_or(|literal| compiled.matches(&literal))
        );
    }
    if let Ok(text) = std::str::from_utf8(text) {
        let clean = path::clean(text);
        assert_eq!(path::clean(&*clean), clean);
        let _ = (
            path::base(text),
            path::dir(text),
            path::ext(text),
            path::join(text, "../x"),
        );
    }
});
