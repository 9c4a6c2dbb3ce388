//! The variables of post-build substitution (KC-SUB-004..011).

use std::collections::BTreeMap;

use flux_api::kustomize::KustomizationSpec;
use flux_budget::{Claim, Exhausted};
use flux_cluster::Confidential;
use flux_kustomize::substitute::Variables;
use flux_references::{Configs, ValuesError};
use flux_runtime::queue::Key;
use sha2::{Digest, Sha256};

/// The variables of a run, with a digest to compare them by without keeping their values.
#[derive(Clone, Debug, Default)]
pub(super) struct Inputs {
    pub(super) variables: Variables,
    pub(super) digest: String,
}

impl Inputs {
    /// The values that come from Secrets: no message may show these (KC-SUB-009). Their memory is taken through `claim`.
    pub(super) fn confidential(&self, claim: &Claim) -> Result<Confidential, Exhausted> {
        let mut confidential = Confidential::default();
        for value in self.variables.secret_values() {
            claim.take(Confidential::bytes(value))?;
            confidential.add(value);
        }
        Ok(confidential)
    }
}

/// Why the variables could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum VariablesError {
    /// A reference that is not optional does not exist, or could not be read.
    #[error("substitute from '{kind}/{name}' error")]
    Reference {
        kind: String,
        name: String,
        #[source]
        source: ValuesError,
    },
}

impl VariablesError {
    /// The memory error, if that is why they could not be read.
    pub(super) fn memory(&self) -> Option<Exhausted> {
        match self {
            Self::Reference {
                source: ValuesError::Memory(exhausted),
                ..
            } => Some(*exhausted),
            Self::Reference { .. } => None,
        }
    }
}

/// Reads the variables of a Kustomization, once for all its objects (KC-SUB-011), with the controller's own identity
/// (KC-SUB-010). Later references override earlier ones, and inline values override all. Their memory is taken through
/// `claim`, which the run holds as long as it needs them.
pub(super) async fn read(
    configs: &Configs,
    namespace: &str,
    spec: &KustomizationSpec,
    claim: &Claim,
) -> Result<Inputs, VariablesError> {
    let Some(post_build) = &spec.post_build else {
        return Ok(Inputs::default());
    };
    // Each value, and whether it comes from a Secret.
    let mut values: BTreeMap<String, (Vec<u8>, bool)> = BTreeMap::new();
    let mut reading = configs.reading(claim);
    for reference in &post_build.substitute_from {
        let key = Key::new(namespace, reference.name.as_str());
        let found = reading.values(&reference.kind, &key, reference.optional);
        let found = found.await.map_err(|source| {
            let (kind, name) = (reference.kind.as_str().to_owned(), reference.name.clone());
            VariablesError::Reference { kind, name, source }
        })?;
        if let Some(found) = found {
            let entries = found.entries.into_iter();
            values.extend(entries.map(|(name, value)| (name, (value, found.is_secret))));
        }
    }
    let inline = post_build.substitute.clone().into_iter();
    values.extend(inline.map(|(key, value)| (key, (value.into_bytes(), false))));
    let digest = digest(values.iter().map(|(key, (value, _))| (&**key, &**value)));
    // This removes newlines from the values (KC-SUB-006).
    let mut variables = Variables::default();
    for (name, (value, secret)) in values {
        if secret {
            variables.set_secret(name, value);
        } else {
            variables.set(name, value);
        }
    }
    Ok(Inputs { variables, digest })
}

/// A digest of names and values. It includes their lengths, so that no two lists have the same input.
fn digest<'v>(values: impl Iterator<Item = (&'v str, &'v [u8])>) -> String {
    let mut hasher = Sha256::new();
    for part in values.flat_map(|(name, value)| [name.as_bytes(), value]) {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hex::encode(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use flux_budget::Budget;

    use super::*;

    // KC-SUB-009
    #[test]
    fn confidential_values_are_claimed() {
        let mut inputs = Inputs::default();
        inputs.variables.set("plain", vec![b'x'; 1 << 20]);
        inputs.variables.set_secret("small", b"hunter2-x");
        let budget = Budget::new(8 << 20);
        let claim = budget.claim();
        assert!(!inputs.confidential(&claim).unwrap().is_empty());
        assert!((1..1 << 20).contains(&claim.held()), "{}", claim.held());
        inputs.variables.set_secret("large", vec![b'x'; 1 << 20]);
        inputs.confidential(&claim).unwrap_err();
    }

    #[test]
    fn different_variables_have_different_digests() {
        let of = |values: &[(&str, &str)]| {
            digest(values.iter().map(|(name, value)| (*name, value.as_bytes())))
        };
        let lists: [&[(&str, &str)]; 6] = [
            &[],
            &[("a", "1")],
            &[("a", "2")],
            &[("b", "1")],
            &[("a", "12"), ("b", "")],
            &[("a", "1"), ("2b", "")],
        ];
        for (index, list) in lists.iter().enumerate() {
            for other in lists.get(index + 1..).unwrap_or_default() {
                assert_ne!(of(list), of(other), "{list:?} and {other:?}");
            }
            assert_eq!(of(list), of(list));
        }
    }
}
