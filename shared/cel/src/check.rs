//! The type checker.

use std::collections::HashMap;

use crate::ast::{Entry, Expr, Fold, Item, Kind, operators};
use crate::declarations::{Function, Overload, function};
use crate::format;
use crate::source::Problems;
use crate::types::{Param, Type};
use crate::unify::{Bindings, most_general};
use crate::value::Value;

/// The types of the nodes of an expression, by their numbers.
pub(crate) struct Types(Vec<Type>);

impl Types {
    pub(crate) fn of(&self, expr: &Expr) -> &Type {
        self.0.get(expr.id).unwrap_or(&Type::Dyn)
    }
}

/// Checks an expression of `nodes` nodes in which `variables` are declared. Problems are reported; the types are those found
/// until then.
pub(crate) fn check(
    expr: &Expr,
    nodes: usize,
    variables: &[(String, Type)],
    problems: &mut Problems<'_>,
) -> Types {
    let mut checker = Checker {
        types: vec![Type::Dyn; nodes + 1],
        bindings: Bindings::default(),
        fresh: 0,
        scopes: variables.to_vec(),
        problems,
    };
    checker.visit(expr);
    let Checker {
        types,
        bindings,
        problems,
        ..
    } = checker;
    let types = types.iter().map(|of| bindings.resolve(of, true)).collect();
    let types = Types(types);
    if problems.is_empty() {
        alike(expr, &types, problems);
        format::check(expr, &types, problems);
    }
    types
}

/// Checks that the elements of each literal list, and the keys and values of each literal map, are of one type. The arguments
/// of `format` need not be.
fn alike(expr: &Expr, types: &Types, problems: &mut Problems<'_>) {
    let mut report = |first: &Expr, optional: bool, found: &Expr, is_optional: bool| {
        let element = |expr: &Expr, optional: bool| {
            let of = types.of(expr).clone();
            if optional { of.unwrapped().0 } else { of }
        };
        let (expected, of) = (element(first, optional), element(found, is_optional));
        if expected != of {
            let message = format!("expected type '{expected}' but found '{of}'");
            problems.report(found.at, message);
        }
        expected == of
    };
    match &expr.kind {
        Kind::Call { function, .. } if function == "format" => return,
        Kind::List(items) => {
            if let Some((first, rest)) = items.split_first() {
                let mut rest = rest.iter();
                rest.all(|item| report(&first.value, first.optional, &item.value, item.optional));
            }
        }
        Kind::Map(entries) => {
            if let Some((first, rest)) = entries.split_first() {
                for entry in rest {
                    report(&first.key, false, &entry.key, false);
                    report(&first.value, first.optional, &entry.value, entry.optional);
                }
            }
        }
        _ => {}
    }
    for child in expr.kind.children() {
        alike(child, types, problems);
    }
}

struct Checker<'c, 's> {
    types: Vec<Type>,
    bindings: Bindings,
    fresh: usize,
    /// The variables, those of inner scopes last.
    scopes: Vec<(String, Type)>,
    problems: &'c mut Problems<'s>,
}

impl Checker<'_, '_> {
    fn set(&mut self, expr: &Expr, of: Type) {
        if let Some(slot) = self.types.get_mut(expr.id) {
            *slot = of;
        }
    }

    fn get(&self, expr: &Expr) -> Type {
        self.types.get(expr.id).cloned().unwrap_or(Type::Dyn)
    }

    /// The type found for an expression, as far as its parameters are known.
    fn resolved(&self, expr: &Expr) -> Type {
        self.bindings.resolve(&self.get(expr), false)
    }

    fn new_param(&mut self) -> Type {
        self.fresh += 1;
        Type::Param(Param::Fresh(self.fresh - 1))
    }

    fn undeclared(&mut self, expr: &Expr, name: &str) -> Type {
        let message = format!("undeclared reference to '{name}' (in container '')");
        self.problems.report(expr.at, message);
        Type::Error
    }

    fn mismatch(&mut self, expr: &Expr, expected: &Type, found: &Type) {
        let message = format!("expected type '{expected}' but found '{found}'");
        self.problems.report(expr.at, message);
    }

    /// The type of a variable, or of a type that is named like a value.
    fn lookup(&self, name: &str) -> Option<Type> {
        let plain = name.strip_prefix('.').unwrap_or(name);
        let mut variables = self.scopes.iter().rev();
        let variable = variables.find(|(known, _)| known == plain);
        match variable {
            Some((_, of)) => Some(of.clone()),
            None => Type::named(plain).map(|of| Type::Type(Some(of.into()))),
        }
    }

    fn visit(&mut self, expr: &Expr) {
        let of = match &expr.kind {
            Kind::Literal(value) => value.type_of(),
            Kind::Ident(name) => match self.lookup(name) {
                Some(of) => of,
                None => self.undeclared(expr, name),
            },
            Kind::Select {
                operand,
                field,
                test,
            } => self.select(expr, operand, field, *test),
            Kind::Call {
                target,
                function,
                args,
            } => self.call(expr, target.as_deref(), function, args),
            Kind::List(items) => self.list(items),
            Kind::Map(entries) => self.map(entries),
            Kind::Message { name, .. } => self.undeclared(expr, name),
            Kind::Fold(fold) => self.fold(fold),
        };
        self.set(expr, of);
    }

    fn select(&mut self, expr: &Expr, operand: &Expr, _: &str, test: bool) -> Type {
        if let Some(name) = expr.qualified_name()
            && let Some(of) = self.lookup(&name)
        {
            return of;
        }
        let of = self.field(expr, operand, false);
        if test {
            return Type::Bool;
        }
        self.bindings.resolve(&of, false)
    }

    /// The type of a field of `operand`.
    fn field(&mut self, expr: &Expr, operand: &Expr, optional: bool) -> Type {
        self.visit(operand);
        let (target, is_optional) = self.resolved(operand).unwrapped();
        let of = match &target {
            Type::Map(parts) => parts.1.clone(),
            Type::Param(_) => {
                self.bindings.assign(&Type::Dyn, &target);
                Type::Dyn
            }
            other => {
                if !other.is_dyn_or_error() {
                    let message = format!("type '{other}' does not support field selection");
                    self.problems.report(expr.at, message);
                }
                Type::Dyn
            }
        };
        if is_optional || optional {
            Type::optional(of)
        } else {
            of
        }
    }

    fn call(&mut self, expr: &Expr, target: Option<&Expr>, name: &str, args: &[Expr]) -> Type {
        if name == operators::OPTIONAL_SELECT
            && let [operand, _] = args
        {
            let of = self.field(expr, operand, true);
            return self.bindings.resolve(&of, false);
        }
        for arg in args {
            self.visit(arg);
        }
        let Some(target) = target else {
            return match function(name) {
                Some(function) => self.overload(expr, name, function, None, args),
                None => self.undeclared(expr, name),
            };
        };
        if let Some(qualified) = target.qualified_name() {
            let qualified = format!("{qualified}.{name}");
            if let Some(function) = function(&qualified) {
                return self.overload(expr, &qualified, function, None, args);
            }
        }
        self.visit(target);
        match function(name) {
            Some(function) => self.overload(expr, name, function, Some(target), args),
            None => self.undeclared(expr, name),
        }
    }

    /// The type of a call, by the signatures that agree with its arguments.
    fn overload(
        &mut self,
        expr: &Expr,
        name: &str,
        function: &Function,
        target: Option<&Expr>,
        args: &[Expr],
    ) -> Type {
        if matches!(name, operators::AND | operators::OR) {
            return self.logic(args);
        }
        let given: Vec<Type> = target
            .into_iter()
            .chain(args)
            .map(|arg| self.get(arg))
            .collect();
        let mut found: Option<Type> = None;
        for overload in &function.overloads {
            if overload.member != target.is_some() {
                continue;
            }
            let (wanted, result) = self.instance(overload);
            if !self.bindings.assign_all(&given, &wanted) {
                continue;
            }
            let result = self.bindings.resolve(&result, false);
            found = Some(match found {
                None => result,
                Some(before) if before == Type::Dyn || before == result => before,
                Some(_) => Type::Dyn,
            });
        }
        found.unwrap_or_else(|| {
            let given = given.iter().map(|of| self.bindings.resolve(of, true));
            let mut shown: Vec<String> = given.map(|of| of.to_string()).collect();
            let target = if target.is_some() && !shown.is_empty() {
                format!("{}.", shown.remove(0))
            } else {
                String::new()
            };
            let shown = shown.join(", ");
            let name = name.strip_prefix('.').unwrap_or(name);
            let message =
                format!("found no matching overload for '{name}' applied to '{target}({shown})'");
            self.problems.report(expr.at, message);
            Type::Error
        })
    }

    fn logic(&mut self, args: &[Expr]) -> Type {
        let mut of = Type::Bool;
        for arg in args {
            let given = self.get(arg);
            if !self.bindings.assign(&given, &Type::Bool) {
                self.mismatch(arg, &Type::Bool, &given);
                of = Type::Error;
            }
        }
        of
    }

    /// A signature with new parameters of its own.
    fn instance(&mut self, overload: &Overload) -> (Vec<Type>, Type) {
        let params: HashMap<char, Type> = overload
            .params
            .iter()
            .map(|param| (*param, self.new_param()))
            .collect();
        let args = overload.args.iter().map(|of| instantiate(of, &params));
        (args.collect(), instantiate(&overload.result, &params))
    }

    fn list(&mut self, items: &[Item]) -> Type {
        let mut element: Option<Type> = None;
        for Item { value, optional } in items {
            self.visit(value);
            let of = self.element(value, *optional);
            element = Some(self.joined(element, of));
        }
        Type::list(element.unwrap_or_else(|| self.new_param()))
    }

    fn map(&mut self, entries: &[Entry]) -> Type {
        let (mut keys, mut values): (Option<Type>, Option<Type>) = (None, None);
        for Entry {
            key,
            value,
            optional,
        } in entries
        {
            self.visit(key);
            let of = self.get(key);
            keys = Some(self.joined(keys, of));
            self.visit(value);
            let of = self.element(value, *optional);
            values = Some(self.joined(values, of));
        }
        match (keys, values) {
            (Some(keys), Some(values)) => Type::map(keys, values),
            _ => Type::map(self.new_param(), self.new_param()),
        }
    }

    /// The type that an element of a literal adds, which for an optional element is that of its value.
    fn element(&mut self, value: &Expr, optional: bool) -> Type {
        let of = self.get(value);
        if !optional {
            return of;
        }
        let (inner, is_optional) = of.unwrapped();
        if !is_optional && inner != Type::Dyn {
            self.mismatch(value, &Type::optional(inner.clone()), &inner);
        }
        inner
    }

    /// The type of elements so far and one more.
    fn joined(&mut self, before: Option<Type>, of: Type) -> Type {
        let Some(before) = before else {
            return of;
        };
        if self.bindings.assign(&before, &of) {
            return most_general(&before, &of).clone();
        }
        Type::Dyn
    }

    fn fold(&mut self, fold: &Fold) -> Type {
        self.visit(&fold.range);
        self.visit(&fold.start);
        let range = self.resolved(&fold.range);
        let accumulated = self.get(&fold.start);
        let element = match &range {
            Type::List(element) => (**element).clone(),
            Type::Map(parts) => parts.0.clone(),
            Type::Dyn | Type::Error | Type::Param(_) => {
                self.bindings.assign(&Type::Dyn, &range);
                Type::Dyn
            }
            other => {
                let message = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.problems.report(fold.range.at, message);
                Type::Error
            }
        };
        self.scopes
            .push((fold.accumulator.clone(), accumulated.clone()));
        self.scopes.push((fold.variable.clone(), element));
        self.visit(&fold.condition);
        self.require(&fold.condition, &Type::Bool);
        self.visit(&fold.step);
        self.require(&fold.step, &accumulated);
        self.scopes.pop();
        self.visit(&fold.result);
        self.scopes.pop();
        self.resolved(&fold.result)
    }

    fn require(&mut self, expr: &Expr, wanted: &Type) {
        let of = self.get(expr);
        if !self.bindings.assign(wanted, &of) {
            self.mismatch(expr, wanted, &of);
        }
    }
}

fn instantiate(of: &Type, params: &HashMap<char, Type>) -> Type {
    let within = |of: &Type| instantiate(of, params);
    match of {
        Type::Param(Param::Declared(name)) => params.get(name).cloned().unwrap_or(Type::Dyn),
        Type::List(element) => Type::list(within(element)),
        Type::Optional(value) => Type::optional(within(value)),
        Type::Type(Some(of)) => Type::Type(Some(within(of).into())),
        Type::Map(parts) => Type::map(within(&parts.0), within(&parts.1)),
        other => other.clone(),
    }
}

impl Value {
    /// The type of a literal.
    fn type_of(&self) -> Type {
        match self {
            Self::Null => Type::Null,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Uint(_) => Type::Uint,
            Self::Double(_) => Type::Double,
            Self::String(_) => Type::String,
            Self::Bytes(_) => Type::Bytes,
            _ => Type::Dyn,
        }
    }
}
