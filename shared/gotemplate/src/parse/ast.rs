//! The syntax tree: immutable, shared between threads, with names resolved as far as possible.

use std::fmt::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use flux_golang::strconv;

use crate::builtins::Builtin;
use crate::functions::Named;
use crate::value::Str;

/// A parsed template.
pub(crate) struct Tree {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// The name of the text it was parsed from, for positions.
    pub(crate) parse_name: Arc<str>,
    /// That text.
    pub(crate) text: Bytes,
    pub(crate) root: List,
    /// Maximum number of variables in scope at once, `$` included.
    pub(crate) slots: usize,
    /// Whether it has only white space and comments.
    pub(crate) empty: bool,
}

impl Tree {
    /// `file:line:column` of a position, the line counted from 1, the column in bytes from 0.
    pub(crate) fn location(&self, pos: u32) -> String {
        let before = self.text.get(..pos as usize).unwrap_or(&self.text);
        let line = 1 + memchr::memchr_iter(b'\n', before).count();
        let column = memchr::memrchr(b'\n', before).map_or(before.len(), |n| before.len() - n - 1);
        format!("{}:{line}:{column}", self.parse_name)
    }
}

/// A sequence of nodes.
pub(crate) struct List {
    pub(crate) nodes: Box<[Node]>,
}

/// Large and rare variants are boxed: most nodes are text and plain actions.
pub(crate) enum Node {
    Text(Text),
    Action(Action),
    If(Box<Branch>),
    With(Box<Branch>),
    Range(Box<Branch>),
    Template(Box<TemplateCall>),
    Break,
    Continue,
}

impl Node {
    /// `parse.IsEmptyTree` for one node.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.blank,
            _ => false,
        }
    }
}

/// Literal text: a part of the tree's text.
pub(crate) struct Text {
    pub(crate) pos: u32,
    pub(crate) end: u32,
    /// Whether it has only white space.
    pub(crate) blank: bool,
}

impl Text {
    pub(crate) fn of<'t>(&self, tree: &'t Tree) -> &'t [u8] {
        let range = self.pos as usize..self.end as usize;
        tree.text.get(range).unwrap_or_default()
    }
}

pub(crate) struct Action {
    pub(crate) pos: u32,
    pub(crate) pipe: Pipe,
}

pub(crate) struct Branch {
    pub(crate) pipe: Pipe,
    pub(crate) list: List,
    pub(crate) otherwise: Option<List>,
}

pub(crate) struct TemplateCall {
    pub(crate) pos: u32,
    pub(crate) name: Arc<str>,
    pub(crate) pipe: Option<Pipe>,
}

pub(crate) struct Pipe {
    pub(crate) pos: u32,
    pub(crate) assign: bool,
    pub(crate) decl: Box<[Declared]>,
    pub(crate) commands: Box<[Command]>,
}

/// A variable on the left of `:=` or `=`.
pub(crate) struct Declared {
    pub(crate) name: Str,
    pub(crate) slot: Slot,
}

/// The slot of a variable in the frame; `None` if Go would report it as undefined at run time.
pub(crate) type Slot = Option<u32>;

pub(crate) struct Command {
    pub(crate) pos: u32,
    pub(crate) args: Box<[Operand]>,
}

/// Kept to 32 bytes, since a large chart has tens of thousands of them.
pub(crate) enum Operand {
    Field {
        pos: u32,
        names: Box<[Str]>,
    },
    Chain {
        pos: u32,
        node: Box<Operand>,
        names: Box<[Str]>,
    },
    Variable {
        pos: u32,
        slot: Slot,
        path: VariablePath,
    },
    Identifier {
        pos: u32,
        function: FunctionRef,
    },
    Pipe(Box<Pipe>),
    Bool {
        pos: u32,
        value: bool,
    },
    Dot {
        pos: u32,
    },
    Nil {
        pos: u32,
    },
    Number(Box<Number>),
    /// A string that is equal to its source text between double quotes.
    String {
        pos: u32,
        text: Str,
    },
    Quoted(Box<Quoted>),
}

/// A string in any other syntax.
pub(crate) struct Quoted {
    pub(crate) pos: u32,
    /// The source text with its quotes.
    pub(crate) written: Box<[u8]>,
    pub(crate) text: Str,
}

/// A variable, followed by fields.
pub(crate) struct VariablePath(Box<[Str]>);

impl VariablePath {
    /// Creates it from the name of the variable, followed by those of the fields.
    pub(super) fn new(names: Box<[Str]>) -> Self {
        Self(names)
    }

    /// The name with the dollar sign.
    pub(crate) fn name(&self) -> &Str {
        &self.0[0]
    }

    pub(crate) fn names(&self) -> &[Str] {
        &self.0[1..]
    }
}

/// The function that an identifier calls.
#[derive(Clone)]
pub(crate) enum FunctionRef {
    Builtin(Builtin),
    Registered(Arc<Named>),
}

impl FunctionRef {
    /// The name it was called by.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Builtin(builtin) => builtin.name(),
            Self::Registered(named) => &named.name,
        }
    }
}

/// A numeric constant: its values as the types that its syntax allows.
pub(crate) struct Number {
    pub(crate) pos: u32,
    pub(crate) text: Box<str>,
    pub(crate) int: Option<i64>,
    pub(crate) uint: Option<u64>,
    pub(crate) float: Option<f64>,
    pub(crate) complex: Option<(f64, f64)>,
    /// Whether it is a float if no type is expected.
    pub(crate) written_as_float: bool,
}

impl Operand {
    pub(crate) fn pos(&self) -> u32 {
        match self {
            Self::Field { pos, .. }
            | Self::Chain { pos, .. }
            | Self::Variable { pos, .. }
            | Self::Identifier { pos, .. }
            | Self::Bool { pos, .. }
            | Self::Dot { pos }
            | Self::Nil { pos }
            | Self::String { pos, .. } => *pos,
            Self::Quoted(quoted) => quoted.pos,
            Self::Pipe(pipe) => pipe.pos,
            Self::Number(number) => number.pos,
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field { names, .. } => dotted(f, names),
            Self::Chain { node, names, .. } => {
                match &**node {
                    Self::Pipe(pipe) => write!(f, "({pipe})")?,
                    node => write!(f, "{node}")?,
                }
                dotted(f, names)
            }
            Self::Variable { path, .. } => {
                write!(f, "{}", path.name())?;
                dotted(f, path.names())
            }
            Self::Identifier { function, .. } => f.write_str(function.name()),
            Self::Pipe(pipe) => write!(f, "{pipe}"),
            Self::Bool { value, .. } => write!(f, "{value}"),
            Self::Dot { .. } => f.write_char('.'),
            Self::Nil { .. } => f.write_str("nil"),
            Self::Number(number) => f.write_str(&number.text),
            Self::Quoted(quoted) => f.write_str(&String::from_utf8_lossy(&quoted.written)),
            Self::String { text, .. } => write!(f, "\"{text}\""),
        }
    }
}

fn dotted(f: &mut fmt::Formatter<'_>, names: &[Str]) -> fmt::Result {
    names.iter().try_for_each(|name| write!(f, ".{name}"))
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, arg) in self.args.iter().enumerate() {
            if i > 0 {
                f.write_char(' ')?;
            }
            match arg {
                Operand::Pipe(pipe) => write!(f, "({pipe})")?,
                arg => write!(f, "{arg}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, decl) in self.decl.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{}", decl.name)?;
        }
        if !self.decl.is_empty() {
            f.write_str(if self.assign { " = " } else { " := " })?;
        }
        for (i, command) in self.commands.iter().enumerate() {
            if i > 0 {
                f.write_str(" | ")?;
            }
            write!(f, "{command}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{{{}}}}}", self.pipe)
    }
}

impl fmt::Display for TemplateCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{{template {}", strconv::quote(self.name.as_bytes()))?;
        if let Some(pipe) = &self.pipe {
            write!(f, " {pipe}")?;
        }
        f.write_str("}}")
    }
}
