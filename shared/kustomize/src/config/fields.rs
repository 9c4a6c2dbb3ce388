//! Field specs, and the entries of `labels`, `images` and `replicas`.

use std::collections::BTreeMap;

use super::{Decode, Object};
use crate::id::Gvk;

/// The fields of the objects that a transformer changes (KZ-FS-001).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSpec {
    pub(crate) gvk: Gvk,
    pub(crate) path: String,
    pub(crate) create: bool,
}

impl Decode for FieldSpec {
    const NAME: &'static str = "FieldSpec";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        Ok(Self {
            gvk: gvk(object)?,
            path: object.text("path")?,
            create: object.boolean("create")?,
        })
    }
}

/// The fields of an embedded group, version and kind.
pub(super) fn gvk(object: &mut Object<'_>) -> Result<Gvk, String> {
    Ok(Gvk {
        group: object.inline_text("group")?,
        version: object.inline_text("version")?,
        kind: object.inline_text("kind")?,
    })
}

/// Adds the specs that are not present yet (KZ-FS-009).
pub(crate) fn merge_all(present: &mut Vec<FieldSpec>, new: &[FieldSpec]) -> Result<(), String> {
    new.iter().try_for_each(|spec| merge_one(present, spec))
}

/// Adds a spec unless a present one with the same path covers it.
pub(crate) fn merge_one(present: &mut Vec<FieldSpec>, new: &FieldSpec) -> Result<(), String> {
    match present
        .iter()
        .find(|spec| spec.path == new.path && spec.gvk.is_selected(&new.gvk))
    {
        Some(spec) if spec.create != new.create => Err("conflicting fieldspecs".into()),
        Some(_) => Ok(()),
        None => {
            present.push(new.clone());
            Ok(())
        }
    }
}

/// An entry of `labels` (KZ-LBL-002).
#[derive(Clone, Debug, Default)]
pub(crate) struct Label {
    pub(crate) pairs: BTreeMap<String, String>,
    pub(crate) include_selectors: bool,
    pub(crate) include_templates: bool,
    pub(crate) fields: Vec<FieldSpec>,
}

impl Decode for Label {
    const NAME: &'static str = "Label";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        Ok(Self {
            pairs: object.text_map("pairs")?.unwrap_or_default(),
            include_selectors: object.boolean("includeSelectors")?,
            include_templates: object.boolean("includeTemplates")?,
            fields: object.list("fields")?.unwrap_or_default(),
        })
    }
}

/// An entry of `images` (KZ-IMG-001).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) name: String,
    pub(crate) new_name: String,
    pub(crate) tag_suffix: String,
    pub(crate) new_tag: String,
    pub(crate) digest: String,
}

impl Decode for Image {
    const NAME: &'static str = "Image";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        Ok(Self {
            name: object.text("name")?,
            new_name: object.text("newName")?,
            tag_suffix: object.text("tagSuffix")?,
            new_tag: object.text("newTag")?,
            digest: object.text("digest")?,
        })
    }
}

/// An entry of `replicas` (KZ-RPL-001).
#[derive(Clone, Debug, Default)]
pub(crate) struct Replica {
    pub(crate) name: String,
    pub(crate) count: i64,
}

impl Decode for Replica {
    const NAME: &'static str = "Replica";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        Ok(Self {
            name: object.text("name")?,
            count: object.integer_as("count", "int64")?,
        })
    }
}
