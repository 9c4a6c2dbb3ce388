//! The entries of `patches`, and selectors.

use flux_selector::Selector as LabelSelector;
use flux_yaml::{Map, Value};

use super::{Decode, Object};
use crate::id::ResId;
use crate::regexp::is_literal;
use crate::secrecy::may_hold_secret;

/// An entry of `patches` or `patchesJson6902` (KZ-PAT-001).
#[derive(Clone, Debug, Default)]
pub(crate) struct Patch {
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) target: Option<Selector>,
    pub(crate) options: Option<PatchOptions>,
}

impl Decode for Patch {
    const NAME: &'static str = "Patch";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        Ok(Self {
            path: object.text("path")?,
            text: object.text("patch")?,
            target: object.object("target")?,
            options: object.object("options")?,
        })
    }
}

impl Patch {
    /// Whether the patch may target a Secret: its text mentions one, or its target does not exclude it.
    pub(crate) fn may_hold_secret(&self) -> bool {
        if may_hold_secret(self.text.as_bytes()) {
            return true;
        }
        self.target.as_ref().is_some_and(|target| {
            let kind = target.id.gvk.kind.as_str();
            kind.is_empty() || kind == "Secret" || !is_literal(kind)
        })
    }

    /// The entry as a builtin plugin's configuration, for messages and for Flux's rewritten file.
    pub(crate) fn to_value(&self, text_field: &str) -> Value {
        let mut map = Map::new();
        put(&mut map, "path", &self.path);
        put(&mut map, text_field, &self.text);
        if let Some(target) = &self.target {
            map.insert("target".into(), target.to_value());
        }
        if let Some(options) = &self.options {
            let mut inner = Map::new();
            if options.allow_name_change {
                inner.insert("allowNameChange".into(), Value::Bool(true));
            }
            if options.allow_kind_change {
                inner.insert("allowKindChange".into(), Value::Bool(true));
            }
            map.insert("options".into(), Value::Map(inner));
        }
        Value::Map(map)
    }
}

fn put(map: &mut Map, key: &str, text: &str) {
    if !text.is_empty() {
        map.insert(key.into(), text.into());
    }
}

/// `options` of a patch (KZ-PAT-015).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PatchOptions {
    pub(crate) allow_name_change: bool,
    pub(crate) allow_kind_change: bool,
}

impl Decode for PatchOptions {
    const NAME: &'static str = "PatchArgs";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        Ok(Self {
            allow_name_change: object.boolean("allowNameChange")?,
            allow_kind_change: object.boolean("allowKindChange")?,
        })
    }
}

/// Selects objects (KZ-PAT-009).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) id: ResId,
    pub(crate) annotations: String,
    pub(crate) labels: String,
}

impl Selector {
    /// The requirements on labels (KZ-PAT-013).
    pub(crate) fn parsed_labels(&self) -> Result<LabelSelector, String> {
        parsed(&self.labels)
    }

    /// The requirements on annotations (KZ-PAT-013).
    pub(crate) fn parsed_annotations(&self) -> Result<LabelSelector, String> {
        parsed(&self.annotations)
    }
}

fn parsed(text: &str) -> Result<LabelSelector, String> {
    LabelSelector::parse(text).map_err(|error| error.kustomize_text())
}

/// The fields of an embedded identity.
pub(super) fn res_id(object: &mut Object<'_>) -> Result<ResId, String> {
    Ok(ResId {
        gvk: super::fields::gvk(object)?,
        name: object.inline_text("name")?,
        namespace: object.inline_text("namespace")?,
    })
}

impl Decode for Selector {
    const NAME: &'static str = "Selector";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        Ok(Self {
            id: res_id(object)?,
            annotations: object.text("annotationSelector")?,
            labels: object.text("labelSelector")?,
        })
    }
}

impl Selector {
    fn to_value(&self) -> Value {
        let mut map = Map::new();
        put(&mut map, "group", &self.id.gvk.group);
        put(&mut map, "version", &self.id.gvk.version);
        put(&mut map, "kind", &self.id.gvk.kind);
        put(&mut map, "name", &self.id.name);
        put(&mut map, "namespace", &self.id.namespace);
        put(&mut map, "annotationSelector", &self.annotations);
        put(&mut map, "labelSelector", &self.labels);
        Value::Map(map)
    }
}
