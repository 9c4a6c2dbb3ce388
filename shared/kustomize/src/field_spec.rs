//! Walks an object to the fields that a spec names (KZ-FS-002 to KZ-FS-008).

use crate::{
    config::FieldSpec,
    error::{Context, Fail, Result},
    id::Gvk,
    node::{self, Kind, Node},
};

/// What a walk does on its way and at its end.
pub(crate) struct Walk<'s> {
    spec: &'s FieldSpec,
    /// The kind and tag of a field that is made because it is missing; none is made without it.
    create: Option<(Kind, &'static str)>,
}

/// Calls `set` for every field of `object` that the spec names.
pub(crate) fn visit(
    object: &mut Node,
    spec: &FieldSpec,
    create: Option<(Kind, &'static str)>,
    set: &mut dyn FnMut(&mut Node) -> Result<()>,
) -> Result<()> {
    let gvk = Gvk::new(node::api_version(object), node::kind_field(object));
    if !gvk.is_selected(&spec.gvk) {
        return Ok(());
    }
    let walk = Walk { spec, create };
    let path = node::split_path(&spec.path, '/');
    match walk.step(object, &path, set) {
        Ok(()) => Ok(()),
        Err(fail) => {
            let id = crate::id::ResId {
                gvk,
                name: text(object, "name"),
                namespace: text(object, "namespace"),
            };
            Err::<(), Fail>(fail.in_object_of(&id.gvk.kind))
                .context(|| format!("considering field '{}' of object {id}", spec.path))
        }
    }
}

fn text(object: &Node, field: &str) -> String {
    node::meta_field(object, field).map_or_else(String::new, |value| value.value.clone())
}

impl Walk<'_> {
    fn step(
        &self,
        at: &mut Node,
        path: &[String],
        set: &mut dyn FnMut(&mut Node) -> Result<()>,
    ) -> Result<()> {
        let Some((part, rest)) = path.split_first() else {
            return set(at);
        };
        if node::is_null(at) {
            return Ok(());
        }
        match at.kind {
            Kind::Mapping => self.enter(at, part, rest, set),
            Kind::Sequence => at
                .content
                .iter_mut()
                .try_for_each(|item| self.step(item, path, set))
                .context(|| format!("visit traversal on path: {}", crate::go::list_of(path))),
            _ => Err("expected sequence or mapping node".into()),
        }
    }

    fn enter(
        &self,
        at: &mut Node,
        part: &str,
        rest: &[String],
        set: &mut dyn FnMut(&mut Node) -> Result<()>,
    ) -> Result<()> {
        let (name, is_list) = match part.strip_suffix("[]") {
            Some(name) => (name, true),
            None => (part, false),
        };
        if name.is_empty() {
            return Err("cannot set or create an empty field name".into());
        }
        let creates = self.create.filter(|_| self.spec.create && !is_list);
        // What a missing field is made of, and what a null becomes.
        let (made, fill) = match creates {
            None => (None, is_list.then_some((Kind::Sequence, ""))),
            Some((kind, tag)) if rest.is_empty() => (Some(kind), Some((kind, tag))),
            Some(_) => (Some(Kind::Mapping), Some((Kind::Mapping, "!!map"))),
        };
        let found = match made {
            Some(kind) => {
                node::lookup_create(at, kind, &[name]).context(|| format!("fieldName: {name}"))?
            }
            // A name that is a number or a `[key=value]` looks into lists, which this is not.
            None => match node::lookup(at, &[name]).context(|| format!("fieldName: {name}"))? {
                Some(_) => at.get_mut(name.trim()),
                None => None,
            },
        };
        let Some(field) = found else {
            return Ok(());
        };
        if node::is_null(field)
            && let Some((kind, tag)) = fill
        {
            field.kind = kind;
            field.tag = tag.into();
        }
        self.step(field, rest, set)
    }
}
