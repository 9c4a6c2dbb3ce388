//! Text to tokens.

use crate::strconv;
use crate::unicode;

/// What a token is.
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

/// A token: its text is `pos..end` of the input. What an error says is with the lexer, which stops there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) pos: usize,
    pub(super) end: usize,
    pub(super) line: usize,
}

impl Token {
    /// The token as error messages show it.
    fn describe(&self, input: &[u8]) -> String {
        if self.kind == Kind::Eof {
            return "EOF".to_owned();
        }
        let text = input.get(self.pos..self.end).unwrap_or_default();
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
    pos: usize,
    start: usize,
    line: usize,
    start_line: usize,
    at_eof: bool,
    parens: usize,
    inside: bool,
    failed: Option<Box<str>>,
    /// Whether `break` and `continue` are keywords, which they are not where functions have these names.
    pub(super) break_ok: bool,
    pub(super) continue_ok: bool,
}

/// What a scanning step came to.
enum Step {
    Token(Token),
    Text,
    Comment,
    LeftDelim,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(input: &'a [u8], delimiters: Delimiters<'a>) -> Self {
        Self {
            input,
            delimiters,
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
            // After an error the rest of the input is gone.
            return Token {
                kind: Kind::Eof,
                pos: 0,
                end: 0,
                line: self.start_line,
            };
        }
        let mut step = if self.inside {
            self.inside_action()
        } else {
            Step::Text
        };
        loop {
            step = match step {
                Step::Token(token) => return token,
                Step::Text => self.text(),
                Step::LeftDelim => self.left_delim(),
                Step::Comment => self.comment(),
            };
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
        let token = Token {
            kind,
            pos: self.start,
            end: self.pos,
            line: self.start_line,
        };
        self.start = self.pos;
        self.start_line = self.line;
        token
    }

    fn emit(&mut self, kind: Kind) -> Step {
        Step::Token(self.take(kind))
    }

    fn newlines(&self) -> usize {
        let skipped = self.input.get(self.start..self.pos).unwrap_or_default();
        memchr::memchr_iter(b'\n', skipped).count()
    }

    fn ignore(&mut self) {
        self.line += self.newlines();
        self.start = self.pos;
        self.start_line = self.line;
    }

    fn error(&mut self, message: impl Into<Box<str>>) -> Step {
        self.failed = Some(message.into());
        Step::Token(Token {
            kind: Kind::Error,
            pos: self.start,
            end: self.start,
            line: self.start_line,
        })
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

    fn text(&mut self) -> Step {
        let Some(offset) = find(self.rest(), self.delimiters.left) else {
            self.pos = self.input.len();
            if self.pos > self.start {
                self.line += self.newlines();
                return self.emit(Kind::Text);
            }
            return self.emit(Kind::Eof);
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
                return Step::Token(token);
            }
        }
        Step::LeftDelim
    }

    fn left_delim(&mut self) -> Step {
        self.pos += self.delimiters.left.len();
        let marker = if has_left_trim(self.rest()) { 2 } else { 0 };
        if self
            .rest()
            .get(marker..)
            .is_some_and(|rest| rest.starts_with(b"/*"))
        {
            self.pos += marker;
            self.ignore();
            return Step::Comment;
        }
        let token = self.take(Kind::LeftDelim);
        self.inside = true;
        self.pos += marker;
        self.ignore();
        self.parens = 0;
        Step::Token(token)
    }

    fn comment(&mut self) -> Step {
        self.pos += 2;
        let Some(offset) = find(self.rest(), b"*/") else {
            return self.error("unclosed comment");
        };
        self.pos += offset + 2;
        let Some(trim) = self.right_delim_ahead() else {
            return self.error("comment ends before closing delimiter");
        };
        self.line += self.newlines();
        self.take(Kind::Space);
        self.skip_right_delim(trim);
        self.ignore();
        Step::Text
    }

    /// Whether the right delimiter is next, and whether with a trim marker.
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

    fn right_delim(&mut self) -> Step {
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
        Step::Token(token)
    }

    fn inside_action(&mut self) -> Step {
        if self.right_delim_ahead().is_some() {
            if self.parens == 0 {
                return self.right_delim();
            }
            return self.error("unclosed left paren");
        }
        let Some(c) = self.next() else {
            return self.error("unclosed action");
        };
        match c {
            ' ' | '\t' | '\r' | '\n' => {
                self.backup();
                self.space()
            }
            '=' => self.emit(Kind::Assign),
            ':' => {
                if self.next() != Some('=') {
                    return self.error("expected :=");
                }
                self.emit(Kind::Declare)
            }
            '|' => self.emit(Kind::Pipe),
            '"' => self.quoted('"', Kind::String, "unterminated quoted string"),
            '`' => self.raw_quoted(),
            '$' => self.variable(),
            '\'' => self.quoted('\'', Kind::CharConstant, "unterminated character constant"),
            '.' if self.rest().first().is_some_and(|b| !b.is_ascii_digit()) => {
                self.field_or_variable(Kind::Field)
            }
            '.' | '+' | '-' | '0'..='9' => {
                self.backup();
                self.number()
            }
            _ if is_alphanumeric(c) => {
                self.backup();
                self.identifier()
            }
            '(' => {
                self.parens += 1;
                self.emit(Kind::LeftParen)
            }
            ')' => {
                if self.parens == 0 {
                    return self.error("unexpected right paren");
                }
                self.parens -= 1;
                self.emit(Kind::RightParen)
            }
            ' '..='~' => self.emit(Kind::Char),
            _ => self.error(format!(
                "unrecognized character in action: {}",
                code_point(c)
            )),
        }
    }

    fn space(&mut self) -> Step {
        let blanks = self.rest().iter().take_while(|b| is_blank(**b));
        let (mut count, mut newlines) = (0, 0);
        for blank in blanks {
            count += 1;
            newlines += usize::from(*blank == b'\n');
        }
        self.pos += count;
        self.line += newlines;
        // The last blank may belong to " -}}".
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
        self.emit(Kind::Space)
    }

    /// Passes over ASCII letters, digits and underscores.
    fn skip_word(&mut self) {
        let word = |b: &&u8| b.is_ascii_alphanumeric() || **b == b'_';
        self.pos += self.rest().iter().take_while(word).count();
    }

    fn identifier(&mut self) -> Step {
        self.skip_word();
        loop {
            let next = self.next();
            if next.is_some_and(is_alphanumeric) {
                continue;
            }
            self.backup();
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
            return self.emit(kind);
        }
    }

    fn variable(&mut self) -> Step {
        if self.at_terminator() {
            return self.emit(Kind::Variable);
        }
        self.field_or_variable(Kind::Variable)
    }

    fn field_or_variable(&mut self, kind: Kind) -> Step {
        if self.at_terminator() {
            let kind = if kind == Kind::Variable {
                kind
            } else {
                Kind::Dot
            };
            return self.emit(kind);
        }
        self.skip_word();
        let next = loop {
            let next = self.next();
            if !next.is_some_and(is_alphanumeric) {
                self.backup();
                break next;
            }
        };
        if !self.at_terminator() {
            return self.error(bad_character(next));
        }
        self.emit(kind)
    }

    fn at_terminator(&self) -> bool {
        match self.rest().first() {
            None | Some(b' ' | b'\t' | b'\r' | b'\n' | b'.' | b',' | b'|' | b':' | b')' | b'(') => {
                true
            }
            Some(_) => self.rest().starts_with(self.delimiters.right),
        }
    }

    fn quoted(&mut self, quote: char, kind: Kind, unterminated: &'static str) -> Step {
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
                Some(c) if c == quote => return self.emit(kind),
                Some(_) => {}
            }
        }
    }

    fn raw_quoted(&mut self) -> Step {
        let rest = self.rest();
        let end = memchr::memchr(b'`', rest);
        let (text, _) = rest.split_at(end.unwrap_or(rest.len()));
        self.line += memchr::memchr_iter(b'\n', text).count();
        self.pos += text.len();
        if self.next().is_none() {
            return self.error("unterminated raw quoted string");
        }
        self.emit(Kind::RawString)
    }

    fn number(&mut self) -> Step {
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
        self.emit(kind)
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

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(haystack, needle)
}

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
