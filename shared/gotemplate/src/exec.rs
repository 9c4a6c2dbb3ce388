//! Execution of parsed templates.

mod call;
mod eval;
mod field;
mod walk;

pub(crate) use eval::zero;
use flux_golang::strconv;

use crate::context::Session;
use crate::error::Error;
use crate::parse::{Action, Branch, Command, Operand, Pipe, TemplateCall, Text, Tree};
use crate::template::Templates;
use crate::value::Value;

/// A value during execution: the equivalent of Go's `reflect.Value`.
#[derive(Clone, Default)]
pub(crate) enum Rv {
    /// The zero `reflect.Value`: no value.
    #[default]
    Invalid,
    /// A concrete value.
    Is(Value),
    /// The content of an `interface {}`, possibly nil: elements of lists and maps of anything. It differs from a concrete
    /// value only in errors.
    Interface(Value),
}

impl Rv {
    /// The result of a function.
    pub(crate) fn returned(value: Value) -> Self {
        match value {
            Value::Nil => Self::Interface(Value::Nil),
            value => Self::Is(value),
        }
    }

    /// `indirectInterface`: the value without the information that it came out of an interface.
    pub(crate) fn into_value(self) -> Option<Value> {
        match self {
            Self::Invalid | Self::Interface(Value::Nil) => None,
            Self::Is(value) | Self::Interface(value) => Some(value),
        }
    }

    pub(crate) fn value(&self) -> Option<&Value> {
        match self {
            Self::Invalid | Self::Interface(Value::Nil) => None,
            Self::Is(value) | Self::Interface(value) => Some(value),
        }
    }

    /// The value out of its interface; a nil one becomes invalid.
    fn stripped(self) -> Self {
        match self {
            Self::Interface(Value::Nil) => Self::Invalid,
            Self::Interface(value) => Self::Is(value),
            other => other,
        }
    }

    fn truth(&self) -> bool {
        self.value().is_some_and(Value::truth)
    }
}

/// An error of an execution; boxed, because it is large and rare.
type Fault = Box<Error>;

type Executed<T> = Result<T, Fault>;

/// How the execution of a list of nodes ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

/// The node being executed, for errors.
#[derive(Clone, Copy)]
enum At<'t> {
    Text(&'t Text),
    Action(&'t Action),
    Branch(&'static str, &'t Branch),
    Template(&'t TemplateCall),
    Pipe(&'t Pipe),
    Command(&'t Command),
    Operand(&'t Operand),
}

impl At<'_> {
    fn pos(self) -> u32 {
        match self {
            Self::Text(text) => text.pos,
            Self::Action(action) => action.pos,
            Self::Branch(_, branch) => branch.pipe.pos,
            Self::Template(call) => call.pos,
            Self::Pipe(pipe) => pipe.pos,
            Self::Command(command) => command.pos,
            Self::Operand(operand) => operand.pos(),
        }
    }

    fn context(self, tree: &Tree) -> String {
        match self {
            Self::Text(text) => {
                let shown: String = String::from_utf8_lossy(text.of(tree))
                    .chars()
                    .take(20)
                    .collect();
                shown
            }
            Self::Action(action) => action.to_string(),
            Self::Branch(word, branch) => format!("{{{{{word} {}}}}}", branch.pipe),
            Self::Template(call) => call.to_string(),
            Self::Pipe(pipe) => pipe.to_string(),
            Self::Command(command) => command.to_string(),
            Self::Operand(operand) => operand.to_string(),
        }
    }
}

/// The execution of one template.
pub(crate) struct Execution<'t, 's> {
    templates: &'t Templates,
    tree: &'t Tree,
    session: &'s mut Session,
    /// The index of this template's first variable in the session's stack.
    base: usize,
    /// The depth of nested `template` actions.
    depth: usize,
    at: Option<At<'t>>,
}

/// Executes a tree on data.
pub(crate) fn execute(
    templates: &Templates,
    tree: &Tree,
    session: &mut Session,
    data: Value,
) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    let data = Rv::returned(data).stripped();
    let outermost = session.enter();
    let result = Execution::run(templates, tree, session, &data, 0, &mut out);
    session.leave(outermost);
    result.map(|()| out).map_err(|fault| *fault)
}

impl<'t> Execution<'t, '_> {
    /// Executes a tree with new variables.
    fn run(
        templates: &'t Templates,
        tree: &'t Tree,
        session: &mut Session,
        data: &Rv,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Executed<()> {
        let base = session.vars.len();
        session.vars.resize_with(base + tree.slots, Rv::default);
        let mut execution = Execution {
            templates,
            tree,
            session,
            base,
            depth,
            at: None,
        };
        execution.set_variable(0, data.clone());
        let result = execution.list(data, &tree.root, out);
        session.vars.truncate(base);
        result.map(|_| ())
    }

    fn set_variable(&mut self, slot: usize, value: Rv) {
        if let Some(variable) = self.session.vars.get_mut(self.base + slot) {
            *variable = value;
        }
    }

    fn fault(&self, message: impl AsRef<str>) -> Fault {
        self.fault_with(message.as_ref(), false)
    }

    fn limit(&self, message: &str) -> Fault {
        self.fault_with(message, true)
    }

    fn fault_with(&self, message: &str, limit: bool) -> Fault {
        let name = &self.tree.name;
        let text = match self.at {
            None => format!("template: {name}: {message}"),
            Some(at) => format!(
                "template: {}: executing {} at <{}>: {message}",
                self.tree.location(at.pos()),
                strconv::quote(name.as_bytes()),
                at.context(self.tree),
            ),
        };
        Box::new(Error::Execute {
            template: name.to_string(),
            text,
            limit,
        })
    }

    /// Counts a step and checks the limits.
    #[inline]
    fn step(&mut self) -> Executed<()> {
        self.session.steps += 1;
        if self.session.steps > self.session.limits.steps {
            return Err(self.limit("the template takes too many steps"));
        }
        Ok(())
    }

    #[inline]
    fn check_stack(&mut self) -> Executed<()> {
        if self.session.stack_used() > self.session.limits.stack {
            return Err(self.limit("the templates call each other too deeply for the stack"));
        }
        Ok(())
    }

    fn count_output(&mut self, bytes: usize) -> Executed<()> {
        self.session.written += bytes as u64;
        if self.session.written > self.session.limits.output {
            return Err(self.limit("the template writes too much"));
        }
        let claimed = self.session.claim();
        claimed.map_err(|exhausted| self.limit(&exhausted.to_string()))
    }
}
