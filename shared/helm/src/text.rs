//! Text as Go sees and shows it.

pub(crate) use flux_golang::strconv::quote;
use flux_golang::unicode::{is_print, is_space};

/// Turns any white space into blanks and drops what does not print (HE-LOAD-012).
pub(crate) fn sanitize(text: &mut String) {
    let tidy = |c: char| {
        if is_space(c) {
            Some(' ')
        } else {
            is_print(c).then_some(c)
        }
    };
    if !text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        *text = text.chars().filter_map(tidy).collect();
    }
}

/// `strings.TrimSpace` and friends trim by this.
pub(crate) fn trim_start(text: &str) -> &str {
    text.trim_start_matches(is_space)
}

/// Whether there is nothing but white space.
pub(crate) fn is_blank(text: &str) -> bool {
    trim_start(text).is_empty()
}
