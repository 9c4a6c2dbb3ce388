//! Names as path segments, as client-go treats them.

use std::fmt::Write as _;

use flux_golang::strconv::quote;

/// A name or namespace that no request can be made with. The texts are client-go's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// The name is empty.
    #[error("resource name may not be empty")]
    NoName,
    /// The namespace of a namespaced object is empty.
    #[error("an empty namespace may not be set when a resource name is provided")]
    NoNamespace,
    /// A name that is not a path segment.
    #[error("invalid resource name {}: [{why}]", quote(.name))]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A namespace that is not a path segment.
    #[error("invalid namespace {}: [{why}]", quote(.namespace))]
    Namespace {
        /// The namespace.
        namespace: String,
        /// What is wrong with it.
        why: String,
    },
}

/// The path segment of an object's name. A name that the server would not accept but a path can carry is escaped, so
/// that the server reports that there is no such object.
///
/// # Errors
///
/// If the name is empty, `.` or `..`, or contains `/` or `%`.
pub fn name(name: &str) -> Result<String, InvalidPath> {
    if name.is_empty() {
        return Err(InvalidPath::NoName);
    }
    match fault(name) {
        None => Ok(escaped(name)),
        Some(why) => Err(InvalidPath::Name {
            name: name.to_owned(),
            why,
        }),
    }
}

/// The path segment of a namespace, as [`name`].
///
/// # Errors
///
/// As [`name`].
pub fn namespace(namespace: &str) -> Result<String, InvalidPath> {
    if namespace.is_empty() {
        return Err(InvalidPath::NoNamespace);
    }
    match fault(namespace) {
        None => Ok(escaped(namespace)),
        Some(why) => Err(InvalidPath::Namespace {
            namespace: namespace.to_owned(),
            why,
        }),
    }
}

/// Why a text is not a path segment, in client-go's words.
fn fault(text: &str) -> Option<String> {
    if matches!(text, "." | "..") {
        return Some(format!("may not be '{text}'"));
    }
    let faults: Vec<&str> = [('/', "may not contain '/'"), ('%', "may not contain '%'")]
        .into_iter()
        .filter(|(character, _)| text.contains(*character))
        .map(|(_, fault)| fault)
        .collect();
    (!faults.is_empty()).then(|| faults.join(" "))
}

/// Escapes everything that could end a query value or path segment.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-.~:@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_segments_are_refused_with_client_gos_message() {
        for (text, why) in [
            (".", "may not be '.'"),
            ("..", "may not be '..'"),
            ("a/b", "may not contain '/'"),
            ("/", "may not contain '/'"),
            ("a%2fb", "may not contain '%'"),
            ("../%2e", "may not contain '/' may not contain '%'"),
        ] {
            assert_eq!(
                name(text).unwrap_err().to_string(),
                format!("invalid resource name \"{text}\": [{why}]")
            );
            assert_eq!(
                namespace(text).unwrap_err().to_string(),
                format!("invalid namespace \"{text}\": [{why}]")
            );
        }
        assert_eq!(
            name("").unwrap_err().to_string(),
            "resource name may not be empty"
        );
        assert!(namespace("").is_err());
    }

    #[test]
    fn other_names_are_escaped_as_one_segment() {
        for (text, segment) in [
            ("web", "web"),
            ("...", "..."),
            ("system:node.a_b~c", "system:node.a%5Fb~c"),
            ("Not Valid#é", "Not%20Valid%23%C3%A9"),
            (
                "?watch=true&timeoutSeconds=86400",
                "%3Fwatch%3Dtrue%26timeoutSeconds%3D86400",
            ),
            ("a;b\\c\r\n", "a%3Bb%5Cc%0D%0A"),
        ] {
            assert_eq!(name(text).as_deref(), Ok(segment));
            assert_eq!(namespace(text).as_deref(), Ok(segment));
            let uri: http::Uri = format!("/api/v1/namespaces/{segment}/secrets/{segment}")
                .parse()
                .unwrap();
            assert_eq!(uri.query(), None, "{text}");
            assert_eq!(uri.path().split('/').count(), 7, "{text}");
        }
    }

    #[test]
    fn names_are_quoted_as_in_go() {
        let refused = name("/\"\\\n\u{1}\u{200b}é'").unwrap_err().to_string();
        assert_eq!(
            refused,
            r#"invalid resource name "/\"\\\n\x01\u200bé'": [may not contain '/']"#
        );
    }
}
