//! Object identities (KZ-ID rows).

use std::fmt;

use crate::scope::Scopes;

/// Group, version and kind. An empty part is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Gvk {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
}

/// The pseudo namespace of all cluster-scoped objects (KZ-ID-002).
pub(crate) const NO_NAMESPACE: &str = "_non_namespaceable_";

/// Splits an `apiVersion` at its first slash.
pub(crate) fn group_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

fn or<'t>(text: &'t str, absent: &'t str) -> &'t str {
    if text.is_empty() { absent } else { text }
}

impl Gvk {
    pub(crate) fn new(api_version: &str, kind: &str) -> Self {
        let (group, version) = group_version(api_version);
        Self {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
        }
    }

    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Whether every part set in `selector` equals this one's.
    pub(crate) fn is_selected(&self, selector: &Gvk) -> bool {
        let part = |want: &str, have: &str| want.is_empty() || want == have;
        part(&selector.group, &self.group)
            && part(&selector.version, &self.version)
            && part(&selector.kind, &self.kind)
    }

    /// The text by which legacy order sorts kinds of equal rank (KZ-SORT-008).
    pub(crate) fn sort_text(&self) -> String {
        format!(
            "{}_{}_{}",
            or(&self.group, "~G"),
            or(&self.version, "~V"),
            or(&self.kind, "~K")
        )
    }
}

impl fmt::Display for Gvk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{}.{}",
            or(&self.kind, "[noKind]"),
            or(&self.version, "[noVer]"),
            or(&self.group, "[noGrp]")
        )
    }
}

/// The identity of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ResId {
    pub(crate) gvk: Gvk,
    pub(crate) name: String,
    pub(crate) namespace: String,
}

/// An identity with its effective namespace: unique among the objects of a build.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key(ResId);

/// An identity with its scope: whether the object is certainly cluster-scoped is known for current identities only, not
/// for historic ones.
#[derive(Clone, Debug)]
pub(crate) struct Id {
    pub(crate) id: ResId,
    pub(crate) cluster_scoped: bool,
}

impl Id {
    pub(crate) fn current(gvk: Gvk, name: &str, namespace: &str, scopes: &Scopes) -> Self {
        let cluster_scoped = scopes.is_cluster_scoped(&gvk);
        Self {
            id: ResId {
                gvk,
                name: name.into(),
                namespace: namespace.into(),
            },
            cluster_scoped,
        }
    }

    /// The effective namespace: shared by all cluster-scoped objects, `default` if empty.
    pub(crate) fn effective_namespace(&self) -> &str {
        if self.cluster_scoped {
            NO_NAMESPACE
        } else {
            self.id.effective_namespace()
        }
    }

    pub(crate) fn key(&self) -> Key {
        Key(ResId {
            gvk: self.id.gvk.clone(),
            name: self.id.name.clone(),
            namespace: self.effective_namespace().to_owned(),
        })
    }
}

impl ResId {
    /// The effective namespace of an identity of unknown or namespaced scope.
    pub(crate) fn effective_namespace(&self) -> &str {
        or(&self.namespace, "default")
    }

    pub(crate) fn key(&self) -> Key {
        Key(ResId {
            namespace: self.effective_namespace().to_owned(),
            ..self.clone()
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for ResId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{}.{}",
            self.gvk,
            or(&self.name, "[noName]"),
            or(&self.namespace, "[noNs]")
        )
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_print_their_absent_parts() {
        // KZ-ID-001, KZ-ID-003
        let id = ResId {
            gvk: Gvk::new("apps/v1", "Deployment"),
            name: "web".into(),
            namespace: String::new(),
        };
        assert_eq!(id.to_string(), "Deployment.v1.apps/web.[noNs]");
        assert_eq!(
            ResId::default().to_string(),
            "[noKind].[noVer].[noGrp]/[noName].[noNs]"
        );
        assert_eq!(Gvk::new("a/b/c", "K").version, "b/c");
    }

    #[test]
    fn a_missing_namespace_means_default() {
        // KZ-ID-002
        let at = |namespace: &str| ResId {
            gvk: Gvk::new("v1", "ConfigMap"),
            name: "a".into(),
            namespace: namespace.into(),
        };
        assert_eq!(at("").key(), at("default").key());
        assert_ne!(at("").key(), at("other").key());
    }
}
