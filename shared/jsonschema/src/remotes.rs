//! Remote documents that schemas refer to.

use std::collections::BTreeMap;

use bytes::Bytes;

/// Maximum number of documents that one schema may load by reference. Helm has no such limit.
pub const MAX_DOCUMENTS: usize = 32;

/// The results of fetching the documents that schemas refer to by `http` and `https`, by address.
///
/// ```
/// use flux_jsonschema::{Compiled, Json, Remotes, Schema};
///
/// let text = br#"{"properties": {"port": {"$ref": "https://example.com/types.json#/$defs/port"}}}"#;
/// let mut remotes = Remotes::default();
/// let schema = loop {
///     match Schema::compile("file:///values.schema.json", text, &remotes)? {
///         Compiled::Schema(schema) => break schema,
///         Compiled::Needs(address) => {
///             // Here the caller fetches it.
///             assert_eq!(address, "https://example.com/types.json");
///             remotes.insert(address, Ok(r#"{"$defs": {"port": {"maximum": 65535}}}"#.into()));
///         }
///     }
/// };
/// assert!(schema.validate(&Json::read(br#"{"port": 80}"#)?).is_ok());
/// assert!(schema.validate(&Json::read(br#"{"port": 70000}"#)?).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remotes(BTreeMap<String, Fetched>);

/// A document's text, or why it could not be fetched: the text of Helm's error, which becomes part of the schema's error.
pub type Fetched = Result<Bytes, String>;

impl Remotes {
    /// Adds the result of fetching an address.
    pub fn insert(&mut self, address: impl Into<String>, fetched: Fetched) {
        self.0.insert(address.into(), fetched);
    }

    /// The result for an address, if there is one.
    pub fn get(&self, address: &str) -> Option<&Fetched> {
        self.0.get(address)
    }

    /// All results with their addresses.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Fetched)> {
        self.0
            .iter()
            .map(|(address, fetched)| (address.as_str(), fetched))
    }

    /// Total bytes of all texts.
    pub fn size(&self) -> usize {
        let texts = self.0.values().flatten();
        texts.map(Bytes::len).sum()
    }
}
