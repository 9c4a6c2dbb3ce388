//! Fields that are excluded from drift detection and correction.

use flux_api::meta::{IgnoreRule, Selector};
use flux_cluster::{Metadata, Object};
use flux_golang::regexp::{self, Regex};
use flux_selector::{ParseError, Selector as LabelSelector};
use serde_json::{Map, Value};

use crate::drift::has_drifted;

/// An invalid rule.
#[derive(Debug, thiserror::Error)]
pub enum IgnoreError {
    /// A field of the target is not a regular expression.
    #[error("failed to create ignore rule selector: invalid {field} regex")]
    Regex {
        /// The field of the target.
        field: &'static str,
        /// Why it is invalid.
        #[source]
        source: regexp::Error,
    },
    /// A selector of the target is not a label selector.
    #[error("failed to create ignore rule selector: invalid {field} selector")]
    Selector {
        /// The field of the target.
        field: &'static str,
        /// Why it is invalid.
        #[source]
        source: ParseError,
    },
}

/// Compiled rules (RT-SSA-016).
#[derive(Debug, Default)]
pub struct IgnoreRules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    target: Option<Target>,
    paths: Vec<Pointer>,
}

/// The target of a rule; an absent field matches everything (KC-SSA-037).
#[derive(Debug, Default)]
struct Target {
    group: Option<Regex>,
    version: Option<Regex>,
    kind: Option<Regex>,
    name: Option<Regex>,
    namespace: Option<Regex>,
    labels: LabelSelector,
    annotations: LabelSelector,
}

impl IgnoreRules {
    /// Compiles the rules of an object's specification.
    ///
    /// # Errors
    ///
    /// At the first target that is invalid.
    pub fn compile(rules: &[IgnoreRule]) -> Result<Self, IgnoreError> {
        let compile = |rule: &IgnoreRule| {
            let target = rule.target.as_ref().map(Target::compile).transpose()?;
            Ok(Rule {
                target,
                paths: rule.paths.iter().map(|path| Pointer::parse(path)).collect(),
            })
        };
        rules
            .iter()
            .map(compile)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether an object differs from its dry run in a field that is not ignored (KC-SSA-040).
    pub fn has_drifted(&self, live: &Object, dry_run: &Object) -> bool {
        let ignored = self.paths_for(dry_run);
        if ignored.is_empty() {
            return has_drifted(live, dry_run);
        }
        let (mut live, mut dry_run) = (live.clone(), dry_run.clone());
        for path in ignored {
            path.remove(live.fields_mut());
            path.remove(dry_run.fields_mut());
        }
        has_drifted(&live, &dry_run)
    }

    /// Whether a rule ignores the whole object, by an empty path (HC-DRIFT-008).
    pub fn exclude(&self, object: &Object) -> bool {
        let mut paths = self.paths_for(object).into_iter();
        paths.any(Pointer::is_whole)
    }

    /// Removes from `part`, a state of `object`, the fields that are ignored for it.
    pub fn remove_ignored(&self, object: &Object, part: &mut Object) {
        for path in self.paths_for(object) {
            path.remove(part.fields_mut());
        }
    }

    /// How to write the ignored fields that differ (KC-SSA-041).
    pub fn resolve(&self, live: &Object, dry_run: &Object, owner: &str) -> Vec<Resolution> {
        if !live.exists() {
            return Vec::new(); // KC-SSA-043: a missing object is made whole
        }
        let others = applied_by_others(live, owner);
        let differing = self.paths_for(dry_run).into_iter();
        differing
            .filter_map(|path| {
                let (have, want) = (path.get(live.fields()), path.get(dry_run.fields()));
                if have == want {
                    return None;
                }
                let owned = path
                    .segments_in(live, &others)
                    .is_some_and(|keys| others.iter().any(|set| contains(set, &keys)));
                let value = if owned { None } else { have.cloned() };
                Some(Resolution {
                    path: path.clone(),
                    value,
                })
            })
            .collect()
    }

    /// The paths of every rule that targets the object (KC-SSA-038, KC-SSA-044).
    fn paths_for(&self, object: &Object) -> Vec<&Pointer> {
        let matching = self.0.iter().filter(|rule| {
            rule.target
                .as_ref()
                .is_none_or(|target| target.matches(object))
        });
        matching.flat_map(|rule| &rule.paths).collect()
    }
}

/// How an ignored field is written when its object is applied for another reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolution {
    path: Pointer,
    /// The live value to keep; `None` leaves the field to its other manager.
    value: Option<Value>,
}

impl Resolution {
    /// Applies the resolution to the object that is about to be applied.
    pub fn apply(&self, payload: &mut Object) {
        match &self.value {
            Some(value) => self.path.replace(payload.fields_mut(), value),
            None => self.path.remove(payload.fields_mut()),
        }
    }
}

impl Target {
    fn compile(selector: &Selector) -> Result<Self, IgnoreError> {
        let regex = |field, pattern: &Option<String>| match pattern.as_deref() {
            None | Some("") => Ok(None),
            Some(pattern) => Regex::compile(format!("^(?:{pattern})$").as_bytes())
                .map(Some)
                .map_err(|source| IgnoreError::Regex { field, source }),
        };
        let labels = |field, text: &Option<String>| {
            LabelSelector::parse(text.as_deref().unwrap_or_default())
                .map_err(|source| IgnoreError::Selector { field, source })
        };
        Ok(Self {
            group: regex("group", &selector.group)?,
            version: regex("version", &selector.version)?,
            kind: regex("kind", &selector.kind)?,
            name: regex("name", &selector.name)?,
            namespace: regex("namespace", &selector.namespace)?,
            labels: labels("label", &selector.label_selector)?,
            annotations: labels("annotation", &selector.annotation_selector)?,
        })
    }

    fn matches(&self, object: &Object) -> bool {
        let fits = |pattern: &Option<Regex>, text: &str| {
            pattern
                .as_ref()
                .is_none_or(|pattern| pattern.is_match(text))
        };
        let selects = |selector: &LabelSelector, metadata| {
            let values = object.metadata(metadata);
            selector.matches(|key| values?.get(key)?.as_str())
        };
        fits(&self.group, object.group())
            && fits(&self.version, object.version())
            && fits(&self.kind, object.kind())
            && fits(&self.name, object.name())
            && fits(&self.namespace, object.namespace())
            && selects(&self.labels, Metadata::Labels)
            && selects(&self.annotations, Metadata::Annotations)
    }
}

/// A JSON pointer (RFC 6901), KC-SSA-039.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pointer(Vec<String>);

impl Pointer {
    fn parse(text: &str) -> Self {
        let text = text.strip_prefix('/').unwrap_or(text);
        Self(
            text.split('/')
                .map(|segment| segment.replace("~1", "/").replace("~0", "~"))
                .collect(),
        )
    }

    /// Whether the text was empty, which points to the whole document.
    fn is_whole(&self) -> bool {
        matches!(self.0.as_slice(), [only] if only.is_empty())
    }

    fn get<'o>(&self, fields: &'o Map<String, Value>) -> Option<&'o Value> {
        let (first, rest) = self.0.split_first()?;
        rest.iter().try_fold(fields.get(first)?, child)
    }

    /// The value that contains the last segment, with that segment.
    fn holder<'o>(&self, fields: &'o mut Map<String, Value>) -> Option<(&'o mut Value, &str)> {
        let (last, path) = self.0.split_last()?;
        let (first, path) = path.split_first()?;
        let mut value = fields.get_mut(first)?;
        for segment in path {
            value = match value {
                Value::Object(map) => map.get_mut(segment)?,
                Value::Array(items) => items.get_mut(segment.parse::<usize>().ok()?)?,
                _ => return None,
            };
        }
        Some((value, last))
    }

    fn remove(&self, fields: &mut Map<String, Value>) {
        if let [only] = self.0.as_slice() {
            fields.remove(only);
            return;
        }
        match self.holder(fields) {
            Some((Value::Object(map), last)) => {
                map.remove(last);
            }
            Some((Value::Array(items), last)) => {
                if let Some(index) = last.parse().ok().filter(|index| *index < items.len()) {
                    items.remove(index);
                }
            }
            _ => {}
        }
    }

    fn replace(&self, fields: &mut Map<String, Value>, new: &Value) {
        if let [only] = self.0.as_slice() {
            fields.insert(only.clone(), new.clone());
            return;
        }
        match self.holder(fields) {
            Some((Value::Object(map), last)) => {
                map.insert(last.to_owned(), new.clone());
            }
            Some((Value::Array(items), last)) => {
                if let Some(item) = last
                    .parse::<usize>()
                    .ok()
                    .and_then(|index| items.get_mut(index))
                {
                    *item = new.clone();
                }
            }
            _ => {}
        }
    }

    /// The pointer as a path in a set of managed fields. An index becomes the key of that item in the set, found by
    /// comparing the item's fields with the keys (KC-SSA-042); `None` if no key matches.
    fn segments_in(&self, live: &Object, sets: &[&Map<String, Value>]) -> Option<Vec<String>> {
        let mut path: Vec<String> = Vec::new();
        let mut value = None;
        for segment in &self.0 {
            let below = match value {
                None => live.fields().get(segment),
                Some(value) => child(value, segment),
            };
            if segment.parse::<usize>().is_ok() && value.is_some_and(Value::is_array) {
                path.push(key_of_item(below?, sets, &path)?);
            } else {
                path.push(format!("f:{segment}"));
            }
            value = below;
            if value.is_none() {
                // The rest of the path names fields only.
                let named = self
                    .0
                    .iter()
                    .skip(path.len())
                    .map(|segment| format!("f:{segment}"));
                path.extend(named.collect::<Vec<_>>());
                break;
            }
        }
        Some(path)
    }
}

fn child<'v>(value: &'v Value, segment: &String) -> Option<&'v Value> {
    match value {
        Value::Object(map) => map.get(segment),
        Value::Array(items) => items.get(segment.parse::<usize>().ok()?),
        _ => None,
    }
}

/// The sets of fields of every other manager that used server-side apply.
fn applied_by_others<'o>(live: &'o Object, owner: &str) -> Vec<&'o Map<String, Value>> {
    let entries = live
        .at(&["metadata", "managedFields"])
        .and_then(Value::as_array);
    let is_other = |entry: &&Value| {
        entry["operation"] == "Apply"
            && entry["manager"] != owner
            && entry
                .get("subresource")
                .is_none_or(|subresource| subresource == "")
    };
    entries
        .into_iter()
        .flatten()
        .filter(is_other)
        .filter_map(|entry| entry["fieldsV1"].as_object())
        .collect()
}

fn walk<'s>(set: &'s Map<String, Value>, path: &[String]) -> Option<&'s Map<String, Value>> {
    path.iter()
        .try_fold(set, |node, key| node.get(key)?.as_object())
}

fn contains(set: &Map<String, Value>, path: &[String]) -> bool {
    path.split_last()
        .is_some_and(|(last, path)| walk(set, path).is_some_and(|node| node.contains_key(last)))
}

fn key_of_item(item: &Value, sets: &[&Map<String, Value>], path: &[String]) -> Option<String> {
    let keys = sets
        .iter()
        .filter_map(|set| walk(set, path))
        .flat_map(Map::keys);
    keys.filter_map(|key| {
        Some((
            key,
            serde_json::from_str::<Map<String, Value>>(key.strip_prefix("k:")?).ok()?,
        ))
    })
    .find(|(_, fields)| {
        fields
            .iter()
            .all(|(name, value)| item.get(name) == Some(value))
    })
    .map(|(key, _)| key.clone())
}

#[cfg(test)]
mod tests;
