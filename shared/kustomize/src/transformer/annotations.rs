//! Sets annotations.

use std::collections::BTreeMap;

use crate::config::FieldSpec;
use crate::error::Result;
use crate::resmap::ResMap;
use crate::state::State;

/// Sets annotations in every field that the specs select.
pub(crate) struct Annotations {
    pub(crate) pairs: BTreeMap<String, String>,
    pub(crate) fields: Vec<FieldSpec>,
}

impl Annotations {
    pub(super) fn run(&self, map: &mut ResMap, state: &mut State<'_>) -> Result<()> {
        let internal = self
            .pairs
            .keys()
            .any(|key| crate::resource::build_annotation::is_internal(key));
        super::labels::set_all(&self.pairs, &self.fields, map, state)?;
        if internal {
            // The specs may set history annotations, so identities must be recomputed.
            map.list_mut().iter_mut().for_each(|resource| {
                resource.node_mut();
            });
        }
        Ok(())
    }
}
