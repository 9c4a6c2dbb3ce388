//! White space and display of text as in Go.

pub(crate) use flux_golang::strconv::quote;
use flux_golang::unicode::is_space;

/// Trims the white space that Go's `strings.TrimSpace` trims.
pub(crate) fn trim_start(text: &str) -> &str {
    text.trim_start_matches(is_space)
}

/// Whether the text is only white space.
pub(crate) fn is_blank(text: &str) -> bool {
    trim_start(text).is_empty()
}
