//! The public API: compiles a schema and validates values with it.

use std::collections::HashMap;

use flux_yaml::json::read;

use crate::compile::Compiler;
use crate::json::Json;
use crate::program::{Id, Program};
use crate::remotes::Remotes;
use crate::roots::Loaded;
use crate::validate::Validator;

/// A compiled schema.
pub struct Schema {
    program: Program,
    root: Id,
    remotes: Vec<String>,
}

/// The result of compiling a schema.
pub enum Compiled {
    /// The schema.
    Schema(Schema),
    /// The schema refers to the document at this address, which [`Remotes`] lack.
    Needs(String),
}

/// Why a text is not a schema, or not JSON; the message is that of Helm's validator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SchemaError(String);

/// The report on a value that violates a schema. Its first line names the schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(String);

impl Schema {
    /// Compiles the schema with an address, and all schemas that it refers to.
    ///
    /// # Errors
    /// [`SchemaError`] if the text, or a document that it refers to, is not a valid schema, or if `remotes` have an error
    /// for one.
    pub fn compile(address: &str, text: &[u8], remotes: &Remotes) -> Result<Compiled, SchemaError> {
        let schema = Json::read(text)?;
        let fetched = remotes.iter().map(|(address, fetched)| {
            let document = match fetched {
                Ok(text) => Json::read(text).map_err(|error| error.0),
                Err(why) => Err(why.clone()),
            };
            (address.to_owned(), document)
        });
        let fetched: HashMap<String, Loaded<'_>> = fetched.collect();
        let mut compiler = Compiler::new(Some((address, &schema)), false).with_remotes(&fetched);
        let compiled = compiler.compile(address);
        let (needs, used) = compiler.roots.take_remotes();
        match (compiled, needs) {
            (_, Some(address)) => Ok(Compiled::Needs(address)),
            (Ok(root), None) => Ok(Compiled::Schema(Self {
                program: compiler.finish(),
                root,
                remotes: used,
            })),
            (Err(why), None) => Err(SchemaError(why)),
        }
    }

    /// Validates a value.
    ///
    /// # Errors
    /// [`Invalid`] with all violations.
    pub fn validate(&self, value: &Json<'_>) -> Result<(), Invalid> {
        let validator = Validator::new(&self.program);
        validator.run(self.root, value).map_err(Invalid)
    }

    /// The addresses of the remote documents that the schema was compiled with.
    pub fn remotes(&self) -> &[String] {
        &self.remotes
    }
}

impl<'t> Json<'t> {
    /// Parses JSON; texts without escapes are borrowed from the input.
    ///
    /// # Errors
    /// [`SchemaError`] with the message of Go's JSON decoder.
    pub fn read(text: &'t [u8]) -> Result<Self, SchemaError> {
        if text.iter().all(u8::is_ascii_whitespace) {
            return Err(SchemaError("EOF".to_owned()));
        }
        read(text).map_err(|e| {
            SchemaError(match e.to_string().as_str() {
                "unexpected end of JSON input" => "unexpected EOF".to_owned(),
                after if after.ends_with("after top-level value") => {
                    "invalid character after top-level value".to_owned()
                }
                other => other.to_owned(),
            })
        })
    }
}
