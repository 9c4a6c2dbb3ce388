//! Renders a chart: from the user's values to sorted manifests.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use flux_budget::Claim;
use flux_chart::subchart_path;
use flux_golang::path;
use flux_gotemplate::{Constants, Environment, Limits, Map, Nothing, Session, Str, Value};
use flux_jsonschema::Remotes;

use super::functions::Host;
use super::parsed::{Inner, Kept};
use super::{Capabilities, Lookup, Offline, errors, functions, objects};
use crate::dependencies::{Resolved, in_range};
use crate::manifest::{self, sort_owned};
use crate::post_render::{self, PostRenderError, PostRenderStrategy, PostRenderer, post_render};
use crate::rendered::Rendered;
use crate::schema::{Refusal, SchemaError};
use crate::values::{Coalesce, TypeMismatch, Warnings, constants, table};
use crate::{Chart, File, KindOrder, ManifestError};

const NOTES: &str = "NOTES.txt";

/// The inputs of a render besides the chart and the values.
#[derive(Clone)]
pub struct RenderOptions {
    /// `.Release.Name`
    pub release: String,
    /// `.Release.Namespace`
    pub namespace: String,
    /// `.Release.Revision`
    pub revision: i64,
    /// Whether `.Release.IsUpgrade` is true instead of `.Release.IsInstall`.
    pub is_upgrade: bool,
    /// `.Capabilities`
    pub capabilities: Capabilities,
    /// Whether to skip the validation against schemas.
    pub skip_schema_validation: bool,
    /// The fetched documents that [`RenderError::Needs`] asked for.
    pub remotes: Remotes,
    /// Access to the cluster for `lookup`.
    pub lookup: Arc<dyn Lookup + Send + Sync>,
    /// Time and randomness for the functions that need them.
    pub environment: Arc<dyn Environment + Send + Sync>,
    /// Whether `getHostByName` looks up names, with the environment's resolver (HC-PROC-033).
    pub enable_dns: bool,
    /// The post-renderer, if any (HE-MAN-014).
    pub post_renderer: Option<Arc<dyn PostRenderer + Send + Sync>>,
    /// Which rendered files are passed to the post-renderer.
    pub post_render_strategy: PostRenderStrategy,
    /// Limits on the execution of templates.
    pub limits: Limits,
    /// What the memory of what templates make and write is taken through, besides the limits. It holds what was written, until
    /// it is dropped.
    pub memory: Option<Arc<Claim>>,
}

impl RenderOptions {
    /// An installation without a cluster, time or randomness.
    pub fn new(release: impl Into<String>, namespace: impl Into<String>) -> Self {
        Self {
            release: release.into(),
            namespace: namespace.into(),
            revision: 1,
            is_upgrade: false,
            capabilities: Capabilities::default(),
            skip_schema_validation: false,
            remotes: Remotes::default(),
            lookup: Arc::new(Offline),
            environment: Arc::new(Nothing),
            enable_dns: false,
            post_renderer: None,
            post_render_strategy: PostRenderStrategy::default(),
            limits: Limits {
                // Runaway templates end after a second or two. The public charts that were measured take 26 thousand steps
                // at most.
                steps: 10_000_000,
                // These write 5 MB and make 11 MB at most.
                output: 64 << 20,
                allocation: 256 << 20,
                stack: STACK_BYTES,
                ..Limits::default()
            },
            memory: None,
        }
    }
}

/// Why a chart cannot be rendered. Printed with its sources, joined by `: `, the text is Helm's.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The values do not match the types of the subcharts' values.
    #[error("chart dependencies processing failed")]
    Dependencies(#[source] TypeMismatch),
    /// The values do not match the types of the subcharts' values.
    #[error(transparent)]
    Values(TypeMismatch),
    /// The charts' schemas refer to remote documents at these addresses (`http` or `https`). Fetch them, pass them as
    /// [`RenderOptions::remotes`] together with all documents of earlier requests, and render the chart again.
    #[error("the charts' schemas refer to documents that were not fetched: {}", .0.join(", "))]
    Needs(Vec<String>),
    /// The values violate a schema, or a schema is invalid.
    #[error(
        "values don't meet the specifications of the schema(s) in the following chart(s):\n{0}"
    )]
    Schema(SchemaError),
    /// The chart requires another version of Kubernetes (HE-OBJ-016).
    #[error("chart requires kubeVersion: {wanted} which is incompatible with Kubernetes {found}")]
    KubeVersion {
        /// The range in Chart.yaml.
        wanted: String,
        /// The cluster's version.
        found: String,
    },
    /// A template cannot be parsed or executed; the text names the position.
    #[error("{text}")]
    Template {
        /// Helm's text.
        text: String,
        /// Whether one of the limits was exceeded.
        limit: bool,
    },
    /// The system could not create a thread.
    #[error("rendering cannot start")]
    Thread(#[source] std::io::Error),
    /// A rendered file is not YAML.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The post-renderer failed, or its input or output is not YAML.
    #[error(transparent)]
    PostRender(#[from] PostRenderError),
}

impl RenderError {
    /// Whether Helm would have a release to show for debugging when this error occurs.
    pub const fn is_late(&self) -> bool {
        matches!(
            self,
            Self::KubeVersion { .. }
                | Self::Template { .. }
                | Self::Manifest(_)
                | Self::PostRender(_)
        )
    }
}

/// The stack for templates; `include` may recurse a thousand times.
const STACK_BYTES: usize = 512 << 20;

/// Renders `chart` with the user's values, on a thread of its own with a stack for deeply nested templates.
pub fn render(
    chart: &Chart,
    user: &flux_yaml::Map,
    options: &RenderOptions,
) -> Result<Rendered, RenderError> {
    let (kept, user) = (Kept::default(), constants(user));
    flux_gotemplate::with_stack(STACK_BYTES, || render_here(chart, &kept, user, options))
        .map_err(RenderError::Thread)?
}

/// Renders a cached chart.
pub(super) fn again(
    kept: Arc<Inner>,
    user: &flux_yaml::Map,
    options: &RenderOptions,
) -> Result<Rendered, RenderError> {
    let (user, options) = (constants(user), options.clone());
    let render = move || render_here(&kept.chart, &kept.kept, user, &options);
    flux_gotemplate::on_kept_stack(STACK_BYTES, render).map_err(RenderError::Thread)?
}

fn render_here(
    chart: &Chart,
    kept: &Kept,
    user: Constants,
    options: &RenderOptions,
) -> Result<Rendered, RenderError> {
    let warnings = Warnings::default();
    let user = Map::constant(user);
    let resolved = Resolved::new(chart, &kept.defaults, &user, &warnings).map_err(|mismatch| {
        // Only an installation includes its position (HE-ACT-005).
        if options.is_upgrade {
            RenderError::Values(mismatch)
        } else {
            RenderError::Dependencies(mismatch)
        }
    })?;
    let values = Coalesce::deleting(&warnings)
        .chart(&resolved, &user)
        .map_err(RenderError::Values)?;
    if !options.skip_schema_validation {
        kept.schemas
            .validate(&resolved, &values, &options.remotes)
            .map_err(|refusal| match refusal {
                Refusal::Needs(addresses) => RenderError::Needs(addresses),
                Refusal::Schema(error) => RenderError::Schema(error),
            })?;
    }
    check_kube_version(&resolved, &options.capabilities)?;
    let (mut files, mut raw) = execute(&resolved, kept, &values, options)?;
    let notes = take_notes(&mut files, &resolved.name);
    raw.retain(|path, _| files.contains_key(path));
    if !raw.is_empty() {
        refuse_raw(&files, &raw, options)?;
    }
    if let Some(renderer) = &options.post_renderer {
        files = post_render(&files, options.post_render_strategy, &**renderer)?;
    }
    let sorted = sort_owned(files, KindOrder::Install)?;
    let mut crds = Vec::new();
    resolved.crds(&resolved.name, &mut crds);
    Ok(Rendered {
        hooks: sorted.hooks,
        manifests: sorted.manifests,
        notes,
        crds,
        metadata: resolved.metadata(),
        values: resolved.final_values(),
        warnings: warnings.into_vec(),
    })
}

fn check_kube_version(
    chart: &Resolved<'_>,
    capabilities: &Capabilities,
) -> Result<(), RenderError> {
    let wanted = &chart.chart.metadata.kube_version;
    let version = &capabilities.kube_version;
    if wanted.is_empty() || in_range(wanted, version.comparable()) {
        return Ok(());
    }
    Err(RenderError::KubeVersion {
        wanted: wanted.clone(),
        found: version.version.clone(),
    })
}

/// Refuses text that is not UTF-8, since it is not YAML (HE-MAN-006).
fn refuse_raw(files: &Files, raw: &Raw, options: &RenderOptions) -> Result<(), RenderError> {
    let fault = if options.post_renderer.is_some() {
        let fault = post_render::first_fault(files, raw, options.post_render_strategy);
        fault.map(RenderError::PostRender)
    } else {
        manifest::first_fault(files, raw).map(RenderError::Manifest)
    };
    fault.map_or(Ok(()), Err)
}

/// Rendered files by path.
type Files = BTreeMap<String, String>;
/// The bytes of files that are not UTF-8.
type Raw = BTreeMap<String, Vec<u8>>;

/// Removes all notes and returns those of the root chart (HE-MAN-001).
fn take_notes(files: &mut Files, chart: &str) -> String {
    let own = format!("{chart}/templates/{NOTES}");
    let mut notes = String::new();
    files.retain(|path, text| {
        if *path == own {
            notes = std::mem::take(text);
        }
        !path.ends_with(NOTES)
    });
    notes
}

/// A file to parse and possibly render.
struct Template<'c> {
    file: &'c File,
    /// The root object of its chart.
    root: Map,
    base_path: String,
}

/// Parses and renders the templates of a chart and its subcharts (HE-ENG-001..006).
fn execute(
    chart: &Resolved<'_>,
    kept: &Kept,
    values: &Map,
    options: &RenderOptions,
) -> Result<(Files, Raw), RenderError> {
    let mut templates = BTreeMap::new();
    let shared = shared_objects(values, options);
    collect(chart, kept, &chart.name, &shared, true, &mut templates);
    let mut paths: Vec<&String> = templates.keys().collect();
    // The deepest first, so that a parent's definitions replace those of its subcharts; at equal depth in reverse order.
    paths.sort_by_cached_key(|path| (Reverse(depth(path)), Reverse(*path)));

    let sources: Vec<_> = paths
        .iter()
        .filter_map(|path| Some((path.as_str(), templates.get(*path)?.file)))
        .collect();
    let set = kept
        .set(&sources)
        .map_err(|(path, e)| failure(&e, errors::parse_error(path, &e.to_string())))?;
    let mut session = Session::new(Shared(Arc::clone(&options.environment)), options.limits)
        .with_memory(options.memory.clone())
        .with_host(Host {
            lookup: Arc::clone(&options.lookup),
            including: RefCell::new(HashMap::new()),
            dns: options.enable_dns,
        });
    let (mut rendered, mut raw) = (Files::new(), Raw::new());
    for path in paths {
        let Some(template) = templates.get(path) else {
            continue;
        };
        if path::base(path.as_str()).starts_with('_') {
            continue;
        }
        let about: Map = [("Name", path.as_str()), ("BasePath", &template.base_path)]
            .into_iter()
            .collect();
        let _ = template
            .root
            .insert("Template", about.with_type(&objects::VALUES));
        let root = template.root.clone().with_type(&objects::VALUES);
        let text = set
            .execute(&mut session, path, root.into())
            .map_err(|e| failure(&e, errors::execution_error(path, &e.to_string())))?;
        let text = String::from_utf8(functions::without_no_value(text));
        let mut text = text.unwrap_or_else(|error| {
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            raw.insert(path.clone(), error.into_bytes());
            text
        });
        // The texts are a large part of the memory of a render.
        text.shrink_to_fit();
        rendered.insert(path.clone(), text);
    }
    Ok((rendered, raw))
}

fn failure(error: &flux_gotemplate::Error, text: String) -> RenderError {
    RenderError::Template {
        text,
        limit: error.is_limit(),
    }
}

fn depth(path: &str) -> usize {
    path.bytes().filter(|b| *b == b'/').count()
}

/// The objects that all charts of a render share, and the root chart's values.
fn shared_objects(values: &Map, options: &RenderOptions) -> Map {
    let release: Map = [
        ("Name", Value::from(options.release.as_str())),
        ("Namespace", Value::from(options.namespace.as_str())),
        ("IsUpgrade", Value::from(options.is_upgrade)),
        ("IsInstall", Value::from(!options.is_upgrade)),
        ("Revision", Value::from(options.revision)),
        ("Service", Value::from("Helm")),
    ]
    .into_iter()
    .collect();
    [
        ("Release", Value::from(release)),
        ("Capabilities", objects::capabilities(&options.capabilities)),
        ("Values", values.clone().with_type(&objects::VALUES).into()),
    ]
    .into_iter()
    .collect()
}

/// Creates the root object of a chart, then those of its subcharts, and lists their templates (HE-OBJ-001, HE-OBJ-013,
/// HE-OBJ-014).
fn collect<'c>(
    chart: &Resolved<'c>,
    kept: &Kept,
    path: &str,
    above: &Map,
    is_root: bool,
    into: &mut BTreeMap<String, Template<'c>>,
) -> Map {
    let values = if is_root {
        above.get(b"Values")
    } else {
        table(above, &format!("Values.{}", chart.name))
            .map(|values| values.with_type(&objects::VALUES).into())
    };
    let subcharts = Map::new();
    let requirements = chart.requirements.as_deref().unwrap_or_default();
    let root: Map = [
        (
            "Chart",
            objects::chart(&chart.chart.metadata, &chart.name, requirements, is_root).into(),
        ),
        ("Files", kept.file_objects.of(chart.chart)),
        ("Release", above.get(b"Release").unwrap_or_default()),
        (
            "Capabilities",
            above.get(b"Capabilities").unwrap_or_default(),
        ),
        (
            "Values",
            values.unwrap_or_else(|| Map::new().with_type(&objects::VALUES).into()),
        ),
        ("Subcharts", subcharts.clone().into()),
    ]
    .into_iter()
    .collect();
    for subchart in &chart.subcharts {
        let below = collect(
            subchart,
            kept,
            &subchart_path(path, &subchart.name),
            &root,
            false,
            into,
        );
        let _ = subcharts.insert(Str::from(subchart.name.as_str()), below);
    }
    let base_path = path::join(path, "templates");
    for file in &chart.chart.templates {
        if chart.chart.is_library() && !path::base(file.name.as_str()).starts_with('_') {
            continue;
        }
        let template = Template {
            file,
            root: root.clone(),
            base_path: base_path.clone(),
        };
        into.insert(path::join(path, file.name.as_str()), template);
    }
    root
}

/// The caller's environment, borrowed by a session.
struct Shared(Arc<dyn Environment + Send + Sync>);

impl Environment for Shared {
    fn now(&self) -> flux_gotemplate::Time {
        self.0.now()
    }

    fn random(&self, buffer: &mut [u8]) -> Result<(), flux_gotemplate::CallError> {
        self.0.random(buffer)
    }

    fn resolve(&self, host: &str) -> Result<Vec<String>, flux_gotemplate::CallError> {
        self.0.resolve(host)
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.0.variable(name)
    }
}
