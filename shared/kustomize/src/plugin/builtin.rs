//! The built-in plugins, configured by a kustomization's fields or by objects.

use flux_yaml::{Map, Value};

use super::Generator;
use crate::config::{
    Decode, FieldSpec, GeneratorArgs, GeneratorOptions, IamPolicy, Image, Mode, Object, Patch,
    Replacement, Replica, decode, merge_all, merge_one,
};
use crate::error::{Context, Result};
use crate::meter::Charge;
use crate::node::{self, Extent};
use crate::origin::Origin;
use crate::resource::Resource;
use crate::secrecy::{MASK, is_inline_secret};
use crate::state::State;
use crate::target::Target;
use crate::transformer::{
    Annotations, Images, Json6902, Labels, Namespace, PatchTransformer, Prefix, Replacements,
    Replicas, StrategicMerge, SubjectMode, Suffix, Transformer, ValueAdd,
};
use crate::transformer_config::TransformerConfig;

/// A plugin configured by an object.
pub(super) enum Plugin {
    Generator(Generator),
    Transformer(Transformer),
}

/// A configuration as quoted in messages.
fn config_text(config: &Value) -> String {
    flux_yaml::sigs::to_string(config).unwrap_or_default()
}

fn config_failed(kind: &str, config: &Value) -> String {
    format!(
        "trouble configuring builtin {kind} with config: `\n{}`",
        config_text(config)
    )
}

/// The generators configured by a kustomization's fields (KZ-ORD-002, KZ-GEN-017).
pub(super) fn generators(target: &mut Target<'_>) -> Result<Vec<(Generator, Option<Origin>)>> {
    let global = target.file.generator_options.take();
    let merged = |args: GeneratorArgs| GeneratorArgs {
        options: GeneratorOptions::merged(args.options, global.as_ref()),
        ..args
    };
    let origin = |kind: &str| {
        target
            .origin
            .as_ref()
            .map(|origin| origin.builtin(target.file_name, kind))
    };
    let (maps, secrets) = (origin("ConfigMapGenerator"), origin("SecretGenerator"));
    let mut all = Vec::new();
    for args in std::mem::take(&mut target.file.config_maps) {
        all.push((Generator::ConfigMap(merged(args)), maps.clone()));
    }
    for args in std::mem::take(&mut target.file.secrets) {
        all.push((Generator::Secret(merged(args)), secrets.clone()));
    }
    // KZ-HELM-001
    if let Some(chart) = target.file.helm_charts.first() {
        let config = target.file.helm_config(chart, &target.namespace);
        return Err(format!(
            "{}: must specify --enable-helm",
            config_failed("HelmChartInflationGenerator", &config)
        )
        .into());
    }
    Ok(all)
}

fn paths_value(paths: &[String]) -> Value {
    let mut map = Map::new();
    let shown = |path: &String| {
        if is_inline_secret(path) {
            Value::from(MASK)
        } else {
            Value::String(path.clone())
        }
    };
    let list = paths.iter().map(shown).collect();
    map.insert("paths".into(), Value::Seq(list));
    Value::Map(map)
}

/// The transformers configured by a kustomization's fields (KZ-ORD-003).
pub(super) fn transformers(
    target: &mut Target<'_>,
    config: &TransformerConfig,
    state: &State<'_>,
) -> Result<Vec<(Transformer, Option<Origin>)>> {
    let file = &target.file;
    let mut all: Vec<(&str, Transformer)> = Vec::new();
    let loader = &*target.loader;
    if !file.patches_strategic_merge.is_empty() {
        let kind = "PatchStrategicMergeTransformer";
        let this = StrategicMerge::configure(loader, &file.patches_strategic_merge, "", state)
            .context(|| config_failed(kind, &paths_value(&file.patches_strategic_merge)))?;
        all.push((kind, Transformer::StrategicMerge(this)));
    }
    for entry in &file.patches {
        let kind = "PatchTransformer";
        let shown = || shown_patch(entry, "patch");
        let text = || config_text(&shown());
        let this = PatchTransformer::configure(loader, entry, &text, state)
            .context(|| config_failed(kind, &shown()))?;
        all.push((kind, Transformer::Patch(this)));
    }
    if !file.namespace.is_empty() {
        let this = Namespace {
            value: file.namespace.clone(),
            fields: config.namespace.clone(),
            unset_only: false,
            subjects: SubjectMode::DefaultOnly,
        };
        all.push(("NamespaceTransformer", Transformer::Namespace(this)));
    }
    if !file.name_prefix.is_empty() {
        let this = Prefix {
            prefix: file.name_prefix.clone(),
            fields: config.name_prefix.clone(),
        };
        all.push(("PrefixTransformer", Transformer::Prefix(this)));
    }
    if !file.name_suffix.is_empty() {
        let this = Suffix {
            suffix: file.name_suffix.clone(),
            fields: config.name_suffix.clone(),
        };
        all.push(("SuffixTransformer", Transformer::Suffix(this)));
    }
    for this in labels(target, config, state)? {
        all.push(("LabelTransformer", Transformer::Labels(this)));
    }
    if !file.common_annotations.is_empty() {
        let this = Annotations {
            pairs: file.common_annotations.clone(),
            fields: config.common_annotations.clone(),
        };
        all.push(("AnnotationsTransformer", Transformer::Annotations(this)));
    }
    for entry in &file.patches_json6902 {
        let kind = "PatchJson6902Transformer";
        let this = Json6902::configure(loader, entry)
            .context(|| config_failed(kind, &shown_patch(entry, "jsonOp")))?;
        all.push((kind, Transformer::Json6902(this)));
    }
    for replica in &file.replicas {
        let this = Replicas {
            replica: replica.clone(),
            fields: config.replicas.clone(),
        };
        all.push(("ReplicaCountTransformer", Transformer::Replicas(this)));
    }
    for image in &file.images {
        let this = Images {
            image: image.clone(),
            fields: config.images.clone(),
        };
        all.push(("ImageTagTransformer", Transformer::Images(this)));
    }
    if !file.replacements.is_empty() {
        let kind = "ReplacementTransformer";
        let this = Replacements::configure(loader, &file.replacements).context(|| {
            let mut map = Map::new();
            let shown = shown_replacements(&file.replacements_as_written);
            map.insert("Replacements".into(), shown);
            config_failed(kind, &Value::Map(map))
        })?;
        all.push((kind, Transformer::Replacements(this)));
    }
    let origin = target.origin.as_ref();
    Ok(all
        .into_iter()
        .map(|(kind, this)| {
            let origin = origin.map(|origin| origin.builtin(target.file_name, kind));
            (this, origin)
        })
        .collect())
}

/// A patch as shown in messages: without the content of a Secret.
fn shown_patch(entry: &Patch, text_field: &str) -> Value {
    let mut shown = entry.to_value(text_field);
    if entry.may_hold_secret()
        && let Some(text) = shown.as_map_mut().and_then(|map| map.get_mut(text_field))
    {
        *text = Value::from(MASK);
    }
    shown
}

/// Replacements as shown in messages: a literal value may be for a Secret.
fn shown_replacements(written: &Value) -> Value {
    let mut shown = written.clone();
    for entry in shown.as_seq_mut().into_iter().flatten() {
        for (key, value) in entry.as_map_mut().into_iter().flatten() {
            if key.eq_ignore_ascii_case("sourceValue") {
                *value = Value::from(MASK);
            }
        }
    }
    shown
}

/// KZ-LBL-001 to KZ-LBL-005
fn labels(
    target: &Target<'_>,
    config: &TransformerConfig,
    state: &State<'_>,
) -> Result<Vec<Labels>> {
    let file = &target.file;
    let mut all = Vec::new();
    if file.labels.is_empty() && file.common_labels.is_empty() {
        return Ok(all);
    }
    for label in &file.labels {
        let mut fields = label.fields.clone();
        let known = config.labels.len() + config.common_labels.len() + config.template_labels.len();
        state.meter().work(known * (fields.len() + known) / 8)?;
        let mut merge = || -> Result<(), String> {
            merge_all(&mut fields, &config.labels)?;
            if label.include_selectors {
                return merge_all(&mut fields, &config.common_labels);
            }
            if label.include_templates {
                merge_all(&mut fields, &config.template_labels)?;
            }
            let own = FieldSpec {
                path: "metadata/labels".into(),
                create: true,
                ..FieldSpec::default()
            };
            merge_one(&mut fields, &own)
        };
        merge().context(|| "failed to merge labels".into())?;
        all.push(Labels {
            pairs: label.pairs.clone(),
            fields,
        });
    }
    // An empty set runs as well, which shows in the list of transformations.
    all.push(Labels {
        pairs: file.common_labels.clone(),
        fields: config.common_labels.clone(),
    });
    Ok(all)
}

/// Configures the plugin of an object (KZ-PLG-002 to KZ-PLG-006).
pub(super) fn plugin(target: &Target<'_>, object: &Resource, state: &State<'_>) -> Result<Plugin> {
    let gvk = object.gvk();
    if !gvk.group.is_empty() || gvk.version != "builtin" {
        return Err(format!(
            "external plugins disabled; unable to load external plugin '{}'",
            gvk.kind
        )
        .into());
    }
    let config = node::to_value(object.node())?;
    let mut charge = Charge::new(state.meter());
    charge.take(2 * Extent::of_value(&config).bytes)?;
    let id = object.original(state.scopes()).0;
    match configure(target, &gvk.kind, &config, state) {
        Some(plugin) => plugin.context(|| format!("plugin {id} fails configuration")),
        None => Err(format!("unable to load builtin {gvk}").into()),
    }
}

fn unmarshal<T: Decode + Default>(config: &Value) -> Result<T> {
    let decoded = decode(config, Mode::LENIENT)
        .map_err(|error| format!("error unmarshaling JSON: while decoding JSON: {error}"))?;
    Ok(decoded)
}

fn configure(
    target: &Target<'_>,
    kind: &str,
    config: &Value,
    state: &State<'_>,
) -> Option<Result<Plugin>> {
    let generator = |generator: Result<Generator>| Some(generator.map(Plugin::Generator));
    match kind {
        "ConfigMapGenerator" => {
            return generator(generator_args(config).map(Generator::ConfigMap));
        }
        "SecretGenerator" => return generator(generator_args(config).map(Generator::Secret)),
        "IAMPolicyGenerator" => {
            return generator(unmarshal::<IamPolicy>(config).map(Generator::IamPolicy));
        }
        "HelmChartInflationGenerator" => {
            return Some(Err("must specify --enable-helm".into()));
        }
        _ => {}
    }
    let transformer = transformer(target, kind, config, state)?;
    Some(transformer.map(Plugin::Transformer))
}

fn transformer(
    target: &Target<'_>,
    kind: &str,
    config: &Value,
    state: &State<'_>,
) -> Option<Result<Transformer>> {
    let loader = &*target.loader;
    let given = || {
        unmarshal::<Given>(config).map_err(|fail| {
            fail.reworded(|text| {
                text.replace(
                    "struct field Plugin.",
                    &format!("struct field {kind}Plugin."),
                )
            })
        })
    };
    // KZ-PLG-006
    let demand = |fields: Option<Vec<FieldSpec>>| {
        fields.ok_or_else(|| "fieldSpecs is not expected to be nil".to_owned())
    };
    Some(match kind {
        "AnnotationsTransformer" => given().map(|given| {
            Transformer::Annotations(Annotations {
                pairs: given.annotations,
                fields: given.fields.unwrap_or_default(),
            })
        }),
        "LabelTransformer" => given().map(|given| {
            Transformer::Labels(Labels {
                pairs: given.labels,
                fields: given.fields.unwrap_or_default(),
            })
        }),
        "HashTransformer" => Ok(Transformer::Hash),
        "ImageTagTransformer" => given().map(|given| {
            Transformer::Images(Images {
                image: given.image,
                fields: given.fields.unwrap_or_default(),
            })
        }),
        "ReplicaCountTransformer" => given().map(|given| {
            Transformer::Replicas(Replicas {
                replica: given.replica,
                fields: given.fields.unwrap_or_default(),
            })
        }),
        "PrefixTransformer" => given().and_then(|given| {
            Ok(Transformer::Prefix(Prefix {
                prefix: given.prefix,
                fields: demand(given.fields)?,
            }))
        }),
        "SuffixTransformer" => given().and_then(|given| {
            Ok(Transformer::Suffix(Suffix {
                suffix: given.suffix,
                fields: demand(given.fields)?,
            }))
        }),
        "PrefixSuffixTransformer" => given().and_then(|given| {
            let fields = demand(given.fields)?;
            Ok(Transformer::PrefixSuffix(
                Prefix {
                    prefix: given.prefix,
                    fields: fields.clone(),
                },
                Suffix {
                    suffix: given.suffix,
                    fields,
                },
            ))
        }),
        "NamespaceTransformer" => namespace(config).map(Transformer::Namespace),
        "PatchJson6902Transformer" => unmarshal::<JsonConfig>(config)
            .and_then(|given| Json6902::configure(loader, &given.0))
            .map(Transformer::Json6902),
        "PatchStrategicMergeTransformer" => unmarshal::<StrategicConfig>(config)
            .and_then(|given| {
                StrategicMerge::configure(loader, &given.paths, &given.patches, state)
            })
            .map(Transformer::StrategicMerge),
        "PatchTransformer" => unmarshal::<Patch>(config)
            .and_then(|entry| {
                let text = || config_text(&shown_patch(&entry, "patch"));
                PatchTransformer::configure(loader, &entry, &text, state)
            })
            .map(Transformer::Patch),
        "ReplacementTransformer" => unmarshal::<ReplacementConfig>(config)
            .and_then(|given| Replacements::configure(loader, &given.0))
            .map(Transformer::Replacements),
        "ValueAddTransformer" => ValueAdd::configure(loader, config).map(Transformer::ValueAdd),
        _ => return None,
    })
}

/// The configuration fields common to several transformers.
#[derive(Default)]
struct Given {
    annotations: std::collections::BTreeMap<String, String>,
    labels: std::collections::BTreeMap<String, String>,
    image: Image,
    replica: Replica,
    prefix: String,
    suffix: String,
    fields: Option<Vec<FieldSpec>>,
}

impl Decode for Given {
    const NAME: &'static str = "Plugin";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        Ok(Self {
            annotations: object.text_map("annotations")?.unwrap_or_default(),
            labels: object.text_map("labels")?.unwrap_or_default(),
            image: object.object("imageTag")?.unwrap_or_default(),
            replica: object.object("replica")?.unwrap_or_default(),
            prefix: object.text("prefix")?,
            suffix: object.text("suffix")?,
            fields: object.list("fieldSpecs")?,
        })
    }
}

/// Name and namespace of a plugin's own object.
#[derive(Default)]
struct PluginMeta {
    name: String,
    namespace: String,
}

impl Decode for PluginMeta {
    const NAME: &'static str = "ObjectMeta";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        Ok(Self {
            name: object.text("name")?,
            namespace: object.text("namespace")?,
        })
    }
}

#[derive(Default)]
struct GeneratorConfig(GeneratorArgs);

impl Decode for GeneratorConfig {
    const NAME: &'static str = "GeneratorPlugin";

    /// The object's own metadata is the default for the configuration.
    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        let meta: PluginMeta = object.object("metadata")?.unwrap_or_default();
        let kind = object.inline_text("type")?;
        let mut args = GeneratorArgs::decode_fields(object)?;
        args.kind = kind;
        if args.name.is_empty() {
            args.name = meta.name;
        }
        if args.namespace.is_empty() {
            args.namespace = meta.namespace;
        }
        Ok(Self(args))
    }
}

fn generator_args(config: &Value) -> Result<GeneratorArgs> {
    unmarshal::<GeneratorConfig>(config).map(|config| config.0)
}

#[derive(Default)]
struct NamespaceConfig {
    namespace: String,
    fields: Vec<FieldSpec>,
    unset_only: bool,
    subjects: String,
}

impl Decode for NamespaceConfig {
    const NAME: &'static str = "NamespaceTransformerPlugin";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        let meta: PluginMeta = object.object("metadata")?.unwrap_or_default();
        Ok(Self {
            namespace: meta.namespace,
            fields: object.list("fieldSpecs")?.unwrap_or_default(),
            unset_only: object.boolean("unsetOnly")?,
            subjects: object.text("setRoleBindingSubjects")?,
        })
    }
}

fn namespace(config: &Value) -> Result<Namespace> {
    let config: NamespaceConfig =
        unmarshal(config).context(|| "unmarshalling NamespaceTransformer config".into())?;
    Ok(Namespace {
        value: config.namespace,
        fields: config.fields,
        unset_only: config.unset_only,
        subjects: SubjectMode::parse(&config.subjects)?,
    })
}

#[derive(Default)]
struct JsonConfig(Patch);

impl Decode for JsonConfig {
    const NAME: &'static str = "PatchJson6902TransformerPlugin";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        Ok(Self(Patch {
            path: object.text("path")?,
            text: object.text("jsonOp")?,
            target: object.object("target")?,
            options: None,
        }))
    }
}

#[derive(Default)]
struct StrategicConfig {
    paths: Vec<String>,
    patches: String,
}

impl Decode for StrategicConfig {
    const NAME: &'static str = "PatchStrategicMergeTransformerPlugin";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        Ok(Self {
            paths: object.texts("paths")?.unwrap_or_default(),
            patches: object.text("patches")?,
        })
    }
}

#[derive(Default)]
struct ReplacementConfig(Vec<Replacement>);

impl Decode for ReplacementConfig {
    const NAME: &'static str = "ReplacementTransformerPlugin";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        Ok(Self(object.list("replacements")?.unwrap_or_default()))
    }
}
