//! Merges the values of a user, a chart and its subcharts.
//!
//! The maps are shared during the merge, as Go's are: parts of `global` become the same table in a chart and its subcharts,
//! so that a merge into one is visible in the other, as are changes that templates make.

use std::cell::RefCell;

use flux_golang::strconv;
use flux_gotemplate::{Map, Str, Value};

use super::deep_copy;

const GLOBAL: &str = "global";

/// Warnings that Helm would log.
#[derive(Debug, Default)]
pub(crate) struct Warnings(RefCell<Vec<String>>);

impl Warnings {
    pub(crate) fn add(&self, text: String) {
        self.0.borrow_mut().push(text);
    }

    pub(crate) fn into_vec(self) -> Vec<String> {
        self.0.into_inner()
    }
}

/// The parts of a chart that the merge needs.
pub(crate) trait ValueChart: Sized {
    /// Its name or alias.
    fn name(&self) -> &str;
    /// A copy of its defaults.
    fn default_values(&self) -> Map;
    /// Its subcharts.
    fn subcharts(&self) -> &[Self];
}

/// A subchart's value in the values is not a table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("type mismatch on {name}: {value}")]
pub struct TypeMismatch {
    /// The subchart.
    pub name: String,
    /// The value in the format of Go's `%t`.
    pub value: String,
}

/// A merge, with its treatment of nulls.
#[derive(Clone, Copy)]
pub(crate) struct Coalesce<'w> {
    /// Whether nulls in the overriding values are kept (merging) or delete the key (coalescing).
    keep_nulls: bool,
    warnings: &'w Warnings,
}

impl<'w> Coalesce<'w> {
    /// For the values of a render: a null deletes a default (HE-VAL-002, HE-VAL-003).
    pub(crate) const fn deleting(warnings: &'w Warnings) -> Self {
        Self {
            keep_nulls: false,
            warnings,
        }
    }

    /// For the steps before a render: a null is kept (HE-VAL-014).
    pub(crate) const fn keeping(warnings: &'w Warnings) -> Self {
        Self {
            keep_nulls: true,
            warnings,
        }
    }

    /// The defaults of `chart` and its subcharts, overridden by the values of `user` (HE-VAL-001..007).
    pub(crate) fn chart<C: ValueChart>(&self, chart: &C, user: &Map) -> Result<Map, TypeMismatch> {
        let values = deep_copy(user);
        self.into(chart, &values, "")?;
        Ok(values)
    }

    fn into<C: ValueChart>(
        &self,
        chart: &C,
        values: &Map,
        prefix: &str,
    ) -> Result<(), TypeMismatch> {
        self.defaults(chart, values, prefix);
        let prefix = joined(prefix, chart.name());
        for subchart in chart.subcharts() {
            let table = match values.get(subchart.name().as_bytes()) {
                None => {
                    let table = Map::new();
                    let _ = values.insert(subchart.name(), table.clone());
                    table
                }
                Some(Value::Map(table)) => table,
                Some(other) => {
                    return Err(TypeMismatch {
                        name: subchart.name().to_owned(),
                        value: as_truth_verb(&other),
                    });
                }
            };
            self.globals(&table, values, &prefix);
            self.into(subchart, &table, &prefix)?;
        }
        Ok(())
    }

    /// Adds the chart's defaults for keys that `values` lacks.
    fn defaults<C: ValueChart>(&self, chart: &C, values: &Map, prefix: &str) {
        let prefix = joined(prefix, chart.name());
        for (key, default) in chart.default_values().entries() {
            match (values.get(&key), default) {
                (Some(Value::Nil), _) if !self.keep_nulls => drop(values.remove(&key)),
                (Some(Value::Map(table)), Value::Map(defaults)) => {
                    // A subchart's part is merged with that chart's defaults, too, and needs its nulls for that.
                    let key_text = key.to_text();
                    let of_subchart = chart.subcharts().iter().any(|sub| sub.name() == key_text);
                    let inner = Self {
                        keep_nulls: self.keep_nulls || of_subchart,
                        ..*self
                    };
                    if !inner.keep_nulls {
                        remove_nulls(&defaults);
                    }
                    inner.tables(&table, &defaults, &joined(&prefix, &key_text));
                }
                (Some(Value::Map(_)), Value::Nil) => {}
                (Some(Value::Map(_)), _) => {
                    let key = key.to_text();
                    self.warnings.add(format!(
                        "warning: skipped value for {prefix}.{key}: Not a table."
                    ));
                }
                (Some(_), _) => {}
                (None, Value::Nil) if !self.keep_nulls => {}
                (None, default) => {
                    if let Value::Map(table) = &default
                        && !self.keep_nulls
                    {
                        remove_nulls(table);
                    }
                    let _ = values.insert(key, default);
                }
            }
        }
    }

    /// Adds the keys of `source` that `target` lacks, recursively.
    pub(crate) fn tables(&self, target: &Map, source: &Map, prefix: &str) {
        // A nil in the target becomes nil in the source, too; the source's value is only remembered as present.
        let nils: Vec<_> = nil_keys(target);
        let defined = |key: &Str| !matches!(source.get(key), None | Some(Value::Nil));
        let defined: Vec<_> = nils.iter().filter(|key| defined(key)).cloned().collect();
        for key in nils {
            let _ = source.insert(key, Value::Nil);
        }
        for (key, value) in source.entries() {
            let full = || joined(prefix, &key.to_text());
            match (target.get(&key), &value) {
                (Some(Value::Nil), _) if !self.keep_nulls && defined.contains(&key) => {
                    target.remove(&key);
                }
                (None, _) => drop(target.insert(key, value)),
                (Some(Value::Map(inner)), Value::Map(below)) => self.tables(&inner, below, &full()),
                (Some(_), Value::Map(_)) => self.warnings.add(format!(
                    "warning: cannot overwrite table with non table for {}",
                    full()
                )),
                (Some(Value::Map(_)), Value::Nil) => {}
                (Some(Value::Map(_)), _) => self.warnings.add(format!(
                    "warning: destination for {} is a table. Ignoring non-table value",
                    full()
                )),
                (Some(_), _) => {}
            }
        }
    }

    /// Copies the globals of `values` down into `table` (HE-VAL-006).
    fn globals(&self, table: &Map, values: &Map, prefix: &str) {
        let global_of = |map: &Map, side: &str| match map.get(GLOBAL.as_bytes()) {
            None => Some(Map::new()),
            Some(Value::Map(global)) => Some(global),
            Some(_) => {
                self.warnings.add(format!(
                    "warning: skipping globals because {side} global is not a table."
                ));
                None
            }
        };
        let Some(target) = global_of(table, "destination") else {
            return;
        };
        let Some(source) = global_of(values, "source") else {
            return;
        };
        for (key, value) in source.entries() {
            match (&value, target.get(&key)) {
                (Value::Map(above), None) => drop(target.insert(key, shallow_copy(above))),
                (Value::Map(above), Some(Value::Map(own))) => {
                    // The parent's values override the subchart's. Only the outermost table is copied.
                    let copy = shallow_copy(above);
                    let merging = Self {
                        keep_nulls: true,
                        ..*self
                    };
                    merging.tables(&copy, &own, &joined(prefix, &key.to_text()));
                    let _ = target.insert(key, copy);
                }
                (Value::Map(_), Some(_)) => self.warnings.add(format!(
                    "Conflict: cannot merge map onto non-map for \"{}\". Skipping.",
                    key.to_text()
                )),
                (_, Some(Value::Map(_))) => {
                    self.warnings
                        .add(format!("key {} is table. Skipping", key.to_text()));
                }
                (_, _) => drop(target.insert(key, value)),
            }
        }
        let _ = table.insert(GLOBAL, target);
    }
}

/// The keys of the map whose values are nil; nested maps are not searched.
fn nil_keys(map: &Map) -> Vec<Str> {
    if map.as_constants().is_some_and(|known| !known.has_nil()) {
        return Vec::new();
    }
    map.read(|entries| {
        let nils = entries
            .iter()
            .filter(|(_, value)| matches!(value, Value::Nil));
        nils.map(|(key, _)| key.clone()).collect()
    })
}

fn shallow_copy(map: &Map) -> Map {
    map.entries().into_iter().collect()
}

/// Removes nulls at every depth, but not inside lists.
pub(crate) fn remove_nulls(map: &Map) {
    if map.as_constants().is_some_and(|known| !known.has_nil()) {
        return;
    }
    for (key, value) in map.entries() {
        match value {
            Value::Nil => drop(map.remove(&key)),
            Value::Map(inner) => remove_nulls(&inner),
            _ => {}
        }
    }
}

fn joined(prefix: &str, name: &str) -> String {
    if prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{prefix}.{name}")
    }
}

/// The format of Go's `%t` for a value that is not a table, as in Helm's message.
fn as_truth_verb(value: &Value) -> String {
    let text = match value {
        Value::Nil => return "%!t(<nil>)".to_owned(),
        Value::Bool(truth) => return truth.to_string(),
        Value::Float(number) => strconv::format_float(*number, b'g', None),
        Value::Int(_, number) => number.to_string(),
        Value::Str(text) => text.to_text().into_owned(),
        Value::List(list) => {
            let items: Vec<_> = list.items().iter().map(as_truth_verb).collect();
            return format!("[{}]", items.join(" "));
        }
        _ => String::new(),
    };
    format!("%!t({}={text})", value.type_name())
}
