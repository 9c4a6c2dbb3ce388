//! Replacements inside the text of a scalar that holds JSON or YAML (KZ-REPL-024 to KZ-REPL-026).

use crate::{
    go,
    node::{self, Kind, Match, Node},
};

/// Sets what the path leads to inside some scalar's text. `None` where that is not how the path is meant, or where it leads
/// nowhere.
pub(super) fn set(
    object: &mut Node,
    path: &[String],
    value: &Node,
    create: Option<Kind>,
) -> Option<()> {
    let (length, mut document) = (1..path.len()).find_map(|length| {
        let scalar = node::lookup(object, &path[..length]).ok().flatten()?;
        if scalar.kind != Kind::Scalar {
            return None;
        }
        let document = flux_yaml::v3::parse(scalar.value.as_bytes()).ok()?;
        Some((length, document))
    })?;
    let root = document.as_mut()?.root_mut()?;
    let Match::Here(places) = node::find_all(root, path.get(length..)?, create).ok()? else {
        return None;
    };
    if places.is_empty() {
        return None;
    }
    for place in places {
        let field = place
            .iter()
            .try_fold(&mut *root, |node, index| node.content.get_mut(*index))?;
        if field.kind == Kind::Scalar {
            field.value.clone_from(&value.value);
        } else {
            *field = value.clone();
        }
    }
    let scalar = node::lookup(object, &path[..length]).ok().flatten()?;
    let text = serialized(document.as_ref()?, &scalar.value)?;
    let scalar = node::lookup_create(object, Kind::Scalar, &path[..length])
        .ok()
        .flatten()?;
    scalar.value = text;
    Some(())
}

/// KZ-REPL-025
fn serialized(document: &Node, original: &str) -> Option<String> {
    let first = original.trim().chars().next()?;
    if !matches!(first, '{' | '[') {
        return Some(node::contents(document).trim().to_owned());
    }
    let value = node::to_value(document.root()?).ok()?;
    if original.contains('\n') && original.contains("  ") {
        Some(go::json_indented(&value))
    } else {
        Some(go::json(&value))
    }
}
