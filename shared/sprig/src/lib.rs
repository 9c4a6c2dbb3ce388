//! Sprig's text functions, version 3.3, for templates of `flux-gotemplate` (ledger rows HE-FNS to HE-FNC).
//!
//! ```
//! use std::sync::Arc;
//!
//! use flux_gotemplate::{Limits, Nothing, Session, Templates, Value};
//!
//! let mut functions = flux_sprig::functions();
//! flux_sprig::add_cryptography(&mut functions);
//! let mut templates = Templates::new("t", Arc::new(functions));
//! templates.parse("t", b"{{ . | trunc 5 | upper | quote }}")?;
//! let mut session = Session::new(Nothing, Limits::default());
//! assert_eq!(templates.execute(&mut session, "t", Value::from("hello world"))?, b"\"HELLO\"");
//! # Ok::<(), flux_gotemplate::Error>(())
//! ```
//!
//! Functions for keys, certificates and passwords are added separately ([`add_cryptography`]), so that a program whose
//! templates do not use them does not contain RSA and scrypt. Time and randomness come from the host's `Environment`.

#![forbid(unsafe_code)]
#![allow(
    clippy::format_push_string, // text is short here, and `write!` to a String has an error that cannot happen
    clippy::unnecessary_box_returns, // errors are boxed where they are created, because they are large and rare
    clippy::type_complexity, // tuples local to one scanner
)]

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

use flux_gotemplate::Functions;

/// All text functions of Sprig except [the cryptographic ones](add_cryptography), including `env` and `expandenv`: a host
/// that must not expose its environment [removes](Functions::remove) these two, as Helm does.
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
        system::register,
    ] {
        register(&mut functions);
    }
    functions
}

/// Adds the functions for keys, certificates, ciphers and passwords: `genPrivateKey`, `genCA` and the other certificates,
/// `encryptAES`, `decryptAES`, `derivePassword`, `bcrypt`, `htpasswd`.
pub fn add_cryptography(functions: &mut Functions) {
    crypto::register(functions);
}
