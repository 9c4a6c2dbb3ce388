//! The built-in objects at the root of templates.

// Methods have the signature that the template engine calls.
#![allow(clippy::ptr_arg)]

use std::any::Any;
use std::cell::OnceCell;

use flux_gotemplate::{
    CallError, Context, Kind, List, Map, Method, Object, Str, Type, TypeInfo, Value, types,
};

use super::{Capabilities, HelmVersion, KubeVersion};
use crate::values::{path_value, table};
use crate::{Dependency, Metadata};

/// `common.Values`: `.Values` is a map with methods.
pub(super) static VALUES: TypeInfo = TypeInfo::map("map[string]interface {}", &types::ANY)
    .declared("common.Values")
    .with_methods(&[
        Method {
            name: "AsMap",
            params: &[],
            variadic: false,
            call: |receiver, _, _| Ok(as_map(receiver).with_type(&types::ANY_MAP).into()),
        },
        Method {
            name: "PathValue",
            params: &[&types::STRING],
            variadic: false,
            call: path_value_method,
        },
        Method {
            name: "Table",
            params: &[&types::STRING],
            variadic: false,
            call: table_method,
        },
        Method {
            name: "YAML",
            params: &[],
            variadic: false,
            call: |receiver, _, _| {
                super::data::to_yaml(receiver)
                    .map_err(CallError::new)
                    .map(Value::from)
            },
        },
    ]);

fn as_map(receiver: &Value) -> Map {
    receiver.as_map().cloned().unwrap_or_default()
}

fn first_text(arguments: &[Value]) -> String {
    let text = arguments.first().and_then(Value::as_str);
    text.map(|text| text.to_text().into_owned())
        .unwrap_or_default()
}

fn path_value_method(
    receiver: &Value,
    _: &mut Context<'_>,
    arguments: &mut Vec<Value>,
) -> Result<Value, CallError> {
    let path = first_text(arguments);
    if path.is_empty() {
        return Err(CallError::new("YAML path cannot be empty"));
    }
    path_value(&as_map(receiver), &path).ok_or_else(|| {
        let key = path.rsplit('.').next().unwrap_or_default();
        CallError::new(format!("\"{key}\" is not a value"))
    })
}

fn table_method(
    receiver: &Value,
    _: &mut Context<'_>,
    arguments: &mut Vec<Value>,
) -> Result<Value, CallError> {
    let path = first_text(arguments);
    let mut current = as_map(receiver);
    for key in path.split('.') {
        current = table(&current, key)
            .ok_or_else(|| CallError::new(format!("\"{key}\" is not a table")))?;
    }
    Ok(current.with_type(&VALUES).into())
}

/// `.Chart` under the name or alias that the chart has here, with its enabled dependencies (HE-OBJ-002, HE-OBJ-003).
pub(super) fn chart(
    metadata: &Metadata,
    name: &str,
    requirements: &[Dependency],
    is_root: bool,
) -> Map {
    let texts = |items: &[String]| -> Value {
        items
            .iter()
            .map(|item| Value::from(item.as_str()))
            .collect::<List>()
            .into()
    };
    let annotations: Map = if metadata.annotations.is_empty() {
        Map::nil(&types::STRING_MAP)
    } else {
        let entries = metadata.annotations.iter();
        let entries =
            entries.map(|(key, value)| (Str::from(key.as_str()), Value::from(value.as_str())));
        Map::of(&types::STRING_MAP, entries.collect())
    };
    let maintainers: List = metadata
        .maintainers
        .iter()
        .map(|maintainer| {
            let fields = [
                ("Name", &maintainer.name),
                ("Email", &maintainer.email),
                ("URL", &maintainer.url),
            ];
            let fields = fields.into_iter().map(|(key, value)| (key, value.as_str()));
            Value::from(fields.collect::<Map>())
        })
        .collect();
    let dependencies: List = requirements
        .iter()
        .map(|dependency| {
            let imports = dependency.import_values.iter().map(import_value);
            let fields: Map = [
                ("Name", Value::from(dependency.name.as_str())),
                ("Version", Value::from(dependency.version.as_str())),
                ("Repository", Value::from(dependency.repository.as_str())),
                ("Condition", Value::from(dependency.condition.as_str())),
                ("Tags", texts(&dependency.tags)),
                ("Enabled", Value::from(dependency.enabled)),
                ("ImportValues", imports.collect::<List>().into()),
                ("Alias", Value::from(dependency.alias.as_str())),
            ]
            .into_iter()
            .collect();
            Value::from(fields)
        })
        .collect();
    [
        ("Name", Value::from(name)),
        ("Home", Value::from(metadata.home.as_str())),
        ("Sources", texts(&metadata.sources)),
        ("Version", Value::from(metadata.version.as_str())),
        ("Description", Value::from(metadata.description.as_str())),
        ("Keywords", texts(&metadata.keywords)),
        ("Maintainers", maintainers.into()),
        ("Icon", Value::from(metadata.icon.as_str())),
        ("APIVersion", Value::from(metadata.api_version.as_str())),
        ("Condition", Value::from(metadata.condition.as_str())),
        ("Tags", Value::from(metadata.tags.as_str())),
        ("AppVersion", Value::from(metadata.app_version.as_str())),
        ("Deprecated", Value::from(metadata.deprecated)),
        ("Annotations", annotations.into()),
        ("KubeVersion", Value::from(metadata.kube_version.as_str())),
        ("Dependencies", dependencies.into()),
        ("Type", Value::from(metadata.kind.as_str())),
        ("IsRoot", Value::from(is_root)),
    ]
    .into_iter()
    .collect()
}

/// Processed imports are `map[string]string`.
fn import_value(import: &flux_yaml::Value) -> Value {
    let entries = import.as_map().into_iter().flatten();
    let entries = entries.map(|(key, value)| {
        (
            Str::from(key.as_str()),
            Value::from(value.as_str().unwrap_or_default()),
        )
    });
    Map::of(&types::STRING_MAP, entries.collect()).into()
}

/// `.Capabilities`
pub(super) fn capabilities(capabilities: &Capabilities) -> Value {
    Value::object(CapabilitiesObject {
        capabilities: capabilities.clone(),
        versions: OnceCell::new(),
    })
}

static CAPABILITIES: TypeInfo = TypeInfo::object("*common.Capabilities", Kind::Pointer);
static KUBE_VERSION: TypeInfo =
    TypeInfo::object("common.KubeVersion", Kind::Struct).with_methods(&[
        Method {
            name: "GitVersion",
            params: &[],
            variadic: false,
            call: |receiver, _, _| Ok(kube_version(receiver).version.into()),
        },
        Method {
            name: "String",
            params: &[],
            variadic: false,
            call: |receiver, _, _| Ok(kube_version(receiver).comparable().into()),
        },
    ]);
static HELM_VERSION: TypeInfo = TypeInfo::object("version.BuildInfo", Kind::Struct);
static VERSION_SET: TypeInfo = TypeInfo::slice("[]string", &types::STRING)
    .declared("common.VersionSet")
    .with_methods(&[Method {
        name: "Has",
        params: &[&types::STRING],
        variadic: false,
        call: |receiver, _, arguments| {
            let wanted = arguments.first().and_then(Value::as_str);
            let known = receiver.as_items().unwrap_or_default();
            Ok(Value::from(
                known.iter().any(|version| version.as_str() == wanted),
            ))
        },
    }]);

fn kube_version(receiver: &Value) -> KubeVersion {
    receiver
        .downcast::<KubeVersionObject>()
        .map(|object| object.0.clone())
        .unwrap_or_default()
}

struct CapabilitiesObject {
    capabilities: Capabilities,
    /// The versions as a list, created once: charts look up many of them.
    versions: OnceCell<List>,
}

impl CapabilitiesObject {
    fn versions(&self) -> List {
        let versions = || {
            let versions = self.capabilities.api_versions.iter();
            let versions = versions.map(|version| Value::from(version.as_str()));
            List::of(&VERSION_SET, versions.collect())
        };
        self.versions.get_or_init(versions).clone()
    }
}

impl Object for CapabilitiesObject {
    fn go_type(&self) -> Type {
        &CAPABILITIES
    }

    fn fields(&self) -> Vec<(&'static str, Value)> {
        let names = ["KubeVersion", "APIVersions", "HelmVersion"].into_iter();
        names
            .filter_map(|name| Some((name, self.field(name.as_bytes())?)))
            .collect()
    }

    fn field(&self, name: &[u8]) -> Option<Value> {
        let known = &self.capabilities;
        Some(match name {
            b"KubeVersion" => Value::object(KubeVersionObject(known.kube_version.clone())),
            b"APIVersions" => self.versions().into(),
            b"HelmVersion" => Value::object(HelmVersionObject(known.helm_version.clone())),
            _ => return None,
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

struct KubeVersionObject(KubeVersion);

impl Object for KubeVersionObject {
    fn go_type(&self) -> Type {
        &KUBE_VERSION
    }

    fn fields(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("Version", Value::from(self.0.version.as_str())),
            ("Major", Value::from(self.0.major.as_str())),
            ("Minor", Value::from(self.0.minor.as_str())),
        ]
    }

    fn all_fields(&self) -> Vec<(&'static str, Value)> {
        let mut fields = self.fields();
        fields.insert(
            1,
            ("normalizedVersion", Value::from(self.0.normalized.as_str())),
        );
        fields
    }

    fn addressed_text(&self) -> Option<Str> {
        Some(self.0.comparable().into())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

struct HelmVersionObject(HelmVersion);

impl Object for HelmVersionObject {
    fn go_type(&self) -> Type {
        &HELM_VERSION
    }

    fn fields(&self) -> Vec<(&'static str, Value)> {
        let version = &self.0;
        vec![
            ("Version", Value::from(version.version.as_str())),
            ("GitCommit", Value::from(version.git_commit.as_str())),
            ("GitTreeState", Value::from(version.git_tree_state.as_str())),
            ("GoVersion", Value::from(version.go_version.as_str())),
            (
                "KubeClientVersion",
                Value::from(version.kube_client_version.as_str()),
            ),
        ]
    }

    /// All but the last are omitted if empty.
    fn json_fields(&self) -> Vec<(&'static str, Value)> {
        let version = &self.0;
        let optional = [
            ("version", &version.version),
            ("git_commit", &version.git_commit),
            ("git_tree_state", &version.git_tree_state),
            ("go_version", &version.go_version),
        ];
        let optional = optional.into_iter().filter(|(_, text)| !text.is_empty());
        let client = ("kube_client_version", &version.kube_client_version);
        let all = optional.chain([client]);
        all.map(|(name, text)| (name, Value::from(text.as_str())))
            .collect()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
