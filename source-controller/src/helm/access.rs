//! Credentials and certificates of a Helm repository.

use std::sync::Arc;

use flux_api::source::{HelmRepository, HelmRepositorySpec, HelmRepositoryType};
use flux_http::{BasicAuth, Proxy, RootCertificates, SecretData, SecretError, TlsSettings};
use flux_identity::{Identities, Provider};
use flux_oci::{Credentials, Keychain, KeychainError, NameError, Repository};
use flux_references::secret_data;
use flux_registry::LoginError;
use k8s_openapi::api::core::v1::Secret;
use tokio::time::timeout;

use crate::secrets::{self, SecretReadError, Secrets};

/// The type of a Secret with a docker configuration, and its data key (SC-AUTH-043).
const CONFIG: (&str, &str) = ("kubernetes.io/dockerconfigjson", ".dockerconfigjson");

/// What the Secrets of a repository hold.
#[derive(Default)]
pub(crate) struct Access {
    pub(crate) tls: Option<TlsSettings>,
    pub(crate) basic: Option<BasicAuth>,
    /// The Secret with credentials.
    pub(crate) secret: Option<Arc<Secret>>,
}

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccessError {
    #[error("failed to get authentication secret '{secret}'")]
    Secret {
        secret: String,
        #[source]
        source: SecretReadError,
    },
    #[error("failed to get TLS authentication secret '{secret}'")]
    TlsSecret {
        secret: String,
        #[source]
        source: SecretReadError,
    },
    #[error("failed to construct Helm client's TLS config")]
    Tls(#[source] SecretError),
    #[error("failed to detect authentication methods")]
    Methods(#[source] SecretError),
    #[error("failed to configure OCI registry authentication")]
    Registry(#[from] RegistryLoginError),
    #[error("failed to get credential from '{provider}'")]
    Provider {
        provider: &'static str,
        #[source]
        source: ProviderFault,
    },
}

/// Why a provider gives no credentials.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProviderFault {
    #[error("context deadline exceeded")]
    Timeout,
    #[error(transparent)]
    Name(NameError),
    #[error(transparent)]
    Login(LoginError),
}

/// Why a Secret has no credentials of a registry.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryLoginError {
    #[error("unable to load Docker config from Secret '{secret}'")]
    Config {
        secret: String,
        #[source]
        source: KeychainError,
    },
    #[error("no auth config for '{host}' in the docker-registry Secret '{secret}'")]
    NoEntry { host: String, secret: String },
    #[error("invalid '{0}' secret data: required fields 'username' and 'password'")]
    Incomplete(String),
}

/// Reads the Secrets of a repository (SC-AUTH-040 to SC-AUTH-042, SC-AUTH-046).
pub(crate) async fn read(
    spec: &HelmRepositorySpec,
    namespace: &str,
    secrets: &Secrets,
) -> Result<Access, AccessError> {
    let mut access = Access::default();
    if let Some(reference) = &spec.cert_secret_ref {
        let name = reference.name.as_str();
        let secret = secrets.read(namespace, name).await;
        let secret = secret.map_err(|source| AccessError::TlsSecret {
            secret: format!("{namespace}/{name}"),
            source,
        })?;
        let data = secret_data(&secret, namespace, name);
        secrets::log_legacy_keys(&data);
        let settings = data.tls(RootCertificates::AddToSystem);
        access.tls = Some(settings.map_err(AccessError::Tls)?);
    }
    if let Some(reference) = &spec.secret_ref {
        let name = reference.name.as_str();
        let secret = secrets.read(namespace, name).await;
        let secret = secret.map_err(|source| AccessError::Secret {
            secret: format!("{namespace}/{name}"),
            source,
        })?;
        let data: SecretData<'_> = secret_data(&secret, namespace, name);
        let methods = data.auth_methods(RootCertificates::AddToSystem);
        let methods = methods.map_err(AccessError::Methods)?;
        access.basic = methods.basic.filter(is_complete);
        if access.tls.is_none() && methods.tls.is_some() {
            access.tls = methods.tls;
            secrets::log_legacy_keys(&data);
            tracing::info!(
                "warning: specifying TLS authentication data via `.spec.secretRef` is deprecated, please use `.spec.certSecretRef` instead"
            );
        }
        access.secret = Some(secret);
    }
    Ok(access)
}

/// Helm sends neither of the two if one is empty.
fn is_complete(basic: &BasicAuth) -> bool {
    !basic.username.is_empty() && !basic.password.is_empty()
}

impl Access {
    /// The credentials of the registry at `host` for a HelmRepository. A Secret counts before the provider, whose login is
    /// one of the controller, or of the default ServiceAccount (SC-AUTH-043 to SC-AUTH-045). An HTTP repository has none.
    pub(crate) async fn registry(
        &self,
        object: &HelmRepository,
        host: &str,
        identities: &Identities,
    ) -> Result<Credentials, AccessError> {
        let spec = &object.spec;
        if spec.type_ != Some(HelmRepositoryType::Oci) {
            return Ok(Credentials::default());
        }
        if let Some(secret) = &self.secret {
            let basic = login_of_secret(secret, host)?;
            return Ok(Credentials {
                basic,
                ..Credentials::default()
            });
        }
        let provider = flux_registry::provider(&spec.provider.clone().unwrap_or_default());
        if provider == Provider::Generic {
            return Ok(Credentials::default());
        }
        let failed = |source| AccessError::Provider {
            provider: provider.name(),
            source,
        };
        // Only the host counts.
        let repository = Repository::in_registry(host, "charts");
        let repository = repository.map_err(|error| failed(ProviderFault::Name(error)))?;
        let proxy = Proxy::Environment;
        let login =
            flux_registry::credentials(identities, object, None, provider, &repository, &proxy);
        match timeout(super::timeout(spec), Box::pin(login)).await {
            Ok(login) => login.map_err(|error| failed(ProviderFault::Login(error))),
            Err(_) => Err(failed(ProviderFault::Timeout)),
        }
    }
}

/// User and password of a Secret: of its docker configuration, or of its keys. `None` if both are empty (SC-AUTH-043).
fn login_of_secret(secret: &Secret, host: &str) -> Result<Option<BasicAuth>, RegistryLoginError> {
    let name = || secret.metadata.name.clone().unwrap_or_default();
    let value = |key: &str| {
        let data = secret.data.as_ref();
        data.and_then(|data| data.get(key))
            .map_or(&[][..], |value| &value.0)
    };
    let basic = if secret.type_.as_deref() == Some(CONFIG.0) {
        let mut keychain = Keychain::default();
        let added = keychain.add_config(value(CONFIG.1));
        added.map_err(|source| RegistryLoginError::Config {
            secret: name(),
            source,
        })?;
        let entry = keychain
            .of_host(host)
            .ok_or_else(|| RegistryLoginError::NoEntry {
                host: host.to_owned(),
                secret: name(),
            })?;
        let Some(basic) = entry.basic.clone() else {
            return Ok(None);
        };
        basic
    } else {
        BasicAuth {
            username: String::from_utf8_lossy(value("username")).into_owned(),
            password: flux_http::Secret::new(value("password")),
        }
    };
    match (basic.username.is_empty(), basic.password.is_empty()) {
        (true, true) => Ok(None),
        (false, false) => Ok(Some(basic)),
        _ => Err(RegistryLoginError::Incomplete(name())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::ByteString;

    use super::*;

    fn secret(kind: &str, data: &[(&str, &str)]) -> Secret {
        let data = data
            .iter()
            .map(|(key, text)| ((*key).to_owned(), ByteString(text.as_bytes().to_vec())));
        let mut secret = Secret {
            type_: Some(kind.to_owned()),
            data: Some(data.collect::<BTreeMap<_, _>>()),
            ..Secret::default()
        };
        secret.metadata.name = Some("login".to_owned());
        secret
    }

    // SC-AUTH-043
    #[test]
    fn logins_of_a_registry() {
        let config = r#"{"auths": {"https://ghcr.io/v1/": {"username": "flux", "password": "s3cret"},
            "half.io": {"username": "flux"}, "empty.io": {}}}"#;
        let of_config = |text| secret(CONFIG.0, &[(CONFIG.1, text)]);
        for (secret, host, want) in [
            (of_config(config), "ghcr.io", Ok(Some("flux"))),
            (of_config(config), "empty.io", Ok(None)),
            (
                of_config(config),
                "quay.io",
                Err("no auth config for 'quay.io' in the docker-registry Secret 'login'"),
            ),
            (
                of_config(config),
                "half.io",
                Err("invalid 'login' secret data: required fields 'username' and 'password'"),
            ),
            (
                of_config("{"),
                "ghcr.io",
                Err("unable to load Docker config from Secret 'login'"),
            ),
            (
                secret("Opaque", &[("username", "flux"), ("password", "x")]),
                "ghcr.io",
                Ok(Some("flux")),
            ),
            (secret("Opaque", &[]), "ghcr.io", Ok(None)),
            (
                secret("Opaque", &[("password", "x")]),
                "ghcr.io",
                Err("invalid 'login' secret data: required fields 'username' and 'password'"),
            ),
        ] {
            let found = login_of_secret(&secret, host);
            let found = found.map(|basic| basic.map(|basic| basic.username));
            let want = want.map(|name| name.map(str::to_owned));
            assert_eq!(
                found.map_err(|error| error.to_string()),
                want.map_err(str::to_owned)
            );
        }
    }
}
