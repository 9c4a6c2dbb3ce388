//! The lexer: splits a template into tokens.

use flux_golang::{strconv, unicode};
use memchr::memmem::Finder;

/// The kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Error,
    Bool,
    Char,
    CharConstant,
    Complex,
    Assign,
    Declare,
    Eof,
    Field,
    Identifier,
    LeftDelim,
    LeftParen,
    Number,
    Pipe,
    RawString,
    RightDelim,
    RightParen,
    Space,
    String,
    Text,
    Variable,
    // Keywords from here on.
    Block,
    Break,
    Continue,
    Dot,
    Define,
    Else,
    End,
    If,
    Nil,
    Range,
    Template,
    With,
}

impl Kind {
    const fn is_keyword(self) -> bool {
        matches!(
            self,
            Self::Block
                | Self::Break
                | Self::Continue
                | Self::Dot
                | Self::Define
                | Self::Else
                | Self::End
                | Self::If
                | Self::Nil
                | Self::Range
                | Self::Template
                | Self::With
        )
    }
}

/// A token; its text is `pos..end` of the input. The text of an error is in the lexer, which stops there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) pos: u32,
    pub(super) end: u32,
    pub(super) line: u32,
}

impl Token {
    /// Its text in the input.
    pub(super) fn text(self, input: &[u8]) -> &[u8] {
        let range = self.pos as usize..self.end as usize;
        input.get(range).unwrap_or_default()
    }

    /// The token as error messages show it.
    fn describe(&self, input: &[u8]) -> String {
        if self.kind == Kind::Eof {
            return "EOF".to_owned();
        }
        let text = self.text(input);
        if self.kind.is_keyword() {
            return format!("<{}>", String::from_utf8_lossy(text));
        }
        if text.len() > 10 {
            // "%.10q" counts runes.
            let cut = unicode::runes(text)
                .nth(10)
                .map_or(text.len(), |(at, ..)| at);
            return format!("{}...", strconv::quote(&text[..cut]));
        }
        strconv::quote(text)
    }
}

/// The delimiters of actions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delimiters<'a> {
    pub(crate) left: &'a [u8],
    pub(crate) right: &'a [u8],
}

pub(super) struct Lexer<'a> {
    input: &'a [u8],
    delimiters: Delimiters<'a>,
    left: Finder<'a>,
    pos: usize,
    start: usize,
    line: usize,
    start_line: usize,
    at_eof: bool,
    parens: usize,
    inside: bool,
    failed: Option<Box<str>>,
    /// Whether `break` and `continue` are keywords; they are not if there are functions with these names.
    pub(super) break_ok: bool,
    pub(super) continue_ok: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(input: &'a [u8], delimiters: Delimiters<'a>) -> Self {
        Self {
            input,
            delimiters,
            left: Finder::new(delimiters.left),
            pos: 0,
            start: 0,
            line: 1,
            start_line: 1,
            at_eof: false,
            parens: 0,
            inside: false,
            failed: None,
            break_ok: true,
            continue_ok: true,
        }
    }

    pub(super) fn next_token(&mut self) -> Token {
        if self.failed.is_some() {
            // After an error the rest of the input is dropped.
            return Token {
                kind: Kind::Eof,
                pos: 0,
                end: 0,
                line: self.start_line as u32,
            };
        }
        if self.inside {
            self.inside_action()
        } else {
            self.text()
        }
    }

    /// A token as error messages show it.
    pub(super) fn describe(&self, token: Token) -> String {
        match &self.failed {
            Some(message) if token.kind == Kind::Error => message.to_string(),
            _ => token.describe(self.input),
        }
    }

    fn rest(&self) -> &'a [u8] {
        self.input.get(self.pos..).unwrap_or_default()
    }

    fn next(&mut self) -> Option<char> {
        let (c, width) = unicode::decode(self.rest());
        if width == 0 {
            self.at_eof = true;
            return None;
        }
        self.pos += width;
        if c == '\n' {
            self.line += 1;
        }
        Some(c)
    }

    fn peek(&mut self) -> Option<char> {
        let c = self.next();
        self.backup();
        c
    }

    fn backup(&mut self) {
        if self.at_eof || self.pos == 0 {
            return;
        }
        let (c, width) = unicode::decode_last(self.input.get(..self.pos).unwrap_or_default());
        self.pos -= width;
        if c == '\n' {
            self.line -= 1;
        }
    }

    fn take(&mut self, kind: Kind) -> Token {
        // The parser refuses a text whose length does not fit these numbers.
        let token = Token {
            kind,
            pos: self.start as u32,
            end: self.pos as u32,
            line: self.start_line as u32,
        };
        self.start = self.pos;
        self.start_line = self.line;
        token
    }

    fn newlines(&self) -> usize {
        let skipped = self.input.get(self.start..self.pos).unwrap_or_default();
        memchr::memchr_iter(b'\n', skipped).count()
    }

    fn ignore(&mut self) {
        if self.pos > self.start {
            self.line += self.newlines();
            self.start = self.pos;
        }
        self.start_line = self.line;
    }

    fn error(&mut self, message: impl Into<Box<str>>) -> Token {
        self.failed = Some(message.into());
        Token {
            kind: Kind::Error,
            pos: self.start as u32,
            end: self.start as u32,
            line: self.start_line as u32,
        }
    }

    fn accept(&mut self, valid: &[u8]) -> bool {
        let fits = self
            .next()
            .is_some_and(|c| u8::try_from(c).is_ok_and(|b| valid.contains(&b)));
        if !fits {
            self.backup();
        }
        fits
    }

    fn accept_run(&mut self, valid: &[u8]) {
        while self.accept(valid) {}
    }

    /// Lexes outside actions: text, the start of an action, or the end.
    fn text(&mut self) -> Token {
        loop {
            let Some(offset) = self.left.find(self.rest()) else {
                self.pos = self.input.len();
                if self.pos > self.start {
                    self.line += self.newlines();
                    return self.take(Kind::Text);
                }
                return self.take(Kind::Eof);
            };
            if offset > 0 {
                self.pos += offset;
                let after = self.pos + self.delimiters.left.len();
                let mut trim = 0;
                if has_left_trim(self.input.get(after..).unwrap_or_default()) {
                    let text = self.input.get(self.start..self.pos).unwrap_or_default();
                    trim = text.iter().rev().take_while(|b| is_blank(**b)).count();
                }
                self.pos -= trim;
                self.line += self.newlines();
                let token = self.take(Kind::Text);
                self.pos += trim;
                self.ignore();
                if token.end > token.pos {
                    return token;
                }
            }
            self.pos += self.delimiters.left.len();
            let marker = if has_left_trim(self.rest()) { 2 } else { 0 };
            let inside = self.rest().get(marker..).unwrap_or_default();
            if !inside.starts_with(b"/*") {
                return self.left_delim(marker);
            }
            self.pos += marker;
            self.ignore();
            if let Err(why) = self.comment() {
                return self.error(why);
            }
        }
    }

    fn left_delim(&mut self, marker: usize) -> Token {
        let token = self.take(Kind::LeftDelim);
        self.inside = true;
        self.pos += marker;
        self.ignore();
        self.parens = 0;
        token
    }

    /// Skips a comment.
    fn comment(&mut self) -> Result<(), &'static str> {
        self.pos += 2;
        let end = memchr::memmem::find(self.rest(), b"*/").ok_or("unclosed comment")?;
        self.pos += end + 2;
        let trim = self
            .right_delim_ahead()
            .ok_or("comment ends before closing delimiter")?;
        self.line += self.newlines();
        self.take(Kind::Space);
        self.skip_right_delim(trim);
        self.ignore();
        Ok(())
    }

    /// Whether the right delimiter is next, and if so, whether it has a trim marker.
    fn right_delim_ahead(&self) -> Option<bool> {
        let (rest, right) = (self.rest(), self.delimiters.right);
        if has_right_trim(rest) && rest.get(2..).is_some_and(|r| r.starts_with(right)) {
            return Some(true);
        }
        rest.starts_with(right).then_some(false)
    }

    fn skip_right_delim(&mut self, trim: bool) {
        if trim {
            self.pos += 2;
        }
        self.pos += self.delimiters.right.len();
        if trim {
            self.pos += self.rest().iter().take_while(|b| is_blank(**b)).count();
        }
    }

    fn right_delim(&mut self) -> Token {
        let trim = self.right_delim_ahead() == Some(true);
        if trim {
            self.pos += 2;
            self.ignore();
        }
        self.pos += self.delimiters.right.len();
        let token = self.take(Kind::RightDelim);
        if trim {
            self.pos += self.rest().iter().take_while(|b| is_blank(**b)).count();
            self.ignore();
        }
        self.inside = false;
        token
    }

    fn inside_action(&mut self) -> Token {
        let Some(&first) = self.rest().first() else {
            return self.error("unclosed action");
        };
        let may_end = self.delimiters.right.first() == Some(&first) || is_blank(first);
        if may_end && self.right_delim_ahead().is_some() {
            if self.parens == 0 {
                return self.right_delim();
            }
            return self.error("unclosed left paren");
        }
        let next = self.input.get(self.pos + 1).copied();
        match first {
            b' ' | b'\t' | b'\r' | b'\n' => self.space(),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => self.identifier(),
            b'.' if next.is_some_and(|b| !b.is_ascii_digit()) => {
                self.pos += 1;
                self.field_or_variable(Kind::Field)
            }
            b'.' | b'+' | b'-' | b'0'..=b'9' => self.number(),
            0x80.. => self.beyond_ascii(),
            _ => {
                self.pos += 1;
                self.indicator(first)
            }
        }
    }

    /// Lexes a token that begins with a character that is neither part of a word nor of a number; that character was
    /// consumed.
    fn indicator(&mut self, first: u8) -> Token {
        match first {
            b'=' => self.take(Kind::Assign),
            b':' => {
                if self.next() != Some('=') {
                    return self.error("expected :=");
                }
                self.take(Kind::Declare)
            }
            b'|' => self.take(Kind::Pipe),
            b'"' => self.quoted('"', Kind::String, "unterminated quoted string"),
            b'`' => self.raw_quoted(),
            b'$' => self.variable(),
            b'\'' => self.quoted('\'', Kind::CharConstant, "unterminated character constant"),
            b'(' => {
                self.parens += 1;
                self.take(Kind::LeftParen)
            }
            b')' => {
                if self.parens == 0 {
                    return self.error("unexpected right paren");
                }
                self.parens -= 1;
                self.take(Kind::RightParen)
            }
            b' '..=b'~' => self.take(Kind::Char),
            _ => self.unrecognized(char::from(first)),
        }
    }

    fn beyond_ascii(&mut self) -> Token {
        let (c, width) = unicode::decode(self.rest());
        if is_alphanumeric(c) {
            return self.identifier();
        }
        self.pos += width;
        self.unrecognized(c)
    }

    fn unrecognized(&mut self, c: char) -> Token {
        self.error(format!(
            "unrecognized character in action: {}",
            code_point(c)
        ))
    }

    fn space(&mut self) -> Token {
        if let [b' ', next, ..] = self.rest()
            && !is_blank(*next)
            && *next != b'-'
        {
            // In most cases there is a single one.
            self.pos += 1;
            return self.take(Kind::Space);
        }
        let blanks = self.rest().iter().take_while(|b| is_blank(**b));
        let (mut count, mut newlines) = (0, 0);
        for blank in blanks {
            count += 1;
            newlines += usize::from(*blank == b'\n');
        }
        self.pos += count;
        self.line += newlines;
        // The last blank may be part of " -}}".
        let from_last = self
            .input
            .get(self.pos.saturating_sub(1)..)
            .unwrap_or_default();
        if has_right_trim(from_last)
            && from_last
                .get(2..)
                .is_some_and(|r| r.starts_with(self.delimiters.right))
        {
            self.backup();
            if count == 1 {
                return self.right_delim();
            }
        }
        self.take(Kind::Space)
    }

    /// Skips letters, digits and underscores; returns the next character.
    fn skip_word(&mut self) -> Option<char> {
        loop {
            let rest = self.rest();
            let end = rest.iter().position(|b| !WORD[usize::from(*b)]);
            let end = end.unwrap_or(rest.len());
            self.pos += end;
            let next = *rest.get(end)?;
            if next.is_ascii() {
                return Some(char::from(next));
            }
            let (c, width) = unicode::decode(self.rest());
            if !is_alphanumeric(c) {
                return Some(c);
            }
            self.pos += width;
        }
    }

    fn identifier(&mut self) -> Token {
        let next = self.skip_word();
        if !self.at_terminator() {
            return self.error(bad_character(next));
        }
        let kind = match self.input.get(self.start..self.pos).unwrap_or_default() {
            b"break" if self.break_ok => Kind::Break,
            b"continue" if self.continue_ok => Kind::Continue,
            b"block" => Kind::Block,
            b"define" => Kind::Define,
            b"else" => Kind::Else,
            b"end" => Kind::End,
            b"if" => Kind::If,
            b"nil" => Kind::Nil,
            b"range" => Kind::Range,
            b"template" => Kind::Template,
            b"with" => Kind::With,
            b"true" | b"false" => Kind::Bool,
            _ => Kind::Identifier,
        };
        self.take(kind)
    }

    fn variable(&mut self) -> Token {
        if self.at_terminator() {
            return self.take(Kind::Variable);
        }
        self.field_or_variable(Kind::Variable)
    }

    fn field_or_variable(&mut self, kind: Kind) -> Token {
        if self.at_terminator() {
            let kind = if kind == Kind::Variable {
                kind
            } else {
                Kind::Dot
            };
            return self.take(kind);
        }
        let next = self.skip_word();
        if !self.at_terminator() {
            return self.error(bad_character(next));
        }
        self.take(kind)
    }

    fn at_terminator(&self) -> bool {
        match self.rest().first() {
            None | Some(b' ' | b'\t' | b'\r' | b'\n' | b'.' | b',' | b'|' | b':' | b')' | b'(') => {
                true
            }
            Some(_) => self.rest().starts_with(self.delimiters.right),
        }
    }

    fn quoted(&mut self, quote: char, kind: Kind, unterminated: &'static str) -> Token {
        loop {
            let rest = self.rest();
            self.pos += memchr::memchr3(quote as u8, b'\\', b'\n', rest).unwrap_or(rest.len());
            match self.next() {
                Some('\\') => {
                    if matches!(self.next(), None | Some('\n')) {
                        return self.error(unterminated);
                    }
                }
                None | Some('\n') => return self.error(unterminated),
                Some(c) if c == quote => return self.take(kind),
                Some(_) => {}
            }
        }
    }

    fn raw_quoted(&mut self) -> Token {
        let rest = self.rest();
        let end = memchr::memchr(b'`', rest);
        let (text, _) = rest.split_at(end.unwrap_or(rest.len()));
        self.line += memchr::memchr_iter(b'\n', text).count();
        self.pos += text.len();
        if self.next().is_none() {
            return self.error("unterminated raw quoted string");
        }
        self.take(Kind::RawString)
    }

    fn number(&mut self) -> Token {
        let rest = self.rest();
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let plain = digits == 1 || digits > 0 && rest.first() != Some(&b'0');
        if plain && matches!(rest.get(digits), Some(b' ' | b')' | b'}' | b'|')) {
            // Fast path for nearly all numbers.
            self.pos += digits;
            return self.take(Kind::Number);
        }
        let mut fits = self.scan_number();
        let mut kind = Kind::Number;
        if fits && matches!(self.peek(), Some('+' | '-')) {
            kind = Kind::Complex;
            fits = self.scan_number() && self.input.get(self.pos - 1) == Some(&b'i');
        }
        if !fits {
            let text = self.input.get(self.start..self.pos).unwrap_or_default();
            return self.error(format!("bad number syntax: {}", strconv::quote(text)));
        }
        self.take(kind)
    }

    fn scan_number(&mut self) -> bool {
        self.accept(b"+-");
        let (mut digits, mut exponent): (&[u8], &[u8]) = (b"0123456789_", b"eE");
        if self.accept(b"0") {
            if self.accept(b"xX") {
                (digits, exponent) = (b"0123456789abcdefABCDEF_", b"pP");
            } else if self.accept(b"oO") {
                (digits, exponent) = (b"01234567_", b"");
            } else if self.accept(b"bB") {
                (digits, exponent) = (b"01_", b"");
            }
        }
        self.accept_run(digits);
        if self.accept(b".") {
            self.accept_run(digits);
        }
        if !exponent.is_empty() && self.accept(exponent) {
            self.accept(b"+-");
            self.accept_run(b"0123456789_");
        }
        self.accept(b"i");
        if self.peek().is_some_and(is_alphanumeric) {
            self.next();
            return false;
        }
        true
    }
}

/// The ASCII characters of words.
const WORD: [bool; 256] = {
    let mut word = [false; 256];
    let mut at = 0_u8;
    while at < 0x80 {
        word[at as usize] = at.is_ascii_alphanumeric() || at == b'_';
        at += 1;
    }
    word
};

const fn is_blank(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\r' | b'\n')
}

const fn has_left_trim(rest: &[u8]) -> bool {
    matches!(rest, [b'-', b' ' | b'\t' | b'\r' | b'\n', ..])
}

const fn has_right_trim(rest: &[u8]) -> bool {
    matches!(rest, [b' ' | b'\t' | b'\r' | b'\n', b'-', ..])
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || unicode::is_letter(c) || unicode::is_digit(c)
}

fn bad_character(c: Option<char>) -> String {
    // At the end Go prints its eof marker, -1.
    let text = c.map_or_else(|| "U+FFFFFFFFFFFFFFFF".to_owned(), code_point);
    format!("bad character {text}")
}

/// `%#U`
fn code_point(c: char) -> String {
    let n = u32::from(c);
    if unicode::is_print(c) {
        format!("U+{n:04X} '{c}'")
    } else {
        format!("U+{n:04X}")
    }
}
