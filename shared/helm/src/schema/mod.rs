//! Values against values.schema.json (HE-SCHEMA-001..006).

mod address;
mod format;
mod report;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use flux_gotemplate::{Map, Value};
use flux_yaml::json::{self, Escape};
use jsonschema::{
    PatternOptions, Retrieve, Uri, ValidationError, Validator, error::ValidationErrorKind,
};

use crate::{dependencies::Resolved, text::quote};

/// The address that Helm gives a chart's schema, which shows in messages.
const ADDRESS: &str = "file:///values.schema.json";

/// The values break a schema, or a schema is none: Helm's report, chart by chart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SchemaError(String);

/// The schemas of one chart and its subcharts, each compiled when it is first needed and then kept. They are known by
/// where their text lies, which the chart must outlive.
#[derive(Default)]
pub(crate) struct Schemas(Mutex<HashMap<usize, Arc<Schema>>>);

/// A schema ready for use, or why it is none.
type Schema = Result<Compiled, String>;

struct Compiled {
    document: serde_json::Value,
    validator: Validator,
}

impl Schemas {
    /// Validates the values of a chart and then those of each subchart against their schemas.
    pub(crate) fn validate(&self, chart: &Resolved<'_>, values: &Map) -> Result<(), SchemaError> {
        let mut report = String::new();
        self.validate_chart(chart, values, &mut report);
        if report.is_empty() {
            Ok(())
        } else {
            Err(SchemaError(report))
        }
    }

    fn validate_chart(&self, chart: &Resolved<'_>, values: &Map, report: &mut String) {
        if let Some(schema) = &chart.chart.schema
            && let Err(faults) = check(&self.compiled(schema), values)
        {
            report.push_str(&chart.name);
            report.push_str(":\n");
            report.push_str(&faults);
        }
        for subchart in &chart.subcharts {
            match values.get(subchart.name.as_bytes()) {
                None | Some(Value::Nil) => {}
                Some(Value::Map(table)) => self.validate_chart(subchart, &table, report),
                // HE-SCHEMA-004
                Some(other) => {
                    report.push_str(&format!(
                        "{}:\ninvalid type for values: expected object (map), got {}\n",
                        subchart.name,
                        other.type_name()
                    ));
                }
            }
        }
    }

    fn compiled(&self, schema: &[u8]) -> Arc<Schema> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let address = schema.as_ptr() as usize;
        if let Some(known) = lock().get(&address) {
            return Arc::clone(known);
        }
        let compiled = Arc::new(compile(schema));
        lock().insert(address, Arc::clone(&compiled));
        compiled
    }
}

/// Reads a schema; the text of an error is that of Helm's validator.
fn compile(schema: &[u8]) -> Schema {
    if schema.iter().all(u8::is_ascii_whitespace) {
        return Err("EOF".to_owned());
    }
    let schema = json::from_str(schema).map_err(|e| match e.to_string() {
        // Helm's reader takes a stream.
        end if end == "unexpected end of JSON input" => "unexpected EOF".to_owned(),
        other => other,
    })?;
    let schema = document(&schema);
    let meta = jsonschema::meta::validator_for(&schema).map_err(|e| not_built(&e))?;
    let faults: Vec<_> = meta.iter_errors(&schema).collect();
    if !faults.is_empty() {
        let dialect = schema.get("$schema").and_then(serde_json::Value::as_str);
        let dialect = dialect.unwrap_or("https://json-schema.org/draft/2020-12/schema");
        return Err(format!(
            "\"{ADDRESS}#\" is not valid against metaschema: jsonschema validation failed with '{}#'\n{}",
            dialect.trim_end_matches('#'),
            report::faults(&faults, &serde_json::Value::Null, &schema)
        ));
    }
    let mut options = jsonschema::options();
    for name in format::KNOWN {
        options = options.with_format(name, move |text: &str| format::check(name, text).is_ok());
    }
    for name in format::UNKNOWN {
        options = options.with_format(name, |_: &str| true);
    }
    let validator = options
        .with_base_uri(ADDRESS)
        .with_retriever(NothingRemote)
        .with_pattern_options(PatternOptions::regex())
        .build(&schema)
        .map_err(|e| not_built(&e))?;
    Ok(Compiled {
        document: schema,
        validator,
    })
}

/// Checks values against one schema.
fn check(schema: &Schema, values: &Map) -> Result<(), String> {
    let schema = schema.as_ref().map_err(Clone::clone)?;
    let values = serde_json::Value::Object(table(values));
    let faults: Vec<_> = schema.validator.iter_errors(&values).collect();
    if faults.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "{}\n",
            report::faults(&faults, &schema.document, &values)
        ))
    }
}

/// What the validator reads: whole floats count as whole numbers.
fn document(value: &flux_yaml::Value) -> serde_json::Value {
    // Go's JSON text says the same of both, so that the detour settles it.
    let text = json::to_string(value, Escape::Plain).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// The same for values as templates have them.
fn table(values: &Map) -> serde_json::Map<String, serde_json::Value> {
    values.read(|entries| {
        let entries = entries.iter();
        entries
            .map(|(key, value)| (key.to_text().into_owned(), json_of(value)))
            .collect()
    })
}

fn json_of(value: &Value) -> serde_json::Value {
    use serde_json::Value as Json;
    match value {
        Value::Bool(truth) => Json::Bool(*truth),
        Value::Int(_, number) => Json::from(*number),
        Value::Uint(_, number) => Json::from(*number),
        Value::Float(number) => json_number(*number),
        Value::Str(text) => Json::String(text.to_text().into_owned()),
        Value::List(list) => Json::Array(list.items().iter().map(json_of).collect()),
        Value::Map(map) => Json::Object(table(map)),
        _ => Json::Null,
    }
}

/// Go's JSON has no point in whole numbers below 1e21, which the reader then takes for integers where they fit.
fn json_number(number: f64) -> serde_json::Value {
    const I64: std::ops::Range<f64> = -9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0;
    const U64: std::ops::Range<f64> = 0.0..18_446_744_073_709_551_616.0;
    let whole = number.fract() == 0.0 && !(number == 0.0 && number.is_sign_negative());
    if whole && I64.contains(&number) {
        serde_json::Value::from(number as i64)
    } else if whole && U64.contains(&number) {
        serde_json::Value::from(number as u64)
    } else {
        serde_json::Value::from(number)
    }
}

fn not_built(error: &ValidationError<'_>) -> String {
    use jsonschema::ReferencingError as Fault;
    match error.kind() {
        ValidationErrorKind::Referencing(Fault::Unretrievable { uri, source }) => {
            format!("failing loading {}: {source}", quote(uri))
        }
        ValidationErrorKind::Referencing(Fault::PointerToNowhere { pointer }) => {
            format!(
                "json-pointer in {} not found",
                quote(&format!("{ADDRESS}#{pointer}"))
            )
        }
        _ => error.to_string(),
    }
}

/// References may stay within the schema. Helm would fetch others, which in a controller that many use opens ways into its
/// network (HE-SCHEMA-005); names (`urn:`) that nobody resolves allow everything, as there.
struct NothingRemote;

impl Retrieve for NothingRemote {
    fn retrieve(
        &self,
        uri: &Uri<String>,
    ) -> Result<serde_json::Value, Box<dyn std::error::Error + Send + Sync>> {
        if uri.scheme().as_str() == "urn" {
            return Ok(serde_json::Value::Bool(true));
        }
        Err("references must stay within the chart's schema".into())
    }
}
