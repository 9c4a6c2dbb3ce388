//! Fields, map entries and methods: `.a.b.c`.

use super::eval::zero;
use super::walk::element_of;
use super::{At, Executed, Execution, Rv};
use crate::parse::Operand;
use crate::template::MissingKey;
use crate::value::{Object, Str, Value, types};

fn has_field(object: &dyn Object, name: &[u8]) -> bool {
    let mut fields = object.all_fields().into_iter();
    fields.any(|(field, _)| field.as_bytes() == name)
}

impl<'t> Execution<'t, '_> {
    /// `.X.Y.Z arg…`: only the last one may be a method with arguments.
    pub(super) fn field_chain(
        &mut self,
        dot: &Rv,
        receiver: &Rv,
        site: At<'t>,
        names: &'t [Str],
        args: &'t [Operand],
        last: Option<Rv>,
    ) -> Executed<Rv> {
        let Some((name, before)) = names.split_last() else {
            return Ok(receiver.clone());
        };
        let mut holder;
        let mut receiver = receiver;
        for name in before {
            holder = self.field(dot, name, site, &[], None, receiver)?;
            receiver = &holder;
        }
        self.field(dot, name, site, args, last, receiver)
    }

    fn field(
        &mut self,
        dot: &Rv,
        name: &'t Str,
        site: At<'t>,
        args: &'t [Operand],
        last: Option<Rv>,
        receiver: &Rv,
    ) -> Executed<Rv> {
        let (value, type_name) = match receiver {
            Rv::Invalid => {
                if self.templates.missing_key() == MissingKey::Error {
                    return Err(self.fault(format!(
                        "nil data; no entry for key {}",
                        flux_golang::strconv::quote(name)
                    )));
                }
                return Ok(Rv::Invalid);
            }
            Rv::Interface(Value::Nil) => {
                return Err(self.fault(format!("nil pointer evaluating interface {{}}.{name}")));
            }
            Rv::Is(value) => (value, None),
            Rv::Interface(value) => (value, Some("interface {}")),
        };
        if let Value::Map(map) = value {
            let ty = map.go_type();
            if !ty.methods.is_empty()
                && let Some(method) = ty.method(name)
            {
                return self.call_method(dot, value, method, site, args, last);
            }
            if ty.key.is_some() {
                let type_name = type_name.unwrap_or(ty.name);
                return Err(self.fault(format!("can't evaluate field {name} in type {type_name}")));
            }
            if !args.is_empty() || last.is_some() {
                return Err(self.fault(format!("{name} is not a method but has arguments")));
            }
            return match map.get(name) {
                Some(found) => Ok(element_of(ty, found)),
                None => match self.templates.missing_key() {
                    MissingKey::Default => Ok(Rv::Invalid),
                    MissingKey::Zero => {
                        let elem = ty.elem.unwrap_or(&types::ANY);
                        Ok(element_of(ty, zero(elem)))
                    }
                    MissingKey::Error => Err(self.fault(format!(
                        "map has no entry for key {}",
                        flux_golang::strconv::quote(name)
                    ))),
                },
            };
        }
        if let Some(method) = value.go_type().and_then(|t| t.method(name)) {
            return self.call_method(dot, value, method, site, args, last);
        }
        if let Value::Object(object) = value
            && let Some(found) = object.field(name)
        {
            if !args.is_empty() || last.is_some() {
                return Err(self.fault(format!(
                    "{name} has arguments but cannot be invoked as function"
                )));
            }
            return Ok(Rv::returned(found));
        }
        if let Value::Object(object) = value
            && has_field(&**object, name)
        {
            let type_name = value.type_name();
            return Err(self.fault(format!(
                "{name} is an unexported field of struct type {type_name}"
            )));
        }
        let type_name = type_name.unwrap_or_else(|| value.type_name());
        Err(self.fault(format!("can't evaluate field {name} in type {type_name}")))
    }
}
