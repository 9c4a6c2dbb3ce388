//! Macros: calls that are rewritten before they are evaluated.

use crate::ast::{ACCUMULATOR, Expr, Fold, Item, Kind, operators};
use crate::parse::{Parser, Unparsable, operator};
use crate::value::Value;

/// The call of a function, before it is known whether that is a macro.
pub(crate) struct Call {
    pub(crate) at: usize,
    pub(crate) target: Option<Expr>,
    pub(crate) function: String,
    pub(crate) args: Vec<Expr>,
}

/// The macro's expansion, or the call itself if there is no macro of its name with its number of arguments.
pub(crate) fn expand(
    parser: &mut Parser<'_, '_>,
    call: Call,
) -> Result<Result<Expr, Call>, Unparsable> {
    let shape = (
        call.function.as_str(),
        call.target.is_some(),
        call.args.len(),
    );
    let expanded = match shape {
        ("has", false, 1) => has(parser, call)?,
        ("all" | "exists" | "exists_one", true, 2) => quantifier(parser, call)?,
        ("map", true, 2 | 3) | ("filter", true, 2) => transform(parser, call)?,
        ("optMap" | "optFlatMap", true, 2) => optional(parser, call)?,
        _ => return Ok(Err(call)),
    };
    Ok(Ok(expanded))
}

/// `has(a.b)`: the selection, as a test.
fn has(parser: &mut Parser<'_, '_>, call: Call) -> Result<Expr, Unparsable> {
    let at = call.at;
    match call.args.into_iter().next() {
        Some(Expr {
            kind: Kind::Select { operand, field, .. },
            ..
        }) => {
            let test = Kind::Select {
                operand,
                field,
                test: true,
            };
            Ok(parser.expr(at, test))
        }
        other => {
            let at = other.map_or(at, |other| other.at);
            Err(parser.problem(at, "invalid argument to has() macro"))
        }
    }
}

/// The name of the variable that a macro over a range declares.
fn variable(
    parser: &mut Parser<'_, '_>,
    arg: &Expr,
    otherwise: &str,
) -> Result<String, Unparsable> {
    match &arg.kind {
        Kind::Ident(name) if name == "__result__" => {
            let message = "iteration variable overwrites accumulator variable";
            Err(parser.problem(arg.at, message))
        }
        Kind::Ident(name) => Ok(name.clone()),
        _ => Err(parser.problem(arg.at, otherwise)),
    }
}

/// The parts of a call on a target, as `expand` has found them.
struct Parts {
    at: usize,
    target: Expr,
    args: Vec<Expr>,
}

impl Parts {
    fn of(parser: &mut Parser<'_, '_>, call: Call) -> Result<(String, Self), Unparsable> {
        let Call {
            at,
            target,
            function,
            args,
        } = call;
        match target {
            Some(target) => Ok((function, Self { at, target, args })),
            None => Err(parser.problem(at, "the macro has no target")),
        }
    }
}

fn accumulator(parser: &mut Parser<'_, '_>, at: usize) -> Expr {
    parser.expr(at, Kind::Ident(ACCUMULATOR.to_owned()))
}

fn literal(parser: &mut Parser<'_, '_>, at: usize, value: Value) -> Expr {
    parser.expr(at, Kind::Literal(value))
}

fn call(parser: &mut Parser<'_, '_>, at: usize, function: &str, args: Vec<Expr>) -> Expr {
    operator(parser.reserve(), at, function, args)
}

/// `range.all(x, predicate)`, and `exists` and `exists_one` alike.
fn quantifier(parser: &mut Parser<'_, '_>, whole: Call) -> Result<Expr, Unparsable> {
    let (function, parts) = Parts::of(parser, whole)?;
    let Parts { at, target, args } = parts;
    let mut args = args.into_iter();
    let (Some(name), Some(predicate)) = (args.next(), args.next()) else {
        return Err(parser.problem(at, "argument must be a simple name"));
    };
    let variable = variable(parser, &name, "argument must be a simple name")?;
    let accumulated = accumulator(parser, at);
    let (start, condition, step, result) = match &*function {
        "all" => {
            let start = literal(parser, at, Value::Bool(true));
            let going = accumulator(parser, at);
            let condition = call(parser, at, operators::NOT_STRICTLY_FALSE, vec![going]);
            let step = call(parser, at, operators::AND, vec![accumulated, predicate]);
            (start, condition, step, accumulator(parser, at))
        }
        "exists" => {
            let start = literal(parser, at, Value::Bool(false));
            let going = accumulator(parser, at);
            let going = call(parser, at, operators::NOT, vec![going]);
            let condition = call(parser, at, operators::NOT_STRICTLY_FALSE, vec![going]);
            let step = call(parser, at, operators::OR, vec![accumulated, predicate]);
            (start, condition, step, accumulator(parser, at))
        }
        _ => {
            let start = literal(parser, at, Value::Int(0));
            let condition = literal(parser, at, Value::Bool(true));
            let one = literal(parser, at, Value::Int(1));
            let more = call(parser, at, operators::ADD, vec![accumulated, one]);
            let same = accumulator(parser, at);
            let step = call(
                parser,
                at,
                operators::CONDITIONAL,
                vec![predicate, more, same],
            );
            let (count, one) = (accumulator(parser, at), literal(parser, at, Value::Int(1)));
            let result = call(parser, at, operators::EQUALS, vec![count, one]);
            (start, condition, step, result)
        }
    };
    let fold = Fold {
        range: target,
        variable,
        accumulator: ACCUMULATOR.to_owned(),
        start,
        condition,
        step,
        result,
        appends: false,
    };
    Ok(parser.expr(at, Kind::Fold(Box::new(fold))))
}

/// `range.map(x, value)`, `range.map(x, predicate, value)` and `range.filter(x, predicate)`.
fn transform(parser: &mut Parser<'_, '_>, whole: Call) -> Result<Expr, Unparsable> {
    let (function, parts) = Parts::of(parser, whole)?;
    let Parts { at, target, args } = parts;
    let mut args = args.into_iter();
    let (Some(name), Some(second), third) = (args.next(), args.next(), args.next()) else {
        return Err(parser.problem(at, "argument is not an identifier"));
    };
    let variable = variable(parser, &name, "argument is not an identifier")?;
    let (predicate, value) = match third {
        _ if function == "filter" => (Some(second), name),
        None => (None, second),
        Some(third) => (Some(second), third),
    };
    let start = parser.expr(at, Kind::List(Vec::new()));
    let condition = literal(parser, at, Value::Bool(true));
    let accumulated = accumulator(parser, at);
    let optional = false;
    let added = parser.expr(at, Kind::List(vec![Item { value, optional }]));
    let mut step = call(parser, at, operators::ADD, vec![accumulated, added]);
    if let Some(predicate) = predicate {
        let same = accumulator(parser, at);
        step = call(
            parser,
            at,
            operators::CONDITIONAL,
            vec![predicate, step, same],
        );
    }
    let result = accumulator(parser, at);
    let fold = Fold {
        range: target,
        variable,
        accumulator: ACCUMULATOR.to_owned(),
        start,
        condition,
        step,
        result,
        appends: true,
    };
    Ok(parser.expr(at, Kind::Fold(Box::new(fold))))
}

/// `optional.optMap(x, value)` and `optional.optFlatMap(x, optional)`: a fold over nothing, whose accumulator is the variable.
fn optional(parser: &mut Parser<'_, '_>, whole: Call) -> Result<Expr, Unparsable> {
    let (function, parts) = Parts::of(parser, whole)?;
    let Parts { at, target, args } = parts;
    let mut args = args.into_iter();
    let (Some(name), Some(value)) = (args.next(), args.next()) else {
        return Err(parser.problem(at, "the macro has two arguments"));
    };
    let Kind::Ident(variable) = &name.kind else {
        let message = format!("{function}() variable name must be a simple identifier");
        return Err(parser.problem(name.at, message));
    };
    parser.has_room(target.size())?;
    let again = parser.copied(&target);
    let member = |parser: &mut Parser<'_, '_>, target: Expr, function: &str| {
        let kind = Kind::Call {
            target: Some(Box::new(target)),
            function: function.to_owned(),
            args: Vec::new(),
        };
        parser.expr(at, kind)
    };
    let present = member(parser, target, "hasValue");
    let fold = Fold {
        range: parser.expr(at, Kind::List(Vec::new())),
        variable: "#unused".to_owned(),
        accumulator: variable.clone(),
        start: member(parser, again, "value"),
        condition: literal(parser, at, Value::Bool(false)),
        step: parser.expr(at, Kind::Ident(variable.clone())),
        result: value,
        appends: false,
    };
    let mut mapped = parser.expr(at, Kind::Fold(Box::new(fold)));
    if function == "optMap" {
        mapped = call(parser, at, "optional.of", vec![mapped]);
    }
    let none = call(parser, at, "optional.none", Vec::new());
    let args = vec![present, mapped, none];
    Ok(call(parser, at, operators::CONDITIONAL, args))
}

impl Parser<'_, '_> {
    /// A copy of an expression whose nodes have numbers of their own.
    fn copied(&mut self, expr: &Expr) -> Expr {
        let mut copy = expr.clone();
        self.renumber(&mut copy);
        copy
    }

    fn renumber(&mut self, expr: &mut Expr) {
        expr.id = self.reserve();
        match &mut expr.kind {
            Kind::Literal(_) | Kind::Ident(_) => {}
            Kind::Select { operand, .. } => self.renumber(operand),
            Kind::Call { target, args, .. } => {
                for part in target.as_deref_mut().into_iter().chain(args) {
                    self.renumber(part);
                }
            }
            Kind::List(items) => {
                for item in items {
                    self.renumber(&mut item.value);
                }
            }
            Kind::Map(entries) => {
                for entry in entries {
                    self.renumber(&mut entry.key);
                    self.renumber(&mut entry.value);
                }
            }
            Kind::Message { fields, .. } => {
                for field in fields {
                    self.renumber(field);
                }
            }
            Kind::Fold(fold) => {
                let Fold {
                    range,
                    start,
                    condition,
                    step,
                    result,
                    ..
                } = &mut **fold;
                for part in [range, start, condition, step, result] {
                    self.renumber(part);
                }
            }
        }
    }
}
