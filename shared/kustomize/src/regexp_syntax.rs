//! What Go's parser of regular expressions refuses, in its words. The `regex` crate accepts more (`a**`, `a{1001}`) and says
//! the rest differently.

/// The largest count of a repetition.
const MAX_REPEAT: u32 = 1000;

const POSIX_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// Checks an expression.
///
/// # Errors
/// The first thing that Go does not accept.
pub(crate) fn check(pattern: &str) -> Result<(), String> {
    Checker {
        pattern,
        rest: pattern,
        depth: 0,
        repeatable: false,
        last_repeat: None,
    }
    .run()
}

struct Checker<'p> {
    pattern: &'p str,
    rest: &'p str,
    depth: usize,
    /// Whether there is something that a repetition could repeat.
    repeatable: bool,
    /// What follows from the repetition just before, if there is one.
    last_repeat: Option<&'p str>,
}

fn error(problem: &str, text: &str) -> String {
    format!("error parsing regexp: {problem}: `{text}`")
}

/// What `before` has and `after`, its end, has not.
fn between<'p>(before: &'p str, after: &str) -> &'p str {
    before
        .get(..before.len().saturating_sub(after.len()))
        .unwrap_or(before)
}

/// The text behind its first character.
fn tail(text: &str) -> &str {
    let mut characters = text.chars();
    characters.next();
    characters.as_str()
}

impl<'p> Checker<'p> {
    fn run(mut self) -> Result<(), String> {
        while let Some(first) = self.rest.chars().next() {
            let before = self.rest;
            let last_repeat = self.last_repeat.take();
            match first {
                '(' => self.group()?,
                '|' => {
                    self.repeatable = false;
                    self.rest = tail(before);
                }
                ')' => {
                    self.depth = self
                        .depth
                        .checked_sub(1)
                        .ok_or_else(|| error("unexpected )", self.pattern))?;
                    self.repeatable = true;
                    self.rest = tail(before);
                }
                '*' | '+' | '?' => self.repeat(before, tail(before), last_repeat)?,
                '{' => match counts(before) {
                    None => self.one(tail(before)),
                    Some((valid, after)) => {
                        if !valid {
                            return Err(error("invalid repeat count", between(before, after)));
                        }
                        self.repeat(before, after, last_repeat)?;
                    }
                },
                '[' => {
                    let after = class(before)?;
                    self.one(after);
                }
                '\\' if before.starts_with("\\Q") => {
                    let text = &before[2..];
                    let after = text.split_once("\\E").map_or("", |(_, after)| after);
                    self.one(after);
                }
                '\\' => {
                    let after = escape(before)?.1;
                    self.one(after);
                }
                _ => self.one(tail(before)),
            }
        }
        if self.depth > 0 {
            return Err(error("missing closing )", self.pattern));
        }
        Ok(())
    }

    /// Something that may be repeated has been read.
    fn one(&mut self, after: &'p str) {
        self.repeatable = true;
        self.rest = after;
    }

    fn repeat(
        &mut self,
        before: &'p str,
        after: &'p str,
        last_repeat: Option<&'p str>,
    ) -> Result<(), String> {
        let after = after.strip_prefix('?').unwrap_or(after);
        if let Some(last) = last_repeat {
            return Err(error(
                "invalid nested repetition operator",
                between(last, after),
            ));
        }
        if !self.repeatable {
            return Err(error(
                "missing argument to repetition operator",
                between(before, after),
            ));
        }
        self.last_repeat = Some(before);
        self.rest = after;
        Ok(())
    }

    fn group(&mut self) -> Result<(), String> {
        let before = self.rest;
        let Some(inner) = before.strip_prefix("(?") else {
            self.open(tail(before));
            return Ok(());
        };
        if let Some(name) = inner.strip_prefix("P<").or(inner.strip_prefix('<')) {
            let Some((name, after)) = name.split_once('>') else {
                return Err(error("invalid named capture", before));
            };
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(word) {
                return Err(error("invalid named capture", between(before, after)));
            }
            self.open(after);
            return Ok(());
        }
        let mut rest = inner;
        let mut negated = false;
        let mut flags = 0;
        while let Some(flag) = rest.chars().next() {
            rest = tail(rest);
            match flag {
                'i' | 'm' | 's' | 'U' => flags += 1,
                '-' if !negated => {
                    negated = true;
                    flags = 0;
                }
                ':' if !negated || flags > 0 => {
                    self.open(rest);
                    return Ok(());
                }
                ')' if !negated || flags > 0 => {
                    self.rest = rest;
                    return Ok(());
                }
                _ => {
                    let text = between(before, rest);
                    return Err(error("invalid or unsupported Perl syntax", text));
                }
            }
        }
        Err(error("missing closing )", self.pattern))
    }

    fn open(&mut self, after: &'p str) {
        self.depth += 1;
        self.repeatable = false;
        self.rest = after;
    }
}

/// Whether the counts of a repetition are valid, and what follows; `None` where the brace begins none.
fn counts(text: &str) -> Option<(bool, &str)> {
    let (inner, after) = text.strip_prefix('{')?.split_once('}')?;
    let (low, high) = match inner.split_once(',') {
        Some((low, high)) => (low, Some(high)),
        None => (inner, None),
    };
    let number = |text: &str| {
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let leads = text.len() > 1 && text.starts_with('0');
        (plain && !leads).then(|| text.parse::<u32>().unwrap_or(u32::MAX))
    };
    let low = number(low)?;
    let high = match high {
        None => Some(low),
        Some("") => None,
        Some(high) => Some(number(high)?),
    };
    let valid = low <= MAX_REPEAT && high.is_none_or(|high| high <= MAX_REPEAT && low <= high);
    Some((valid, after))
}

/// What follows a class.
fn class(text: &str) -> Result<&str, String> {
    let unclosed = || error("missing closing ]", text);
    let mut rest = tail(text);
    rest = rest.strip_prefix('^').unwrap_or(rest);
    let mut first = true;
    while first || !rest.starts_with(']') {
        first = false;
        if let Some(inner) = rest.strip_prefix("[:")
            && let Some((name, after)) = inner.split_once(":]")
        {
            let plain = name.strip_prefix('^').unwrap_or(name);
            if !POSIX_CLASSES.contains(&plain) {
                let text = between(rest, after);
                return Err(error("invalid character class range", text));
            }
            rest = after;
            continue;
        }
        let before = rest;
        let (low, after) = member(rest).ok_or_else(unclosed)??;
        rest = after;
        if let Some(high) = rest.strip_prefix('-')
            && !high.is_empty()
            && !high.starts_with(']')
        {
            let (high, after) = member(high).ok_or_else(unclosed)??;
            if let (Some(low), Some(high)) = (low, high)
                && high < low
            {
                let text = between(before, after);
                return Err(error("invalid character class range", text));
            }
            rest = after;
        }
    }
    Ok(tail(rest))
}

/// A character of a class, where it is a single one that is known, and what follows it.
type Member<'p> = Result<(Option<char>, &'p str), String>;

fn member(text: &str) -> Option<Member<'_>> {
    let first = text.chars().next()?;
    Some(if first == '\\' {
        escape(text)
    } else {
        Ok((Some(first), tail(text)))
    })
}

/// The character that an escape stands for, where it is a single one that is known, and what follows it.
fn escape(text: &str) -> Member<'_> {
    let after = tail(text);
    let Some(first) = after.chars().next() else {
        return Err(error("trailing backslash at end of expression", ""));
    };
    let rest = tail(after);
    let invalid = || error("invalid escape sequence", between(text, rest));
    match first {
        'p' | 'P' | 'x' => {
            let rest = match rest.strip_prefix('{') {
                Some(inner) => inner.split_once('}').map_or("", |(_, after)| after),
                None if first == 'x' => tail(tail(rest)),
                None => tail(rest),
            };
            Ok((None, rest))
        }
        'a' | 'f' | 'n' | 'r' | 't' | 'v' | '0' | 'A' | 'b' | 'B' | 'C' | 'z' | 'd' | 'D' | 's'
        | 'S' | 'w' | 'W' => Ok((None, rest)),
        '1'..='7' if rest.starts_with(|c: char| ('0'..='7').contains(&c)) => Ok((None, rest)),
        punctuation if punctuation.is_ascii() && !punctuation.is_ascii_alphanumeric() => {
            Ok((Some(punctuation), rest))
        }
        _ => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn what_go_refuses_is_refused_in_its_words() {
        // KZ-PAT-010
        for (pattern, text) in [
            ("^(?:[)$", "missing closing ]: `[)$`"),
            ("^(?:()$", "missing closing ): `^(?:()$`"),
            ("^(?:))$", "unexpected ): `^(?:))$`"),
            ("^(?:*a)$", "missing argument to repetition operator: `*`"),
            ("^(?:a**)$", "invalid nested repetition operator: `**`"),
            (r"^(?:\y)$", r"invalid escape sequence: `\y`"),
            ("^(?:a{2,1})$", "invalid repeat count: `{2,1}`"),
            ("^(?:a{1001})$", "invalid repeat count: `{1001}`"),
            ("^(?:[z-a])$", "invalid character class range: `z-a`"),
            ("^(?:(?=a))$", "invalid or unsupported Perl syntax: `(?=`"),
            ("^(?:(?z))$", "invalid or unsupported Perl syntax: `(?z`"),
            (r"^(?:a\)$", r"missing closing ): `^(?:a\)$`"),
            (
                "^(?:[[:foo:]])$",
                "invalid character class range: `[:foo:]`",
            ),
            ("^(?:(?P<n)$", "invalid named capture: `(?P<n)$`"),
            (
                "^(?:x{2}{3})$",
                "invalid nested repetition operator: `{2}{3}`",
            ),
            ("^(?:++)$", "missing argument to repetition operator: `+`"),
            ("a\\", "trailing backslash at end of expression: ``"),
        ] {
            let expected = format!("error parsing regexp: {text}");
            assert_eq!(check(pattern).unwrap_err(), expected, "{pattern}");
        }
    }

    #[test]
    fn what_go_accepts_is_accepted() {
        // KZ-PAT-010
        for pattern in [
            "",
            "a|b",
            "(a)(?:b)(?P<n>c)(?<m>d)",
            "(?i)a",
            "(?i-s:a)",
            "[]a]",
            "[^]]",
            "[a-]",
            "[-a]",
            "[a-z0-9]",
            r"[\w-.]",
            r"[\d]+?",
            "a{",
            "a{,3}",
            "a{2}",
            "a{2,}",
            "a{2,3}?",
            r"\.",
            r"\Qa*\E*",
            r"\pL\p{Greek}\x41\x{1F600}",
            "[[:alpha:]]",
            "[[a]",
            "a*?",
            "é+",
            r"\07",
        ] {
            assert_eq!(check(pattern), Ok(()), "{pattern}");
        }
    }
}
