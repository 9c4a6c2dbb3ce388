//! Which types agree, and what type parameters stand for.

use std::collections::HashMap;
use std::sync::Arc;

use crate::types::{Param, Type};

/// What the parameters of calls stand for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bindings(HashMap<usize, Type>);

impl Bindings {
    fn find(&self, param: Param) -> Option<&Type> {
        match param {
            Param::Declared(_) => None,
            Param::Fresh(number) => self.0.get(&number),
        }
    }

    fn bind(&mut self, param: Param, to: Type) {
        if let Param::Fresh(number) = param {
            self.0.insert(number, to);
        }
    }

    /// Whether each type of `from` can be assigned to that of `to`; if so, parameters are bound to what makes them agree.
    pub(crate) fn assign_all(&mut self, from: &[Type], to: &[Type]) -> bool {
        let mut trial = self.clone();
        let agrees = from.len() == to.len()
            && from
                .iter()
                .zip(to)
                .all(|(from, to)| trial.assignable(from, to));
        if agrees {
            *self = trial;
        }
        agrees
    }

    /// As [`Bindings::assign_all`], for one type.
    pub(crate) fn assign(&mut self, from: &Type, to: &Type) -> bool {
        self.assign_all(std::slice::from_ref(from), std::slice::from_ref(to))
    }

    fn assignable(&mut self, from: &Type, to: &Type) -> bool {
        if let Type::Param(param) = to {
            match self.substitute_for(*param, to, from) {
                (true, _) => return true,
                (false, true) => return false,
                (false, false) => {}
            }
        }
        if let Type::Param(param) = from {
            return self.substitute_for(*param, from, to).0;
        }
        if from.is_dyn_or_error() || to.is_dyn_or_error() {
            return true;
        }
        if *from == Type::Null {
            return is_nullable(to);
        }
        if *to == Type::Null {
            return is_nullable(from);
        }
        match (from, to) {
            (Type::Type(_), Type::Type(_)) => true,
            (Type::List(from), Type::List(to)) | (Type::Optional(from), Type::Optional(to)) => {
                self.assignable(from, to)
            }
            (Type::Map(from), Type::Map(to)) => {
                self.assignable(&from.0, &to.0) && self.assignable(&from.1, &to.1)
            }
            (from, to) => from == to,
        }
    }

    /// Whether the parameter can stand for `other`, and whether it already stands for something.
    fn substitute_for(&mut self, param: Param, itself: &Type, other: &Type) -> (bool, bool) {
        if itself == other {
            return (true, true);
        }
        if let Some(bound) = self.find(param).cloned() {
            if bound == *other {
                return (true, true);
            }
            if !self.assignable(other, &bound) {
                return (false, true);
            }
            let general = most_general(other, &bound).clone();
            if self.is_free_of(param, &general) {
                self.bind(param, general);
            }
            return (true, true);
        }
        if self.is_free_of(param, other) {
            self.bind(param, other.clone());
            return (true, false);
        }
        (false, false)
    }

    /// Whether the parameter does not occur in the type.
    fn is_free_of(&self, param: Param, within: &Type) -> bool {
        if let Type::Param(found) = within {
            let bound = self.find(*found);
            return *found != param && bound.is_none_or(|bound| self.is_free_of(param, bound));
        }
        let parameters = within.parameters();
        parameters
            .into_iter()
            .all(|parameter| self.is_free_of(param, parameter))
    }

    /// The type with its parameters replaced by what they stand for; with `settle` those that stand for nothing by `dyn`.
    pub(crate) fn resolve(&self, of: &Type, settle: bool) -> Type {
        let within = |of: &Arc<Type>| Arc::new(self.resolve(of, settle));
        match of {
            Type::Param(param) => match self.find(*param) {
                Some(bound) => self.resolve(bound, settle),
                None if settle => Type::Dyn,
                None => of.clone(),
            },
            Type::List(element) => Type::List(within(element)),
            Type::Optional(value) => Type::Optional(within(value)),
            Type::Type(Some(of)) => Type::Type(Some(within(of))),
            Type::Map(parts) => {
                let (key, value) = &**parts;
                Type::map(self.resolve(key, settle), self.resolve(value, settle))
            }
            other => other.clone(),
        }
    }
}

/// Whether `null` can be assigned to the type.
fn is_nullable(to: &Type) -> bool {
    let nullable = [Type::Null, Type::Duration, Type::Timestamp];
    nullable.contains(to) || matches!(to, Type::Optional(_))
}

/// The more general of two types that agree.
pub(crate) fn most_general<'t>(one: &'t Type, other: &'t Type) -> &'t Type {
    if is_as_general(one, other) {
        one
    } else {
        other
    }
}

fn is_as_general(one: &Type, other: &Type) -> bool {
    if matches!(one, Type::Dyn | Type::Param(_)) {
        return true;
    }
    match (one, other) {
        (_, Type::Dyn | Type::Param(_)) => false,
        (Type::List(one), Type::List(other)) | (Type::Optional(one), Type::Optional(other)) => {
            is_as_general(one, other)
        }
        (Type::Map(one), Type::Map(other)) => {
            is_as_general(&one.0, &other.0) && is_as_general(&one.1, &other.1)
        }
        (Type::Type(_), Type::Type(_)) => true,
        (one, other) => one == other,
    }
}
