//! Parses arbitrary text as a selector: what is written parses to the same selector.
#![no_main]

use flux_selector::Selector;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Selector::parse(text) {
        Ok(selector) => {
            let written = selector.to_string();
            assert_eq!(
                Selector::parse(&written).as_ref(),
                Ok(&selector),
                "{written}"
            );
            let _ = selector.matches(|key| (key.len() > 2).then_some("7"));
        }
        Err(error) => {
            let _ = (error.to_string(), error.kustomize_text());
        }
    }
});
