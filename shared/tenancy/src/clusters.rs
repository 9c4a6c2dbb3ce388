//! The cluster that an object acts on, with the identity that it acts under.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use flux_cluster::Cluster;
use flux_objects::{Error, Objects};
use flux_runtime::client::{ClientError, ClientFactory};
use http::{HeaderName, HeaderValue};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Client, Config};

/// Limit on cached identities. Beyond it the whole cache is cleared.
const MAX_IDENTITIES: usize = 256;

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
    impersonating: Mutex<HashMap<String, Cluster>>,
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
            impersonating: Mutex::default(),
        }
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
