//! `format`: texts with clauses such as `%d` for arguments.

use flux_golang::strconv;

use crate::ast::{Expr, Kind};
use crate::check::Types;
use crate::eval::Meter;
use crate::source::Problems;
use crate::time::duration_text;
use crate::types::Type;
use crate::value::Value;

type Result<T = String> = std::result::Result<T, String>;

/// The digits after the point if a clause does not say.
const PRECISION: usize = 6;
/// More digits than any number has.
const MAX_PRECISION: usize = 1_100;

/// What a clause writes.
#[derive(Clone, Copy, Debug)]
enum Clause {
    Text,
    Decimal,
    Fixed(usize),
    Scientific(usize),
    Binary,
    Hex { upper: bool },
    Octal,
}

/// A part of a format.
enum Part<'f> {
    Plain(&'f str),
    Clause(Clause),
}

impl Clause {
    /// The error for a value of a type that the clause does not write.
    fn refusal(self, of: &str) -> String {
        let what = match self {
            Self::Text => {
                "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps"
            }
            Self::Decimal => "decimal clause can only be used on ints, uints, and doubles",
            Self::Fixed(_) => "fixed-point clause can only be used on ints, uints, and doubles",
            Self::Scientific(_) => "scientific clause can only be used on ints, uints, and doubles",
            Self::Binary => "only ints, uints, and bools can be formatted as binary",
            Self::Hex { .. } => "only ints, uints, bytes, and strings can be formatted as hex",
            Self::Octal => "octal clause can only be used on ints and uints",
        };
        format!("error during formatting: {what}, was given {of}")
    }

    fn accepts(self, of: &Type) -> bool {
        use Type::{Bool, Bytes, Double, Dyn, Int, Optional, String, Uint};
        match self {
            _ if *of == Dyn => true,
            Self::Text => !matches!(of, Optional(_)),
            Self::Decimal | Self::Fixed(_) | Self::Scientific(_) => {
                matches!(of, Int | Uint | Double)
            }
            Self::Binary => matches!(of, Bool | Int | Uint),
            Self::Hex { .. } => matches!(of, Int | Uint | String | Bytes),
            Self::Octal => matches!(of, Int | Uint),
        }
    }

    fn write(self, value: &Value) -> Result {
        let refused = || self.refusal(value.type_name());
        match (self, value) {
            (Self::Text, value) => text(value),
            (Self::Decimal, Value::Int(number)) => Ok(number.to_string()),
            (Self::Decimal, Value::Uint(number)) => Ok(number.to_string()),
            (Self::Decimal, Value::Double(number)) => Ok(double(*number, b'f', None)),
            (Self::Fixed(digits), Value::Double(number)) => Ok(double(*number, b'f', Some(digits))),
            (Self::Scientific(digits), Value::Double(number)) => {
                Ok(double(*number, b'e', Some(digits)))
            }
            (Self::Fixed(digits), Value::Int(_) | Value::Uint(_)) => {
                Ok(mismatched('f', digits, value))
            }
            (Self::Scientific(digits), Value::Int(_) | Value::Uint(_)) => {
                Ok(mismatched('e', digits, value))
            }
            (Self::Binary, Value::Bool(value)) => Ok(u8::from(*value).to_string()),
            (Self::Binary, Value::Int(number)) => Ok(signed(*number, |n| format!("{n:b}"))),
            (Self::Binary, Value::Uint(number)) => Ok(format!("{number:b}")),
            (Self::Octal, Value::Int(number)) => Ok(signed(*number, |n| format!("{n:o}"))),
            (Self::Octal, Value::Uint(number)) => Ok(format!("{number:o}")),
            (Self::Hex { upper }, value) => {
                let hex = match value {
                    Value::Int(number) => signed(*number, |n| format!("{n:x}")),
                    Value::Uint(number) => format!("{number:x}"),
                    Value::String(text) => flux_golang::encoding::hex(text.as_bytes()),
                    Value::Bytes(bytes) => flux_golang::encoding::hex(bytes),
                    _ => return Err(refused()),
                };
                Ok(if upper { hex.to_uppercase() } else { hex })
            }
            _ => Err(refused()),
        }
    }
}

/// What Go's `fmt` writes for an integer where it expects a floating-point number.
fn mismatched(verb: char, digits: usize, value: &Value) -> String {
    let (of, sign, number) = match value {
        Value::Uint(number) => ("uint64", "", *number),
        Value::Int(number) if *number < 0 => ("int64", "-", number.unsigned_abs()),
        Value::Int(number) => ("int64", "", number.unsigned_abs()),
        _ => ("int64", "", 0),
    };
    format!("%!{verb}({of}={sign}{number:0digits$})")
}

fn signed(number: i64, digits: impl Fn(u64) -> String) -> String {
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{}", digits(number.unsigned_abs()))
}

fn double(number: f64, verb: u8, digits: Option<usize>) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        let sign = if number < 0.0 { "-" } else { "" };
        format!("{sign}Infinity")
    } else {
        strconv::format_float(number, verb, digits)
    }
}

/// A value as `%s` writes it.
fn text(value: &Value) -> Result {
    Ok(match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Double(value) => double(*value, b'f', None),
        Value::String(value) => value.to_string(),
        Value::Bytes(value) => String::from_utf8_lossy(value).into_owned(),
        Value::Duration(value) => duration_text(*value),
        Value::Timestamp(value) => value.utc_text(),
        Value::Type(of) => of.runtime_name().to_owned(),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(text).collect::<Result<_>>()?;
            format!("[{}]", items.join(", "))
        }
        Value::Map(map) => {
            let entries = map.entries().iter();
            let mut entries = entries
                .map(|(key, value)| Ok((text(key)?, text(value)?)))
                .collect::<Result<Vec<(String, String)>>>()?;
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, value)| format!("{key}: {value}"))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Optional(_) => return Err(Clause::Text.refusal(value.type_name())),
    })
}

/// Splits a format. `arguments` says how many there are: a clause without one is an error.
fn parts(format: &str, arguments: usize) -> Result<Vec<Part<'_>>> {
    let mut parts = Vec::new();
    let mut used = 0;
    let mut rest = format;
    while let Some((plain, after)) = rest.split_once('%') {
        parts.push(Part::Plain(plain));
        if let Some(after) = after.strip_prefix('%') {
            parts.push(Part::Plain("%"));
            rest = after;
            continue;
        }
        if used >= arguments {
            return Err(format!("index {used} out of range"));
        }
        if after.is_empty() {
            return Err("unexpected end of string".to_owned());
        }
        let clause =
            clause(after).map_err(|error| format!("could not parse formatting clause: {error}"));
        let (clause, after) = clause?;
        parts.push(Part::Clause(clause));
        used += 1;
        rest = after;
    }
    parts.push(Part::Plain(rest));
    Ok(parts)
}

/// The clause at the start of a text, whose percent sign has been read.
fn clause(text: &str) -> Result<(Clause, &str)> {
    let mut precision = PRECISION;
    let mut rest = text;
    if let Some(digits) = text.strip_prefix('.') {
        let missing = "error while parsing precision: could not find end of precision specifier";
        let end = digits.find(|c: char| !c.is_ascii_digit()).ok_or(missing)?;
        let number = strconv::parse_int(&digits.as_bytes()[..end], 10);
        let number = number.map_err(|error| {
            let text = strconv::quote(&digits[..end]);
            format!("error while parsing precision: error while converting precision to integer: strconv.Atoi: parsing {text}: {error}")
        })?;
        precision = usize::try_from(number)
            .unwrap_or(MAX_PRECISION)
            .min(MAX_PRECISION);
        rest = &digits[end..];
    }
    let letter = rest.bytes().next().unwrap_or_default();
    let clause = match letter {
        b's' => Clause::Text,
        b'd' => Clause::Decimal,
        b'f' => Clause::Fixed(precision),
        b'e' => Clause::Scientific(precision),
        b'b' => Clause::Binary,
        b'x' | b'X' => Clause::Hex {
            upper: letter == b'X',
        },
        b'o' => Clause::Octal,
        other => {
            let letter = char::from(other);
            return Err(format!("unrecognized formatting clause \"{letter}\""));
        }
    };
    Ok((clause, &rest[1..]))
}

/// The format with its arguments.
///
/// # Errors
/// A clause is malformed, has no argument, or does not write arguments of that type.
pub(crate) fn format(format: &str, arguments: &[Value], meter: &mut Meter) -> Result {
    let mut arguments_left = arguments.iter();
    let mut out = String::new();
    for part in parts(format, arguments.len())? {
        match part {
            Part::Plain(text) => out.push_str(text),
            Part::Clause(clause) => {
                let Some(argument) = arguments_left.next() else {
                    break;
                };
                out.push_str(&clause.write(argument)?);
            }
        }
        meter.bytes(out.len())?;
    }
    Ok(out)
}

/// Checks literal formats against the types of their literal lists of arguments.
pub(crate) fn check(expr: &Expr, types: &Types, problems: &mut Problems<'_>) {
    if let Kind::Call {
        target: Some(target),
        function,
        args,
    } = &expr.kind
        && function == "format"
        && let Some(format) = target.literal_text()
        && let [list] = args.as_slice()
        && let Kind::List(items) = &list.kind
    {
        let arguments: Vec<&Expr> = items.iter().map(|item| &item.value).collect();
        if let Err((at, message)) = check_call(expr, format, &arguments, types) {
            problems.report(at, message);
        }
    }
    for child in expr.kind.children() {
        check(child, types, problems);
    }
}

fn check_call(
    call: &Expr,
    format: &str,
    arguments: &[&Expr],
    types: &Types,
) -> std::result::Result<(), (usize, String)> {
    let parts = parts(format, arguments.len()).map_err(|message| (call.at, message))?;
    let clauses = parts.iter().filter_map(|part| match part {
        Part::Clause(clause) => Some(*clause),
        Part::Plain(_) => None,
    });
    let clauses: Vec<Clause> = clauses.collect();
    for (clause, argument) in clauses.iter().zip(arguments) {
        if let Some(bad) = refused(*clause, argument, types) {
            let of = types.of(bad).runtime_name();
            return Err((bad.at, clause.refusal(of)));
        }
    }
    if arguments.len() > clauses.len() {
        let (wanted, given) = (clauses.len(), arguments.len());
        let message = format!(
            "too many arguments supplied to string.format (expected {wanted}, got {given})"
        );
        return Err((call.at, message));
    }
    Ok(())
}

/// The argument, or the part of a literal one, that the clause does not write.
fn refused<'e>(clause: Clause, argument: &'e Expr, types: &Types) -> Option<&'e Expr> {
    if !clause.accepts(types.of(argument)) {
        return Some(argument);
    }
    let parts = match &argument.kind {
        Kind::List(_) | Kind::Map(_) if matches!(clause, Clause::Text) => argument.kind.children(),
        _ => Vec::new(),
    };
    parts
        .into_iter()
        .find_map(|part| refused(clause, part, types))
}
