//! White space and display of text as in Go.

pub(crate) use flux_golang::strconv::quote;
use flux_golang::unicode::{is_print, is_space};

/// Replaces white space by blanks and drops unprintable characters (HE-LOAD-012).
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
