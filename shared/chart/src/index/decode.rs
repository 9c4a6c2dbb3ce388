//! Decodes the header of an index and its chart versions into what Helm's structs hold.

use std::collections::BTreeMap;

use flux_budget::Claim;
use flux_semver::Version;
use flux_yaml::{Map, Value};
use serde::Serialize;

use super::layout::Form;
use super::{IndexError, IndexedVersion};
use crate::decode::{self, Place};
use crate::yaml::{self, YamlError};
use crate::{Metadata, Time, text as go_text};

/// The fields of an index besides its charts.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub(super) server_info: Map,
    pub(super) api_version: String,
    pub(super) generated: Time,
    pub(super) public_keys: Vec<String>,
    pub(super) annotations: BTreeMap<String, String>,
}

/// One version of a chart, in the order of Helm's fields.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    #[serde(flatten)]
    metadata: Metadata,
    urls: Option<Vec<String>>,
    created: Time,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    removed: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    digest: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    checksum: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    engine: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    tiller_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    url: String,
}

const HEADER: &[&str] = &[
    "serverInfo",
    "apiVersion",
    "generated",
    "publicKeys",
    "annotations",
];

/// The fields of a version besides those of the chart's metadata.
const OWN: &[&str] = &[
    "urls",
    "created",
    "removed",
    "digest",
    "checksum",
    "engine",
    "tillerVersion",
    "url",
];

/// Which fields of the header are decoded: Go meets them in the order of their names, and reports the first error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    BeforeCharts,
    AfterCharts,
}

impl Header {
    pub(super) fn decode(
        &mut self,
        value: &Value,
        form: Form,
        side: Side,
    ) -> Result<(), IndexError> {
        let place = Place {
            owner: "IndexFile",
            path: "",
        };
        let before = |name: &str| name < "entries";
        for (name, field, value) in fields(value, &[HEADER], "repo.IndexFile", form)? {
            if before(name) != (side == Side::BeforeCharts) {
                continue;
            }
            let decoded = match known(name, field, form)? {
                None => Ok(()),
                Some("apiVersion") => text(&mut self.api_version, place, "apiVersion", value, form),
                Some(field @ "publicKeys") => {
                    decode::texts(&mut self.public_keys, place, field, value)
                }
                Some(field @ "annotations") => {
                    decode::text_map(&mut self.annotations, place, field, value)
                }
                Some("generated") => {
                    time(&mut self.generated, value, form)?;
                    Ok(())
                }
                Some(field) => match value {
                    Value::Map(map) => {
                        self.server_info.clone_from(map);
                        Ok(())
                    }
                    Value::Null => Ok(()),
                    other => Err(place.mismatch(field, other, "map[string]interface {}")),
                },
            };
            decoded.map_err(|error| in_form(error, form))?;
        }
        Ok(())
    }
}

/// The versions in the list of a chart: valid ones, the highest first. `None` for `null`. Their memory is taken through
/// `claim` before there is more of it.
pub(super) fn versions(
    list: &Value,
    form: Form,
    claim: &Claim,
) -> Result<Option<Vec<Entry>>, IndexError> {
    let place = Place {
        owner: "IndexFile",
        path: "",
    };
    let items = decode::items(place, "entries", list, "repo.ChartVersions");
    let Some(items) = items.map_err(|error| in_form(error, form))? else {
        return Ok(None);
    };
    let mut found = Vec::new();
    for item in items {
        if item.is_null() {
            continue;
        }
        if !matches!(item, Value::Map(_)) {
            let error = place.mismatch("entries", item, "repo.ChartVersion");
            return Err(in_form(error, form));
        }
        claim.take((ENTRY + bytes_of(item)) as u64)?;
        let mut entry = Entry::decode(item, form)?;
        if entry.is_valid() {
            let version = Version::parse(&entry.metadata.version).ok();
            found.push((version, entry));
        }
    }
    found.sort_by(|(a, _), (b, _)| b.cmp(a));
    Ok(Some(found.into_iter().map(|(_, entry)| entry).collect()))
}

/// The bytes of a version in a list that grows and is then sorted.
const ENTRY: usize = 3 * size_of::<(Option<Version>, Entry)>();
/// The bytes of a text, or of a struct in a list, besides its texts.
const TEXT: usize = 64;
const STRUCT: usize = 256;

/// The bytes of what is made of a value: its texts, the names of its structs' fields aside, and its lists.
fn bytes_of(value: &Value) -> usize {
    match value {
        Value::String(text) => TEXT + text.len(),
        Value::Seq(items) => items.iter().map(bytes_of).sum(),
        Value::Map(map) => {
            let entries = map.iter();
            let entries = entries.map(|(key, value)| key.len() + bytes_of(value));
            STRUCT + entries.sum::<usize>()
        }
        _ => TEXT,
    }
}

impl Entry {
    fn decode(value: &Value, form: Form) -> Result<Self, IndexError> {
        let place = Place {
            owner: "ChartVersion",
            path: "entries",
        };
        let inner = Place {
            path: "entries.Metadata",
            ..place
        };
        let mut entry = Self::default();
        let known_fields = [OWN, Metadata::FIELDS];
        for (name, field, value) in fields(value, &known_fields, "repo.ChartVersion", form)? {
            let Some(field) = known(name, field, form)? else {
                continue;
            };
            let decoded = match field {
                "urls" => {
                    let mut urls = Vec::new();
                    let decoded = decode::texts(&mut urls, place, field, value);
                    entry.urls = (!value.is_null()).then_some(urls);
                    decoded
                }
                "created" => {
                    time(&mut entry.created, value, form)?;
                    Ok(())
                }
                "removed" => decode::truth(&mut entry.removed, place, field, value),
                "digest" => text(&mut entry.digest, place, field, value, form),
                "checksum" => text(&mut entry.checksum, place, field, value, form),
                "engine" => text(&mut entry.engine, place, field, value, form),
                "tillerVersion" => text(&mut entry.tiller_version, place, field, value, form),
                "url" => text(&mut entry.url, place, field, value, form),
                _ => {
                    check_metadata(field, value, inner, form)?;
                    entry.metadata.set(inner, field, value)
                }
            };
            decoded.map_err(|error| in_form(error, form))?;
        }
        if entry.metadata.api_version.is_empty() {
            "v1".clone_into(&mut entry.metadata.api_version);
        }
        Ok(entry)
    }

    /// Sanitizes the metadata and checks it as Helm does for an index: dependencies may be repeated.
    fn is_valid(&mut self) -> bool {
        match self.metadata.validate() {
            Ok(()) => true,
            Err(problem) => problem.starts_with("more than one dependency with name or alias"),
        }
    }

    /// What the table keeps.
    pub(super) fn indexed(&self) -> IndexedVersion {
        let urls = self.urls.iter().flatten();
        IndexedVersion {
            name: self.metadata.name.as_str().into(),
            version: self.metadata.version.as_str().into(),
            urls: urls.map(|url| url.as_str().into()).collect(),
            digest: self.digest.as_str().into(),
            created: self.created,
        }
    }
}

/// A key as written, the field that it is, and the value.
type Field<'v> = (&'v str, Option<&'static str>, &'v Value);

/// The entries of a mapping in the order in which Go decodes them. Keys match fields in any case.
fn fields<'v>(
    value: &'v Value,
    known: &[&[&'static str]],
    wanted: &str,
    form: Form,
) -> Result<Vec<Field<'v>>, IndexError> {
    let map = match value {
        Value::Map(map) => map,
        Value::Null => return Ok(Vec::new()),
        other => {
            let kind = yaml::json_kind(other);
            let text = format!("cannot unmarshal {kind} into Go value of type {wanted}");
            return Err(in_form(YamlError::Decode(text), form));
        }
    };
    let field = |key: &str| {
        let known = || known.iter().copied().flatten().copied();
        let exact = known().find(|name| *name == key);
        exact.or_else(|| known().find(|name| name.eq_ignore_ascii_case(key)))
    };
    let mut found: Vec<Field<'v>> = map
        .iter()
        .map(|(key, value)| (key.as_str(), field(key), value))
        .collect();
    found.sort_unstable_by_key(|(key, ..)| *key);
    Ok(found)
}

/// The field, which in YAML has to be known.
fn known(
    name: &str,
    field: Option<&'static str>,
    form: Form,
) -> Result<Option<&'static str>, IndexError> {
    match field {
        None if form == Form::Yaml => {
            let text = format!("unknown field {}", go_text::quote(name));
            Err(YamlError::Decode(text).into())
        }
        field => Ok(field),
    }
}

/// Refuses what is lenient in Chart.yaml but not here: scalars as text, and in YAML unknown keys of nested structs.
fn check_metadata(
    field: &str,
    value: &Value,
    place: Place<'_>,
    form: Form,
) -> Result<(), IndexError> {
    match (field, value) {
        ("maintainers", Value::Seq(items)) => {
            let inner = Place {
                owner: "Maintainer",
                path: "entries.Metadata.maintainers",
            };
            check_structs(items, &["name", "email", "url"], inner, form)
        }
        ("dependencies", Value::Seq(items)) => {
            let inner = Place {
                owner: "Dependency",
                path: "entries.Metadata.dependencies",
            };
            check_structs(items, crate::Dependency::FIELDS, inner, form)
        }
        ("sources" | "keywords" | "tags", Value::Seq(items)) => {
            check_texts(items, field, place, form)
        }
        ("annotations", Value::Map(map)) => check_texts(map.values(), field, place, form),
        (
            "deprecated" | "maintainers" | "dependencies" | "sources" | "keywords" | "annotations",
            _,
        ) => Ok(()),
        _ => check_texts([value], field, place, form),
    }
}

/// Refuses what is not a text, or null.
fn check_texts<'v>(
    values: impl IntoIterator<Item = &'v Value>,
    field: &str,
    place: Place<'_>,
    form: Form,
) -> Result<(), IndexError> {
    let is_text = |value: &&Value| matches!(value, Value::String(_) | Value::Null);
    match values.into_iter().find(|value| !is_text(value)) {
        None => Ok(()),
        Some(other) => Err(in_form(place.mismatch(field, other, "string"), form)),
    }
}

/// Checks the fields of each struct of a list.
fn check_structs(
    items: &[Value],
    known_fields: &[&'static str],
    place: Place<'_>,
    form: Form,
) -> Result<(), IndexError> {
    for item in items.iter().filter(|item| matches!(item, Value::Map(_))) {
        for (name, field, value) in fields(item, &[known_fields], "", form)? {
            match (known(name, field, form)?, value) {
                (Some(field @ "tags"), Value::Seq(tags)) => check_texts(tags, field, place, form)?,
                (None | Some("enabled" | "import-values" | "tags"), _) => {}
                (Some(field), value) => check_texts([value], field, place, form)?,
            }
        }
    }
    Ok(())
}

fn text(
    into: &mut String,
    place: Place<'_>,
    field: &str,
    value: &Value,
    form: Form,
) -> Result<(), YamlError> {
    if form == Form::Json && !matches!(value, Value::String(_) | Value::Null) {
        return Err(place.mismatch(field, value, "string"));
    }
    decode::text(into, place, field, value)
}

fn time(into: &mut Time, value: &Value, form: Form) -> Result<(), IndexError> {
    const LAYOUT: &str = "2006-01-02T15:04:05Z07:00";
    let text = match value {
        Value::Null => return Ok(()),
        Value::String(text) => text,
        _ => {
            let problem = "Time.UnmarshalJSON: input is not a JSON string".to_owned();
            return Err(time_error(problem, form));
        }
    };
    let parsed = Time::parse(text).ok_or_else(|| {
        let problem = flux_golang::time::parse(LAYOUT.as_bytes(), text.as_bytes()).err();
        let problem = problem.map(|problem| problem.to_string());
        problem.unwrap_or_else(|| format!("parsing time {text:?} as {LAYOUT:?}: cannot parse it"))
    });
    *into = parsed.map_err(|problem| time_error(problem, form))?;
    Ok(())
}

fn time_error(problem: String, form: Form) -> IndexError {
    IndexError::Time(match form {
        Form::Json => problem,
        Form::Yaml => format!("error unmarshaling JSON: while decoding JSON: {problem}"),
    })
}

/// The error for `entries` that is no mapping.
pub(super) fn not_a_map(value: &Value, form: Form) -> IndexError {
    let kind = yaml::json_kind(value);
    let text = format!(
        "cannot unmarshal {kind} into Go struct field IndexFile.entries of type map[string]repo.ChartVersions"
    );
    in_form(YamlError::Decode(text), form)
}

/// The same error as `encoding/json` alone gives it.
fn in_form(error: YamlError, form: Form) -> IndexError {
    match (form, error) {
        (Form::Json, YamlError::Decode(text)) => IndexError::Json(text),
        (_, error) => error.into(),
    }
}
