//! Azure Blob Storage.

mod response;
mod shared_key;

use std::path::Path;
use std::time::SystemTime;

use flux_budget::Claim;
use flux_golang::url::Url as GoUrl;
use flux_http::{ClientOptions, Secret};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, ETAG, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Request, Response};
use url::{Url, form_urlencoded};

use self::shared_key::AccountKey;
use crate::download::{Compressed, Downloaded, Room, save};
use crate::error::{Error, SasError};
use crate::store::Page;
use crate::token::TokenSource;
use crate::transport::{Refused, document, execute};

/// The version of the protocol. Newer ones mark names that XML cannot hold, which are no names of files.
const VERSION: &str = "2020-10-02";
/// How many idle connections are kept: as many as objects are downloaded at once.
const IDLE: usize = 64;

/// All but the unreserved characters of RFC 3986, and slashes.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// How a container is reached.
#[derive(Debug)]
pub struct AzureOptions {
    /// The URL of the account (SC-BKT-065). Its query is part of every request: a SAS token may be in it.
    pub endpoint: String,
    /// The container.
    pub container: String,
    /// The credentials.
    pub credentials: AzureCredentials,
    /// The proxy and timeouts.
    pub http: ClientOptions,
}

/// The credentials for a container (SC-AUTH-065).
#[derive(Debug)]
pub enum AzureCredentials {
    /// None, or those in the query of the endpoint.
    Anonymous,
    /// The key of an account.
    SharedKey {
        /// The name of the account.
        account: String,
        /// Its key, in Base64.
        key: Secret,
    },
    /// An access token.
    Token(TokenSource),
}

#[derive(Debug)]
enum Access {
    Anonymous,
    SharedKey(AccountKey),
    Token(TokenSource),
}

/// A container of Azure Blob Storage.
#[derive(Debug)]
pub struct Azure {
    endpoint: Url,
    container: String,
    access: Access,
    http: Client,
}

impl Azure {
    /// A client for the container. Nothing is sent yet.
    ///
    /// # Errors
    /// The endpoint, the key or the HTTP settings are unusable.
    pub fn new(options: AzureOptions) -> Result<Self, Error> {
        let endpoint = Url::parse(&options.endpoint).map_err(|why| {
            let shown = flux_http::shown_text(&options.endpoint);
            Error::Settings(format!("parse \"{shown}\": {why}"))
        })?;
        if !matches!(endpoint.scheme(), "http" | "https") || endpoint.host_str().is_none() {
            let scheme = endpoint.scheme();
            return Err(Error::Settings(format!(
                "unsupported protocol scheme \"{scheme}\""
            )));
        }
        let access = match options.credentials {
            AzureCredentials::Anonymous => Access::Anonymous,
            AzureCredentials::SharedKey { account, key } => {
                Access::SharedKey(AccountKey::new(account, &key)?)
            }
            AzureCredentials::Token(source) => Access::Token(source),
        };
        let http = ClientOptions {
            idle_connections: IDLE,
            ..options.http
        };
        Ok(Self {
            endpoint,
            container: options.container,
            access,
            http: http.build()?,
        })
    }

    /// Whether one blob can be listed (SC-BKT-065).
    pub(crate) async fn exists(&self) -> Result<bool, Error> {
        let query = [
            ("comp", "list"),
            ("maxresults", "1"),
            ("restype", "container"),
        ];
        match self.request(None, &query).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_missing_bucket() => Ok(false),
            // A SAS token of a container that does not exist is not valid.
            Err(Error::Status(mut status)) if status.code == "AuthenticationFailed" => {
                let hint = "the specified bucket name may be incorrect, nonexistent, or the caller might lack sufficient permissions to access it";
                status.text = format!("{hint}: {}", status.text);
                Err(status.into())
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn page(
        &self,
        prefix: &str,
        at: Option<&str>,
        claim: &Claim,
    ) -> Result<Page, Error> {
        let mut query = vec![("comp", "list")];
        query.extend(at.map(|at| ("marker", at)));
        if !prefix.is_empty() {
            query.push(("prefix", prefix));
        }
        query.push(("restype", "container"));
        let response = self.request(None, &query).await?;
        document(response, claim, response::page).await
    }

    pub(crate) async fn download(
        &self,
        key: &str,
        file: &Path,
        room: &Room,
    ) -> Result<Downloaded, Error> {
        let response = self.request(Some(key), &[]).await?;
        let etag = response.headers().get(ETAG);
        let etag = etag.and_then(|etag| etag.to_str().ok()).unwrap_or_default();
        let etag = response::etag(etag).ok_or_else(|| Error::NoEtag(key.to_owned()))?;
        let size = save(response, file, room, Compressed::Unpacked).await?;
        Ok(Downloaded { etag, size })
    }

    async fn request(&self, key: Option<&str>, query: &[(&str, &str)]) -> Result<Response, Error> {
        let url = self.url(key, query);
        if let Access::Token(source) = &self.access {
            if url.scheme() != "https" {
                let why = "authenticated requests are not permitted for non TLS protected (https) endpoints";
                return Err(Error::Settings(why.to_owned()));
            }
            source.token().await?;
        }
        let request = || self.authorized(&url);
        let refused = |refused: &Refused| response::refusal(refused, &self.secrets());
        execute(&self.http, request, refused).await
    }

    fn url(&self, key: Option<&str>, query: &[(&str, &str)]) -> Url {
        let mut url = self.endpoint.clone();
        let mut path = url.path().trim_end_matches('/').to_owned();
        path.push('/');
        path.extend(utf8_percent_encode(&self.container, PATH));
        if let Some(key) = key {
            path.push('/');
            path.extend(utf8_percent_encode(key, PATH));
        }
        url.set_path(&path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    fn authorized(&self, url: &Url) -> Result<Request, Error> {
        let mut request = Request::new(Method::GET, url.clone());
        let headers = request.headers_mut();
        headers.insert("x-ms-version", HeaderValue::from_static(VERSION));
        let now = httpdate::fmt_http_date(SystemTime::now());
        set(headers, "x-ms-date", &now)?;
        let value = match &self.access {
            Access::Anonymous => None,
            Access::SharedKey(key) => Some(key.authorization(url, headers)?),
            Access::Token(source) => source
                .held()
                .map(|token| format!("Bearer {}", token.expose_text())),
        };
        if let Some(value) = value {
            set(headers, AUTHORIZATION.as_str(), &value)?;
            if let Some(value) = headers.get_mut(AUTHORIZATION) {
                value.set_sensitive(true);
            }
        }
        Ok(request)
    }

    /// What a message of the server may not repeat: the token, and the signature in the endpoint's query.
    fn secrets(&self) -> Vec<Secret> {
        let mut secrets = Vec::new();
        if let Access::Token(source) = &self.access {
            secrets.extend(source.held().cloned());
        }
        let query = self.endpoint.query().unwrap_or_default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if name == "sig" {
                secrets.push(Secret::new(value.as_bytes()));
            }
        }
        for pair in query.split('&') {
            if let Some(value) = pair.strip_prefix("sig=") {
                secrets.push(Secret::new(value));
            }
        }
        secrets
    }
}

fn set(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), Error> {
    let unusable =
        || Error::Settings("the credentials have characters that a header cannot have".to_owned());
    let name = HeaderName::try_from(name).map_err(|_| unusable())?;
    let value = HeaderValue::from_str(value).map_err(|_| unusable())?;
    headers.insert(name, value);
    Ok(())
}

/// The name of the account in the endpoint's host: the first of at least three labels (SC-AUTH-065).
///
/// # Errors
/// The endpoint is no URL, or its host has fewer labels; the text is upstream's.
pub fn account_of(endpoint: &str) -> Result<String, Error> {
    let failed = |why: &str| {
        Error::Settings(format!(
            "failed to extract account name from endpoint: {why}"
        ))
    };
    let url = GoUrl::parse(endpoint.as_bytes()).map_err(|_| {
        failed(&format!(
            "'{}' is not a URL",
            flux_http::shown_text(endpoint)
        ))
    })?;
    let host = String::from_utf8_lossy(url.hostname()).into_owned();
    let labels: Vec<&str> = host.split('.').collect();
    match labels.as_slice() {
        [account, _, _, ..] => Ok((*account).to_owned()),
        _ => Err(failed(&format!("expected '{host}' to be a subdomain"))),
    }
}

/// The endpoint with a SAS token, whose values win over those of the endpoint's own query (SC-AUTH-065).
///
/// # Errors
/// The token or the endpoint cannot be parsed (SC-AUTH-068).
pub fn with_sas(endpoint: &str, token: &Secret) -> Result<String, SasError> {
    let text = token.expose_text();
    let text = text.strip_prefix('?').unwrap_or(&text);
    if text.contains(';') {
        return Err(SasError::Separator);
    }
    if !has_valid_escapes(text) {
        return Err(SasError::Token);
    }
    let mut url = Url::parse(endpoint).map_err(|why| {
        let shown = flux_http::shown_text(endpoint);
        SasError::Endpoint(format!("parse \"{shown}\": {why}"))
    })?;
    let pairs = |query: &str| -> Vec<(String, String)> {
        form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect()
    };
    let mut values = pairs(text);
    let own = pairs(url.query().unwrap_or_default());
    let own = own
        .into_iter()
        .filter(|(name, _)| !values.iter().any(|(given, _)| given == name));
    let own: Vec<_> = own.collect();
    values.extend(own);
    values.sort_by(|(a, _), (b, _)| a.cmp(b));
    url.query_pairs_mut().clear().extend_pairs(values);
    Ok(url.to_string())
}

/// Whether each percent sign is followed by two hexadecimal digits.
fn has_valid_escapes(text: &str) -> bool {
    let mut parts = text.split('%');
    parts.next();
    parts.all(|part| part.len() >= 2 && part.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    // SC-AUTH-065
    #[test]
    fn the_account_is_the_first_label_of_the_host() {
        let account = |endpoint| account_of(endpoint).map_err(|error| error.to_string());
        assert_eq!(
            account("https://acc.blob.core.windows.net/").unwrap(),
            "acc"
        );
        assert_eq!(account("http://127.0.0.1:1/127").unwrap(), "127");
        assert_eq!(
            account("https://windows.net").unwrap_err(),
            "failed to extract account name from endpoint: expected 'windows.net' to be a subdomain"
        );
        assert_eq!(
            account("https://h:port?sig=S3CRET").unwrap_err(),
            "failed to extract account name from endpoint: 'https://h:port?sig=***' is not a URL"
        );
    }

    // SC-AUTH-065, SC-AUTH-068
    #[test]
    fn sas_tokens_become_the_query_of_the_endpoint() {
        let merged = |endpoint: &str, token: &str| with_sas(endpoint, &Secret::new(token));
        for (endpoint, token, want) in [
            (
                "https://a.example/",
                "?sv=2021&sig=a%2Bb%3D",
                "https://a.example/?sig=a%2Bb%3D&sv=2021",
            ),
            (
                "https://a.example/?sv=2020&snapshot=1",
                "sv=2021",
                "https://a.example/?snapshot=1&sv=2021",
            ),
        ] {
            assert_eq!(merged(endpoint, token).unwrap(), want);
        }
        for (token, want) in [
            (
                "sig=%zzS3CRET",
                "unable to parse SAS token: invalid URL escape \"***\"",
            ),
            (
                "sig=%2",
                "unable to parse SAS token: invalid URL escape \"***\"",
            ),
            (
                "sig=S3CRET;x",
                "unable to parse SAS token: invalid semicolon separator in query",
            ),
        ] {
            let error = merged("https://a.example", token).unwrap_err();
            assert_eq!(error.to_string(), want);
        }
        let error = merged("not a url", "sig=S3CRET").unwrap_err().to_string();
        assert!(error.starts_with("unable to parse endpoint URL: parse \"not a url\""));
    }

    #[test]
    fn urls_of_containers_and_blobs() {
        let azure = Azure::new(AzureOptions {
            endpoint: "http://127.0.0.1:1/account/?sig=a%2Bb".to_owned(),
            container: "con".to_owned(),
            credentials: AzureCredentials::Anonymous,
            http: ClientOptions::default(),
        });
        let azure = azure.unwrap();
        assert_eq!(
            azure.url(None, &[("comp", "list")]).as_str(),
            "http://127.0.0.1:1/account/con?sig=a%2Bb&comp=list"
        );
        assert_eq!(
            azure.url(Some("a b/#?"), &[]).as_str(),
            "http://127.0.0.1:1/account/con/a%20b/%23%3F?sig=a%2Bb"
        );
        let secrets = azure.secrets();
        let secrets: Vec<_> = secrets.iter().map(Secret::expose).collect();
        assert_eq!(secrets, [&b"a+b"[..], b"a%2Bb"]);
    }
}
