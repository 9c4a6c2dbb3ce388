//! Signatures with the key of an account:
//! <https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key>

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flux_http::Secret;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::header::HeaderMap;
use sha2::Sha256;
use url::Url;

use crate::error::Error;

/// The key of an account.
#[derive(Debug)]
pub(super) struct AccountKey {
    account: String,
    key: Secret,
}

impl AccountKey {
    /// Decodes a key from Base64.
    pub(super) fn new(account: String, key: &Secret) -> Result<Self, Error> {
        let key = STANDARD
            .decode(key.expose().trim_ascii())
            .map_err(|_| Error::Settings("decode account key: illegal base64 data".to_owned()))?;
        Ok(Self {
            account,
            key: Secret::new(key),
        })
    }

    /// The header `Authorization` of a GET request without a body, whose other headers are these.
    pub(super) fn authorization(&self, url: &Url, headers: &HeaderMap) -> Result<String, Error> {
        let mac = Hmac::<Sha256>::new_from_slice(self.key.expose());
        let mac = mac.map_err(|_| Error::Settings("the account key is unusable".to_owned()))?;
        let text = self.text(url, headers);
        let signature = mac.chain_update(text).finalize().into_bytes();
        let signature = STANDARD.encode(signature);
        Ok(format!("SharedKey {}:{signature}", self.account))
    }

    /// What is signed.
    fn text(&self, url: &Url, headers: &HeaderMap) -> String {
        // The method, and eleven headers that such a request has not.
        let mut text = format!("GET{}", "\n".repeat(12));
        let own: BTreeMap<_, _> = headers
            .iter()
            .filter(|(name, _)| name.as_str().starts_with("x-ms-"))
            .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())))
            .collect();
        for (name, value) in own {
            let _ = writeln!(text, "{name}:{}", value.trim());
        }
        let _ = write!(text, "/{}{}", self.account, url.path());
        let mut query: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in url.query_pairs() {
            let values = query.entry(name.to_lowercase()).or_default();
            values.push(value.into_owned());
        }
        for (name, mut values) in query {
            values.sort();
            let _ = write!(text, "\n{name}:{}", values.join(","));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    // SC-AUTH-065: the form of the specification's own example
    #[test]
    fn the_signed_text_is_that_of_the_specification() {
        let key = AccountKey::new("myaccount".to_owned(), &Secret::new("a2V5")).unwrap();
        let url = "https://myaccount.blob.core.windows.net/mycontainer?restype=container&comp=list&include=snapshots&include=metadata&include=uncommittedblobs";
        let mut headers = HeaderMap::new();
        headers.insert("x-ms-version", HeaderValue::from_static("2015-02-21"));
        headers.insert(
            "x-ms-date",
            HeaderValue::from_static("Fri, 26 Jun 2015 23:39:12 GMT"),
        );
        let text = key.text(&url.parse().unwrap(), &headers);
        assert_eq!(
            text,
            "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2015-02-21\n/myaccount/mycontainer\ncomp:list\ninclude:metadata,snapshots,uncommittedblobs\nrestype:container"
        );
    }

    #[test]
    fn a_key_that_is_not_base64_is_refused_without_being_shown() {
        let error = AccountKey::new("a".to_owned(), &Secret::new("S3CRET!")).unwrap_err();
        assert_eq!(error.to_string(), "decode account key: illegal base64 data");
    }
}
