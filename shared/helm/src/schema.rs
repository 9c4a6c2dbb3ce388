//! Values against values.schema.json (HE-SCHEMA-001..006).

mod address;
mod compile;
mod decimal;
mod draft;
mod finding;
mod format;
mod json;
mod keywords;
mod meta;
mod names;
mod plain;
mod pointer;
mod program;
mod root;
mod roots;
mod validate;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use flux_gotemplate::{Map, Value};
use flux_yaml::json::read;

use self::compile::Compiler;
use self::json::Json;
use self::program::{Id, Program};
use self::validate::Validator;
use crate::dependencies::Resolved;

/// The address that Helm gives a chart's schema, which shows in messages.
const ADDRESS: &str = "file:///values.schema.json";

/// The values break a schema, or a schema is none: Helm's report, chart by chart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SchemaError(String);

/// The schemas of one chart and its subcharts, each compiled when it is first needed and then kept. They are known by
/// where their text lies, which the chart must outlive. The number is that of the bytes of their texts.
#[derive(Default)]
pub(crate) struct Schemas(Mutex<HashMap<usize, Arc<Schema>>>, AtomicUsize);

/// A schema ready for use, or why it is none.
type Schema = Result<Compiled, String>;

struct Compiled {
    program: Program,
    root: Id,
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
        self.1.fetch_add(schema.len(), Ordering::Relaxed);
        lock().insert(address, Arc::clone(&compiled));
        compiled
    }

    /// About how many bytes of memory they take.
    pub(crate) fn size(&self) -> usize {
        COMPILED_RATIO * self.1.load(Ordering::Relaxed)
    }
}

/// What a compiled schema takes for each byte of its text, by measurement of public charts.
const COMPILED_RATIO: usize = 8;

/// Reads a schema; the text of an error is that of Helm's validator.
fn compile(schema: &[u8]) -> Schema {
    if schema.iter().all(u8::is_ascii_whitespace) {
        return Err("EOF".to_owned());
    }
    let schema: Json<'_> = read(schema).map_err(|e| match e.to_string().as_str() {
        // Helm's reader takes a stream.
        "unexpected end of JSON input" => "unexpected EOF".to_owned(),
        after if after.ends_with("after top-level value") => {
            "invalid character after top-level value".to_owned()
        }
        other => other.to_owned(),
    })?;
    let mut compiler = Compiler::new(Some((ADDRESS, &schema)), false);
    let root = compiler.compile(ADDRESS)?;
    Ok(Compiled {
        program: compiler.finish(),
        root,
    })
}

/// Checks values against one schema.
fn check(schema: &Schema, values: &Map) -> Result<(), String> {
    let schema = schema.as_ref().map_err(Clone::clone)?;
    let values = values.to_constants();
    let checked = Validator::new(&schema.program).run(schema.root, &Json::of(&values));
    checked.map_err(|report| {
        let head = format!("jsonschema validation failed with '{ADDRESS}#'\n");
        format!("{}\n", report.strip_prefix(&head).unwrap_or(&report))
    })
}
