//! The patterns of `.Files.Glob`: `*` within a folder, `**` across folders, `?`, `[a-z]`, `[!abc]`, `{one,two}`, `\x`.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use regex::{Regex, RegexBuilder};

/// Maximum bytes of a compiled pattern.
const MAX_COMPILED_BYTES: usize = 1 << 20;

/// Number of compiled patterns in the cache of the process.
const KEPT: usize = 256;

static CACHE: LazyLock<Mutex<HashMap<String, Arc<Glob>>>> = LazyLock::new(Mutex::default);

/// A compiled pattern.
pub(super) struct Glob(Regex);

impl Glob {
    /// As [`Glob::new`], with a cache of recent patterns.
    pub(super) fn cached(pattern: &str) -> Option<Arc<Self>> {
        let lock = || CACHE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(glob) = lock().get(pattern) {
            return Some(Arc::clone(glob));
        }
        let glob = Arc::new(Self::new(pattern)?);
        let mut cache = lock();
        if cache.len() >= KEPT {
            cache.clear();
        }
        cache.insert(pattern.to_owned(), Arc::clone(&glob));
        Some(glob)
    }

    /// Compiles a pattern; `None` if it is invalid.
    fn new(pattern: &str) -> Option<Self> {
        let expression = Translation::of(pattern)?;
        RegexBuilder::new(&expression)
            .dot_matches_new_line(true)
            .size_limit(MAX_COMPILED_BYTES)
            .build()
            .ok()
            .map(Self)
    }

    /// Whether the whole path matches.
    pub(super) fn matches(&self, path: &str) -> bool {
        self.0.is_match(path)
    }
}

struct Translation<'p> {
    pattern: std::iter::Peekable<std::str::Chars<'p>>,
    out: String,
    open_braces: usize,
}

impl<'p> Translation<'p> {
    fn of(pattern: &'p str) -> Option<String> {
        let mut translation = Self {
            pattern: pattern.chars().peekable(),
            out: r"\A(?:".to_owned(),
            open_braces: 0,
        };
        while let Some(c) = translation.pattern.next() {
            translation.one(c)?;
        }
        if translation.open_braces > 0 {
            return None;
        }
        translation.out.push_str(r")\z");
        Some(translation.out)
    }

    fn one(&mut self, c: char) -> Option<()> {
        match c {
            '*' if self.pattern.next_if_eq(&'*').is_some() => self.out.push_str(".*"),
            '*' => self.out.push_str("[^/]*"),
            '?' => self.out.push_str("[^/]"),
            '[' => self.class()?,
            '{' => {
                self.open_braces += 1;
                self.out.push_str("(?:");
            }
            '}' if self.open_braces > 0 => {
                self.open_braces -= 1;
                self.out.push(')');
            }
            ',' if self.open_braces > 0 => self.out.push('|'),
            '\\' => {
                let escaped = self.pattern.next()?;
                self.literal(escaped);
            }
            literal => self.literal(literal),
        }
        Some(())
    }

    /// A character range, or a list of characters.
    fn class(&mut self) -> Option<()> {
        self.out.push('[');
        if self.pattern.next_if_eq(&'!').is_some() {
            self.out.push('^');
        }
        let first = self.pattern.next()?;
        if self.pattern.next_if_eq(&'-').is_some() {
            let last = self.pattern.next()?;
            self.literal(first);
            self.out.push('-');
            self.literal(last);
            self.pattern.next_if_eq(&']')?;
        } else {
            let mut next = Some(first);
            let mut any = false;
            loop {
                match next? {
                    ']' if any => break,
                    ']' => return None,
                    '\\' => {
                        let escaped = self.pattern.next()?;
                        self.literal(escaped);
                    }
                    c => self.literal(c),
                }
                any = true;
                next = self.pattern.next();
            }
        }
        self.out.push(']');
        Some(())
    }

    fn literal(&mut self, c: char) {
        if c.is_ascii_punctuation() {
            self.out.push('\\');
        }
        self.out.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::Glob;

    #[test]
    fn patterns_match_paths() {
        // HE-OBJ-005
        for (pattern, path, want) in [
            ("story/*", "story/a.txt", true),
            ("story/*", "story/sub/a.txt", false),
            ("story/**", "story/sub/a.txt", true),
            ("**.txt", "story/sub/a.txt", true),
            ("*.txt", "story/a.txt", false),
            ("?.txt", "a.txt", true),
            ("{a,b*}.y{a,}ml", "bcd.yml", true),
            ("[a-c].x", "b.x", true),
            ("[!a-c].x", "b.x", false),
            ("[ab-].x", "-.x", true),
            ("a\\*.x", "a*.x", true),
            ("a.x", "abx", false),
        ] {
            assert_eq!(
                Glob::new(pattern).unwrap().matches(path),
                want,
                "{pattern} {path}"
            );
        }
        for bad in ["[", "[]", "{a", "[a-", "[a-bc]", "\\"] {
            assert!(Glob::new(bad).is_none(), "{bad}");
        }
    }
}
