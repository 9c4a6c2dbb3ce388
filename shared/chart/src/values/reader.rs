//! Characters of a `--set` argument, read one by one with the chance to put one back.

/// What is left of the text.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a str,
}

/// A run of characters and the stop character behind it; `None` where the text ended first.
pub(super) struct Run {
    pub(super) text: String,
    pub(super) stop: Option<char>,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    pub(super) const fn rest(&self) -> &'a str {
        self.rest
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next();
        self.rest = chars.as_str();
        next
    }

    pub(super) fn skip_bytes(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
    }

    /// Up to and past the first of `stops`. With `escapes`, a backslash takes the character behind it as it is.
    pub(super) fn until(&mut self, stops: &[char], escapes: bool) -> Run {
        let mut text = String::new();
        while let Some(c) = self.next() {
            if stops.contains(&c) {
                return Run {
                    text,
                    stop: Some(c),
                };
            }
            if c == '\\' && escapes {
                let Some(escaped) = self.next() else { break };
                text.push(escaped);
            } else {
                text.push(c);
            }
        }
        Run { text, stop: None }
    }
}
