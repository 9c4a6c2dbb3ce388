//! Features of the API that this controller does not implement. Objects that use them are refused, since applying a
//! manifest without decrypting it, or to the wrong cluster, is worse than not applying it.

use flux_api::kustomize::Kustomization;

/// A field of the spec that is not supported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unsupported {
    /// KC-PROC-064
    #[error(
        "to use spec.decryption.serviceAccountName for decryption authentication please enable the ObjectLevelWorkloadIdentity \
         feature gate in the controller"
    )]
    DecryptionIdentity,
    #[error(
        "spec.decryption is not supported by this controller yet: remove it, or keep upstream's image for this object"
    )]
    Decryption,
}

/// Refuses an object that uses an unsupported feature.
pub(super) fn refuse(object: &Kustomization, workload_identity: bool) -> Result<(), Unsupported> {
    let is_set = |text: Option<&str>| text.is_some_and(|text| !text.is_empty());
    let spec = &object.spec;
    if let Some(decryption) = &spec.decryption {
        if is_set(decryption.service_account_name.as_deref()) && !workload_identity {
            return Err(Unsupported::DecryptionIdentity);
        }
        return Err(Unsupported::Decryption);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use flux_api::kustomize::{Decryption, KustomizationSpec};

    use super::*;

    #[test]
    fn unsupported_fields_are_refused() {
        // KC-PROC-064
        let decryption = Decryption {
            service_account_name: Some("sops".into()),
            ..Decryption::default()
        };
        let decrypting = Kustomization::new(
            "apps",
            KustomizationSpec {
                decryption: Some(decryption),
                ..KustomizationSpec::default()
            },
        );
        assert_eq!(
            refuse(&decrypting, false),
            Err(Unsupported::DecryptionIdentity)
        );
        assert_eq!(refuse(&decrypting, true), Err(Unsupported::Decryption));
    }
}
