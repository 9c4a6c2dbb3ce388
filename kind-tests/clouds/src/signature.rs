//! Signature Version 4 of a request, computed again from what arrived.

use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

use crate::server::{Request, State};

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("a key");
    mac.chain_update(text).finalize().into_bytes().to_vec()
}

/// All but unreserved characters.
const STRICT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, STRICT).to_string()
}

/// Checks who signed a request, for which region and service, and when.
pub(crate) fn check(
    state: &State,
    request: &Request,
    region: &str,
    service: &str,
) -> Result<(), String> {
    let header = request.header("authorization");
    let rest = header
        .strip_prefix("AWS4-HMAC-SHA256 ")
        .ok_or("no signature")?;
    let part = |name: &str| {
        let found = rest.split(", ").find_map(|part| part.strip_prefix(name));
        found.ok_or(format!("no {name}"))
    };
    let (credential, names, given) = (
        part("Credential=")?,
        part("SignedHeaders=")?,
        part("Signature=")?,
    );
    let time = request.header("x-amz-date");
    let date = time.get(..8).ok_or("no date")?;
    let signed: jiff::Timestamp = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", time)
        .and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC))
        .map_err(|error| error.to_string())?
        .timestamp();
    let age = jiff::Timestamp::now().as_second() - signed.as_second();
    if age.abs() > 300 {
        return Err(format!("signed {age} seconds ago"));
    }
    let (id, scope) = credential.split_once('/').ok_or("no scope")?;
    if scope != format!("{date}/{region}/{service}/aws4_request") {
        return Err(format!("scope {scope}"));
    }
    let (secret, session, _) = state.keys.get(id).ok_or("unknown key")?;
    if request.header("x-amz-security-token") != session {
        return Err("another session token".to_owned());
    }
    let names: Vec<&str> = names.split(';').collect();
    for needed in ["host", "x-amz-date"] {
        if !names.contains(&needed) {
            return Err(format!("{needed} is not signed"));
        }
    }
    // Every header of the protocol has to be signed.
    for name in request.headers.keys() {
        if name.starts_with("x-amz-") && !names.contains(&name.as_str()) {
            return Err(format!("{name} is not signed"));
        }
    }
    let lines: String = names
        .iter()
        .map(|name| format!("{name}:{}\n", request.header(name).trim()))
        .collect();
    let (path, query) = request
        .target
        .split_once('?')
        .unwrap_or((&request.target, ""));
    let path: Vec<String> = path.split('/').map(encoded).collect();
    let mut pairs: Vec<String> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
            format!("{}={}", encoded(&plain(key)), encoded(&plain(value)))
        })
        .collect();
    pairs.sort();
    let hash = hex::encode(Sha256::digest(&request.body));
    let canonical = format!(
        "{}\n{}\n{}\n{lines}\n{}\n{hash}",
        request.method,
        path.join("/"),
        pairs.join("&"),
        names.join(";")
    );
    let hash = hex::encode(Sha256::digest(canonical));
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{hash}");
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in [date, region, service, "aws4_request"] {
        key = mac(&key, part);
    }
    let expected = hex::encode(mac(&key, &text));
    if expected == given {
        Ok(())
    } else {
        Err("the signature does not match".to_owned())
    }
}
