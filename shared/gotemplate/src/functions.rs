//! Functions that templates may call, and their implementation by Rust closures.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::context::Context;
use crate::error::CallError;
use crate::value::{List, Map, Str, Time, Type, Value, types};

/// A function with its Go signature. Arguments are checked and converted to the parameters' types before the body is
/// called; errors are Go's.
pub struct Function {
    pub(crate) params: Vec<Type>,
    pub(crate) variadic: bool,
    pub(crate) body: Body,
}

/// The body of a [`Function`]; it drains the arguments.
type Body =
    Box<dyn Fn(&mut Context<'_>, &mut Vec<Value>) -> Result<Value, CallError> + Send + Sync>;

impl Function {
    /// A function with these parameter types. If it is `variadic`, the last parameter is the element type and may be passed
    /// any number of times.
    pub fn new<F>(params: Vec<Type>, variadic: bool, body: F) -> Self
    where
        F: Fn(&mut Context<'_>, &mut Vec<Value>) -> Result<Value, CallError>
            + Send
            + Sync
            + 'static,
    {
        Self {
            params,
            variadic,
            body: Box::new(body),
        }
    }
}

/// The functions of a template set, by name.
#[derive(Clone, Default)]
pub struct Functions {
    by_name: HashMap<Box<str>, Arc<Named>>,
}

/// A function with one of its names.
pub(crate) struct Named {
    pub(crate) name: Box<str>,
    pub(crate) function: Arc<Function>,
}

impl Functions {
    /// No functions besides Go's builtins, which are always available.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a closure over Go-typed parameters. Replaces any function of that name.
    ///
    /// ```
    /// use flux_gotemplate::{Functions, Str, Value, Variadic};
    ///
    /// let mut functions = Functions::new();
    /// functions.add("shout", |s: Str| format!("{}!", s.to_text()));
    /// functions.add("count", |items: Variadic<Value>| items.0.len() as i64);
    /// ```
    pub fn add<Marker>(&mut self, name: &str, function: impl IntoFunction<Marker>) {
        self.insert(name, function.into_function());
    }

    /// Registers a function. Replaces any function of that name.
    pub fn insert(&mut self, name: &str, function: Function) {
        self.name(name, Arc::new(function));
    }

    fn name(&mut self, name: &str, function: Arc<Function>) {
        let name: Box<str> = name.into();
        let named = Named {
            name: name.clone(),
            function,
        };
        self.by_name.insert(name, Arc::new(named));
    }

    /// Removes a function, so that templates that call it do not parse.
    pub fn remove(&mut self, name: &str) {
        self.by_name.remove(name);
    }

    /// Registers an existing function under another name.
    pub fn alias(&mut self, name: &str, existing: &str) {
        if let Some(function) = self.get(existing).cloned() {
            self.name(name, function);
        }
    }

    /// The function with this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Function>> {
        self.named(name).map(|named| &named.function)
    }

    pub(crate) fn named(&self, name: &str) -> Option<&Arc<Named>> {
        self.by_name.get(name)
    }

    /// All names, in no particular order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(AsRef::as_ref)
    }
}

/// A Rust type that can be a parameter.
pub trait Param: Sized {
    /// The Go type that arguments are converted to.
    const TYPE: Type;
    /// Whether this takes all remaining arguments.
    const VARIADIC: bool = false;
    /// Takes the value out of the arguments. Fails only if the arguments were not checked before.
    fn take(args: &mut std::vec::Drain<'_, Value>) -> Result<Self, CallError>;
}

/// The last parameter of a variadic function.
pub struct Variadic<T>(pub Vec<T>);

impl<T: Param> Param for Variadic<T> {
    const TYPE: Type = T::TYPE;
    const VARIADIC: bool = true;
    fn take(args: &mut std::vec::Drain<'_, Value>) -> Result<Self, CallError> {
        let mut items = Vec::with_capacity(args.len());
        while args.len() > 0 {
            items.push(T::take(args)?);
        }
        Ok(Self(items))
    }
}

macro_rules! param {
    ($rust:ty, $go:expr, $pattern:pat => $value:expr) => {
        impl Param for $rust {
            const TYPE: Type = $go;
            fn take(args: &mut std::vec::Drain<'_, Value>) -> Result<Self, CallError> {
                match args.next() {
                    Some($pattern) => Ok($value),
                    _ => Err(CallError::new(concat!("expected ", stringify!($rust)))),
                }
            }
        }
    };
}

param!(Value, &types::ANY, value => value);
param!(bool, &types::BOOL, Value::Bool(b) => b);
param!(i64, &types::INT, Value::Int(_, n) => n);
param!(f64, &types::FLOAT64, Value::Float(f) => f);
param!(Str, &types::STRING, Value::Str(s) => s);
param!(Map, &types::ANY_MAP, Value::Map(map) => map);
param!(List, &types::ANY_SLICE, Value::List(list) => list);
param!(Rc<Time>, &crate::value::TIME, Value::Time(time) => time);

/// A type that a function may return.
pub trait IntoResult {
    /// The value or the error of the function.
    fn into_result(self) -> Result<Value, CallError>;
}

macro_rules! returns {
    ($($rust:ty),*) => {
        $(impl IntoResult for $rust {
            fn into_result(self) -> Result<Value, CallError> {
                Ok(self.into())
            }
        })*
    };
}

returns!(
    Value,
    bool,
    i64,
    f64,
    &'static str,
    String,
    Str,
    Map,
    List,
    Time,
    Vec<Value>
);

impl<T: Into<Value>, E: Into<CallError>> IntoResult for Result<T, E> {
    fn into_result(self) -> Result<Value, CallError> {
        self.map(Into::into).map_err(Into::into)
    }
}

/// Closures that can be registered; `Marker` distinguishes their signatures and is always inferred.
pub trait IntoFunction<Marker> {
    /// The function.
    fn into_function(self) -> Function;
}

macro_rules! closures {
    ($($arg:ident)*) => {
        impl<F, R, $($arg),*> IntoFunction<fn($($arg),*) -> R> for F
        where
            F: Fn($($arg),*) -> R + Send + Sync + 'static,
            R: IntoResult,
            $($arg: Param),*
        {
            #[allow(non_snake_case, unused_mut, unused_variables)]
            fn into_function(self) -> Function {
                let params: Vec<Type> = vec![$($arg::TYPE),*];
                let variadic = false $(|| $arg::VARIADIC)*;
                Function::new(params, variadic, move |_, args| {
                    let mut args = args.drain(..);
                    $(let $arg = $arg::take(&mut args)?;)*
                    drop(args);
                    self($($arg),*).into_result()
                })
            }
        }

        impl<F, R, $($arg),*> IntoFunction<fn(&mut Context<'_>, $($arg),*) -> R> for F
        where
            F: for<'a, 'b> Fn(&'a mut Context<'b>, $($arg),*) -> R + Send + Sync + 'static,
            R: IntoResult,
            $($arg: Param),*
        {
            #[allow(non_snake_case, unused_mut, unused_variables)]
            fn into_function(self) -> Function {
                let params: Vec<Type> = vec![$($arg::TYPE),*];
                let variadic = false $(|| $arg::VARIADIC)*;
                Function::new(params, variadic, move |context, args| {
                    let mut args = args.drain(..);
                    $(let $arg = $arg::take(&mut args)?;)*
                    drop(args);
                    self(context, $($arg),*).into_result()
                })
            }
        }
    };
}

closures!();
closures!(A);
closures!(A B);
closures!(A B C);
closures!(A B C D);
closures!(A B C D E);
closures!(A B C D E G);
