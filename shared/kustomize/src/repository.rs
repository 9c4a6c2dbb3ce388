//! The URLs by which kustomizations refer to repositories (KZ-REM rows).

use std::time::Duration;

/// A repository and what to check out of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Repository {
    /// The URL to fetch from, as for git.
    pub url: String,
    /// Branch, tag or commit; empty for the default branch (KZ-REM-003).
    pub reference: String,
    /// Whether to fetch submodules (KZ-REM-005).
    pub submodules: bool,
    /// The timeout of one git command (KZ-REM-004).
    pub timeout: Duration,
}

/// A folder of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) repository: Repository,
    /// The folder in the repository, empty for the root.
    pub(crate) path: String,
    /// The text that it was parsed from.
    pub(crate) raw: String,
}

/// KZ-REM-004
const TIMEOUT: Duration = Duration::from_secs(27);

const SCHEMES: [&str; 4] = ["ssh://", "https://", "http://", "file://"];

impl Location {
    /// Parses an entry of `resources` or `components` as the URL of a repository (KZ-REM-001); the error says why it is
    /// not one, in kustomize's words.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            return Err(format!("uri looks like abs path: {text}"));
        }
        let (location, query) = text.split_once('?').unwrap_or((text, ""));
        let (host, rest) = host(location)?;
        let (repository, path) = split(&rest, host.starts_with("file://"))?;
        let query = Query::parse(query);
        Ok(Self {
            repository: Repository {
                url: host + &repository,
                reference: query.reference,
                submodules: query.submodules,
                timeout: query.timeout,
            },
            path,
            raw: text.to_owned(),
        })
    }
}

fn strip_ignoring_case<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix)
        .then(|| &text[prefix.len()..])
}

/// Splits into host, with scheme and user, and path (KZ-REM-006 to KZ-REM-011).
fn host(location: &str) -> Result<(String, String), String> {
    let text = strip_ignoring_case(location, "git::").unwrap_or(location);
    let (scheme, text) = SCHEMES
        .iter()
        .find_map(|scheme| strip_ignoring_case(text, scheme).map(|rest| (*scheme, rest)))
        .unwrap_or(("", text));
    let (user, text) = user(text);
    let github = ["github.com/", "github.com:"]
        .iter()
        .any(|host| strip_ignoring_case(text, host).is_some());
    let scp = scheme.is_empty() && (!user.is_empty() || github);
    if scheme.is_empty() && !scp {
        return Err("failed to parse scheme".into());
    }
    if scheme == "file://" {
        return Ok((scheme.into(), format!("{user}{text}")));
    }
    let mut separator = text.find('/');
    if scp {
        let colon = text.find(':');
        let before = |slash: usize| colon.is_some_and(|colon| colon > 0 && colon < slash);
        if separator.is_none_or(before) {
            separator = colon;
        }
    }
    let (host, rest) = separator.map_or((text, ""), |at| text.split_at(at + 1));
    if github {
        let host = if scheme == "ssh://" || !user.is_empty() {
            format!("{user}github.com:")
        } else {
            "https://github.com/".into()
        };
        return Ok((host, rest.into()));
    }
    if host.is_empty() {
        return Err("failed to parse host segment".into());
    }
    Ok((format!("{scheme}{user}{host}"), rest.into()))
}

/// KZ-REM-008
fn user(text: &str) -> (&str, &str) {
    let Some(at) = text.find('@') else {
        return ("", text);
    };
    let name = &text[..at];
    let valid = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if valid {
        text.split_at(at + 1)
    } else {
        ("", text)
    }
}

/// Splits into repository and folder (KZ-REM-012 to KZ-REM-014).
fn split(rest: &str, whole: bool) -> Result<(String, String), String> {
    let (repository, path) = if let Some(at) = rest.find("_git/") {
        let (head, tail) = rest.split_at(at + "_git/".len());
        let (name, path) = tail.split_once('/').unwrap_or((tail, ""));
        (format!("{head}{name}"), path)
    } else if let Some((repository, path)) = rest.split_once("//") {
        (repository.to_owned(), path)
    } else if let Some(at) = rest.find(".git") {
        let (repository, path) = rest.split_at(at + ".git".len());
        (repository.to_owned(), path)
    } else if whole {
        (rest.to_owned(), "")
    } else {
        let parts: Vec<_> = rest.splitn(3, '/').collect();
        match parts.as_slice() {
            [owner, name] => (format!("{owner}/{name}"), ""),
            [owner, name, path] => (format!("{owner}/{name}"), *path),
            _ => return Err("failed to parse repo path segment".into()),
        }
    };
    if repository.is_empty() {
        return Err("failed to parse repo path segment".into());
    }
    let mut depth = 0_i64;
    for part in path.split('/') {
        depth += match part {
            "" | "." => 0,
            ".." => -1,
            _ => 1,
        };
        if depth < 0 {
            return Err(format!("url path exits repo: {rest}"));
        }
    }
    let path = path.strip_prefix('/').unwrap_or(path);
    Ok((repository, path.to_owned()))
}

struct Query {
    reference: String,
    submodules: bool,
    timeout: Duration,
}

impl Query {
    /// An unparsable query counts as empty, an invalid value as absent (KZ-REM-002 to KZ-REM-005).
    fn parse(text: &str) -> Self {
        let pairs = pairs(text).unwrap_or_default();
        let get = |name: &str| {
            pairs
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.as_str())
                .filter(|value| !value.is_empty())
        };
        Self {
            reference: get("ref").or(get("version")).unwrap_or_default().to_owned(),
            submodules: get("submodules").and_then(boolean).unwrap_or(true),
            timeout: get("timeout").and_then(duration).unwrap_or(TIMEOUT),
        }
    }
}

fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    if text.contains(';') {
        return None;
    }
    text.split('&')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            Some((unescape(key)?, unescape(value)?))
        })
        .collect()
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Positive seconds, or a duration in Go's notation.
fn duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<u64>() {
        return (seconds > 0).then(|| Duration::from_secs(seconds));
    }
    let mut total = 0.0;
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let amount: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let (unit, seconds) = [
            ("ns", 1e-9),
            ("us", 1e-6),
            ("µs", 1e-6),
            ("ms", 1e-3),
            ("s", 1.0),
            ("m", 60.0),
            ("h", 3600.0),
        ]
        .into_iter()
        .find(|(unit, _)| rest.starts_with(unit))?;
        total += amount * seconds;
        rest = &rest[unit.len()..];
    }
    Duration::try_from_secs_f64(total)
        .ok()
        .filter(|duration| !duration.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_split_as_kustomize_does() {
        for (text, url, path, reference) in [
            // KZ-REM-001, KZ-REM-003, KZ-REM-012
            (
                "https://github.com/org/repo/dir/sub?ref=v1",
                "https://github.com/org/repo",
                "dir/sub",
                "v1",
            ),
            // KZ-REM-007, KZ-REM-010
            ("github.com/org/repo", "https://github.com/org/repo", "", ""),
            (
                "GitHub.com:org/repo//a?version=x",
                "https://github.com/org/repo",
                "a",
                "x",
            ),
            // KZ-REM-008, KZ-REM-010
            (
                "git@github.com:org/repo.git/a",
                "git@github.com:org/repo.git",
                "a",
                "",
            ),
            (
                "ssh://git@github.com/org/repo//a",
                "git@github.com:org/repo",
                "a",
                "",
            ),
            (
                "ssh://git@example.com:7999/org/repo.git//a?ref=b",
                "ssh://git@example.com:7999/org/repo.git",
                "a",
                "b",
            ),
            // KZ-REM-006
            (
                "git::https://example.com/org/repo.git//a",
                "https://example.com/org/repo.git",
                "a",
                "",
            ),
            // KZ-REM-009
            ("user@host:path/repo//x", "user@host:path/repo", "x", ""),
            (
                "https://dev.azure.com/o/p/_git/r/sub/dir",
                "https://dev.azure.com/o/p/_git/r",
                "sub/dir",
                "",
            ),
            // KZ-REM-011
            ("file:///tmp/repo//a", "file:///tmp/repo", "a", ""),
            (
                "HTTPS://example.com/a/b/c",
                "https://example.com/a/b",
                "c",
                "",
            ),
            (
                "https://example.com/a/b?ref=x&ref=y",
                "https://example.com/a/b",
                "",
                "x",
            ),
            // KZ-REM-002
            (
                "https://example.com/a/b?ref=%zz",
                "https://example.com/a/b",
                "",
                "",
            ),
        ] {
            let found = Location::parse(text).unwrap();
            let repository = found.repository;
            assert_eq!(
                (
                    repository.url.as_str(),
                    found.path.as_str(),
                    repository.reference.as_str()
                ),
                (url, path, reference),
                "{text}"
            );
        }
    }

    #[test]
    fn other_texts_are_not_repositories() {
        // KZ-REM-007, KZ-REM-013, KZ-REM-014
        for (text, error) in [
            ("/abs/path", "uri looks like abs path: /abs/path"),
            ("../base", "failed to parse scheme"),
            ("base/dir", "failed to parse scheme"),
            ("https://example.com/a", "failed to parse repo path segment"),
            ("github.com/org", "failed to parse repo path segment"),
            (
                "https://example.com/a/b/../../..",
                "url path exits repo: a/b/../../..",
            ),
            ("ftp://example.com/a/b", "failed to parse scheme"),
        ] {
            assert_eq!(Location::parse(text).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn the_query_has_defaults() {
        // KZ-REM-004, KZ-REM-005
        for (query, timeout, submodules) in [
            ("", 27_000, true),
            ("timeout=90", 90_000, true),
            ("timeout=1m30s&submodules=false", 90_000, false),
            ("timeout=1.5s&submodules=0", 1_500, false),
            ("timeout=-3&submodules=maybe", 27_000, true),
            ("timeout=0s", 27_000, true),
        ] {
            let found = Location::parse(&format!("https://example.com/a/b?{query}"))
                .unwrap()
                .repository;
            assert_eq!(found.timeout, Duration::from_millis(timeout), "{query}");
            assert_eq!(found.submodules, submodules, "{query}");
        }
    }
}
