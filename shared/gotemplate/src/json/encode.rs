//! Encoding JSON.

use flux_golang::encoding::base64;
use flux_golang::{json, strconv};

use super::JsonError;
use crate::value::{Str, Value};

/// Depth from which on cycles are detected (Go: 1000), and how much deeper they are followed.
const MAX_DEPTH: usize = 500;

/// `json.Marshal`: compact, keys sorted, `<`, `>` and `&` escaped.
pub fn marshal(value: &Value) -> Result<Vec<u8>, JsonError> {
    encode(value, true, false)
}

/// `json.MarshalIndent` with an indent of two blanks.
pub fn marshal_indent(value: &Value) -> Result<Vec<u8>, JsonError> {
    encode(value, true, true)
}

/// As [`marshal`], without escaping `<`, `>` and `&`.
pub fn marshal_raw(value: &Value) -> Result<Vec<u8>, JsonError> {
    encode(value, false, false)
}

fn encode(value: &Value, html: bool, indent: bool) -> Result<Vec<u8>, JsonError> {
    let mut encoder = Encoder {
        out: String::new(),
        html,
        indent,
        above: Vec::new(),
    };
    encoder.value(value, 0)?;
    Ok(encoder.out.into_bytes())
}

struct Encoder {
    out: String,
    html: bool,
    indent: bool,
    /// The maps and lists that contain the current value, below the depth from which on cycles are detected.
    above: Vec<Value>,
}

impl Encoder {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), JsonError> {
        // Only containers can contain themselves.
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
            Value::Float(f) => self.float(json::format_float(*f), *f)?,
            Value::Float32(f) => self.float(json::format_float32(*f), f64::from(*f))?,
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
                self.out.push('[');
                for (i, item) in list.items().iter().enumerate() {
                    self.separate(i, depth + 1);
                    self.value(item, depth + 1)?;
                }
                self.close(']', list.items().is_empty(), depth);
            }
            Value::Map(map) if map.go_type().key.is_some() => {
                let name = map.go_type().name;
                return Err(JsonError(format!("json: unsupported type: {name}")));
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
                    let fields = object.json_fields().into_iter();
                    self.object(fields.map(|(k, v)| (Str::from(k), v)).collect(), depth)?;
                }
            }
        }
        Ok(())
    }

    fn raw(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn object(&mut self, entries: Vec<(Str, Value)>, depth: usize) -> Result<(), JsonError> {
        self.out.push('{');
        let empty = entries.is_empty();
        for (i, (key, item)) in entries.into_iter().enumerate() {
            self.separate(i, depth + 1);
            self.string(&key);
            self.raw(if self.indent { ": " } else { ":" });
            self.value(&item, depth + 1)?;
        }
        self.close('}', empty, depth);
        Ok(())
    }

    fn separate(&mut self, i: usize, depth: usize) {
        if i > 0 {
            self.out.push(',');
        }
        self.line(depth);
    }

    fn close(&mut self, bracket: char, empty: bool, depth: usize) {
        if !empty {
            self.line(depth);
        }
        self.out.push(bracket);
    }

    fn line(&mut self, depth: usize) {
        if self.indent {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n(' ', depth * 2));
        }
    }

    fn float(&mut self, text: Option<String>, f: f64) -> Result<(), JsonError> {
        match text {
            Some(text) => {
                self.out.push_str(&text);
                Ok(())
            }
            None => Err(JsonError(format!(
                "json: unsupported value: {}",
                strconv::format_float(f, b'g', None)
            ))),
        }
    }

    fn string(&mut self, text: &[u8]) {
        json::push_bytes(&mut self.out, text, self.html);
    }
}
