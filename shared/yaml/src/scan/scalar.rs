//! Scalars: plain, quoted and block.

use std::borrow::Cow;

use super::tag::hex;
use super::{ScalarStyle, Scan, Scanner, Token, TokenData, TokenKind};
use crate::error::Mark;
use crate::resolve::Flavor;

/// Marks bytes that may end a run of a plain scalar, in flow collections, in single and in double quotes.
const PLAIN_END: u8 = 1;
const FLOW_END: u8 = 1 << 1;
const SINGLE_END: u8 = 1 << 2;
const DOUBLE_END: u8 = 1 << 3;

/// What each byte may end. Lead bytes of the line breaks outside ASCII need a second check.
const MEANINGS: [u8; 256] = {
    let mut meanings = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        meanings[byte] = match byte as u8 {
            0 | b' ' | b'\t' | b'\r' | b'\n' | 0xC2 | 0xE2 => PLAIN_END | SINGLE_END | DOUBLE_END,
            b':' => PLAIN_END,
            b',' | b'?' | b'[' | b']' | b'{' | b'}' => FLOW_END,
            b'\'' => SINGLE_END,
            b'"' | b'\\' => DOUBLE_END,
            _ => 0,
        };
        byte += 1;
    }
    meanings
};

/// Line breaks between two pieces of a scalar.
#[derive(Default)]
struct Fold {
    first: String,
    further: String,
}

impl Fold {
    fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// Appends the folded breaks: a single one becomes a space, of several the first is dropped.
    fn apply(&mut self, out: &mut String) {
        if self.first.starts_with('\n') {
            if self.further.is_empty() {
                out.push(' ');
            }
        } else {
            out.push_str(&self.first);
        }
        out.push_str(&self.further);
        self.first.clear();
        self.further.clear();
    }
}

impl<'i> Scanner<'i> {
    fn scalar_token(
        value: impl Into<Cow<'i, str>>,
        style: ScalarStyle,
        start: Mark,
        end: Mark,
    ) -> Token<'i> {
        Token {
            kind: TokenKind::Scalar,
            data: TokenData::Scalar(value.into(), style),
            start,
            end,
        }
    }

    /// Skips the blanks and breaks between two pieces and records the breaks. Returns the blanks before the first
    /// break, and whether there was one. `indent` is the lowest column at which a tab may start a new line.
    fn scan_gap(
        &mut self,
        fold: &mut Fold,
        mut broken: bool,
        tab_limit: Option<(u32, Mark)>,
    ) -> Scan<(&'i str, bool)> {
        let from = self.mark.at();
        let mut until = from;
        loop {
            if self.byte(0) == b' ' {
                self.skip_spaces();
                if !broken {
                    until = self.mark.at();
                }
            } else if self.byte(0) == b'\t' {
                if broken
                    && let Some((column, start)) = tab_limit
                    && self.mark.column < column
                {
                    return self.error(start, "found a tab character that violates indentation");
                }
                self.advance();
                if !broken {
                    until = self.mark.at();
                }
            } else if self.is_break(0) {
                if broken {
                    self.read_line(&mut fold.further);
                } else {
                    self.read_line(&mut fold.first);
                    broken = true;
                }
            } else {
                break;
            }
        }
        let blanks = if broken {
            ""
        } else {
            self.text.get(from..until).unwrap_or("")
        };
        Ok((blanks, broken))
    }

    pub(super) fn scan_plain_scalar(&mut self) -> Scan<Token<'i>> {
        let start = self.mark;
        let mut end = self.mark;
        let indent = (self.indent + 1).max(0) as u32;
        // The text is borrowed as long as it is on one line.
        let mut folded: Option<String> = None;
        let mut fold = Fold::default();
        let mut blanks = "";
        loop {
            self.want(4);
            if self.mark.column == 0 && (self.document_marker(b'-') || self.document_marker(b'.')) {
                break;
            }
            if self.byte(0) == b'#' {
                break;
            }
            let length = self.plain_run();
            if length > 0 {
                let run = self.advance_run(length);
                if !fold.is_empty() {
                    let text = folded.get_or_insert_with(|| {
                        self.text.get(start.at()..end.at()).unwrap_or("").to_owned()
                    });
                    fold.apply(text);
                    text.push_str(run);
                } else if let Some(text) = &mut folded {
                    text.push_str(blanks);
                    text.push_str(run);
                }
                end = self.mark;
                self.want(2);
            }
            if !(self.is_blank(0) || self.is_break(0)) {
                break;
            }
            let broken = !fold.is_empty();
            (blanks, _) = self.scan_gap(&mut fold, broken, Some((indent, start)))?;
            if self.flow_level == 0 && self.mark.column < indent {
                break;
            }
        }
        if !fold.is_empty() {
            self.key_allowed = true;
        }
        let value = match folded {
            Some(text) => Cow::Owned(text),
            None => Cow::Borrowed(self.text.get(start.at()..end.at()).unwrap_or("")),
        };
        Ok(Self::scalar_token(value, ScalarStyle::Plain, start, end))
    }

    /// Bytes up to the next blank, break, or indicator that ends a plain scalar.
    fn plain_run(&self) -> usize {
        let ends = if self.flow_level > 0 {
            PLAIN_END | FLOW_END
        } else {
            PLAIN_END
        };
        let rest = self.rest();
        let mut length = 0;
        while let Some(run) = rest.get(length..) {
            let found = run
                .iter()
                .position(|byte| MEANINGS[usize::from(*byte)] & ends != 0);
            let Some(at) = found else {
                return rest.len();
            };
            length += at;
            let goes_on = match rest.get(length) {
                Some(b':') => !self.is_blank_or_end(length + 1),
                Some(0xC2 | 0xE2) => !self.is_break(length),
                _ => false,
            };
            if !goes_on {
                break;
            }
            length += 1;
        }
        length
    }

    pub(super) fn scan_quoted_scalar(&mut self, single: bool) -> Scan<Token<'i>> {
        let start = self.mark;
        self.advance();
        let from = self.mark.at();
        let mut changed: Option<String> = None;
        let mut fold = Fold::default();
        loop {
            self.want(4);
            if self.mark.column == 0 && (self.document_marker(b'-') || self.document_marker(b'.')) {
                return self.error(start, "found unexpected document indicator");
            }
            if self.is_end() {
                return self.error(start, "found unexpected end of stream");
            }
            let mut broken = self.scan_quoted_run(single, start, from, &mut changed)?;
            if self.byte(0) == if single { b'\'' } else { b'"' } {
                break;
            }
            let at_gap = self.mark.at();
            let (blanks, gap_broken) = self.scan_gap(&mut fold, broken, None)?;
            broken |= gap_broken;
            if broken {
                let text = changed
                    .get_or_insert_with(|| self.text.get(from..at_gap).unwrap_or("").to_owned());
                if fold.is_empty() {
                    text.push_str(&fold.further);
                    fold.further.clear();
                } else {
                    fold.apply(text);
                }
            } else if let Some(text) = &mut changed {
                text.push_str(blanks);
            }
        }
        let value = match changed {
            Some(text) => Cow::Owned(text),
            None => Cow::Borrowed(self.text.get(from..self.mark.at()).unwrap_or("")),
        };
        self.advance();
        let style = if single {
            ScalarStyle::Single
        } else {
            ScalarStyle::Double
        };
        Ok(Self::scalar_token(value, style, start, self.mark))
    }

    /// Reads up to the next blank, break or closing quote. Returns whether an escaped line break ended the run.
    fn scan_quoted_run(
        &mut self,
        single: bool,
        start: Mark,
        from: usize,
        changed: &mut Option<String>,
    ) -> Scan<bool> {
        loop {
            let length = self.quoted_run(if single { SINGLE_END } else { DOUBLE_END });
            let before = self.mark.at();
            let run = self.advance_run(length);
            self.want(2);
            if let Some(text) = changed {
                text.push_str(run);
            }
            let here = before + length;
            match self.byte(0) {
                b'\'' if single && self.byte(1) == b'\'' => {
                    let text = changed
                        .get_or_insert_with(|| self.text.get(from..here).unwrap_or("").to_owned());
                    text.push('\'');
                    self.advance();
                    self.advance();
                }
                b'\\' if !single => {
                    let text = changed
                        .get_or_insert_with(|| self.text.get(from..here).unwrap_or("").to_owned());
                    if self.is_break(1) {
                        self.advance();
                        self.advance_line();
                        return Ok(true);
                    }
                    text.push(self.scan_escape(start)?);
                }
                _ => return Ok(false),
            }
        }
    }

    /// Bytes up to the next blank, break or byte with one of these meanings.
    fn quoted_run(&self, ends: u8) -> usize {
        let rest = self.rest();
        let mut length = 0;
        while let Some(run) = rest.get(length..) {
            let found = run
                .iter()
                .position(|byte| MEANINGS[usize::from(*byte)] & ends != 0);
            let Some(at) = found else {
                return rest.len();
            };
            length += at;
            if !matches!(rest.get(length), Some(0xC2 | 0xE2)) || self.is_break(length) {
                break;
            }
            length += 1;
        }
        length
    }

    fn scan_escape(&mut self, start: Mark) -> Scan<char> {
        let (escaped, digits) = match self.byte(1) {
            b'0' => ('\0', 0),
            b'a' => ('\x07', 0),
            b'b' => ('\x08', 0),
            b't' | b'\t' => ('\t', 0),
            b'n' => ('\n', 0),
            b'v' => ('\x0B', 0),
            b'f' => ('\x0C', 0),
            b'r' => ('\r', 0),
            b'e' => ('\x1B', 0),
            b' ' => (' ', 0),
            b'"' => ('"', 0),
            b'\'' => ('\'', 0),
            b'\\' => ('\\', 0),
            b'N' => ('\u{85}', 0),
            b'_' => ('\u{A0}', 0),
            b'L' => ('\u{2028}', 0),
            b'P' => ('\u{2029}', 0),
            b'x' => ('\0', 2),
            b'u' => ('\0', 4),
            b'U' => ('\0', 8),
            _ => return self.error(start, "found unknown escape character"),
        };
        self.advance();
        self.advance();
        if digits == 0 {
            return Ok(escaped);
        }
        let mut code: u32 = 0;
        for at in 0..digits {
            match hex(self.byte(at)) {
                Some(digit) => code = (code << 4) | u32::from(digit),
                None => return self.error(start, "did not find expected hexdecimal number"),
            }
        }
        let Some(c) = char::from_u32(code) else {
            return self.error(start, "found invalid Unicode character escape code");
        };
        for _ in 0..digits {
            self.advance();
        }
        Ok(c)
    }

    pub(super) fn scan_block_scalar(&mut self, literal: bool) -> Scan<Token<'i>> {
        let start = self.mark;
        self.advance();
        let (keep, increment) = self.scan_block_header(start)?;
        while self.is_blank(0) {
            self.advance();
        }
        if self.byte(0) == b'#' {
            if self.flavor == Flavor::V3 {
                self.scan_line_comment(start);
            }
            self.skip_to_break();
        }
        if !self.is_break_or_end(0) {
            return self.error(start, "did not find expected comment or line break");
        }
        self.advance_line();

        let mut end = self.mark;
        let mut indent = if increment > 0 {
            self.indent.max(0) as u32 + increment
        } else {
            0
        };
        let mut text = String::new();
        let mut first = String::new();
        let mut further = String::new();
        self.scan_block_breaks(&mut indent, &mut further, start, &mut end)?;
        let mut after_blank = false;
        while self.mark.column == indent && !self.is_end() {
            let blank = self.is_blank(0);
            if !literal && first.starts_with('\n') && !after_blank && !blank {
                if further.is_empty() {
                    text.push(' ');
                }
            } else {
                text.push_str(&first);
            }
            first.clear();
            text.push_str(&further);
            further.clear();
            after_blank = blank;
            let from = self.mark.at();
            self.skip_to_break();
            text.push_str(self.text.get(from..self.mark.at()).unwrap_or(""));
            if self.is_break(0) {
                self.read_line(&mut first);
            }
            self.scan_block_breaks(&mut indent, &mut further, start, &mut end)?;
        }
        if keep >= 0 {
            text.push_str(&first);
        }
        if keep > 0 {
            text.push_str(&further);
        }
        let style = if literal {
            ScalarStyle::Literal
        } else {
            ScalarStyle::Folded
        };
        Ok(Self::scalar_token(text, style, start, end))
    }

    /// Reads the chomping and indentation indicators, in either order. Chomping is -1 to strip and 1 to keep final
    /// breaks.
    fn scan_block_header(&mut self, start: Mark) -> Scan<(i8, u32)> {
        let mut keep = 0;
        let mut increment = 0;
        let mut seen_sign = false;
        let mut seen_digit = false;
        for _ in 0..2 {
            match self.byte(0) {
                sign @ (b'+' | b'-') if !seen_sign => {
                    seen_sign = true;
                    keep = if sign == b'+' { 1 } else { -1 };
                    self.advance();
                }
                digit if digit.is_ascii_digit() && !seen_digit => {
                    if digit == b'0' {
                        return self.error(start, "found an indentation indicator equal to 0");
                    }
                    seen_digit = true;
                    increment = u32::from(digit - b'0');
                    self.advance();
                }
                _ => break,
            }
        }
        Ok((keep, increment))
    }

    /// Skips indentation and empty lines; detects the indentation if it is not known yet.
    fn scan_block_breaks(
        &mut self,
        indent: &mut u32,
        breaks: &mut String,
        start: Mark,
        end: &mut Mark,
    ) -> Scan<()> {
        *end = self.mark;
        let mut widest = 0;
        loop {
            if *indent == 0 {
                self.skip_spaces();
            }
            while self.mark.column < *indent && self.byte(0) == b' ' {
                self.advance();
            }
            widest = widest.max(self.mark.column);
            if (*indent == 0 || self.mark.column < *indent) && self.byte(0) == b'\t' {
                return self.error(
                    start,
                    "found a tab character where an indentation space is expected",
                );
            }
            if !self.is_break(0) {
                break;
            }
            self.read_line(breaks);
            *end = self.mark;
        }
        if *indent == 0 {
            *indent = widest.max((self.indent + 1).max(1) as u32);
        }
        Ok(())
    }
}
