//! Violations of a schema, with the messages of Helm's validator (HE-SCHEMA-003).

use flux_golang::strconv;

use super::decimal::Decimal;
use super::json::Json;
use super::pointer::escape;
use super::program::{Id, Program, Types};

/// A violation and its causes.
pub(super) struct Finding<'a> {
    /// The pointer to the value.
    pub(super) at: String,
    pub(super) kind: Kind<'a>,
    pub(super) causes: Vec<Finding<'a>>,
}

/// The violation. Its text is formatted on demand: most findings come from alternatives that are discarded.
pub(super) enum Kind<'a> {
    /// A placeholder where only validity matters.
    Unread,
    /// The root of a report.
    Report(Id),
    /// Several findings of one schema.
    Group,
    Reference,
    False,
    Cycle {
        schema: Id,
        first: String,
        second: String,
    },
    Type {
        got: &'static str,
        want: Types,
    },
    Constant(&'a Json<'a>),
    Options(&'a [Json<'a>]),
    Format {
        got: &'a str,
        want: &'static str,
        why: String,
    },
    /// A count beyond a limit, with the keyword's name.
    Count(&'static str, usize, usize),
    /// A number beyond a limit.
    Measure(&'static str, Decimal, &'a Decimal),
    Pattern(&'a str, &'a str),
    Required(Vec<&'a str>),
    /// Missing properties that another property requires.
    Dependency(Vec<&'a str>, &'a str),
    AdditionalProperties(Vec<&'a str>),
    AdditionalItems(usize),
    PropertyName(&'a str),
    Equal(usize, usize),
    Contains,
    MinContains(Vec<usize>, usize),
    MaxContains(Vec<usize>, usize),
    Not,
    AllOf,
    AnyOf,
    /// The two schemas that match, if any do.
    OneOf(Option<(usize, usize)>),
}

impl<'a> Finding<'a> {
    pub(super) fn new(at: String, kind: Kind<'a>) -> Self {
        Self {
            at,
            kind,
            causes: Vec::new(),
        }
    }

    /// The findings that a reference or a report shows in place of this one.
    pub(super) fn ungrouped(self) -> Vec<Finding<'a>> {
        match self.kind {
            Kind::Group => self.causes,
            _ => vec![self],
        }
    }

    /// The text of the whole report.
    pub(super) fn report(&self, program: &Program) -> String {
        let mut out = String::new();
        self.write(program, 0, &mut out);
        out
    }

    fn write(&self, program: &Program, mut indent: usize, out: &mut String) {
        // A reference with a single cause is replaced by it.
        if !(matches!(self.kind, Kind::Reference) && self.causes.len() == 1) {
            if indent > 0 {
                out.push('\n');
                out.push_str(&"  ".repeat(indent - 1));
                out.push_str("- ");
            }
            indent += 1;
            if !matches!(self.kind, Kind::Report(_)) {
                out.push_str(&format!("at {}: ", quoted(&self.at)));
            }
            out.push_str(&self.kind.text(program));
        }
        for cause in &self.causes {
            cause.write(program, indent, out);
        }
    }
}

impl Kind<'_> {
    fn text(&self, program: &Program) -> String {
        match self {
            Self::Unread => String::new(),
            Self::Report(schema) => {
                let location = quoted(&program.location(*schema));
                format!("jsonschema validation failed with {location}")
            }
            Self::Group | Self::Reference => "validation failed".to_owned(),
            Self::False => "false schema".to_owned(),
            Self::Cycle {
                schema,
                first,
                second,
            } => {
                let location = strconv::quote(program.location(*schema));
                format!("both {first} and {second} resolve to {location} causing reference cycle")
            }
            Self::Type { got, want } => {
                let want: Vec<_> = want.names().collect();
                format!("got {got}, want {}", want.join(" or "))
            }
            Self::Constant(Json::Array(_) | Json::Object(_)) => "'const' failed".to_owned(),
            Self::Constant(want) => format!("value must be {}", shown(want)),
            Self::Options(options) => one_of(options),
            Self::Format { got, want, why } => {
                format!("{} is not valid {want}: {why}", quoted(got))
            }
            Self::Count(keyword, got, want) => {
                format!("{keyword}: got {}, want {}", count(*got), count(*want))
            }
            Self::Measure(keyword, got, want) => format!(
                "{keyword}: got {}, want {}",
                localized(got.to_f64()),
                localized(want.to_f64())
            ),
            Self::Pattern(got, want) => {
                format!("{} does not match pattern {}", quoted(got), quoted(want))
            }
            Self::Required(missing) => match missing.as_slice() {
                [one] => format!("missing property {}", quoted(one)),
                all => format!("missing properties {}", listed(all)),
            },
            Self::Dependency(missing, of) => {
                let missing = listed(missing);
                format!("properties {missing} required, if {} exists", quoted(of))
            }
            Self::AdditionalProperties(names) => {
                format!("additional properties {} not allowed", listed(names))
            }
            Self::AdditionalItems(more) => {
                format!("last {} additionalItem(s) not allowed", count(*more))
            }
            Self::PropertyName(name) => format!("invalid propertyName {}", quoted(name)),
            Self::Equal(first, second) => {
                format!(
                    "items at {} and {} are equal",
                    count(*first),
                    count(*second)
                )
            }
            Self::Contains => "no items match contains schema".to_owned(),
            Self::MinContains(got, want) => contains("min", got, *want),
            Self::MaxContains(got, want) => contains("max", got, *want),
            Self::Not => "'not' failed".to_owned(),
            Self::AllOf => "'allOf' failed".to_owned(),
            Self::AnyOf => "'anyOf' failed".to_owned(),
            Self::OneOf(None) => "'oneOf' failed, none matched".to_owned(),
            Self::OneOf(Some((first, second))) => format!(
                "'oneOf' failed, subschemas {}, {} matched",
                count(*first),
                count(*second)
            ),
        }
    }
}

fn contains(bound: &str, got: &[usize], want: usize) -> String {
    let matched = if got.is_empty() {
        "none matched".to_owned()
    } else {
        let places: Vec<_> = got.iter().map(ToString::to_string).collect();
        let places = places.join(" ");
        format!("matched {} items at {places}", count(got.len()))
    };
    let want = count(want);
    format!("{bound} {want} items required to match contains schema, but {matched}")
}

fn one_of(options: &[Json<'_>]) -> String {
    let plain = |option: &Json<'_>| !matches!(option, Json::Array(_) | Json::Object(_));
    if !options.iter().all(plain) {
        return "'enum' failed".to_owned();
    }
    let shown: Vec<_> = options.iter().map(shown).collect();
    match shown.as_slice() {
        [only] => format!("value must be {only}"),
        all => format!("value must be one of {}", all.join(", ")),
    }
}

fn listed(names: &[&str]) -> String {
    let names: Vec<_> = names.iter().map(|name| quoted(name)).collect();
    names.join(", ")
}

/// A value in a message.
fn shown(value: &Json<'_>) -> String {
    match value {
        Json::Null => "<nil>".to_owned(),
        Json::Bool(truth) => truth.to_string(),
        Json::Number(text) => text.to_string(),
        Json::String(text) => quoted(text),
        Json::Array(_) | Json::Object(_) => "value".to_owned(),
    }
}

/// The text in single quotes, with Go's escapes.
fn quoted(text: &str) -> String {
    let quoted = strconv::quote(text);
    let inner = quoted
        .get(1..quoted.len().saturating_sub(1))
        .unwrap_or_default();
    format!("'{}'", inner.replace("\\\"", "\"").replace('\'', "\\'"))
}

/// The pointer to a value.
pub(super) fn pointer<'t>(tokens: impl Iterator<Item = &'t str>) -> String {
    let mut out = String::new();
    for token in tokens {
        out.push('/');
        out.push_str(&escape(token));
    }
    out
}

/// A number as Go's message printer for English formats a float with `%v`: from a million on as a power of ten.
fn localized(value: f64) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    if value.is_infinite() {
        return if value > 0.0 { "∞" } else { "-∞" }.to_owned();
    }
    let text = strconv::format_float(value, b'g', None);
    if let Some((mantissa, exponent)) = text.split_once('e') {
        let exponent = exponent.chars().filter(|c| *c != '+');
        let exponent: String = exponent
            .map(|c| {
                c.to_digit(10)
                    .and_then(|d| DIGITS.get(d as usize).copied())
                    .unwrap_or('⁻')
            })
            .collect();
        return format!("{mantissa}×10{exponent}");
    }
    let (sign, unsigned) = text
        .strip_prefix('-')
        .map_or(("", text.as_str()), |rest| ("-", rest));
    let (whole, fraction) = unsigned
        .split_once('.')
        .map_or((unsigned, None), |(w, f)| (w, Some(f)));
    let whole = count(whole.parse().unwrap_or_default());
    match fraction {
        Some(fraction) => format!("{sign}{whole}.{fraction}"),
        None => format!("{sign}{whole}"),
    }
}

/// An integer with commas between thousands.
fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
