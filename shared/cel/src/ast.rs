//! The syntax tree of an expression, with macros expanded.

use crate::value::Value;

/// A node: what it is, its number, the character that errors about it point to, and the levels below it.
#[derive(Clone, Debug)]
pub(crate) struct Expr {
    pub(crate) id: usize,
    pub(crate) at: usize,
    pub(crate) kind: Kind,
    pub(crate) height: usize,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Literal(Value),
    Ident(String),
    /// The field of a value; with `test` whether it exists.
    Select {
        operand: Box<Expr>,
        field: String,
        test: bool,
    },
    Call {
        target: Option<Box<Expr>>,
        function: String,
        args: Vec<Expr>,
    },
    List(Vec<Item>),
    Map(Vec<Entry>),
    /// A message of protocol buffers.
    Message {
        name: String,
        fields: Vec<Expr>,
    },
    Fold(Box<Fold>),
}

/// An element of a list; an optional one is left out if it has no value.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

/// An entry of a map.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Expr,
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

/// What a macro over a range expands to: `step` is evaluated for each element of the range, with `variable` set to it and
/// `accumulator` to the result of the step before.
#[derive(Clone, Debug)]
pub(crate) struct Fold {
    pub(crate) range: Expr,
    pub(crate) variable: String,
    pub(crate) accumulator: String,
    pub(crate) start: Expr,
    pub(crate) condition: Expr,
    pub(crate) step: Expr,
    pub(crate) result: Expr,
    /// Whether the step appends to a list, which is then changed in place.
    pub(crate) appends: bool,
}

/// The names of operators as functions.
pub(crate) mod operators {
    pub(crate) const CONDITIONAL: &str = "_?_:_";
    pub(crate) const AND: &str = "_&&_";
    pub(crate) const OR: &str = "_||_";
    pub(crate) const NOT: &str = "!_";
    pub(crate) const NEGATE: &str = "-_";
    pub(crate) const EQUALS: &str = "_==_";
    pub(crate) const NOT_EQUALS: &str = "_!=_";
    pub(crate) const ADD: &str = "_+_";
    pub(crate) const IN: &str = "@in";
    pub(crate) const INDEX: &str = "_[_]";
    pub(crate) const OPTIONAL_INDEX: &str = "_[?_]";
    pub(crate) const OPTIONAL_SELECT: &str = "_?._";
    pub(crate) const NOT_STRICTLY_FALSE: &str = "@not_strictly_false";
}

/// The variable in which a fold collects its result: no name that an expression can use.
pub(crate) const ACCUMULATOR: &str = "@result";

impl Kind {
    /// The nodes directly below.
    pub(crate) fn children(&self) -> Vec<&Expr> {
        match self {
            Self::Literal(_) | Self::Ident(_) => Vec::new(),
            Self::Select { operand, .. } => vec![operand],
            Self::Call { target, args, .. } => target.as_deref().into_iter().chain(args).collect(),
            Self::List(items) => items.iter().map(|item| &item.value).collect(),
            Self::Map(entries) => {
                let parts = entries.iter().map(|entry| [&entry.key, &entry.value]);
                parts.flatten().collect()
            }
            Self::Message { fields, .. } => fields.iter().collect(),
            Self::Fold(fold) => {
                let Fold {
                    range,
                    start,
                    condition,
                    step,
                    result,
                    ..
                } = &**fold;
                vec![range, start, condition, step, result]
            }
        }
    }
}

impl Expr {
    pub(crate) fn new(id: usize, at: usize, kind: Kind) -> Self {
        let below = kind.children().into_iter().map(|child| child.height).max();
        Self {
            id,
            at,
            kind,
            height: below.unwrap_or_default() + 1,
        }
    }

    /// The number of nodes.
    pub(crate) fn size(&self) -> usize {
        let below = self.kind.children().into_iter().map(Self::size);
        1 + below.sum::<usize>()
    }

    /// The text of a literal string.
    pub(crate) fn literal_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Literal(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// The name that an operand of selections may be: of `a.b['c'][0].d` it is `a.b.c`.
    pub(crate) fn path(&self) -> Option<String> {
        self.path_and_end().map(|(path, _)| path)
    }

    /// The path, and whether it may become longer.
    fn path_and_end(&self) -> Option<(String, bool)> {
        let (operand, name) = match &self.kind {
            Kind::Ident(name) => return Some((name.clone(), true)),
            Kind::Select { operand, field, .. } => (&**operand, Some(field.as_str())),
            Kind::Call { function, args, .. } => match (function.as_str(), args.as_slice()) {
                (
                    operators::INDEX | operators::OPTIONAL_INDEX | operators::OPTIONAL_SELECT,
                    [operand, index],
                ) => (operand, index.literal_text()),
                _ => return None,
            },
            _ => return None,
        };
        let (mut path, open) = operand.path_and_end()?;
        match name {
            Some(name) if open => {
                path.push('.');
                path.push_str(name);
                Some((path, true))
            }
            _ => Some((path, false)),
        }
    }

    /// The name `a.b.c` that the expression may be.
    pub(crate) fn qualified_name(&self) -> Option<String> {
        match &self.kind {
            Kind::Ident(name) => Some(name.clone()),
            Kind::Select {
                operand,
                field,
                test: false,
            } => {
                let mut name = operand.qualified_name()?;
                name.push('.');
                name.push_str(field);
                Some(name)
            }
            _ => None,
        }
    }
}
