//! The client of one repository.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use flux_budget::Claim;
use flux_http::{
    ClientOptions, Proxy, Redirects, RequestError, TlsSettings, read_body_within, shown_url,
};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use reqwest::{Method, Response, StatusCode};
use tokio::sync::Mutex;
use url::Url;

use crate::blob::Blob;
use crate::credentials::Credentials;
use crate::digest::Digest;
use crate::error::Error;
use crate::list::{ListError, elements};
use crate::manifest::{
    ACCEPTED, Descriptor, Image, MAX_MANIFEST, ManifestContent, PARSED, Referrer, media_types,
};
use crate::name::{Reference, Repository};
use crate::tags::PageSizes;
use crate::transport::{Session, method_name};

/// The header with the digest of a manifest.
const CONTENT_DIGEST: &str = "docker-content-digest";
/// How deeply indexes may be nested.
const MAX_NESTED: usize = 4;
/// The longest silence of a server.
const READ_TIMEOUT: Duration = Duration::from_mins(1);
/// The most pages of a list of referrers.
const MAX_REFERRER_PAGES: usize = 16;
/// The most referrers of a manifest.
const MAX_REFERRERS: usize = 4096;

/// How a registry is spoken to. The default is anonymous, trusts the system's authorities and takes the proxy from the
/// environment.
#[derive(Clone, Debug)]
pub struct Options {
    /// What opens the repository.
    pub credentials: Credentials,
    /// Certificate authorities and client certificate, for the registry, its token service and its stores of blobs.
    pub tls: TlsSettings,
    /// The proxy.
    pub proxy: Proxy,
    /// `User-Agent` (SC-OCI-050).
    pub user_agent: String,
    /// The pauses before a request that failed for a transient reason is repeated (SC-OCI-051).
    pub pauses: Vec<Duration>,
    /// The memory for what is held: manifests and lists.
    pub claim: Arc<Claim>,
    /// Which registries refuse large pages of tags; shared by the clients of a process.
    pub page_sizes: PageSizes,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            credentials: Credentials::default(),
            tls: TlsSettings::default(),
            proxy: Proxy::default(),
            user_agent: "flux/v2".to_owned(),
            pauses: vec![Duration::from_secs(1), Duration::from_secs(3)],
            claim: Arc::new(Claim::unlimited()),
            page_sizes: PageSizes::default(),
        }
    }
}

/// Reads one repository. The registry is signed in to once, at the first request; a token is used for all requests and
/// renewed when the registry asks for it.
#[derive(Debug)]
pub struct Client {
    repository: Repository,
    options: Options,
    http: reqwest::Client,
    session: Mutex<Option<Session>>,
    /// The request that is underway.
    underway: std::sync::Mutex<Option<(Method, Url)>>,
}

impl Client {
    /// A client for this repository. Nothing is sent yet.
    ///
    /// # Errors
    /// The options are unusable.
    pub fn new(repository: Repository, options: Options) -> Result<Self, Error> {
        let http = ClientOptions {
            tls: options.tls.clone(),
            proxy: options.proxy.clone(),
            redirects: Redirects::Refuse,
            read_timeout: Some(READ_TIMEOUT),
            user_agent: Some(options.user_agent.clone()),
            ..ClientOptions::default()
        };
        Ok(Self {
            repository,
            http: http.build()?,
            options,
            session: Mutex::default(),
            underway: std::sync::Mutex::default(),
        })
    }

    /// The repository.
    #[must_use]
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.options.credentials
    }

    pub(crate) fn proxy(&self) -> &Proxy {
        &self.options.proxy
    }

    pub(crate) fn claim(&self) -> &Claim {
        &self.options.claim
    }

    pub(crate) fn page_sizes(&self) -> &PageSizes {
        &self.options.page_sizes
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    pub(crate) fn pauses(&self) -> &[Duration] {
        &self.options.pauses
    }

    /// The error of what this client was doing when the time that its caller gives it ended, with Go's text (SC-OCI-030).
    #[must_use]
    pub fn deadline_exceeded(&self) -> Error {
        match &*self.underway() {
            Some((method, url)) => RequestError::deadline_exceeded(method, url).into(),
            None => Error::DeadlineExceeded,
        }
    }

    /// The request that is underway, until its response is there.
    pub(crate) fn underway(&self) -> MutexGuard<'_, Option<(Method, Url)>> {
        self.underway.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn held(&self) -> &Mutex<Option<Session>> {
        &self.session
    }

    /// The digest that a tag has now: by a HEAD request, or by a GET if the registry answers that with less than is
    /// needed (SC-OCI-042). A registry that limits the rate of requests is not asked twice. The digest of a reference by
    /// digest is known.
    ///
    /// # Errors
    /// The registry cannot be reached, or has no such tag.
    pub async fn resolve(&self, reference: &Reference) -> Result<Digest, Error> {
        if let Reference::Digest { digest, .. } = reference {
            return Ok(digest.clone());
        }
        self.session().await?;
        match self.head(reference).await {
            Ok(digest) => Ok(digest),
            Err(error) if error.status() == Some(429) => Err(error),
            Err(_) => Ok(self.manifest(reference).await?.digest),
        }
    }

    /// The digest that the registry names in its answer to a HEAD request for the manifest (IR-POL-103). Nothing else is
    /// asked.
    ///
    /// # Errors
    /// The registry cannot be reached, has no such manifest, or its answer lacks a header.
    pub async fn head(&self, reference: &Reference) -> Result<Digest, Error> {
        let path = self.path("manifests", &reference.identifier());
        let accept = ACCEPTED.join(",");
        let response = self.request(&Method::HEAD, &path, Some(&accept)).await?;
        let response = self
            .expect(response, &Method::HEAD, &[StatusCode::OK])
            .await?;
        let url = shown_url(response.url());
        let required = |header: &'static str| {
            let value = response.headers().get(header);
            let text = value.and_then(|value| value.to_str().ok());
            text.ok_or_else(|| Error::HeaderMissing {
                method: "HEAD",
                url: url.clone(),
                header,
            })
        };
        required(CONTENT_TYPE.as_str())?;
        required(CONTENT_LENGTH.as_str())?;
        Ok(required(CONTENT_DIGEST)?.parse()?)
    }

    /// The manifest or index of a tag or digest, of at most [`MAX_MANIFEST`] bytes. Its digest is computed, and compared
    /// with the one asked for. The memory that it takes once it is parsed is claimed, too.
    ///
    /// # Errors
    /// The registry cannot be reached, has no such manifest, or answers with another one.
    pub async fn manifest(&self, reference: &Reference) -> Result<ManifestContent, Error> {
        self.manifest_as(reference, &ACCEPTED.join(",")).await
    }

    async fn manifest_as(
        &self,
        reference: &Reference,
        accept: &str,
    ) -> Result<ManifestContent, Error> {
        let path = self.path("manifests", &reference.identifier());
        let response = self.request(&Method::GET, &path, Some(accept)).await?;
        let response = self
            .expect(response, &Method::GET, &[StatusCode::OK])
            .await?;
        let media_type = media_type(response.headers());
        let content = self.body(response, MAX_MANIFEST).await?;
        self.claim().take(PARSED * content.len() as u64)?;
        let digest = Digest::of(&content);
        if let Reference::Digest { digest: wanted, .. } = reference
            && digest != *wanted
        {
            return Err(Error::Mismatch {
                actual: digest,
                wanted: wanted.clone(),
                reference: reference.to_string(),
            });
        }
        Ok(ManifestContent {
            digest,
            media_type,
            content,
        })
    }

    /// The manifest of an artifact: that of this digest, or if it is of an index, that of the index for linux/amd64
    /// (SC-OCI-044).
    ///
    /// # Errors
    /// The registry cannot be reached, has no such manifest, or it is not a manifest.
    pub async fn image(&self, digest: &Digest) -> Result<Image, Error> {
        let mut reference = self.repository.at(digest.clone());
        let mut content = self.manifest(&reference).await?;
        for _ in 0..=MAX_NESTED {
            match content.media_type.as_str() {
                media_types::DOCKER_SCHEMA1 | media_types::DOCKER_SCHEMA1_SIGNED => {
                    return Err(Error::Schema1(content.media_type));
                }
                _ if !content.is_index() => {
                    let manifest = content.manifest().map_err(|e| Error::Manifest(place(&e)))?;
                    return Ok(Image {
                        digest: content.digest,
                        manifest,
                    });
                }
                _ => {}
            }
            let index = content.index().map_err(|error| Error::Json {
                url: reference.to_string(),
                reason: place(&error),
            })?;
            let child = index
                .child()
                .ok_or_else(|| Error::NoChild(reference.to_string()))?;
            reference = self.repository.at(child.digest.clone());
            content = self.manifest_as(&reference, &child.media_type).await?;
            // What the index says of its child counts, as in upstream.
            if !child.media_type.is_empty() {
                content.media_type.clone_from(&child.media_type);
            }
        }
        Err(Error::Nested(reference.to_string()))
    }

    /// The blob of a descriptor, to be read.
    ///
    /// # Errors
    /// The registry cannot be reached, or has no such blob.
    pub async fn blob(&self, descriptor: &Descriptor) -> Result<Blob, Error> {
        let path = self.path("blobs", &descriptor.digest.to_string());
        let response = self.request(&Method::GET, &path, None).await?;
        let response = self
            .expect(response, &Method::GET, &[StatusCode::OK])
            .await?;
        let url = shown_url(response.url());
        Ok(Blob::new(response, &url, descriptor)?)
    }

    /// The manifests that refer to the one with this digest, of this artifact type if one is given: by the registry's own
    /// list, or if it keeps none, by the index that clients keep under a tag instead (SC-VER-037). Nothing refers to a
    /// manifest that has neither.
    ///
    /// # Errors
    /// The registry cannot be reached, or answers with anything else than a list or that it has none.
    pub async fn referrers(
        &self,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Referrer>, Error> {
        let mut found = Referrers {
            claim: self.claim(),
            wanted: artifact_type,
            seen: 0,
            found: Vec::new(),
        };
        if !self.listed_referrers(digest, &mut found).await? {
            self.tagged_referrers(digest, &mut found).await?;
        }
        Ok(found.found)
    }

    /// Reads the list of the registry; `false` if it keeps none.
    async fn listed_referrers(
        &self,
        digest: &Digest,
        found: &mut Referrers<'_>,
    ) -> Result<bool, Error> {
        let mut query = String::new();
        if let Some(artifact_type) = found.wanted {
            let mut form = url::form_urlencoded::Serializer::new(String::new());
            form.append_pair("artifactType", artifact_type);
            query = format!("?{}", form.finish());
        }
        let mut path = self.path("referrers", &digest.to_string()) + &query;
        let mut page = 0;
        loop {
            page += 1;
            let accept = Some(media_types::OCI_INDEX);
            let response = self.request(&Method::GET, &path, accept).await?;
            let absent = [400, 404, 405, 406].contains(&response.status().as_u16());
            if page == 1 && absent {
                return Ok(false);
            }
            let response = self
                .expect(response, &Method::GET, &[StatusCode::OK])
                .await?;
            if media_type(response.headers()) != media_types::OCI_INDEX {
                return Ok(false);
            }
            let next = self.next_page(&response).await?;
            let url = shown_url(response.url());
            let read = self.elements(response, MAX_MANIFEST, "manifests", |one| found.add(one));
            read.await?
                .map_err(|error| error.at(&url, &too_many_referrers()))?;
            let Some(next) = next else { return Ok(true) };
            if page == MAX_REFERRER_PAGES {
                let reason = format!("more than {MAX_REFERRER_PAGES} pages of referrers");
                return Err(Error::List { url, reason });
            }
            path = next;
        }
    }

    /// Reads the list under the tag of a digest.
    async fn tagged_referrers(
        &self,
        digest: &Digest,
        found: &mut Referrers<'_>,
    ) -> Result<(), Error> {
        // What a first page may have brought is not of this list.
        found.found.clear();
        let tag = self.repository.tag(&format!("sha256-{}", digest.hex()))?;
        let content = match self.manifest_as(&tag, media_types::OCI_INDEX).await {
            Err(error) if error.is_not_found() => return Ok(()),
            other => other?,
        };
        let read = elements(&content.content, "manifests", |one| found.add(one));
        read.map_err(|error| error.at(&tag.to_string(), &too_many_referrers()))
    }

    pub(crate) fn path(&self, resource: &str, identifier: &str) -> String {
        format!("/v2/{}/{resource}/{identifier}", self.repository.path())
    }

    pub(crate) async fn body(
        &self,
        response: Response,
        limit: usize,
    ) -> Result<bytes::Bytes, Error> {
        let url = shown_url(response.url());
        let body = read_body_within(response, limit, self.claim()).await;
        body.map_err(|source| Error::Body {
            method: method_name(&Method::GET),
            url,
            source,
        })
    }
}

/// The referrers of a manifest that are wanted.
struct Referrers<'a> {
    claim: &'a Claim,
    /// Their artifact type, if it matters: a registry may ignore the filter.
    wanted: Option<&'a str>,
    /// How many there were, wanted or not.
    seen: usize,
    found: Vec<Referrer>,
}

impl Referrers<'_> {
    fn add(&mut self, one: Referrer) -> Result<(), ListError> {
        self.seen += 1;
        if self.seen > MAX_REFERRERS {
            return Err(ListError::TooMany);
        }
        if self.wanted.is_none_or(|wanted| one.artifact_type == wanted) {
            self.claim.take(one.bytes())?;
            self.found.push(one);
        }
        Ok(())
    }
}

fn too_many_referrers() -> String {
    format!("more than {MAX_REFERRERS} referrers")
}

/// The media type of a response, without parameters.
fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE);
    let text = value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_owned()
}

/// Where JSON is invalid. The parser's own text may quote the content.
pub(crate) fn place(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "an unexpected value",
        serde_json::error::Category::Eof => "unexpected end",
        _ => "invalid syntax",
    };
    format!("{what} at line {} column {}", error.line(), error.column())
}
