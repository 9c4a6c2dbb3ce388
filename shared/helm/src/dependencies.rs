//! Decides which subcharts are enabled, under which names, and which values their parents import from them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use flux_chart::{Crd, Dependency, crds_of, subchart_path};
use flux_golang::strconv;
use flux_gotemplate::{Constants, Map, Value};
use flux_semver::{Constraints, Version};
use flux_yaml::Value as Data;

use crate::values::{
    Coalesce, TypeMismatch, ValueChart, Warnings, constants, deep_copy, path_value, table,
};
use crate::{Chart, Metadata};

/// The defaults of a chart and its subcharts in the form that renders share, converted on first use. The keys are the
/// addresses of the charts, which must outlive this.
#[derive(Default)]
pub(crate) struct Defaults(Mutex<HashMap<usize, Constants>>);

impl Defaults {
    fn of(&self, chart: &Chart) -> Constants {
        let Some(values) = &chart.values else {
            return Constants::default();
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let address = std::ptr::from_ref(chart) as usize;
        known
            .entry(address)
            .or_insert_with(|| constants(values))
            .clone()
    }

    /// Estimated bytes of memory of the defaults.
    pub(crate) fn size(&self) -> usize {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().map(Constants::size).sum()
    }
}

/// A chart whose dependencies are resolved for one set of values.
pub(crate) struct Resolved<'c> {
    pub(crate) chart: &'c Chart,
    /// The name or alias.
    pub(crate) name: String,
    /// The enabled dependencies of its metadata.
    pub(crate) requirements: Option<Vec<Dependency>>,
    /// Its defaults after values were imported; `None` if they are those of values.yaml.
    pub(crate) values: Option<Map>,
    defaults: Constants,
    /// The enabled subcharts.
    pub(crate) subcharts: Vec<Resolved<'c>>,
}

impl ValueChart for Resolved<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn default_values(&self) -> Map {
        match &self.values {
            Some(values) => deep_copy(values),
            None => Map::constant(self.defaults.clone()),
        }
    }

    fn subcharts(&self) -> &[Self] {
        &self.subcharts
    }
}

impl<'c> Resolved<'c> {
    /// Resolves the dependencies of `chart` for the user's values (HE-VAL-008).
    pub(crate) fn new(
        chart: &'c Chart,
        defaults: &Defaults,
        user: &Map,
        warnings: &Warnings,
    ) -> Result<Self, TypeMismatch> {
        let mut resolved = Self::whole(chart, defaults);
        resolved.choose(defaults, user, "", warnings)?;
        resolved.import(warnings)?;
        Ok(resolved)
    }

    /// The chart with all its subcharts and dependencies.
    fn whole(chart: &'c Chart, defaults: &Defaults) -> Self {
        let subcharts = chart.dependencies.iter();
        Self {
            chart,
            name: chart.name().to_owned(),
            requirements: chart.metadata.dependencies.clone(),
            values: None,
            defaults: defaults.of(chart),
            subcharts: subcharts
                .map(|chart| Self::whole(chart, defaults))
                .collect(),
        }
    }

    /// The defaults as Helm leaves them: with the imported values.
    pub(crate) fn final_values(&self) -> Option<Constants> {
        let own = || self.chart.values.as_ref().map(|_| self.defaults.clone());
        self.values.as_ref().map(Map::to_constants).or_else(own)
    }

    /// The metadata as Helm leaves it: with the name or alias, and the enabled dependencies (HE-VAL-015).
    pub(crate) fn metadata(&self) -> Metadata {
        let mut metadata = self.chart.metadata.clone();
        metadata.name.clone_from(&self.name);
        metadata.dependencies.clone_from(&self.requirements);
        metadata
    }

    /// The custom resource definitions of the enabled charts.
    pub(crate) fn crds(&self, path: &str, into: &mut Vec<Crd>) {
        crds_of(&self.chart.files, path, into);
        for subchart in &self.subcharts {
            subchart.crds(&subchart_path(path, &subchart.name), into);
        }
    }

    fn choose(
        &mut self,
        defaults: &Defaults,
        values: &Map,
        path: &str,
        warnings: &Warnings,
    ) -> Result<(), TypeMismatch> {
        let Some(mut requirements) = self.requirements.take() else {
            return Ok(());
        };
        self.name_subcharts(&mut requirements, defaults);
        let coalesced = Coalesce::deleting(warnings).chart(self, values)?;
        apply_tags(&mut requirements, &coalesced, warnings);
        apply_conditions(&mut requirements, &coalesced, path, warnings);
        let (enabled, disabled): (Vec<_>, Vec<_>) =
            requirements.into_iter().partition(|r| r.enabled);
        let removed = |name: &str| disabled.iter().any(|r| r.name == name);
        self.subcharts.retain(|subchart| !removed(&subchart.name));
        for subchart in &mut self.subcharts {
            let below = format!("{path}{}.", subchart.name);
            subchart.choose(defaults, &coalesced, &below, warnings)?;
        }
        let enabled: Vec<_> = enabled.into_iter().filter(|r| !removed(&r.name)).collect();
        // Helm's list becomes nil when nothing is left, and then nothing is imported.
        self.requirements = (!enabled.is_empty()).then_some(enabled);
        Ok(())
    }

    /// Orders the subcharts: first those without a dependency entry, then one for each entry, under its alias (HE-VAL-009,
    /// HE-VAL-010).
    fn name_subcharts(&mut self, requirements: &mut [Dependency], defaults: &Defaults) {
        let available: Vec<&Chart> = self
            .subcharts
            .iter()
            .map(|subchart| subchart.chart)
            .collect();
        let satisfies = |chart: &Chart, wanted: &Dependency| {
            chart.name() == wanted.name && in_range(&wanted.version, &chart.metadata.version)
        };
        let unlisted = available
            .iter()
            .filter(|chart| !requirements.iter().any(|wanted| satisfies(chart, wanted)));
        let mut chosen: Vec<Resolved<'c>> =
            unlisted.map(|chart| Self::whole(chart, defaults)).collect();
        for wanted in requirements {
            if let Some(chart) = available.iter().find(|chart| satisfies(chart, wanted)) {
                let mut subchart = Self::whole(chart, defaults);
                if !wanted.alias.is_empty() {
                    subchart.name.clone_from(&wanted.alias);
                }
                chosen.push(subchart);
            }
            if !wanted.alias.is_empty() {
                wanted.name.clone_from(&wanted.alias);
            }
            wanted.enabled = true;
        }
        self.subcharts = chosen;
    }

    /// Imports the values that the dependencies export into this chart's defaults (HE-VAL-014).
    fn import(&mut self, warnings: &Warnings) -> Result<(), TypeMismatch> {
        for subchart in &mut self.subcharts {
            subchart.import(warnings)?;
        }
        let Some(mut requirements) = self.requirements.take() else {
            return Ok(());
        };
        let merging = Coalesce::keeping(warnings);
        let values = merging.chart(self, &Map::new())?;
        let imported = Map::new();
        for requirement in &mut requirements {
            let mut normalized = Vec::new();
            for import in std::mem::take(&mut requirement.import_values) {
                let Some((child, parent)) = child_and_parent(&import) else {
                    continue;
                };
                let path = format!("{}.{child}", requirement.name);
                normalized.push(
                    [("child", child.as_str()), ("parent", parent.as_str())]
                        .into_iter()
                        .collect::<Data>(),
                );
                // Empty tables are skipped, so that no nulls are imported.
                let child = table(&values, &path).map(|child| match child.len() {
                    0 => Map::new(),
                    _ => child,
                });
                match child {
                    Some(child) => merging.tables(&imported, &nested(&parent, child), ""),
                    None => warnings.add(format!("ImportValues missing table {path}")),
                }
            }
            requirement.import_values = normalized;
        }
        self.values = Some(if imported.is_empty() {
            values
        } else {
            let own = deep_copy(&values);
            merging.tables(&own, &imported, "");
            own
        });
        self.requirements = Some(requirements);
        Ok(())
    }
}

/// Whether a version is in a range; false if either is invalid.
pub(crate) fn in_range(range: &str, version: &str) -> bool {
    match (Constraints::parse(range), Version::parse(version)) {
        (Ok(range), Ok(version)) => range.check(&version),
        _ => false,
    }
}

/// HE-VAL-011
fn apply_tags(requirements: &mut [Dependency], values: &Map, warnings: &Warnings) {
    let Some(tags) = table(values, "tags") else {
        return;
    };
    for requirement in requirements {
        let (mut on, mut off) = (false, false);
        for tag in &requirement.tags {
            match tags.get(tag.as_bytes()) {
                Some(Value::Bool(true)) => on = true,
                Some(Value::Bool(false)) => off = true,
                Some(_) => warnings.add(format!(
                    "returned non-bool value for tag {tag} of chart {}",
                    requirement.name
                )),
                None => {}
            }
        }
        requirement.enabled = on || !off;
    }
}

/// HE-VAL-012, HE-VAL-013
fn apply_conditions(
    requirements: &mut [Dependency],
    values: &Map,
    path: &str,
    warnings: &Warnings,
) {
    for requirement in requirements {
        let conditions = requirement.condition.trim().to_owned();
        for condition in conditions.split(',').filter(|c| !c.is_empty()) {
            match path_value(values, &format!("{path}{condition}")) {
                Some(Value::Bool(enabled)) => {
                    requirement.enabled = enabled;
                    break;
                }
                Some(_) => warnings.add(format!(
                    "returned non-bool value for path {condition} of chart {}",
                    requirement.name
                )),
                None => {}
            }
        }
    }
}

/// The path of the table to import and the path to import it to; accepts both forms of `import-values`.
fn child_and_parent(import: &Data) -> Option<(String, String)> {
    match import {
        Data::String(name) => Some((format!("exports.{name}"), ".".to_owned())),
        Data::Map(map) => Some((shown(map.get("child")), shown(map.get("parent")))),
        _ => None,
    }
}

/// Go's `%v`.
fn shown(value: Option<&Data>) -> String {
    match value {
        Some(Data::String(text)) => text.clone(),
        Some(Data::Bool(truth)) => truth.to_string(),
        Some(Data::Int(number)) => number.to_string(),
        Some(Data::Float(number)) => strconv::format_float(*number, b'g', None),
        _ => "<nil>".to_owned(),
    }
}

/// Wraps `table` in the tables of a dotted path.
fn nested(path: &str, table: Map) -> Map {
    if path == "." {
        return table;
    }
    path.rsplit('.').fold(table, |inner, key| {
        [(key, Value::from(inner))].into_iter().collect()
    })
}
