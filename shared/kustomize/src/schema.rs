//! The types that a strategic merge needs: which lists merge, and by which keys (KZ-SMP-006 to KZ-SMP-009).

mod builtin;
mod swagger;

use std::collections::HashMap;

pub(crate) use swagger::comment_schema;

use crate::id::Gvk;
use crate::meter::Charge;
use crate::scope::Scopes;

/// A type in a [`Schema`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TypeId(u32);

/// One type: an object, a list or a scalar.
#[derive(Clone, Debug, Default)]
struct Type {
    /// The type is a reference to another one, by name.
    reference: Option<String>,
    fields: HashMap<Box<str>, TypeId>,
    /// The type of fields that are not listed.
    others: Option<TypeId>,
    /// Whether fields that are not listed exist, with unknown types. The built-in table omits everything that does not
    /// affect merges.
    open: bool,
    is_list: bool,
    items: Option<TypeId>,
    strategy: Option<String>,
    merge_key: Option<String>,
    map_keys: Option<Vec<String>>,
}

/// All types of one build.
#[derive(Debug, Default)]
pub(crate) struct Schema {
    types: Vec<Type>,
    by_name: HashMap<String, TypeId>,
    by_gvk: HashMap<Gvk, TypeId>,
    /// The scopes derived from the document's paths.
    pub(crate) scopes: Scopes,
    /// The memory of the added documents.
    charges: Vec<Charge>,
}

/// The maximum length of a chain of references.
const MAX_REFERENCES: usize = 64;

impl Schema {
    /// The types of Kubernetes 1.21 and of kustomize.
    pub(crate) fn builtin() -> Self {
        let mut schema = Self::default();
        schema.add_builtin();
        schema
    }

    fn push(&mut self, new: Type) -> TypeId {
        let id = TypeId(u32::try_from(self.types.len()).unwrap_or(u32::MAX));
        self.types.push(new);
        id
    }

    fn get(&self, id: TypeId) -> Option<&Type> {
        self.types.get(id.0 as usize)
    }

    /// The type of objects of this kind.
    pub(crate) fn of(&self, gvk: &Gvk) -> Option<TypeId> {
        self.by_gvk.get(gvk).copied()
    }

    fn resolve(&self, id: TypeId) -> Option<TypeId> {
        let mut at = id;
        for _ in 0..MAX_REFERENCES {
            match &self.get(at)?.reference {
                None => return Some(at),
                Some(name) => at = *self.by_name.get(name)?,
            }
        }
        None
    }

    /// The type of a field.
    pub(crate) fn field(&self, id: TypeId, name: &str) -> Option<TypeId> {
        let object = self.get(id)?;
        if let Some(field) = object.fields.get(name).copied().or(object.others) {
            return self.resolve(field);
        }
        object.open.then_some(UNKNOWN)
    }

    /// The type of a list's items.
    pub(crate) fn items(&self, id: TypeId) -> Option<TypeId> {
        let list = self.get(id)?;
        if !list.is_list {
            return None;
        }
        self.resolve(list.items?)
    }

    /// The keys that identify the list's items, empty for a list of scalars; `None` if the list is replaced.
    pub(crate) fn merge_keys(&self, id: TypeId) -> Option<Vec<String>> {
        let list = self.get(id)?;
        let strategy = list.strategy.as_deref()?;
        if !strategy.split(',').any(|part| part == "merge") {
            return None;
        }
        Some(match (&list.map_keys, &list.merge_key) {
            (Some(keys), _) => keys.clone(),
            (None, Some(key)) => vec![key.clone()],
            (None, None) => Vec::new(),
        })
    }
}

/// The type of fields that exist and whose type is unknown.
const UNKNOWN: TypeId = TypeId(u32::MAX);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(schema: &Schema, api_version: &str, kind: &str, path: &[&str]) -> Option<TypeId> {
        let mut id = schema.of(&Gvk::new(api_version, kind))?;
        for part in path {
            id = if *part == "[]" {
                schema.items(id)?
            } else {
                schema.field(id, part)?
            };
        }
        Some(id)
    }

    #[test]
    fn the_builtin_table_knows_lists_and_their_keys() {
        let schema = Schema::builtin();
        let pod = ["spec", "template", "spec"];
        let keys = |path: &[&str]| {
            let path: Vec<_> = pod.iter().chain(path).copied().collect();
            at(&schema, "apps/v1", "Deployment", &path).and_then(|id| schema.merge_keys(id))
        };
        let some = |keys: &[&str]| Some(keys.iter().map(ToString::to_string).collect::<Vec<_>>());
        // KZ-SMP-009
        assert_eq!(keys(&["containers"]), some(&["name"]));
        assert_eq!(
            keys(&["containers", "[]", "ports"]),
            some(&["containerPort", "protocol"])
        );
        assert_eq!(keys(&["volumes"]), some(&["name"]));
        // KZ-SMP-007
        assert_eq!(keys(&["containers", "[]", "args"]), None);
        assert_eq!(keys(&["tolerations"]), None);
        // KZ-SMP-016
        let finalizers = at(&schema, "v1", "ConfigMap", &["metadata", "finalizers"]).unwrap();
        assert_eq!(schema.merge_keys(finalizers), some(&[]));
        // KZ-OAPI-009
        let generators = at(
            &schema,
            "kustomize.config.k8s.io/v1beta1",
            "Kustomization",
            &["configMapGenerator"],
        );
        assert_eq!(
            generators.and_then(|id| schema.merge_keys(id)),
            some(&["name"])
        );
        assert_eq!(at(&schema, "example.com/v1", "Thing", &[]), None);
    }
}
