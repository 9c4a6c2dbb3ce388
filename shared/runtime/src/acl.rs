//! Access between namespaces (RT-ACL-001..004).

use std::collections::BTreeMap;

/// Refuses a reference to another namespace if `--no-cross-namespace-refs` is set (RT-ACL-001).
///
/// `reference` is the kind, namespace and name of what is referred to, `from` the namespace of the referrer.
pub fn check_cross_namespace(
    blocked: bool,
    from: &str,
    (kind, namespace, name): (&str, &str, &str),
) -> Result<(), AccessDenied> {
    if blocked && namespace != from {
        return Err(AccessDenied::CrossNamespace {
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        });
    }
    Ok(())
}

/// Checks whether `accessFrom` of the object `namespace/name` admits a referrer in a namespace with the given labels
/// (RT-ACL-002). One matching selector is enough, an empty selector matches all; without any selector access is denied.
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
    #[error(
        "can't access '{kind}/{namespace}/{name}', cross-namespace references have been blocked"
    )]
    CrossNamespace {
        /// Kind of the referenced object.
        kind: String,
        /// Namespace of the referenced object.
        namespace: String,
        /// Name of the referenced object.
        name: String,
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
        let source = ("GitRepository", "infra", "repo");
        assert!(check_cross_namespace(false, "apps", source).is_ok());
        assert!(check_cross_namespace(true, "infra", source).is_ok());
        assert_eq!(
            check_cross_namespace(true, "apps", source)
                .unwrap_err()
                .to_string(),
            "can't access 'GitRepository/infra/repo', cross-namespace references have been blocked"
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
