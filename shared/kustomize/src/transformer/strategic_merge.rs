//! Applies strategic merge patches by identity.

use std::rc::Rc;

use crate::error::Result;
use crate::loader::Loader;
use crate::merge;
use crate::node::{self, Changes, Node};
use crate::resmap::{ResMap, wrong_count};
use crate::resource::Resource;
use crate::secrecy::{MASK, is_inline_secret, may_hold_secret, shown_url};
use crate::state::State;

/// Strategic merge patches that find their objects by identity (KZ-PAT-017 to KZ-PAT-019).
pub(crate) struct StrategicMerge {
    patches: Vec<Resource>,
}

/// The objects in a patch's text.
pub(super) fn objects(text: &[u8], state: &State<'_>) -> Result<Vec<Resource>> {
    let nodes = node::read_documents(text, &state.options.limits, state.meter())?;
    nodes
        .into_iter()
        .map(|node| {
            let mut patch = Resource::new(node);
            patch.update_claim(state.meter())?;
            Ok(patch)
        })
        .collect()
}

impl StrategicMerge {
    /// Each entry is tried as text, then as a path.
    pub(crate) fn configure(
        loader: &Loader<'_>,
        entries: &[String],
        text: &str,
        state: &State<'_>,
    ) -> Result<Self> {
        if entries.is_empty() && text.is_empty() {
            return Err("empty file path and empty patch content".into());
        }
        let mut patches = Vec::new();
        for entry in entries {
            let found = match objects(entry.as_bytes(), state) {
                Ok(found) => found,
                // If treated as a path, all of it would be quoted in the message.
                Err(fail) if fail.is_final() || is_inline_secret(entry) => return Err(fail),
                Err(_) => {
                    let content = loader.load(entry)?;
                    objects(&content, state)
                        .map_err(|fail| fail.reworded(|text| in_file(text, entry)))?
                }
            };
            patches.extend(found);
        }
        if !text.is_empty() {
            patches.extend(objects(text.as_bytes(), state)?);
        }
        // KZ-PAT-018
        if patches.is_empty() {
            let shown = if may_hold_secret(text.as_bytes()) {
                MASK
            } else {
                text
            };
            return Err(format!(
                "patch appears to be empty; files={}, Patch={shown}",
                crate::go::list_of(entries)
            )
            .into());
        }
        Ok(Self { patches })
    }

    pub(super) fn run(&self, map: &mut ResMap, state: &mut State<'_>) -> Result<()> {
        for patch in &self.patches {
            let id = patch.original(state.scopes()).0.clone();
            let key = match patch.previous(state.scopes()).first() {
                Some(first) => first.key(),
                None => patch.current(state.scopes()).key(),
            };
            let found = map.any_of(&key, state.scopes(), state.meter())?;
            let [at] = found.as_slice() else {
                return Err(wrong_count(&id, found.len()).into());
            };
            merge_into(map, &[*at], patch, state)?;
        }
        Ok(())
    }
}

/// Adds the file's name to a parse failure (KZ-LOAD-005); that of a URL without its secrets.
pub(crate) fn in_file(error: &str, path: &str) -> String {
    let path = shown_url(path);
    if error.contains("error converting YAML to JSON") || error.contains("error unmarshaling JSON")
    {
        format!("YAML file [{path}] encounters a format error.\n{error}\n")
    } else if error.contains("MalformedYAMLError") {
        format!("{error} in File: {path}")
    } else {
        error.to_owned()
    }
}

/// Applies a copy of the patch to the objects at these positions; deleted ones are removed.
pub(crate) fn merge_into(
    map: &mut ResMap,
    places: &[usize],
    patch: &Resource,
    state: &mut State<'_>,
) -> Result<()> {
    for at in places {
        let Some(target) = map.get(*at) else {
            continue;
        };
        // The copy's labels and annotations are rewritten, so that nulls among them become text.
        let mut copy = patch.clone();
        copy.take_metadata_from(patch);
        let mut changes = Changes::default();
        let object = copy.node_mut();
        node::set_top(object, "kind", patch.kind(), &mut changes);
        node::set_top(
            object,
            "apiVersion",
            &target.gvk().api_version(),
            &mut changes,
        );
        merge_one(map, *at, copy, state)?;
    }
    state.meter().work(map.len() / 8)?;
    if map.iter().any(Resource::is_empty) {
        map.drop_empty();
    }
    map.require_unique(state)
}

/// Applies a patch to one object (KZ-SMP-026).
pub(super) fn merge_one(
    map: &mut ResMap,
    at: usize,
    patch: Resource,
    state: &mut State<'_>,
) -> Result<()> {
    let (name_may_change, kind_may_change) = (patch.may_change_name(), patch.may_change_kind());
    // The schema's scopes are only read while the schema is in use.
    let scopes = state.scopes().clone();
    let meter = Rc::clone(state.meter());
    let patch = patch.into_node();
    let schema = state.schema();
    map.change(at, &scopes, &meter, |target| {
        let (name, namespace, kind) = (
            target.name().to_owned(),
            target.namespace().to_owned(),
            target.kind().to_owned(),
        );
        if name_may_change || kind_may_change {
            target.store_previous(&scopes);
        }
        let object = target.node_mut();
        let before = std::mem::replace(object, Node::null());
        let merged = merge::merge(patch, before, schema, &meter)
            .map_err(|fail| meter.in_object_of(&kind, fail))?;
        let Some(merged) = merged else {
            return Ok(());
        };
        *object = merged;
        if node::is_empty(object) {
            return Ok(());
        }
        let mut changes = Changes::default();
        if !kind_may_change {
            node::set_top(object, "kind", &kind, &mut changes);
        }
        if !name_may_change {
            node::set_name(object, &name, &mut changes);
        }
        node::set_namespace(object, &namespace, &mut changes);
        changes.settle(object, &meter)
    })
}
