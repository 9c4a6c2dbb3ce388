//! Conversion of values to and from YAML and JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flux_budget::{Claim, Exhausted};
use flux_gotemplate::{Map, Value};
use flux_yaml::Value as Data;
use flux_yaml::json::Escape;

/// Maximum depth of nested values; a map that `set` puts into itself exceeds it (HE-FNE-003).
const MAX_DEPTH: usize = 1000;

/// The Go type that a function decodes into.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Map,
    List,
}

/// `sigs.k8s.io/yaml`'s `Marshal`, final newline included.
pub(super) fn to_yaml(value: &Value) -> Result<String, String> {
    let marshaled = data_of(value, 0, Names::Json)
        .and_then(|data| flux_yaml::sigs::to_string(&data).map_err(|e| e.to_string()));
    marshaled.map_err(|e| format!("error marshaling into JSON: {e}"))
}

/// yaml.v3 with an indent of two: keys of maps in its order, fields of structs in that of their declaration.
pub(super) fn to_pretty_yaml(value: &Value) -> Result<String, String> {
    let data = data_of(value, 0, Names::Yaml)?;
    let encoder = flux_yaml::v3::Encoder::default().indent(2);
    encoder.value_in_order(&data).map_err(|e| e.to_string())
}

/// `encoding/json`'s `Marshal`.
pub(super) fn to_json(value: &Value) -> Result<String, String> {
    flux_yaml::json::to_string(&data_of(value, 0, Names::Json)?, Escape::Html)
        .map_err(|e| e.to_string())
}

/// What a template reads, or the text of the error; the outer error is that it does not fit into memory.
pub(super) type Read = Result<Result<Value, String>, Exhausted>;

/// Decodes YAML; the error text is that of `sigs.k8s.io/yaml`.
pub(super) fn from_yaml(text: &[u8], wanted: Wanted, claim: &Claim) -> Read {
    let data = match flux_chart::yaml::value_within(text, claim) {
        Ok(data) => data,
        Err(error) => {
            let exhausted = flux_chart::yaml::exhausted(&error);
            return exhausted.map_or_else(|| Ok(Err(error.to_string())), Err);
        }
    };
    let shaped = shaped(data, wanted);
    Ok(shaped.map_err(|e| format!("error unmarshaling JSON: while decoding JSON: {e}")))
}

/// Decodes JSON; the error text is that of `encoding/json`.
pub(super) fn from_json(text: &[u8], wanted: Wanted, claim: &Claim) -> Read {
    match flux_yaml::json::from_str_within(text, claim) {
        Ok(data) => Ok(shaped(data, wanted)),
        Err(flux_yaml::Error::Memory(exhausted)) => Err(exhausted),
        Err(error) => Ok(Err(error.to_string())),
    }
}

fn shaped(mut data: Data, wanted: Wanted) -> Result<Value, String> {
    data.floats_only();
    match (data, wanted) {
        (Data::Null, _) => Ok(Value::Nil),
        (Data::Map(map), Wanted::Map) => Ok(crate::values::from_yaml(&map).into()),
        (list @ Data::Seq(_), Wanted::List) => Ok(crate::values::value_of(&list)),
        (other, _) => {
            let target = match wanted {
                Wanted::Map => "map[string]interface {}",
                Wanted::List => "[]interface {}",
            };
            let kind = flux_chart::yaml::json_kind(&other);
            Err(format!(
                "json: cannot unmarshal {kind} into Go value of type {target}"
            ))
        }
    }
}

/// Estimated bytes of memory of a decoded value.
pub(super) fn weight(value: &Value) -> usize {
    const EACH: usize = 64;
    EACH + match value {
        Value::Str(text) => text.len(),
        Value::List(list) => list.items().iter().map(weight).sum(),
        Value::Map(map) => map.read(|entries| {
            let entries = entries.iter();
            entries.map(|(key, value)| key.len() + weight(value)).sum()
        }),
        _ => 0,
    }
}

/// How the fields of Go's structs are named.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    /// As `encoding/json` does: by their tags.
    Json,
    /// As `gopkg.in/yaml.v3` does, which these structs have no tags for: in lower case. It sorts the keys of maps itself.
    Yaml,
}

/// What an encoder sees of a value.
fn data_of(value: &Value, depth: usize, names: Names) -> Result<Data, String> {
    // Only what holds others can hold itself.
    if depth > MAX_DEPTH && matches!(value, Value::List(_) | Value::Map(_)) {
        return Err(format!(
            "json: unsupported value: encountered a cycle via {}",
            value.type_name()
        ));
    }
    Ok(match value {
        Value::Nil => Data::Null,
        Value::Bool(truth) => Data::Bool(*truth),
        Value::Int(_, number) => Data::Int(*number),
        Value::Uint(_, number) => Data::Uint(*number),
        Value::Float(number) => Data::Float(*number),
        Value::Float32(number) => Data::Float(f64::from(*number)),
        Value::Str(text) => Data::String(text.to_text().into_owned()),
        Value::Bytes(bytes) => Data::String(STANDARD.encode(bytes)),
        // yaml.v3 writes them as empty ones.
        Value::List(list) if list.is_nil() && names == Names::Json => Data::Null,
        Value::List(list) => {
            let items = list
                .items()
                .iter()
                .map(|item| data_of(item, depth + 1, names));
            Data::Seq(items.collect::<Result<_, _>>()?)
        }
        Value::Map(map) if map.is_nil() && names == Names::Json => Data::Null,
        Value::Map(map) => {
            let entries = map_of(map, depth, names)?;
            Data::Map(match names {
                Names::Json => entries,
                Names::Yaml => flux_yaml::v3::sorted_keys(entries),
            })
        }
        Value::Time(time) => Data::String(time_text(time)),
        Value::Object(object) => {
            // The text of a version; both encoders write what `MarshalText` gives.
            if let Some(json) = object.json() {
                return data_of(&json, depth + 1, names);
            }
            let fields: Vec<_> = match names {
                Names::Json => object.json_fields().into_iter().map(owned).collect(),
                Names::Yaml => object.fields().into_iter().map(lower_case).collect(),
            };
            let fields = fields.into_iter();
            let fields = fields.map(|(name, value)| Ok((name, data_of(&value, depth + 1, names)?)));
            Data::Map(fields.collect::<Result<_, String>>()?)
        }
        Value::Complex(..) | Value::Func(_) => {
            return Err(format!("json: unsupported type: {}", value.type_name()));
        }
    })
}

fn owned((name, value): (&str, Value)) -> (String, Value) {
    (name.to_owned(), value)
}

fn lower_case((name, value): (&str, Value)) -> (String, Value) {
    (name.to_lowercase(), value)
}

fn map_of(map: &Map, depth: usize, names: Names) -> Result<flux_yaml::Map, String> {
    // No deeper than YAML may be.
    if let Some(constants) = map.as_constants().filter(|_| names == Names::Json) {
        return Ok(crate::values::to_yaml(&constants));
    }
    map.read(|entries| {
        let entries = entries.iter();
        entries
            .map(|(key, value)| {
                Ok((
                    key.to_text().into_owned(),
                    data_of(value, depth + 1, names)?,
                ))
            })
            .collect()
    })
}

/// RFC 3339 with as many fractional digits of the second as the time has.
pub(super) fn time_text(time: &flux_gotemplate::Time) -> String {
    let text = time.format(b"2006-01-02T15:04:05.999999999Z07:00");
    String::from_utf8_lossy(&text).into_owned()
}
