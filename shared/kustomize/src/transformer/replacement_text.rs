//! Replacements inside the text of a scalar that contains JSON or YAML (KZ-REPL-024 to KZ-REPL-026).

use std::rc::Rc;

use crate::error::Result;
use crate::go;
use crate::meter::{Charge, Meter};
use crate::node::{self, Extent, Kind, Match, Node};

/// Sets the fields that the path selects inside some scalar's text. `None` if the path does not lead into a text, or
/// does not match.
///
/// # Errors
/// If a limit of the build is exceeded; all other errors count as no match.
pub(super) fn set(
    object: &mut Node,
    path: &[String],
    value: &Node,
    create: Option<Kind>,
    meter: &Rc<Meter>,
) -> Result<Option<()>> {
    let Some((length, text)) = outermost_text(object, path) else {
        return Ok(None);
    };
    let (document, _charge) = meter.read(text.as_bytes(), |text, claim| {
        flux_yaml::v3::parse_within(text, claim)
    })?;
    let Ok(Some(mut document)) = document else {
        return Ok(None);
    };
    let (Some(root), Some(rest)) = (document.root_mut(), path.get(length..)) else {
        return Ok(None);
    };
    let places = match node::find_all(root, rest, create, meter) {
        Ok(Match::Here(places)) if !places.is_empty() => places,
        Err(fail) if fail.is_final() => return Err(fail),
        _ => return Ok(None),
    };
    let mut charge = Charge::new(meter);
    let extent = Extent::of_node(value);
    for place in places {
        let Some(field) = place
            .iter()
            .try_fold(&mut *root, |node, index| node.content.get_mut(*index))
        else {
            return Ok(None);
        };
        Meter::fits(place.len() + extent.height)?;
        charge.take(extent.bytes)?;
        if field.kind == Kind::Scalar {
            field.value.clone_from(&value.value);
        } else {
            *field = value.clone();
        }
    }
    charge.take(2 * Extent::of_node(&document).bytes)?;
    let Some(text) = serialized(&document, &text) else {
        return Ok(None);
    };
    let scalar = node::lookup_create(object, Kind::Scalar, &path[..length]);
    Ok(scalar.ok().flatten().map(|scalar| scalar.value = text))
}

/// The first scalar on the path whose text is a document, and its position in the path.
fn outermost_text(object: &Node, path: &[String]) -> Option<(usize, String)> {
    let mut at = object;
    for length in 1..path.len() {
        at = node::lookup(at, &path[length - 1..length]).ok().flatten()?;
        if at.kind == Kind::Scalar {
            return Some((length, at.value.clone()));
        }
    }
    None
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
