//! Generates scalars in all their styles.

use std::fmt::Write as _;

use super::document::Writer;
use super::values::{long, text};

impl Writer<'_> {
    /// A scalar whose continuation lines are at this column, and the end of its line.
    pub(super) fn scalar(&mut self, column: usize) {
        let text = if self.r.chance(self.rates.long) {
            long(self.r)
        } else {
            text(self.r)
        };
        if self.r.chance(self.rates.block) {
            self.block_scalar(&text, column);
            return;
        }
        match self.r.below(10) {
            0 => {
                let quoted = text.replace('\'', "''");
                let quoted = self.broken(&quoted, column);
                let _ = write!(self.out, "'{quoted}'");
            }
            1 => {
                let json = serde_json::to_string(&text).unwrap_or_default();
                self.out.push_str(&json);
            }
            2 => {
                let escaped = escaped(&text);
                let escaped = self.broken(&escaped, column);
                let _ = write!(self.out, "\"{escaped}\"");
            }
            3 if text.lines().all(plain) || self.r.chance(20) => {
                let mut first = true;
                for line in text.split('\n') {
                    if !first {
                        self.out.push('\n');
                        self.indent(column);
                    }
                    first = false;
                    self.out.push_str(line);
                }
            }
            _ => {
                let line = text.replace(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'], " ");
                if plain(&line) || self.r.chance(8) {
                    let line = self.broken(&line, column);
                    self.out.push_str(&line);
                } else {
                    self.out
                        .push_str(&serde_json::to_string(&line).unwrap_or_default());
                }
            }
        }
        self.end_line();
    }

    /// A text with some of its blanks replaced by line breaks, as long lines are wrapped.
    fn broken(&mut self, text: &str, column: usize) -> String {
        let mut out = String::new();
        for (at, c) in text.char_indices() {
            out.push(c);
            if c == ' ' && at > 0 && self.r.chance(3) {
                out.push_str(self.r.pick(&["\n", "\n", "\n\n", "\n \n"]));
                out.extend(std::iter::repeat_n(' ', column + self.r.below(3)));
            }
        }
        out
    }

    fn block_scalar(&mut self, text: &str, column: usize) {
        let style = self.r.pick(&["|", ">"]);
        let header = if self.r.chance(2) {
            self.r.pick(&["9", "0", "--", "10", "+ 1"])
        } else if self.r.chance(20) {
            self.r.pick(&["2", "2-", "-2", "1", "+1", "3+"])
        } else {
            self.r.pick(&["", "-", "+"])
        };
        self.out.push_str(style);
        self.out.push_str(header);
        if self.r.chance(self.rates.beside) {
            self.out.push_str(self.r.pick(&[" # c", "  # c d", " #"]));
        }
        self.out.push('\n');
        // Blank lines before the first text line, some of them wider than it.
        while self.r.chance(12) {
            let width = self.r.below(column + 3);
            self.indent(width);
            self.out.push('\n');
        }
        let deeper = self.r.below(3) * usize::from(self.r.chance(30));
        for line in text.split('\n') {
            let line = if self.r.chance(90) {
                line.trim_start_matches('\t')
            } else {
                line
            };
            if !line.is_empty() || self.r.chance(50) {
                self.indent(column + deeper);
            }
            self.out.push_str(line);
            self.out.push('\n');
        }
        while self.r.chance(15) {
            let width = self.r.below(column + 3);
            self.indent(width);
            self.out.push('\n');
        }
    }
}

/// The inside of a double-quoted scalar, with escapes that JSON does not have.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\u{85}' => out.push_str("\\N"),
            '\u{a0}' => out.push_str("\\_"),
            '\u{2028}' => out.push_str("\\L"),
            '\u{1b}' => out.push_str("\\e"),
            'a' => out.push_str("\\x61"),
            'é' => out.push_str("\\u00e9"),
            '😀' => out.push_str("\\U0001F600"),
            c if c.is_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// Whether a text roughly qualifies as a plain scalar.
pub(super) fn plain(text: &str) -> bool {
    text.chars()
        .next()
        .is_some_and(|c| c.is_alphanumeric() || c == '.' || c == '+')
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.contains('\t')
        && !text.ends_with(':')
        && !text.ends_with(' ')
        && !text.chars().any(char::is_control)
}
