//! What messages may quote: nothing that a Secret contains, or may contain.
//!
//! If the object is known, [`Meter::in_object_of`](crate::meter::Meter::in_object_of) decides by its kind. A file that
//! cannot be parsed has no kind, nor has a patch; this module decides about those.

/// Replaces content that is not quoted.
pub(crate) const MASK: &str = "***";

/// Whether a YAML or JSON text may contain a Secret, or the sources of one: it contains the word in any case, or may
/// contain it in escapes or in another encoding.
pub(crate) fn may_hold_secret(text: &[u8]) -> bool {
    text.contains(&0)
        || text
            .windows(2)
            .any(|pair| matches!(pair, [b'\\', b'x' | b'u' | b'U']))
        || text
            .windows(6)
            .any(|word| word.eq_ignore_ascii_case(b"secret"))
}

/// The error of a text that cannot be parsed, without quotes if it may contain a Secret.
pub(crate) fn unreadable(error: &flux_yaml::Error, text: &[u8]) -> String {
    if may_hold_secret(text) {
        error.without_text().to_string()
    } else {
        error.to_string()
    }
}

/// Whether an entry that is neither a path nor a URL is probably an inline object, which may be a Secret.
pub(crate) fn is_inline_secret(entry: &str) -> bool {
    let inline =
        entry.contains('\n') || entry.trim_start().starts_with('{') || entry.contains(": ");
    inline && may_hold_secret(entry.as_bytes())
}

/// A path or URL as shown in messages: without the password that a URL may contain, and without query values that may
/// be tokens.
pub(crate) fn shown_url(path: &str) -> String {
    /// The query parameters that select files.
    const HARMLESS: [&str; 5] = ["ref", "version", "timeout", "submodules", "depth"];
    let Some((scheme, rest)) = path.split_once("://") else {
        return path.to_owned();
    };
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let authority = match authority.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((user, _)) => format!("{user}:{MASK}@{host}"),
            None => authority.to_owned(),
        },
        None => authority.to_owned(),
    };
    let Some((before, query)) = tail.split_once('?') else {
        return format!("{scheme}://{authority}{tail}");
    };
    let query: Vec<_> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if !HARMLESS.contains(&name) => format!("{name}={MASK}"),
            _ => pair.to_owned(),
        })
        .collect();
    format!("{scheme}://{authority}{before}?{}", query.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_may_hold_secrets_are_recognised() {
        for (text, may) in [
            ("kind: Secret", true),
            ("secretGenerator:", true),
            ("SECRETGENERATOR:", true),
            (r#"kind: "\x53ecret""#, true),
            (r#"{"kind": "\u0053ecret"}"#, true),
            ("S\0e\0c\0r\0e\0t\0", true),
            ("kind: ConfigMap", false),
            (r#"a: "\n""#, false),
        ] {
            assert_eq!(may_hold_secret(text.as_bytes()), may, "{text}");
        }
        assert!(is_inline_secret("{kind: Secret, data: {a: b}"));
        assert!(!is_inline_secret("secrets/db.yaml"));
    }

    #[test]
    fn passwords_and_tokens_of_urls_are_not_shown() {
        for (url, shown) in [
            ("../base", "../base"),
            ("https://h/a.yaml", "https://h/a.yaml"),
            ("https://u:p@h/a@b", "https://u:***@h/a@b"),
            ("https://u:p:q@x@h:1/a", "https://u:***@h:1/a"),
            ("https://u@h/a?ref=v1", "https://u@h/a?ref=v1"),
            (
                "https://h/a.yaml?token=t&ref=v1&x",
                "https://h/a.yaml?token=***&ref=v1&x",
            ),
        ] {
            assert_eq!(shown_url(url), shown);
        }
    }
}
