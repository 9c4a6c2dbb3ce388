//! Sets labels.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::config::FieldSpec;
use crate::error::Result;
use crate::field_spec;
use crate::meter::Charge;
use crate::node::{self, Changes, Kind};
use crate::resmap::ResMap;
use crate::state::State;

/// Sets labels in every field that the specs select (KZ-LBL rows).
pub(crate) struct Labels {
    pub(crate) pairs: BTreeMap<String, String>,
    pub(crate) fields: Vec<FieldSpec>,
}

impl Labels {
    pub(super) fn run(&self, map: &mut ResMap, state: &mut State<'_>) -> Result<()> {
        set_all(&self.pairs, &self.fields, map, state)
    }
}

/// Estimated bytes of an entry, with the mappings created around it.
const MADE: usize = 1 << 10;

/// Sets entries in every field that the specs select. All fields of an object share one value.
pub(super) fn set_all(
    pairs: &BTreeMap<String, String>,
    fields: &[FieldSpec],
    map: &mut ResMap,
    state: &mut State<'_>,
) -> Result<()> {
    if pairs.is_empty() {
        return Ok(());
    }
    let resources = if fields.iter().all(|field| is_map_of_its_own(&field.path)) {
        map.bodies_mut()
    } else {
        map.list_mut().as_mut_slice()
    };
    let meter = Rc::clone(state.meter());
    for resource in resources {
        let mut charge = Charge::new(&meter);
        let object = resource.body_mut();
        let mut changes = Changes::default();
        for (key, value) in pairs {
            let id = state.next_share();
            for field in fields {
                let create = Some((Kind::Mapping, "!!map"));
                field_spec::visit(object, field, create, &meter, &mut |at| {
                    charge.take(key.len() + value.len() + MADE)?;
                    node::set_field(at, key, node::shared_scalar(value, id), &mut changes)
                })?;
            }
            changes.settle(object, &meter)?;
        }
        resource.update_claim(&meter)?;
    }
    map.drop_empty();
    Ok(())
}

/// Whether the field only has entries, so that none of them can be an object's type or name.
fn is_map_of_its_own(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or_default();
    matches!(last, "labels" | "annotations" | "matchLabels" | "selector")
}
