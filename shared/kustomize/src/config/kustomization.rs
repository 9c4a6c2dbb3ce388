//! The kustomization file: decoding, fix-ups of deprecated fields, checks.

use std::collections::BTreeMap;
use std::rc::Rc;

use flux_yaml::{Map, Value};

use super::generators::{ConfigMapArgs, SecretArgs};
use super::{
    Decode, GeneratorArgs, GeneratorOptions, Image, Label, Mode, Object, Patch, Replacement,
    Replica, Var, decode,
};
use crate::error::Result;
use crate::meter::{Charge, Meter};
use crate::secrecy::{MASK, shown_url, unreadable};

/// A kustomization file after its fix-ups (KZ-FILE-013).
#[derive(Debug, Default)]
pub(crate) struct Kustomization {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) openapi: BTreeMap<String, String>,
    pub(crate) name_prefix: String,
    pub(crate) name_suffix: String,
    pub(crate) namespace: String,
    pub(crate) common_labels: BTreeMap<String, String>,
    pub(crate) labels: Vec<Label>,
    pub(crate) common_annotations: BTreeMap<String, String>,
    pub(crate) patches_strategic_merge: Vec<String>,
    pub(crate) patches_json6902: Vec<Patch>,
    pub(crate) patches: Vec<Patch>,
    pub(crate) images: Vec<Image>,
    pub(crate) replacements: Vec<Replacement>,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) vars: Vec<Var>,
    pub(crate) sort_options: Option<SortOptions>,
    pub(crate) resources: Vec<String>,
    pub(crate) components: Vec<String>,
    pub(crate) crds: Vec<String>,
    pub(crate) config_maps: Vec<GeneratorArgs>,
    pub(crate) secrets: Vec<GeneratorArgs>,
    pub(crate) helm_charts: Vec<Value>,
    helm_globals: Map,
    /// For messages.
    pub(crate) replacements_as_written: Value,
    pub(crate) generator_options: Option<GeneratorOptions>,
    pub(crate) configurations: Vec<String>,
    pub(crate) generators: Vec<String>,
    pub(crate) transformers: Vec<String>,
    pub(crate) validators: Vec<String>,
    pub(crate) build_metadata: Vec<String>,
    /// Warnings about deprecated fields in use (KZ-FILE-019).
    pub(crate) warnings: Vec<String>,
    /// Whether there is anything other than a type.
    has_content: bool,
}

const DEPRECATED: [(&str, &str, &str); 6] = [
    ("bases", "resources", ""),
    ("commonLabels", "labels", ""),
    ("imageTags", "images", ""),
    ("patchesJson6902", "patches", ""),
    ("patchesStrategicMerge", "patches", ""),
    ("vars", "replacements", "[EXPERIMENTAL] "),
];

/// Lists that the fix-ups move into others, so that they only count if they are not empty.
const MOVED: [&str; 3] = ["bases", "imageTags", "helmChartInflationGenerator"];

impl Kustomization {
    /// Decodes the text of a kustomization file, fixes it up and checks it (KZ-FILE rows). Returns it with the memory
    /// that it holds.
    pub(crate) fn parse(text: &[u8], root: &str, meter: &Rc<Meter>) -> Result<(Self, Charge)> {
        let (value, charge) = meter.read(text, |text, claim| {
            flux_yaml::sigs::yaml_to_json_within(text, claim)
        })?;
        let value = value
            .map_err(|error| format!("invalid Kustomization: {}", unreadable(&error, text)))?;
        let mut file: Self = decode(&value, Mode::KUSTOMIZATION)
            .map_err(|error| format!("invalid Kustomization: {error}"))?;
        file.has_content = has_content(&value);
        file.warn(&value);
        if file.kind.is_empty() {
            file.kind = "Kustomization".into();
        }
        let version = if file.is_component() {
            "kustomize.config.k8s.io/v1alpha1"
        } else {
            "kustomize.config.k8s.io/v1beta1"
        };
        if file.api_version.is_empty() {
            file.api_version = version.into();
        }
        if !file.has_content {
            return Err("kustomization.yaml is empty".into());
        }
        let mut errors = Vec::new();
        if !matches!(file.kind.as_str(), "Kustomization" | "Component") {
            errors.push("kind should be Kustomization or Component".to_owned());
        }
        if file.api_version != version {
            errors.push(format!("apiVersion for {} should be {version}", file.kind));
        }
        if errors.is_empty() {
            return Ok((file, charge));
        }
        Err(format!(
            "Failed to read kustomization file under {root}:\n{}",
            errors.join("\n")
        )
        .into())
    }

    /// The configuration of a chart's generator as shown in messages (KZ-HELM-003).
    pub(crate) fn helm_config(&self, chart: &Value, namespace: &str) -> Value {
        let mut map = self.helm_globals.clone();
        for (key, value) in chart.as_map().into_iter().flatten() {
            map.insert(key.clone(), value.clone());
        }
        // Values often contain passwords.
        if let Some(values) = map.get_mut("valuesInline") {
            *values = Value::from(MASK);
        }
        if let Some(repo) = map.get_mut("repo")
            && let Some(url) = repo.as_str()
        {
            *repo = Value::from(shown_url(url).as_str());
        }
        if !namespace.is_empty() && map.get("namespace").is_none() {
            map.insert("namespace".into(), Value::String(namespace.to_owned()));
        }
        Value::Map(map)
    }

    pub(crate) fn is_component(&self) -> bool {
        self.kind == "Component"
    }

    fn warn(&mut self, value: &Value) {
        for (field, instead, experimental) in DEPRECATED {
            let used = value.as_map().is_some_and(|map| {
                map.iter()
                    .any(|(key, value)| key.eq_ignore_ascii_case(field) && !value.is_null())
            });
            if used {
                self.warnings.push(format!(
                    "# Warning: '{field}' is deprecated. Please use '{instead}' instead. {experimental}Run 'kustomize \
                     edit fix' to update your Kustomization automatically."
                ));
            }
        }
    }
}

/// KZ-FILE-011: everything except null and empty text counts, even an empty list.
fn has_content(value: &Value) -> bool {
    value.as_map().into_iter().flatten().any(|(key, value)| {
        let is = |names: &[&str]| names.iter().any(|name| key.eq_ignore_ascii_case(name));
        match value {
            _ if is(&["apiVersion", "kind"]) => false,
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            Value::Seq(items) if is(&MOVED) => !items.is_empty(),
            _ => true,
        }
    })
}

impl Decode for Kustomization {
    const NAME: &'static str = "Kustomization";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        let texts =
            |object: &mut Object<'_>, field| object.texts(field).map(Option::unwrap_or_default);
        object.object::<Metadata>("metadata")?;
        let (helm_charts, helm_globals) = helm(object)?;
        // KZ-FILE-014, KZ-FILE-015
        let mut resources = texts(object, "resources")?;
        resources.extend(texts(object, "bases")?);
        let mut images: Vec<Image> = object.list("images")?.unwrap_or_default();
        images.extend(object.list("imageTags")?.unwrap_or_default());
        Ok(Self {
            api_version: object.inline_text("apiVersion")?,
            kind: object.inline_text("kind")?,
            openapi: object.text_map("openapi")?.unwrap_or_default(),
            name_prefix: object.text("namePrefix")?,
            name_suffix: object.text("nameSuffix")?,
            namespace: object.text("namespace")?,
            common_labels: object.text_map("commonLabels")?.unwrap_or_default(),
            labels: object.list("labels")?.unwrap_or_default(),
            common_annotations: object.text_map("commonAnnotations")?.unwrap_or_default(),
            patches_strategic_merge: texts(object, "patchesStrategicMerge")?,
            patches_json6902: object.list("patchesJson6902")?.unwrap_or_default(),
            patches: object.list("patches")?.unwrap_or_default(),
            images,
            replacements: object.list("replacements")?.unwrap_or_default(),
            replicas: object.list("replicas")?.unwrap_or_default(),
            vars: object.list("vars")?.unwrap_or_default(),
            sort_options: object.object("sortOptions")?,
            resources,
            components: texts(object, "components")?,
            crds: texts(object, "crds")?,
            config_maps: object
                .list::<ConfigMapArgs>("configMapGenerator")?
                .unwrap_or_default()
                .into_iter()
                .map(|args| args.0)
                .collect(),
            secrets: object
                .list::<SecretArgs>("secretGenerator")?
                .unwrap_or_default()
                .into_iter()
                .map(|args| args.0)
                .collect(),
            helm_charts,
            helm_globals,
            replacements_as_written: object.any("replacements").cloned().unwrap_or_default(),
            generator_options: object.object("generatorOptions")?,
            configurations: texts(object, "configurations")?,
            generators: texts(object, "generators")?,
            transformers: texts(object, "transformers")?,
            validators: texts(object, "validators")?,
            build_metadata: texts(object, "buildMetadata")?,
            warnings: Vec::new(),
            has_content: false,
        })
    }
}

/// The charts, with those of the older field converted, and their common settings (KZ-FILE-017).
fn helm(object: &mut Object<'_>) -> Result<(Vec<Value>, Map), String> {
    object.object::<HelmGlobals>("helmGlobals")?;
    let globals = object.any("helmGlobals").and_then(Value::as_map).cloned();
    let mut all = charts::<HelmChart>(object, "helmCharts")?;
    let mut older = Map::new();
    for chart in charts::<HelmChartArgs>(object, "helmChartInflationGenerator")? {
        all.push(renamed(&chart, &NEWER_CHART_FIELDS));
        if let Value::Map(found) = renamed(&chart, &NEWER_GLOBAL_FIELDS) {
            for (key, value) in &found {
                older.insert(key.clone(), value.clone());
            }
        }
    }
    Ok((all, globals.unwrap_or(older)))
}

const NEWER_CHART_FIELDS: [(&str, &str); 7] = [
    ("chartName", "name"),
    ("chartVersion", "version"),
    ("chartRepoUrl", "repo"),
    ("values", "valuesFile"),
    ("valuesLocal", "valuesInline"),
    ("valuesMerge", "valuesMerge"),
    ("releaseName", "releaseName"),
];

const NEWER_GLOBAL_FIELDS: [(&str, &str); 2] =
    [("chartHome", "chartHome"), ("helmHome", "configHome")];

/// The entries of a mapping that have a new name, under that name; empty texts count as absent.
fn renamed(value: &Value, names: &[(&str, &str)]) -> Value {
    let mut map = Map::new();
    for (old, new) in names {
        if let Some(value) = value.get(old)
            && !value.is_null()
            && value.as_str() != Some("")
        {
            map.insert((*new).to_owned(), value.clone());
        }
    }
    Value::Map(map)
}

/// Checks a list of charts, of which only the presence is used (KZ-HELM-001).
fn charts<T: Decode + Default>(object: &mut Object<'_>, field: &str) -> Result<Vec<Value>, String> {
    object.list::<T>(field)?;
    let charts = object
        .any(field)
        .and_then(Value::as_seq)
        .unwrap_or_default();
    Ok(charts.to_vec())
}

/// `sortOptions` (KZ-SORT-001, KZ-SORT-002).
#[derive(Clone, Debug, Default)]
pub(crate) struct SortOptions {
    pub(crate) order: String,
    pub(crate) legacy: Option<LegacySortOptions>,
}

impl Decode for SortOptions {
    const NAME: &'static str = "SortOptions";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        Ok(Self {
            order: object.text("order")?,
            legacy: object.object("legacySortOptions")?,
        })
    }
}

/// Kinds that come first and last.
#[derive(Clone, Debug, Default)]
pub(crate) struct LegacySortOptions {
    pub(crate) first: Vec<String>,
    pub(crate) last: Vec<String>,
}

impl Decode for LegacySortOptions {
    const NAME: &'static str = "LegacySortOptions";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        Ok(Self {
            first: object.texts("orderFirst")?.unwrap_or_default(),
            last: object.texts("orderLast")?.unwrap_or_default(),
        })
    }
}

/// KZ-FILE-012: accepted and without effect.
#[derive(Default)]
struct Metadata;

impl Decode for Metadata {
    const NAME: &'static str = "ObjectMeta";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        object.text("name")?;
        object.text("namespace")?;
        object.text_map("labels")?;
        object.text_map("annotations")?;
        Ok(Self)
    }
}

#[derive(Default)]
struct HelmGlobals;

impl Decode for HelmGlobals {
    const NAME: &'static str = "HelmGlobals";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        object.text("chartHome")?;
        object.text("configHome")?;
        Ok(Self)
    }
}

fn any_map(object: &mut Object<'_>, field: &str) -> Result<(), String> {
    match object.any(field) {
        None | Some(Value::Map(_)) => Ok(()),
        Some(_) => Err(format!(
            "json: cannot unmarshal into Go struct field {field} of type map[string]interface {{}}"
        )),
    }
}

/// KZ-HELM-002
#[derive(Default)]
struct HelmChart;

impl Decode for HelmChart {
    const NAME: &'static str = "HelmChart";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        for field in [
            "name",
            "version",
            "repo",
            "releaseName",
            "namespace",
            "valuesFile",
            "valuesMerge",
            "kubeVersion",
            "nameTemplate",
        ] {
            object.text(field)?;
        }
        for field in ["additionalValuesFiles", "apiVersions"] {
            object.texts(field)?;
        }
        for field in ["includeCRDs", "skipHooks", "skipTests", "debug", "devel"] {
            object.boolean(field)?;
        }
        any_map(object, "valuesInline")?;
        Ok(Self)
    }
}

/// KZ-FILE-017
#[derive(Default)]
struct HelmChartArgs;

impl Decode for HelmChartArgs {
    const NAME: &'static str = "HelmChartArgs";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        for field in [
            "chartName",
            "chartVersion",
            "chartRepoUrl",
            "chartHome",
            "chartRepoName",
            "helmBin",
            "helmHome",
            "values",
            "valuesMerge",
            "releaseName",
            "releaseNamespace",
        ] {
            object.text(field)?;
        }
        object.texts("extraArgs")?;
        any_map(object, "valuesLocal")?;
        Ok(Self)
    }
}
