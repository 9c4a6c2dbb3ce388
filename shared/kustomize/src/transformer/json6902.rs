//! Applies the entries of `patchesJson6902`.

use flux_golang::strconv::quote;

use crate::config::{Patch, Selector};
use crate::error::{Context, Result};
use crate::json_patch::JsonPatch;
use crate::loader::Loader;
use crate::meter::Charge;
use crate::node::{self, Extent};
use crate::resmap::ResMap;
use crate::resource::build_annotation;
use crate::secrecy::{MASK, may_hold_secret};
use crate::state::State;

/// An entry of `patchesJson6902` (KZ-PAT-020).
pub(crate) struct Json6902 {
    target: Selector,
    patch: JsonPatch,
}

impl Json6902 {
    pub(crate) fn configure(loader: &Loader<'_>, entry: &Patch) -> Result<Self> {
        let Some(target) = entry
            .target
            .clone()
            .filter(|target| !target.id.name.is_empty())
        else {
            return Err("must specify the target name".into());
        };
        let text = match (entry.path.is_empty(), entry.text.is_empty()) {
            (true, true) => return Err("empty file path and empty jsonOp".into()),
            (false, false) => return Err("must specify a file path or jsonOp, not both".into()),
            (true, false) => entry.text.as_bytes().to_vec(),
            (false, true) => {
                let text = loader.load(&entry.path)?.to_vec();
                if text.is_empty() {
                    return Err(
                        format!("patch file '{}' empty seems to be empty", entry.path).into(),
                    );
                }
                text
            }
        };
        let secret = entry.may_hold_secret() || may_hold_secret(&text);
        let shown = || {
            if secret {
                MASK.to_owned()
            } else {
                String::from_utf8_lossy(&text).trim_end().to_owned()
            }
        };
        let patch = JsonPatch::parse(&text, secret, loader.meter())
            .context(|| format!("decoding {}", quote(shown())))?;
        if patch.is_empty() {
            return Err(format!(
                "patch appears to be empty; file={}, JsonOp={}",
                entry.path,
                shown()
            )
            .into());
        }
        Ok(Self { target, patch })
    }

    pub(super) fn run(&self, map: &mut ResMap, state: &mut State<'_>) -> Result<()> {
        for at in map.select(&self.target, state.scopes(), state.meter())? {
            apply(&self.patch, map, at, false, state)?;
        }
        Ok(())
    }
}

/// Applies the patch to the object at this position. Internal annotations are preserved (KZ-J69-013, KZ-J69-014).
pub(super) fn apply(
    patch: &JsonPatch,
    map: &mut ResMap,
    at: usize,
    store_previous: bool,
    state: &State<'_>,
) -> Result<()> {
    let (scopes, meter) = (state.scopes(), state.meter());
    map.change(at, scopes, meter, |resource| {
        if store_previous {
            resource.store_previous(scopes);
        }
        let mut kept = node::annotations(resource.node());
        kept.retain(|key, _| build_annotation::is_internal(key));
        let value = node::to_value(resource.node())
            .map_err(|fail| meter.in_object_of(resource.kind(), fail))?;
        let patched = patch.apply(value, meter)?;
        let mut charge = Charge::new(meter);
        charge.take(2 * Extent::of_value(&patched).bytes)?;
        if patched.as_map().is_none() {
            return Err(
                "json: cannot unmarshal into Go value of type map[string]interface {}".into(),
            );
        }
        let object = resource.node_mut();
        *object = node::from_json(&patched);
        let mut annotations = node::annotations(object);
        annotations.extend(kept);
        node::set_annotations(object, &annotations);
        Ok(())
    })
}
