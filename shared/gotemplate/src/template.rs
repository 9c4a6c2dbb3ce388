//! Sets of templates.

use std::sync::Arc;

use crate::context::Session;
use crate::error::Error;
use crate::functions::Functions;
use crate::value::Value;

/// What a missing map key gives (`Template.Option("missingkey=…")`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingKey {
    /// No value, printed as `<no value>`.
    #[default]
    Default,
    /// The zero value of the map's element type: for `interface {}`, nil.
    Zero,
    /// Execution stops.
    Error,
}

/// Templates that can call each other, the functions they call, and options.
///
/// A clone is cheap and independent: parsing into it does not show in the original, and only what it adds takes
/// memory. That is how `tpl` gets its own namespace. A set may be shared between threads.
#[derive(Clone)]
pub struct Templates {
    name: Arc<str>,
    functions: Arc<Functions>,
    missing_key: MissingKey,
}

impl Templates {
    /// An empty set. The name appears where Go names the template a set was made from (`no template "x" associated with
    /// template "gotpl"`).
    pub fn new(name: &str, functions: Arc<Functions>) -> Self {
        Self {
            name: name.into(),
            functions,
            missing_key: MissingKey::Default,
        }
    }

    /// The same set with another treatment of missing keys.
    pub fn with_missing_key(mut self, missing_key: MissingKey) -> Self {
        self.missing_key = missing_key;
        self
    }

    /// The name given to [`Templates::new`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The functions.
    pub fn functions(&self) -> &Arc<Functions> {
        &self.functions
    }

    /// The missing key option.
    pub fn missing_key(&self) -> MissingKey {
        self.missing_key
    }

    /// Parses `text` as the template `name`, with all that it defines (`t.New(name).Parse(text)`): definitions replace
    /// those of the same name from earlier texts unless their body is empty.
    pub fn parse(&mut self, name: &str, text: &[u8]) -> Result<(), Error> {
        let _ = text;
        Err(Error::Parse {
            template: name.to_owned(),
            line: 1,
            message: "the parser is not part of this crate yet".to_owned(),
        })
    }

    /// Whether there is a template of that name.
    pub fn contains(&self, name: &str) -> bool {
        let _ = name;
        false
    }

    /// Executes the template `name` on `data` and gives what it wrote.
    pub fn execute(
        &self,
        session: &mut Session,
        name: &str,
        data: Value,
    ) -> Result<Vec<u8>, Error> {
        let _ = (session, data);
        Err(Error::NotFound {
            name: name.to_owned(),
            set: self.name.to_string(),
        })
    }
}
