//! URLs in messages.

use url::Url;

/// Parameters whose values describe the request, never the user.
const HARMLESS: [&str; 10] = [
    "service",
    "scope",
    "ref",
    "version",
    "timeout",
    "submodules",
    "depth",
    "page",
    "per_page",
    "list-type",
];
const MASK: &str = "***";

/// A URL without its secrets: the password and the values of query parameters are masked, except for well-known
/// parameters. The fragment is left out, as it is never sent.
pub fn shown_url(url: &Url) -> String {
    let mut url = url.clone();
    if url.password().is_some() {
        // Fails only for a URL without host, which has no password either.
        let _ = url.set_password(Some(MASK));
    }
    url.set_fragment(None);
    if let Some(query) = url.query() {
        let shown = shown_query(query);
        url.set_query(Some(&shown));
    }
    url.to_string()
}

/// A query, without the question mark, with its values masked as in [`shown_url`].
pub fn shown_query(query: &str) -> String {
    let parameters: Vec<String> = query.split('&').map(masked).collect();
    parameters.join("&")
}

/// One parameter of a query.
fn masked(parameter: &str) -> String {
    match parameter.split_once('=') {
        Some((name, value)) if value.is_empty() || HARMLESS.contains(&name) => parameter.to_owned(),
        Some((name, _)) => format!("{name}={MASK}"),
        // A bare word may be a token as well as a flag.
        None if parameter.is_empty() || HARMLESS.contains(&parameter) => parameter.to_owned(),
        None => MASK.to_owned(),
    }
}

/// A text that is not a URL, with possible user information (before an `@`) and the values of a query masked.
pub fn shown_text(text: &str) -> String {
    let is_scheme = |text: &&str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    let start = scheme
        .filter(is_scheme)
        .map_or(0, |scheme| scheme.len() + 3);
    let (scheme, rest) = text.split_at(start);
    let (before, query) = match rest.split_once('?') {
        Some((before, query)) => (before, Some(query)),
        None => (rest, None),
    };
    if query.is_some_and(|query| query.contains('@')) {
        // Either the question mark is of a password, or the `@` of a parameter: what is a host in the one case is a part of
        // a secret in the other.
        return format!("{scheme}{MASK}");
    }
    let mut shown = match before.rfind('@') {
        Some(at) => format!("{scheme}{MASK}{}", &before[at..]),
        None => format!("{scheme}{before}"),
    };
    if let Some(query) = query {
        shown.push('?');
        shown.push_str(&shown_query(query));
    }
    shown
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    // SC-GIT-053, SC-GIT-054
    #[rstest]
    #[case(
        "https://h/x?service=git-upload-pack",
        "https://h/x?service=git-upload-pack"
    )]
    #[case("https://u:S3CRET@h/x", "https://u:***@h/x")]
    #[case(
        "https://h/x?private_token=S3CRET&ref=main",
        "https://h/x?private_token=***&ref=main"
    )]
    #[case("https://h/x?S3CRET", "https://h/x?***")]
    #[case("https://h/x?a=&b#S3CRET", "https://h/x?a=&***")]
    #[case(
        "https://h/x?service=x=y&sig=S3CRET%26a",
        "https://h/x?service=x=y&sig=***"
    )]
    fn urls(#[case] url: &str, #[case] expected: &str) {
        assert_eq!(shown_url(&Url::parse(url).unwrap()), expected);
    }

    #[rstest]
    #[case("https://h:port/x", "https://h:port/x")]
    #[case("https://u:S3CRET@h:port/x", "https://***@h:port/x")]
    #[case("u:S3@CRET@h", "***@h")]
    #[case("https://h:p/?token=S3CRET", "https://h:p/?token=***")]
    #[case("git@example.com:org/app", "***@example.com:org/app")]
    #[case("https://u:S3?CRET@h/x", "https://***")]
    #[case("https://h:p/x?token=S3@CRET&a=b", "https://***")]
    #[case("u:S3://CRET@h", "***@h")]
    #[case("oci://https://u:S3CRET@h/x", "oci://***@h/x")]
    fn urls_in_text_are_redacted(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(shown_text(text), expected);
    }
}
