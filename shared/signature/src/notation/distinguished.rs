//! Distinguished names in trust policies (RFC 4514), as notation-go reads them.

use std::collections::BTreeMap;

use flux_golang::strconv::quote;

/// The maximum number of attributes.
const MAX_ATTRIBUTES: usize = 64;

/// The attributes of a name: each at most once, and among them the country, the state and the organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Distinguished(BTreeMap<String, String>);

/// Whether the second name has all attributes of the first.
pub(super) fn is_subset(first: &Distinguished, second: &Distinguished) -> bool {
    let mut attributes = first.0.iter();
    attributes.all(|(key, value)| second.0.get(key) == Some(value))
}

impl Distinguished {
    /// Reads a name such as `C=US, ST=WA, O=Example`. The error does not quote it.
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        if name.contains("=#") {
            return Err(
                r#"unsupported distinguished name (DN): notation does not support x509.subject identities containing "=#""#
                    .to_owned(),
            );
        }
        let parts = split(name).ok_or(
            "parsing distinguished name (DN) failed with err: malformed. A valid DN must contain 'C', 'ST' or 'S', and 'O' RDN attributes at a minimum, and follow RFC 4514 standard",
        )?;
        let mut attributes: BTreeMap<String, String> = BTreeMap::new();
        for part in parts {
            if part.joined {
                return Err("distinguished name (DN) has multi-valued RDN attributes, remove multi-valued RDN attributes as they are not supported".to_owned());
            }
            let kind = if part.kind == "S" {
                "ST".to_owned()
            } else {
                part.kind
            };
            if attributes.get(&kind).is_some_and(|value| !value.is_empty()) {
                return Err("distinguished name (DN) has duplicate RDN attributes, DN can only have unique RDN attributes".to_owned());
            }
            attributes.insert(kind, part.value);
        }
        for required in ["C", "ST", "O"] {
            if attributes.get(required).is_none_or(String::is_empty) {
                return Err(format!(
                    "distinguished name (DN) has no mandatory RDN attribute for {}, it must contain 'C', 'ST' or 'S', and 'O' RDN attributes at a minimum",
                    quote(required)
                ));
            }
        }
        Ok(Self(attributes))
    }
}

struct Part {
    kind: String,
    value: String,
    /// Whether it belongs together with others (`+`).
    joined: bool,
}

/// The attributes of a name; `None` if it is malformed.
fn split(name: &str) -> Option<Vec<Part>> {
    if name.trim().is_empty() {
        return Some(Vec::new());
    }
    let mut parts: Vec<Part> = Vec::new();
    let mut chars = name.chars().peekable();
    let mut joined = false;
    loop {
        let mut kind = String::new();
        loop {
            match chars.next()? {
                '=' => break,
                ',' | '+' | ';' | '\\' | '"' => return None,
                c => kind.push(c),
            }
        }
        // Bytes, since escapes may be of parts of a character. Spaces at the ends count only if escaped.
        let mut value: Vec<u8> = Vec::new();
        let mut kept = 0;
        while chars.peek() == Some(&' ') {
            chars.next();
        }
        let end = loop {
            match chars.next() {
                None => break None,
                Some(c @ (',' | '+' | ';')) => break Some(c),
                Some('\\') => {
                    let first = chars.next()?;
                    match first
                        .to_digit(16)
                        .zip(chars.peek().and_then(|c| c.to_digit(16)))
                    {
                        Some((high, low)) => {
                            chars.next();
                            value.push(u8::try_from(high << 4 | low).ok()?);
                        }
                        None if " \"#+,;<=>\\".contains(first) => {
                            value.extend(first.to_string().as_bytes());
                        }
                        None => return None,
                    }
                    kept = value.len();
                }
                Some('"') => return None,
                Some(c) => {
                    value.extend(c.to_string().as_bytes());
                    if c != ' ' {
                        kept = value.len();
                    }
                }
            }
        };
        value.truncate(kept);
        let kind = kind.trim().to_owned();
        if kind.is_empty() || parts.len() == MAX_ATTRIBUTES {
            return None;
        }
        parts.push(Part {
            kind,
            value: String::from_utf8(value).ok()?,
            joined: joined || end == Some('+'),
        });
        joined = end == Some('+');
        if end.is_none() {
            return Some(parts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_with_escapes() {
        let name = Distinguished::parse(r"CN=a\, b ,S = WA,O=Ex\20,C=US,OU=\C3\A9").unwrap();
        let get = |key: &str| name.0.get(key).map(String::as_str);
        assert_eq!(get("CN"), Some("a, b"));
        assert_eq!(get("ST"), Some("WA"));
        assert_eq!(get("O"), Some("Ex "));
        assert_eq!(get("OU"), Some("é"));
    }

    #[test]
    fn malformed_names_are_refused() {
        for name in [
            "",
            "C=US",
            "C=US,ST=WA,O=a,O=b",
            "C=US,ST=WA,O=a+OU=b",
            "C=US,ST=WA,O",
            r"C=US,ST=WA,O=\z",
            "C=US,ST=WA,O=#0c",
            "=US,ST=WA,O=a",
            "C=US,ST=WA,O=a,",
        ] {
            assert!(Distinguished::parse(name).is_err(), "{name}");
        }
    }
}
