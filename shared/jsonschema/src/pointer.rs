//! JSON pointers, fragments and addresses.

use std::borrow::Cow;

use flux_golang::strconv::quote;
use flux_golang::url::Url;

use super::format::atoi;
use super::json::Json;

/// A step from a schema to a subschema.
#[derive(Clone, Copy)]
pub(super) enum Step<'s> {
    /// The value of a keyword.
    Keyword(&'s str),
    /// A named entry of a keyword's object.
    Named(&'s str, &'s str),
    /// An item of a keyword's list.
    Item(&'s str, usize),
}

impl Step<'_> {
    /// Appends the step to a pointer.
    pub(super) fn extend(self, pointer: &mut String) {
        let (Self::Keyword(keyword) | Self::Named(keyword, _) | Self::Item(keyword, _)) = self;
        pointer.push('/');
        pointer.push_str(keyword);
        match self {
            Self::Keyword(_) => {}
            Self::Named(_, name) => {
                pointer.push('/');
                pointer.push_str(&escape(name));
            }
            Self::Item(_, at) => {
                pointer.push('/');
                pointer.push_str(&at.to_string());
            }
        }
    }
}

/// Escapes a token of a JSON pointer.
pub(super) fn escape(token: &str) -> Cow<'_, str> {
    if token.contains(['~', '/']) {
        token.replace('~', "~0").replace('/', "~1").into()
    } else {
        token.into()
    }
}

/// Unescapes a token; `None` if an escape is incomplete.
fn unescape(token: &str) -> Option<Cow<'_, str>> {
    if !token.contains('~') {
        return Some(Cow::Borrowed(token));
    }
    let mut parts = token.split('~');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (c, rest) = match part.as_bytes().first() {
            Some(b'0') => ('~', part.get(1..)),
            Some(b'1') => ('/', part.get(1..)),
            _ => return None,
        };
        out.push(c);
        out.push_str(rest?);
    }
    Some(Cow::Owned(out))
}

/// Why a pointer has no target.
enum Missing {
    Escape,
    Target,
}

/// The target of a pointer, and whether the pointer is in a non-canonical form (`/allOf/00` for `/allOf/0`).
fn walk<'j, 't>(document: &'j Json<'t>, pointer: &str) -> Result<(&'j Json<'t>, bool), Missing> {
    let (mut at, mut odd) = (document, false);
    for token in pointer.split('/').skip(1) {
        let token = unescape(token).ok_or(Missing::Escape)?;
        let next = match at {
            Json::Object(entries) => entries.get(&token),
            Json::Array(items) => {
                odd |= token.starts_with(['+', '-']) || token.len() > 1 && token.starts_with('0');
                let index = atoi(&token).ok().and_then(|i| usize::try_from(i).ok());
                index.and_then(|index| items.get(index))
            }
            _ => None,
        };
        at = next.ok_or(Missing::Target)?;
    }
    Ok((at, odd))
}

/// The target of a pointer.
pub(super) fn lookup<'j, 't>(
    address: &str,
    document: &'j Json<'t>,
    pointer: &str,
) -> Result<&'j Json<'t>, String> {
    let found = walk(document, pointer).map(|(json, _)| json);
    found.map_err(|why| {
        let shown = quote(place_text(address, pointer));
        match why {
            Missing::Escape => format!("invalid json-pointer {shown}"),
            Missing::Target => format!("json-pointer in {shown} not found"),
        }
    })
}

/// The target of a pointer, if any, and whether the pointer is in a non-canonical form.
pub(super) fn find<'j, 't>(document: &'j Json<'t>, pointer: &str) -> Option<(&'j Json<'t>, bool)> {
    walk(document, pointer).ok()
}

/// Resolves a reference against a base: the address without fragment, and the unescaped fragment.
pub(super) fn join(base: &str, reference: &str) -> Result<(String, String), String> {
    let parse = |text: &str| {
        let url = Url::parse(text.as_bytes());
        url.map_err(|e| format!("error in parsing {}: {e}", quote(text)))
    };
    let base = parse(base)?;
    let (reference, fragment) = split_fragment(reference)?;
    let url = base.resolve(&parse(reference)?);
    Ok((String::from_utf8_lossy(&url.text()).into_owned(), fragment))
}

/// Splits an address from its fragment, which is returned unescaped.
pub(super) fn split_fragment(text: &str) -> Result<(&str, String), String> {
    let (address, fragment) = text.split_once('#').unwrap_or((text, ""));
    let mut out = Vec::new();
    let bytes = fragment.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte != b'%' {
            out.push(byte);
            at += 1;
            continue;
        }
        let hex = |i: usize| {
            let digit = bytes.get(at + i).map(|b| char::from(*b));
            digit.and_then(|c| c.to_digit(16))
        };
        let (Some(high), Some(low)) = (hex(1), hex(2)) else {
            let end = (at + 3).min(bytes.len());
            let part = String::from_utf8_lossy(bytes.get(at..end).unwrap_or_default());
            return Err(format!(
                "error in parsing {}: invalid URL escape {}",
                quote(text),
                quote(&*part)
            ));
        };
        out.push(u8::try_from(high << 4 | low).unwrap_or_default());
        at += 3;
    }
    Ok((address, String::from_utf8_lossy(&out).into_owned()))
}

/// A place as shown in messages.
pub(super) fn place_text(address: &str, fragment: &str) -> String {
    let mut out = format!("{address}#");
    for byte in fragment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+=:@/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
