//! Formatting of values with verbs.

use flux_golang::{strconv, unicode};

use super::flags::Flags;
use crate::error::CallError;
use crate::value::{IntType, Kind, Object, Str, Type, Value};

/// Maximum depth of printing; Go would overflow its stack on a map that contains itself.
const MAX_DEPTH: usize = 500;
/// Maximum bytes written by one call.
const MAX_OUTPUT: usize = 128 << 20;

pub(super) struct Printer<'a> {
    pub(super) out: &'a mut Vec<u8>,
    pub(super) flags: Flags,
    /// Whether the text of a bad verb is being printed, in which methods are not called.
    erroring: bool,
    too_deep: bool,
}

impl<'a> Printer<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            flags: Flags::default(),
            erroring: false,
            too_deep: false,
        }
    }

    pub(super) fn finish(self) -> Result<(), CallError> {
        if self.too_deep {
            return Err(CallError::limit("the value is nested too deeply to print"));
        }
        Ok(())
    }

    /// Prints one operand.
    pub(super) fn arg(&mut self, value: &Value, verb: char) {
        match (value, verb) {
            // Fast path for most calls.
            (Value::Str(s), 'v' | 's') if !self.flags.sharp_v => self.flags.string(self.out, s),
            (Value::Nil, 'T' | 'v') => self.flags.pad(self.out, b"<nil>"),
            (Value::Nil, _) => self.bad_verb(value, verb),
            (_, 'T') => self.flags.string(self.out, value.type_name().as_bytes()),
            (_, 'p') => self.pointer(value, verb),
            (Value::Bytes(bytes), _) => self.bytes(value, bytes, verb, "[]byte", 0),
            _ => self.value(value, verb, 0),
        }
    }

    fn value(&mut self, value: &Value, verb: char, depth: usize) {
        if depth > MAX_DEPTH || self.out.len() > MAX_OUTPUT {
            self.too_deep = true;
            return;
        }
        if !self.erroring && self.methods(value, verb) {
            return;
        }
        match value {
            Value::Nil => self.nil(),
            Value::Bool(b) => match verb {
                't' | 'v' => self.flags.boolean(self.out, *b),
                _ => self.bad_verb(value, verb),
            },
            Value::Int(_, n) => self.integer(value, n.unsigned_abs(), *n < 0, verb, *n as u64),
            Value::Uint(_, n) => {
                if verb == 'v' && self.flags.sharp_v {
                    self.hex_number(*n);
                } else {
                    self.integer(value, *n, false, verb, *n);
                }
            }
            Value::Float(f) => self.float(value, *f, false, verb),
            Value::Float32(f) => self.float(value, f64::from(*f), true, verb),
            Value::Complex(re, im) => self.complex(value, *re, *im, verb),
            Value::Str(s) => self.string(value, s, verb),
            Value::Bytes(bytes) => self.bytes(value, bytes, verb, "[]uint8", depth),
            Value::List(list) => {
                if self.flags.sharp_v {
                    self.go_prefix(value, list.is_nil(), |p| {
                        p.sequence(list.items(), ", ", verb, depth);
                    });
                } else {
                    self.out.push(b'[');
                    self.sequence(list.items(), " ", verb, depth);
                    self.out.push(b']');
                }
            }
            Value::Map(map) => {
                let entries = map.entries();
                if self.flags.sharp_v {
                    self.go_prefix(value, map.is_nil(), |p| {
                        p.entries(map.go_type(), entries, ", ", verb, depth);
                    });
                } else {
                    self.out.extend_from_slice(b"map[");
                    self.entries(map.go_type(), entries, " ", verb, depth);
                    self.out.push(b']');
                }
            }
            Value::Time(_) => self.out.extend_from_slice(b"{}"),
            Value::Func(_) => self.pointer(value, verb),
            Value::Object(object) => self.object(value, &**object, verb, depth),
        }
    }

    /// Prints a nil interface inside another value.
    fn nil(&mut self) {
        let text: &[u8] = if self.flags.sharp_v {
            b"interface {}(nil)"
        } else {
            b"<nil>"
        };
        self.out.extend_from_slice(text);
    }

    /// Calls `Error` and `String` methods if the verb takes text.
    fn methods(&mut self, value: &Value, verb: char) -> bool {
        if verb == 'w' {
            self.bad_verb(value, verb);
            return true;
        }
        if self.flags.sharp_v {
            if let Value::Time(time) = value {
                self.flags.string(self.out, time.go_string().as_bytes());
                return true;
            }
            return false;
        }
        if !matches!(verb, 'v' | 's' | 'x' | 'X' | 'q') {
            return false;
        }
        let Some(text) = method_text(value) else {
            return false;
        };
        self.string(&Value::Str(text.clone()), &text, verb);
        true
    }

    fn sequence(&mut self, items: &[Value], between: &str, verb: char, depth: usize) {
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.out.extend_from_slice(between.as_bytes());
            }
            self.value(item, verb, depth + 1);
            if self.too_deep {
                return;
            }
        }
    }

    fn entries(
        &mut self,
        ty: Type,
        entries: Vec<(Str, Value)>,
        between: &str,
        verb: char,
        depth: usize,
    ) {
        for (i, (key, item)) in entries.into_iter().enumerate() {
            if i > 0 {
                self.out.extend_from_slice(between.as_bytes());
            }
            self.value(&ty.key_value(key), verb, depth + 1);
            self.out.push(b':');
            self.value(&item, verb, depth + 1);
            if self.too_deep {
                return;
            }
        }
    }

    /// `type{…}` or `type(nil)`.
    fn go_prefix(&mut self, value: &Value, nil: bool, body: impl FnOnce(&mut Self)) {
        self.out.extend_from_slice(value.type_name().as_bytes());
        if nil {
            self.out.extend_from_slice(b"(nil)");
            return;
        }
        self.out.push(b'{');
        body(self);
        self.out.push(b'}');
    }

    fn object(&mut self, value: &Value, object: &dyn Object, verb: char, depth: usize) {
        if object.go_type().kind == Kind::Pointer {
            if depth > 0 {
                return self.pointer(value, verb);
            }
            self.out.push(b'&');
        }
        self.fields(object, verb, depth);
    }

    /// `{a b}`
    pub(super) fn fields(&mut self, object: &dyn Object, verb: char, depth: usize) {
        let name = object.go_type().name.trim_start_matches('*');
        let between: &[u8] = if self.flags.sharp_v {
            self.out.extend_from_slice(name.as_bytes());
            b", "
        } else {
            b" "
        };
        self.out.push(b'{');
        for (i, (name, field)) in object.all_fields().into_iter().enumerate() {
            if i > 0 {
                self.out.extend_from_slice(between);
            }
            if self.flags.plus_v || self.flags.sharp_v {
                self.out.extend_from_slice(name.as_bytes());
                self.out.push(b':');
            }
            self.value(&field, verb, depth + 1);
        }
        self.out.push(b'}');
    }

    pub(super) fn bad_verb(&mut self, value: &Value, verb: char) {
        let erroring = std::mem::replace(&mut self.erroring, true);
        self.out.extend_from_slice(b"%!");
        unicode::push(self.out, verb);
        self.out.push(b'(');
        if matches!(value, Value::Nil) {
            self.out.extend_from_slice(b"<nil>");
        } else {
            self.out.extend_from_slice(value.type_name().as_bytes());
            self.out.push(b'=');
            match value {
                Value::Bytes(bytes) => self.bytes(value, bytes, 'v', "[]byte", 0),
                _ => self.value(value, 'v', 0),
            }
        }
        self.out.push(b')');
        self.erroring = erroring;
    }

    /// An integer: `magnitude` and its sign for numeric verbs, `bits` as an unsigned number for character verbs.
    fn integer(&mut self, value: &Value, magnitude: u64, negative: bool, verb: char, bits: u64) {
        let base = match verb {
            'v' | 'd' => 10,
            'b' => 2,
            'o' | 'O' => 8,
            'x' | 'X' => 16,
            'c' => return self.flags.character(self.out, bits),
            'q' => return self.flags.quoted_character(self.out, bits),
            'U' => return self.flags.code_point(self.out, bits),
            _ => return self.bad_verb(value, verb),
        };
        self.flags
            .integer(self.out, magnitude, negative, base, verb);
    }

    /// `0x…`, regardless of flags.
    fn hex_number(&mut self, n: u64) {
        let sharp = std::mem::replace(&mut self.flags.sharp, true);
        self.flags.integer(self.out, n, false, 16, 'v');
        self.flags.sharp = sharp;
    }

    fn float(&mut self, value: &Value, f: f64, single: bool, verb: char) {
        let (format, default) = match verb {
            'v' => (b'g', None),
            'b' | 'g' | 'G' | 'x' | 'X' => (verb as u8, None),
            'f' | 'e' | 'E' => (verb as u8, Some(6)),
            'F' => (b'f', Some(6)),
            _ => return self.bad_verb(value, verb),
        };
        let precision = self.flags.precision.or(default);
        let text = if single {
            strconv::format_float32(f as f32, format, precision)
        } else {
            strconv::format_float(f, format, precision)
        };
        self.flags
            .float(self.out, &text, char::from(format), precision);
    }

    fn complex(&mut self, value: &Value, re: f64, im: f64, verb: char) {
        if !matches!(
            verb,
            'v' | 'b' | 'g' | 'G' | 'x' | 'X' | 'f' | 'F' | 'e' | 'E'
        ) {
            return self.bad_verb(value, verb);
        }
        let plus = self.flags.plus;
        self.out.push(b'(');
        self.float(value, re, false, verb);
        self.flags.plus = true;
        self.float(value, im, false, verb);
        self.out.extend_from_slice(b"i)");
        self.flags.plus = plus;
    }

    fn string(&mut self, value: &Value, text: &[u8], verb: char) {
        match verb {
            'v' if self.flags.sharp_v => self.flags.quoted(self.out, text),
            'v' | 's' => self.flags.string(self.out, text),
            'x' | 'X' => self.flags.hex(self.out, text, verb == 'X'),
            'q' => self.flags.quoted(self.out, text),
            _ => self.bad_verb(value, verb),
        }
    }

    fn bytes(&mut self, value: &Value, bytes: &[u8], verb: char, type_name: &str, depth: usize) {
        match verb {
            's' => self.flags.string(self.out, bytes),
            'x' | 'X' => self.flags.hex(self.out, bytes, verb == 'X'),
            'q' => self.flags.quoted(self.out, bytes),
            'v' | 'd' if self.flags.sharp_v => {
                self.out.extend_from_slice(type_name.as_bytes());
                self.out.push(b'{');
                for (i, b) in bytes.iter().enumerate() {
                    if i > 0 {
                        self.out.extend_from_slice(b", ");
                    }
                    self.hex_number(u64::from(*b));
                }
                self.out.push(b'}');
            }
            'p' if depth == 0 => self.pointer(value, verb),
            _ => {
                self.out.push(b'[');
                for (i, b) in bytes.iter().enumerate() {
                    if i > 0 {
                        self.out.push(b' ');
                    }
                    let n = Value::Uint(crate::value::UintType::Uint8, u64::from(*b));
                    self.integer(&n, u64::from(*b), false, verb, u64::from(*b));
                }
                self.out.push(b']');
            }
        }
    }

    /// Prints addresses, which are as unpredictable as in Go.
    fn pointer(&mut self, value: &Value, verb: char) {
        let address = match value {
            Value::Map(map) => map.address(),
            Value::List(list) => list.items().as_ptr() as usize * usize::from(!list.is_nil()),
            Value::Bytes(bytes) => bytes.as_ptr() as usize,
            Value::Func(function) => std::rc::Rc::as_ptr(function) as usize,
            Value::Object(object) if object.go_type().kind == Kind::Pointer => {
                std::rc::Rc::as_ptr(object).cast::<u8>() as usize
            }
            _ => return self.bad_verb(value, verb),
        } as u64;
        match verb {
            'v' | 'p' => {
                let sharp = self.flags.sharp;
                self.flags.sharp = !sharp;
                self.flags.integer(self.out, address, false, 16, 'v');
                self.flags.sharp = sharp;
            }
            'b' | 'o' | 'd' | 'x' | 'X' => self.integer(value, address, false, verb, address),
            _ => self.bad_verb(value, verb),
        }
    }
}

/// The result of `String()` or `Error()`, if the type has one of them.
pub(crate) fn method_text(value: &Value) -> Option<Str> {
    match value {
        Value::Int(IntType::Duration, n) => Some(flux_golang::time::format_duration(*n).into()),
        Value::Int(IntType::Month, n) => Some(flux_golang::time::month_text(*n).into()),
        Value::Int(IntType::Weekday, n) => Some(flux_golang::time::weekday_text(*n).into()),
        Value::Time(time) => Some(time.text().into()),
        Value::Object(object) => object.text(),
        _ => None,
    }
}
