use crate::{
    error::Result,
    loader::Loader,
    merge,
    node::{self, Changes, Node},
    resmap::{ResMap, not_one},
    resource::Resource,
    state::State,
};

/// Strategic-merge patches that find their objects by identity (KZ-PAT-017 to KZ-PAT-019).
pub(crate) struct StrategicMerge {
    patches: Vec<Resource>,
}

/// Objects of a patch's text.
pub(super) fn objects(text: &[u8], state: &State<'_>) -> Result<Vec<Resource>, String> {
    let nodes = node::read_documents(text, &state.options.limits)?;
    Ok(nodes.into_iter().map(Resource::new).collect())
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
            let found = if let Ok(found) = objects(entry.as_bytes(), state) {
                found
            } else {
                let content = loader.load(entry)?;
                objects(&content, state).map_err(|error| in_file(error, entry))?
            };
            patches.extend(found);
        }
        if !text.is_empty() {
            patches.extend(objects(text.as_bytes(), state)?);
        }
        // KZ-PAT-018
        if patches.is_empty() {
            return Err(format!(
                "patch appears to be empty; files={}, Patch={text}",
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
            let found = map.any_of(&key, state.scopes());
            let [at] = found.as_slice() else {
                return Err(not_one(&id, found.len()).into());
            };
            merge_into(map, &[*at], patch, state)?;
        }
        Ok(())
    }
}

/// Names the file in a failure to parse (KZ-LOAD-005).
pub(crate) fn in_file(error: String, path: &str) -> String {
    if error.contains("error converting YAML to JSON") || error.contains("error unmarshaling JSON")
    {
        format!("YAML file [{path}] encounters a format error.\n{error}\n")
    } else if error.contains("MalformedYAMLError") {
        format!("{error} in File: {path}")
    } else {
        error
    }
}

/// Applies a copy of the patch to the objects at these places; those that it deletes go.
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
        // The copy's labels and annotations are rewritten, so that a null among them becomes the text of one.
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
    if map.iter().any(Resource::is_empty) {
        map.drop_empty();
    }
    map.require_unique(state.scopes())
}

/// Applies a patch to one object (KZ-SMP-026).
pub(super) fn merge_one(
    map: &mut ResMap,
    at: usize,
    patch: Resource,
    state: &mut State<'_>,
) -> Result<()> {
    let (name_may_change, kind_may_change) = (patch.may_change_name(), patch.may_change_kind());
    // Scopes are only read while the schema is being used; they are the schema's own.
    let scopes = state.scopes().clone();
    let patch = patch.into_node();
    let schema = state.schema();
    map.change(at, &scopes, |target| {
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
        let merged =
            merge::merge(patch, before, schema).map_err(|fail| fail.in_object_of(&kind))?;
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
        changes.settle(object);
        Ok(())
    })
    .unwrap_or(Ok(()))
}
