//! Conditional requests, as RFC 9110 orders their checks. The server gives no entity tags, so none ever fits.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, Method, header};

/// What the conditions of a request come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Precondition<'h> {
    /// Send the file, or the range of it that is still wanted.
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
    let holds = match get(headers, &header::IF_MATCH) {
        "" => unmodified_since(headers, modified),
        tags => starts_with_any(tags),
    };
    if !holds {
        return Precondition::Failed;
    }
    match get(headers, &header::IF_NONE_MATCH) {
        "" if not_modified_since(method, headers, modified) => return Precondition::NotModified,
        tags if starts_with_any(tags) && is_read => return Precondition::NotModified,
        tags if starts_with_any(tags) => return Precondition::Failed,
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

/// Whether the client has what was modified at `modified` already.
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

/// `If-Range` holds a date here, since there are no tags: the range counts if the file has just that.
fn range_still_fits(value: &str, modified: Option<SystemTime>) -> bool {
    value.is_empty()
        || httpdate::parse_http_date(value)
            .is_ok_and(|date| modified.map(whole_seconds) == Some(date))
}

/// Whether a list of tags is reached at `*` before any tag.
fn starts_with_any(tags: &str) -> bool {
    tags.trim_start_matches([',', ' ', '\t']).starts_with('*')
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
