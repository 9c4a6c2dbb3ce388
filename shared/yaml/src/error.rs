//! Errors, with go-yaml's texts where users see them.

use std::borrow::Cow;

use flux_budget::Exhausted;

use crate::resolve::Flavor;

/// Why a document could not be read, converted or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is not YAML. The message is go-yaml's, whose line is off by one in some cases.
    #[error("yaml: {message}")]
    Syntax {
        /// go-yaml's message, with its `line N: ` if it has one.
        message: String,
        /// The true line of the problem, from 1.
        line: u32,
        /// The true column of the problem in characters, from 1.
        column: u32,
    },
    /// The document is YAML but violates the data model: bad tags, merges, aliases.
    #[error("yaml: {0}")]
    Invalid(String),
    /// All values that cannot be decoded, most often repeated keys.
    #[error("yaml: unmarshal errors:\n  {}", .0.join("\n  "))]
    Unmarshal(Vec<String>),
    /// The value has no JSON form: a key that is a list or null, a float that is not a number.
    #[error("{0}")]
    Json(String),
    /// A merge that kyaml rejects, with its text.
    #[error("{0}")]
    Merge(String),
    /// The wrapping of these errors by `sigs.k8s.io/yaml`'s `Unmarshal`.
    #[error("error converting YAML to JSON: {0}")]
    Convert(Box<Error>),
    /// Malformed JSON, with the byte offset at which reading stopped.
    #[error("{message}")]
    JsonSyntax {
        /// encoding/json's message.
        message: String,
        /// Bytes read before the problem.
        offset: usize,
    },
    /// The document is larger or deeper than the limits of this crate.
    #[error("yaml: {0}")]
    Limit(String),
    /// The document needs more memory than its claim can get.
    #[error("yaml: {0}")]
    Memory(Exhausted),
}

impl Error {
    pub(crate) fn invalid(message: impl Into<String>) -> Error {
        Error::Invalid(message.into())
    }

    /// The same error with `***` instead of quoted parts of the document, for documents that contain secrets.
    #[must_use]
    pub fn without_text(&self) -> Error {
        let masked = |message: &String| masked(message);
        match self {
            Error::Invalid(message) => Error::Invalid(masked(message)),
            Error::Unmarshal(messages) => Error::Unmarshal(messages.iter().map(masked).collect()),
            Error::Json(message) => Error::Json(masked(message)),
            Error::Convert(inner) => Error::Convert(Box::new(inner.without_text())),
            Error::JsonSyntax { message, offset } => Error::JsonSyntax {
                message: masked(message),
                offset: *offset,
            },
            Error::Syntax { .. } | Error::Merge(_) | Error::Limit(_) | Error::Memory(_) => {
                self.clone()
            }
        }
    }

    /// The line and column of the problem, from 1, if known.
    pub fn position(&self) -> Option<(u32, u32)> {
        match self {
            Error::Syntax { line, column, .. } => Some((*line, *column)),
            Error::Convert(inner) => inner.position(),
            _ => None,
        }
    }
}

/// A message without what it quotes: between its first and last quote of a kind, or after words that introduce a text.
fn masked(message: &str) -> String {
    const FOLLOWED: [&str; 5] = [
        "invalid map key: ",
        "unsupported map key of type: ",
        "cannot unmarshal number ",
        "invalid character ",
        ": key ",
    ];
    for words in FOLLOWED {
        if let Some((head, _)) = message.split_once(words) {
            return format!("{head}{words}***");
        }
    }
    for quote in ['`', '"', '\''] {
        if let (Some(first), Some(last)) = (message.find(quote), message.rfind(quote))
            && first < last
        {
            let (head, tail) = (message.get(..=first), message.get(last..));
            return format!("{}***{}", head.unwrap_or(""), tail.unwrap_or(""));
        }
    }
    message.to_owned()
}

/// A position in the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Characters before this position.
    pub(crate) index: u32,
    /// Bytes before this position.
    pub(crate) byte: u32,
    /// Line, from 0.
    pub(crate) line: u32,
    /// Column in characters, from 0.
    pub(crate) column: u32,
}

impl Mark {
    /// The position as an index into the text's bytes.
    pub(crate) fn at(self) -> usize {
        self.byte as usize
    }
}

/// The layer of the reader that failed: go-yaml counts lines differently for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    Reader,
    Scanner,
    Parser,
}

/// A syntax error before its text is formatted.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) layer: Layer,
    pub(crate) problem: Cow<'static, str>,
    /// Start of the enclosing construct, if the error mentions it.
    pub(crate) context: Mark,
    /// Position of the problem.
    pub(crate) at: Mark,
}

impl Fault {
    /// go-yaml's message. The versions differ in which of the two marks they report, and lines of the parser layer are
    /// counted from 0, so that a problem in the first line has no line number at all.
    pub(crate) fn into_error(self, flavor: Flavor) -> Error {
        let scanned = u32::from(self.layer == Layer::Scanner);
        let line = match flavor {
            Flavor::V2 if self.at.line != 0 => self.at.line + scanned,
            Flavor::V2 => self.context.line,
            Flavor::V3 if self.context.line != 0 => self.context.line + scanned,
            Flavor::V3 if self.at.line != 0 => self.at.line + scanned,
            Flavor::V3 => 0,
        };
        let message = if line == 0 {
            self.problem.into_owned()
        } else {
            format!("line {line}: {}", self.problem)
        };
        Error::Syntax {
            message,
            line: self.at.line + 1,
            column: self.at.column + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{json, sigs, v3};

    #[test]
    fn errors_can_be_masked() {
        let documents = [
            "a: *hidden",
            "a: &hidden [*hidden]",
            "a: !!int hidden",
            "? [hidden]\n: 1",
            "~: hidden",
            "18446744073709551615: hidden",
            "hidden: 1\nhidden: 2",
            "a: 'hidden",
        ];
        for document in documents {
            let yaml3 = v3::parse(document).and_then(|node| match node {
                Some(node) => v3::to_value(&node).map(drop),
                None => Ok(()),
            });
            let errors = [
                sigs::from_str(document).map(drop),
                sigs::from_str_strict(document).map(drop),
                yaml3,
                json::from_str(document).map(drop),
            ];
            let mut found = 0;
            for error in errors.into_iter().filter_map(Result::err) {
                let shown = error.without_text().to_string();
                assert!(!shown.contains("hidden"), "{shown}");
                assert!(!shown.contains("18446744073709551615"), "{shown}");
                assert!(!shown.is_empty());
                found += 1;
            }
            assert!(found > 1, "{document}");
        }
    }
}
