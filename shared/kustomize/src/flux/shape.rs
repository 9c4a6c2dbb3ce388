//! The types of the kustomization file as data, to read it leniently and to write back its known fields.

use flux_yaml::{Map, Value};

/// The type of a field.
enum Shape {
    Text,
    /// Text of an embedded struct, to which numbers and booleans are never converted.
    InlineText,
    Bool,
    Int,
    Any,
    TextMap,
    Texts,
    Objects(Fields),
    /// A pointer to a struct: empty values are kept.
    Object(Fields),
}

type Fields = &'static [(&'static str, Shape)];

use Shape::{Any, Bool, InlineText, Int, Object, Objects, Text, TextMap, Texts};

const METADATA: Fields = &[
    ("name", Text),
    ("namespace", Text),
    ("labels", TextMap),
    ("annotations", TextMap),
];

const FIELD_SPEC: Fields = &[
    ("group", InlineText),
    ("version", InlineText),
    ("kind", InlineText),
    ("path", Text),
    ("create", Bool),
];

const SELECTOR: Fields = &[
    ("group", InlineText),
    ("version", InlineText),
    ("kind", InlineText),
    ("name", InlineText),
    ("namespace", InlineText),
    ("annotationSelector", Text),
    ("labelSelector", Text),
];

const PATCH: Fields = &[
    ("path", Text),
    ("patch", Text),
    ("target", Object(SELECTOR)),
    (
        "options",
        Object(&[("allowNameChange", Bool), ("allowKindChange", Bool)]),
    ),
];

const IMAGE: Fields = &[
    ("name", Text),
    ("newName", Text),
    ("tagSuffix", Text),
    ("newTag", Text),
    ("digest", Text),
];

const FIELD_OPTIONS: Fields = &[
    ("delimiter", Text),
    ("index", Int),
    ("encoding", Text),
    ("create", Bool),
];

const REPLACEMENT: Fields = &[
    ("path", Text),
    (
        "source",
        Object(&[
            ("group", InlineText),
            ("version", InlineText),
            ("kind", InlineText),
            ("name", InlineText),
            ("namespace", InlineText),
            ("fieldPath", Text),
            ("options", Object(FIELD_OPTIONS)),
        ]),
    ),
    (
        "targets",
        Objects(&[
            ("select", Object(SELECTOR)),
            ("reject", Objects(SELECTOR)),
            ("fieldPaths", Texts),
            ("options", Object(FIELD_OPTIONS)),
        ]),
    ),
    ("sourceValue", Text),
];

const VAR: Fields = &[
    ("name", Text),
    (
        "objref",
        Object(&[
            ("apiVersion", Text),
            ("group", InlineText),
            ("version", InlineText),
            ("kind", InlineText),
            ("name", Text),
            ("namespace", Text),
        ]),
    ),
    ("fieldref", Object(&[("fieldPath", Text)])),
];

const GENERATOR_OPTIONS: Fields = &[
    ("labels", TextMap),
    ("annotations", TextMap),
    ("disableNameSuffixHash", Bool),
    ("immutable", Bool),
];

const CONFIG_MAP: Fields = &[
    ("namespace", InlineText),
    ("name", InlineText),
    ("behavior", InlineText),
    ("literals", Texts),
    ("files", Texts),
    ("envs", Texts),
    ("env", InlineText),
    ("options", Object(GENERATOR_OPTIONS)),
];

const SECRET: Fields = &[
    ("namespace", InlineText),
    ("name", InlineText),
    ("behavior", InlineText),
    ("literals", Texts),
    ("files", Texts),
    ("envs", Texts),
    ("env", InlineText),
    ("options", Object(GENERATOR_OPTIONS)),
    ("type", Text),
];

const HELM_CHART: Fields = &[
    ("name", Text),
    ("version", Text),
    ("repo", Text),
    ("releaseName", Text),
    ("namespace", Text),
    ("additionalValuesFiles", Texts),
    ("valuesFile", Text),
    ("valuesInline", Any),
    ("valuesMerge", Text),
    ("includeCRDs", Bool),
    ("skipHooks", Bool),
    ("apiVersions", Texts),
    ("kubeVersion", Text),
    ("nameTemplate", Text),
    ("skipTests", Bool),
    ("debug", Bool),
    ("devel", Bool),
];

const HELM_CHART_ARGS: Fields = &[
    ("chartName", Text),
    ("chartVersion", Text),
    ("chartRepoUrl", Text),
    ("chartHome", Text),
    ("chartRepoName", Text),
    ("helmBin", Text),
    ("helmHome", Text),
    ("values", Text),
    ("valuesLocal", Any),
    ("valuesMerge", Text),
    ("releaseName", Text),
    ("releaseNamespace", Text),
    ("extraArgs", Texts),
];

const KUSTOMIZATION: Fields = &[
    ("kind", InlineText),
    ("apiVersion", InlineText),
    ("metadata", Object(METADATA)),
    ("openapi", TextMap),
    ("namePrefix", Text),
    ("nameSuffix", Text),
    ("namespace", Text),
    ("commonLabels", TextMap),
    (
        "labels",
        Objects(&[
            ("pairs", TextMap),
            ("includeSelectors", Bool),
            ("includeTemplates", Bool),
            ("fields", Objects(FIELD_SPEC)),
        ]),
    ),
    ("commonAnnotations", TextMap),
    ("patchesStrategicMerge", Texts),
    ("patchesJson6902", Objects(PATCH)),
    ("patches", Objects(PATCH)),
    ("images", Objects(IMAGE)),
    ("imageTags", Objects(IMAGE)),
    ("replacements", Objects(REPLACEMENT)),
    ("replicas", Objects(&[("name", Text), ("count", Int)])),
    ("vars", Objects(VAR)),
    (
        "sortOptions",
        Object(&[
            ("order", Text),
            (
                "legacySortOptions",
                Object(&[("orderFirst", Texts), ("orderLast", Texts)]),
            ),
        ]),
    ),
    ("resources", Texts),
    ("components", Texts),
    ("crds", Texts),
    ("bases", Texts),
    ("configMapGenerator", Objects(CONFIG_MAP)),
    ("secretGenerator", Objects(SECRET)),
    (
        "helmGlobals",
        Object(&[("chartHome", Text), ("configHome", Text)]),
    ),
    ("helmCharts", Objects(HELM_CHART)),
    ("helmChartInflationGenerator", Objects(HELM_CHART_ARGS)),
    ("generatorOptions", Object(GENERATOR_OPTIONS)),
    ("configurations", Texts),
    ("generators", Texts),
    ("transformers", Texts),
    ("validators", Texts),
    ("buildMetadata", Texts),
];

/// The known fields of a kustomization file.
pub(super) fn kustomization(value: &Value) -> Result<Map, String> {
    match value {
        Value::Null => Ok(Map::new()),
        Value::Map(map) => object(map, KUSTOMIZATION, "Kustomization"),
        other => Err(format!(
            "json: cannot unmarshal {} into Go value of type types.Kustomization",
            kind(other)
        )),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Int(_) | Value::Uint(_) | Value::Float(_) => "number",
        Value::String(_) => "string",
        Value::Seq(_) => "array",
        Value::Map(_) => "object",
    }
}

fn object(map: &Map, fields: Fields, path: &str) -> Result<Map, String> {
    let mut out = Map::new();
    let mut keys: Vec<_> = map.iter().collect();
    // Of two spellings of a field, the last one in JSON's order wins.
    keys.sort_unstable_by_key(|(key, _)| key.as_bytes());
    for (key, value) in keys {
        let Some((name, shape)) = fields
            .iter()
            .find(|(name, _)| key.eq_ignore_ascii_case(name))
        else {
            continue;
        };
        if let Some(value) = shaped(value, shape, &format!("{path}.{name}"))? {
            out.insert((*name).to_owned(), value);
        }
    }
    Ok(out)
}

/// The value as its type writes it; `None` if it is omitted as empty.
fn shaped(value: &Value, shape: &Shape, path: &str) -> Result<Option<Value>, String> {
    let wrong = |wanted: &str| {
        format!(
            "json: cannot unmarshal {} into Go struct field {path} of type {wanted}",
            kind(value)
        )
    };
    if value.is_null() {
        return Ok(None);
    }
    Ok(match (shape, value) {
        (Any, value) => Some(value.clone()),
        (Text | InlineText, Value::String(text)) => {
            // `sourceValue` is a pointer, so an empty one is kept.
            (!text.is_empty() || path.ends_with(".sourceValue")).then(|| value.clone())
        }
        (Text, value) => Some(text(value).ok_or_else(|| wrong("string"))?),
        (InlineText, _) => return Err(wrong("string")),
        (Bool, Value::Bool(set)) => set.then_some(Value::Bool(true)),
        (Bool, _) => return Err(wrong("bool")),
        (Int, Value::Int(_)) => Some(value.clone()),
        (Int, _) => return Err(wrong("int")),
        (TextMap, Value::Map(map)) => {
            let mut out = Map::new();
            for (key, item) in map {
                let item = match item {
                    Value::Null => "".into(),
                    item => text(item).ok_or_else(|| wrong("string"))?,
                };
                out.insert(key.clone(), item);
            }
            (!out.is_empty()).then_some(Value::Map(out))
        }
        (TextMap, _) => return Err(wrong("map[string]string")),
        (Texts, Value::Seq(items)) => {
            let items = items
                .iter()
                .map(|item| match item {
                    Value::Null => Ok("".into()),
                    item => text(item).ok_or_else(|| wrong("string")),
                })
                .collect::<Result<Vec<_>, _>>()?;
            (!items.is_empty()).then_some(Value::Seq(items))
        }
        (Texts, _) => return Err(wrong("[]string")),
        (Objects(fields), Value::Seq(items)) => {
            let items = items
                .iter()
                .map(|item| match item {
                    Value::Map(map) => object(map, fields, path).map(Value::Map),
                    Value::Null => Ok(Value::map()),
                    _ => Err(wrong("struct")),
                })
                .collect::<Result<Vec<_>, _>>()?;
            (!items.is_empty()).then_some(Value::Seq(items))
        }
        (Objects(_), _) => return Err(wrong("[]struct")),
        (Object(fields), Value::Map(map)) => Some(Value::Map(object(map, fields, path)?)),
        (Object(_), _) => return Err(wrong("struct")),
    })
}

/// The text of a scalar, derived from its parsed value (KC-BLD-036).
fn text(value: &Value) -> Option<Value> {
    crate::config::decode::text(value, crate::config::Mode::LENIENT, false).map(Value::String)
}
