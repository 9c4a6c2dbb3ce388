//! Reading and writing as yaml.v3 does (`go.yaml.in/yaml/v3`), on which kustomize's kyaml stands.

use crate::compose::Composer;
use crate::error::Error;
use crate::node::Node;
use crate::resolve::Flavor;
use crate::source::Source;

/// Reads the first document of a stream, as `yaml.Unmarshal` into a `Node` does: what follows it is not looked at,
/// and a stream with no document gives `None`.
///
/// # Errors
/// [`Error::Syntax`] in yaml.v3's words, [`Error::Invalid`] for an alias of an unknown anchor, [`Error::Limit`].
pub fn parse(text: impl AsRef<[u8]>) -> Result<Option<Node>, Error> {
    let source = Source::new(text.as_ref())?;
    Composer::new(&source, Flavor::V3).next_document()
}

/// Reads every document of a stream, as a `yaml.Decoder` does.
///
/// # Errors
/// As [`parse`].
pub fn parse_all(text: impl AsRef<[u8]>) -> Result<Vec<Node>, Error> {
    let source = Source::new(text.as_ref())?;
    let mut composer = Composer::new(&source, Flavor::V3);
    let mut documents = Vec::new();
    while let Some(document) = composer.next_document()? {
        documents.push(document);
    }
    Ok(documents)
}
