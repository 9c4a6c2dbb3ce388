//! Access between namespaces (RT-ACL-001..004).

use std::collections::BTreeMap;

use flux_runtime::queue::Key;

/// The kind of which objects may be referred to only if the gate of the same name is on.
const GATED: &str = "ExternalArtifact";

/// The rules of the process on which objects may be referred to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Whether references to other namespaces are refused (`--no-cross-namespace-refs`).
    pub no_cross_namespace: bool,
    /// Whether ExternalArtifacts may be referred to (the gate `ExternalArtifact`).
    pub external_artifacts: bool,
}

impl Access {
    /// Checks a reference from an object in the namespace `from` to the object `key` of `kind` (RT-ACL-001, KC-SRC-004,
    /// KC-SRC-005, HC-CHART-015).
    ///
    /// # Errors
    /// The reference is not allowed.
    pub fn check(self, from: &str, kind: &str, key: &Key) -> Result<(), AccessDenied> {
        if self.no_cross_namespace && key.namespace != from {
            return Err(AccessDenied::CrossNamespace {
                kind: kind.to_owned(),
                key: key.clone(),
            });
        }
        if kind == GATED && !self.external_artifacts {
            return Err(AccessDenied::GateDisabled { key: key.clone() });
        }
        Ok(())
    }
}

/// Checks whether `accessFrom` of the object `namespace/name` admits a referrer in a namespace with the given labels
/// (RT-ACL-002). One matching selector is enough, an empty selector matches all; without any selector access is denied.
///
/// # Errors
/// No selector admits the referrer.
pub fn check_access_from(
    (namespace, name): (&str, &str),
    selectors: Option<&[BTreeMap<String, String>]>,
    (from, labels): (&str, &BTreeMap<String, String>),
) -> Result<(), AccessDenied> {
    if namespace == from {
        return Ok(()); // RT-ACL-003
    }
    let object = format!("{namespace}/{name}");
    let selectors = selectors.ok_or_else(|| AccessDenied::NoAccessFrom {
        object: object.clone(),
    })?;
    let matches = |selector: &BTreeMap<String, String>| {
        selector
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
    };
    if selectors.iter().any(matches) {
        Ok(())
    } else {
        Err(AccessDenied::LabelMismatch {
            object,
            namespace: from.to_owned(),
        })
    }
}

/// Why a reference is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessDenied {
    /// References to other namespaces are disabled for the whole controller.
    #[error("can't access '{kind}/{key}', cross-namespace references have been blocked")]
    CrossNamespace {
        /// Kind of the referenced object.
        kind: String,
        /// Namespace and name of the referenced object.
        key: Key,
    },
    /// References to ExternalArtifacts need the gate of this name.
    #[error("can't access '{GATED}/{key}', {GATED} feature gate is disabled")]
    GateDisabled {
        /// Namespace and name of the referenced object.
        key: Key,
    },
    /// The object's `accessFrom` has no selectors.
    #[error("'{object}' can't be accessed due to missing ACL labels on 'accessFrom'")]
    NoAccessFrom {
        /// The object as `namespace/name`.
        object: String,
    },
    /// No selector of the object matches the referrer's namespace.
    #[error("'{object}' can't be accessed due to ACL labels mismatch on namespace '{namespace}'")]
    LabelMismatch {
        /// The object as `namespace/name`.
        object: String,
        /// The referrer's namespace.
        namespace: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cross_namespace_references_can_be_blocked() {
        // RT-ACL-001, KC-SRC-004
        let source = Key::new("infra", "repo");
        let check = |no_cross_namespace, from: &str| {
            let access = Access {
                no_cross_namespace,
                ..Access::default()
            };
            access.check(from, "GitRepository", &source)
        };
        assert_eq!(check(false, "apps"), Ok(()));
        assert_eq!(check(true, "infra"), Ok(()));
        assert_eq!(
            check(true, "apps").unwrap_err().to_string(),
            "can't access 'GitRepository/infra/repo', cross-namespace references have been blocked"
        );
    }

    #[test]
    fn external_artifacts_need_their_gate() {
        // KC-SRC-005, KC-PROC-035
        let key = Key::new("apps", "repo");
        let check = |external_artifacts, kind: &str| {
            let access = Access {
                external_artifacts,
                ..Access::default()
            };
            access.check("apps", kind, &key)
        };
        assert_eq!(check(true, "ExternalArtifact"), Ok(()));
        assert_eq!(check(false, "Bucket"), Ok(()));
        assert_eq!(
            check(false, "ExternalArtifact").unwrap_err().to_string(),
            "can't access 'ExternalArtifact/apps/repo', ExternalArtifact feature gate is disabled"
        );
    }

    #[test]
    fn access_from_is_an_or_over_selectors() {
        // RT-ACL-002, RT-ACL-003
        let labels = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
        let wants = |team: &str| BTreeMap::from([("team".to_owned(), team.to_owned())]);
        let check = |selectors: Option<&[_]>, from| {
            check_access_from(("infra", "repo"), selectors, (from, &labels))
        };
        assert!(check(None, "infra").is_ok());
        assert_eq!(
            check(None, "apps").unwrap_err().to_string(),
            "'infra/repo' can't be accessed due to missing ACL labels on 'accessFrom'"
        );
        assert!(check(Some(&[wants("b"), wants("a")]), "apps").is_ok());
        assert!(check(Some(&[BTreeMap::new()]), "apps").is_ok());
        assert_eq!(
            check(Some(&[wants("b")]), "apps").unwrap_err().to_string(),
            "'infra/repo' can't be accessed due to ACL labels mismatch on namespace 'apps'"
        );
    }
}
