//! The cluster with the identity that a Kustomization acts under (KC-REMOTE-001, KC-REMOTE-002).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use flux_api::kustomize::Kustomization;
use flux_apply::Cluster;
use flux_objects::{Error, Objects};
use flux_runtime::client::{ClientError, ClientFactory};
use http::{HeaderName, HeaderValue};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Client, Config, ResourceExt};

/// Identities that are remembered; beyond that all are made anew.
const MAX_IDENTITIES: usize = 256;

/// Makes clusters by identity. What is known of the kinds is shared between them, and clients are kept: upstream makes
/// both for every run (KC-REMOTE-005).
pub(crate) struct Clusters {
    own: Cluster,
    client: Client,
    config: Config,
    factory: ClientFactory,
    impersonating: Mutex<HashMap<String, Cluster>>,
}

/// The ServiceAccount that a Kustomization acts as, if any.
pub(crate) fn account(object: &Kustomization, default: &str) -> Option<String> {
    let named = object
        .spec
        .service_account_name
        .as_deref()
        .filter(|name| !name.is_empty());
    named
        .or(Some(default).filter(|name| !name.is_empty()))
        .map(str::to_owned)
}

/// Why there is no cluster to act on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ActingError {
    /// No request can carry the name of this user. The text is Go's.
    #[error("net/http: invalid header field value for \"Impersonate-User\"")]
    User,
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// The configuration with which a client acts as `user`. As Go's, it lets through what is not ASCII, which
/// `auth_info.impersonate` does not; the server finds that there is no such user.
fn impersonating(mut config: Config, user: &str) -> Result<Config, ActingError> {
    let value = HeaderValue::from_bytes(user.as_bytes()).map_err(|_| ActingError::User)?;
    let name = HeaderName::from_static("impersonate-user");
    config.headers.push((name, value));
    Ok(config)
}

impl Clusters {
    pub(crate) fn new(client: Client, config: Config, factory: ClientFactory) -> Self {
        let own = Cluster::new(client.clone(), super::FIELD_MANAGER);
        Self {
            own,
            client,
            config,
            factory,
            impersonating: Mutex::default(),
        }
    }

    /// The cluster, with the controller's own identity or that of a ServiceAccount in the object's namespace.
    pub(crate) fn acting_as(
        &self,
        object: &Kustomization,
        default: &str,
    ) -> Result<Cluster, ActingError> {
        let Some(account) = account(object, default) else {
            return Ok(self.own.clone());
        };
        let user = format!(
            "system:serviceaccount:{}:{account}",
            object.namespace().unwrap_or_default()
        );
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

    /// Whether the ServiceAccount to act as is there; none is needed where none is named (RT-ACL-007, KC-PRUNE-017).
    pub(crate) async fn account_exists(
        &self,
        object: &Kustomization,
        default: &str,
    ) -> Result<bool, Error> {
        let Some(account) = account(object, default) else {
            return Ok(true);
        };
        let namespace = object.namespace().unwrap_or_default();
        let accounts = Objects::<ServiceAccount>::in_namespace(self.client.clone(), &namespace)?;
        match accounts.get_metadata_opt(&account).await {
            // No account can have this name.
            Err(Error::Invalid(_)) => Ok(false),
            found => Ok(found?.is_some()),
        }
    }
}

#[cfg(test)]
mod tests {
    use flux_api::kustomize::KustomizationSpec;

    use super::*;

    #[test]
    fn the_user_is_one_header_or_none() {
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
    fn the_objects_own_account_comes_first() {
        // RT-ACL-005, RT-ACL-006, KC-REMOTE-001, KC-REMOTE-002
        let object = |name: Option<&str>| {
            let service_account_name = name.map(str::to_owned);
            Kustomization::new(
                "apps",
                KustomizationSpec {
                    service_account_name,
                    ..KustomizationSpec::default()
                },
            )
        };
        assert_eq!(
            account(&object(Some("own")), "default").as_deref(),
            Some("own")
        );
        assert_eq!(
            account(&object(Some("")), "default").as_deref(),
            Some("default")
        );
        assert_eq!(account(&object(None), ""), None);
    }
}
