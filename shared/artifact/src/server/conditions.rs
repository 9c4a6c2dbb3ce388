//! Conditional requests, in the order of evaluation of RFC 9110. The server sends no entity tags, so none ever matches.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, Method, header};

/// The result of a request's conditions.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Precondition<'h> {
    /// Send the file, or the range of it that still applies.
    Proceed {
        range: &'h str,
    },
    NotModified,
    Failed,
}

pub(super) fn check<'h>(
    method: &Method,
    headers: &'h HeaderMap,
    modified: Option<SystemTime>,
) -> Precondition<'h> {
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    let holds = match bytes(headers, &header::IF_MATCH) {
        b"" => unmodified_since(headers, modified),
        tags => has_any(tags),
    };
    if !holds {
        return Precondition::Failed;
    }
    match bytes(headers, &header::IF_NONE_MATCH) {
        b"" if not_modified_since(method, headers, modified) => return Precondition::NotModified,
        tags if has_any(tags) && is_read => return Precondition::NotModified,
        tags if has_any(tags) => return Precondition::Failed,
        _ => {}
    }
    let wanted = !is_read || range_still_fits(get(headers, &header::IF_RANGE), modified);
    Precondition::Proceed {
        range: if wanted {
            get(headers, &header::RANGE)
        } else {
            ""
        },
    }
}

/// Whether the client already has the file as modified at `modified`.
pub(super) fn not_modified_since(
    method: &Method,
    headers: &HeaderMap,
    modified: Option<SystemTime>,
) -> bool {
    let since = httpdate::parse_http_date(get(headers, &header::IF_MODIFIED_SINCE));
    match (modified, since) {
        (Some(modified), Ok(since)) if matches!(*method, Method::GET | Method::HEAD) => {
            whole_seconds(modified) <= since
        }
        _ => false,
    }
}

fn unmodified_since(headers: &HeaderMap, modified: Option<SystemTime>) -> bool {
    let since = httpdate::parse_http_date(get(headers, &header::IF_UNMODIFIED_SINCE));
    match (modified, since) {
        (Some(modified), Ok(since)) => whole_seconds(modified) <= since,
        _ => true,
    }
}

/// `If-Range` can only be a date, since there are no tags: the range applies if the file has exactly that date.
fn range_still_fits(value: &str, modified: Option<SystemTime>) -> bool {
    value.is_empty()
        || httpdate::parse_http_date(value)
            .is_ok_and(|date| modified.map(whole_seconds) == Some(date))
}

/// Whether the well-formed start of a list of tags contains `*`.
fn has_any(mut tags: &[u8]) -> bool {
    loop {
        tags = tags.trim_ascii_start();
        match tags.split_first() {
            None => return false,
            Some((b'*', _)) => return true,
            Some((b',', rest)) => tags = rest,
            Some(_) => match after_tag(tags) {
                Some(rest) => tags = rest,
                None => return false,
            },
        }
    }
}

/// The rest of `tags` after its first entity tag.
fn after_tag(tags: &[u8]) -> Option<&[u8]> {
    let tag = tags.strip_prefix(b"W/").unwrap_or(tags);
    let tag = tag.strip_prefix(b"\"")?;
    let end = tag
        .iter()
        .position(|byte| *byte <= b' ' || *byte == b'"' || *byte == 0x7f)?;
    tag[end..].strip_prefix(b"\"")
}

fn whole_seconds(time: SystemTime) -> SystemTime {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn get<'h>(headers: &'h HeaderMap, name: &header::HeaderName) -> &'h str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

fn bytes<'h>(headers: &'h HeaderMap, name: &header::HeaderName) -> &'h [u8] {
    headers
        .get(name)
        .map(http::HeaderValue::as_bytes)
        .unwrap_or_default()
}
