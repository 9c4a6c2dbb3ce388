//! The text of an expression, and errors that point into it.

/// The maximum number of characters in an expression, as in cel-go.
pub(crate) const MAX_CHARACTERS: usize = 100_000;
/// Lines longer than this are not shown in errors.
const MAX_SNIPPET: usize = 16_384;
/// How many errors are reported.
const MAX_ERRORS: usize = 100;

/// The characters of an expression.
pub(crate) struct Source {
    pub(crate) text: Vec<char>,
}

/// A problem of an expression, at the character where it was found; without a place if it concerns the whole.
struct Problem {
    at: Option<usize>,
    message: String,
}

/// The problems found in an expression.
pub(crate) struct Problems<'s> {
    source: &'s Source,
    found: Vec<Problem>,
}

impl Source {
    pub(crate) fn new(text: &str) -> Self {
        Self {
            text: text.chars().collect(),
        }
    }

    /// Line and column of a character, both from 0, with the characters of that line.
    fn place(&self, at: usize) -> (usize, usize, &[char]) {
        let at = at.min(self.text.len());
        let before = &self.text[..at];
        let start = before.iter().rposition(|c| *c == '\n').map_or(0, |i| i + 1);
        let line = before.iter().filter(|c| **c == '\n').count();
        let rest = &self.text[start..];
        let end = rest.iter().position(|c| *c == '\n').unwrap_or(rest.len());
        (line, at - start, &rest[..end])
    }
}

impl<'s> Problems<'s> {
    pub(crate) fn new(source: &'s Source) -> Self {
        Self {
            source,
            found: Vec::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(crate) fn report(&mut self, at: usize, message: String) {
        let at = Some(at);
        self.found.push(Problem { at, message });
    }

    /// Reports a problem of the whole expression.
    pub(crate) fn report_whole(&mut self, message: String) {
        self.found.push(Problem { at: None, message });
    }

    /// All problems in the order of their places, each with its line of the expression.
    pub(crate) fn into_text(mut self) -> String {
        self.found
            .sort_by_key(|problem| problem.at.map_or(0, |at| at + 1));
        let more = self.found.len().saturating_sub(MAX_ERRORS);
        let shown = self.found.iter().take(MAX_ERRORS);
        let mut lines: Vec<String> = shown.map(|problem| self.shown(problem)).collect();
        if more > 0 {
            lines.push(format!("{more} more errors were truncated"));
        }
        lines.join("\n")
    }

    fn shown(&self, problem: &Problem) -> String {
        let Some(at) = problem.at else {
            return format!("ERROR: <input>:-1:0: {}", problem.message);
        };
        if self.source.text.is_empty() {
            return format!("ERROR: <input>:1:0: {}", problem.message);
        }
        let (line, column, text) = self.source.place(at);
        let mut shown = format!(
            "ERROR: <input>:{}:{}: {}",
            line + 1,
            column + 1,
            problem.message
        );
        let snippet: String = text
            .iter()
            .map(|c| if *c == '\t' { ' ' } else { *c })
            .collect();
        if snippet.len() <= MAX_SNIPPET {
            let is_wide = |i: usize| text.get(i).is_some_and(|c| !c.is_ascii());
            let dots =
                (0..column.min(text.len())).map(|i| if is_wide(i) { '\u{ff0e}' } else { '.' });
            let dots: String = dots.collect();
            let mark = if is_wide(column) { '\u{ff3e}' } else { '^' };
            shown.push_str(&format!("\n | {snippet}\n | {dots}{mark}"));
        }
        shown
    }
}
