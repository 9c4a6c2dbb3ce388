//! Text as Go sees and shows it.

pub(crate) use flux_golang::strconv::quote;
use flux_golang::unicode::is_space;

/// `strings.TrimSpace` and friends trim by this.
pub(crate) fn trim_start(text: &str) -> &str {
    text.trim_start_matches(is_space)
}

/// Whether there is nothing but white space.
pub(crate) fn is_blank(text: &str) -> bool {
    trim_start(text).is_empty()
}
