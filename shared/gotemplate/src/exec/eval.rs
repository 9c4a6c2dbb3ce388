//! Evaluation of pipelines, commands and operands.

use super::{At, Executed, Execution, Rv};
use crate::parse::{Command, Number, Operand, Pipe, Slot};
use crate::value::{Kind, List, Map, Str, Type, Value, types};

impl<'t> Execution<'t, '_> {
    /// Evaluates a pipeline; declares and assigns its variables.
    pub(super) fn pipeline(&mut self, dot: &Rv, pipe: &'t Pipe) -> Executed<Rv> {
        self.at = Some(At::Pipe(pipe));
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(dot, command, value)?.stripped());
        }
        let value = value.unwrap_or_default();
        for decl in &pipe.decl {
            self.assign(&decl.name, decl.slot, value.clone())?;
        }
        Ok(value)
    }

    pub(super) fn assign(&mut self, name: &Str, slot: Slot, value: Rv) -> Executed<()> {
        match slot {
            Some(slot) => {
                self.set_variable(slot as usize, value);
                Ok(())
            }
            None => Err(self.fault(format!("undefined variable: {name}"))),
        }
    }

    fn command(&mut self, dot: &Rv, command: &'t Command, last: Option<Rv>) -> Executed<Rv> {
        let Some((first, args)) = command.args.split_first() else {
            return Err(self.fault("empty command"));
        };
        match first {
            Operand::Field { names, .. } => {
                self.at = Some(At::Operand(first));
                return self.field_chain(dot, dot, At::Operand(first), names, args, last);
            }
            Operand::Chain { node, names, .. } => {
                let receiver = self.chain_receiver(dot, first, node)?;
                return self.field_chain(dot, &receiver, At::Operand(first), names, args, last);
            }
            Operand::Identifier { function, .. } => {
                self.at = Some(At::Operand(first));
                let site = At::Command(command);
                return self.call_function(dot, function, site, args, last);
            }
            Operand::Pipe(pipe) => {
                self.not_a_function(first, args, last.as_ref())?;
                return self.pipeline(dot, pipe);
            }
            Operand::Variable { slot, path, .. } => {
                self.at = Some(At::Operand(first));
                let value = self.variable(path.name(), *slot)?;
                let names = path.names();
                if names.is_empty() {
                    self.not_a_function(first, args, last.as_ref())?;
                    return Ok(value);
                }
                return self.field_chain(dot, &value, At::Operand(first), names, args, last);
            }
            _ => {}
        }
        self.at = Some(At::Operand(first));
        self.not_a_function(first, args, last.as_ref())?;
        match first {
            Operand::Dot { .. } => Ok(dot.clone()),
            Operand::Nil { .. } => Err(self.fault("nil is not a command")),
            literal => self.literal(literal),
        }
    }

    fn not_a_function(&self, first: &Operand, args: &[Operand], last: Option<&Rv>) -> Executed<()> {
        if args.is_empty() && last.is_none() {
            return Ok(());
        }
        Err(self.fault(format!("can't give argument to non-function {first}")))
    }

    fn variable(&self, name: &Str, slot: Slot) -> Executed<Rv> {
        let value = slot.and_then(|slot| self.session.vars.get(self.base + slot as usize));
        value
            .cloned()
            .ok_or_else(|| self.fault(format!("undefined variable: {name}")))
    }

    fn chain_receiver(&mut self, dot: &Rv, chain: &'t Operand, node: &'t Operand) -> Executed<Rv> {
        self.at = Some(At::Operand(chain));
        self.check_stack()?;
        if matches!(node, Operand::Nil { .. }) {
            return Err(self.fault(format!("indirection through explicit nil in {chain}")));
        }
        self.operand(dot, node)
    }

    /// Evaluates a constant where no type is expected.
    fn literal(&mut self, literal: &'t Operand) -> Executed<Rv> {
        Ok(Rv::Is(match literal {
            Operand::Bool { value, .. } => Value::Bool(*value),
            Operand::String { text, .. } => Value::Str(text.clone()),
            Operand::Quoted(quoted) => Value::Str(quoted.text.clone()),
            Operand::Number(number) => return self.ideal_constant(literal, number),
            _ => return Err(self.fault(format!("can't evaluate command {literal}"))),
        }))
    }

    fn ideal_constant(&mut self, node: &'t Operand, number: &Number) -> Executed<Rv> {
        self.at = Some(At::Operand(node));
        if let Some((re, im)) = number.complex {
            return Ok(Rv::Is(Value::Complex(re, im)));
        }
        if let Some(f) = number.float.filter(|_| number.written_as_float) {
            return Ok(Rv::Is(Value::Float(f)));
        }
        if let Some(n) = number.int {
            return Ok(Rv::Is(Value::int(n)));
        }
        if number.uint.is_some() {
            return Err(self.fault(format!("{} overflows int", number.text)));
        }
        Ok(Rv::Invalid)
    }

    /// Evaluates an operand for a parameter that accepts anything (`interface {}` or `reflect.Value`).
    pub(super) fn operand(&mut self, dot: &Rv, operand: &'t Operand) -> Executed<Rv> {
        self.at = Some(At::Operand(operand));
        match operand {
            Operand::Dot { .. } => Ok(dot.clone()),
            Operand::Nil { .. } => Ok(Rv::Invalid),
            Operand::Field { names, .. } => {
                self.field_chain(dot, dot, At::Operand(operand), names, &[], None)
            }
            Operand::Variable { slot, path, .. } => {
                let value = self.variable(path.name(), *slot)?;
                let names = path.names();
                if names.is_empty() {
                    return Ok(value);
                }
                self.field_chain(dot, &value, At::Operand(operand), names, &[], None)
            }
            Operand::Pipe(pipe) => {
                self.check_stack()?;
                self.pipeline(dot, pipe)
            }
            Operand::Identifier { function, .. } => {
                self.call_function(dot, function, At::Operand(operand), &[], None)
            }
            Operand::Chain { node, names, .. } => {
                let receiver = self.chain_receiver(dot, operand, node)?;
                self.field_chain(dot, &receiver, At::Operand(operand), names, &[], None)
            }
            literal => self.literal(literal),
        }
    }

    /// Evaluates an operand for a parameter of type `ty`.
    pub(super) fn typed_operand(
        &mut self,
        dot: &Rv,
        ty: Type,
        operand: &'t Operand,
    ) -> Executed<Value> {
        match operand {
            Operand::Nil { .. } => {
                self.at = Some(At::Operand(operand));
                if ty.kind.can_be_nil() {
                    return Ok(zero(ty));
                }
                Err(self.fault(format!("cannot assign nil to {}", ty.name)))
            }
            Operand::Bool { .. }
            | Operand::String { .. }
            | Operand::Quoted(_)
            | Operand::Number(_) => {
                self.at = Some(At::Operand(operand));
                self.typed_literal(ty, operand)
            }
            _ => {
                let value = self.operand(dot, operand)?;
                self.validate(value, ty)
            }
        }
    }

    fn typed_literal(&mut self, ty: Type, literal: &'t Operand) -> Executed<Value> {
        let number = match literal {
            Operand::Number(number) => Some(&**number),
            _ => None,
        };
        let expected = match ty.kind {
            Kind::Interface if ty.is_any() => {
                let value = self.literal(literal)?;
                return Ok(value.into_value().unwrap_or_default());
            }
            Kind::Bool => match literal {
                Operand::Bool { value, .. } => return Ok(Value::Bool(*value)),
                _ => "bool",
            },
            Kind::String => match literal {
                Operand::String { text, .. } => return Ok(Value::Str(text.clone())),
                Operand::Quoted(quoted) => return Ok(Value::Str(quoted.text.clone())),
                _ => "string",
            },
            Kind::Float32 | Kind::Float64 => match number.and_then(|n| n.float) {
                Some(f) if ty.kind == Kind::Float32 => return Ok(Value::Float32(f as f32)),
                Some(f) => return Ok(Value::Float(f)),
                None => "float",
            },
            Kind::Complex128 => match number.and_then(|n| n.complex) {
                Some((re, im)) => return Ok(Value::Complex(re, im)),
                None => "complex",
            },
            kind if kind.is_signed() => match number.and_then(|n| n.int) {
                Some(n) => return Ok(int_of(ty, n)),
                None => "integer",
            },
            kind if kind.is_unsigned() => match number.and_then(|n| n.uint) {
                Some(n) => return Ok(uint_of(ty, n)),
                None => "unsigned integer",
            },
            _ => {
                return Err(self.fault(format!(
                    "can't handle {literal} for arg of type {}",
                    ty.name
                )));
            }
        };
        Err(self.fault(format!("expected {expected}; found {literal}")))
    }

    /// Checks that a value is assignable to a parameter, and gives it the parameter's type.
    pub(super) fn validate(&self, value: Rv, ty: Type) -> Executed<Value> {
        match value {
            Rv::Invalid if ty.kind.can_be_nil() => Ok(zero(ty)),
            Rv::Invalid => Err(self.fault(format!("invalid value; expected {}", ty.name))),
            Rv::Is(value) | Rv::Interface(value) => {
                if ty.is_any() {
                    return Ok(value);
                }
                let own = value.go_type().unwrap_or(&types::ANY);
                if !own.assignable_to(ty) {
                    return Err(self.fault(format!(
                        "wrong type for value; expected {}; got {}",
                        ty.name, own.name
                    )));
                }
                Ok(match value {
                    Value::Map(map) => Value::Map(map.with_type(ty)),
                    Value::List(list) => Value::List(list.with_type(ty)),
                    value => value,
                })
            }
        }
    }
}

/// Go's zero value of a type.
pub(crate) fn zero(ty: Type) -> Value {
    match ty.kind {
        Kind::Bool => Value::Bool(false),
        Kind::Float32 => Value::Float32(0.0),
        Kind::Float64 => Value::Float(0.0),
        Kind::Complex128 => Value::Complex(0.0, 0.0),
        Kind::Map => Value::Map(Map::nil(ty)),
        Kind::Slice if ty.same(&types::BYTES) => Value::bytes(Vec::new()),
        Kind::Slice => Value::List(List::nil(ty)),
        Kind::String => Value::Str(Str::default()),
        kind if kind.is_signed() => int_of(ty, 0),
        kind if kind.is_unsigned() => uint_of(ty, 0),
        _ => Value::Nil,
    }
}

fn int_of(ty: Type, n: i64) -> Value {
    use crate::value::IntType;
    let int = [
        IntType::Int8,
        IntType::Int16,
        IntType::Int32,
        IntType::Int64,
        IntType::Duration,
        IntType::Month,
        IntType::Weekday,
    ];
    let int = int.into_iter().find(|i| i.go_type().same(ty));
    Value::Int(int.unwrap_or(IntType::Int), n)
}

fn uint_of(ty: Type, n: u64) -> Value {
    use crate::value::UintType;
    let uint = [
        UintType::Uint8,
        UintType::Uint16,
        UintType::Uint32,
        UintType::Uint64,
        UintType::Uintptr,
    ];
    let uint = uint.into_iter().find(|i| i.go_type().same(ty));
    Value::Uint(uint.unwrap_or(UintType::Uint), n)
}
