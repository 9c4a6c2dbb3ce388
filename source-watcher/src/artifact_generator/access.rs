//! Asks whether an account may write the artifacts that a generator makes on its behalf.

use std::collections::BTreeSet;

use flux_api::extensions::ArtifactGenerator;
use flux_runtime::queue::Key;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt as _};

use super::policy::Policy;

/// What server-side apply needs.
const VERBS: [&str; 2] = ["create", "patch"];

/// Why artifacts cannot be made in a namespace.
#[derive(Debug, thiserror::Error)]
pub(super) enum AccessError {
    /// The account lacks the right (SW-GEN-208).
    #[error(
        "service account {account} is not allowed to {verb} externalartifacts in namespace {namespace}"
    )]
    Denied {
        account: Key,
        verb: &'static str,
        namespace: String,
    },
    /// The API server could not be asked.
    #[error("failed to review the access of service account {account}")]
    Review {
        account: Key,
        #[source]
        source: kube::Error,
    },
}

/// The account that is asked for artifacts in `namespace`; `None` if the controller's own rights count (SW-GEN-208).
pub(super) fn account(object: &ArtifactGenerator, namespace: &str, policy: &Policy) -> Option<Key> {
    let own = object.namespace().unwrap_or_default();
    let named = object.spec.service_account_name.as_deref();
    let default = Some(&*policy.default_service_account).filter(|_| namespace != own);
    let mut accounts = [named, default].into_iter().flatten();
    let account = accounts.find(|name| !name.is_empty())?;
    Some(Key::new(own, account))
}

/// Checks that the account may write ExternalArtifacts in each of the namespaces.
pub(super) async fn check(
    client: &Client,
    object: &ArtifactGenerator,
    namespaces: &BTreeSet<&str>,
    policy: &Policy,
) -> Result<(), AccessError> {
    for namespace in namespaces {
        let Some(account) = account(object, namespace, policy) else {
            continue;
        };
        for verb in VERBS {
            if !is_allowed(client, &account, verb, namespace).await? {
                return Err(AccessError::Denied {
                    account,
                    verb,
                    namespace: (*namespace).to_owned(),
                });
            }
        }
    }
    Ok(())
}

async fn is_allowed(
    client: &Client,
    account: &Key,
    verb: &str,
    namespace: &str,
) -> Result<bool, AccessError> {
    let Key {
        namespace: own,
        name,
    } = account;
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(format!("system:serviceaccount:{own}:{name}")),
            groups: Some(vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{own}"),
                "system:authenticated".to_owned(),
            ]),
            resource_attributes: Some(ResourceAttributes {
                group: Some("source.toolkit.fluxcd.io".to_owned()),
                version: Some("v1".to_owned()),
                resource: Some("externalartifacts".to_owned()),
                verb: Some(verb.to_owned()),
                namespace: Some(namespace.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let reviews = Api::<SubjectAccessReview>::all(client.clone());
    let answer = reviews.create(&PostParams::default(), &review).await;
    let answer = answer.map_err(|source| AccessError::Review {
        account: account.clone(),
        source,
    })?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

#[cfg(test)]
mod tests {
    use flux_api::extensions::ArtifactGeneratorSpec;

    use super::*;

    // SW-GEN-208
    #[test]
    fn the_account_depends_on_the_spec_and_the_namespace() {
        let asked = |named: Option<&str>, default: &str, namespace: &str| {
            let spec = ArtifactGeneratorSpec {
                service_account_name: named.map(str::to_owned),
                ..ArtifactGeneratorSpec::default()
            };
            let mut object = ArtifactGenerator::new("gen", spec);
            object.metadata.namespace = Some("own".to_owned());
            let policy = Policy {
                default_service_account: default.to_owned(),
                ..Policy::default()
            };
            account(&object, namespace, &policy).map(|key| key.to_string())
        };
        for (named, default, namespace, expected) in [
            (Some("a"), "", "own", Some("own/a")),
            (Some("a"), "d", "other", Some("own/a")),
            (None, "d", "own", None),
            (None, "d", "other", Some("own/d")),
            (None, "", "other", None),
        ] {
            assert_eq!(asked(named, default, namespace).as_deref(), expected);
        }
    }
}
