//! Literals, lists, maps and messages.

use std::sync::Arc;

use flux_golang::strconv;

use super::{Parsed, Parser};
use crate::ast::{Entry, Expr, Item, Kind};
use crate::lex::Token;
use crate::unescape::unescape;
use crate::value::Value;

impl Parser<'_, '_> {
    /// The name of the message that begins here, and the place of its `{`, which is skipped.
    pub(super) fn message_name(&mut self, first: &str, dot: bool) -> Option<(String, usize)> {
        let mut name = if dot {
            format!(".{first}")
        } else {
            first.to_owned()
        };
        let mut ahead = 0;
        loop {
            let sign = self.ahead(ahead);
            match sign.token {
                Token::Sign("{") => {
                    self.next += ahead + 1;
                    return Some((name, sign.start));
                }
                Token::Sign(".") if self.ahead(ahead + 1).token == Token::Ident => {
                    name.push('.');
                    name.push_str(&self.text(self.ahead(ahead + 1)));
                    ahead += 2;
                }
                _ => return None,
            }
        }
    }

    pub(super) fn message(&mut self, name: String, open: usize) -> Parsed {
        let id = self.reserve();
        let mut fields = Vec::new();
        while !self.is("}") {
            self.take("?");
            if self.peek().token != Token::Ident {
                return Err(self.mismatch("{'}', '?', ',', IDENTIFIER, ESC_IDENTIFIER}"));
            }
            self.advance();
            self.expect(":")?;
            self.reserve();
            fields.push(self.ternary()?);
            if self.take(",").is_none() {
                break;
            }
        }
        self.expect("}")?;
        let at = open;
        let kind = Kind::Message { name, fields };
        Ok(Expr::new(id, at, kind))
    }

    pub(super) fn list(&mut self) -> Parsed {
        let open = self.advance();
        let id = self.reserve();
        let mut items = Vec::new();
        while !self.is("]") {
            if items.is_empty() && self.take(",").is_some() {
                break;
            }
            let optional = self.take("?").is_some();
            let value = self.ternary()?;
            items.push(Item { value, optional });
            if self.take(",").is_none() {
                break;
            }
        }
        self.expect("]")?;
        let (at, kind) = (open.start, Kind::List(items));
        Ok(Expr::new(id, at, kind))
    }

    pub(super) fn map(&mut self) -> Parsed {
        let open = self.advance();
        let id = self.reserve();
        let mut entries = Vec::new();
        while !self.is("}") {
            if entries.is_empty() && self.take(",").is_some() {
                break;
            }
            let optional = self.take("?").is_some();
            self.reserve();
            let key = self.ternary()?;
            self.expect(":")?;
            let value = self.ternary()?;
            entries.push(Entry {
                key,
                value,
                optional,
            });
            if self.take(",").is_none() {
                break;
            }
        }
        self.expect("}")?;
        let (at, kind) = (open.start, Kind::Map(entries));
        Ok(Expr::new(id, at, kind))
    }

    pub(super) fn literal(&mut self) -> Parsed {
        let start = self.peek().start;
        let negative = self.take("-").is_some();
        let lexeme = self.advance();
        let text = self.text(lexeme);
        let value = match lexeme.token {
            Token::Word("true") => Ok(Value::Bool(true)),
            Token::Word("false") => Ok(Value::Bool(false)),
            Token::Int => int(&text, negative).ok_or("invalid int literal"),
            Token::Uint => uint(&text).ok_or("invalid uint literal"),
            Token::Double => {
                let text = if negative { format!("-{text}") } else { text };
                let parsed = strconv::parse_float(text.as_bytes());
                parsed
                    .map(Value::Double)
                    .map_err(|_| "invalid double literal")
            }
            Token::String => unescape(&text, false).map(|bytes| {
                let text = String::from_utf8_lossy(&bytes);
                Value::String(Arc::from(&*text))
            }),
            Token::Bytes => {
                let text = text.get(1..).unwrap_or_default();
                unescape(text, true).map(|bytes| Value::Bytes(bytes.into()))
            }
            _ => Ok(Value::Null),
        };
        match value {
            Ok(value) => Ok(self.expr(start, Kind::Literal(value))),
            Err(message) => Err(self.problem(start, message)),
        }
    }
}

/// A decimal or hexadecimal integer.
fn int(text: &str, negative: bool) -> Option<Value> {
    let (digits, base) = based(text);
    let sign = if negative { "-" } else { "" };
    let parsed = strconv::parse_int(format!("{sign}{digits}").as_bytes(), base);
    parsed.ok().map(Value::Int)
}

/// As [`int`], with the `u` at its end.
fn uint(text: &str) -> Option<Value> {
    let (digits, base) = based(text.trim_end_matches(['u', 'U']));
    let parsed = strconv::parse_uint(digits.as_bytes(), base);
    parsed.ok().map(Value::Uint)
}

fn based(text: &str) -> (&str, u32) {
    text.strip_prefix("0x")
        .map_or((text, 10), |digits| (digits, 16))
}
