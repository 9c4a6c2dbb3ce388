//! Adds prefixes and suffixes to names.

use std::rc::Rc;

use crate::config::FieldSpec;
use crate::error::Result;
use crate::field_spec;
use crate::id::Gvk;
use crate::node::{self, Changes, Kind};
use crate::resmap::ResMap;
use crate::resource::Resource;
use crate::state::State;

/// Adds a prefix to names (KZ-NAME rows).
pub(crate) struct Prefix {
    pub(crate) prefix: String,
    pub(crate) fields: Vec<FieldSpec>,
}

/// Adds a suffix to names.
pub(crate) struct Suffix {
    pub(crate) suffix: String,
    pub(crate) fields: Vec<FieldSpec>,
}

impl Prefix {
    pub(super) fn run(&self, map: &mut ResMap, state: &mut State<'_>) -> Result<()> {
        rename(
            &self.prefix,
            &self.fields,
            map,
            state,
            Resource::add_prefix,
            |name| format!("{}{name}", self.prefix),
        )
    }
}

impl Suffix {
    pub(super) fn run(&self, map: &mut ResMap, state: &mut State<'_>) -> Result<()> {
        rename(
            &self.suffix,
            &self.fields,
            map,
            state,
            Resource::add_suffix,
            |name| format!("{name}{}", self.suffix),
        )
    }
}

/// Kinds that keep their names (KZ-NAME-001).
fn is_exempt(gvk: &Gvk) -> bool {
    match gvk.kind.as_str() {
        "CustomResourceDefinition" | "Namespace" => true,
        "APIService" => gvk.group == "apiregistration.k8s.io",
        _ => false,
    }
}

fn rename(
    affix: &str,
    fields: &[FieldSpec],
    map: &mut ResMap,
    state: &mut State<'_>,
    note: impl Fn(&mut Resource, &str),
    renamed: impl Fn(&str) -> String,
) -> Result<()> {
    let meter = Rc::clone(state.meter());
    let scopes = state.scopes();
    for resource in map.list_mut() {
        // KZ-NAME-002
        let gvk = resource.original(scopes).0.gvk.clone();
        if is_exempt(&gvk) {
            continue;
        }
        for field in fields.iter().filter(|field| gvk.is_selected(&field.gvk)) {
            if field.path == "metadata/name" {
                note(resource, affix);
                if !affix.is_empty() {
                    resource.store_previous(scopes);
                }
            }
            let mut changes = Changes::default();
            let object = resource.node_mut();
            let create = Some((Kind::Scalar, "!!str"));
            field_spec::visit(object, field, create, &meter, &mut |at| {
                let name = node::scalar(renamed(&at.value));
                node::set_scalar(at, name, &mut changes)
            })?;
            changes.settle(object, &meter)?;
            resource.update_claim(&meter)?;
        }
    }
    map.drop_empty();
    Ok(())
}
