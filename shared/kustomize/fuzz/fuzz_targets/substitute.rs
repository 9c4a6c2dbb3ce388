//! Substitutes variables in arbitrary text: it ends within bounds; a text without a dollar sign is unchanged.
#![no_main]

use flux_kustomize::substitute::{Variables, substitute};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let variables: Variables = [("a", "abcabc"), ("b", "é/x.y"), ("e", "")]
        .into_iter()
        .collect();
    for strict in [false, true] {
        let result = substitute(text, &variables, strict);
        if !text.contains(&b'$') && !text.contains(&0) {
            assert_eq!(result.as_deref(), Ok(text));
        }
    }
});
