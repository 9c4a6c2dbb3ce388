//! The cluster with the identity that a Kustomization acts under (KC-REMOTE-001, KC-REMOTE-002).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use flux_api::kustomize::Kustomization;
use flux_apply::Cluster;
use flux_runtime::client::{ClientError, ClientFactory};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, Client, Config, ResourceExt};

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
    ) -> Result<Cluster, ClientError> {
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
        let mut config = self.config.clone();
        config.auth_info.impersonate = Some(user.clone());
        let cluster = self.own.acting_as(self.factory.client(config)?);
        known.insert(user, cluster.clone());
        Ok(cluster)
    }

    /// Whether the ServiceAccount to act as is there; none is needed where none is named (RT-ACL-007, KC-PRUNE-017).
    pub(crate) async fn account_exists(
        &self,
        object: &Kustomization,
        default: &str,
    ) -> Result<bool, kube::Error> {
        let Some(account) = account(object, default) else {
            return Ok(true);
        };
        let namespace = object.namespace().unwrap_or_default();
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &namespace);
        Ok(accounts.get_metadata_opt(&account).await?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use flux_api::kustomize::KustomizationSpec;

    use super::*;

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
