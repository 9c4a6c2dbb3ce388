//! The Git repository that a GitRepository names: its address, proxy and credentials, for the controllers that read from it
//! and write to it.
//!
//! [`access`] reads what the spec refers to and logs in with the spec's provider. Errors are facts: their reasons, and the
//! texts that differ from kind to kind, are in each kind's `failure.rs`.

#![forbid(unsafe_code)]

use flux_api::source::{GitProvider, GitRepository};
use flux_cloud::{GIT_USER, GitHubApp, GitHubAppError};
use flux_git::{AuthError, AuthOptions, GitUrl, UrlError};
use flux_http::{
    BuildError, ClientOptions, Proxy, RootCertificates, Secret, SecretData, SecretError,
};
use flux_identity::{Identities, IdentityError, Provider};
use flux_references::{ReferredError, SecretReadError, Secrets, log_legacy_keys, secret_data};
use kube::{Resource, ResourceExt as _};

/// How a repository is reached.
#[derive(Clone, Debug)]
pub struct Access {
    /// Its address.
    pub url: GitUrl,
    /// The credentials.
    pub auth: AuthOptions,
    /// The proxy.
    pub proxy: Proxy,
}

/// Why there is no access.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The Secret of the proxy is missing or invalid (SC-AUTH-005).
    #[error(transparent)]
    Proxy(ReferredError),
    /// The address cannot be used.
    #[error("failed to parse url '{url}'")]
    Url {
        /// The address, without user information.
        url: String,
        /// Why.
        #[source]
        source: UrlError,
    },
    /// The Secret with the credentials cannot be read.
    #[error("failed to get secret '{secret}'")]
    Secret {
        /// `namespace/name`.
        secret: String,
        /// Why.
        #[source]
        source: SecretReadError,
    },
    /// The credentials cannot be used.
    #[error(transparent)]
    Auth(AuthError),
    /// The SSH key of this Secret is encrypted, without a passphrase (SC-AUTH-015).
    #[error(
        "SSH identity key is encrypted but no 'password' field was provided in the secret '{0}'"
    )]
    Passphrase(String),
    /// This Secret is of a GitHub App, and the provider is not `github` (SC-AUTH-018).
    #[error("secretRef '{0}' has github app data but provider is not set to github")]
    UnexpectedGitHubApp(String),
    /// The provider is `github`, and there is no Secret (SC-AUTH-017).
    #[error("secretRef with github app data must be specified when provider is set to github")]
    GitHubAppSecretMissing,
    /// The provider is `github`, and the Secret is not of a GitHub App (SC-AUTH-017).
    #[error("secretRef with github app data must be specified when provider is set to github")]
    GitHubAppDataMissing,
    /// The Secret of a GitHub App is malformed (SC-AUTH-019).
    #[error(transparent)]
    GitHubAppKeys(SecretError),
    /// The provider gave no credentials.
    #[error(transparent)]
    Login(#[from] LoginError),
}

/// Why a provider gave no credentials.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The client for the provider cannot be built.
    #[error(transparent)]
    Client(BuildError),
    /// The GitHub App.
    #[error(transparent)]
    App(GitHubAppError),
    /// The cloud.
    #[error(transparent)]
    Identity(Box<IdentityError>),
}

/// Reads proxy, URL and credentials of `repository`, in this order (SC-GIT-021 to SC-GIT-025, IA-GIT-012). `object` is who
/// acts: ServiceAccounts are looked up in its namespace (IA-GIT-039), and tokens are counted as its own.
///
/// # Errors
/// [`AccessError`].
pub async fn access<K>(
    object: &K,
    repository: &GitRepository,
    secrets: &Secrets,
    identities: &Identities,
) -> Result<Access, AccessError>
where
    K: Resource<DynamicType = ()> + Sync,
{
    let spec = &repository.spec;
    let namespace = &*repository.namespace().unwrap_or_default();
    let proxy = match &spec.proxy_secret_ref {
        None => Proxy::Environment,
        Some(reference) => secrets
            .proxy(namespace, &reference.name)
            .await
            .map_err(AccessError::Proxy)?,
    };
    let url = GitUrl::parse(&spec.url).map_err(|source| AccessError::Url {
        url: flux_http::shown_text(&spec.url),
        source,
    })?;
    let secret = match &spec.secret_ref {
        None => None,
        Some(reference) => {
            let read = secrets.read(namespace, &reference.name).await;
            let secret = read.map_err(|source| AccessError::Secret {
                secret: format!("{namespace}/{}", reference.name),
                source,
            })?;
            Some((secret, reference.name.as_str()))
        }
    };
    let data = secret
        .as_ref()
        .map(|(secret, name)| secret_data(secret, namespace, name));
    let mut auth = AuthOptions::new(&url, data.as_ref()).map_err(|error| match error {
        AuthError::PassphraseRequired { secret } => AccessError::Passphrase(secret),
        error => AccessError::Auth(error),
    })?;
    let provider = spec.provider.clone().unwrap_or_default();
    check_provider(&provider, data.as_ref())?;
    match provider {
        GitProvider::Github => {
            let data = data.as_ref().ok_or(AccessError::GitHubAppSecretMissing)?;
            sign_in(&mut auth, data, &proxy, identities, object).await?;
        }
        GitProvider::Aws => {
            log_in(
                &mut auth,
                Provider::Aws,
                &proxy,
                identities,
                (object, repository),
            )
            .await?;
        }
        GitProvider::Azure => {
            log_in(
                &mut auth,
                Provider::Azure,
                &proxy,
                identities,
                (object, repository),
            )
            .await?;
        }
        GitProvider::Generic | GitProvider::Other(_) => {}
    }
    Ok(Access { url, auth, proxy })
}

/// Checks that the provider matches the Secret (SC-AUTH-017, SC-AUTH-018).
fn check_provider(
    provider: &GitProvider,
    secret: Option<&SecretData<'_>>,
) -> Result<(), AccessError> {
    match provider {
        GitProvider::Aws | GitProvider::Azure => Ok(()),
        GitProvider::Github => match secret {
            None => Err(AccessError::GitHubAppSecretMissing),
            Some(_) => Ok(()),
        },
        GitProvider::Generic | GitProvider::Other(_) => match secret {
            Some(secret) if secret.names_github_app() => {
                Err(AccessError::UnexpectedGitHubApp(secret.name().to_owned()))
            }
            _ => Ok(()),
        },
    }
}

/// Logs in with a cloud identity: what it gives replaces user, password and token of the Secret, whose certificates stay
/// (SC-AUTH-022 to SC-AUTH-024, IA-GIT-036).
async fn log_in<K: Resource<DynamicType = ()> + Sync>(
    auth: &mut AuthOptions,
    provider: Provider,
    proxy: &Proxy,
    identities: &Identities,
    (object, repository): (&K, &GitRepository),
) -> Result<(), LoginError> {
    let account = repository.spec.service_account_name.as_deref();
    let identity = identities.of(object, account, proxy);
    let identity = identity.map_err(LoginError::Client)?;
    let login = Box::pin(identity.git_login(provider, &repository.spec.url)).await;
    let login = login.map_err(|error| LoginError::Identity(Box::new(error)))?;
    auth.username = login.username.expose_text().into_owned();
    auth.password = login.password;
    auth.bearer_token = login.bearer.unwrap_or_default();
    Ok(())
}

/// Signs in as an installation of a GitHub App (SC-AUTH-019, SC-AUTH-020).
async fn sign_in<K: Resource<DynamicType = ()>>(
    auth: &mut AuthOptions,
    secret: &SecretData<'_>,
    proxy: &Proxy,
    identities: &Identities,
    object: &K,
) -> Result<(), AccessError> {
    let methods = secret.auth_methods(RootCertificates::AddToSystem);
    let methods = methods.map_err(AccessError::GitHubAppKeys)?;
    let data = methods
        .github_app
        .ok_or(AccessError::GitHubAppDataMissing)?;
    log_legacy_keys(secret);
    let client = ClientOptions {
        tls: methods.tls.unwrap_or_default(),
        proxy: proxy.clone(),
        ..ClientOptions::default()
    };
    let client = client.build().map_err(LoginError::Client)?;
    let app = GitHubApp::new(data).map_err(LoginError::App)?;
    let fetch = || async { app.token(&client).await };
    let token = identities.tokens().get(object, app.cache_key(), fetch);
    let token = token.await.map_err(LoginError::App)?;
    GIT_USER.clone_into(&mut auth.username);
    auth.password = token.value;
    auth.bearer_token = Secret::default();
    Ok(())
}
