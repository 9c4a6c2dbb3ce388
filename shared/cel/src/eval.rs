//! Evaluates expressions.

mod access;

use std::collections::HashMap;
use std::sync::Arc;

use self::access::{find, find_field, qualify};
use crate::ast::{Entry, Expr, Fold, Item, Kind, operators};
use crate::declarations::function;
use crate::functions;
use crate::types::Type;
use crate::value::{Map, Value};

/// What an evaluation may use: it ends with the error `operation interrupted` once that is used up.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The nodes that are evaluated, each as often as it is.
    pub steps: u64,
    /// The bytes of the texts and lists that are made.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            steps: 5_000_000,
            bytes: 32 << 20,
        }
    }
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) message: String,
    /// Whether this is a name that stands for nothing, to which selections add theirs.
    unresolved: bool,
}

impl Fault {
    /// The fault with its name as it is.
    fn closed(self) -> Self {
        Self {
            unresolved: false,
            ..self
        }
    }
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Self {
            message,
            unresolved: false,
        }
    }
}

impl From<&str> for Fault {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}

type Outcome<T = Value> = Result<T, Fault>;

const INTERRUPTED: &str = "operation interrupted";
pub(crate) const NO_OVERLOAD: &str = "no such overload";

/// What is left of the limits.
pub(crate) struct Meter(Limits);

impl Meter {
    pub(crate) fn new(limits: Limits) -> Self {
        Self(limits)
    }

    fn step(&mut self) -> Outcome<()> {
        if self.0.steps == 0 {
            return Err(INTERRUPTED.into());
        }
        self.0.steps -= 1;
        Ok(())
    }

    /// Counts work that is proportional to `steps`.
    pub(crate) fn steps(&mut self, steps: usize) -> Result<(), String> {
        self.0.steps = self.0.steps.saturating_sub(steps as u64);
        if self.0.steps == 0 {
            return Err(INTERRUPTED.to_owned());
        }
        Ok(())
    }

    /// Counts bytes before they are allocated.
    pub(crate) fn bytes(&mut self, bytes: usize) -> Result<(), String> {
        if let Some(left) = self.0.bytes.checked_sub(bytes) {
            self.0.bytes = left;
            Ok(())
        } else {
            self.0 = Limits { steps: 0, bytes: 0 };
            Err(INTERRUPTED.to_owned())
        }
    }

    fn is_used_up(&self) -> bool {
        self.0.steps == 0
    }
}

/// The value of an expression, where `variable` returns that of a variable.
pub(crate) fn evaluate(
    expr: &Expr,
    variable: &dyn Fn(&str) -> Option<Value>,
    limits: Limits,
) -> Result<Value, String> {
    let mut machine = Machine {
        variable,
        known: HashMap::new(),
        locals: Vec::new(),
        meter: Meter(limits),
    };
    machine.eval(expr).map_err(|fault| fault.message)
}

struct Machine<'e> {
    variable: &'e dyn Fn(&str) -> Option<Value>,
    /// The variables that were asked for before.
    known: HashMap<&'e str, Option<Value>>,
    locals: Vec<(&'e str, Outcome)>,
    meter: Meter,
}

impl<'e> Machine<'e> {
    fn eval(&mut self, expr: &'e Expr) -> Outcome {
        self.meter.step()?;
        match &expr.kind {
            Kind::Literal(value) => Ok(value.clone()),
            Kind::Ident(name) => self.ident(name),
            Kind::Select {
                operand,
                field,
                test,
            } => self.select(operand, field, *test),
            Kind::Call {
                target,
                function,
                args,
            } => self.call(expr, target.as_deref(), function, args),
            Kind::List(items) => self.list(items),
            Kind::Map(entries) => self.map(entries),
            Kind::Message { name, .. } => Err(format!("unknown type: {name}").into()),
            Kind::Fold(fold) => self.fold(fold),
        }
    }

    fn ident(&mut self, name: &'e str) -> Outcome {
        let plain = name.strip_prefix('.').unwrap_or(name);
        if let Some((_, value)) = self.locals.iter().rev().find(|(local, _)| *local == plain) {
            return value.clone();
        }
        let variable = self.variable;
        let known = self.known.entry(plain);
        if let Some(value) = known.or_insert_with(|| variable(plain)) {
            return Ok(value.clone());
        }
        resolve(plain)
    }

    fn select(&mut self, operand: &'e Expr, field: &str, test: bool) -> Outcome {
        let operand = match self.eval(operand) {
            Err(fault) => return extend(fault, Some(field)),
            Ok(operand) => operand,
        };
        let key = Value::String(field.into());
        if test {
            let found = match &operand {
                Value::Optional(None) => None,
                Value::Optional(Some(inner)) => find(inner, &key)?,
                other => find_field(other, &key)?,
            };
            return Ok(Value::Bool(found.is_some()));
        }
        qualify(operand, &key, false)
    }

    fn index(&mut self, operand: &'e Expr, index: &'e Expr, optional: bool) -> Outcome {
        let value = match self.eval(operand) {
            Err(fault) => return extend(fault, index.literal_text()),
            Ok(value) => value,
        };
        // an operand that is absent is not indexed
        if matches!(value, Value::Optional(None)) {
            return Ok(value);
        }
        let key = self.eval(index).map_err(|fault| {
            let path = fault.unresolved.then(|| operand.path()).flatten();
            match path.filter(|path| path.contains('.')) {
                // the longest name that the operand could be is what is missing then
                Some(path) => format!("no such attribute(s): {path}").into(),
                None => fault.closed(),
            }
        })?;
        qualify(value, &key, optional)
    }

    fn call(
        &mut self,
        expr: &'e Expr,
        target: Option<&'e Expr>,
        name: &'e str,
        args: &'e [Expr],
    ) -> Outcome {
        match (name, args) {
            (operators::INDEX, [operand, index]) => self.index(operand, index, false),
            (operators::OPTIONAL_INDEX | operators::OPTIONAL_SELECT, [operand, index]) => {
                self.index(operand, index, true)
            }
            (operators::CONDITIONAL, [condition, truthy, falsy]) => {
                match self.eval(condition).map_err(Fault::closed)? {
                    Value::Bool(true) => self.eval(truthy),
                    Value::Bool(false) => self.eval(falsy),
                    _ => Err(NO_OVERLOAD.into()),
                }
            }
            (operators::OR, [left, right]) => self.logic(true, left, right),
            (operators::AND, [left, right]) => self.logic(false, left, right),
            (operators::NOT_STRICTLY_FALSE, [value]) => {
                let value = self.eval(value);
                Ok(Value::Bool(!matches!(value, Ok(Value::Bool(false)))))
            }
            ("or" | "orValue", [other]) if target.is_some() => {
                self.alternative(target, name, other)
            }
            _ => self
                .function(expr, target, name, args)
                .map_err(Fault::closed),
        }
    }

    /// `||` and `&&`: one side that decides is enough, whatever the other is.
    fn logic(&mut self, decisive: bool, left: &'e Expr, right: &'e Expr) -> Outcome {
        let mut fault = None;
        for term in [left, right] {
            match self.eval(term) {
                Ok(Value::Bool(value)) if value == decisive => return Ok(Value::Bool(decisive)),
                Ok(Value::Bool(_)) => {}
                Ok(_) => fault = fault.or(Some(NO_OVERLOAD.into())),
                Err(found) => fault = fault.or(Some(found.closed())),
            }
        }
        match fault {
            Some(fault) => Err(fault),
            None => Ok(Value::Bool(!decisive)),
        }
    }

    /// `a.or(b)` and `a.orValue(b)`, where `b` is evaluated only if `a` is absent.
    fn alternative(&mut self, target: Option<&'e Expr>, name: &str, other: &'e Expr) -> Outcome {
        let Some(target) = target else {
            return Err(NO_OVERLOAD.into());
        };
        match self.eval(target).map_err(Fault::closed)? {
            Value::Optional(None) => self.eval(other).map_err(Fault::closed),
            Value::Optional(Some(value)) if name == "orValue" => Ok((*value).clone()),
            found => Ok(found),
        }
    }

    fn function(
        &mut self,
        expr: &Expr,
        target: Option<&'e Expr>,
        name: &str,
        args: &'e [Expr],
    ) -> Outcome {
        let (name, target) = resolved(target, name);
        let mut values = Vec::with_capacity(args.len() + 1);
        for arg in target.into_iter().chain(args) {
            values.push(self.eval(arg));
            if !matches!(&*name, operators::EQUALS | operators::NOT_EQUALS)
                && let Some(Err(_)) = values.last()
            {
                break;
            }
        }
        let values = values.into_iter().collect::<Outcome<Vec<Value>>>()?;
        // a literal expression is compiled before, for texts only
        if name == "matches"
            && args
                .last()
                .is_some_and(|last| last.literal_text().is_some())
            && !matches!(values.first(), Some(Value::String(_)))
        {
            return Err(NO_OVERLOAD.into());
        }
        Ok(functions::call(&name, expr.id, &values, &mut self.meter)?)
    }

    fn list(&mut self, items: &'e [Item]) -> Outcome {
        self.meter.bytes(items.len() * size_of::<Value>())?;
        let mut list = Vec::with_capacity(items.len());
        for Item { value, optional } in items {
            let value = self.eval(value).map_err(Fault::closed)?;
            match value {
                value if !optional => list.push(value),
                Value::Optional(None) => {}
                Value::Optional(Some(value)) => list.push((*value).clone()),
                other => {
                    let shown = other.shown();
                    let what = "cannot initialize optional list element from non-optional value";
                    return Err(format!("{what} {shown}").into());
                }
            }
        }
        Ok(Value::List(Arc::new(list)))
    }

    fn map(&mut self, entries: &'e [Entry]) -> Outcome {
        self.meter.bytes(entries.len() * 4 * size_of::<Value>())?;
        let mut map = Map::default();
        for Entry {
            key,
            value,
            optional,
        } in entries
        {
            let key = self.eval(key).map_err(Fault::closed)?;
            let value = self.eval(value).map_err(Fault::closed)?;
            let value = match value {
                value if !optional => value,
                Value::Optional(None) => {
                    map.remove(&key);
                    continue;
                }
                Value::Optional(Some(value)) => (*value).clone(),
                other => {
                    let (key, shown) = (key.shown(), other.shown());
                    let what =
                        format!("cannot initialize optional entry '{key}' from non-optional value");
                    return Err(format!("{what} {shown}").into());
                }
            };
            if !map.insert(key, value) {
                return Err("unsupported key type".into());
            }
        }
        Ok(Value::Map(Arc::new(map)))
    }

    fn fold(&mut self, fold: &'e Fold) -> Outcome {
        let range = self.eval(&fold.range).map_err(Fault::closed)?;
        let items = match range {
            Value::List(items) => items,
            Value::Map(map) => {
                self.meter.bytes(map.len() * size_of::<Value>())?;
                Arc::new(map.entries().iter().map(|(key, _)| key.clone()).collect())
            }
            other => {
                let of = other.go_type();
                return Err(format!("got '{of}', expected iterable type").into());
            }
        };
        if fold.appends {
            return self.transform(fold, &items);
        }
        let start = self.eval(&fold.start).map_err(Fault::closed);
        let base = self.locals.len();
        self.locals.push((&fold.accumulator, start));
        for item in items.iter() {
            self.locals.push((&fold.variable, Ok(item.clone())));
            let goes_on = self.eval(&fold.condition);
            if matches!(goes_on, Ok(Value::Bool(false))) {
                break;
            }
            let step = self.eval(&fold.step).map_err(Fault::closed);
            self.locals.truncate(base);
            self.locals.push((&fold.accumulator, step));
            if self.meter.is_used_up() {
                self.locals.truncate(base);
                return Err(INTERRUPTED.into());
            }
        }
        self.locals.truncate(base + 1);
        let result = self.eval(&fold.result);
        self.locals.truncate(base);
        result.map_err(Fault::closed)
    }

    /// A fold that appends to a list.
    fn transform(&mut self, fold: &'e Fold, items: &[Value]) -> Outcome {
        let mut list = Ok(Vec::new());
        let base = self.locals.len();
        for item in items {
            self.locals.push((&fold.variable, Ok(item.clone())));
            self.append(&fold.step, &mut list);
            self.locals.truncate(base);
            if self.meter.is_used_up() {
                return Err(INTERRUPTED.into());
            }
        }
        list.map(|list| Value::List(Arc::new(list)))
    }

    /// The step `predicate ? accumulator + [value] : accumulator`, or that without a predicate.
    fn append(&mut self, step: &'e Expr, list: &mut Outcome<Vec<Value>>) {
        let Kind::Call { function, args, .. } = &step.kind else {
            return;
        };
        match (function.as_str(), args.as_slice()) {
            (operators::CONDITIONAL, [predicate, added, _]) => match self.eval(predicate) {
                Ok(Value::Bool(true)) => self.append(added, list),
                Ok(Value::Bool(false)) => {}
                Ok(_) => *list = Err(NO_OVERLOAD.into()),
                Err(fault) => *list = Err(fault.closed()),
            },
            (operators::ADD, [_, added]) => {
                let added = self.eval(added).map_err(Fault::closed);
                match (&mut *list, added) {
                    (Ok(list), Ok(Value::List(added))) => list.extend(added.iter().cloned()),
                    (Ok(_), Err(fault)) => *list = Err(fault),
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

/// The name of a function with the namespace that its target may be, and the target if it is not a namespace.
pub(crate) fn resolved<'e>(target: Option<&'e Expr>, name: &str) -> (String, Option<&'e Expr>) {
    let plain = name.strip_prefix('.').unwrap_or(name);
    if let Some(space) = target.and_then(Expr::qualified_name) {
        let qualified = format!("{space}.{plain}");
        if function(&qualified).is_some() {
            let qualified = qualified.strip_prefix('.').unwrap_or(&qualified);
            return (qualified.to_owned(), None);
        }
    }
    (plain.to_owned(), target)
}

/// A name that is no variable: it may be a type.
fn resolve(name: &str) -> Outcome {
    match Type::named(name) {
        Some(of) => Ok(Value::Type(of)),
        None => Err(Fault {
            message: format!("no such attribute(s): {name}"),
            unresolved: true,
        }),
    }
}

/// The fault of a selection whose operand has one: a name that stands for nothing becomes longer.
fn extend(fault: Fault, field: Option<&str>) -> Outcome {
    match field {
        Some(field) if fault.unresolved => {
            let name = fault.message.rsplit_once(": ").map_or("", |(_, name)| name);
            resolve(&format!("{name}.{field}"))
        }
        _ => Err(fault.closed()),
    }
}
