//! The fields that the built-in transformers change (KZ-FS rows).

use std::rc::Rc;

use flux_yaml::Value;

use crate::config::{Decode, FieldSpec, Mode, Object, decode, merge_all};
use crate::default_fields;
use crate::error::{Context, Result};
use crate::id::Gvk;
use crate::meter::Meter;
use crate::secrecy::unreadable;
use crate::state::State;
use crate::transformer::sort::kind_rank;

/// The fields that refer to objects of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NameReference {
    pub(crate) target: Gvk,
    pub(crate) referrers: Vec<FieldSpec>,
}

impl Decode for NameReference {
    const NAME: &'static str = "NameBackReferences";

    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        let target = Gvk {
            group: object.inline_text("group")?,
            version: object.inline_text("version")?,
            kind: object.inline_text("kind")?,
        };
        Ok(Self {
            target,
            referrers: object
                .list_as("fieldSpecs", "types.FsSlice")?
                .unwrap_or_default(),
        })
    }
}

/// The field specs of every transformer that has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TransformerConfig {
    pub(crate) name_prefix: Vec<FieldSpec>,
    pub(crate) name_suffix: Vec<FieldSpec>,
    pub(crate) namespace: Vec<FieldSpec>,
    pub(crate) common_labels: Vec<FieldSpec>,
    pub(crate) labels: Vec<FieldSpec>,
    pub(crate) template_labels: Vec<FieldSpec>,
    pub(crate) common_annotations: Vec<FieldSpec>,
    pub(crate) name_reference: Vec<NameReference>,
    pub(crate) var_reference: Vec<FieldSpec>,
    pub(crate) images: Vec<FieldSpec>,
    pub(crate) replicas: Vec<FieldSpec>,
}

impl Decode for TransformerConfig {
    const NAME: &'static str = "TransformerConfig";

    /// KZ-FS-010
    fn decode(object: &mut Object<'_>) -> Result<Self, String> {
        let list = |object: &mut Object<'_>, field| {
            object
                .list_as::<FieldSpec>(field, "types.FsSlice")
                .map(Option::unwrap_or_default)
        };
        Ok(Self {
            name_prefix: list(object, "namePrefix")?,
            name_suffix: list(object, "nameSuffix")?,
            namespace: list(object, "namespace")?,
            common_labels: list(object, "commonLabels")?,
            labels: list(object, "labels")?,
            template_labels: list(object, "templateLabels")?,
            common_annotations: list(object, "commonAnnotations")?,
            name_reference: object.list("nameReference")?.unwrap_or_default(),
            var_reference: list(object, "varReference")?,
            images: list(object, "images")?,
            replicas: list(object, "replicas")?,
        })
    }
}

impl TransformerConfig {
    /// The built-in table.
    pub(crate) fn defaults() -> Self {
        let mut config = default_fields::table();
        config.sort();
        config
    }

    /// Reads a `configurations` file.
    pub(crate) fn parse(text: &[u8], meter: &Rc<Meter>) -> Result<Self> {
        let (value, _charge): (Result<Value, _>, _) = meter.read(text, |text, claim| {
            flux_yaml::sigs::from_str_strict_within(text, claim)
        })?;
        let value = value.map_err(|error| unreadable(&error, text))?;
        let mut config: Self = decode(&value, Mode::CONFIGURATION)
            .map_err(|error| format!("error unmarshaling JSON: while decoding JSON: {error}"))?;
        config.sort();
        Ok(config)
    }

    fn lists(&mut self) -> [(&'static str, &mut Vec<FieldSpec>); 10] {
        [
            ("NamePrefix", &mut self.name_prefix),
            ("NameSuffix", &mut self.name_suffix),
            ("NameSpace", &mut self.namespace),
            ("CommonAnnotations", &mut self.common_annotations),
            ("CommonLabels", &mut self.common_labels),
            ("Labels", &mut self.labels),
            ("TemplateLabels", &mut self.template_labels),
            ("VarReference", &mut self.var_reference),
            ("Images", &mut self.images),
            ("Replicas", &mut self.replicas),
        ]
    }

    fn sort(&mut self) {
        let key = |gvk: &Gvk| (kind_rank(&gvk.kind), gvk.sort_text());
        for (_, list) in self.lists() {
            list.sort_by_cached_key(|spec| key(&spec.gvk));
        }
        self.name_reference
            .sort_by_cached_key(|reference| key(&reference.target));
    }

    /// Adds what is not present yet (KZ-FS-009, KZ-FS-011).
    pub(crate) fn merge(&mut self, other: &Self, meter: &Meter) -> Result<()> {
        let mut other = other.clone();
        for ((name, present), (_, new)) in self.lists().into_iter().zip(other.lists()) {
            meter.work(new.len() * (present.len() + new.len()) / 8)?;
            merge_all(present, new)
                .map_err(|error| format!("failed to merge {name} fieldSpec: {error}"))?;
        }
        for reference in &other.name_reference {
            self.add_reference(reference, meter)
                .context(|| "failed to merge NameReference fieldSpec".into())?;
        }
        self.sort();
        Ok(())
    }

    pub(crate) fn add_reference(&mut self, new: &NameReference, meter: &Meter) -> Result<()> {
        meter.work(self.name_reference.len() / 8)?;
        let present = self
            .name_reference
            .iter_mut()
            .find(|present| present.target == new.target);
        if let Some(present) = present {
            let (old, new) = (&mut present.referrers, &new.referrers);
            meter.work(new.len() * (old.len() + new.len()) / 8)?;
            return Ok(merge_all(old, new)?);
        }
        self.name_reference.push(new.clone());
        Ok(())
    }
}

/// Adds to a configuration that is shared until it is changed.
///
/// Without a previous one, the new one is still added spec by spec, so that a spec for all kinds replaces one for a
/// single kind with the same path, and conflicting `create` settings are an error (KZ-FS-009). The defaults have
/// neither.
pub(crate) fn merge_shared(
    present: &mut Option<Rc<TransformerConfig>>,
    new: &Rc<TransformerConfig>,
    state: &State<'_>,
) -> Result<()> {
    let meter = state.meter();
    match present {
        None if Rc::ptr_eq(new, &state.defaults) => *present = Some(Rc::clone(new)),
        None => {
            let mut config = TransformerConfig::default();
            config.merge(new, meter)?;
            *present = Some(Rc::new(config));
        }
        Some(config) if Rc::ptr_eq(config, new) => {}
        Some(config) => Rc::make_mut(config).merge(new, meter)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_does_not_change_the_defaults() {
        // KZ-FS-009
        let mut config = TransformerConfig::default();
        config
            .merge(&TransformerConfig::defaults(), &Meter::unlimited())
            .unwrap();
        assert!(config == TransformerConfig::defaults());
    }
}
