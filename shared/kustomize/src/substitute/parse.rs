//! Parses texts with expressions to templates.

use std::borrow::Cow;

use flux_golang::unicode;

use super::SubstituteError;

/// The maximum nesting of expressions.
const MAX_DEPTH: usize = 100;

/// A part of a text.
#[derive(Debug)]
pub(super) enum Part<'t> {
    Text(Cow<'t, [u8]>),
    Expression(Expression<'t>),
}

/// The content of `${...}`.
#[derive(Debug)]
pub(super) struct Expression<'t> {
    pub(super) name: &'t str,
    pub(super) operator: Operator,
    pub(super) arguments: Vec<Part<'t>>,
}

/// The operation of an expression on its variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    /// `${a}`
    Value,
    /// `${a:-w}` and its variants, which are equivalent (KC-SUB-027, KC-SUB-028).
    Default,
    /// `${#a}`
    Length,
    /// `${a^}`
    UpperFirst,
    /// `${a^^}`
    Upper,
    /// `${a,}`
    LowerFirst,
    /// `${a,,}`
    Lower,
    /// `${a^,}` and `${a,^}`: no effect, whatever the arguments (KC-SUB-030).
    MixedCase,
    /// `${a:pos}` and `${a:pos:len}`
    Substring,
    /// `${a/p/r}`
    ReplaceFirst,
    /// `${a//p/r}`
    ReplaceAll,
    /// `${a/#p/r}`
    ReplacePrefix,
    /// `${a/%p/r}`
    ReplaceSuffix,
    /// `${a#p}`
    TrimShortestPrefix,
    /// `${a##p}`
    TrimLongestPrefix,
    /// `${a%p}`
    TrimShortestSuffix,
    /// `${a%%p}`
    TrimLongestSuffix,
}

type Parse<T> = Result<T, SubstituteError>;

/// Parses a text to its end, or to a NUL, which counts as the end (KC-SUB-026).
pub(super) fn parse(text: &[u8]) -> Parse<Vec<Part<'_>>> {
    let end = text.iter().position(|b| *b == 0).unwrap_or(text.len());
    let mut parser = Parser {
        text: text.get(..end).unwrap_or(text),
        at: 0,
        depth: 0,
        cut: end < text.len(),
    };
    parser.template()
}

struct Parser<'t> {
    text: &'t [u8],
    at: usize,
    depth: usize,
    /// Whether the text ended at a NUL.
    cut: bool,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn starts_expression(&self) -> bool {
        self.text.get(self.at..self.at + 2) == Some(b"${")
    }

    /// Alternating text and expressions; `$$` is a dollar sign (KC-SUB-017, KC-SUB-018).
    fn template(&mut self) -> Parse<Vec<Part<'t>>> {
        let mut parts = Vec::new();
        let mut from = self.at;
        while let Some(byte) = self.peek() {
            if byte != b'$' {
                self.at += 1;
            } else if self.starts_expression() {
                self.push_text(from, &mut parts);
                self.at += 2;
                parts.push(Part::Expression(self.expression()?));
                from = self.at;
            } else if self.text.get(self.at + 1) == Some(&b'$') {
                self.at += 1;
                self.push_text(from, &mut parts);
                self.at += 1;
                from = self.at;
            } else {
                self.at += 1;
            }
        }
        self.push_text(from, &mut parts);
        Ok(parts)
    }

    fn push_text(&self, from: usize, parts: &mut Vec<Part<'t>>) {
        if let Some(text) = self.text.get(from..self.at)
            && !text.is_empty()
        {
            parts.push(Part::Text(Cow::Borrowed(text)));
        }
    }

    fn expression(&mut self) -> Parse<Expression<'t>> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(SubstituteError::TooDeep);
        }
        let expression = self.expression_body();
        self.depth -= 1;
        expression
    }

    fn expression_body(&mut self) -> Parse<Expression<'t>> {
        if self.peek() == Some(b'#') {
            return self.length();
        }
        let name = self.name().ok_or(SubstituteError::VariableName)?;
        match self.peek() {
            Some(b':') => match self.text.get(self.at + 1) {
                Some(b'=' | b'-' | b'?' | b'+') => {
                    self.at += 2;
                    self.default(name)
                }
                _ => self.substring(name),
            },
            Some(b'=') => {
                self.at += 1;
                self.default(name)
            }
            Some(b',' | b'^') => self.casing(name),
            Some(b'/') => self.replace(name),
            Some(b'#' | b'%') => self.trim(name),
            Some(b'}') => {
                self.at += 1;
                Ok(expression(name, Operator::Value))
            }
            _ => Err(SubstituteError::MissingClosingBrace),
        }
    }

    /// Letters, digits and `_`, of any script (KC-SUB-020).
    fn name(&mut self) -> Option<&'t str> {
        let rest = self.text.get(self.at..)?;
        let valid = match std::str::from_utf8(rest) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(rest.get(..error.valid_up_to())?).ok()?,
        };
        let end = valid
            .find(|c: char| !is_name_char(c))
            .unwrap_or(valid.len());
        self.at += end;
        valid.get(..end).filter(|name| !name.is_empty())
    }

    fn close(&mut self) -> Parse<()> {
        if self.peek() != Some(b'}') {
            return Err(SubstituteError::BadSubstitution);
        }
        self.at += 1;
        Ok(())
    }

    /// Reads up to two bytes that `accept`; the first is already known to be accepted.
    fn operator(&mut self, accept: impl Fn(u8) -> bool) -> &'t [u8] {
        let from = self.at;
        self.at += 1;
        if self.peek().is_some_and(accept) {
            self.at += 1;
        }
        self.text.get(from..self.at).unwrap_or(&[])
    }

    fn length(&mut self) -> Parse<Expression<'t>> {
        self.at += 1;
        let name = self.name().ok_or(SubstituteError::BadSubstitution)?;
        self.close()?;
        Ok(expression(name, Operator::Length))
    }

    /// Everything up to `}`: alternating texts and expressions.
    fn default(&mut self, name: &'t str) -> Parse<Expression<'t>> {
        let mut default = expression(name, Operator::Default);
        while self.peek() != Some(b'}') {
            let argument = self.parameter(|b| b != b'}', false)?;
            default.arguments.push(argument);
        }
        self.at += 1;
        Ok(default)
    }

    fn substring(&mut self, name: &'t str) -> Parse<Expression<'t>> {
        // The character after the colon must be a single byte: upstream steps back by its width.
        let follows = self.text.get(self.at + 1).copied();
        let wide = self
            .text
            .get(self.at + 1..)
            .is_some_and(|rest| unicode::decode(rest).1 > 1);
        if follows.is_none() && self.cut {
            return Err(SubstituteError::Parameter);
        }
        if follows.is_none() || wide {
            return Err(SubstituteError::BadSubstitution);
        }
        self.at += 1;
        let mut substring = expression(name, Operator::Substring);
        let position = self.parameter(|b| b != b':' && b != b'}', false)?;
        substring.arguments.push(position);
        match self.peek() {
            Some(b'}') => {
                self.at += 1;
                return Ok(substring);
            }
            Some(b':') => {}
            _ => return Err(SubstituteError::BadSubstitution),
        }
        while self.peek() == Some(b':') {
            self.at += 1;
        }
        let length = self.parameter(|b| b != b'}', false)?;
        substring.arguments.push(length);
        self.close()?;
        Ok(substring)
    }

    fn casing(&mut self, name: &'t str) -> Parse<Expression<'t>> {
        let operator = match self.operator(|b| matches!(b, b',' | b'^')) {
            b"," => Operator::LowerFirst,
            b",," => Operator::Lower,
            b"^" => Operator::UpperFirst,
            b"^^" => Operator::Upper,
            _ => Operator::MixedCase,
        };
        self.close()?;
        Ok(expression(name, operator))
    }

    fn trim(&mut self, name: &'t str) -> Parse<Expression<'t>> {
        let sign = self.peek();
        let operator = match self.operator(|b| Some(b) == sign) {
            b"#" => Operator::TrimShortestPrefix,
            b"##" => Operator::TrimLongestPrefix,
            b"%" => Operator::TrimShortestSuffix,
            _ => Operator::TrimLongestSuffix,
        };
        let mut trim = expression(name, operator);
        trim.arguments.push(self.parameter(|b| b != b'}', false)?);
        self.close()?;
        Ok(trim)
    }

    fn replace(&mut self, name: &'t str) -> Parse<Expression<'t>> {
        let operator = match self.operator(|b| matches!(b, b'/' | b'#' | b'%')) {
            b"//" => Operator::ReplaceAll,
            b"/#" => Operator::ReplacePrefix,
            b"/%" => Operator::ReplaceSuffix,
            _ => Operator::ReplaceFirst,
        };
        let mut replace = expression(name, operator);
        let pattern = self.parameter(|b| b != b'/', true)?;
        replace.arguments.push(pattern);
        // The second slash is required; several count as one (KC-SUB-037).
        if self.peek() != Some(b'/') {
            return Err(SubstituteError::BadSubstitution);
        }
        while self.peek() == Some(b'/') {
            self.at += 1;
        }
        if self.peek() != Some(b'}') {
            let replacement = self.parameter(|b| b != b'}', true)?;
            replace.arguments.push(replacement);
        }
        self.close()?;
        Ok(replace)
    }

    /// One argument: an expression, or text up to an expression or a byte that is not accepted (KC-SUB-038). In text
    /// with escapes, `\/`, `\\` and `$$` represent their second character.
    fn parameter(&mut self, accept: impl Fn(u8) -> bool, escapes: bool) -> Parse<Part<'t>> {
        if self.starts_expression() {
            self.at += 2;
            return Ok(Part::Expression(self.expression()?));
        }
        let mut text: Cow<'t, [u8]> = Cow::Borrowed(&[]);
        let mut from = self.at;
        let first = self.at;
        while let Some(byte) = self.peek() {
            if self.starts_expression() {
                break;
            }
            let next = self.text.get(self.at + 1);
            let escaped = escapes
                && match byte {
                    b'$' => next == Some(&b'$'),
                    b'\\' => matches!(next, Some(b'/' | b'\\')),
                    _ => false,
                };
            if escaped {
                let before = self.text.get(from..self.at).unwrap_or(&[]);
                text.to_mut().extend_from_slice(before);
                from = self.at + 1;
                self.at += 2;
            } else if accept(byte) {
                self.at += 1;
            } else {
                break;
            }
        }
        if self.at == first {
            return Err(SubstituteError::Parameter);
        }
        let rest = self.text.get(from..self.at).unwrap_or(&[]);
        if text.is_empty() {
            text = Cow::Borrowed(rest);
        } else {
            text.to_mut().extend_from_slice(rest);
        }
        Ok(Part::Text(text))
    }
}

fn expression(name: &str, operator: Operator) -> Expression<'_> {
    Expression {
        name,
        operator,
        arguments: Vec::new(),
    }
}

fn is_name_char(c: char) -> bool {
    if c.is_ascii() {
        return c == '_' || c.is_ascii_alphanumeric();
    }
    unicode::is_letter(c) || unicode::is_digit(c)
}
