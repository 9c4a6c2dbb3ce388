//! The address of a repository's index, and the client that fetches it.

use std::time::Duration;

use flux_api::source::{HelmRepository, HelmRepositorySpec};
use flux_golang::strconv;
use flux_golang::url::Url;
use flux_http::{BasicAuth, ClientOptions, RootCertificates, SecretData, TlsSettings};
use flux_references::secret_data;
use flux_runtime::Run;
use reqwest::{Client, RequestBuilder};

use super::failure::StepError;
use crate::secrets::{self, Secrets};

/// What Helm's own client says it is; servers tell clients apart by it.
const USER_AGENT: &str = "Helm/4.3";

/// The longest silence of a server.
const READ_TIMEOUT: Duration = Duration::from_mins(1);

/// The index of a repository, and how to get it.
pub(super) struct Remote {
    client: Client,
    url: String,
    basic: Option<BasicAuth>,
}

impl Remote {
    /// The request for the index.
    pub(super) fn request(&self) -> RequestBuilder {
        let request = self.client.get(&self.url);
        match &self.basic {
            None => request,
            Some(auth) => request.basic_auth(&auth.username, Some(auth.password.expose_text())),
        }
    }

    /// The address without credentials.
    pub(super) fn shown(&self) -> String {
        flux_http::shown_text(&self.url)
    }
}

/// Checks the URL, and reads the Secrets (SC-HREPO-021 to SC-HREPO-028).
pub(super) async fn read(
    run: &Run<HelmRepository>,
    secrets: &Secrets,
    timeout: Duration,
) -> Result<Remote, StepError> {
    let object = run.object().clone();
    let url = index_url(&object.spec.url)?;
    let (tls, basic) = credentials(&object.spec, run.namespace(), secrets).await?;
    let client = ClientOptions {
        tls: tls.unwrap_or_default(),
        timeout: Some(timeout),
        read_timeout: Some(READ_TIMEOUT),
        user_agent: Some(USER_AGENT.to_owned()),
        ..ClientOptions::default()
    };
    let client = client.build().map_err(StepError::Client)?;
    Ok(Remote { client, url, basic })
}

/// The URL of the index below that of the repository (SC-HREPO-026).
fn index_url(text: &str) -> Result<String, StepError> {
    if text.starts_with("oci://") {
        return Err(StepError::OciUrl);
    }
    let mut url = Url::parse(text.as_bytes()).map_err(|problem| {
        // Go quotes the URL, and after the colon sometimes a part of it, either with its password.
        let problem = problem.rsplit("\": ").next().unwrap_or_default();
        let problem = problem.split('"').next().unwrap_or_default().trim_end();
        let shown = strconv::quote(flux_http::shown_text(text).as_bytes());
        StepError::Url(format!("parse {shown}: {problem}"))
    })?;
    if !matches!(url.scheme.as_slice(), b"http" | b"https") {
        let scheme = String::from_utf8_lossy(&url.scheme).into_owned();
        return Err(StepError::Scheme(scheme));
    }
    url.push(b"index.yaml");
    Ok(String::from_utf8_lossy(&url.text()).into_owned())
}

/// Certificates and credentials of the two Secrets (SC-AUTH-040 to SC-AUTH-042, SC-AUTH-046).
async fn credentials(
    spec: &HelmRepositorySpec,
    namespace: &str,
    secrets: &Secrets,
) -> Result<(Option<TlsSettings>, Option<BasicAuth>), StepError> {
    let (mut tls, mut basic) = (None, None);
    if let Some(reference) = &spec.cert_secret_ref {
        let name = reference.name.as_str();
        let secret = secrets.read(namespace, name).await;
        let secret = secret.map_err(|source| StepError::TlsSecret {
            secret: format!("{namespace}/{name}"),
            source,
        })?;
        let data = secret_data(&secret, namespace, name);
        secrets::log_legacy_keys(&data);
        let settings = data.tls(RootCertificates::AddToSystem);
        tls = Some(settings.map_err(StepError::Tls)?);
    }
    if let Some(reference) = &spec.secret_ref {
        let name = reference.name.as_str();
        let secret = secrets.read(namespace, name).await;
        let secret = secret.map_err(|source| StepError::Secret {
            secret: format!("{namespace}/{name}"),
            source,
        })?;
        let data: SecretData<'_> = secret_data(&secret, namespace, name);
        let methods = data.auth_methods(RootCertificates::AddToSystem);
        let methods = methods.map_err(StepError::Methods)?;
        basic = methods.basic.filter(is_complete);
        if tls.is_none() && methods.tls.is_some() {
            tls = methods.tls;
            secrets::log_legacy_keys(&data);
            tracing::info!(
                "warning: specifying TLS authentication data via `.spec.secretRef` is deprecated, please use `.spec.certSecretRef` instead"
            );
        }
    }
    Ok((tls, basic))
}

/// Helm sends neither of the two if one is empty.
fn is_complete(basic: &BasicAuth) -> bool {
    !basic.username.is_empty() && !basic.password.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    // SC-HREPO-026
    #[test]
    fn the_index_is_below_the_repository() {
        for (repository, want) in [
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
            assert_eq!(index_url(repository).unwrap(), want);
        }
    }

    // SC-HREPO-021, SC-HREPO-022, SC-HREPO-024
    #[test]
    fn unusable_urls_are_shown_without_passwords() {
        for (repository, want) in [
            (
                "oci://a.example/charts",
                "invalid Helm repository URL: 'oci' URL scheme cannot be used with 'default' HelmRepository type",
            ),
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
            let error = index_url(repository).unwrap_err();
            assert_eq!(flux_runtime::outcome::chain(&error), want);
        }
    }
}
