//! The address and the credentials of a repository.

use flux_api::source::{GitProvider, GitRepository};
use flux_cloud::{GIT_USER, GitHubApp};
use flux_git::{AuthError, AuthOptions, GitUrl};
use flux_http::{ClientOptions, Proxy, RootCertificates, Secret, SecretData, keys};
use flux_identity::Tokens;
use flux_references::secret_data;
use flux_runtime::Run;

use super::failure::{AppError, StepError};
use crate::secrets::{self, Secrets};

/// Flags and feature gates for remotes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// Key exchange algorithms of SSH; if empty, the library's defaults (SC-PROC-013).
    pub(crate) kex_algorithms: Vec<String>,
    /// Host key algorithms of SSH; if empty, those of the known hosts (SC-PROC-014).
    pub(crate) host_key_algorithms: Vec<String>,
    /// Whether objects may use the cloud identity of a ServiceAccount.
    pub(crate) object_level_identity: bool,
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
    tokens: &Tokens,
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
    identify(
        &provider,
        spec.service_account_name.as_deref(),
        data.as_ref(),
        settings,
    )?;
    if provider == GitProvider::Github {
        let data = data.as_ref().ok_or(StepError::GitHubAppSecretMissing)?;
        sign_in(&mut auth, data, &proxy, tokens, run.object()).await?;
    }
    Ok(Remote {
        url,
        auth,
        proxy,
        settings: settings.clone(),
    })
}

/// Checks that the provider matches the Secret (SC-AUTH-017, SC-AUTH-018, SC-AUTH-025).
fn identify(
    provider: &GitProvider,
    service_account: Option<&str>,
    secret: Option<&SecretData<'_>>,
    settings: &Settings,
) -> Result<(), StepError> {
    match provider {
        GitProvider::Aws | GitProvider::Azure => {
            let named = service_account.is_some_and(|name| !name.is_empty());
            if named && !settings.object_level_identity {
                return Err(StepError::FeatureGateDisabled);
            }
            Err(StepError::UnsupportedProvider(provider.to_string()))
        }
        GitProvider::Github => match secret {
            None => Err(StepError::GitHubAppSecretMissing),
            Some(_) => Ok(()),
        },
        GitProvider::Generic | GitProvider::Other(_) => match secret {
            Some(secret)
                if secret
                    .get(keys::GITHUB_APP_ID)
                    .is_some_and(|id| !id.is_empty()) =>
            {
                Err(StepError::UnexpectedGitHubApp(secret.name().to_owned()))
            }
            _ => Ok(()),
        },
    }
}

/// Signs in as an installation of a GitHub App (SC-AUTH-019, SC-AUTH-020).
async fn sign_in(
    auth: &mut AuthOptions,
    secret: &SecretData<'_>,
    proxy: &Proxy,
    tokens: &Tokens,
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
    let token = tokens
        .get(object, app.cache_key(), fetch)
        .await
        .map_err(AppError::App)?;
    GIT_USER.clone_into(&mut auth.username);
    auth.password = token.value;
    auth.bearer_token = Secret::default();
    Ok(())
}
