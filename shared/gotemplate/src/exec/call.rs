//! Calls of functions and methods.

use super::{At, Executed, Execution, Rv};
use crate::builtins::{self, Builtin, Params};
use crate::context::Context;
use crate::error::CallError;
use crate::functions::Function;
use crate::parse::{FunctionRef, Operand};
use crate::value::{Method, Type, Value, types};

impl<'t> Execution<'t, '_> {
    pub(super) fn call_function(
        &mut self,
        dot: &Rv,
        function: &'t FunctionRef,
        site: At<'t>,
        args: &'t [Operand],
        last: Option<Rv>,
    ) -> Executed<Rv> {
        self.step()?;
        match function {
            FunctionRef::Builtin(builtin) => self.call_builtin(dot, *builtin, site, args, last),
            FunctionRef::Registered(named) => {
                let (name, function) = (&*named.name, &named.function);
                // `include` re-enters the executor from here.
                self.check_stack()?;
                let params = function.params.as_slice();
                let mut given = self.arguments(dot, name, params, function.variadic, args, last)?;
                let result = (function.body)(
                    &mut Context {
                        templates: self.templates,
                        session: self.session,
                    },
                    &mut given,
                );
                self.finish(name, site, given, result)
            }
        }
    }

    pub(super) fn call_method(
        &mut self,
        dot: &Rv,
        receiver: &Value,
        method: &'static Method,
        site: At<'t>,
        args: &'t [Operand],
        last: Option<Rv>,
    ) -> Executed<Rv> {
        self.step()?;
        let name = method.name;
        let mut given = self.arguments(dot, name, method.params, method.variadic, args, last)?;
        let result = (method.call)(
            receiver,
            &mut Context {
                templates: self.templates,
                session: self.session,
            },
            &mut given,
        );
        self.finish(name, site, given, result)
    }

    fn finish(
        &mut self,
        name: &str,
        site: At<'t>,
        given: Vec<Value>,
        result: Result<Value, CallError>,
    ) -> Executed<Rv> {
        self.session.give_back(given);
        match result.and_then(|value| self.session.charge_value(&value).map(|()| value)) {
            Ok(value) => Ok(Rv::returned(value)),
            Err(e) => {
                self.at = Some(site);
                Err(self.fault_with(&format!("error calling {name}: {e}"), e.is_limit()))
            }
        }
    }

    fn check_count(
        &self,
        name: &str,
        params: usize,
        variadic: bool,
        args: usize,
        last: bool,
    ) -> Executed<()> {
        let given = args + usize::from(last);
        if variadic {
            let fixed = params.saturating_sub(1);
            if given < fixed {
                return Err(self.fault(format!(
                    "wrong number of args for {name}: want at least {fixed} got {args}"
                )));
            }
        } else if given != params {
            return Err(self.fault(format!(
                "wrong number of args for {name}: want {params} got {given}"
            )));
        }
        Ok(())
    }

    /// Evaluates the arguments from left to right and converts them to the parameters' types.
    fn arguments(
        &mut self,
        dot: &Rv,
        name: &str,
        params: &[Type],
        variadic: bool,
        args: &'t [Operand],
        last: Option<Rv>,
    ) -> Executed<Vec<Value>> {
        let given = args.len() + usize::from(last.is_some());
        let short = params.len().saturating_sub(usize::from(variadic));
        if given != params.len() && (given < short || !variadic) {
            self.check_count(name, params.len(), variadic, args.len(), last.is_some())?;
        }
        let of = |i: usize| -> Type {
            let last = params.len().saturating_sub(1);
            params.get(i.min(last)).copied().unwrap_or(&types::ANY)
        };
        let mut values = self.session.borrow_args();
        for (i, arg) in args.iter().enumerate() {
            values.push(self.typed_operand(dot, of(i), arg)?);
        }
        if let Some(last) = last {
            values.push(self.validate(last, of(args.len()))?);
        }
        Ok(values)
    }

    fn call_builtin(
        &mut self,
        dot: &Rv,
        builtin: Builtin,
        site: At<'t>,
        args: &'t [Operand],
        last: Option<Rv>,
    ) -> Executed<Rv> {
        let name = builtin.name();
        let (params, variadic) = builtin.arity();
        self.check_count(name, params, variadic, args.len(), last.is_some())?;
        if matches!(builtin, Builtin::And | Builtin::Or) {
            return self.and_or(dot, builtin == Builtin::Or, args, last);
        }
        let result = match builtin.params() {
            Params::Reflected => {
                let mut given = Vec::with_capacity(args.len() + 1);
                for arg in args {
                    given.push(self.operand(dot, arg)?);
                }
                given.extend(last);
                match builtin {
                    Builtin::Call => {
                        let callee = match args.first() {
                            Some(arg) => arg.to_string(),
                            None => given
                                .first()
                                .and_then(Rv::value)
                                .map(crate::fmt::text)
                                .unwrap_or_default(),
                        };
                        self.call_value(&callee, given)
                    }
                    _ => builtins::reflected(builtin, &given),
                }
            }
            Params::Printed(first) => {
                let mut given = self.session.borrow_args();
                for (i, arg) in args.iter().enumerate() {
                    let ty = if i == 0 { first } else { &types::ANY };
                    given.push(self.typed_operand(dot, ty, arg)?);
                }
                if let Some(last) = last {
                    let ty = if args.is_empty() { first } else { &types::ANY };
                    given.push(self.validate(last, ty)?);
                }
                let result = builtins::printed(builtin, &given);
                self.session.give_back(given);
                result.map(|s| Rv::Is(Value::Str(s)))
            }
        };
        let charged = result.and_then(|rv| {
            if let Some(value) = rv.value() {
                self.session.charge_value(value)?;
            }
            Ok(rv)
        });
        charged.map_err(|e| {
            self.at = Some(site);
            self.fault_with(&format!("error calling {name}: {e}"), e.is_limit())
        })
    }

    /// `and` and `or` evaluate no more arguments than they need.
    fn and_or(
        &mut self,
        dot: &Rv,
        or: bool,
        args: &'t [Operand],
        last: Option<Rv>,
    ) -> Executed<Rv> {
        let mut value = Rv::Invalid;
        for arg in args {
            value = self.operand(dot, arg)?;
            if value.truth() == or {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }

    /// The builtin `call`: calls a function value.
    fn call_value(&mut self, callee: &str, mut given: Vec<Rv>) -> Result<Rv, CallError> {
        let mut args = given.drain(..);
        let function = match args.next().and_then(Rv::into_value) {
            None => return Err("call of nil".into()),
            Some(Value::Func(function)) => function,
            Some(other) => {
                let ty = other.type_name();
                return Err(format!("non-function {callee} of type {ty}").into());
            }
        };
        let function: &Function = &function;
        let (params, count) = (function.params.as_slice(), args.len());
        let fixed = params.len().saturating_sub(usize::from(function.variadic));
        if function.variadic && count < fixed {
            return Err(format!(
                "wrong number of args for {callee}: got {count} want at least {fixed}"
            )
            .into());
        }
        if !function.variadic && count != fixed {
            return Err(
                format!("wrong number of args for {callee}: got {count} want {fixed}").into(),
            );
        }
        let mut values = Vec::with_capacity(count);
        for (i, arg) in args.enumerate() {
            let last = params.len().saturating_sub(1);
            let ty = params.get(i.min(last)).copied().unwrap_or(&types::ANY);
            let value = builtins::prepare(arg.into_value(), ty)
                .map_err(|e| CallError::new(format!("arg {i}: {e}")))?;
            values.push(value);
        }
        let mut context = Context {
            templates: self.templates,
            session: self.session,
        };
        (function.body)(&mut context, &mut values).map(Rv::returned)
    }
}
