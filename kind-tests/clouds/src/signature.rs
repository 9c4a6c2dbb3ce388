//! Signature Version 4 of a request, computed again from what arrived.

use std::fmt::Write as _;

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
    let query = sorted(query, "");
    let hash = hex::encode(Sha256::digest(&request.body));
    let canonical = format!(
        "{}\n{}\n{query}\n{lines}\n{}\n{hash}",
        request.method,
        path.join("/"),
        names.join(";")
    );
    if signed_by(secret, time, scope, &canonical) == given {
        Ok(())
    } else {
        Err("the signature does not match".to_owned())
    }
}

/// The pairs of a query in their canonical form and order, without the one of this name.
fn sorted(query: &str, without: &str) -> String {
    let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let pairs = pairs.filter(|(key, _)| *key != without);
    let mut pairs: Vec<String> = pairs
        .map(|(key, value)| format!("{}={}", encoded(&plain(key)), encoded(&plain(value))))
        .collect();
    pairs.sort();
    pairs.join("&")
}

/// The signature of a canonical request.
fn signed_by(secret: &str, time: &str, scope: &str, canonical: &str) -> String {
    let hash = hex::encode(Sha256::digest(canonical));
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{hash}");
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in scope.split('/') {
        key = mac(&key, part);
    }
    hex::encode(mac(&key, &text))
}

/// Checks a presigned URL: for which action of STS, and with which further headers.
pub(crate) fn check_presigned(
    state: &State,
    url: &str,
    action: &str,
    extra: &[(&str, &str)],
) -> Result<(), String> {
    let rest = url.strip_prefix("https://").ok_or("no https")?;
    let (host, target) = rest.split_once('/').ok_or("no path")?;
    let query = target.strip_prefix('?').ok_or("another path")?;
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let field = |name: &str| {
        let found = pairs.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value.as_str())
    };
    let region = host
        .strip_prefix("sts.")
        .and_then(|rest| rest.strip_suffix(".amazonaws.com"))
        .ok_or("another host")?;
    let time = field("X-Amz-Date");
    let date = time.get(..8).ok_or("no date")?;
    let (id, scope) = field("X-Amz-Credential")
        .split_once('/')
        .ok_or("no scope")?;
    if scope != format!("{date}/{region}/sts/aws4_request")
        || field("Action") != action
        || field("Version") != "2011-06-15"
        || field("X-Amz-Algorithm") != "AWS4-HMAC-SHA256"
        || field("X-Amz-Expires")
            .parse::<u32>()
            .is_ok_and(|life| life > 900)
    {
        return Err("another request".to_owned());
    }
    let (secret, session, _) = state.keys.get(id).ok_or("unknown key")?;
    if field("X-Amz-Security-Token") != session {
        return Err("another session token".to_owned());
    }
    let names = field("X-Amz-SignedHeaders");
    let mut lines = String::new();
    for name in names.split(';') {
        let value = match name {
            "host" => host,
            other => extra
                .iter()
                .find(|(known, _)| *known == other)
                .map(|(_, value)| *value)
                .ok_or("an unknown header is signed")?,
        };
        let _ = writeln!(lines, "{name}:{value}");
    }
    if !extra
        .iter()
        .all(|(name, _)| names.split(';').any(|signed| signed == *name))
    {
        return Err("a header is not signed".to_owned());
    }
    let query = sorted(query, "X-Amz-Signature");
    let hash = hex::encode(Sha256::digest(b""));
    let canonical = format!("GET\n/\n{query}\n{lines}\n{names}\n{hash}");
    if signed_by(secret, time, scope, &canonical) == field("X-Amz-Signature") {
        Ok(())
    } else {
        Err("the signature does not match".to_owned())
    }
}
