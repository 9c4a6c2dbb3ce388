//! Which object a value belongs to.

use std::collections::HashMap;

use flux_yaml::edit::{Scalar, Step};

use crate::changes::ObjectId;

/// The kinds whose items are objects of their own (IA-UPD-070).
const LISTS: [&str; 2] = ["List", "ResourceList"];
/// The field with these items.
const ITEMS: &str = "items";

/// The objects of one part of a file.
#[derive(Debug, Default)]
pub(super) struct Identities {
    /// By document, and by item if the document is a list.
    objects: HashMap<(usize, Option<usize>), ObjectId>,
    /// Whether the items of a list are objects of their own: only if the list is the only document of the file, as upstream
    /// unwraps it.
    unwraps: bool,
}

impl Identities {
    pub(super) fn of(scalars: &[Scalar], is_single: bool) -> Self {
        let mut identities = Self {
            objects: HashMap::new(),
            unwraps: is_single,
        };
        for scalar in scalars {
            identities.take(scalar.document, None, &scalar.path, scalar);
            if let Some((item, path)) = of_item(&scalar.path) {
                identities.take(scalar.document, Some(item), path, scalar);
            }
        }
        identities
    }

    /// Takes a value that is part of an identity; of a repeated key the first counts.
    fn take(&mut self, document: usize, item: Option<usize>, path: &[Step], scalar: &Scalar) {
        let part: fn(&mut ObjectId) -> &mut String = match path {
            [Step::Key(key)] => match &**key {
                "apiVersion" => |id| &mut id.api_version,
                "kind" => |id| &mut id.kind,
                _ => return,
            },
            [Step::Key(metadata), Step::Key(key)] if &**metadata == "metadata" => match &**key {
                "name" => |id| &mut id.name,
                "namespace" => |id| &mut id.namespace,
                _ => return,
            },
            _ => return,
        };
        if scalar.is_null() {
            return;
        }
        let object = self.objects.entry((document, item)).or_default();
        let part = part(object);
        if part.is_empty() {
            part.clone_from(&scalar.value);
        }
    }

    /// The object of a value (IA-UPD-081).
    pub(super) fn of_scalar(&self, scalar: &Scalar) -> ObjectId {
        let document = self.objects.get(&(scalar.document, None));
        let is_list = document.is_some_and(|object| LISTS.contains(&object.kind.as_str()));
        if self.unwraps
            && is_list
            && let Some((item, _)) = of_item(&scalar.path)
        {
            let found = self.objects.get(&(scalar.document, Some(item)));
            return found.cloned().unwrap_or_default();
        }
        document.cloned().unwrap_or_default()
    }
}

/// The item of a list that a path leads into, and the rest of the path.
fn of_item(path: &[Step]) -> Option<(usize, &[Step])> {
    match path {
        [Step::Key(items), Step::Index(item), rest @ ..] if &**items == ITEMS => {
            Some((*item, rest))
        }
        _ => None,
    }
}
