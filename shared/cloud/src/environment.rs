//! The environment variables of the process, which tests replace.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Environment variables. Clones share them.
#[derive(Clone, Default)]
pub struct Environment(Option<Arc<BTreeMap<String, String>>>);

impl Environment {
    /// The variables of this process, at the time they are asked for.
    pub fn of_process() -> Self {
        Self(None)
    }

    /// These variables and no others.
    pub fn of_values<'a>(values: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self(Some(Arc::new(values.into_iter().map(owned).collect())))
    }

    /// The value of a variable that is set, be it empty.
    pub fn lookup(&self, name: &str) -> Option<String> {
        match &self.0 {
            None => std::env::var(name).ok(),
            Some(values) => values.get(name).cloned(),
        }
    }

    /// The value of a variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<String> {
        self.lookup(name).filter(|value| !value.is_empty())
    }

    /// Whether a variable is `true`, in any case, as the SDKs read it.
    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment(..)") // values may be keys
    }
}
