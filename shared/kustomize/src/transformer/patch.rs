//! Applies the entries of `patches`.

use flux_golang::strconv::quote;

use super::{json6902, strategic_merge};
use crate::config::{Patch, Selector};
use crate::error::{Context, Result};
use crate::json_patch::JsonPatch;
use crate::loader::Loader;
use crate::resmap::{ResMap, wrong_count};
use crate::resource::Resource;
use crate::secrecy::MASK;
use crate::state::State;

/// An entry of `patches`, of either kind (KZ-PAT-001 to KZ-PAT-016).
pub(crate) struct PatchTransformer {
    target: Option<Selector>,
    /// The patch as shown in messages.
    source: String,
    patch: Parsed,
}

enum Parsed {
    Strategic(Vec<Resource>),
    Json(JsonPatch),
    /// KZ-PAT-005
    Nothing,
}

impl PatchTransformer {
    pub(crate) fn configure(
        loader: &Loader<'_>,
        entry: &Patch,
        config: &dyn Fn() -> String,
        state: &State<'_>,
    ) -> Result<Self> {
        let patch = entry.text.trim();
        let (text, source) = match (patch.is_empty(), entry.path.is_empty()) {
            (true, true) => {
                return Err(format!("must specify one of patch and path in\n{}", config()).into());
            }
            (false, false) => {
                return Err(
                    format!("patch and path can't be set at the same time\n{}", config()).into(),
                );
            }
            (false, true) => (
                patch.as_bytes().to_vec(),
                if entry.may_hold_secret() {
                    format!("[patch: {}]", quote(MASK))
                } else {
                    format!("[patch: {}]", quote(patch))
                },
            ),
            (true, false) => {
                // KZ-PAT-002
                let text = loader.load(&entry.path).context(|| {
                    format!("failed to get the patch file from path({})", entry.path)
                })?;
                (text.to_vec(), format!("[path: {}]", quote(&entry.path)))
            }
        };
        let strategic = strategic_merge::objects(&text, state);
        let json = JsonPatch::parse(&text, true, state.meter());
        if let Some(fail) = state.meter().stopped() {
            return Err(fail);
        }
        // KZ-PAT-003
        let patch = match (strategic, json) {
            (Ok(objects), Ok(json)) if !objects.is_empty() && !json.is_empty() => {
                return Err(
                    format!("illegally qualifies as both an SM and JSON patch: {source}").into(),
                );
            }
            (Err(_), Err(_)) => {
                return Err(format!("unable to parse SM or JSON patch from {source}").into());
            }
            (Ok(objects), _) if objects.is_empty() => Parsed::Nothing,
            (Ok(mut objects), _) => {
                let options = entry.options.unwrap_or_default();
                for object in &mut objects {
                    if options.allow_name_change {
                        object.allow_name_change();
                    }
                    if options.allow_kind_change {
                        object.allow_kind_change();
                    }
                }
                Parsed::Strategic(objects)
            }
            (Err(_), Ok(json)) if json.is_null() => Parsed::Nothing,
            (Err(_), Ok(json)) => Parsed::Json(json),
        };
        Ok(Self {
            target: entry.target.clone(),
            source,
            patch,
        })
    }

    pub(super) fn run(&self, map: &mut ResMap, state: &mut State<'_>) -> Result<()> {
        match (&self.patch, &self.target) {
            (Parsed::Nothing, _) => Ok(()),
            (Parsed::Json(_), None) => {
                Err(format!("must specify a target for JSON patch {}", self.source).into())
            }
            (Parsed::Json(patch), Some(target)) => {
                for at in map.select(target, state.scopes(), state.meter())? {
                    json6902::apply(patch, map, at, true, state)?;
                }
                Ok(())
            }
            (Parsed::Strategic(patches), Some(target)) => {
                let [patch] = patches.as_slice() else {
                    return Err(format!(
                        "Multiple Strategic-Merge Patches in one `patches` entry is not allowed to set \
                         `patches.target` field: {}",
                        self.source
                    )
                    .into());
                };
                let places = map
                    .select(target, state.scopes(), state.meter())
                    .context(|| {
                        format!(
                            "unable to find patch target {} in `resources`",
                            quote(shown(target))
                        )
                    })?;
                strategic_merge::merge_into(map, &places, patch, state)
            }
            (Parsed::Strategic(patches), None) => patches
                .iter()
                .try_for_each(|patch| Self::apply(patch, map, state)),
        }
    }

    /// KZ-PAT-008
    fn apply(patch: &Resource, map: &mut ResMap, state: &mut State<'_>) -> Result<()> {
        let id = patch.original(state.scopes()).0.clone();
        let key = match patch.previous(state.scopes()).first() {
            Some(first) => first.key(),
            None => patch.current(state.scopes()).key(),
        };
        let found = map.any_of(&key, state.scopes(), state.meter())?;
        let [at] = found.as_slice() else {
            return Err(format!(
                "no resource matches strategic merge patch {}: {}",
                quote(id.to_string()),
                wrong_count(&id, found.len())
            )
            .into());
        };
        strategic_merge::merge_one(map, *at, patch.clone(), state)
    }
}

fn shown(selector: &Selector) -> String {
    format!(
        "{}:a={}:l={}",
        selector.id, selector.annotations, selector.labels
    )
}
