//! Values against values.schema.json (HE-SCHEMA-001..006).

mod report;

use flux_gotemplate::{Map, Value};
use flux_yaml::json::{self, Escape};
use jsonschema::{PatternOptions, Retrieve, Uri, ValidationError, error::ValidationErrorKind};

use crate::{dependencies::Resolved, text::quote};

/// The address that Helm gives a chart's schema, which shows in messages.
const ADDRESS: &str = "file:///values.schema.json";

/// The values break a schema, or a schema is none: Helm's report, chart by chart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SchemaError(String);

/// Validates the values of a chart and then those of each subchart against their schemas.
pub(crate) fn validate(chart: &Resolved<'_>, values: &Map) -> Result<(), SchemaError> {
    let mut report = String::new();
    validate_chart(chart, values, &mut report);
    if report.is_empty() {
        Ok(())
    } else {
        Err(SchemaError(report))
    }
}

fn validate_chart(chart: &Resolved<'_>, values: &Map, report: &mut String) {
    if let Some(schema) = &chart.chart.schema
        && let Err(faults) = check(schema, values)
    {
        report.push_str(&chart.name);
        report.push_str(":\n");
        report.push_str(&faults);
    }
    for subchart in &chart.subcharts {
        match values.get(subchart.name.as_bytes()) {
            None | Some(Value::Nil) => {}
            Some(Value::Map(table)) => validate_chart(subchart, &table, report),
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

/// Checks values against one schema; the text of an error is that of Helm's validator.
fn check(schema: &[u8], values: &Map) -> Result<(), String> {
    if schema.iter().all(u8::is_ascii_whitespace) {
        return Err("EOF".to_owned());
    }
    let schema = json::from_str(schema).map_err(|e| e.to_string())?;
    let schema = document(&schema);
    let meta = jsonschema::meta::validator_for(&schema).map_err(|e| not_built(&e))?;
    let faults: Vec<_> = meta.iter_errors(&schema).collect();
    if !faults.is_empty() {
        let dialect = schema.get("$schema").and_then(serde_json::Value::as_str);
        let dialect = dialect.unwrap_or("https://json-schema.org/draft/2020-12/schema");
        return Err(format!(
            "\"{ADDRESS}#\" is not valid against metaschema: jsonschema validation failed with '{}#'\n{}",
            dialect.trim_end_matches('#'),
            report::faults(&faults, &serde_json::Value::Null)
        ));
    }
    let validator = jsonschema::options()
        .with_base_uri(ADDRESS)
        .with_retriever(NothingRemote)
        .with_pattern_options(PatternOptions::regex())
        .build(&schema)
        .map_err(|e| not_built(&e))?;
    let values = document(&flux_yaml::Value::Map(crate::values::to_yaml(values)));
    let faults: Vec<_> = validator.iter_errors(&values).collect();
    if faults.is_empty() {
        Ok(())
    } else {
        Err(format!("{}\n", report::faults(&faults, &schema)))
    }
}

/// What the validator reads: whole floats count as whole numbers.
fn document(value: &flux_yaml::Value) -> serde_json::Value {
    // Go's JSON text says the same of both, so that the detour settles it.
    let text = json::to_string(value, Escape::Plain).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
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
