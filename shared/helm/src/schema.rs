//! Validates values against values.schema.json (HE-SCHEMA-001, HE-SCHEMA-004..006).

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use flux_golang::json;
use flux_gotemplate::{Constant, Constants, Map, Value};
use flux_jsonschema::{Compiled, Fetched, Json, Remotes, Schema};

use crate::dependencies::Resolved;

/// The URL that Helm gives to a chart's schema, which appears in messages.
const ADDRESS: &str = "file:///values.schema.json";

/// The values violate a schema, or a schema is invalid: Helm's report, chart by chart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SchemaError(String);

/// Why values are refused.
pub(crate) enum Refusal {
    /// Schemas refer to remote documents that have to be fetched first.
    Needs(Vec<String>),
    Schema(SchemaError),
}

/// The schemas of one chart and its subcharts, each compiled on first use and cached. The keys are the addresses of the
/// schema texts, which the chart must outlive. The number is the total bytes of these texts.
#[derive(Default)]
pub(crate) struct Schemas(Mutex<HashMap<usize, Arc<Known>>>, AtomicUsize);

/// A compiled schema or its compile error, with the remote documents that it was compiled with.
struct Known {
    schema: Result<Schema, String>,
    remotes: Vec<(String, Fetched)>,
}

impl Known {
    /// The addresses of the documents it was compiled with that `remotes` lacks.
    fn missing(&self, remotes: &Remotes) -> Vec<String> {
        let addresses = self.remotes.iter().map(|(address, _)| address);
        let missing = addresses.filter(|address| remotes.get(address).is_none());
        missing.cloned().collect()
    }

    fn is_current(&self, remotes: &Remotes) -> bool {
        let mut used = self.remotes.iter();
        used.all(|(address, fetched)| remotes.get(address) == Some(fetched))
    }
}

/// Results of the validation of a chart and its subcharts.
#[derive(Default)]
struct Findings {
    report: String,
    needs: BTreeSet<String>,
}

impl Schemas {
    /// Validates the values of a chart, then those of each subchart, against their schemas.
    pub(crate) fn validate(
        &self,
        chart: &Resolved<'_>,
        values: &Map,
        remotes: &Remotes,
    ) -> Result<(), Refusal> {
        let mut findings = Findings::default();
        self.validate_chart(chart, values, remotes, &mut findings);
        if !findings.needs.is_empty() {
            Err(Refusal::Needs(findings.needs.into_iter().collect()))
        } else if !findings.report.is_empty() {
            Err(Refusal::Schema(SchemaError(findings.report)))
        } else {
            Ok(())
        }
    }

    fn validate_chart(
        &self,
        chart: &Resolved<'_>,
        values: &Map,
        remotes: &Remotes,
        findings: &mut Findings,
    ) {
        if let Some(text) = &chart.chart.schema {
            match self.compiled(text, remotes) {
                Err(needs) => findings.needs.extend(needs),
                Ok(known) => {
                    if let Err(faults) = check(&known.schema, values) {
                        findings.report.push_str(&chart.name);
                        findings.report.push_str(":\n");
                        findings.report.push_str(&faults);
                    }
                }
            }
        }
        for subchart in &chart.subcharts {
            match values.get(subchart.name.as_bytes()) {
                None | Some(Value::Nil) => {}
                Some(Value::Map(table)) => {
                    self.validate_chart(subchart, &table, remotes, findings);
                }
                // HE-SCHEMA-004
                Some(other) => {
                    findings.report.push_str(&format!(
                        "{}:\ninvalid type for values: expected object (map), got {}\n",
                        subchart.name,
                        other.type_name()
                    ));
                }
            }
        }
    }

    /// Compiles the schema, or returns the addresses of the documents that it refers to and `remotes` lacks.
    fn compiled(&self, text: &[u8], remotes: &Remotes) -> Result<Arc<Known>, Vec<String>> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let address = text.as_ptr() as usize;
        let known = lock().get(&address).map(Arc::clone);
        if let Some(known) = known {
            let missing = known.missing(remotes);
            if !missing.is_empty() {
                return Err(missing);
            }
            if known.is_current(remotes) {
                return Ok(known);
            }
        }
        let (schema, used) = match Schema::compile(ADDRESS, text, remotes) {
            Ok(Compiled::Needs(address)) => return Err(vec![address]),
            Ok(Compiled::Schema(schema)) => {
                let used = schema.remotes().to_vec();
                (Ok(schema), used)
            }
            // Any of the documents may have caused the error.
            Err(error) => {
                let all = remotes.iter().map(|(address, _)| address.to_owned());
                (Err(error.to_string()), all.collect())
            }
        };
        let remotes = used.into_iter().filter_map(|address| {
            let fetched = remotes.get(&address)?.clone();
            Some((address, fetched))
        });
        let known = Arc::new(Known {
            schema,
            remotes: remotes.collect(),
        });
        let fetched = known.remotes.iter().flat_map(|(_, fetched)| fetched);
        let fetched: usize = fetched.map(bytes::Bytes::len).sum();
        if lock().insert(address, Arc::clone(&known)).is_none() {
            self.1.fetch_add(text.len() + fetched, Ordering::Relaxed);
        }
        Ok(known)
    }

    /// Estimated bytes of memory of the schemas.
    pub(crate) fn size(&self) -> usize {
        COMPILED_RATIO * self.1.load(Ordering::Relaxed)
    }
}

/// Bytes of a compiled schema per byte of its text, measured on public charts.
const COMPILED_RATIO: usize = 8;

/// Validates values against one schema.
fn check(schema: &Result<Schema, String>, values: &Map) -> Result<(), String> {
    let schema = schema.as_ref().map_err(Clone::clone)?;
    let values = values.to_constants();
    schema.validate(&json_of(&values)).map_err(|report| {
        let report = report.to_string();
        let head = format!("jsonschema validation failed with '{ADDRESS}#'\n");
        format!("{}\n", report.strip_prefix(&head).unwrap_or(&report))
    })
}

/// The values of a chart as JSON for the validator.
fn json_of(values: &Constants) -> Json<'_> {
    let entries = values.entries().iter();
    let entries = entries.map(|(key, value)| (key.to_text(), json_of_constant(value)));
    Json::Object(entries.collect())
}

fn json_of_constant(value: &Constant) -> Json<'_> {
    match value {
        Constant::Nil | Constant::Bytes(_) => Json::Null,
        Constant::Bool(truth) => Json::Bool(*truth),
        Constant::Int(_, number) => Json::Number(number.to_string().into()),
        Constant::Uint(_, number) => Json::Number(number.to_string().into()),
        Constant::Float(float) => {
            Json::Number(json::format_float(*float).unwrap_or_default().into())
        }
        Constant::Str(text) => Json::String(text.to_text()),
        Constant::List(items) => Json::Array(items.iter().map(json_of_constant).collect()),
        Constant::Map(map) => json_of(map),
    }
}
