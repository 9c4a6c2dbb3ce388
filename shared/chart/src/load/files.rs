//! Assembles a chart from its files.

use std::collections::BTreeMap;

use flux_golang::path;

use super::{LoadError, MAX_SUBCHART_DEPTH, archive};
use crate::chart::{Lock, Metadata};
use crate::values::load_values;
use crate::{Chart, File, yaml};

/// Sorts the files into the parts of a chart and loads its subcharts (HE-LOAD-010..019).
pub(super) fn chart(files: Vec<File>, depth: usize) -> Result<Chart, LoadError> {
    if depth > MAX_SUBCHART_DEPTH {
        return Err(LoadError::TooDeep);
    }
    let mut chart = Chart::default();
    let mut metadata = None;
    for file in files.iter().filter(|file| file.name == "Chart.yaml") {
        let metadata = metadata.get_or_insert_with(Metadata::default);
        read(file, "Chart.yaml", |value| metadata.decode(value))?;
        // Helm 2 allowed charts without an apiVersion.
        if metadata.api_version.is_empty() {
            "v1".clone_into(&mut metadata.api_version);
        }
        chart.mod_time = file.mod_time;
    }
    let mut subcharts: BTreeMap<String, Vec<File>> = BTreeMap::new();
    chart.raw.clone_from(&files);
    for file in files {
        match file.name.as_str() {
            "Chart.yaml" => {}
            "Chart.lock" => chart.lock = Some(lock(&file, "Chart.lock")?),
            "values.yaml" => {
                let values = load_values(&file.data).map_err(|source| LoadError::Yaml {
                    file: "values.yaml",
                    source: match source {
                        separator @ yaml::YamlError::Separator(_) => separator,
                        other => yaml::YamlError::Document(Box::new(other)),
                    },
                })?;
                chart.values = Some(values);
            }
            "values.schema.json" => {
                chart.schema = Some(file.data);
                chart.schema_mod_time = file.mod_time;
            }
            "requirements.yaml" => {
                let metadata = metadata.get_or_insert_with(Metadata::default);
                read(&file, "requirements.yaml", |value| metadata.decode(value))?;
                if metadata.api_version == "v1" {
                    chart.files.push(file);
                }
            }
            "requirements.lock" => {
                chart.lock = Some(lock(&file, "requirements.lock")?);
                if metadata.get_or_insert_with(Metadata::default).api_version == "v1" {
                    chart.files.push(file);
                }
            }
            name if name.starts_with("templates/") => chart.templates.push(file),
            name if name.starts_with("charts/") && path::ext(name) != ".prov" => {
                let below = name.trim_start_matches("charts/").to_owned();
                let top = below.split('/').next().unwrap_or_default().to_owned();
                let file = File {
                    name: below,
                    ..file
                };
                subcharts.entry(top).or_default().push(file);
            }
            _ => chart.files.push(file),
        }
    }
    let mut metadata = metadata.ok_or(LoadError::MissingChartYaml)?;
    metadata.validate().map_err(LoadError::Invalid)?;
    chart.metadata = metadata;
    for (name, files) in subcharts {
        if name.starts_with(['_', '.']) {
            continue;
        }
        let subchart = subchart(&chart, &name, files, depth)?;
        chart.dependencies.push(subchart);
    }
    Ok(chart)
}

fn subchart(
    parent: &Chart,
    name: &str,
    files: Vec<File>,
    depth: usize,
) -> Result<Chart, LoadError> {
    let loaded = if path::ext(name) == ".tgz" {
        let got = files.first().map_or("", |file| file.name.as_str());
        if got != name {
            return Err(LoadError::SubchartPath {
                chart: parent.name().to_owned(),
                expected: name.to_owned(),
                got: got.to_owned(),
            });
        }
        let data = files
            .first()
            .map(|file| file.data.clone())
            .unwrap_or_default();
        archive::files(&data).and_then(|files| chart(files, depth + 1))
    } else {
        // Files directly in charts/ are not charts.
        let files = files.into_iter().filter_map(|file| {
            let (_, below) = file.name.split_once('/')?;
            let name = below.to_owned();
            Some(File { name, ..file })
        });
        chart(files.collect(), depth + 1)
    };
    loaded.map_err(|source| LoadError::Subchart {
        name: name.to_owned(),
        chart: parent.name().to_owned(),
        source: Box::new(source),
    })
}

fn lock(file: &File, name: &'static str) -> Result<Lock, LoadError> {
    let mut lock = Lock::default();
    read(file, name, |value| lock.decode(value))?;
    Ok(lock)
}

fn read(
    file: &File,
    name: &'static str,
    decode: impl FnOnce(&flux_yaml::Value) -> Result<(), yaml::YamlError>,
) -> Result<(), LoadError> {
    yaml::value_as_written(&file.data)
        .and_then(|value| decode(&value))
        .map_err(|source| LoadError::Yaml { file: name, source })
}
