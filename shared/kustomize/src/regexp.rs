//! Go's regular expressions on the `regex` crate: same engine family, other syntax in places.

use std::fmt::Write as _;

use crate::regexp_syntax;

/// A compiled expression.
#[derive(Clone, Debug)]
pub(crate) struct Regex {
    regex: regex::Regex,
    /// How much a byte of text may cost.
    weight: u64,
}

/// How large a compiled expression may get.
const SIZE_LIMIT: usize = 1 << 20;
/// How large one is whose states the engine keeps apart without trouble.
const SMALL: usize = 32 << 10;

impl Regex {
    /// Compiles an expression in Go's syntax.
    pub(crate) fn new(pattern: &str) -> Result<Self, String> {
        regexp_syntax::check(pattern)?;
        let translated = translate(pattern);
        let build = |limit| {
            regex::RegexBuilder::new(&translated)
                .size_limit(limit)
                .build()
        };
        // Nearly all fit the first. The others may take as many turns for each byte as they have states.
        let built = match build(SMALL) {
            Ok(regex) => Ok(Self { regex, weight: 1 }),
            Err(regex::Error::CompiledTooBig(_)) => build(SIZE_LIMIT).map(|regex| Self {
                regex,
                weight: (SIZE_LIMIT / SMALL * 8) as u64,
            }),
            Err(error) => Err(error),
        };
        built.map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => {
                format!("error parsing regexp: expression too large: `{pattern}`")
            }
            _ => format!("error parsing regexp: invalid character class range: `{pattern}`"),
        })
    }

    /// Whether the expression matches somewhere in the text.
    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The steps that looking for a match in a text may take.
    pub(crate) fn cost(&self, text: &str) -> u64 {
        (text.len() as u64 / 8 + 4) * self.weight
    }
}

/// Whether the text means itself as an expression.
pub(crate) fn is_literal(pattern: &str) -> bool {
    !pattern.contains([
        '\\', '.', '+', '*', '?', '(', ')', '|', '[', ']', '{', '}', '^', '$',
    ])
}

/// Perl classes are ASCII in Go; brackets and set operators inside a class are text there; a brace that begins no
/// repetition is text; `\Q...\E` quotes.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(character) = rest.chars().next() {
        let after = &rest[character.len_utf8()..];
        match character {
            '\\' => {
                rest = escape(after, in_class, &mut out);
                continue;
            }
            '[' if !in_class => {
                in_class = true;
                out.push('[');
                rest = after;
                if let Some(next) = rest.strip_prefix('^') {
                    out.push('^');
                    rest = next;
                }
                if let Some(next) = rest.strip_prefix(']') {
                    out.push_str("\\]");
                    rest = next;
                }
                continue;
            }
            '[' if after.starts_with(':') && after.contains(":]") => {
                let end = after.find(":]").map_or(0, |at| at + 2);
                let _ = write!(out, "[{}", &after[..end]);
                rest = &after[end..];
                continue;
            }
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            '[' | '&' | '~' if in_class => {
                out.push('\\');
                out.push(character);
            }
            '-' if in_class && after.starts_with('-') => out.push_str("\\-"),
            '{' if !in_class && !is_repetition(after) => out.push_str("\\{"),
            '}' if !in_class && !closes_repetition(&out) => out.push_str("\\}"),
            other => out.push(other),
        }
        rest = after;
    }
    out
}

fn escape<'p>(after: &'p str, in_class: bool, out: &mut String) -> &'p str {
    let Some(character) = after.chars().next() else {
        out.push('\\');
        return after;
    };
    let rest = &after[character.len_utf8()..];
    let class = |positive: &str, negative: bool| {
        let sign = if negative { "^" } else { "" };
        format!("[{sign}{positive}]")
    };
    match character {
        'd' | 'D' => out.push_str(&class("0-9", character == 'D')),
        'w' | 'W' => out.push_str(&class("0-9A-Za-z_", character == 'W')),
        's' | 'S' => out.push_str(&class("\\t\\n\\f\\r ", character == 'S')),
        'b' | 'B' if !in_class => {
            let _ = write!(out, "(?-u:\\{character})");
        }
        'Q' if !in_class => {
            let (text, rest) = rest.split_once("\\E").unwrap_or((rest, ""));
            out.push_str(&regex::escape(text));
            return rest;
        }
        'p' | 'P' | 'x' if rest.starts_with('{') && rest.contains('}') => {
            let end = rest.find('}').map_or(0, |at| at + 1);
            let _ = write!(out, "\\{character}{}", &rest[..end]);
            return &rest[end..];
        }
        other => {
            out.push('\\');
            out.push(other);
        }
    }
    rest
}

fn is_repetition(after: &str) -> bool {
    let Some((inner, _)) = after.split_once('}') else {
        return false;
    };
    let (low, high) = inner.split_once(',').unwrap_or((inner, ""));
    !low.is_empty()
        && low.bytes().all(|b| b.is_ascii_digit())
        && high.bytes().all(|b| b.is_ascii_digit())
}

/// Whether a closing brace ends a repetition, a Unicode class or a code point that was opened before.
fn closes_repetition(out: &str) -> bool {
    match (out.rfind('{'), out.rfind('}')) {
        (Some(open), close) => {
            !out[..open].ends_with('\\') && close.is_none_or(|close| close < open)
        }
        (None, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_mean_what_they_mean_in_go() {
        for (pattern, text, matches) in [
            ("^a.c$", "abc", true),
            (r"^\d+$", "١٢", false),
            (r"^\d{2}$", "12", true),
            (r"[[a]", "[", true),
            (r"^[a&&b]$", "&", true),
            (r"^[^]a]$", "]", false),
            (r"^a{b}$", "a{b}", true),
            (r"^a{,2}$", "a{,2}", true),
            (r"^\Qa.b\E$", "axb", false),
            (r"^[[:alpha:]]+$", "abc", true),
            (r"^[\w-]+$", "a-b", true),
            (r"^\pL$", "é", true),
            (r"^\p{Greek}$", "α", true),
        ] {
            assert_eq!(
                Regex::new(pattern).unwrap().is_match(text),
                matches,
                "{pattern}"
            );
        }
        assert!(Regex::new("a(").is_err());
        assert!(Regex::new("*a").is_err());
    }

    #[test]
    fn literals_are_told_from_expressions() {
        assert!(is_literal("my-app"));
        assert!(!is_literal("my.app"));
    }
}
