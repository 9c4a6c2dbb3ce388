//! The formats of addresses: IP and URL, as Go's `net/netip` and `net/url` read them.

use super::format::{Checked, atoi, digits, fault};
use crate::text::quote;

pub(super) fn ipv4(text: &str) -> Checked {
    let groups: Vec<_> = text.split('.').collect();
    if groups.len() != 4 {
        return fault("expected four decimals");
    }
    for group in groups {
        if group.len() > 1 && group.starts_with('0') {
            return fault("leading zeros");
        }
        if !(0..=255).contains(&atoi(group)?) {
            return fault("decimal must be between 0 and 255");
        }
    }
    Ok(())
}

pub(super) fn ipv6(text: &str) -> Checked {
    if !text.contains(':') {
        return fault("missing colon");
    }
    // An IPv4 address with a colon behind it.
    if text.find('.').is_some_and(|dot| Some(dot) < text.find(':')) {
        return ipv4_fields(text, text);
    }
    let (address, zone) = match text.split_once('%') {
        Some((_, "")) => return address_fault(text, "zone must be a non-empty string", ""),
        Some((address, zone)) => (address, Some(zone)),
        None => (text, None),
    };
    ipv6_address(text, address)?;
    match zone {
        Some(_) => fault("zone id is not a part of ipv6 address"),
        None => Ok(()),
    }
}

fn address_fault(text: &str, what: &str, at: &str) -> Checked {
    let at = match at {
        "" => String::new(),
        at => format!(" (at {})", quote(at)),
    };
    fault(format!("ParseAddr({}): {what}{at}", quote(text)))
}

/// Go's `netip.ParseAddr` of an address with colons.
fn ipv6_address(text: &str, address: &str) -> Checked {
    let wrong = |what, at| address_fault(text, what, at);
    let mut rest = address;
    let mut ellipsis = None;
    let mut filled = 0;
    if let Some(after) = rest.strip_prefix("::") {
        (ellipsis, rest) = (Some(0), after);
        if rest.is_empty() {
            return Ok(());
        }
    }
    while filled < 16 {
        let hex = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
        if hex > 4 {
            return wrong("each group must have 4 or less digits", rest);
        }
        if hex == 0 {
            let what = "each colon-separated field must have at least one digit";
            return wrong(what, rest);
        }
        let after = rest.get(hex..).unwrap_or_default();
        if after.starts_with('.') {
            if ellipsis.is_none() && filled != 12 {
                let what = "embedded IPv4 address must replace the final 2 fields of the address";
                return wrong(what, rest);
            }
            if filled + 4 > 16 {
                let what = "too many hex fields to fit an embedded IPv4 at the end of the address";
                return wrong(what, rest);
            }
            ipv4_fields(text, rest)?;
            (filled, rest) = (filled + 4, "");
            break;
        }
        (filled, rest) = (filled + 2, after);
        if rest.is_empty() {
            break;
        }
        let Some(next) = rest.strip_prefix(':') else {
            return wrong("unexpected character, want colon", rest);
        };
        if next.is_empty() {
            return wrong("colon must be followed by more characters", rest);
        }
        rest = next;
        if let Some(next) = rest.strip_prefix(':') {
            if ellipsis.is_some() {
                return wrong("multiple :: in address", rest);
            }
            (ellipsis, rest) = (Some(filled), next);
            if rest.is_empty() {
                break;
            }
        }
    }
    match (rest, filled, ellipsis) {
        ("", 16, Some(_)) => wrong("the :: must expand to at least one field of zeros", ""),
        ("", _, Some(_)) | ("", 16, None) => Ok(()),
        ("", _, None) => wrong("address string too short", ""),
        (rest, ..) => wrong("trailing garbage after address", rest),
    }
}

fn ipv4_fields(text: &str, fields: &str) -> Checked {
    let wrong = |what, at| address_fault(text, what, at);
    let (mut value, mut count, mut dots) = (0_u32, 0, 0);
    for (i, c) in fields.char_indices() {
        let rest = fields.get(i..).unwrap_or_default();
        match c {
            '0'..='9' => {
                if count == 1 && value == 0 {
                    return wrong("IPv4 field has octet with leading zero", "");
                }
                value = value * 10 + c.to_digit(10).unwrap_or_default();
                count += 1;
                if value > 255 {
                    return wrong("IPv4 field has value >255", "");
                }
            }
            '.' if count == 0 || rest.len() == 1 => {
                return wrong("IPv4 field must have at least one digit", rest);
            }
            '.' if dots == 3 => return wrong("IPv4 address too long", ""),
            '.' => (value, count, dots) = (0, 0, dots + 1),
            _ => return wrong("unexpected character", rest),
        }
    }
    if dots < 3 {
        return wrong("IPv4 address too short", "");
    }
    Ok(())
}

/// Go's `url.Parse`; whether the URL has a scheme.
pub(super) fn url(text: &str) -> Result<bool, String> {
    let wrong = |what: &str| format!("parse {}: {what}", quote(text));
    if text.bytes().any(|b| b < b' ' || b == 0x7f) {
        return Err(wrong("net/url: invalid control character in URL"));
    }
    let rest = text.split_once('#').map_or(text, |(rest, _)| rest);
    let scheme_end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c));
    let mut scheme = false;
    let mut rest = rest;
    if let Some(at) = scheme_end
        && rest.get(at..).is_some_and(|rest| rest.starts_with(':'))
    {
        if at == 0 {
            return Err(wrong("missing protocol scheme"));
        }
        if rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
            (scheme, rest) = (true, rest.get(at + 1..).unwrap_or_default());
        }
    }
    let rest = rest.split_once('?').map_or(rest, |(path, _)| path);
    if !rest.starts_with('/') {
        if scheme {
            return Ok(true); // opaque
        }
        let segment = rest.split('/').next().unwrap_or_default();
        if segment.contains(':') {
            return Err(wrong("first path segment in URL cannot contain colon"));
        }
    }
    let mut path = rest;
    if let Some(authority) = rest.strip_prefix("//")
        && (scheme || !rest.starts_with("///"))
    {
        let end = authority.find('/').unwrap_or(authority.len());
        let (authority, after) = authority.split_at(end);
        path = after;
        self::authority(authority).map_err(|what| wrong(&what))?;
    }
    bad_escape(path).map_err(|what| wrong(&what))?;
    Ok(scheme)
}

/// Checks user and host of a URL.
fn authority(text: &str) -> Checked {
    let (user, host) = match text.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, text),
    };
    if let Some(user) = user {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
        if !user.chars().all(allowed) {
            return fault("net/url: invalid userinfo");
        }
    }
    let port = if let Some(bracketed) = host.strip_prefix('[') {
        let Some((inner, port)) = bracketed.rsplit_once(']') else {
            return fault("missing ']' in host");
        };
        ipv6(inner).map_err(|e| format!("invalid ipv6 address: {e}"))?;
        Some(port)
    } else {
        host.rfind(':').and_then(|at| host.get(at..))
    };
    if let Some(port) = port.filter(|port| !port.is_empty()) {
        let number = port.strip_prefix(':');
        if number.is_none_or(|number| digits(number) < number.len()) {
            return fault(format!("invalid port {} after host", quote(port)));
        }
    }
    let odd = |c: &char| c.is_ascii() && " \"\\^`{|}<>".contains(*c);
    match host.chars().find(odd) {
        Some(c) if !matches!(c, '<' | '>' | '"') => {
            let c = quote(&c.to_string());
            fault(format!("invalid character {c} in host name"))
        }
        _ => bad_escape(host),
    }
}

fn bad_escape(text: &str) -> Checked {
    for (at, _) in text.match_indices('%') {
        let escape = text.get(at..).unwrap_or_default();
        let hex = escape.bytes().skip(1).take(2).filter(u8::is_ascii_hexdigit);
        if hex.count() < 2 {
            let shown: String = escape.chars().take(3).collect();
            return fault(format!("invalid URL escape {}", quote(&shown)));
        }
    }
    Ok(())
}
