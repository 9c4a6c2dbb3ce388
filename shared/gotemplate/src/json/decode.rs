//! Decoding JSON.

use flux_golang::{strconv, unicode};

use super::JsonError;
use crate::value::{List, Map, Str, Value};

/// Maximum depth of nesting; Go allows 10000.
const MAX_DEPTH: usize = 500;

/// `json.Unmarshal` into an `interface {}`: numbers become `float64`; of equal keys the last one counts.
pub fn unmarshal(text: &[u8]) -> Result<Value, JsonError> {
    let mut decoder = Decoder {
        text,
        at: 0,
        number: None,
    };
    decoder.space();
    let value = decoder.value(0)?;
    decoder.space();
    if decoder.peek().is_some() {
        return Err(decoder.invalid("after top-level value"));
    }
    // Go reports numbers out of range only after checking the syntax.
    match decoder.number {
        Some(number) => Err(JsonError(format!(
            "json: cannot unmarshal number {number} into Go value of type float64"
        ))),
        None => Ok(value),
    }
}

struct Decoder<'a> {
    text: &'a [u8],
    at: usize,
    number: Option<String>,
}

impl Decoder<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// The error for the next byte.
    fn invalid(&self, context: &str) -> JsonError {
        // At the end Go's scanner processes one more blank, which only some states refuse.
        let refuses_blank = context.starts_with("in ") && context != "in string literal"
            || context.starts_with("after decimal");
        let b = match self.peek() {
            Some(b) => b,
            None if refuses_blank => b' ',
            None => return JsonError("unexpected end of JSON input".to_owned()),
        };
        let shown = match b {
            b'\'' => r"'\''".to_owned(),
            b'"' => "'\"'".to_owned(),
            _ => {
                let quoted = strconv::quote(char::from(b).encode_utf8(&mut [0; 4]).as_bytes());
                format!("'{}'", quoted.trim_matches('"'))
            }
        };
        JsonError(format!("invalid character {shown} {context}"))
    }

    fn value(&mut self, depth: usize) -> Result<Value, JsonError> {
        if depth > MAX_DEPTH {
            return Err(JsonError("exceeded max depth".to_owned()));
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => {
                self.at += 1;
                self.string().map(Value::Str)
            }
            Some(b't') => self.word(b"true", Value::Bool(true)),
            Some(b'f') => self.word(b"false", Value::Bool(false)),
            Some(b'n') => self.word(b"null", Value::Nil),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.invalid("looking for beginning of value")),
        }
    }

    fn word(&mut self, word: &'static [u8], value: Value) -> Result<Value, JsonError> {
        for &b in word {
            if self.peek() != Some(b) {
                let word = String::from_utf8_lossy(word);
                let expected = char::from(b);
                return Err(self.invalid(&format!("in literal {word} (expecting '{expected}')")));
            }
            self.at += 1;
        }
        Ok(value)
    }

    fn object(&mut self, depth: usize) -> Result<Value, JsonError> {
        let map = Map::new();
        self.at += 1;
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(map.into());
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.invalid("looking for beginning of object key string"));
            }
            self.at += 1;
            let key = self.string()?;
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.invalid("after object key"));
            }
            self.at += 1;
            self.space();
            let value = self.value(depth + 1)?;
            if map.insert(key, value).is_err() {
                return Err(JsonError("the object takes no entries".to_owned()));
            }
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(map.into());
                }
                _ => return Err(self.invalid("after object key:value pair")),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, JsonError> {
        let mut items = Vec::new();
        self.at += 1;
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(List::new(items).into());
        }
        loop {
            self.space();
            items.push(self.value(depth + 1)?);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(List::new(items).into());
                }
                _ => return Err(self.invalid("after array element")),
            }
        }
    }

    fn digits(&mut self, context: &str) -> Result<(), JsonError> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.invalid(context));
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits("in numeric literal")?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits("after decimal point in numeric literal")?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits("in exponent of numeric literal")?;
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        if let Ok(f) = strconv::parse_float(text) {
            Ok(Value::Float(f))
        } else {
            let text = String::from_utf8_lossy(text).into_owned();
            self.number.get_or_insert(text);
            Ok(Value::Float(0.0))
        }
    }

    /// Decodes the rest of a string after its quote; invalid UTF-8 and lone surrogates become U+FFFD.
    fn string(&mut self) -> Result<Str, JsonError> {
        let mut out = Vec::new();
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            match rest.first() {
                None | Some(0..=0x1f) => return Err(self.invalid("in string literal")),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out.into());
                }
                Some(b'\\') => {
                    self.at += 1;
                    self.escape(&mut out)?;
                }
                Some(_) => {
                    let (c, width) = unicode::decode(rest);
                    unicode::push(&mut out, c);
                    self.at += width;
                }
            }
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), JsonError> {
        let c = match self.peek() {
            Some(b @ (b'"' | b'\\' | b'/')) => char::from(b),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                let first = self.hex4()?;
                let c = self.surrogate(first)?;
                unicode::push(out, c);
                return Ok(());
            }
            _ => return Err(self.invalid("in string escape code")),
        };
        self.at += 1;
        unicode::push(out, c);
        Ok(())
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let mut n = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|b| char::from(b).to_digit(16));
            let Some(digit) = digit else {
                return Err(self.invalid("in \\u hexadecimal character escape"));
            };
            n = n << 4 | digit;
            self.at += 1;
        }
        Ok(n)
    }

    /// Decodes a code unit, together with the second half if it is the first of a surrogate pair.
    fn surrogate(&mut self, first: u32) -> Result<char, JsonError> {
        if let Some(c) = char::from_u32(first) {
            return Ok(c);
        }
        let start = self.at;
        if self
            .text
            .get(self.at..)
            .is_some_and(|r| r.starts_with(b"\\u"))
        {
            self.at += 2;
            let second = self.hex4()?;
            if (0xd800..0xdc00).contains(&first) && (0xdc00..0xe000).contains(&second) {
                let code = 0x1_0000 + ((first - 0xd800) << 10 | (second - 0xdc00));
                return Ok(char::from_u32(code).unwrap_or(unicode::RUNE_ERROR));
            }
            self.at = start;
        }
        Ok(unicode::RUNE_ERROR)
    }
}
