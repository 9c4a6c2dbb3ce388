//! The Sprig v3.3.0 function library.

mod convert;
mod crypto;
mod dates;
mod decimal;
mod defaults;
mod dicts;
mod encoding;
mod lists;
mod math;
mod paths;
mod random;
mod reflection;
mod regexes;
mod semvers;
mod string_lists;
mod strings;
mod system;
mod urls;
mod words;

use crate::functions::Functions;

/// All of Sprig's text functions, `env` and `expandenv` included: a host that must not show its environment
/// [removes](Functions::remove) these two, as Helm does.
///
/// ```
/// use std::sync::Arc;
/// use flux_gotemplate::{Limits, Nothing, Session, Templates, Value, sprig};
///
/// let mut templates = Templates::new("t", Arc::new(sprig::functions()));
/// templates.parse("t", b"{{ . | trunc 5 | upper | quote }}")?;
/// let mut session = Session::new(Nothing, Limits::default());
/// assert_eq!(templates.execute(&mut session, "t", Value::from("hello world"))?, b"\"HELLO\"");
/// # Ok::<(), flux_gotemplate::Error>(())
/// ```
pub fn functions() -> Functions {
    let mut functions = Functions::new();
    for register in [
        strings::register,
        string_lists::register,
        words::register,
        convert::register,
        math::register,
        defaults::register,
        lists::register,
        dicts::register,
        reflection::register,
        encoding::register,
        dates::register,
        paths::register,
        urls::register,
        regexes::register,
        semvers::register,
        random::register,
        crypto::register,
        system::register,
    ] {
        register(&mut functions);
    }
    functions
}
