//! S3, and servers that speak its protocol.

mod address;
mod ldap;
mod response;

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use flux_budget::Claim;
use flux_cloud::aws::{self, Payload, Scope};
use flux_http::{ClientOptions, Redirects, Secret};
use reqwest::header::ETAG;
use reqwest::{Client, Method, Request, Response};
use tokio::sync::OnceCell;
use url::Url;

pub use self::ldap::Ldap;

use self::address::{DEFAULT_REGION, Endpoint, check_bucket, check_prefix};
use crate::download::{Compressed, Downloaded, Room, save};
use crate::error::{Error, StatusError};
use crate::store::Page;
use crate::transport::{Refused, document, execute};

/// How many idle connections are kept: as many as objects are downloaded at once.
const IDLE: usize = 64;

/// How a bucket is reached.
#[derive(Debug)]
pub struct S3Options {
    /// `host[:port]`.
    pub endpoint: String,
    /// The bucket.
    pub bucket: String,
    /// Whether HTTPS is spoken.
    pub secure: bool,
    /// The region of the bucket; if empty, that in the name of the endpoint's host, else it is looked up (SC-BKT-060).
    pub region: String,
    /// The credentials.
    pub credentials: S3Credentials,
    /// Certificates, proxy and timeouts.
    pub http: ClientOptions,
}

/// The credentials for a bucket.
#[derive(Debug)]
pub enum S3Credentials {
    /// None: requests are not signed (SC-AUTH-061).
    Anonymous,
    /// Access keys.
    Keys(aws::Credentials),
    /// Those that a token service gives.
    Ldap(Box<Ldap>),
}

/// A bucket of S3.
#[derive(Debug)]
pub struct S3 {
    endpoint: Endpoint,
    bucket: String,
    secure: bool,
    region: String,
    credentials: S3Credentials,
    /// What the token service gave.
    given: OnceCell<aws::Credentials>,
    /// The region that was looked up.
    found: OnceCell<()>,
    located: Mutex<String>,
    http: Client,
}

impl S3 {
    /// A client for the bucket. Nothing is sent yet.
    ///
    /// # Errors
    /// The endpoint or the HTTP settings are unusable.
    pub fn new(options: S3Options) -> Result<Self, Error> {
        let endpoint = Endpoint::parse(&options.endpoint, options.secure)?;
        let http = ClientOptions {
            redirects: Redirects::Refuse,
            idle_connections: IDLE,
            ..options.http
        };
        let region = if options.region.is_empty() {
            endpoint.region().unwrap_or_default().to_owned()
        } else {
            options.region
        };
        Ok(Self {
            http: http.build()?,
            endpoint,
            bucket: options.bucket,
            secure: options.secure,
            region,
            credentials: options.credentials,
            given: OnceCell::new(),
            found: OnceCell::new(),
            located: Mutex::default(),
        })
    }

    pub(crate) async fn exists(&self) -> Result<bool, Error> {
        check_bucket(&self.bucket)?;
        match self.request(&Method::HEAD, None, &[]).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_missing_bucket() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A page of the list: of version 2, or of 1 where the endpoint is Google's (SC-BKT-061).
    pub(crate) async fn page(
        &self,
        prefix: &str,
        at: Option<&str>,
        claim: &Claim,
    ) -> Result<Page, Error> {
        check_prefix(prefix)?;
        let mut query = Vec::new();
        if self.endpoint.is_google() {
            query.extend([("delimiter", ""), ("encoding-type", "url")]);
            query.extend(at.map(|at| ("marker", at)));
            query.push(("prefix", prefix));
        } else {
            query.extend(at.map(|at| ("continuation-token", at)));
            query.extend([("delimiter", ""), ("encoding-type", "url")]);
            query.extend([("fetch-owner", "true"), ("list-type", "2")]);
            query.push(("prefix", prefix));
        }
        let response = self.request(&Method::GET, None, &query).await?;
        document(response, claim, response::page).await
    }

    pub(crate) async fn download(
        &self,
        key: &str,
        file: &Path,
        room: &Room,
    ) -> Result<Downloaded, Error> {
        let response = self.request(&Method::GET, Some(key), &[]).await?;
        let etag = response.headers().get(ETAG);
        let etag = etag.and_then(|etag| etag.to_str().ok()).unwrap_or_default();
        let etag = response::etag(etag).to_owned();
        if etag.is_empty() {
            return Err(Error::NoEtag(key.to_owned()));
        }
        let size = save(response, file, room, Compressed::Kept).await?;
        Ok(Downloaded { etag, size })
    }

    /// Sends a request. A server that names another region than the one that was looked up is asked once more for that.
    async fn request(
        &self,
        method: &Method,
        key: Option<&str>,
        query: &[(&str, &str)],
    ) -> Result<Response, Error> {
        let region = self.region().await?;
        match self.request_in(&region, method, key, query).await {
            Err(Error::Status(status)) if self.is_elsewhere(&status, &region) => {
                self.locate(&status.region);
                self.request_in(&status.region, method, key, query).await
            }
            result => result,
        }
    }

    async fn request_in(
        &self,
        region: &str,
        method: &Method,
        key: Option<&str>,
        query: &[(&str, &str)],
    ) -> Result<Response, Error> {
        let url = self.endpoint.url(&self.bucket, key, region, query)?;
        let credentials = self.credentials().await?;
        let request = || self.signed(method, url.clone(), credentials, region);
        let refused = |refused: &Refused| self.refusal(refused, key.is_some());
        execute(&self.http, request, refused).await
    }

    /// Whether the refusal is one of the region alone.
    fn is_elsewhere(&self, status: &StatusError, region: &str) -> bool {
        let codes = [
            "AuthorizationHeaderMalformed",
            "InvalidRegion",
            "AccessDenied",
        ];
        self.region.is_empty()
            && codes.contains(&status.code.as_str())
            && !status.region.is_empty()
            && status.region != region
    }

    fn signed(
        &self,
        method: &Method,
        url: Url,
        credentials: Option<&aws::Credentials>,
        region: &str,
    ) -> Result<Request, Error> {
        let mut request = Request::new(method.clone(), url);
        if let Some(credentials) = credentials {
            let scope = Scope {
                region,
                service: "s3",
                time: SystemTime::now(),
            };
            let payload = if self.secure {
                Payload::Unsigned
            } else {
                Payload::Bytes(b"")
            };
            aws::sign(&mut request, credentials, &scope, payload)?;
        }
        Ok(request)
    }

    async fn credentials(&self) -> Result<Option<&aws::Credentials>, Error> {
        match &self.credentials {
            S3Credentials::Anonymous => Ok(None),
            S3Credentials::Keys(keys) => Ok(Some(keys)),
            S3Credentials::Ldap(ldap) => {
                let given = self.given.get_or_try_init(|| ldap.credentials()).await;
                given.map(Some)
            }
        }
    }

    /// The region of the bucket: the one that is given, else what the server tells of it (SC-BKT-060).
    async fn region(&self) -> Result<String, Error> {
        if !self.region.is_empty() {
            return Ok(self.region.clone());
        }
        let look_up = || async {
            let region = self.look_up().await?;
            self.locate(&region);
            Ok::<_, Error>(())
        };
        self.found.get_or_try_init(look_up).await?;
        let located = self.located.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(located.clone())
    }

    fn locate(&self, region: &str) {
        let mut located = self.located.lock().unwrap_or_else(PoisonError::into_inner);
        region.clone_into(&mut located);
    }

    async fn look_up(&self) -> Result<String, Error> {
        check_bucket(&self.bucket)?;
        let url = self.endpoint.location_url(&self.bucket)?;
        let credentials = self.credentials().await?;
        let request = || self.signed(&Method::GET, url.clone(), credentials, DEFAULT_REGION);
        let refused = |refused: &Refused| self.refusal(refused, false);
        match execute(&self.http, request, refused).await {
            Ok(response) => document(response, &Claim::unlimited(), response::location).await,
            Err(Error::Status(status)) => {
                let is_cloudflare = status.server == "cloudflare";
                match status.code.as_str() {
                    "AuthorizationHeaderMalformed" | "InvalidRegion" | "AccessDenied"
                        if !status.region.is_empty() =>
                    {
                        Ok(status.region)
                    }
                    // Who may read objects need not be allowed to ask for the region.
                    "AuthorizationHeaderMalformed" | "InvalidRegion" | "AccessDenied" => {
                        Ok(DEFAULT_REGION.to_owned())
                    }
                    "NotImplemented" if is_cloudflare => Ok(DEFAULT_REGION.to_owned()),
                    _ => Err(status.into()),
                }
            }
            Err(error) => Err(error),
        }
    }

    fn refusal(&self, refused: &Refused, is_object: bool) -> StatusError {
        let keys = match &self.credentials {
            S3Credentials::Anonymous => None,
            S3Credentials::Keys(keys) => Some(keys),
            S3Credentials::Ldap(_) => self.given.get(),
        };
        let mut secrets: Vec<&Secret> = Vec::new();
        if let Some(keys) = keys {
            secrets.push(&keys.secret_access_key);
            secrets.extend(&keys.session_token);
        }
        response::refusal(refused, is_object, &secrets)
    }
}
