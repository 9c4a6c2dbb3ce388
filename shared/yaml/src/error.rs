//! What can go wrong, in go-yaml's words where clients see them.

use std::borrow::Cow;

use flux_budget::Exhausted;

use crate::resolve::Flavor;

/// Why a document could not be read, converted or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is not YAML. The message is go-yaml's, whose line is off by one in some cases.
    #[error("yaml: {message}")]
    Syntax {
        /// go-yaml's message, with its `line N: ` where it gives one.
        message: String,
        /// The true line of the problem, from 1.
        line: u32,
        /// The true column of the problem in characters, from 1.
        column: u32,
    },
    /// The document is YAML but does not fit the data model: bad tags, merges, aliases.
    #[error("yaml: {0}")]
    Invalid(String),
    /// Values that cannot be taken as they are, all of them: repeated keys above all.
    #[error("yaml: unmarshal errors:\n  {}", .0.join("\n  "))]
    Unmarshal(Vec<String>),
    /// The value cannot be said in JSON: a key that is a list or null, a float that is no number.
    #[error("{0}")]
    Json(String),
    /// A merge that kyaml refuses, in its words.
    #[error("{0}")]
    Merge(String),
    /// What `sigs.k8s.io/yaml`'s `Unmarshal` makes of any of these.
    #[error("error converting YAML to JSON: {0}")]
    Convert(Box<Error>),
    /// JSON text that is not JSON, with the byte offset at which reading stopped.
    #[error("{message}")]
    JsonSyntax {
        /// encoding/json's message.
        message: String,
        /// Bytes read before the problem.
        offset: usize,
    },
    /// The document is larger or deeper than this library reads.
    #[error("yaml: {0}")]
    Limit(String),
    /// The document takes more memory than the claim that it is read on may have.
    #[error("yaml: {0}")]
    Memory(Exhausted),
}

impl Error {
    pub(crate) fn invalid(message: impl Into<String>) -> Error {
        Error::Invalid(message.into())
    }

    /// The same error with `***` in place of what it quotes of the document, for documents that hold secrets.
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

    /// The line and column of the problem, from 1, where they are known.
    pub fn position(&self) -> Option<(u32, u32)> {
        match self {
            Error::Syntax { line, column, .. } => Some((*line, *column)),
            Error::Convert(inner) => inner.position(),
            _ => None,
        }
    }
}

/// A message without what it quotes: between its first and last quote of a kind, or behind words that a text follows.
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

/// A place in the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Characters before this place.
    pub(crate) index: u32,
    /// Bytes before this place.
    pub(crate) byte: u32,
    /// Line, from 0.
    pub(crate) line: u32,
    /// Column in characters, from 0.
    pub(crate) column: u32,
}

impl Mark {
    /// The place as an index into the text's bytes.
    pub(crate) fn at(self) -> usize {
        self.byte as usize
    }
}

/// Which layer of the reader stopped: go-yaml counts lines differently for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    Reader,
    Scanner,
    Parser,
}

/// A syntax error before it is put into words.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) layer: Layer,
    pub(crate) problem: Cow<'static, str>,
    /// Where the construct began, if the error tells.
    pub(crate) context: Mark,
    /// Where the problem is.
    pub(crate) at: Mark,
}

impl Fault {
    /// go-yaml's message. Each version prefers another of the two marks, and lines of the parser layer
    /// are counted from 0 there, so that a problem in the first line has no line at all.
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
    fn errors_can_do_without_the_text_of_the_document() {
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
