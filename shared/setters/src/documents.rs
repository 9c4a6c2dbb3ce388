//! Splits a file into documents as kyaml does, on the raw bytes.

use std::ops::Range;

use memchr::{memchr, memmem};

/// A separator with other text than a comment behind the dashes (IA-UPD-066).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InvalidSeparator(pub(crate) String);

/// The byte ranges of the documents, without the lines that separate them. Each but the last ends with its line break; the
/// lines between them are kept by the caller.
pub(crate) fn split(text: &str) -> Result<Vec<Range<usize>>, InvalidSeparator> {
    let bytes = text.as_bytes();
    let mut documents = Vec::new();
    let mut from = 0;
    // The line break before the dashes must not be part of the separator before.
    let mut search = 0;
    while let Some(found) = memmem::find(&bytes[search..], b"\n---") {
        let dashes = search + found + 1;
        let Some(length) = memchr(b'\n', &bytes[dashes..]) else {
            break; // the last line is part of the document
        };
        let end = dashes + length;
        let rest = text.get(dashes + 3..end).unwrap_or_default().trim();
        if !rest.is_empty() && !rest.starts_with('#') {
            let line = text.get(dashes..end).unwrap_or_default().trim();
            return Err(InvalidSeparator(line.to_owned()));
        }
        documents.push(from..dashes);
        from = end + 1;
        search = from;
    }
    documents.push(from..bytes.len());
    Ok(documents)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Result<Vec<&str>, String> {
        let ranges = split(text).map_err(|error| error.0)?;
        Ok(ranges.into_iter().map(|range| &text[range]).collect())
    }

    #[test]
    fn documents_are_split_at_lines_of_dashes() {
        assert_eq!(parts("a: 1\n").unwrap(), ["a: 1\n"]);
        assert_eq!(parts("").unwrap(), [""]);
        assert_eq!(parts("a: 1\n---\nb: 2").unwrap(), ["a: 1\n", "b: 2"]);
        assert_eq!(
            parts("---\na: 1\n---\nb: 2\n").unwrap(),
            ["---\na: 1\n", "b: 2\n"]
        );
        assert_eq!(parts("---\n---\na: 1\n").unwrap(), ["---\n", "a: 1\n"]);
        assert_eq!(parts("a\n---\n---\nb\n").unwrap(), ["a\n", "---\nb\n"]);
        assert_eq!(
            parts("a: 1\r\n---\r\nb: 2\r\n").unwrap(),
            ["a: 1\r\n", "b: 2\r\n"]
        );
        assert_eq!(parts("a: 1\n---").unwrap(), ["a: 1\n---"]);
        assert_eq!(parts("a: |\n  ---\n").unwrap(), ["a: |\n  ---\n"]);
    }

    #[test]
    fn only_a_comment_may_follow_the_dashes() {
        // IA-UPD-066
        assert_eq!(
            parts("a: 1\n--- # x\nb: 2\n").unwrap(),
            ["a: 1\n", "b: 2\n"]
        );
        assert_eq!(parts("a: 1\n--- b\nc: 2\n").unwrap_err(), "--- b");
        assert_eq!(parts("a: 1\n----\nc: 2\n").unwrap_err(), "----");
    }
}
