//! A chart parsed once for many renders.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use flux_gotemplate::{Error, Map, MissingKey, Parsed, Templates};

use super::files::FileObjects;
use super::{RenderError, RenderOptions, functions, render};
use crate::dependencies::{Defaults, Resolved};
use crate::rendered::Rendered;
use crate::schema::Schemas;
use crate::values::{TypeMismatch, Warnings, constants};
use crate::{Chart, Crd, File};

/// Number of cached template sets: the values decide which subcharts are enabled and under which names.
const MAX_SETS: usize = 4;

/// A chart for many renders: its templates and schemas are parsed on first use and cached.
///
/// Clones are cheap and share the cached data, also between threads: hold it in a cache by the chart's digest. Renders with
/// different values, releases and clusters are independent of each other.
///
/// ```
/// use flux_helm::{Chart, File, ParsedChart, RenderOptions, Values};
///
/// let chart = ParsedChart::new(Chart::from_files(vec![
///     File::new("Chart.yaml", "name: web\nversion: 1.0.0\n"),
///     File::new("templates/a.yaml", "kind: {{ .Values.kind }}\n"),
/// ])?);
/// for kind in ["Pod", "Job"] {
///     let values: Values = [("kind".to_owned(), kind.into())].into_iter().collect();
///     let rendered = chart.render(&values, &RenderOptions::new("rel", "apps"))?;
///     assert_eq!(rendered.manifests[0].head.kind, kind);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ParsedChart(Arc<Inner>);

pub(super) struct Inner {
    pub(super) chart: Chart,
    pub(super) kept: Kept,
}

impl ParsedChart {
    /// Takes a chart without parsing it.
    pub fn new(chart: Chart) -> Self {
        let kept = Kept::default();
        Self(Arc::new(Inner { chart, kept }))
    }

    /// The chart as it was loaded.
    pub fn chart(&self) -> &Chart {
        &self.0.chart
    }

    /// Renders the chart with the user's values, as [`render()`](crate::render()) does.
    pub fn render(
        &self,
        user: &flux_yaml::Map,
        options: &RenderOptions,
    ) -> Result<Rendered, RenderError> {
        render::again(Arc::clone(&self.0), user, options)
    }
}

impl ParsedChart {
    /// The files in the `crds` folders of the chart and of the subcharts that the user's values enable (HC-CRD-003).
    ///
    /// # Errors
    /// The values do not match the types of the subcharts' values.
    pub fn definitions(&self, user: &flux_yaml::Map) -> Result<Vec<Crd>, TypeMismatch> {
        let (warnings, user) = (Warnings::default(), Map::constant(constants(user)));
        let Inner { chart, kept } = &*self.0;
        let resolved = Resolved::new(chart, &kept.defaults, &user, &warnings)?;
        let mut definitions = Vec::new();
        resolved.crds(&resolved.name, &mut definitions);
        Ok(definitions)
    }

    /// Estimated bytes of memory of the chart and its parsed parts, for the limit of a cache. The size is stable after the
    /// first render, except if other values enable other subcharts; ask again after each render.
    pub fn size(&self) -> usize {
        self.0.chart.size() + self.0.kept.size()
    }
}

impl fmt::Debug for ParsedChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metadata = &self.chart().metadata;
        write!(f, "ParsedChart({} {})", metadata.name, metadata.version)
    }
}

/// The parsed parts of one chart. The keys are the addresses of file contents, so that it serves a single chart, which must
/// outlive it.
#[derive(Default)]
pub(super) struct Kept {
    files: Mutex<HashMap<Source, Parsed>>,
    sets: Mutex<Vec<(Vec<Source>, Templates)>>,
    pub(super) schemas: Schemas,
    pub(super) defaults: Defaults,
    pub(super) file_objects: FileObjects,
}

/// A file with its path in the render.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Source {
    path: String,
    address: usize,
}

impl Kept {
    /// All files parsed into one set, in order. An error comes with the path of its file.
    pub(super) fn set<'p>(
        &self,
        files: &[(&'p str, &File)],
    ) -> Result<Templates, (&'p str, Error)> {
        if let Some(set) = self.known_set(files) {
            return Ok(set);
        }
        let mut set = Templates::new("gotpl", functions::all()).with_missing_key(MissingKey::Zero);
        let mut sources = Vec::with_capacity(files.len());
        for (path, file) in files {
            let source = Source {
                path: (*path).to_owned(),
                address: address(file),
            };
            let parsed = self.file(&set, &source, file).map_err(|e| (*path, e))?;
            set.add(&parsed);
            sources.push(source);
        }
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        sets.truncate(MAX_SETS - 1);
        sets.insert(0, (sources, set.clone()));
        Ok(set)
    }

    fn size(&self) -> usize {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let parsed = files.iter().map(|(source, parsed)| {
            size_of::<(Source, Parsed)>() + source.path.len() + parsed.size()
        });
        let parsed: usize = parsed.sum();
        let sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        let sets = sets.iter().map(|(sources, set)| {
            let paths = sources
                .iter()
                .map(|source| size_of::<Source>() + source.path.len());
            paths.sum::<usize>() + set.size()
        });
        let sets: usize = sets.sum();
        parsed + sets + self.schemas.size() + self.defaults.size() + self.file_objects.size()
    }

    fn known_set(&self, files: &[(&str, &File)]) -> Option<Templates> {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        let at = sets.iter().position(|(sources, _)| {
            sources.len() == files.len()
                && sources.iter().zip(files).all(|(source, (path, file))| {
                    source.path == *path && source.address == address(file)
                })
        })?;
        sets.get_mut(..=at)?.rotate_right(1);
        sets.first().map(|(_, set)| set.clone())
    }

    fn file(&self, set: &Templates, source: &Source, file: &File) -> Result<Parsed, Error> {
        let lock = || self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(parsed) = lock().get(source) {
            return Ok(parsed.clone());
        }
        let parsed = set.read_shared(&source.path, &file.data)?;
        lock().insert(source.clone(), parsed.clone());
        Ok(parsed)
    }
}

fn address(file: &File) -> usize {
    std::ptr::from_ref(file) as usize
}
