//! The formats of IP addresses and URLs, as Go's `net/netip` and `net/url` parse them.

use flux_golang::strconv::quote;
use flux_golang::url::Url;

use super::format::{Checked, atoi, fault};

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
    // An IPv4 address followed by a colon.
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

/// Go's `netip.ParseAddr` for an address with colons.
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

/// Go's `url.Parse`, and a check of the host.
pub(super) fn url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text.as_bytes())?;
    let name = String::from_utf8_lossy(url.hostname()).into_owned();
    if name.contains(':') {
        let bracketed = url.host.contains(&b'[') && url.host.contains(&b']');
        if !bracketed {
            return Err("ipv6 address not enclosed in brackets".to_owned());
        }
        ipv6(&name).map_err(|e| format!("invalid ipv6 address: {e}"))?;
    }
    Ok(url)
}

/// A URL whose path may have parts in braces, unless they are escaped in an unusual way.
pub(super) fn url_template(text: &str) -> Checked {
    let url = url(text)?;
    let path = String::from_utf8_lossy(url.raw_path()).into_owned();
    for part in path.split('/') {
        // The path was parsed already, so that its escapes are complete.
        let part = part.replace("%7b", "{").replace("%7d", "}");
        let part = part.replace("%7B", "{").replace("%7D", "}");
        let mut open = false;
        for brace in part.chars().filter(|c| matches!(c, '{' | '}')) {
            if (brace == '{') == open {
                return fault("nested curly braces");
            }
            open = !open;
        }
        if open {
            return fault("no matching closing brace");
        }
    }
    Ok(())
}
