//! The variables of post-build substitution (KC-SUB-004..011).

use std::collections::BTreeMap;

use flux_api::kustomize::Kustomization;
use flux_api::meta::ValuesKind;
use flux_kustomize::substitute::Variables;
use flux_runtime::Run;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use sha2::{Digest, Sha256};

/// The variables of a run, with a digest that tells them from others without keeping their values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inputs {
    pub(crate) variables: Variables,
    pub(crate) digest: String,
}

/// Why the variables could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VariablesError {
    /// A reference that is not optional leads nowhere, or could not be read.
    #[error("substitute from '{kind}/{name}' error")]
    Reference {
        kind: String,
        name: String,
        #[source]
        source: kube::Error,
    },
}

/// Reads the variables of a Kustomization, once for all its objects (KC-SUB-011), with the controller's own identity
/// (KC-SUB-010). Later references win, and inline values win over all.
pub(crate) async fn of(run: &Run<Kustomization>) -> Result<Inputs, VariablesError> {
    let object = run.object().clone();
    let Some(post_build) = &object.spec.post_build else {
        return Ok(Inputs::default());
    };
    let mut values: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for reference in &post_build.substitute_from {
        let found = if reference.kind == ValuesKind::Secret {
            let secrets: Api<Secret> = Api::namespaced(run.client().clone(), run.namespace());
            secrets.get(&reference.name).await.map(|secret| {
                let data = secret.data.unwrap_or_default().into_iter();
                data.map(|(key, value)| (key, value.0))
                    .collect::<BTreeMap<_, _>>()
            })
        } else {
            let maps: Api<ConfigMap> = Api::namespaced(run.client().clone(), run.namespace());
            maps.get(&reference.name).await.map(|map| {
                let data = map.data.unwrap_or_default().into_iter();
                data.map(|(key, value)| (key, value.into_bytes())).collect()
            })
        };
        match found {
            Ok(data) => values.extend(data),
            Err(kube::Error::Api(status)) if status.code == 404 && reference.optional => {}
            Err(source) => {
                let (kind, name) = (reference.kind.as_str().to_owned(), reference.name.clone());
                return Err(VariablesError::Reference { kind, name, source });
            }
        }
    }
    let inline = post_build.substitute.clone().into_iter();
    values.extend(inline.map(|(key, value)| (key, value.into_bytes())));
    let mut hasher = Sha256::new();
    for part in values
        .iter()
        .flat_map(|(key, value)| [key.as_bytes(), value])
    {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    // Newlines are taken out of the values there (KC-SUB-006).
    Ok(Inputs {
        variables: values.into_iter().collect(),
        digest: hex::encode(hasher.finalize()),
    })
}
