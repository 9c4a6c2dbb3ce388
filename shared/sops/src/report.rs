//! Upstream's report of the keys that did not give the data key: nested, indented, wrapped.

/// The columns of an error of a key, and of the last paragraph.
const KEY_COLUMNS: usize = 60;
const TEXT_COLUMNS: usize = 75;

/// The report, where `required` groups are needed (0: there is one group only).
pub(crate) fn data_key(required: usize, groups: &[Option<Vec<(String, String)>>]) -> String {
    let reports: Vec<String> = groups
        .iter()
        .enumerate()
        .map(|(at, result)| group(at, result.as_deref()))
        .collect();
    let found = groups.iter().filter(|result| result.is_none()).count();
    let last = if required == 0 {
        "Recovery failed because no master key was able to decrypt the file. In order for SOPS to recover the file, at least one \
         key has to be successful, but none were."
            .to_owned()
    } else {
        format!(
            "Recovery failed because the file was encrypted with a Shamir threshold of {required}, but only {found} part(s) were \
             successfully recovered, one for each successful key group. In order for SOPS to recover the file, at least \
             {required} groups have to be successful. In order for a group to be successful, decryption has to succeed with any \
             of the keys in that key group."
        )
    };
    format!(
        "Failed to get the data key required to decrypt the SOPS file.\n\n{}\n\n{}",
        reports.join("\n\n"),
        wrapped(&last, TEXT_COLUMNS)
    )
}

fn group(at: usize, result: Option<&[(String, String)]>) -> String {
    let Some(failures) = result else {
        return format!("Group {at}: SUCCESS");
    };
    let keys: Vec<String> = failures
        .iter()
        .map(|(name, text)| key(name, text))
        .collect();
    let keys = prefixed(&keys.join("\n\n"), "  ");
    format!("Group {at}: FAILED\n{keys}")
}

fn key(name: &str, text: &str) -> String {
    let marked = prefixed(&wrapped(text, KEY_COLUMNS), "  | ");
    let marked = marked.strip_prefix(' ').map(|rest| format!("-{rest}"));
    let text = prefixed(&marked.unwrap_or_default(), "  ");
    format!("{name}: FAILED\n{text}")
}

fn prefixed(text: &str, prefix: &str) -> String {
    let lines = text.split_inclusive('\n');
    lines.map(|line| format!("{prefix}{line}")).collect()
}

/// Breaks lines at blanks, so that they have at most `limit` characters where words allow it.
fn wrapped(text: &str, limit: usize) -> String {
    const NO_BREAK: char = '\u{a0}';
    let mut out = String::with_capacity(text.len());
    let mut current = 0;
    let (mut word, mut blanks) = (String::new(), String::new());
    let (mut word_length, mut blank_length) = (0, 0);
    let flush = |out: &mut String, part: &mut String, length: &mut usize| {
        out.push_str(part);
        part.clear();
        std::mem::take(length)
    };
    for c in text.chars() {
        if c == '\n' {
            if word.is_empty() && current + blank_length > limit {
                blanks.clear();
                blank_length = 0;
            }
            flush(&mut out, &mut blanks, &mut blank_length);
            flush(&mut out, &mut word, &mut word_length);
            out.push(c);
            current = 0;
        } else if c.is_whitespace() && c != NO_BREAK {
            if blanks.is_empty() || !word.is_empty() {
                current += flush(&mut out, &mut blanks, &mut blank_length);
                current += flush(&mut out, &mut word, &mut word_length);
            }
            blanks.push(c);
            blank_length += 1;
        } else {
            word.push(c);
            word_length += 1;
            if current + word_length + blank_length > limit && word_length < limit {
                out.push('\n');
                current = 0;
                blanks.clear();
                blank_length = 0;
            }
        }
    }
    if !word.is_empty() || current + blank_length <= limit {
        out.push_str(&blanks);
    }
    out.push_str(&word);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_names_each_key_with_its_error() {
        // KC-SOPS-016
        let failures = vec![
            (
                "age1abc".to_owned(),
                "failed to create reader for decrypting sops data key with age: no identity matched any of the recipients".to_owned(),
            ),
            ("FBC7".to_owned(), "one\ntwo".to_owned()),
        ];
        let report = data_key(0, &[Some(failures)]);
        let expected = "Failed to get the data key required to decrypt the SOPS file.\n\n\
            Group 0: FAILED\n\
            \x20 age1abc: FAILED\n\
            \x20   - | failed to create reader for decrypting sops data key with\n\
            \x20     | age: no identity matched any of the recipients\n\
            \x20 \n\
            \x20 FBC7: FAILED\n\
            \x20   - | one\n\
            \x20     | two\n\n\
            Recovery failed because no master key was able to decrypt the file. In\n\
            order for SOPS to recover the file, at least one key has to be successful,\n\
            but none were.";
        assert_eq!(report, expected);
        let shamir = data_key(2, &[None, Some(Vec::new())]);
        assert!(shamir.contains("Group 0: SUCCESS\n\nGroup 1: FAILED\n\n\nRecovery failed"));
        assert!(
            shamir
                .replace('\n', " ")
                .contains("threshold of 2, but only 1 part(s)")
        );
    }
}
