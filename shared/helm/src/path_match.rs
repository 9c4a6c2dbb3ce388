//! Go's `filepath.Match`.

/// The pattern cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern")]
pub(crate) struct BadPattern;

/// Whether `name` as a whole matches: `*` any run without a slash, `?` one character but a slash, `[a-z]` and `[^a-z]`
/// classes, `\` before a character that stands for itself.
pub(crate) fn path_match(pattern: &str, name: &str) -> Result<bool, BadPattern> {
    let mut pattern = pattern;
    let mut name = name;
    loop {
        if pattern.is_empty() {
            return Ok(name.is_empty());
        }
        let (star, chunk, rest) = scan_chunk(pattern);
        pattern = rest;
        if star && chunk.is_empty() {
            return Ok(!name.contains('/'));
        }
        // A chunk that is last must reach the end of the name.
        match match_chunk(chunk, name)? {
            Some(after) if after.is_empty() || !pattern.is_empty() => {
                name = after;
                continue;
            }
            _ => {}
        }
        if star && let Some(after) = match_later(chunk, name, pattern.is_empty())? {
            name = after;
            continue;
        }
        // The rest of the pattern is still read for its errors.
        while !pattern.is_empty() {
            let (_, chunk, rest) = scan_chunk(pattern);
            pattern = rest;
            match_chunk(chunk, "")?;
        }
        return Ok(false);
    }
}

/// Tries `chunk` after a star that takes one or more characters, none of them a slash.
fn match_later<'a>(chunk: &str, name: &'a str, last: bool) -> Result<Option<&'a str>, BadPattern> {
    let mut taken = name.chars();
    while let Some(c) = taken.next() {
        if c == '/' {
            break;
        }
        match match_chunk(chunk, taken.as_str())? {
            Some(after) if last && !after.is_empty() => {}
            Some(after) => return Ok(Some(after)),
            None => {}
        }
    }
    Ok(None)
}

/// Whether stars lead the pattern, the part up to the next star outside brackets, and what follows.
fn scan_chunk(pattern: &str) -> (bool, &str, &str) {
    let chunk = pattern.trim_start_matches('*');
    let star = chunk.len() < pattern.len();
    let mut in_class = false;
    let mut escaped = false;
    let end = chunk.char_indices().find(|&(_, c)| {
        if std::mem::take(&mut escaped) {
            return false;
        }
        match c {
            '\\' => escaped = true,
            '[' => in_class = true,
            ']' => in_class = false,
            '*' => return !in_class,
            _ => {}
        }
        false
    });
    let (chunk, rest) = chunk.split_at(end.map_or(chunk.len(), |(at, _)| at));
    (star, chunk, rest)
}

/// What is left of `text` after the chunk; `None` when it does not match. The whole chunk is read for errors either way.
fn match_chunk<'a>(chunk: &str, text: &'a str) -> Result<Option<&'a str>, BadPattern> {
    let mut pattern = chunk.chars();
    let mut text = text.chars();
    let mut failed = false;
    while let Some(p) = pattern.next() {
        // After a failure only the pattern's syntax matters.
        let c = if failed { None } else { text.next() };
        failed |= c.is_none();
        match p {
            '[' => {
                let inside = match_class(&mut pattern, c)?;
                failed |= !inside;
            }
            '?' => failed |= c == Some('/'),
            '\\' => {
                let literal = pattern.next().ok_or(BadPattern)?;
                failed |= c != Some(literal);
            }
            literal => failed |= c != Some(literal),
        }
    }
    Ok((!failed).then_some(text.as_str()))
}

fn match_class(pattern: &mut std::str::Chars<'_>, c: Option<char>) -> Result<bool, BadPattern> {
    let negated = pattern.as_str().starts_with('^');
    if negated {
        pattern.next();
    }
    let mut found = false;
    let mut ranges = 0;
    loop {
        if ranges > 0 && pattern.as_str().starts_with(']') {
            pattern.next();
            return Ok(c.is_some() && found != negated);
        }
        let low = class_char(pattern)?;
        let mut high = low;
        if pattern.as_str().starts_with('-') {
            pattern.next();
            high = class_char(pattern)?;
        }
        found |= c.is_some_and(|c| low <= c && c <= high);
        ranges += 1;
    }
}

fn class_char(pattern: &mut std::str::Chars<'_>) -> Result<char, BadPattern> {
    let c = match pattern.next() {
        None | Some('-' | ']') => return Err(BadPattern),
        Some('\\') => pattern.next().ok_or(BadPattern)?,
        Some(c) => c,
    };
    // A class must end before the pattern does.
    if pattern.as_str().is_empty() {
        return Err(BadPattern);
    }
    Ok(c)
}

#[cfg(test)]
mod tests {
    use super::path_match;

    #[test]
    fn matches_as_go_does() {
        for (pattern, name, want) in [
            ("abc", "abc", Some(true)),
            ("*", "abc", Some(true)),
            ("*c", "abc", Some(true)),
            ("a*", "a", Some(true)),
            ("a*", "ab/c", Some(false)),
            ("a*/b", "abc/b", Some(true)),
            ("a*/b", "a/c/b", Some(false)),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", Some(true)),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", Some(false)),
            ("a*b?c*x", "abxbbxdbxebxczzx", Some(true)),
            ("ab[c]", "abc", Some(true)),
            ("ab[b-d]", "abc", Some(true)),
            ("ab[^e-g]", "abc", Some(true)),
            ("a\\*b", "a*b", Some(true)),
            ("a\\*b", "ab", Some(false)),
            ("[a-ζ]*", "α", Some(true)),
            ("a?b", "a/b", Some(false)),
            ("[\\]a]", "]", Some(true)),
            ("[-]", "-", None),
            ("[x-]", "x", None),
            ("[", "a", None),
            ("[^", "a", None),
            ("[^bc", "a", None),
            ("a[", "a", None),
            ("a[", "ab", None),
            ("*x", "xxx", Some(true)),
            ("\\", "a", None),
            ("templates/.?*", "templates/.x", Some(true)),
            ("templates/.?*", "templates/.", Some(false)),
        ] {
            assert_eq!(path_match(pattern, name).ok(), want, "{pattern} {name}");
        }
    }
}
