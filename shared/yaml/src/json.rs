//! JSON text and values, read and written as by Go's `encoding/json`.

use std::borrow::Cow;
use std::fmt::Write as _;

use flux_budget::Claim;
use flux_golang::json;

use crate::binary;
use crate::error::Error;
use crate::room::{self, Room};
use crate::value::Value;

/// Go's limit on nesting, too.
const MAX_DEPTH: usize = 512;
/// The maximum nesting of values, for reading and writing.
pub(crate) const LEVELS: usize = MAX_DEPTH + 1;

/// Whether `<`, `>` and `&` are written as escapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// As `json.Marshal` does.
    Html,
    /// As an encoder with `SetEscapeHTML(false)` does.
    Plain,
}

/// `json.Marshal` of a value, keys in the order of the mapping; [`Value::sort_keys`] gives Go's order for maps.
///
/// # Errors
/// [`Error::Json`] for floats that are not numbers; [`Error::Limit`] for nesting deeper than reading permits.
pub fn to_string(value: &Value, escape: Escape) -> Result<String, Error> {
    let mut out = String::new();
    write(value, escape, LEVELS, &mut out)?;
    Ok(out)
}

fn write(value: &Value, escape: Escape, levels: usize, out: &mut String) -> Result<(), Error> {
    let levels = levels.checked_sub(1).ok_or_else(too_deep)?;
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Int(int) => {
            let _ = write!(out, "{int}");
        }
        Value::Uint(int) => {
            let _ = write!(out, "{int}");
        }
        Value::Float(float) => {
            out.push_str(&json::format_float(*float).ok_or_else(|| no_number(*float))?);
        }
        Value::String(text) => json::push_string(out, text, escape == Escape::Html),
        Value::Seq(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(item, escape, levels, out)?;
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push('{');
            for (at, (key, item)) in map.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                json::push_string(out, key, escape == Escape::Html);
                out.push(':');
                write(item, escape, levels, out)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

/// The error for a value nested too deeply to be written, or to be walked on an ordinary stack.
pub(crate) fn too_deep() -> Error {
    Error::Limit(format!("exceeded max depth of {MAX_DEPTH}"))
}

fn no_number(float: f64) -> Error {
    let name = if float.is_nan() {
        "NaN"
    } else if float > 0.0 {
        "+Inf"
    } else {
        "-Inf"
    };
    Error::Json(format!("json: unsupported value: {name}"))
}

/// Fails if [`normalize`] would, and changes nothing.
pub(crate) fn check(value: &Value) -> Result<(), Error> {
    match value {
        Value::Float(float) if !float.is_finite() => Err(no_number(*float)),
        Value::Seq(items) => items.iter().try_for_each(check),
        Value::Map(map) => map.values().try_for_each(check),
        _ => Ok(()),
    }
}

/// Gives numbers the types that they have after a round trip through JSON text, which writes 1.0 as `1`.
pub(crate) fn normalize(value: &mut Value) -> Result<(), Error> {
    match value {
        Value::Float(float) => {
            if !float.is_finite() {
                return Err(no_number(*float));
            }
            // JSON writes whole floats without an exponent up to 1e21. It has a negative zero.
            let negative_zero = *float == 0.0 && float.is_sign_negative();
            if float.fract() != 0.0 || negative_zero || float.abs() >= 1e21 {
                return Ok(());
            }
            // The digits of the JSON text count: the fewest that identify the float, then zeros.
            let text = json::format_float(*float).unwrap_or_default();
            if let Ok(int) = text.parse::<i64>() {
                *value = Value::Int(int);
            } else if let Ok(int) = text.parse::<u64>() {
                *value = Value::Uint(int);
            }
            Ok(())
        }
        Value::Seq(items) => items.iter_mut().try_for_each(normalize),
        Value::Map(map) => map.values_mut().try_for_each(normalize),
        _ => Ok(()),
    }
}

/// The result type of a reader of JSON text; it may borrow from the text.
pub trait Build<'t>: Sized {
    /// `null`
    fn null() -> Self;
    /// `true` or `false`
    fn bool(truth: bool) -> Self;
    /// A number as written in the text.
    ///
    /// # Errors
    /// A description of why the number is invalid.
    fn number(text: &'t str) -> Result<Self, String>;
    /// A string.
    fn string(text: Cow<'t, str>) -> Self;
    /// An array.
    fn array(items: Vec<Self>) -> Self;
    /// An object, its keys in text order and possibly repeated: the last value counts.
    fn object(entries: Vec<(Cow<'t, str>, Self)>) -> Self;
}

impl<'t> Build<'t> for Value {
    fn null() -> Self {
        Value::Null
    }

    fn bool(truth: bool) -> Self {
        Value::Bool(truth)
    }

    fn number(text: &'t str) -> Result<Self, String> {
        if let Ok(int) = text.parse() {
            return Ok(Value::Int(int));
        }
        if let Ok(int) = text.parse() {
            return Ok(Value::Uint(int));
        }
        match text.parse::<f64>() {
            Ok(float) if float.is_finite() => {
                let mut value = Value::Float(float);
                normalize(&mut value).map_err(|e| e.to_string())?;
                Ok(value)
            }
            _ => Err(format!(
                "json: cannot unmarshal number {text} into Go value of type float64"
            )),
        }
    }

    fn string(text: Cow<'t, str>) -> Self {
        Value::String(text.into_owned())
    }

    fn array(items: Vec<Self>) -> Self {
        Value::Seq(items)
    }

    fn object(entries: Vec<(Cow<'t, str>, Self)>) -> Self {
        let owned = |(key, value): (Cow<'t, str>, Self)| (key.into_owned(), value);
        Value::Map(entries.into_iter().map(owned).collect())
    }
}

/// Parses JSON text as `json.Unmarshal` does, numbers as in [`from_str`](crate::sigs::from_str): call
/// [`Value::floats_only`] for what Go decodes into an `interface{}`. The last value of a repeated key counts.
///
/// # Errors
/// [`Error::JsonSyntax`] with encoding/json's text.
pub fn from_str(text: impl AsRef<[u8]>) -> Result<Value, Error> {
    read(text.as_ref())
}

/// As [`from_str`], and claims the memory of the value.
///
/// # Errors
/// As [`from_str`], and [`Error::Memory`].
pub fn from_str_within(text: impl AsRef<[u8]>, claim: &Claim) -> Result<Value, Error> {
    read_within(text.as_ref(), Some(claim))
}

/// Parses JSON text into a type of the caller, which sees numbers as written.
///
/// # Errors
/// [`Error::JsonSyntax`] with encoding/json's text, or with the message of [`Build::number`].
pub fn read<'t, V: Build<'t>>(text: &'t [u8]) -> Result<V, Error> {
    read_within(text, None)
}

fn read_within<'t, V: Build<'t>>(text: &'t [u8], claim: Option<&'t Claim>) -> Result<V, Error> {
    let mut reader = Reader {
        text,
        at: 0,
        room: Room::new(claim),
    };
    reader.skip_blanks();
    let value = reader.value(0)?;
    reader.skip_blanks();
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(reader.unexpected("after top-level value")),
    }
}

struct Reader<'t> {
    text: &'t [u8],
    at: usize,
    room: Room<'t>,
}

impl<'t> Reader<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        self.at += self
            .run(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
            .len();
    }

    /// The following bytes that satisfy `kind`.
    fn run(&self, kind: impl Fn(u8) -> bool) -> &'t [u8] {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let end = rest.iter().position(|byte| !kind(*byte));
        rest.get(..end.unwrap_or(rest.len())).unwrap_or_default()
    }

    fn error(&self, message: String) -> Error {
        Error::JsonSyntax {
            message,
            offset: self.at,
        }
    }

    /// The error for the next byte, or for the end of the text.
    fn unexpected(&self, context: &str) -> Error {
        match self.peek() {
            None => self.error("unexpected end of JSON input".to_owned()),
            Some(byte) => self.error(format!("invalid character {} {context}", quote(byte))),
        }
    }

    fn value<V: Build<'t>>(&mut self, depth: usize) -> Result<V, Error> {
        if depth > MAX_DEPTH {
            return Err(self.error("exceeded max depth".to_owned()));
        }
        self.room.take(room::VALUE)?;
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => {
                let text = self.string()?;
                self.room.take(text.len())?;
                Ok(V::string(text))
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true", V::bool(true)),
            Some(b'f') => self.literal("false", V::bool(false)),
            Some(b'n') => self.literal("null", V::null()),
            _ => Err(self.unexpected("looking for beginning of value")),
        }
    }

    fn literal<V: Build<'t>>(&mut self, word: &str, value: V) -> Result<V, Error> {
        for wanted in word.chars() {
            if self.peek() != Some(wanted as u8) {
                return Err(self.unexpected(&format!("in literal {word} (expecting '{wanted}')")));
            }
            self.at += 1;
        }
        Ok(value)
    }

    fn object<V: Build<'t>>(&mut self, depth: usize) -> Result<V, Error> {
        self.at += 1;
        let mut entries = Vec::new();
        self.skip_blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(V::object(entries));
        }
        loop {
            self.skip_blanks();
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("looking for beginning of object key string"));
            }
            let key = self.string()?;
            self.room.take(room::VALUE + key.len())?;
            self.skip_blanks();
            if self.peek() != Some(b':') {
                return Err(self.unexpected("after object key"));
            }
            self.at += 1;
            self.skip_blanks();
            let value = self.value(depth + 1)?;
            entries.push((key, value));
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(V::object(entries));
                }
                _ => return Err(self.unexpected("after object key:value pair")),
            }
        }
    }

    fn array<V: Build<'t>>(&mut self, depth: usize) -> Result<V, Error> {
        self.at += 1;
        let mut items = Vec::new();
        self.skip_blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(V::array(items));
        }
        loop {
            self.skip_blanks();
            items.push(self.value(depth + 1)?);
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(V::array(items));
                }
                _ => return Err(self.unexpected("after array element")),
            }
        }
    }

    fn number<V: Build<'t>>(&mut self) -> Result<V, Error> {
        let from = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.unexpected("in numeric literal")),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if !matches!(self.peek(), Some(b'0'..=b'9')) {
                return Err(self.unexpected("after decimal point in numeric literal"));
            }
            self.digits();
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if !matches!(self.peek(), Some(b'0'..=b'9')) {
                return Err(self.unexpected("in exponent of numeric literal"));
            }
            self.digits();
        }
        let text = self.text.get(from..self.at).unwrap_or(&[]);
        let text = std::str::from_utf8(text).unwrap_or("");
        V::number(text).map_err(|message| self.error(message))
    }

    fn digits(&mut self) {
        self.at += self.run(|byte| byte.is_ascii_digit()).len();
    }

    fn string(&mut self) -> Result<Cow<'t, str>, Error> {
        self.at += 1;
        let first = self.plain_run();
        if self.peek() == Some(b'"') {
            self.at += 1;
            return Ok(match std::str::from_utf8(first) {
                Ok(text) => Cow::Borrowed(text),
                Err(_) => Cow::Owned(binary::to_text(first.to_vec())),
            });
        }
        let mut bytes = first.to_vec();
        loop {
            match self.peek() {
                None => return Err(self.unexpected("")),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(binary::to_text(bytes)));
                }
                Some(b'\\') => {
                    self.at += 1;
                    let c = self.escape()?;
                    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                Some(0..0x20) => return Err(self.unexpected("in string literal")),
                Some(_) => bytes.extend_from_slice(self.plain_run()),
            }
        }
    }

    /// Skips unescaped characters of a string.
    fn plain_run(&mut self) -> &'t [u8] {
        let run = self.run(|byte| byte >= 0x20 && !matches!(byte, b'"' | b'\\'));
        self.at += run.len();
        run
    }

    fn escape(&mut self) -> Result<char, Error> {
        let c = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\x08',
            Some(b'f') => '\x0C',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                let unit = self.hex4()?;
                return self.utf16(unit);
            }
            _ => return Err(self.unexpected("in string escape code")),
        };
        self.at += 1;
        Ok(c)
    }

    fn hex4(&mut self) -> Result<u32, Error> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|b| char::from(b).to_digit(16));
            let Some(digit) = digit else {
                return Err(self.unexpected("in \\u hexadecimal character escape"));
            };
            code = code << 4 | digit;
            self.at += 1;
        }
        Ok(code)
    }

    /// Joins surrogates; an unpaired one becomes U+FFFD.
    fn utf16(&mut self, unit: u32) -> Result<char, Error> {
        if !(0xD800..0xE000).contains(&unit) {
            return Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let rest = self.text.get(self.at..self.at + 2);
        if unit < 0xDC00 && rest == Some(b"\\u") {
            let back = self.at;
            self.at += 2;
            let low = self.hex4()?;
            if (0xDC00..0xE000).contains(&low) {
                let code = 0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = back;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }
}

/// A byte as encoding/json quotes it.
fn quote(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        0x07 => r"'\a'".to_owned(),
        0x08 => r"'\b'".to_owned(),
        0x0B => r"'\v'".to_owned(),
        0x0C => r"'\f'".to_owned(),
        0..0x20 | 0x7F => format!(r"'\x{byte:02x}'"),
        0x80..=0x9F => format!(r"'\u{byte:04x}'"),
        _ => format!("'{}'", char::from(byte)),
    }
}
