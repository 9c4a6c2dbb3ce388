//! The patterns of the trimming operators: those of Go's `path.Match`, but `*` and `?` match `/` too (KC-SUB-039).

use flux_golang::unicode::{RUNE_ERROR, decode};

/// A malformed pattern.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadPattern;

/// Whether the pattern matches the whole name. A malformed pattern is an error only if matching gets that far.
pub(super) fn matches(mut pattern: &[u8], mut name: &[u8]) -> Result<bool, BadPattern> {
    while !pattern.is_empty() {
        let (star, chunk, rest) = split_chunk(pattern);
        pattern = rest;
        if star && chunk.is_empty() {
            return Ok(true);
        }
        let left = match_chunk(chunk, name)?;
        if let Some(left) = left
            && (left.is_empty() || !pattern.is_empty())
        {
            name = left;
            continue;
        }
        if !star {
            return Ok(false);
        }
        let mut found = None;
        for skipped in 1..=name.len() {
            let left = match_chunk(chunk, name.get(skipped..).unwrap_or(&[]))?;
            if let Some(left) = left
                && (!pattern.is_empty() || left.is_empty())
            {
                found = Some(left);
                break;
            }
        }
        match found {
            Some(left) => name = left,
            None => return Ok(false),
        }
    }
    Ok(name.is_empty())
}

/// The leading stars, the chunk up to the next star, and the rest.
fn split_chunk(mut pattern: &[u8]) -> (bool, &[u8], &[u8]) {
    let mut star = false;
    while let [b'*', rest @ ..] = pattern {
        pattern = rest;
        star = true;
    }
    let mut in_class = false;
    let mut at = 0;
    while let Some(byte) = pattern.get(at) {
        match byte {
            b'\\' if at + 1 < pattern.len() => at += 1,
            b'[' => in_class = true,
            b']' => in_class = false,
            b'*' if !in_class => break,
            _ => {}
        }
        at += 1;
    }
    let (chunk, rest) = pattern.split_at(at.min(pattern.len()));
    (star, chunk, rest)
}

/// The rest of the text after the chunk, if the text begins with it.
fn match_chunk<'t>(mut chunk: &[u8], mut text: &'t [u8]) -> Result<Option<&'t [u8]>, BadPattern> {
    while let Some((&first, after)) = chunk.split_first() {
        if text.is_empty() {
            return Ok(None);
        }
        match first {
            b'[' => {
                let (c, width) = decode(text);
                text = text.get(width..).unwrap_or(&[]);
                let (matched, rest) = match_class(after, c)?;
                chunk = rest;
                if !matched {
                    return Ok(None);
                }
            }
            b'?' => {
                let (_, width) = decode(text);
                text = text.get(width..).unwrap_or(&[]);
                chunk = after;
            }
            _ => {
                let literal = if first == b'\\' { after } else { chunk };
                let Some((wanted, rest)) = literal.split_first() else {
                    return Err(BadPattern);
                };
                if text.first() != Some(wanted) {
                    return Ok(None);
                }
                text = text.get(1..).unwrap_or(&[]);
                chunk = rest;
            }
        }
    }
    Ok(Some(text))
}

/// Whether a class contains the character; `class` begins after its `[`.
fn match_class(mut class: &[u8], c: char) -> Result<(bool, &[u8]), BadPattern> {
    let mut negated = false;
    if let [b'^', rest @ ..] = class {
        negated = true;
        class = rest;
    }
    let mut matched = false;
    let mut ranges = 0;
    loop {
        if let [b']', rest @ ..] = class
            && ranges > 0
        {
            return Ok((matched != negated, rest));
        }
        let (low, rest) = class_char(class)?;
        let mut high = low;
        class = rest;
        if let [b'-', rest @ ..] = class {
            (high, class) = class_char(rest)?;
        }
        matched |= (low..=high).contains(&c);
        ranges += 1;
    }
}

fn class_char(mut class: &[u8]) -> Result<(char, &[u8]), BadPattern> {
    match class.first() {
        None | Some(b'-' | b']') => return Err(BadPattern),
        Some(b'\\') => class = class.get(1..).unwrap_or(&[]),
        Some(_) => {}
    }
    if class.is_empty() {
        return Err(BadPattern);
    }
    let (c, width) = decode(class);
    if c == RUNE_ERROR && width == 1 {
        return Err(BadPattern);
    }
    let rest = class.get(width..).unwrap_or(&[]);
    if rest.is_empty() {
        return Err(BadPattern);
    }
    Ok((c, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        // KC-SUB-039
        let cases: &[(&str, &str, Result<bool, BadPattern>)] = &[
            ("abc", "abc", Ok(true)),
            ("*", "", Ok(true)),
            ("*/", "a/b/", Ok(true)),
            ("a*b?c", "a/x/bxc", Ok(true)),
            ("[a-c]", "b", Ok(true)),
            ("[^a-c]", "b", Ok(false)),
            ("[", "a", Err(BadPattern)),
            ("[]", "a", Err(BadPattern)),
            ("[a-]", "a", Err(BadPattern)),
            ("a[", "b", Ok(false)),
            ("\\*", "*", Ok(true)),
            ("\\", "a", Err(BadPattern)),
            ("?", "ü", Ok(true)),
        ];
        for (pattern, name, want) in cases {
            assert_eq!(
                &matches(pattern.as_bytes(), name.as_bytes()),
                want,
                "{pattern} {name}"
            );
        }
    }
}
