//! Origins of objects, as recorded by `buildMetadata` (KZ-META rows).

use std::rc::Rc;

use flux_golang::path::join;
use flux_yaml::{Map, Value};

use crate::error::Result;
use crate::meter::{Charge, Meter};
use crate::node;
use crate::repository::Location;
use crate::resource::Resource;

/// The annotation for the place where an object was read or generated.
pub(crate) const ORIGIN: &str = "config.kubernetes.io/origin";
/// The annotation for the transformers that have changed an object.
pub(crate) const TRANSFORMATIONS: &str = "alpha.config.kubernetes.io/transformations";

/// The place where something was read or generated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) path: String,
    pub(crate) repo: String,
    pub(crate) reference: String,
    pub(crate) configured_in: String,
    pub(crate) configured_by: ConfiguredBy,
}

/// The plugin that generated or changed an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConfiguredBy {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
}

impl Origin {
    /// This place, extended by a path (KZ-META-004).
    pub(crate) fn append(&self, path: &str) -> Self {
        let mut next = self.clone();
        let mut path = path.to_owned();
        if let Ok(location) = Location::parse(&path) {
            next.repo = location.repository.url;
            next.reference = location.repository.reference;
            next.path = String::new();
            // Upstream removes the name of a placeholder folder from the front, but keeps it if nothing follows.
            path = if location.path.is_empty() {
                "notCloned".into()
            } else {
                location.path
            };
        }
        next.path = join(next.path.as_str(), path.as_str());
        next
    }

    /// This place for a builtin plugin configured by `file` (KZ-META-003).
    pub(crate) fn builtin(&self, file: &str, kind: &str) -> Self {
        Self {
            path: String::new(),
            configured_in: join(self.path.as_str(), file),
            configured_by: ConfiguredBy {
                api_version: "builtin".into(),
                kind: kind.into(),
                ..ConfiguredBy::default()
            },
            ..self.clone()
        }
    }

    /// The place recorded in a plugin's own object.
    pub(crate) fn of_plugin(plugin: &Resource, meter: &Rc<Meter>) -> Result<Option<Self>> {
        let Some(origin) = Self::from_annotation(plugin, meter)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            path: String::new(),
            repo: origin.repo,
            reference: origin.reference,
            configured_in: origin.path,
            configured_by: ConfiguredBy {
                api_version: node::api_version(plugin.node()).to_owned(),
                kind: plugin.kind().to_owned(),
                name: plugin.name().to_owned(),
                namespace: plugin.namespace().to_owned(),
            },
        }))
    }

    /// The origin in an object's annotation.
    pub(crate) fn from_annotation(resource: &Resource, meter: &Rc<Meter>) -> Result<Option<Self>> {
        let Some(text) = resource.annotation(ORIGIN) else {
            return Ok(None);
        };
        let (value, _charge) = read(text, resource.kind(), meter)?;
        Ok(Some(Self::from_value(&value)))
    }

    fn from_value(value: &Value) -> Self {
        let text = |path: &[&str]| {
            value
                .at(path.iter().copied())
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        Self {
            path: text(&["path"]),
            repo: text(&["repo"]),
            reference: text(&["ref"]),
            configured_in: text(&["configuredIn"]),
            configured_by: ConfiguredBy {
                api_version: text(&["configuredBy", "apiVersion"]),
                kind: text(&["configuredBy", "kind"]),
                name: text(&["configuredBy", "name"]),
                namespace: text(&["configuredBy", "namespace"]),
            },
        }
    }

    fn to_value(&self) -> Value {
        let by = &self.configured_by;
        let mut map = fields([
            ("path", &self.path),
            ("repo", &self.repo),
            ("ref", &self.reference),
            ("configuredIn", &self.configured_in),
        ]);
        let by = fields([
            ("apiVersion", &by.api_version),
            ("kind", &by.kind),
            ("name", &by.name),
            ("namespace", &by.namespace),
        ]);
        if !by.is_empty() {
            map.insert("configuredBy".into(), Value::Map(by));
        }
        Value::Map(map)
    }

    /// The text of the annotation.
    pub(crate) fn to_text(&self) -> String {
        yaml_v3(&self.to_value())
    }

    /// Writes the annotation.
    pub(crate) fn annotate(&self, resource: &mut Resource) {
        set(resource, ORIGIN, self.to_text());
    }

    /// Records that this plugin has changed the object, or generated it if its origin is unknown (KZ-META-005,
    /// KZ-META-006).
    pub(crate) fn note_transformation(
        &self,
        resource: &mut Resource,
        meter: &Rc<Meter>,
    ) -> Result<()> {
        if Self::from_annotation(resource, meter)?.is_none() {
            self.annotate(resource);
            return Ok(());
        }
        let mut all = match resource.annotation(TRANSFORMATIONS) {
            None => Vec::new(),
            Some(text) => match read(text, resource.kind(), meter)? {
                (Value::Seq(items), _charge) => items
                    .iter()
                    .map(|item| Self::from_value(item).to_value())
                    .collect(),
                _ => Vec::new(),
            },
        };
        all.push(self.to_value());
        set(resource, TRANSFORMATIONS, yaml_v3(&Value::Seq(all)));
        Ok(())
    }
}

/// Parses the annotation of an object of this kind.
fn read(text: &str, kind: &str, meter: &Rc<Meter>) -> Result<(Value, Charge)> {
    let (value, charge) = meter.read(text.as_bytes(), |text, claim| {
        flux_yaml::sigs::from_str_within(text, claim)
    })?;
    let value = value.map_err(|error| meter.in_object_of(kind, node::unwritable(error)))?;
    Ok((value, charge))
}

fn fields<const N: usize>(entries: [(&str, &String); N]) -> Map {
    entries
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(key, text)| (key.to_owned(), Value::String(text.clone())))
        .collect()
}

fn set(resource: &mut Resource, key: &str, text: String) {
    let mut annotations = node::annotations(resource.node());
    annotations.insert(key.into(), text);
    node::set_annotations(resource.node_mut(), &annotations);
}

fn yaml_v3(value: &Value) -> String {
    node::contents(&to_node(value))
}

fn to_node(value: &Value) -> node::Node {
    use node::Node;
    match value {
        Value::Map(map) if map.is_empty() => {
            let mut empty = Node::mapping([]);
            empty.style = node::Style::FLOW;
            empty
        }
        Value::Map(map) => Node::mapping(
            map.iter()
                .map(|(key, item)| (Node::string(key), to_node(item))),
        ),
        Value::Seq(items) => Node::sequence(items.iter().map(to_node)),
        Value::String(text) => Node::string(text),
        other => node::from_json(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_begin_a_new_path() {
        // KZ-META-002, KZ-META-004
        let origin = Origin {
            path: "../base".into(),
            ..Origin::default()
        };
        let remote = origin
            .append("https://github.com/org/repo//deploy?ref=v1")
            .append("a.yaml");
        assert_eq!(
            remote.to_text(),
            "path: deploy/a.yaml\nrepo: https://github.com/org/repo\nref: v1\n"
        );
    }
}
