//! Compiles the first line as a regular expression and applies it to the rest: no panic, no match outside of the text,
//! and the parts of a split are those of the text.
#![no_main]

use flux_golang::regexp::{Regex, quote_meta};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 1 << 20;

fuzz_target!(|input: &[u8]| {
    let at = input.iter().position(|byte| *byte == b'\n');
    let (pattern, text) = input.split_at(at.unwrap_or(input.len()));
    // Counted repetitions multiply; the engines compile each pattern within a bound of memory.
    if let Ok(regex) = Regex::compile_within(pattern, LIMIT) {
        for (start, end) in regex.find_all(text, None) {
            assert!(start <= end && end <= text.len());
        }
        assert_eq!(regex.find(text).is_some(), regex.is_match(text));
        let parts = regex.split(text, None);
        assert!(parts.iter().map(|part| part.len()).sum::<usize>() <= text.len());
        let _ = regex.split(text, Some(2));
        let _ = regex.replace_literal(text, b"$1", LIMIT);
        if let Some(replaced) = regex.replace_expanding(text, b"<$0${1}$a$$>", LIMIT) {
            assert!(replaced.len() <= LIMIT);
        }
    }
    if std::str::from_utf8(text).is_ok() {
        let quoted = Regex::compile(&quote_meta(text)).expect("a quoted text is an expression");
        assert_eq!(quoted.find(text), Some(text));
    }
});
