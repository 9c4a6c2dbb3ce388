//! A Helm repository that is read over HTTP.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use flux_budget::{Claim, Exhausted};
use flux_golang::strconv;
use flux_golang::url::Url;
use flux_http::{
    BasicAuth, BodyError, BuildError, ClientOptions, ErrorKind, Repeat, RequestError, TlsSettings,
    read_body_within, send,
};
use reqwest::{Client, RequestBuilder, StatusCode};

use super::access::Access;

/// What Helm's own client says it is; servers tell clients apart by it.
const USER_AGENT: &str = "Helm/4.3";
/// The longest silence of a server.
const READ_TIMEOUT: Duration = Duration::from_mins(1);

/// The clients of HTTP repositories. Those without certificates of their own share one, and its connections
/// (SC-HREPO-045).
#[derive(Clone, Default)]
pub(crate) struct Clients(Arc<OnceLock<Client>>);

impl Clients {
    fn of(&self, tls: Option<TlsSettings>) -> Result<Client, BuildError> {
        if let (None, Some(shared)) = (&tls, self.0.get()) {
            return Ok(shared.clone());
        }
        let is_shared = tls.is_none();
        let options = ClientOptions {
            tls: tls.unwrap_or_default(),
            user_agent: Some(USER_AGENT.to_owned()),
            read_timeout: Some(READ_TIMEOUT),
            ..ClientOptions::default()
        };
        let client = options.build()?;
        if is_shared {
            return Ok(self.0.get_or_init(|| client).clone());
        }
        Ok(client)
    }
}

/// Why a URL is not that of an HTTP repository.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UrlError {
    /// Without secrets.
    #[error("invalid Helm repository URL: {0}")]
    Parse(String),
    #[error("failed to construct Helm client: scheme \"{0}\" not supported")]
    Scheme(String),
}

/// Parses a URL; the error quotes it without its password.
pub(crate) fn parse(text: &str) -> Result<Url, UrlError> {
    Url::parse(text.as_bytes()).map_err(|problem| {
        // Go quotes the URL, and after the colon sometimes a part of it, either with its password.
        let problem = problem.rsplit("\": ").next().unwrap_or_default();
        let problem = problem.split('"').next().unwrap_or_default().trim_end();
        let shown = strconv::quote(flux_http::shown_text(text).as_bytes());
        UrlError::Parse(format!("parse {shown}: {problem}"))
    })
}

/// Why a chart could not be downloaded. Printed with its source, joined by `: `, the text is Helm's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DownloadError {
    #[error("failed to parse {0} as URL")]
    Url(String),
    #[error(transparent)]
    Request(RequestError),
    #[error("failed to fetch {url} : {status}")]
    Status { url: String, status: String },
    #[error("the chart has more than {0} bytes")]
    TooLarge(usize),
    #[error("failed to read the chart")]
    Read,
    #[error(transparent)]
    Memory(#[from] Exhausted),
}

impl DownloadError {
    /// Whether the server does not accept the credentials or has no trusted certificate (SC-HCHART-029).
    pub(crate) fn is_authentication(&self) -> bool {
        match self {
            Self::Request(error) => is_tls(error),
            Self::Status { status, .. } => status.starts_with("401"),
            _ => false,
        }
    }
}

/// Whether a handshake failed.
pub(crate) fn is_tls(error: &RequestError) -> bool {
    matches!(error.kind(), ErrorKind::Tls | ErrorKind::Untrusted)
}

/// A repository, and how to reach it.
pub(crate) struct HttpRepository {
    client: Client,
    url: Url,
    basic: Option<BasicAuth>,
    pass_credentials: bool,
    timeout: Duration,
}

impl HttpRepository {
    /// The repository at this URL. Each request may take `timeout` (SC-HREPO-028).
    ///
    /// # Errors
    /// The certificates cannot be used.
    pub(crate) fn new(
        clients: &Clients,
        url: Url,
        access: Access,
        pass_credentials: bool,
        timeout: Duration,
    ) -> Result<Self, BuildError> {
        Ok(Self {
            client: clients.of(access.tls)?,
            url,
            basic: access.basic,
            pass_credentials,
            timeout,
        })
    }

    /// Checks that Helm has a client for the scheme.
    pub(crate) fn check_scheme(url: &Url) -> Result<(), UrlError> {
        if matches!(url.scheme.as_slice(), b"http" | b"https") {
            return Ok(());
        }
        let scheme = String::from_utf8_lossy(&url.scheme).into_owned();
        Err(UrlError::Scheme(scheme))
    }

    /// The URL of the index: below that of the repository, with its query (SC-HREPO-026).
    pub(crate) fn index_url(&self) -> String {
        let mut url = self.url.clone();
        url.push(b"index.yaml");
        text(&url)
    }

    /// The URL of a chart: as the index has it, or below that of the repository, with its query (SC-HCHART-026).
    pub(crate) fn chart_url(&self, reference: &str) -> Result<String, DownloadError> {
        let failed = |_| DownloadError::Url(flux_http::shown_text(reference));
        let parsed = Url::parse(reference.as_bytes()).map_err(failed)?;
        if !parsed.scheme.is_empty() {
            return Ok(reference.to_owned());
        }
        let mut base = self.url.clone();
        base.trim_path();
        base.end_path();
        let mut resolved = base.resolve(&parsed);
        resolved.query.clone_from(&base.query);
        Ok(text(&resolved))
    }

    /// A request, with the credentials if it is to the repository's own server (SC-HREPO-029).
    pub(crate) fn request(&self, url: &str) -> RequestBuilder {
        let request = self.client.get(url).timeout(self.timeout);
        match &self.basic {
            Some(auth) if self.pass_credentials || self.is_own(url) => {
                request.basic_auth(&auth.username, Some(auth.password.expose_text()))
            }
            _ => request,
        }
    }

    fn is_own(&self, url: &str) -> bool {
        let origin = |text: &str| {
            let origin = reqwest::Url::parse(text).ok()?.origin();
            origin.is_tuple().then_some(origin)
        };
        let own = origin(&text(&self.url));
        own.is_some() && origin(url) == own
    }

    /// Downloads a chart of at most `limit` bytes, whose memory is taken through `claim` (SC-HCHART-027).
    pub(crate) async fn download(
        &self,
        url: &str,
        limit: usize,
        claim: &Claim,
    ) -> Result<Bytes, DownloadError> {
        let response = send(self.request(url), Repeat::Idempotent).await;
        let response = response.map_err(DownloadError::Request)?;
        if response.status() != StatusCode::OK {
            return Err(DownloadError::Status {
                url: flux_http::shown_text(url),
                status: shown(response.status()),
            });
        }
        let body = read_body_within(response, limit, claim).await;
        body.map_err(|error| match error {
            BodyError::TooLarge { limit } => DownloadError::TooLarge(limit),
            BodyError::Memory(exhausted) => DownloadError::Memory(exhausted),
            _ => DownloadError::Read,
        })
    }
}

fn text(url: &Url) -> String {
    String::from_utf8_lossy(&url.text()).into_owned()
}

/// A status as Go prints it.
pub(crate) fn shown(status: StatusCode) -> String {
    let words = status.canonical_reason().unwrap_or_default();
    format!("{} {words}", status.as_u16())
}

#[cfg(test)]
mod tests {
    use reqwest::header::AUTHORIZATION;

    use super::*;

    fn repository(url: &str, pass_credentials: bool) -> HttpRepository {
        let access = Access {
            basic: Some(BasicAuth {
                username: "flux".to_owned(),
                password: flux_http::Secret::new("s3cret"),
            }),
            ..Access::default()
        };
        let (clients, url) = (Clients::default(), parse(url).unwrap());
        let second = Duration::from_secs(1);
        HttpRepository::new(&clients, url, access, pass_credentials, second).unwrap()
    }

    // SC-HREPO-026
    #[test]
    fn the_index_is_below_the_repository() {
        for (url, want) in [
            (
                "https://a.example/charts",
                "https://a.example/charts/index.yaml",
            ),
            (
                "https://a.example/charts/",
                "https://a.example/charts/index.yaml",
            ),
            ("https://a.example", "https://a.example/index.yaml"),
            (
                "http://a.example:80/x/../y//z?a=b&c",
                "http://a.example:80/y/z/index.yaml?a=b&c",
            ),
            (
                "https://a.example/a%2Fb",
                "https://a.example/a%2Fb/index.yaml",
            ),
        ] {
            assert_eq!(repository(url, false).index_url(), want);
        }
    }

    // SC-HREPO-022, SC-HREPO-024
    #[test]
    fn unusable_urls_are_shown_without_passwords() {
        for (url, want) in [
            (
                "https://user:hidden@a.example:port/",
                "invalid Helm repository URL: parse \"https://***@a.example:port/\": invalid port",
            ),
            (
                "https://a.example/%zz",
                "invalid Helm repository URL: parse \"https://a.example/%zz\": invalid URL escape",
            ),
            (
                "ftp://a.example",
                "failed to construct Helm client: scheme \"ftp\" not supported",
            ),
        ] {
            let checked = parse(url).and_then(|url| HttpRepository::check_scheme(&url));
            assert_eq!(checked.unwrap_err().to_string(), want);
        }
    }

    // SC-HCHART-026, FR-H-082
    #[test]
    fn charts_are_where_the_index_says() {
        for (url, reference, want) in [
            (
                "https://a.example/charts",
                "web-1.0.0.tgz",
                "https://a.example/charts/web-1.0.0.tgz",
            ),
            (
                "https://a.example/charts/",
                "../web.tgz",
                "https://a.example/web.tgz",
            ),
            (
                "https://a.example/charts",
                "/web.tgz",
                "https://a.example/web.tgz",
            ),
            (
                "https://a.example/helm?sv=1&sig=a%2Bb%3D",
                "web.tgz?x=y",
                "https://a.example/helm/web.tgz?sv=1&sig=a%2Bb%3D",
            ),
            (
                "https://a.example/helm?sig=a",
                "https://b.example/web.tgz?own=1",
                "https://b.example/web.tgz?own=1",
            ),
        ] {
            assert_eq!(repository(url, false).chart_url(reference).unwrap(), want);
        }
        let error = repository("https://a.example", false).chart_url("https://u:p@a/%zz");
        assert_eq!(
            error.unwrap_err().to_string(),
            "failed to parse https://***@a/%zz as URL"
        );
    }

    // SC-HREPO-029, FR-H-081
    #[test]
    fn credentials_are_for_the_repository_itself() {
        for (url, chart, pass, sent) in [
            (
                "https://a.example/x",
                "https://a.example/y.tgz",
                false,
                true,
            ),
            (
                "https://a.example/x",
                "https://A.Example:443/y.tgz",
                false,
                true,
            ),
            ("http://a.example:80", "http://a.example/y.tgz", false, true),
            (
                "https://a.example",
                "https://a.example:8443/y.tgz",
                false,
                false,
            ),
            ("https://a.example", "http://a.example/y.tgz", false, false),
            (
                "https://a.example",
                "https://b.a.example/y.tgz",
                false,
                false,
            ),
            ("https://a.example", "https://b.example/y.tgz", true, true),
        ] {
            let request = repository(url, pass).request(chart).build().unwrap();
            assert_eq!(
                request.headers().contains_key(AUTHORIZATION),
                sent,
                "{url} {chart}"
            );
        }
    }

    // SC-HREPO-045
    #[test]
    fn clients_without_certificates_are_shared() {
        let clients = Clients::default();
        let first = clients.of(None).unwrap();
        assert!(clients.0.get().is_some());
        drop(first);
        let own = Clients::default();
        own.of(Some(TlsSettings::default())).unwrap();
        assert!(own.0.get().is_none());
    }
}
