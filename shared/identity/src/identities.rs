//! From an object to the credentials that it acts with.

use std::sync::{Arc, OnceLock};

use flux_cloud::{CacheKey, CloudClient, Token, aws, azure, gcp};
use flux_http::{BuildError, Proxy, Secret};
use flux_objects::Objects;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Client, Resource, ResourceExt as _};
use tokio::sync::OnceCell;

use crate::account::{self, Cloud};
use crate::error::{CloudError, IdentityError};
use crate::generic::Generic;
use crate::provider::Provider;
use crate::{Involved, Tokens};

/// The cloud identities of a controller's objects. Clones share tokens, clients and what is known of the cluster.
///
/// An object acts as the ServiceAccount that it names, else as the default one of its namespace if the process has a
/// default, else as the controller (RT-WID-001, RT-WID-003).
#[derive(Clone)]
pub struct Identities {
    client: Client,
    tokens: Tokens,
    default_account: Arc<str>,
    cluster: gcp::Cluster,
    /// The API server's own audiences.
    local: Arc<OnceCell<Vec<String>>>,
    /// The client of objects that name no proxy.
    shared: Arc<OnceLock<CloudClient>>,
    connect: Arc<Connect>,
}

/// Makes the client for a proxy.
type Connect = dyn Fn(&Proxy) -> Result<CloudClient, BuildError> + Send + Sync;

/// As whom one object acts, until its reconcile ends.
pub struct Identity<'a, K> {
    pub(crate) object: &'a K,
    pub(crate) identities: &'a Identities,
    pub(crate) cloud: CloudClient,
    account: Option<&'a str>,
    operation: Option<&'static str>,
    involved: Involved,
}

/// What is asked of a provider.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access<'a> {
    pub(crate) provider: Provider,
    pub(crate) scope: Option<&'a str>,
    pub(crate) region: Option<&'a str>,
    pub(crate) sts_endpoint: Option<&'a str>,
    /// For provider `generic`: what its annotations say.
    pub(crate) generic: &'a Generic,
}

impl<'a> Access<'a> {
    pub(crate) fn new(provider: Provider, generic: &'a Generic) -> Self {
        Self {
            provider,
            scope: None,
            region: None,
            sts_endpoint: None,
            generic,
        }
    }
}

/// A ServiceAccount as it is at this use (RT-WID-024).
struct Account {
    name: String,
    audiences: Vec<String>,
    cloud: Cloud,
}

impl Identities {
    /// The identities of objects whose ServiceAccounts `client` reads. `default_account` is the process's
    /// `--default-service-account`, or the like; empty means no default.
    pub fn new(client: Client, tokens: Tokens, default_account: &str) -> Self {
        Self {
            client,
            tokens,
            default_account: default_account.into(),
            cluster: gcp::Cluster::default(),
            local: Arc::default(),
            shared: Arc::default(),
            connect: Arc::new(CloudClient::new),
        }
    }

    /// The same with other clients of the clouds.
    #[must_use]
    pub fn with_clients(
        mut self,
        connect: impl Fn(&Proxy) -> Result<CloudClient, BuildError> + Send + Sync + 'static,
    ) -> Self {
        self.connect = Arc::new(connect);
        self.shared = Arc::default();
        self
    }

    /// The tokens, for those that are not of a cloud.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// As whom an object acts that names this ServiceAccount; requests for credentials leave through `proxy`.
    ///
    /// # Errors
    /// The proxy cannot be used.
    pub fn of<'a, K: Resource<DynamicType = ()>>(
        &'a self,
        object: &'a K,
        account: Option<&'a str>,
        proxy: &Proxy,
    ) -> Result<Identity<'a, K>, BuildError> {
        let names = [account, Some(&*self.default_account)];
        let mut names = names.into_iter().flatten();
        Ok(Identity {
            object,
            identities: self,
            cloud: self.cloud_client(proxy)?,
            account: names.find(|name| !name.is_empty()),
            operation: None,
            involved: Involved::of(object),
        })
    }

    fn cloud_client(&self, proxy: &Proxy) -> Result<CloudClient, BuildError> {
        if !matches!(proxy, Proxy::Environment) {
            return (self.connect)(proxy);
        }
        if let Some(client) = self.shared.get() {
            return Ok(client.clone());
        }
        let client = (self.connect)(proxy)?;
        Ok(self.shared.get_or_init(|| client).clone())
    }
}

impl<K: Resource<DynamicType = ()> + Sync> Identity<'_, K> {
    /// The client for further requests with the credentials: with the object's proxy and the timeout of ten seconds.
    pub fn cloud(&self) -> &CloudClient {
        &self.cloud
    }

    /// Counts the tokens as of this operation, one of [`OPERATIONS`](crate::OPERATIONS) (KC-PROC-055).
    #[must_use]
    pub fn counted_as(mut self, operation: &'static str) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Counts the tokens as of this object, for which the identity's own one is read (IR-POL-105).
    #[must_use]
    pub fn counted_for(mut self, involved: Involved) -> Self {
        self.involved = involved;
        self
    }

    /// Whether the object acts as a ServiceAccount.
    pub fn is_account(&self) -> bool {
        self.account.is_some()
    }

    /// Credentials of AWS. `region` is where the tokens are exchanged; the controller's own fall back to `AWS_REGION`
    /// (RT-WID-005, RT-WID-007). `sts_endpoint` comes from the object and is checked (RT-WID-006).
    ///
    /// # Errors
    /// [`IdentityError`].
    pub async fn aws_credentials(
        &self,
        region: Option<&str>,
        sts_endpoint: Option<&str>,
    ) -> Result<aws::Credentials, IdentityError> {
        let generic = Generic::default();
        let access = Access {
            region: region.filter(|region| !region.is_empty()),
            sts_endpoint: sts_endpoint.filter(|endpoint| !endpoint.is_empty()),
            ..Access::new(Provider::Aws, &generic)
        };
        let (token, _) = self.access(&access).await?;
        Ok(aws::Credentials::of_token(&token).ok_or(CloudError::Cached)?)
    }

    /// A token of Azure for a scope (RT-WID-010, RT-WID-011).
    ///
    /// # Errors
    /// [`IdentityError`].
    pub async fn azure_token(&self, scope: &str) -> Result<Token, IdentityError> {
        let generic = Generic::default();
        let access = Access {
            scope: Some(scope),
            ..Access::new(Provider::Azure, &generic)
        };
        Ok(self.access(&access).await?.0)
    }

    /// A token of Google Cloud (RT-WID-015 to RT-WID-017).
    ///
    /// # Errors
    /// [`IdentityError`].
    pub async fn gcp_token(&self) -> Result<Token, IdentityError> {
        let generic = Generic::default();
        let access = Access::new(Provider::Gcp, &generic);
        Ok(self.access(&access).await?.0)
    }

    /// A token of the object's ServiceAccount for these audiences, such as another cluster (RT-WID-030). `None` if the
    /// object acts as the controller.
    ///
    /// # Errors
    /// [`IdentityError`]; an audience is that of this cluster's own API server.
    pub async fn kubernetes_token(
        &self,
        audiences: &[String],
    ) -> Result<Option<Token>, IdentityError> {
        if self.account.is_none() {
            return Ok(None);
        }
        let generic = Generic::for_audiences(audiences);
        let access = Access::new(Provider::Generic, &generic);
        Ok(Some(self.access(&access).await?.0))
    }

    pub(crate) fn namespace(&self) -> String {
        self.object.meta().namespace.clone().unwrap_or_default()
    }

    /// The ServiceAccount that the object acts as, read from the API server at each use (RT-WID-024, SC-AUTH-072);
    /// `None` if it acts as the controller.
    pub(crate) async fn read_account(&self) -> Result<Option<ServiceAccount>, IdentityError> {
        let Some(name) = self.account else {
            return Ok(None);
        };
        let namespace = self.namespace();
        let full_name = format!("{namespace}/{name}");
        let read = async {
            let client = self.identities.client.clone();
            let accounts = Objects::<ServiceAccount>::in_namespace(client, &namespace)?;
            accounts.get(name).await
        };
        let is_default = *name == *self.identities.default_account;
        match read.await {
            Ok(account) => Ok(Some(account)),
            Err(source) if source.is_not_found() && is_default => {
                Err(IdentityError::DefaultAccountMissing(full_name))
            }
            Err(source) => Err(IdentityError::Account {
                account: full_name,
                source,
            }),
        }
    }

    /// The access token that is asked for, cached, and its key (RT-WID-022, RT-WID-023).
    pub(crate) async fn access(
        &self,
        access: &Access<'_>,
    ) -> Result<(Token, CacheKey), IdentityError> {
        let account = match self.read_account().await? {
            Some(account) => Some(self.identity(access, &account).await?),
            None => None,
        };
        let key = self.key(access, account.as_ref());
        let fetch = || async {
            match &account {
                Some(account) => self.account_token(access, account).await,
                None => self
                    .controller_token(access)
                    .await
                    .map_err(IdentityError::ControllerToken),
            }
        };
        Ok((self.counted(key.clone(), fetch).await?, key))
    }

    /// A login, obtained by `fetch` unless it is cached, counted as of the process's operation.
    pub(crate) async fn login_token<E, F>(
        &self,
        key: CacheKey,
        fetch: impl FnOnce() -> F,
    ) -> Result<Token, E>
    where
        E: std::error::Error,
        F: Future<Output = Result<Token, E>>,
    {
        let tokens = &self.identities.tokens;
        tokens
            .get_involving(tokens.operation(), &self.involved, key, fetch)
            .await
    }

    /// The token of `key`, obtained by `fetch` unless it is cached, counted as of the identity's operation.
    async fn counted<E, F>(&self, key: CacheKey, fetch: impl FnOnce() -> F) -> Result<Token, E>
    where
        E: std::error::Error,
        F: Future<Output = Result<Token, E>>,
    {
        let tokens = &self.identities.tokens;
        let operation = self.operation.unwrap_or(tokens.operation());
        tokens
            .get_involving(operation, &self.involved, key, fetch)
            .await
    }

    /// Audiences, then identity: the first of upstream's errors counts.
    async fn identity(
        &self,
        access: &Access<'_>,
        account: &ServiceAccount,
    ) -> Result<Account, IdentityError> {
        let (provider, generic) = (access.provider, access.generic);
        let cluster = &self.identities.cluster;
        let audiences = account::audiences(provider, account, generic, cluster, &self.cloud);
        let audiences = audiences.await.map_err(IdentityError::Audience)?;
        let name = account.name_any();
        let cloud = Cloud::new(provider, account, generic);
        let cloud = cloud.map_err(|source| IdentityError::Annotations {
            account: format!("{}/{name}", self.namespace()),
            source,
        })?;
        Ok(Account {
            name,
            audiences,
            cloud,
        })
    }

    /// The key of an access token: every input of the request for it (RT-WID-023, RT-WID-032, SC-AUTH-071).
    fn key(&self, access: &Access<'_>, account: Option<&Account>) -> CacheKey {
        let mut parts: Vec<(&'static str, String)> = vec![
            ("provider", access.provider.name().to_owned()),
            ("scope", access.scope.unwrap_or_default().to_owned()),
            ("region", access.region.unwrap_or_default().to_owned()),
            (
                "endpoint",
                access.sts_endpoint.unwrap_or_default().to_owned(),
            ),
        ];
        if let Some(account) = account {
            parts.push(("account", account.name.clone()));
            parts.push(("namespace", self.namespace()));
            let audiences = account.audiences.iter();
            parts.extend(audiences.map(|audience| ("audience", audience.clone())));
            parts.extend(account.cloud.key_parts());
        }
        let mut parts: Vec<(&str, &[u8])> = parts
            .iter()
            .map(|(name, value)| (*name, value.as_bytes()))
            .collect();
        parts.push(("proxy", self.cloud.proxy_key().expose()));
        CacheKey::of(&parts)
    }

    /// The controller's own token (SC-AUTH-050).
    async fn controller_token(&self, access: &Access<'_>) -> Result<Token, CloudError> {
        let cloud = &self.cloud;
        Ok(match access.provider {
            Provider::Aws => aws::default_credentials(cloud, access.region, access.sts_endpoint)
                .await?
                .to_token(),
            Provider::Azure => {
                let scope = access.scope.unwrap_or_default();
                azure::default_token(cloud, scope).await?
            }
            Provider::Gcp => gcp::default_token(cloud).await?,
            Provider::Generic => return Err(CloudError::Expiry),
        })
    }

    /// What the ServiceAccount's token is exchanged for (RT-WID-001, SC-AUTH-051).
    async fn account_token(
        &self,
        access: &Access<'_>,
        account: &Account,
    ) -> Result<Token, IdentityError> {
        let full_name = || format!("{}/{}", self.namespace(), account.name);
        let failed = |source| IdentityError::AccountToken {
            account: full_name(),
            source,
        };
        if access.provider == Provider::Generic {
            self.check_local(account).await?;
        }
        let seconds = access.generic.seconds;
        let token = self
            .kubernetes(account, &account.audiences, seconds)
            .await?;
        let exchanged = match &account.cloud {
            Cloud::Aws { role } => self.exchange_at_aws(access, account, role, &token).await,
            Cloud::Azure { tenant, client } => {
                let scope = access.scope.unwrap_or_default();
                let token = azure::federated_token(&self.cloud, tenant, client, &token, scope);
                token.await.map_err(CloudError::from)
            }
            Cloud::Gcp { provider, email } => {
                let email = email.as_deref();
                self.exchange_at_gcp(provider.as_deref(), email, &token)
                    .await
            }
            Cloud::Generic(_) => account::dated(token),
        };
        exchanged.map_err(failed)
    }

    async fn kubernetes(
        &self,
        account: &Account,
        audiences: &[String],
        seconds: Option<i64>,
    ) -> Result<Secret, IdentityError> {
        let namespace = self.namespace();
        let client = &self.identities.client;
        let token = account::token(client, &namespace, &account.name, audiences, seconds).await;
        token.map_err(|source| IdentityError::KubernetesToken {
            account: format!("{namespace}/{}", account.name),
            source,
        })
    }

    async fn exchange_at_aws(
        &self,
        access: &Access<'_>,
        account: &Account,
        role: &str,
        token: &Secret,
    ) -> Result<Token, CloudError> {
        let region = access.region.ok_or(aws::Error::Region)?;
        if let Some(endpoint) = access.sts_endpoint {
            aws::check_sts_endpoint(endpoint)?;
        }
        let session = format!("{}.{}.{region}.fluxcd.io", account.name, self.namespace());
        let sts = aws::Sts {
            region,
            endpoint: access.sts_endpoint,
        };
        let credentials =
            aws::assume_role_with_web_identity(&self.cloud, &sts, role, &session, token).await?;
        Ok(credentials.to_token())
    }

    async fn exchange_at_gcp(
        &self,
        provider: Option<&str>,
        email: Option<&str>,
        token: &Secret,
    ) -> Result<Token, CloudError> {
        let audience = if let Some(audience) = provider {
            audience.to_owned()
        } else {
            let cluster = &self.identities.cluster;
            cluster.exchange_audience(&self.cloud).await?
        };
        let federation = gcp::Federation {
            audience: &audience,
            token,
            email,
        };
        Ok(gcp::federated_token(&self.cloud, &federation).await?)
    }

    /// Refuses to issue a token that the cluster's own API server accepts: the receiver could act as the
    /// ServiceAccount (RT-WID-030). What the API server accepts is in a token that it issues for no audience in
    /// particular, which is requested once and then dropped.
    async fn check_local(&self, account: &Account) -> Result<(), IdentityError> {
        let local = self.identities.local.get_or_try_init(|| async {
            let token = self.kubernetes(account, &[], None).await?;
            Ok::<_, IdentityError>(flux_cloud::audiences(&token))
        });
        let local = local.await?;
        match account
            .audiences
            .iter()
            .find(|audience| local.contains(audience))
        {
            Some(audience) => Err(CloudError::LocalAudience(audience.clone()).into()),
            None => Ok(()),
        }
    }
}
