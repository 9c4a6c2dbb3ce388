use crate::{error::Result, resmap::ResMap, state::State};

/// Appends the hash of its content to the name of every object that asks for it (KZ-HASH-001, KZ-HASH-011).
pub(crate) struct Hash;

impl Hash {
    pub(crate) fn run(map: &mut ResMap, state: &mut State<'_>) -> Result<()> {
        for resource in map.list_mut() {
            if resource.needs_hash() {
                let hash = crate::hash::hash(resource.node())?;
                resource.store_previous(state.scopes());
                let name = format!("{}-{hash}", resource.name());
                resource.set_name(&name);
            }
        }
        Ok(())
    }
}
