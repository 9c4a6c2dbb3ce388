//! Validation of the keys and values of labels.

/// Why a key is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyFault {
    TwoSlashes,
    EmptyPrefix,
    LongPrefix,
    PrefixCharacters,
    EmptyName,
    LongName,
    NameCharacters,
}

/// An invalid value of a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InvalidValue {
    /// Its index among the sorted values.
    pub(crate) index: usize,
    pub(crate) value: String,
    pub(crate) fault: ValueFault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueFault {
    NotANumber,
    /// Whether it is too long, and whether it has invalid characters.
    NotALabel {
        long: bool,
        characters: bool,
    },
}

/// Maximum length of a label's name and value.
pub(crate) const MAX_NAME: usize = 63;
/// Maximum length of a key's prefix.
pub(crate) const MAX_PREFIX: usize = 253;

/// Whether the text begins and ends with an alphanumeric character, with only these or `-`, `_` and `.` in between.
fn is_name(text: &str) -> bool {
    let is_edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    is_edge(text.bytes().next())
        && is_edge(text.bytes().last())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Whether the text is a subdomain according to RFC 1123, in lower case.
fn is_subdomain(text: &str) -> bool {
    text.split('.').all(|label| {
        is_name(label)
            && label
                .bytes()
                .all(|byte| byte != b'_' && !byte.is_ascii_uppercase())
    })
}

/// All errors of a key; empty if it is valid.
pub(crate) fn key(key: &str) -> Vec<KeyFault> {
    let mut faults = Vec::new();
    let name = match key.split_once('/') {
        Some((_, name)) if name.contains('/') => return vec![KeyFault::TwoSlashes],
        Some((prefix, name)) => {
            if prefix.is_empty() {
                faults.push(KeyFault::EmptyPrefix);
            } else {
                if prefix.len() > MAX_PREFIX {
                    faults.push(KeyFault::LongPrefix);
                }
                if !is_subdomain(prefix) {
                    faults.push(KeyFault::PrefixCharacters);
                }
            }
            name
        }
        None => key,
    };
    if name.is_empty() {
        faults.push(KeyFault::EmptyName);
    } else if name.len() > MAX_NAME {
        faults.push(KeyFault::LongName);
    }
    if !is_name(name) {
        faults.push(KeyFault::NameCharacters);
    }
    faults
}

/// The invalid values; those that are not numbers come first.
pub(crate) fn values(values: &[String], as_numbers: bool) -> Vec<InvalidValue> {
    let invalid = |(index, value): (usize, &String), fault| InvalidValue {
        index,
        value: value.clone(),
        fault,
    };
    let numbers = values
        .iter()
        .enumerate()
        .filter(|(_, value)| as_numbers && value.parse::<i64>().is_err())
        .map(|at| invalid(at, ValueFault::NotANumber));
    let labels = values.iter().enumerate().filter_map(|at| {
        let long = at.1.len() > MAX_NAME;
        let characters = !at.1.is_empty() && !is_name(at.1);
        (long || characters).then(|| invalid(at, ValueFault::NotALabel { long, characters }))
    });
    numbers.chain(labels).collect()
}
