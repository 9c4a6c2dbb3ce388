//! Appends content hashes to names.

use crate::error::Result;
use crate::meter::Charge;
use crate::node::Extent;
use crate::resmap::ResMap;
use crate::state::State;

/// Appends the hash of its content to the name of every object marked for it (KZ-HASH-001, KZ-HASH-011).
pub(crate) struct Hash;

impl Hash {
    pub(crate) fn run(map: &mut ResMap, state: &mut State<'_>) -> Result<()> {
        for resource in map.list_mut() {
            if resource.needs_hash() {
                let meter = state.meter();
                // Its JSON is written and hashed.
                let extent = Extent::of_node(resource.node());
                let mut charge = Charge::new(meter);
                charge.take(2 * extent.bytes)?;
                let hash = crate::hash::hash(resource.node())
                    .map_err(|fail| meter.in_object_of(resource.kind(), fail))?;
                resource.store_previous(state.scopes());
                let name = format!("{}-{hash}", resource.name());
                resource.set_name(&name);
                resource.update_claim(meter)?;
            }
        }
        Ok(())
    }
}
