//! Signature Version 4: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use reqwest::Request;
use reqwest::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::Credentials;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The hash that stands for a body which is not signed.
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
/// The only service whose paths are encoded once, and whose requests name the hash of their body.
const S3: &str = "s3";

/// All but the unreserved characters of RFC 3986.
const STRICT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// The same for a whole path.
const STRICT_PATH: &AsciiSet = &STRICT.remove(b'/');

/// Headers that a proxy or the HTTP library may change on the way.
const NOT_SIGNED: [&str; 5] = [
    "authorization",
    "expect",
    "transfer-encoding",
    "user-agent",
    "x-amzn-trace-id",
];

/// What a request is signed for.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The region, such as `eu-west-1`.
    pub region: &'a str,
    /// The name of the service in signatures, such as `s3`, `sts` or `kms`.
    pub service: &'a str,
    /// The time of signing. Services accept a few minutes of difference from their own clock.
    pub time: SystemTime,
}

/// What a signature says of the body.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// These bytes are the body.
    Bytes(&'a [u8]),
    /// The body is not signed: for streams to S3 over TLS.
    Unsigned,
}

/// Why a request cannot be signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The URL has no host.
    #[error("failed to sign request: the URL has no host")]
    NoHost,
    /// The session token, or the access key's ID, has characters that a header cannot have.
    #[error("failed to sign request: the credentials have characters that a header cannot have")]
    Credentials,
    /// The time is outside of the years that a date is written for.
    #[error("failed to sign request: the time cannot be written")]
    Time,
}

/// Signs a request: adds `x-amz-date`, `x-amz-security-token` if the credentials have a session token, for S3
/// `x-amz-content-sha256`, and `authorization`. Every header that the request already has is part of the signature, so
/// a header that is added later is not protected and one that is changed later invalidates it.
///
/// # Errors
/// [`SignError`]; the request is then incomplete.
pub fn sign(
    request: &mut Request,
    credentials: &Credentials,
    scope: &Scope<'_>,
    payload: Payload<'_>,
) -> Result<(), SignError> {
    let moment = Moment::of(scope.time)?;
    let hash = payload.hash();
    let host = host(request.url())?;
    let headers = request.headers_mut();
    headers.insert("x-amz-date", header(&moment.time)?);
    if let Some(token) = &credentials.session_token {
        let mut value = header(&token.expose_text())?;
        value.set_sensitive(true);
        headers.insert("x-amz-security-token", value);
    }
    if scope.service == S3 {
        headers.insert("x-amz-content-sha256", header(&hash)?);
    }
    let signed = SignedHeaders::of(headers, &host);
    let canonical = Canonical {
        method: request.method().as_str(),
        path: &canonical_path(request.url().path(), scope.service),
        query: &canonical_query(request.url().query().unwrap_or_default()),
        headers: &signed,
        hash: &hash,
    };
    let signature = signature(credentials, scope, &moment, &canonical.text());
    let value = format!(
        "{ALGORITHM} Credential={}/{}, SignedHeaders={}, Signature={signature}",
        credentials.access_key_id,
        moment.scope(scope),
        signed.names,
    );
    request
        .headers_mut()
        .insert("authorization", header(&value)?);
    Ok(())
}

/// Signs a URL, which whoever has it may request with `method` and `headers` for as long as `life`. The signature is
/// in the query; `headers` are those that the requester has to send, besides `Host`.
///
/// # Errors
/// [`SignError`].
pub fn presign(
    method: &str,
    url: &Url,
    headers: &HeaderMap,
    credentials: &Credentials,
    scope: &Scope<'_>,
    life: Duration,
    payload: Payload<'_>,
) -> Result<Url, SignError> {
    let moment = Moment::of(scope.time)?;
    let host = host(url)?;
    let signed = SignedHeaders::of(headers, &host);
    let mut url = url.clone();
    {
        let mut query = url.query_pairs_mut();
        let credential = format!("{}/{}", credentials.access_key_id, moment.scope(scope));
        query.append_pair("X-Amz-Algorithm", ALGORITHM);
        query.append_pair("X-Amz-Credential", &credential);
        query.append_pair("X-Amz-Date", &moment.time);
        query.append_pair("X-Amz-Expires", &life.as_secs().to_string());
        query.append_pair("X-Amz-SignedHeaders", &signed.names);
        if let Some(token) = &credentials.session_token {
            query.append_pair("X-Amz-Security-Token", &token.expose_text());
        }
    }
    let query = canonical_query(url.query().unwrap_or_default());
    let canonical = Canonical {
        method,
        path: &canonical_path(url.path(), scope.service),
        query: &query,
        headers: &signed,
        hash: &payload.hash(),
    };
    let signature = signature(credentials, scope, &moment, &canonical.text());
    url.set_query(Some(&format!("{query}&X-Amz-Signature={signature}")));
    Ok(url)
}

/// The signature of CodeCommit's Git credentials: over method `GIT`, the path and the host, without a body's hash
/// (RT-WID-009). Returns the time as it was signed, and the signature.
///
/// # Errors
/// [`SignError`].
pub(super) fn sign_git(
    url: &Url,
    credentials: &Credentials,
    scope: &Scope<'_>,
) -> Result<(String, String), SignError> {
    let moment = Moment {
        time: Moment::of(scope.time)?.time.replace('Z', ""),
    };
    let signed = SignedHeaders::of(&HeaderMap::new(), &host(url)?);
    let canonical = Canonical {
        method: "GIT",
        path: &canonical_path(url.path(), scope.service),
        query: &canonical_query(url.query().unwrap_or_default()),
        headers: &signed,
        hash: "",
    };
    let signature = signature(credentials, scope, &moment, &canonical.text());
    Ok((moment.time, signature))
}

impl Payload<'_> {
    fn hash(&self) -> String {
        match self {
            Self::Bytes(bytes) => hex::encode(Sha256::digest(bytes)),
            Self::Unsigned => UNSIGNED.to_owned(),
        }
    }
}

/// The time of signing as signatures have it.
struct Moment {
    time: String,
}

impl Moment {
    fn of(time: SystemTime) -> Result<Self, SignError> {
        let time = Timestamp::try_from(time).map_err(|_| SignError::Time)?;
        let time = time.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ");
        Ok(Self {
            time: time.to_string(),
        })
    }

    fn date(&self) -> &str {
        self.time.get(..8).unwrap_or(&self.time)
    }

    fn scope(&self, scope: &Scope<'_>) -> String {
        format!(
            "{}/{}/{}/aws4_request",
            self.date(),
            scope.region,
            scope.service
        )
    }
}

/// The headers of a signature.
struct SignedHeaders {
    /// Their names, sorted, separated by semicolons.
    names: String,
    /// One line for each, ended by a line feed.
    lines: String,
}

impl SignedHeaders {
    fn of(headers: &HeaderMap, host: &str) -> Self {
        let mut names: Vec<&HeaderName> = headers
            .keys()
            .filter(|name| !NOT_SIGNED.contains(&name.as_str()))
            .collect();
        if !headers.contains_key(HOST) {
            names.push(&HOST);
        }
        names.sort_by_key(|name| name.as_str());
        let mut lines = String::new();
        for name in &names {
            let values: Vec<String> = if headers.contains_key(*name) {
                headers.get_all(*name).iter().map(trimmed).collect()
            } else {
                vec![host.to_owned()]
            };
            let _ = writeln!(lines, "{name}:{}", values.join(","));
        }
        let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        Self {
            names: names.join(";"),
            lines,
        }
    }
}

/// A request in the form that is signed.
struct Canonical<'a> {
    method: &'a str,
    path: &'a str,
    query: &'a str,
    headers: &'a SignedHeaders,
    hash: &'a str,
}

impl Canonical<'_> {
    fn text(&self) -> String {
        let (headers, names) = (&self.headers.lines, &self.headers.names);
        let head = [self.method, self.path, self.query, headers].join("\n");
        [head.as_str(), names, self.hash].join("\n")
    }
}

fn signature(
    credentials: &Credentials,
    scope: &Scope<'_>,
    moment: &Moment,
    canonical: &str,
) -> String {
    let hash = hex::encode(Sha256::digest(canonical));
    let text = format!(
        "{ALGORITHM}\n{}\n{}\n{hash}",
        moment.time,
        moment.scope(scope)
    );
    let secret = [b"AWS4", credentials.secret_access_key.expose()].concat();
    let parts = [moment.date(), scope.region, scope.service, "aws4_request"];
    let key = parts
        .iter()
        .fold(secret, |key, part| mac(&key, part.as_bytes()));
    hex::encode(mac(&key, text.as_bytes()))
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    // HMAC takes keys of every length.
    Hmac::<Sha256>::new_from_slice(key).map_or_else(
        |_| Vec::new(),
        |mac| mac.chain_update(text).finalize().into_bytes().to_vec(),
    )
}

/// The path as it is signed: for S3 encoded once, for others encoded again as it stands in the request, without empty
/// segments.
fn canonical_path(path: &str, service: &str) -> String {
    if service == S3 {
        let decoded: Vec<u8> = percent_decode_str(path).collect();
        return percent_encode(&decoded, STRICT_PATH).to_string();
    }
    let mut plain = String::with_capacity(path.len());
    for part in path.split_inclusive('/') {
        if part != "/" || !plain.ends_with('/') {
            plain.push_str(part);
        }
    }
    if plain.is_empty() {
        plain.push('/');
    }
    percent_encode(plain.as_bytes(), STRICT_PATH).to_string()
}

/// The query as it is signed: sorted, every key and value encoded once.
fn canonical_query(query: &str) -> String {
    let encoded = |bytes: &[u8]| percent_encode(bytes, STRICT).to_string();
    let mut pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
        .map(|(key, value)| (encoded(key.as_bytes()), encoded(value.as_bytes())))
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join("&")
}

/// A header's value without space around it, and with single spaces in it.
fn trimmed(value: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes());
    text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

fn host(url: &Url) -> Result<String, SignError> {
    let host = url.host_str().ok_or(SignError::NoHost)?;
    Ok(match url.port() {
        None => host.to_owned(),
        Some(port) => format!("{host}:{port}"),
    })
}

fn header(text: &str) -> Result<HeaderValue, SignError> {
    HeaderValue::from_str(text).map_err(|_| SignError::Credentials)
}

#[cfg(test)]
mod tests;
