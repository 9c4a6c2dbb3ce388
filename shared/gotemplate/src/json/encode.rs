//! Writing JSON.

use super::JsonError;
use crate::encode::base64;
use crate::value::{Str, Value};
use crate::{strconv, unicode};

/// Nesting from which on cycles are looked for (Go: 1000), and how much deeper they are followed.
const MAX_DEPTH: usize = 500;

/// `json.Marshal`: compact, keys sorted, `<`, `>` and `&` escaped.
pub fn marshal(value: &Value) -> Result<Vec<u8>, JsonError> {
    encode(value, true, false)
}

/// `json.MarshalIndent` with two blanks.
pub fn marshal_indent(value: &Value) -> Result<Vec<u8>, JsonError> {
    encode(value, true, true)
}

/// The same as [`marshal`] without escaping `<`, `>` and `&`.
pub fn marshal_raw(value: &Value) -> Result<Vec<u8>, JsonError> {
    encode(value, false, false)
}

fn encode(value: &Value, html: bool, indent: bool) -> Result<Vec<u8>, JsonError> {
    let mut encoder = Encoder {
        out: Vec::new(),
        html,
        indent,
        above: Vec::new(),
    };
    encoder.value(value, 0)?;
    Ok(encoder.out)
}

struct Encoder {
    out: Vec<u8>,
    html: bool,
    indent: bool,
    /// The maps and lists that the present value is part of, beyond the depth at which cycles are looked for.
    above: Vec<Value>,
}

impl Encoder {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), JsonError> {
        // Only what holds others can hold itself.
        if depth <= MAX_DEPTH || !matches!(value, Value::List(_) | Value::Map(_)) {
            return self.one(value, depth);
        }
        let again = self.above.iter().any(|above| match (above, value) {
            (Value::List(a), Value::List(b)) => a.same(b),
            (Value::Map(a), Value::Map(b)) => a.same(b),
            _ => false,
        });
        if again || self.above.len() >= MAX_DEPTH {
            return Err(JsonError(format!(
                "json: unsupported value: encountered a cycle via {}",
                value.type_name()
            )));
        }
        self.above.push(value.clone());
        let written = self.one(value, depth);
        self.above.pop();
        written
    }

    fn one(&mut self, value: &Value, depth: usize) -> Result<(), JsonError> {
        match value {
            Value::Nil => self.raw("null"),
            Value::Bool(b) => self.raw(if *b { "true" } else { "false" }),
            Value::Int(_, n) => self.raw(&n.to_string()),
            Value::Uint(_, n) => self.raw(&n.to_string()),
            Value::Float(f) => self.float(*f, |f, e| strconv::format_float(f, e, None))?,
            Value::Float32(f) => self.float(f64::from(*f), |f, e| {
                strconv::format_float32(f as f32, e, None)
            })?,
            Value::Complex(..) | Value::Func(_) => {
                return Err(JsonError(format!(
                    "json: unsupported type: {}",
                    value.type_name()
                )));
            }
            Value::Str(s) => self.string(s),
            Value::Bytes(bytes) => {
                let text = base64(bytes);
                self.string(text.as_bytes());
            }
            Value::List(list) if list.is_nil() => self.raw("null"),
            Value::List(list) => {
                self.out.push(b'[');
                for (i, item) in list.items().iter().enumerate() {
                    self.separate(i, depth + 1);
                    self.value(item, depth + 1)?;
                }
                self.close(b']', list.items().is_empty(), depth);
            }
            Value::Map(map) if map.is_nil() => self.raw("null"),
            Value::Map(map) => self.object(map.entries(), depth)?,
            Value::Time(time) => {
                let text = time.rfc3339().ok_or_else(|| {
                    JsonError("json: error calling MarshalJSON for type time.Time: Time.MarshalJSON: year outside of range [0,9999]".to_owned())
                })?;
                self.string(&text);
            }
            Value::Object(object) => {
                if let Some(stand_in) = object.json() {
                    self.value(&stand_in, depth + 1)?;
                } else {
                    let fields = object.fields().into_iter();
                    self.object(fields.map(|(k, v)| (Str::from(k), v)).collect(), depth)?;
                }
            }
        }
        Ok(())
    }

    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn object(&mut self, entries: Vec<(Str, Value)>, depth: usize) -> Result<(), JsonError> {
        self.out.push(b'{');
        let empty = entries.is_empty();
        for (i, (key, item)) in entries.into_iter().enumerate() {
            self.separate(i, depth + 1);
            self.string(&key);
            self.raw(if self.indent { ": " } else { ":" });
            self.value(&item, depth + 1)?;
        }
        self.close(b'}', empty, depth);
        Ok(())
    }

    fn separate(&mut self, i: usize, depth: usize) {
        if i > 0 {
            self.out.push(b',');
        }
        self.line(depth);
    }

    fn close(&mut self, bracket: u8, empty: bool, depth: usize) {
        if !empty {
            self.line(depth);
        }
        self.out.push(bracket);
    }

    fn line(&mut self, depth: usize) {
        if self.indent {
            self.out.push(b'\n');
            self.out.resize(self.out.len() + depth * 2, b' ');
        }
    }

    /// As in ECMAScript: an exponent below 1e-6 and from 1e21 on, without leading zero.
    fn float(&mut self, f: f64, format: impl Fn(f64, u8) -> String) -> Result<(), JsonError> {
        if !f.is_finite() {
            return Err(JsonError(format!(
                "json: unsupported value: {}",
                strconv::format_float(f, b'g', None)
            )));
        }
        let magnitude = f.abs();
        if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
            let text = format(f, b'e');
            let text = match text.split_once("e-0") {
                Some((mantissa, digit)) => format!("{mantissa}e-{digit}"),
                None => text,
            };
            self.raw(&text);
        } else {
            self.raw(&format(f, b'f'));
        }
        Ok(())
    }

    fn string(&mut self, text: &[u8]) {
        self.out.push(b'"');
        for (at, c, width) in unicode::runes(text) {
            let escaped = match c {
                '"' => "\\\"",
                '\\' => "\\\\",
                '\u{8}' => "\\b",
                '\u{c}' => "\\f",
                '\n' => "\\n",
                '\r' => "\\r",
                '\t' => "\\t",
                '\u{2028}' => "\\u2028",
                '\u{2029}' => "\\u2029",
                '<' if self.html => "\\u003c",
                '>' if self.html => "\\u003e",
                '&' if self.html => "\\u0026",
                unicode::RUNE_ERROR if width == 1 => "\\ufffd",
                '\0'..' ' => {
                    let text = format!("\\u{:04x}", u32::from(c));
                    self.raw(&text);
                    continue;
                }
                _ => {
                    let rune = text.get(at..at + width).unwrap_or_default();
                    self.out.extend_from_slice(rune);
                    continue;
                }
            };
            self.raw(escaped);
        }
        self.out.push(b'"');
    }
}
