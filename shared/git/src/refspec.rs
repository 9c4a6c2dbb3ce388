//! Refspecs of a push, as go-git reads them, without the forms that force or delete.

use std::fmt;
use std::str::FromStr;

/// The length of a hash in hexadecimal.
const HEX: usize = 40;

/// Which local references update which references of the remote: `<source>:<destination>`, with one `*` on both sides or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refspec {
    source: String,
    destination: String,
}

/// Why a refspec is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefspecError {
    /// It does not consist of a source and a destination.
    #[error("malformed refspec, separators are wrong")]
    Separators,
    /// A wildcard on one side only, or several.
    #[error("malformed refspec, mismatched number of wildcards")]
    Wildcards,
    /// It would force an update (IA-GIT-114).
    #[error("refspec '{0}' forces an update, which is not allowed")]
    Forces(String),
    /// It would delete a reference (IA-GIT-114).
    #[error("refspec '{0}' deletes a reference, which is not allowed")]
    Deletes(String),
}

impl Refspec {
    /// Parses a refspec (IA-GIT-075, IA-GIT-114).
    pub fn parse(text: &str) -> Result<Self, RefspecError> {
        if text.starts_with('+') {
            return Err(RefspecError::Forces(text.to_owned()));
        }
        if text.starts_with(':') {
            return Err(RefspecError::Deletes(text.to_owned()));
        }
        let (source, destination) = text.split_once(':').ok_or(RefspecError::Separators)?;
        if destination.is_empty() || destination.contains(':') {
            return Err(RefspecError::Separators);
        }
        let count = |side: &str| side.matches('*').count();
        if count(source) != count(destination) || count(source) > 1 {
            return Err(RefspecError::Wildcards);
        }
        Ok(Self {
            source: source.to_owned(),
            destination: destination.to_owned(),
        })
    }

    /// The reference to itself, for example `refs/heads/main:refs/heads/main`.
    pub(crate) fn same(name: &str) -> Self {
        Self {
            source: name.to_owned(),
            destination: name.to_owned(),
        }
    }

    /// What the local reference `name` updates: `None` if the refspec does not select it.
    pub fn destination(&self, name: &str) -> Option<String> {
        let (Some((before, after)), Some((left, right))) = (
            self.source.split_once('*'),
            self.destination.split_once('*'),
        ) else {
            return (self.source == name).then(|| self.destination.clone());
        };
        let matched = name.strip_prefix(before)?.strip_suffix(after)?;
        Some(format!("{left}{matched}{right}"))
    }

    /// The destination if the source is a full hash.
    pub(crate) fn hash(&self) -> Option<(&str, &str)> {
        let is_hash =
            self.source.len() == HEX && self.source.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hash.then_some((&self.source, &self.destination))
    }
}

impl FromStr for Refspec {
    type Err = RefspecError;

    fn from_str(text: &str) -> Result<Self, RefspecError> {
        Self::parse(text)
    }
}

impl fmt::Display for Refspec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source, self.destination)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("a", "malformed refspec, separators are wrong")]
    #[case("", "malformed refspec, separators are wrong")]
    #[case("a:", "malformed refspec, separators are wrong")]
    #[case("a:b:c", "malformed refspec, separators are wrong")]
    #[case("a/*:b", "malformed refspec, mismatched number of wildcards")]
    #[case("a:b/*", "malformed refspec, mismatched number of wildcards")]
    #[case("a/*/*:b/*/*", "malformed refspec, mismatched number of wildcards")]
    // IA-GIT-114
    #[case("+a:b", "refspec '+a:b' forces an update, which is not allowed")]
    #[case(":b", "refspec ':b' deletes a reference, which is not allowed")]
    fn malformed_and_dangerous_refspecs_are_refused(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(Refspec::parse(text).unwrap_err().to_string(), expected);
    }

    #[rstest]
    #[case("refs/heads/a:refs/for/main", "refs/heads/a", Some("refs/for/main"))]
    #[case("refs/heads/a:refs/for/main", "refs/heads/ab", None)]
    #[case("refs/heads/*:refs/x/*/y", "refs/heads/a/b", Some("refs/x/a/b/y"))]
    #[case("refs/heads/*-z:refs/x/*", "refs/heads/a-z", Some("refs/x/a"))]
    #[case("refs/heads/*-z:refs/x/*", "refs/heads/a", None)]
    fn refspecs_select_references(
        #[case] text: &str,
        #[case] name: &str,
        #[case] expected: Option<&str>,
    ) {
        let refspec: Refspec = text.parse().unwrap();
        assert_eq!(refspec.to_string(), text);
        assert_eq!(refspec.destination(name).as_deref(), expected);
        assert_eq!(refspec.hash(), None);
    }
}
