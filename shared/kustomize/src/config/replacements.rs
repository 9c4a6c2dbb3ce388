//! The entries of `replacements` and `vars`.

use std::fmt;

use super::patches::res_id;
use super::{Decode, Object, Selector};
use crate::id::{Gvk, ResId};

/// An entry of `replacements`: inline, or a path to a file of them (KZ-REPL-001).
#[derive(Clone, Debug, Default)]
pub(crate) struct Replacement {
    pub(crate) path: String,
    pub(crate) source: Option<Source>,
    pub(crate) source_value: Option<String>,
    /// `None` if the field is absent, which differs from an empty list.
    pub(crate) targets: Option<Vec<Target>>,
}

impl Decode for Replacement {
    const NAME: &'static str = "ReplacementField";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        Ok(Self {
            path: object.text("path")?,
            source: object.object("source")?,
            source_value: object.optional_text("sourceValue")?,
            targets: object.list("targets")?,
        })
    }
}

/// The source of a replacement's value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Source {
    pub(crate) id: ResId,
    pub(crate) field_path: String,
    pub(crate) options: Option<FieldOptions>,
}

impl Decode for Source {
    const NAME: &'static str = "SourceSelector";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        Ok(Self {
            id: res_id(object)?,
            field_path: object.text("fieldPath")?,
            options: object.object("options")?,
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)?;
        if !self.field_path.is_empty() {
            write!(f, ":{}", self.field_path)?;
        }
        match &self.options {
            Some(options) if !options.delimiter.is_empty() || options.create => write!(
                f,
                ":{}({}), create={}",
                options.delimiter, options.index, options.create
            ),
            _ => Ok(()),
        }
    }
}

/// The targets of a replacement's value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Target {
    pub(crate) select: Option<Selector>,
    pub(crate) reject: Vec<Selector>,
    pub(crate) field_paths: Vec<String>,
    pub(crate) options: Option<FieldOptions>,
}

impl Decode for Target {
    const NAME: &'static str = "TargetSelector";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        Ok(Self {
            select: object.object("select")?,
            reject: object.list("reject")?.unwrap_or_default(),
            field_paths: object.texts("fieldPaths")?.unwrap_or_default(),
            options: object.object("options")?,
        })
    }
}

/// Which part of a value is read or replaced.
#[derive(Clone, Debug, Default)]
pub(crate) struct FieldOptions {
    pub(crate) delimiter: String,
    pub(crate) index: i64,
    pub(crate) create: bool,
}

impl Decode for FieldOptions {
    const NAME: &'static str = "FieldOptions";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        // KZ-REPL-023: accepted and without effect
        object.text("encoding")?;
        Ok(Self {
            delimiter: object.text("delimiter")?,
            index: object.integer("index")?,
            create: object.boolean("create")?,
        })
    }
}

/// An entry of `vars` (KZ-VAR-001).
#[derive(Clone, Debug, Default)]
pub(crate) struct Var {
    pub(crate) name: String,
    pub(crate) target: ResId,
    pub(crate) field_path: String,
    /// The object's type, except for parts written as `apiVersion`.
    written: Gvk,
}

impl Decode for Var {
    const NAME: &'static str = "Var";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        let target = object.object::<VarTarget>("objref")?.unwrap_or_default();
        Ok(Self {
            name: object.text("name")?,
            written: target.written,
            target: target.id,
            field_path: object.object::<VarField>("fieldref")?.unwrap_or_default().0,
        })
    }
}

impl Var {
    /// The path of the value.
    pub(crate) fn field_path_or_default(&self) -> &str {
        if self.field_path.is_empty() {
            "metadata.name"
        } else {
            &self.field_path
        }
    }
}

impl Var {
    /// As shown in messages before its defaults are set.
    pub(crate) fn as_written(&self) -> String {
        format!("{{{} {} {{{}}}}}", self.name, self.written, self.field_path)
    }

    /// As shown in messages with the default path.
    pub(crate) fn with_default(&self) -> String {
        let path = self.field_path_or_default();
        format!("{{{} {} {{{path}}}}}", self.name, self.target.gvk)
    }
}

impl fmt::Display for Var {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{{{} {} {{{}}}}}",
            self.name, self.target.gvk, self.field_path
        )
    }
}

#[derive(Debug, Default)]
struct VarTarget {
    id: ResId,
    written: Gvk,
}

impl Decode for VarTarget {
    const NAME: &'static str = "Target";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        let mut id = ResId {
            gvk: super::fields::gvk(object)?,
            name: object.text("name")?,
            namespace: object.text("namespace")?,
        };
        let written = id.gvk.clone();
        let api_version = object.text("apiVersion")?;
        match api_version.split('/').collect::<Vec<_>>().as_slice() {
            [version] if !version.is_empty() => (*version).clone_into(&mut id.gvk.version),
            [group, version] => {
                let kind = std::mem::take(&mut id.gvk.kind);
                id.gvk = Gvk {
                    group: (*group).to_owned(),
                    version: (*version).to_owned(),
                    kind,
                };
            }
            _ => {}
        }
        Ok(Self { id, written })
    }
}

#[derive(Debug, Default)]
struct VarField(String);

impl Decode for VarField {
    const NAME: &'static str = "FieldSelector";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        object.text("fieldPath").map(Self)
    }
}
