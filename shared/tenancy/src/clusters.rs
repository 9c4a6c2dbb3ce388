//! The cluster that an object acts on, with the identity that it acts under.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use flux_api::meta::KubeConfigReference;
use flux_cloud::kubernetes::ClusterDetails;
use flux_cluster::Cluster;
use flux_identity::Identities;
use flux_objects::{Error, Objects};
use flux_references::{Configs, ReadError};
use flux_runtime::client::{self, BearerToken, ClientError, ClientFactory};
use flux_runtime::queue::Key;
use futures::FutureExt as _;
use http::{HeaderName, HeaderValue};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::config::Kubeconfig;
use kube::{Client, Config, Resource};

use crate::kubeconfig::{KubeConfigError, sanitized};
use crate::remote::{self, Description, Finder, RemoteError};
use crate::{KubeConfigFlags, authorities};

/// Limit on cached identities. Beyond it the whole cache is cleared.
const MAX_IDENTITIES: usize = 256;
/// How long it is taken for granted where a cloud's cluster is: as long as a token for EKS holds.
const DESCRIBED: Duration = Duration::from_mins(15);

/// On whose behalf an object acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// The namespace of the object.
    pub namespace: String,
    /// The ServiceAccount in that namespace to impersonate; `None` for the controller's own identity.
    pub account: Option<String>,
}

impl Tenant {
    /// The tenant of an object in `namespace` whose spec names the ServiceAccount `named`; `default` is the process's
    /// `--default-service-account`. Empty names count as none (RT-ACL-005, RT-ACL-006).
    pub fn new(namespace: &str, named: Option<&str>, default: &str) -> Self {
        let mut accounts = [named, Some(default)].into_iter().flatten();
        let account = accounts.find(|name| !name.is_empty());
        Self {
            namespace: namespace.to_owned(),
            account: account.map(str::to_owned),
        }
    }
}

/// Creates clusters by identity. They share discovery data, and clients are cached: upstream creates both for every run
/// (KC-REMOTE-005).
pub struct Clusters {
    own: Cluster,
    client: Client,
    config: Config,
    factory: ClientFactory,
    field_manager: String,
    impersonating: Mutex<HashMap<String, Cluster>>,
    remotes: Option<Remotes>,
    /// The clusters of kubeconfigs, by what refers to them, each with the digest of what it was made from.
    remote: Mutex<HashMap<String, (blake3::Hash, Cluster)>>,
    /// Where the clusters of ConfigMaps are, each with the digest of the entries and when it was found out.
    described: Mutex<HashMap<String, (blake3::Hash, Instant, ClusterDetails)>>,
}

/// What is needed to reach clusters other than the controller's own.
pub struct Remotes {
    /// Reads the Secrets and ConfigMaps that describe clusters.
    pub configs: Configs,
    /// Obtains tokens. Its default account is that of `--default-kubeconfig-service-account`.
    pub identities: Identities,
    /// What kubeconfigs may have.
    pub flags: KubeConfigFlags,
}

/// The cluster that an object acts on.
#[derive(Clone)]
pub struct Acting {
    /// The cluster, with the identity of the object's tenant.
    pub cluster: Cluster,
    /// Changes with the cluster and with the credentials for it; empty for the controller's own cluster.
    pub version: String,
}

/// Why no cluster could be created.
#[derive(Debug, thiserror::Error)]
pub enum ActingError {
    /// The user name is not a valid header value. The text is Go's.
    #[error("net/http: invalid header field value for \"Impersonate-User\"")]
    User,
    /// There is no client for the identity.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The Secret with the kubeconfig cannot be read (RT-ACL-011).
    #[error("unable to read KubeConfig secret '{secret}' error")]
    Secret {
        /// Namespace and name.
        secret: Key,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// The Secret has no kubeconfig (RT-ACL-010).
    #[error("KubeConfig secret '{secret}' does not contain a '{key}' key with a kubeconfig")]
    NoKey {
        /// Namespace and name.
        secret: Key,
        /// The key.
        key: String,
    },
    /// The kubeconfig cannot be used (RT-ACL-020).
    #[error("invalid KubeConfig in secret '{secret}'")]
    KubeConfig {
        /// Namespace and name.
        secret: Key,
        /// Why.
        #[source]
        source: KubeConfigError,
    },
    /// The ConfigMap that describes the cluster cannot be read (KC-REMOTE-010).
    #[error("failed to get configmap {map}")]
    ConfigMap {
        /// Namespace and name.
        map: Key,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// The cluster that the ConfigMap describes cannot be reached.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The client was not made before the process ended.
    #[error("the client of the remote cluster could not be created")]
    Interrupted,
    /// The cluster's certificate authorities contain no certificate (HC-REMOTE-009).
    #[error("{0}")]
    Authorities(&'static str),
    /// The reference names neither a Secret nor a ConfigMap.
    #[error(
        "invalid .spec.kubeConfig, neither .spec.kubeConfig.provider nor .spec.kubeConfig.secretRef is set"
    )]
    NoReference,
}

/// A client configuration that impersonates `user`. As Go does, it allows non-ASCII names, which `auth_info.impersonate`
/// does not; the server rejects them as unknown users.
fn impersonating(mut config: Config, user: &str) -> Result<Config, ActingError> {
    let value = HeaderValue::from_bytes(user.as_bytes()).map_err(|_| ActingError::User)?;
    let name = HeaderName::from_static("impersonate-user");
    config.headers.push((name, value));
    Ok(config)
}

impl Clusters {
    /// The cluster behind `config`, where objects are applied under the name `field_manager`. `client` has the controller's
    /// own identity; `factory` creates those of others.
    pub fn new(
        client: Client,
        config: Config,
        factory: ClientFactory,
        field_manager: &str,
    ) -> Self {
        let own = Cluster::new(client.clone(), field_manager);
        Self {
            own,
            client,
            config,
            factory,
            field_manager: field_manager.to_owned(),
            impersonating: Mutex::default(),
            remotes: None,
            remote: Mutex::default(),
            described: Mutex::default(),
        }
    }

    /// The same, with clusters that kubeconfigs and ConfigMaps describe.
    #[must_use]
    pub fn reaching(self, remotes: Remotes) -> Self {
        Self {
            remotes: Some(remotes),
            ..self
        }
    }

    /// The controller's own cluster, with its own identity.
    pub fn own(&self) -> &Cluster {
        &self.own
    }

    /// The cluster that `object` acts on, with the tenant's identity: that of the reference, or the controller's own
    /// (KC-REMOTE-001 to KC-REMOTE-005).
    ///
    /// A cluster is kept as long as what describes it stays the same, which is read anew at each use.
    ///
    /// # Errors
    /// What the reference names cannot be read or used, or there is no client.
    pub async fn of<K>(
        &self,
        object: &Arc<K>,
        tenant: &Tenant,
        reference: Option<&KubeConfigReference>,
    ) -> Result<Acting, ActingError>
    where
        K: Resource<DynamicType = ()> + Send + Sync + 'static,
    {
        let (Some(reference), Some(remotes)) = (reference, &self.remotes) else {
            return Ok(Acting {
                cluster: self.acting_for(tenant)?,
                version: String::new(),
            });
        };
        if let Some(named) = &reference.secret_ref {
            let secret = Key::new(&*tenant.namespace, &*named.name);
            let text = remotes.kubeconfig(&secret, named.key.as_deref()).await?;
            let of = format!("Secret/{secret}");
            let digest = blake3::hash(&text);
            let kubeconfig = || {
                let read = sanitized(&text, &remotes.flags);
                read.map_err(|source| ActingError::KubeConfig { secret, source })
            };
            return self.remote(tenant, of, digest, kubeconfig, None).await;
        }
        let Some(named) = &reference.config_map_ref else {
            return Err(ActingError::NoReference);
        };
        let map = Key::new(&*tenant.namespace, &*named.name);
        let read = remotes.configs.config_maps.get(&map).await;
        let read = read.map_err(|source| ActingError::ConfigMap {
            map: map.clone(),
            source,
        })?;
        let empty = std::collections::BTreeMap::new();
        let data = read.data.as_ref().unwrap_or(&empty);
        let finder = Finder {
            client: self.client.clone(),
            identities: remotes.identities.clone(),
            object: object.clone(),
            description: Description::of(data)?,
        };
        // The tokens are counted for the object.
        let owner = Key::of(&**object);
        let of = format!("ConfigMap/{map} {}/{owner}", K::kind(&()));
        let entries = serde_json::to_vec(data).unwrap_or_default();
        let details = self.described(&of, blake3::hash(&entries), &finder).await?;
        let entries = serde_json::to_vec(&(data, &details.address, &details.ca));
        let digest = blake3::hash(&entries.unwrap_or_default());
        let token = BearerToken::new(move || {
            let finder = finder.clone();
            async move { Ok(finder.token().await?) }.boxed()
        });
        let kubeconfig = || {
            let made = remote::kubeconfig(&details);
            made.map_err(|problem| ClientError::Kubeconfig(problem).into())
        };
        self.remote(tenant, of, digest, kubeconfig, Some(token))
            .await
    }

    /// Where the cluster of a ConfigMap is. Clouds are asked again if the entries, whose digest this is, have changed, and
    /// after a while.
    async fn described<K: Resource<DynamicType = ()> + Send + Sync>(
        &self,
        of: &str,
        digest: blake3::Hash,
        finder: &Finder<K>,
    ) -> Result<ClusterDetails, ActingError> {
        let known = || {
            self.described
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        let found = known().get(of).cloned();
        if let Some((made_from, since, details)) = found
            && made_from == digest
            && since.elapsed() < DESCRIBED
        {
            finder.token().await?;
            return Ok(details);
        }
        let details = finder.find().await?;
        let mut known = known();
        if known.len() >= MAX_IDENTITIES {
            known.clear();
        }
        known.insert(of.to_owned(), (digest, Instant::now(), details.clone()));
        Ok(details)
    }

    /// The cluster of a kubeconfig, made anew if its digest has changed.
    async fn remote(
        &self,
        tenant: &Tenant,
        of: String,
        digest: blake3::Hash,
        kubeconfig: impl FnOnce() -> Result<Kubeconfig, ActingError>,
        token: Option<BearerToken>,
    ) -> Result<Acting, ActingError> {
        let user = tenant.account.as_ref();
        let user = user.map(|name| format!("system:serviceaccount:{}:{name}", tenant.namespace));
        let name = format!("{of} {}", user.as_deref().unwrap_or_default());
        let known = || self.remote.lock().unwrap_or_else(PoisonError::into_inner);
        let acting = |cluster: &Cluster| Acting {
            cluster: cluster.clone(),
            version: digest.to_hex().to_string(),
        };
        if let Some((made_from, cluster)) = known().get(&name)
            && *made_from == digest
        {
            return Ok(acting(cluster));
        }
        let kubeconfig = kubeconfig()?;
        authorities::check(&kubeconfig).map_err(ActingError::Authorities)?;
        let mut config = client::from_kubeconfig(kubeconfig).await?;
        // Without impersonation, as upstream.
        let factory = self.factory.remote(&config).await;
        if let Some(user) = &user {
            config = impersonating(config, user)?;
        }
        let client = if let Some(token) = token {
            factory.client_with_tokens(config, token)?
        } else {
            // A command of the kubeconfig, if there may be one, runs while the client is made.
            let making = tokio::task::spawn_blocking(move || factory.client(config));
            making.await.map_err(|_| ActingError::Interrupted)??
        };
        let cluster = Cluster::new(client, &self.field_manager);
        let mut known = known();
        if known.len() >= MAX_IDENTITIES {
            known.clear();
        }
        known.insert(name, (digest, cluster.clone()));
        Ok(acting(&cluster))
    }

    /// The cluster with the tenant's identity (KC-REMOTE-001, KC-REMOTE-002, HC-REMOTE-002).
    ///
    /// # Errors
    /// The name of the account cannot be sent, or there is no client.
    pub fn acting_for(&self, tenant: &Tenant) -> Result<Cluster, ActingError> {
        let Some(account) = &tenant.account else {
            return Ok(self.own.clone());
        };
        let user = format!("system:serviceaccount:{}:{account}", tenant.namespace);
        let mut known = self
            .impersonating
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(cluster) = known.get(&user) {
            return Ok(cluster.clone());
        }
        if known.len() >= MAX_IDENTITIES {
            known.clear();
        }
        let config = impersonating(self.config.clone(), &user)?;
        let cluster = self.own.acting_as(self.factory.client(config)?);
        known.insert(user, cluster.clone());
        Ok(cluster)
    }

    /// Whether the ServiceAccount to impersonate exists; true without an account (RT-ACL-007, KC-PRUNE-017).
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub async fn account_exists(&self, tenant: &Tenant) -> Result<bool, Error> {
        let Some(account) = &tenant.account else {
            return Ok(true);
        };
        let client = self.client.clone();
        let accounts = Objects::<ServiceAccount>::in_namespace(client, &tenant.namespace)?;
        match accounts.get_metadata_opt(account).await {
            // Not a valid name, so there is no such account.
            Err(Error::Invalid(_)) => Ok(false),
            found => Ok(found?.is_some()),
        }
    }
}

impl Remotes {
    /// The kubeconfig in a Secret: under this key, else under `value` or `value.yaml` (RT-ACL-010).
    async fn kubeconfig(&self, secret: &Key, key: Option<&str>) -> Result<Vec<u8>, ActingError> {
        let read = self.configs.secrets.get(secret).await;
        let read = read.map_err(|source| ActingError::Secret {
            secret: secret.clone(),
            source,
        })?;
        let key = key.filter(|key| !key.is_empty());
        let keys = key.map_or_else(|| vec!["value", "value.yaml"], |key| vec![key]);
        let find = |key: &&str| read.data.as_ref()?.get(*key);
        let found = keys.iter().find_map(find);
        found
            .map(|found| found.0.clone())
            .ok_or_else(|| ActingError::NoKey {
                secret: secret.clone(),
                key: keys.first().copied().unwrap_or_default().to_owned(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impersonation_sends_exactly_one_header() {
        // KC-REMOTE-001
        let config = || Config::new("http://127.0.0.1:1".parse().unwrap());
        for user in [
            "system:serviceaccount:a:b",
            "system:serviceaccount:a:?watch=true/../é",
        ] {
            let headers = impersonating(config(), user).unwrap().headers;
            assert_eq!(headers.len(), 1);
            assert_eq!(headers[0].0.as_str(), "impersonate-user");
            assert_eq!(headers[0].1.as_bytes(), user.as_bytes());
        }
        for user in ["a\nImpersonate-Group: system:masters", "a\r", "a\0"] {
            let refused = impersonating(config(), user).unwrap_err();
            assert!(refused.to_string().contains("Impersonate-User"), "{user:?}");
        }
    }

    #[test]
    fn the_service_account_of_the_object_precedes_the_default() {
        // RT-ACL-005, RT-ACL-006, KC-REMOTE-001
        let account = |named, default| Tenant::new("apps", named, default).account;
        assert_eq!(account(Some("own"), "default").as_deref(), Some("own"));
        assert_eq!(account(Some(""), "default").as_deref(), Some("default"));
        assert_eq!(account(None, "default").as_deref(), Some("default"));
        assert_eq!(account(None, ""), None);
    }
}
