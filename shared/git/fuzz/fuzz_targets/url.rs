//! Parses arbitrary text as an address, a submodule's relative address and a revision, separated by a line break: no
//! panic, and no password shown.
#![no_main]

use flux_git::{GitUrl, split_revision, transform_revision};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let (text, relative) = input.split_once('\n').unwrap_or((input, "../x"));
    if let Ok(url) = GitUrl::parse(text) {
        let shown = url.to_string();
        assert!(
            url.password().is_none() || shown.contains(":***@"),
            "{shown}"
        );
        let _ = (url.host(), url.port());
        if let Ok(joined) = url.join(relative) {
            let _ = joined.to_string();
        }
    }
    let _ = (split_revision(text), transform_revision(text));
});
