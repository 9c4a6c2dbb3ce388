//! Writes characters, indentation, and the five scalar styles.

use std::fmt::Write as _;

use super::analyze::is_printable;
use super::{Emitter, ScalarStyle};
use crate::scan::break_width;

impl Emitter<'_> {
    pub(super) fn put(&mut self, c: char) {
        self.out.push(c);
        self.column += 1;
    }

    pub(super) fn put_break(&mut self) {
        self.out.push('\n');
        self.column = 0;
        if self.v3() {
            self.indention = true;
        }
    }

    /// Writes text without line breaks.
    pub(super) fn put_run(&mut self, run: &str) {
        self.out.push_str(run);
        self.column += run.bytes().filter(|b| b & 0xC0 != 0x80).count() as i32;
    }

    pub(super) fn write_indent(&mut self) {
        let indent = self.indent.max(0);
        if !self.indention || self.column > indent || self.column == indent && !self.whitespace {
            self.put_break();
        }
        if self.v3() {
            if self.foot_indent == indent {
                self.put_break();
            }
            self.foot_indent = -1;
        }
        while self.column < indent {
            self.put(' ');
        }
        self.whitespace = true;
        if !self.v3() {
            self.indention = true;
        }
    }

    pub(super) fn write_indicator(
        &mut self,
        indicator: &str,
        need_whitespace: bool,
        is_whitespace: bool,
        is_indention: bool,
    ) {
        if need_whitespace && !self.whitespace {
            self.put(' ');
        }
        self.put_run(indicator);
        self.whitespace = is_whitespace;
        self.indention &= is_indention;
    }

    /// Writes a name unchanged.
    pub(super) fn write_raw(&mut self, name: &str) {
        self.put_run(name);
        self.whitespace = false;
        self.indention = false;
    }

    pub(super) fn write_tag_content(&mut self, content: &str) {
        for byte in content.bytes() {
            if byte.is_ascii_alphanumeric() || b"_-;/?:@&=+$,.~*'()[]".contains(&byte) {
                self.put(char::from(byte));
            } else {
                let _ = write!(self.out, "%{byte:02X}");
                self.column += 3;
            }
        }
        self.whitespace = false;
        self.indention = false;
    }

    pub(super) fn write_scalar(&mut self, value: &str, style: ScalarStyle) {
        let fold = !self.context.simple_key;
        match style {
            ScalarStyle::Plain => self.write_plain(value, fold),
            ScalarStyle::Single => self.write_single_quoted(value, fold),
            ScalarStyle::Double => self.write_double_quoted(value, fold),
            ScalarStyle::Literal => self.write_literal(value),
            ScalarStyle::Folded => self.write_folded(value),
        }
    }

    /// Whether all of this text fits the line, so that it can be written at once.
    fn fits(&self, value: &str, fold: bool) -> bool {
        !fold || self.column as usize + value.len() <= self.layout.width as usize
    }

    fn write_plain(&mut self, value: &str, fold: bool) {
        if value.is_empty() && self.v3() {
            self.indention = false;
            return;
        }
        if !self.whitespace {
            self.put(' ');
        }
        if self.fits(value, fold) && !self.scalar.multiline {
            self.put_run(value);
        } else {
            self.write_flow_text(value, fold, false);
        }
        self.whitespace = false;
        self.indention = false;
    }

    fn write_single_quoted(&mut self, value: &str, fold: bool) {
        self.write_indicator("'", true, false, false);
        self.write_flow_text(value, fold, true);
        self.write_indicator("'", false, false, false);
        self.whitespace = false;
        self.indention = false;
    }

    /// Writes the text of a plain or single-quoted scalar, folding it at the width.
    fn write_flow_text(&mut self, value: &str, fold: bool, quoted: bool) {
        let bytes = value.as_bytes();
        let mut spaces = false;
        let mut breaks = false;
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            if byte == b' ' {
                let inside = !quoted || at > 0 && at + 1 < bytes.len();
                if fold
                    && !spaces
                    && inside
                    && self.column > self.layout.width
                    && bytes.get(at + 1) != Some(&b' ')
                {
                    self.write_indent();
                } else {
                    self.put(' ');
                }
                at += 1;
                spaces = true;
                continue;
            }
            let width = break_width(bytes, at);
            if width > 0 {
                if !breaks && byte == b'\n' {
                    self.put_break();
                }
                self.write_break(value, at, width);
                self.indention = true;
                at += width;
                breaks = true;
                continue;
            }
            if breaks {
                self.write_indent();
            }
            if quoted && byte == b'\'' {
                self.put('\'');
            }
            let end = run_end(bytes, at, |byte| byte == b' ' || byte == b'\'');
            self.put_run(value.get(at..end).unwrap_or(""));
            at = end;
            self.indention = false;
            spaces = false;
            breaks = false;
        }
    }

    pub(super) fn write_break(&mut self, value: &str, at: usize, width: usize) {
        if value.as_bytes().get(at) == Some(&b'\n') {
            self.put_break();
        } else {
            self.out.push_str(value.get(at..at + width).unwrap_or(""));
            self.column = 0;
            if self.v3() {
                self.indention = true;
            }
        }
    }

    fn write_double_quoted(&mut self, value: &str, fold: bool) {
        self.write_indicator("\"", true, false, false);
        let bytes = value.as_bytes();
        // libyaml looks for a byte order mark at the start of the text, whichever character it is at.
        let marked = value.starts_with('\u{FEFF}');
        let mut spaces = false;
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            if byte == b' ' && !marked {
                if fold
                    && !spaces
                    && self.column > self.layout.width
                    && at > 0
                    && at + 1 < bytes.len()
                {
                    self.write_indent();
                    if bytes.get(at + 1) == Some(&b' ') {
                        self.put('\\');
                    }
                } else {
                    self.put(' ');
                }
                spaces = true;
                at += 1;
                continue;
            }
            spaces = false;
            let rest = value.get(at..).unwrap_or("");
            let plain = rest.bytes().position(|byte| !is_quotable(byte));
            let plain = plain.unwrap_or(rest.len());
            if plain > 0 && !marked {
                self.put_run(rest.get(..plain).unwrap_or(""));
                at += plain;
                continue;
            }
            let Some(c) = rest.chars().next() else {
                break;
            };
            let escaped = marked
                || matches!(c, '"' | '\\')
                || !is_printable(bytes, at)
                || break_width(bytes, at) > 0;
            if escaped {
                self.write_escape(c);
            } else {
                self.put(c);
            }
            at += c.len_utf8();
        }
        self.write_indicator("\"", false, false, false);
        self.whitespace = false;
        self.indention = false;
    }

    fn write_escape(&mut self, c: char) {
        let short = match c {
            '\0' => '0',
            '\x07' => 'a',
            '\x08' => 'b',
            '\t' => 't',
            '\n' => 'n',
            '\x0B' => 'v',
            '\x0C' => 'f',
            '\r' => 'r',
            '\x1B' => 'e',
            '"' => '"',
            '\\' => '\\',
            '\u{85}' => 'N',
            '\u{A0}' => '_',
            '\u{2028}' => 'L',
            '\u{2029}' => 'P',
            _ => {
                let code = u32::from(c);
                let before = self.out.len();
                let _ = match code {
                    0..=0xFF => write!(self.out, "\\x{code:02X}"),
                    0x100..=0xFFFF => write!(self.out, "\\u{code:04X}"),
                    _ => write!(self.out, "\\U{code:08X}"),
                };
                self.column += (self.out.len() - before) as i32;
                return;
            }
        };
        self.put('\\');
        self.put(short);
    }

    fn write_block_hints(&mut self, value: &str) {
        let bytes = value.as_bytes();
        if bytes.first() == Some(&b' ') || break_width(bytes, 0) > 0 {
            let hint = self.layout.indent.to_string();
            self.write_indicator(&hint, false, false, false);
        }
        let mut last = value.char_indices().rev().map(|(at, _)| at);
        let ends_in_break = |at: Option<usize>| at.is_some_and(|at| break_width(bytes, at) > 0);
        let (final_char, before) = (last.next(), last.next());
        let chomp = if !ends_in_break(final_char) {
            "-"
        } else if before.is_none() || ends_in_break(before) {
            "+"
        } else {
            ""
        };
        if !chomp.is_empty() {
            self.write_indicator(chomp, false, false, false);
        }
    }

    /// Ends the header line of a block scalar, with its comment.
    fn write_block_header_end(&mut self) {
        if self.pending.line.is_empty() {
            self.put_break();
        } else {
            self.process_line_comment();
        }
        if !self.v3() {
            self.indention = true;
        }
        self.whitespace = true;
    }

    fn write_literal(&mut self, value: &str) {
        self.write_indicator("|", true, false, false);
        self.write_block_hints(value);
        self.write_block_header_end();
        let bytes = value.as_bytes();
        let mut breaks = true;
        let mut at = 0;
        while at < bytes.len() {
            let width = break_width(bytes, at);
            if width > 0 {
                self.write_break(value, at, width);
                self.indention = true;
                breaks = true;
                at += width;
                continue;
            }
            if breaks {
                self.write_indent();
            }
            let end = run_end(bytes, at, |_| false);
            self.put_run(value.get(at..end).unwrap_or(""));
            self.indention = false;
            breaks = false;
            at = end;
        }
    }

    fn write_folded(&mut self, value: &str) {
        self.write_indicator(">", true, false, false);
        self.write_block_hints(value);
        self.write_block_header_end();
        let bytes = value.as_bytes();
        // At every line break libyaml, and so go-yaml, looks at the start of the text instead of the current position.
        let mut ahead = 0;
        while break_width(bytes, ahead) > 0 {
            ahead += break_width(bytes, ahead);
        }
        let doubled = !matches!(bytes.get(ahead), None | Some(b' ' | b'\t' | 0));
        let mut breaks = true;
        let mut leading_spaces = true;
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            let width = break_width(bytes, at);
            if width > 0 {
                if doubled && !breaks && !leading_spaces && byte == b'\n' {
                    self.put_break();
                }
                self.write_break(value, at, width);
                self.indention = true;
                breaks = true;
                at += width;
                continue;
            }
            if breaks {
                self.write_indent();
                leading_spaces = matches!(byte, b' ' | b'\t');
            }
            if !breaks
                && byte == b' '
                && bytes.get(at + 1) != Some(&b' ')
                && self.column > self.layout.width
            {
                self.write_indent();
                at += 1;
            } else {
                let end = run_end(bytes, at, |byte| byte == b' ');
                self.put_run(value.get(at..end).unwrap_or(""));
                at = end;
            }
            self.indention = false;
            breaks = false;
        }
    }
}

/// The end of the run that begins with this character: before the next line break, or before the next of these ASCII
/// characters.
pub(super) fn run_end(bytes: &[u8], from: usize, stop: impl Fn(u8) -> bool) -> usize {
    let mut at = from + 1;
    while let Some(&byte) = bytes.get(at) {
        if stop(byte) || matches!(byte, b'\n' | b'\r' | 0xC2 | 0xE2) && break_width(bytes, at) > 0 {
            return at;
        }
        at += 1;
    }
    bytes.len()
}

/// Whether a byte needs no escape in double quotes and is not a blank.
fn is_quotable(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7E) && !matches!(byte, b'"' | b'\\')
}
