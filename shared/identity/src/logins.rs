//! Logins for registries and Git hosts, made of access tokens.

use std::time::SystemTime;

use flux_cloud::{CacheKey, GitLogin, RegistryLogin, aws, azure, gcp};
use kube::Resource;
use url::Url;

use crate::error::{CloudError, IdentityError};
use crate::generic::Generic;
use crate::identities::{Access, Identity};
use crate::provider::Provider;

impl<K: Resource<DynamicType = ()> + Sync> Identity<'_, K> {
    /// A login for the registry at this host (`host` or `host:port`). `None` for provider `generic` if the object acts as
    /// no ServiceAccount, or as one without the annotations for it (RT-WID-031).
    ///
    /// # Errors
    /// The host is not one of the provider (RT-WID-008, RT-WID-012, RT-WID-018), or [`IdentityError`].
    pub async fn registry_login(
        &self,
        provider: Provider,
        host: &str,
    ) -> Result<Option<RegistryLogin>, IdentityError> {
        let access = |error| IdentityError::RegistryAccess(Box::new(error));
        let none = Generic::default();
        let request = Access::new(provider, &none);
        // What the login depends on besides the token.
        let scope;
        let (token, key, input) = match provider {
            Provider::Aws => {
                let region = aws::registry_region(host).map_err(CloudError::from)?;
                let input = aws::login_scope(host).map_err(CloudError::from)?;
                let request = Access {
                    region: Some(&region),
                    ..request
                };
                let (token, key) = self.access(&request).await.map_err(access)?;
                (token, key, input)
            }
            Provider::Azure => {
                let checked = azure::check_registry(&self.cloud, host).await;
                checked.map_err(CloudError::from)?;
                scope = azure::registry_scope(&self.cloud)
                    .await
                    .map_err(CloudError::from)?;
                let request = Access {
                    scope: Some(&scope),
                    ..request
                };
                let (token, key) = self.access(&request).await.map_err(access)?;
                (token, key, host.to_owned())
            }
            Provider::Gcp => {
                gcp::check_registry(host).map_err(CloudError::from)?;
                let (token, key) = self.access(&request).await.map_err(access)?;
                (token, key, provider.name().to_owned())
            }
            Provider::Generic => return self.generic_login(host).await,
        };
        let fetch = || async {
            let login = match provider {
                Provider::Aws => {
                    let credentials = aws::Credentials::of_token(&token);
                    let credentials = credentials.ok_or(CloudError::Cached)?;
                    aws::registry_login(&self.cloud, &credentials, host).await?
                }
                Provider::Azure => azure::registry_login(&self.cloud, &token, host).await?,
                Provider::Gcp | Provider::Generic => gcp::registry_login(&token),
            };
            Ok::<_, CloudError>(login.to_token())
        };
        let key = derived(&key, "registry", &input);
        let login = self.login_token(key, fetch).await;
        let login = login.map_err(IdentityError::RegistryLogin)?;
        Ok(Some(
            RegistryLogin::of_token(&login).ok_or(CloudError::Cached)?,
        ))
    }

    /// The token of the ServiceAccount as the login (RT-WID-031).
    async fn generic_login(&self, host: &str) -> Result<Option<RegistryLogin>, IdentityError> {
        let Some(account) = self.read_account().await? else {
            return Ok(None);
        };
        let Some(generic) = Generic::of_annotations(&account, host)? else {
            return Ok(None);
        };
        let request = Access::new(Provider::Generic, &generic);
        let (token, _) = self
            .access(&request)
            .await
            .map_err(|error| IdentityError::RegistryAccess(Box::new(error)))?;
        let (password, bearer) = match generic.username {
            Some(_) => (token.value, None),
            None => (flux_http::Secret::default(), Some(token.value)),
        };
        Ok(Some(RegistryLogin {
            username: generic.username.unwrap_or_default(),
            password,
            bearer,
            expires: token.expires,
        }))
    }

    /// A login for the Git repository at this address: of CodeCommit (RT-WID-009), or of Azure DevOps (RT-WID-014).
    ///
    /// # Errors
    /// The address is not one of the provider, or [`IdentityError`].
    pub async fn git_login(
        &self,
        provider: Provider,
        address: &str,
    ) -> Result<GitLogin, IdentityError> {
        let none = Generic::default();
        let request = Access::new(provider, &none);
        // The short form of addresses of SSH is no URL, and none of CodeCommit's over HTTPS.
        let url = Url::parse(address);
        let (request, input) = match provider {
            Provider::Aws => {
                let url = url.as_ref().map_err(|_| aws::Error::GitScheme);
                let region = url.and_then(aws::git_region).map_err(CloudError::from)?;
                let request = Access {
                    region: Some(region),
                    ..request
                };
                (request, address)
            }
            Provider::Azure => {
                let request = Access {
                    scope: Some(azure::SCOPE_DEVOPS),
                    ..request
                };
                (request, "azure-devops")
            }
            other => return Err(CloudError::NoGit(other.name()).into()),
        };
        let access = self.access(&request).await;
        let (token, key) = access.map_err(|error| IdentityError::GitAccess(Box::new(error)))?;
        let fetch = || async {
            let login = if provider == Provider::Aws {
                let credentials = aws::Credentials::of_token(&token);
                let credentials = credentials.ok_or(CloudError::Cached)?;
                let url = url.as_ref().map_err(|_| aws::Error::GitScheme)?;
                aws::git_login(&credentials, url, SystemTime::now())?
            } else {
                GitLogin {
                    username: flux_http::Secret::default(),
                    password: flux_http::Secret::default(),
                    bearer: Some(token.value.clone()),
                    expires: token.expires,
                }
            };
            Ok::<_, CloudError>(login.to_token())
        };
        let key = derived(&key, "git", input);
        let login = self.login_token(key, fetch).await;
        let login = login.map_err(IdentityError::GitLogin)?;
        Ok(GitLogin::of_token(&login).ok_or(CloudError::Cached)?)
    }
}

/// The key of a login: that of its token, and what else it depends on (SC-AUTH-071).
fn derived(key: &CacheKey, name: &str, input: &str) -> CacheKey {
    CacheKey::of(&[
        ("access", key.to_string().as_bytes()),
        (name, input.as_bytes()),
    ])
}
