//! Detects Secrets that are still SOPS-encrypted.

use flux_cluster::Object;

/// Whether a Secret is still encrypted by SOPS and must not be applied: its data would be useless, and would overwrite
/// the Secret in the cluster. Call it before an object is normalised, which drops the fields that a Secret does not
/// have.
pub fn is_encrypted_secret(object: &Object) -> bool {
    object.kind() == "Secret" && object.api_version() == "v1" && object.at(&["sops"]).is_some()
}

#[cfg(test)]
mod tests {
    use flux_cluster::Object;
    use serde_json::json;

    use super::is_encrypted_secret;

    #[test]
    fn only_secrets_with_sops_metadata_are_encrypted() {
        for (object, encrypted) in [
            (
                json!({ "apiVersion": "v1", "kind": "Secret", "sops": { "mac": "x" } }),
                true,
            ),
            (
                json!({ "apiVersion": "v1", "kind": "Secret", "data": {} }),
                false,
            ),
            (
                json!({ "apiVersion": "v1", "kind": "ConfigMap", "sops": {} }),
                false,
            ),
        ] {
            assert_eq!(
                is_encrypted_secret(&Object::new(object).unwrap()),
                encrypted
            );
        }
    }
}
