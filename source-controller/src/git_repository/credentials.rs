//! The address and the credentials of a repository.

use flux_api::source::{GitProvider, GitRepository};
use flux_cloud::{GIT_USER, GitHubApp};
use flux_git::{AuthError, AuthOptions, GitUrl};
use flux_http::{ClientOptions, Proxy, RootCertificates, Secret, SecretData, keys};
use flux_identity::{Identities, Provider};
use flux_references::secret_data;
use flux_runtime::Run;

use super::failure::{AppError, StepError};
use crate::secrets::{self, Secrets};

/// Flags for remotes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// Key exchange algorithms of SSH; if empty, the library's defaults (SC-PROC-013).
    pub(crate) kex_algorithms: Vec<String>,
    /// Host key algorithms of SSH; if empty, those of the known hosts (SC-PROC-014).
    pub(crate) host_key_algorithms: Vec<String>,
}

/// The address of a repository and its credentials.
pub(super) struct Remote {
    pub(super) url: GitUrl,
    pub(super) auth: AuthOptions,
    pub(super) proxy: Proxy,
    pub(super) settings: Settings,
}

/// Reads proxy, URL and credentials, in this order (SC-GIT-021 to SC-GIT-025).
pub(super) async fn read(
    run: &Run<GitRepository>,
    secrets: &Secrets,
    identities: &Identities,
    settings: &Settings,
) -> Result<Remote, StepError> {
    let (spec, namespace) = (&run.object().spec, run.namespace());
    let proxy = match &spec.proxy_secret_ref {
        None => Proxy::Environment,
        Some(reference) => secrets
            .proxy(namespace, &reference.name)
            .await
            .map_err(StepError::Proxy)?,
    };
    let url = GitUrl::parse(&spec.url).map_err(|source| StepError::Url {
        url: flux_http::shown_text(&spec.url),
        source,
    })?;
    let secret = match &spec.secret_ref {
        None => None,
        Some(reference) => {
            let read = secrets.read(namespace, &reference.name).await;
            let secret = read.map_err(|source| StepError::Secret {
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
        AuthError::PassphraseRequired { secret } => StepError::Passphrase(secret),
        error => StepError::Auth(error),
    })?;
    let provider = spec.provider.clone().unwrap_or_default();
    identify(&provider, data.as_ref())?;
    let object = run.object();
    match provider {
        GitProvider::Github => {
            let data = data.as_ref().ok_or(StepError::GitHubAppSecretMissing)?;
            sign_in(&mut auth, data, &proxy, identities, object).await?;
        }
        GitProvider::Aws => {
            log_in(&mut auth, Provider::Aws, &proxy, identities, object).await?;
        }
        GitProvider::Azure => {
            log_in(&mut auth, Provider::Azure, &proxy, identities, object).await?;
        }
        GitProvider::Generic | GitProvider::Other(_) => {}
    }
    Ok(Remote {
        url,
        auth,
        proxy,
        settings: settings.clone(),
    })
}

/// Checks that the provider matches the Secret (SC-AUTH-017, SC-AUTH-018).
fn identify(provider: &GitProvider, secret: Option<&SecretData<'_>>) -> Result<(), StepError> {
    match provider {
        GitProvider::Aws | GitProvider::Azure => Ok(()),
        GitProvider::Github => match secret {
            None => Err(StepError::GitHubAppSecretMissing),
            Some(_) => Ok(()),
        },
        GitProvider::Generic | GitProvider::Other(_) => match secret {
            Some(secret)
                if [keys::GITHUB_APP_ID, keys::GITHUB_APP_CLIENT_ID]
                    .iter()
                    .any(|key| secret.get(key).is_some_and(|id| !id.is_empty())) =>
            {
                Err(StepError::UnexpectedGitHubApp(secret.name().to_owned()))
            }
            _ => Ok(()),
        },
    }
}

/// Logs in with a cloud identity: what it gives replaces user, password and token of the Secret, whose certificates stay
/// (SC-AUTH-022 to SC-AUTH-024).
async fn log_in(
    auth: &mut AuthOptions,
    provider: Provider,
    proxy: &Proxy,
    identities: &Identities,
    object: &GitRepository,
) -> Result<(), StepError> {
    let account = object.spec.service_account_name.as_deref();
    let identity = identities.of(object, account, proxy);
    let identity = identity.map_err(AppError::Client)?;
    let login = Box::pin(identity.git_login(provider, &object.spec.url)).await;
    let login = login.map_err(|error| AppError::Identity(Box::new(error)))?;
    auth.username = login.username.expose_text().into_owned();
    auth.password = login.password;
    auth.bearer_token = login.bearer.unwrap_or_default();
    Ok(())
}

/// Signs in as an installation of a GitHub App (SC-AUTH-019, SC-AUTH-020).
async fn sign_in(
    auth: &mut AuthOptions,
    secret: &SecretData<'_>,
    proxy: &Proxy,
    identities: &Identities,
    object: &GitRepository,
) -> Result<(), StepError> {
    let methods = secret.auth_methods(RootCertificates::AddToSystem);
    let methods = methods.map_err(StepError::GitHubAppKeys)?;
    let data = methods.github_app.ok_or(StepError::GitHubAppDataMissing)?;
    secrets::log_legacy_keys(secret);
    let client = ClientOptions {
        tls: methods.tls.unwrap_or_default(),
        proxy: proxy.clone(),
        ..ClientOptions::default()
    };
    let client = client.build().map_err(AppError::Client)?;
    let app = GitHubApp::new(data).map_err(AppError::App)?;
    let fetch = || async { app.token(&client).await };
    let token = identities.tokens().get(object, app.cache_key(), fetch);
    let token = token.await.map_err(AppError::App)?;
    GIT_USER.clone_into(&mut auth.username);
    auth.password = token.value;
    auth.bearer_token = Secret::default();
    Ok(())
}
