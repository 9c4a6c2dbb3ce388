//! A reader of the characters of a `--set` argument that can put one back.

/// The rest of the text.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a str,
}

/// Some characters and the stop character after them; `None` if the text ended first.
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

    /// Reads up to and including the first of `stops`. With `escapes`, the character after a backslash is taken literally.
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
