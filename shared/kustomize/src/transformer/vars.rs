//! `$(NAME)` in fields that allow it (KZ-VAR rows).

use std::collections::BTreeMap;

use crate::{
    config::{FieldSpec, Var},
    error::Result,
    field_spec,
    go::float_g,
    node::{self, Changes, Kind, Node, Style},
    resmap::ResMap,
    resource::Resource,
};

/// A var's value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum VarValue {
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    /// A mapping or list, which is not inserted (KZ-VAR-010).
    Structure,
}

/// Reads the value that a var stands for (KZ-VAR-005).
pub(crate) fn value_of(var: &Var, resource: &Resource) -> Result<VarValue> {
    let not_found =
        || format!("field specified in var '{var}' not found in corresponding resource");
    let path = slice_indices(node::split_path_smart(var.field_path_or_default(), '.'));
    let Ok(Some(found)) = node::lookup(resource.node(), &path) else {
        return Err(not_found().into());
    };
    if found.kind != Kind::Scalar {
        return Ok(VarValue::Structure);
    }
    let text = found.value.as_str();
    let value = match found.tag.as_ref() {
        "!!int" => text.parse().map(VarValue::Int).ok(),
        "!!float" => text.parse().map(VarValue::Float).ok(),
        "!!bool" => match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(VarValue::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(VarValue::Bool(false)),
            _ => None,
        },
        _ => Some(VarValue::Text(text.to_owned())),
    };
    value.ok_or_else(|| not_found().into())
}

/// `name[0]` as two parts.
fn slice_indices(parts: Vec<String>) -> Vec<String> {
    let mut out = Vec::new();
    for part in parts {
        let split = part
            .strip_suffix(']')
            .and_then(|rest| rest.rsplit_once('['))
            .filter(|(_, index)| !index.is_empty() && index.bytes().all(|b| b.is_ascii_digit()));
        match split {
            None => out.push(part),
            Some((name, index)) => {
                if !name.is_empty() {
                    out.push(name.to_owned());
                }
                out.push(index.to_owned());
            }
        }
    }
    out
}

/// Expands vars in every field that the specs name.
pub(crate) fn expand_all(
    map: &mut ResMap,
    fields: &[FieldSpec],
    values: &BTreeMap<String, VarValue>,
) -> Result<()> {
    for resource in map.list_mut() {
        let object = resource.node_mut();
        let mut changes = Changes::default();
        for field in fields {
            field_spec::visit(object, field, None, &mut |at| {
                expand_node(at, values, &mut changes)
            })?;
        }
        changes.settle(object);
    }
    map.drop_empty();
    Ok(())
}

fn is_text(node: &Node) -> bool {
    node.kind == Kind::Scalar && (node.tag.is_empty() || node.tag == "!!str")
}

fn expand_node(
    at: &mut Node,
    values: &BTreeMap<String, VarValue>,
    changes: &mut Changes,
) -> Result<()> {
    if node::is_null(at) {
        return Ok(());
    }
    match at.kind {
        Kind::Scalar => {
            if is_text(at) {
                expand_scalar(at, values, changes);
            }
            Ok(())
        }
        Kind::Mapping => {
            for (key, value) in at.entries_mut() {
                if !is_text(key) {
                    return Err(format!(
                        "invalid map key: value='{}', tag='{}'",
                        key.value, key.tag
                    )
                    .into());
                }
                if is_text(value) {
                    expand_scalar(value, values, changes);
                }
            }
            Ok(())
        }
        _ => {
            for item in &mut at.content {
                // KZ-VAR-009
                if !is_text(item) {
                    return Err("invalid value type expect a string".into());
                }
                expand_scalar(item, values, changes);
            }
            Ok(())
        }
    }
}

fn expand_scalar(at: &mut Node, values: &BTreeMap<String, VarValue>, changes: &mut Changes) {
    let (tag, text) = match expand(&at.value, values) {
        VarValue::Int(value) => ("!!int", value.to_string()),
        VarValue::Bool(value) => ("!!bool", value.to_string()),
        VarValue::Float(value) => ("!!float", value.to_string()),
        VarValue::Text(text) => ("!!str", text),
        VarValue::Structure => return,
    };
    at.value = text;
    at.tag = tag.into();
    at.style = Style::PLAIN;
    changes.note(at);
}

/// KZ-VAR-007, KZ-VAR-008
fn expand(text: &str, values: &BTreeMap<String, VarValue>) -> VarValue {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(next) = after.strip_prefix('$') {
            out.push('$');
            rest = next;
        } else if let Some((name, next)) = after
            .strip_prefix('(')
            .and_then(|inner| inner.split_once(')'))
        {
            match values.get(name) {
                Some(VarValue::Structure) | None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
                Some(value) if text.len() == name.len() + 3 => return value.clone(),
                Some(VarValue::Text(value)) => out.push_str(value),
                Some(VarValue::Int(value)) => out.push_str(&value.to_string()),
                Some(VarValue::Bool(value)) => out.push_str(&value.to_string()),
                Some(VarValue::Float(value)) => out.push_str(&float_g(*value)),
            }
            rest = next;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    VarValue::Text(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_expanded() {
        // KZ-VAR-007, KZ-VAR-008
        let values: BTreeMap<_, _> = [
            ("A".to_owned(), VarValue::Text("x".into())),
            ("N".to_owned(), VarValue::Int(3)),
            ("F".to_owned(), VarValue::Float(0.5)),
            ("M".to_owned(), VarValue::Structure),
        ]
        .into();
        let text = |text: &str| VarValue::Text(text.into());
        for (input, want) in [
            ("$(A)", text("x")),
            ("a-$(A)-$(N)", text("a-x-3")),
            ("$(N)", VarValue::Int(3)),
            ("$(F)s", text("0.5s")),
            ("$(B)", text("$(B)")),
            ("$(M)", text("$(M)")),
            ("$$(A)", text("$(A)")),
            ("$$", text("$")),
            ("a$", text("a$")),
            ("$(A", text("$(A")),
            ("$A", text("$A")),
        ] {
            assert_eq!(expand(input, &values), want, "{input}");
        }
    }

    #[test]
    fn indices_behind_names_are_parts() {
        let split = |path: &str| slice_indices(node::split_path_smart(path, '.'));
        assert_eq!(split("spec.ports[0].port"), ["spec", "ports", "0", "port"]);
        assert_eq!(split("a.b"), ["a", "b"]);
    }
}
