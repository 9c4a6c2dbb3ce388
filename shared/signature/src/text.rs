//! Bounds for texts that end up in errors and logs.

/// The maximum number of characters of one text.
const MAX: usize = 512;
/// The maximum number of texts in one message.
const MAX_TEXTS: usize = 8;

/// The beginning of a text.
pub(crate) fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

/// The beginning of a list, each text of it cut.
pub(crate) fn cut_all<T: AsRef<str>>(texts: &[T]) -> Vec<String> {
    let first = texts.iter().take(MAX_TEXTS);
    let mut shown: Vec<String> = first.map(|text| cut(text.as_ref())).collect();
    if let Some(more) = texts.len().checked_sub(MAX_TEXTS).filter(|more| *more > 0) {
        shown.push(format!("and {more} more"));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_lists_have_a_length() {
        assert_eq!(cut("é"), "é");
        assert_eq!(cut(&"é".repeat(600)), format!("{}...", "é".repeat(512)));
        let shown = cut_all(&["a"; 10]);
        assert_eq!(shown.len(), 9);
        assert_eq!(shown[8], "and 2 more");
        assert_eq!(cut_all(&["a"; 8]), ["a"; 8]);
    }
}
