//! Sets replica counts.

use std::rc::Rc;

use crate::config::{FieldSpec, Replica};
use crate::error::Result;
use crate::field_spec;
use crate::node::{self, Changes, Kind};
use crate::resmap::ResMap;
use crate::state::State;

/// Sets the number of replicas (KZ-RPL rows).
pub(crate) struct Replicas {
    pub(crate) replica: Replica,
    pub(crate) fields: Vec<FieldSpec>,
}

impl Replicas {
    pub(super) fn run(&self, map: &mut ResMap, state: &mut State<'_>) -> Result<()> {
        let meter = Rc::clone(state.meter());
        let scopes = state.scopes();
        let name = &self.replica.name;
        let named = map.named(name, scopes, &meter)?;
        let mut found = false;
        for field in &self.fields {
            for at in &named {
                let Some(resource) = map.get(*at) else {
                    continue;
                };
                // KZ-RPL-003
                let current = &resource.current(scopes).id;
                let matches = resource
                    .previous(scopes)
                    .iter()
                    .chain([current])
                    .any(|id| id.name == *name && id.gvk.is_selected(&field.gvk));
                if !matches {
                    continue;
                }
                found = true;
                let mut changes = Changes::default();
                let Some(resource) = map.bodies_mut().get_mut(*at) else {
                    continue;
                };
                let object = resource.body_mut();
                let create = Some((Kind::Scalar, "!!int"));
                field_spec::visit(object, field, create, &meter, &mut |at| {
                    let count = node::tagged("!!int", self.replica.count.to_string());
                    node::set_scalar(at, count, &mut changes)
                })?;
                changes.settle(object, &meter)?;
                resource.update_claim(&meter)?;
            }
        }
        if found {
            return Ok(());
        }
        // KZ-RPL-004
        let kinds: Vec<_> = self
            .fields
            .iter()
            .map(|field| field.gvk.to_string())
            .collect();
        Err(format!(
            "resource with name {name} does not match a config with the following GVK {}",
            crate::go::list_of(&kinds)
        )
        .into())
    }
}
