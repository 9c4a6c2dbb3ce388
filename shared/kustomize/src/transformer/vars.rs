//! Expands `$(NAME)` in the fields that permit it (KZ-VAR rows).

use std::collections::BTreeMap;
use std::rc::Rc;

use flux_golang::strconv;

use crate::config::{FieldSpec, Var};
use crate::error::{Fail, Result};
use crate::field_spec;
use crate::meter::{Charge, Meter};
use crate::node::{self, Changes, Kind, Node, Style};
use crate::resmap::ResMap;
use crate::resource::Resource;

/// A var's value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum VarValue {
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    /// A mapping or list, which is not substituted (KZ-VAR-010).
    Structure,
}

/// Reads the value of a var (KZ-VAR-005).
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

/// Expands vars in every field that the specs select.
pub(crate) fn expand_all(
    map: &mut ResMap,
    fields: &[FieldSpec],
    values: &BTreeMap<String, VarValue>,
    meter: &Rc<Meter>,
) -> Result<()> {
    for resource in map.list_mut() {
        let object = resource.node_mut();
        let mut expander = Expander {
            values,
            changes: Changes::default(),
            charge: Charge::new(meter),
        };
        for field in fields {
            field_spec::visit(object, field, None, meter, &mut |at| expander.node(at))?;
        }
        expander.changes.settle(object, meter)?;
        resource.update_claim(meter)?;
    }
    map.drop_empty();
    Ok(())
}

fn is_text(node: &Node) -> bool {
    node.kind == Kind::Scalar && (node.tag.is_empty() || node.tag == "!!str")
}

struct Expander<'v> {
    values: &'v BTreeMap<String, VarValue>,
    changes: Changes,
    /// The memory of the expanded texts.
    charge: Charge,
}

impl Expander<'_> {
    fn node(&mut self, at: &mut Node) -> Result<()> {
        if node::is_null(at) {
            return Ok(());
        }
        match at.kind {
            Kind::Scalar => {
                if is_text(at) {
                    self.scalar(at)?;
                }
                Ok(())
            }
            Kind::Mapping => {
                for (key, value) in at.entries_mut() {
                    if !is_text(key) {
                        let message = "invalid map key";
                        let quoting =
                            format!("{message}: value='{}', tag='{}'", key.value, key.tag);
                        return Err(Fail::quoting(message, quoting));
                    }
                    if is_text(value) {
                        self.scalar(value)?;
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
                    self.scalar(item)?;
                }
                Ok(())
            }
        }
    }

    fn scalar(&mut self, at: &mut Node) -> Result<()> {
        let (tag, text) = match expand(&at.value, self.values, &mut self.charge)? {
            VarValue::Int(value) => ("!!int", value.to_string()),
            VarValue::Bool(value) => ("!!bool", value.to_string()),
            VarValue::Float(value) => ("!!float", value.to_string()),
            VarValue::Text(text) => ("!!str", text),
            VarValue::Structure => return Ok(()),
        };
        at.value = text;
        at.tag = tag.into();
        at.style = Style::PLAIN;
        self.changes.note(at);
        Ok(())
    }
}

/// KZ-VAR-007, KZ-VAR-008
fn expand(
    text: &str,
    values: &BTreeMap<String, VarValue>,
    charge: &mut Charge,
) -> Result<VarValue> {
    let mut out = String::new();
    let mut push = |part: &str| {
        charge.take(part.len())?;
        out.push_str(part);
        Ok::<_, Fail>(())
    };
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        push(&rest[..at])?;
        let after = &rest[at + 1..];
        if let Some(next) = after.strip_prefix('$') {
            push("$")?;
            rest = next;
        } else if let Some((name, next)) = after
            .strip_prefix('(')
            .and_then(|inner| inner.split_once(')'))
        {
            match values.get(name) {
                Some(VarValue::Structure) | None => {
                    push("$(")?;
                    push(name)?;
                    push(")")?;
                }
                Some(value) if text.len() == name.len() + 3 => return Ok(value.clone()),
                Some(VarValue::Text(value)) => push(value)?,
                Some(VarValue::Int(value)) => push(&value.to_string())?,
                Some(VarValue::Bool(value)) => push(&value.to_string())?,
                Some(VarValue::Float(value)) => push(&strconv::format_float(*value, b'g', None))?,
            }
            rest = next;
        } else {
            push("$")?;
            rest = after;
        }
    }
    push(rest)?;
    Ok(VarValue::Text(out))
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
            let mut charge = Charge::new(&Meter::unlimited());
            assert_eq!(
                expand(input, &values, &mut charge).unwrap(),
                want,
                "{input}"
            );
        }
    }

    #[test]
    fn indices_behind_names_are_parts() {
        let split = |path: &str| slice_indices(node::split_path_smart(path, '.'));
        assert_eq!(split("spec.ports[0].port"), ["spec", "ports", "0", "port"]);
        assert_eq!(split("a.b"), ["a", "b"]);
    }
}
