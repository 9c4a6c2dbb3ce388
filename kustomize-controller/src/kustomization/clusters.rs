//! Access to the cluster with the identity that a Kustomization acts under (KC-REMOTE-001, KC-REMOTE-002).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use flux_apply::Cluster;
use flux_objects::{Error, Objects};
use flux_runtime::client::{ClientError, ClientFactory};
use http::{HeaderName, HeaderValue};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Client, Config};

use super::owner::FIELD_MANAGER;

/// Limit on cached identities. Beyond it the whole cache is cleared.
const MAX_IDENTITIES: usize = 256;

/// Creates clusters by identity. They share discovery data, and clients are cached: upstream creates both for every run
/// (KC-REMOTE-005).
pub(crate) struct Clusters {
    own: Cluster,
    client: Client,
    config: Config,
    factory: ClientFactory,
    impersonating: Mutex<HashMap<String, Cluster>>,
}

/// Why no cluster could be created.
#[derive(Debug, thiserror::Error)]
pub(super) enum ActingError {
    /// The user name is not a valid header value. The text is Go's.
    #[error("net/http: invalid header field value for \"Impersonate-User\"")]
    User,
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
    pub(crate) fn new(client: Client, config: Config, factory: ClientFactory) -> Self {
        let own = Cluster::new(client.clone(), FIELD_MANAGER);
        Self {
            own,
            client,
            config,
            factory,
            impersonating: Mutex::default(),
        }
    }

    /// The cluster with the identity of a ServiceAccount in `namespace`, or with the controller's own for `None`.
    pub(super) fn acting_as(
        &self,
        namespace: &str,
        account: Option<&str>,
    ) -> Result<Cluster, ActingError> {
        let Some(account) = account else {
            return Ok(self.own.clone());
        };
        let user = format!("system:serviceaccount:{namespace}:{account}");
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
    pub(super) async fn account_exists(
        &self,
        namespace: &str,
        account: Option<&str>,
    ) -> Result<bool, Error> {
        let Some(account) = account else {
            return Ok(true);
        };
        let accounts = Objects::<ServiceAccount>::in_namespace(self.client.clone(), namespace)?;
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
}
