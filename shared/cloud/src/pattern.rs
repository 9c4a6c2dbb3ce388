//! Patterns of annotations and addresses, matched as Go matches them.

use flux_golang::regexp::Regex;

/// Whether a text matches a pattern of this crate.
pub(crate) fn is_match(pattern: &str, text: &str) -> bool {
    Regex::cached(pattern.as_bytes()).is_ok_and(|regex| regex.is_match(text))
}
