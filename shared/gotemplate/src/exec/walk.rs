//! Execution of the nodes of a template.

use flux_golang::strconv;

use super::{At, Executed, Execution, Flow, Rv};
use crate::fmt;
use crate::parse::{Action, Branch, List, Node, TemplateCall};
use crate::value::{Value, types};

impl<'t> Execution<'t, '_> {
    pub(super) fn list(&mut self, dot: &Rv, list: &'t List, out: &mut Vec<u8>) -> Executed<Flow> {
        for node in &list.nodes {
            self.step()?;
            let flow = match node {
                Node::Text(text) => {
                    self.at = Some(At::Text(text));
                    let text = text.of(self.tree);
                    self.count_output(text.len())?;
                    out.extend_from_slice(text);
                    Flow::Next
                }
                Node::Action(action) => {
                    self.action(dot, action, out)?;
                    Flow::Next
                }
                Node::If(branch) => self.branch("if", dot, branch, out)?,
                Node::With(branch) => self.branch("with", dot, branch, out)?,
                Node::Range(branch) => self.range(dot, branch, out)?,
                Node::Template(call) => {
                    self.template_call(dot, call, out)?;
                    Flow::Next
                }
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn action(&mut self, dot: &Rv, action: &'t Action, out: &mut Vec<u8>) -> Executed<()> {
        self.at = Some(At::Action(action));
        let value = self.pipeline(dot, &action.pipe)?;
        if !action.pipe.decl.is_empty() {
            return Ok(());
        }
        self.at = Some(At::Action(action));
        let before = out.len();
        match value.value() {
            None => out.extend_from_slice(b"<no value>"),
            Some(Value::Str(s)) => out.extend_from_slice(s),
            Some(function @ Value::Func(_)) => {
                return Err(self.fault(format!(
                    "can't print {action} of type {}",
                    function.type_name()
                )));
            }
            Some(value) => {
                // A pointer prints as its target.
                let printed = match value {
                    Value::Object(object) => fmt::print_object(out, object),
                    value => fmt::print(out, std::slice::from_ref(value)),
                };
                if let Err(e) = printed {
                    return Err(self.limit(&e.to_string()));
                }
            }
        }
        self.count_output(out.len() - before)
    }

    fn branch(
        &mut self,
        word: &'static str,
        dot: &Rv,
        branch: &'t Branch,
        out: &mut Vec<u8>,
    ) -> Executed<Flow> {
        self.at = Some(At::Branch(word, branch));
        self.check_stack()?;
        let value = self.pipeline(dot, &branch.pipe)?;
        if value.truth() {
            let dot = if word == "with" { &value } else { dot };
            self.list(dot, &branch.list, out)
        } else if let Some(otherwise) = &branch.otherwise {
            self.list(dot, otherwise, out)
        } else {
            Ok(Flow::Next)
        }
    }

    fn range(&mut self, dot: &Rv, range: &'t Branch, out: &mut Vec<u8>) -> Executed<Flow> {
        self.at = Some(At::Branch("range", range));
        self.check_stack()?;
        let value = self.pipeline(dot, &range.pipe)?;
        let ran = match value.value() {
            None => false,
            Some(value) => self.range_over(value, range, out)?,
        };
        if !ran && let Some(otherwise) = &range.otherwise {
            // `break` and `continue` in the else branch belong to an outer loop.
            return self.list(dot, otherwise, out);
        }
        Ok(Flow::Next)
    }

    /// Iterates over a value. Returns whether it had any elements.
    fn range_over(
        &mut self,
        value: &Value,
        range: &'t Branch,
        out: &mut Vec<u8>,
    ) -> Executed<bool> {
        match value {
            Value::Int(t, n) => {
                self.one_variable(value, range)?;
                for i in 0..*n {
                    let element = Rv::Is(Value::Int(*t, i));
                    if self.round(Rv::Invalid, &element, range, out)? {
                        break;
                    }
                }
                Ok(*n > 0)
            }
            Value::Uint(t, n) => {
                self.one_variable(value, range)?;
                for i in 0..*n {
                    let element = Rv::Is(Value::Uint(*t, i));
                    if self.round(Rv::Invalid, &element, range, out)? {
                        break;
                    }
                }
                Ok(*n > 0)
            }
            Value::List(list) => {
                let any = list
                    .go_type()
                    .elem
                    .is_some_and(super::super::value::types::TypeInfo::is_any);
                for (i, item) in list.items().iter().enumerate() {
                    let element = element(any, item.clone());
                    if self.round(Rv::Is(Value::int(i as i64)), &element, range, out)? {
                        break;
                    }
                }
                Ok(!list.items().is_empty())
            }
            Value::Bytes(bytes) => {
                for (i, b) in bytes.iter().enumerate() {
                    let byte = Value::Uint(crate::value::UintType::Uint8, u64::from(*b));
                    let index = Rv::Is(Value::int(i as i64));
                    if self.round(index, &Rv::Is(byte), range, out)? {
                        break;
                    }
                }
                Ok(!bytes.is_empty())
            }
            Value::Map(map) => {
                let any = map
                    .go_type()
                    .elem
                    .is_some_and(super::super::value::types::TypeInfo::is_any);
                let entries = map.entries();
                let ran = !entries.is_empty();
                for (key, item) in entries {
                    let element = element(any, item);
                    let key = map.go_type().key_value(key);
                    if self.round(Rv::Is(key), &element, range, out)? {
                        break;
                    }
                }
                Ok(ran)
            }
            _ => Err(self.fault(format!("range can't iterate over {}", fmt::text(value)))),
        }
    }

    fn one_variable(&self, value: &Value, range: &Branch) -> Executed<()> {
        if range.pipe.decl.len() > 1 {
            return Err(self.fault(format!(
                "can't use {} to iterate over more than one variable",
                fmt::text(value)
            )));
        }
        Ok(())
    }

    /// One iteration; returns whether to end the loop.
    fn round(
        &mut self,
        index: Rv,
        element: &Rv,
        range: &'t Branch,
        out: &mut Vec<u8>,
    ) -> Executed<bool> {
        self.step()?;
        match &*range.pipe.decl {
            [] => {}
            [only] => self.assign(&only.name, only.slot, element.clone())?,
            [first, second, ..] => {
                self.assign(&first.name, first.slot, index)?;
                self.assign(&second.name, second.slot, element.clone())?;
            }
        }
        Ok(self.list(element, &range.list, out)? == Flow::Break)
    }

    fn template_call(
        &mut self,
        dot: &Rv,
        call: &'t TemplateCall,
        out: &mut Vec<u8>,
    ) -> Executed<()> {
        self.at = Some(At::Template(call));
        let Some(tree) = self.templates.find(&call.name) else {
            let name = strconv::quote(call.name.as_bytes());
            return Err(self.fault(format!("template {name} not defined")));
        };
        if self.depth >= self.session.limits.depth {
            let depth = self.session.limits.depth;
            return Err(self.limit(&format!("exceeded maximum template depth ({depth})")));
        }
        self.check_stack()?;
        let data = match &call.pipe {
            Some(pipe) => self.pipeline(dot, pipe)?,
            None => Rv::Invalid,
        };
        let depth = self.depth + 1;
        Execution::run(self.templates, &tree, self.session, &data, depth, out)
    }
}

/// An element of a list or map whose element type may be `interface {}`.
fn element(any: bool, value: Value) -> Rv {
    if any {
        Rv::Interface(value)
    } else {
        Rv::Is(value)
    }
}

/// The element of a container of type `ty`.
pub(super) fn element_of(ty: crate::value::Type, value: Value) -> Rv {
    element(ty.elem.unwrap_or(&types::ANY).is_any(), value)
}
