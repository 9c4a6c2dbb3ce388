//! `.Capabilities`: the versions of Helm and of the cluster, and the kinds that the cluster serves.

use crate::text::quote;

/// The value of `.Capabilities` in templates: the versions of the cluster and of Helm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The version of Kubernetes.
    pub kube_version: KubeVersion,
    /// `v1`, `apps/v1`, `apps/v1/Deployment`, ... (HE-OBJ-009)
    pub api_versions: Vec<String>,
    /// The version of Helm.
    pub helm_version: HelmVersion,
}

/// The result of a cluster's discovery. It may be partial: for an API group whose server is unavailable only the versions
/// are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    /// The versions of all groups: `v1`, `apps/v1`, ...
    pub versions: Vec<String>,
    /// The kinds of the available versions, subresources included.
    pub kinds: Vec<(String, Vec<String>)>,
    /// The versions whose server is unavailable, with the errors.
    pub failed: Vec<(String, String)>,
}

impl Capabilities {
    /// The capabilities of a cluster, and the warnings that Helm would log for partial discovery (HE-OBJ-010). The API
    /// versions are sorted; upstream's order is random.
    pub fn of_cluster(kube_version: KubeVersion, discovery: &Discovery) -> (Self, Vec<String>) {
        let mut warnings = Vec::new();
        if !discovery.failed.is_empty() {
            let failed = discovery.failed.iter();
            let failed: Vec<_> = failed
                .map(|(version, why)| format!("{version}: {why}"))
                .collect();
            warnings.push(format!(
                "the kubernetes server has an orphaned API service: unable to retrieve the complete list of server APIs: {}",
                failed.join(", ")
            ));
            warnings.push("to fix this, kubectl delete apiservice <service-name>".to_owned());
        }
        let mut known = Self {
            kube_version,
            ..Self::default()
        };
        if !(discovery.versions.is_empty() && discovery.kinds.is_empty()) {
            let kinds = discovery.kinds.iter().flat_map(|(version, kinds)| {
                let kinds = kinds.iter();
                kinds.map(move |kind| format!("{version}/{kind}"))
            });
            let all: std::collections::BTreeSet<_> =
                discovery.versions.iter().cloned().chain(kinds).collect();
            known.api_versions = all.into_iter().collect();
        }
        (known, warnings)
    }
}

/// The version of Kubernetes (HE-OBJ-008).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KubeVersion {
    /// The full version, such as `v1.33.4-gke.1245000`.
    pub version: String,
    /// For comparison with ranges, such as `v1.33.4`; empty if the full version is compared.
    pub normalized: String,
    /// `1`
    pub major: String,
    /// `33`, possibly followed by `+`.
    pub minor: String,
}

/// The version of Helm (HE-OBJ-011).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelmVersion {
    /// `v4.3`, the value in a library of that version.
    pub version: String,
    /// Empty in a library.
    pub git_commit: String,
    /// Empty in a library.
    pub git_tree_state: String,
    /// The Go version of the corresponding Helm.
    pub go_version: String,
    /// The client-go version of the corresponding Helm.
    pub kube_client_version: String,
}

/// The text is not a version of Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KubeVersionError {
    /// It does not begin with a number.
    #[error("could not parse {} as version", quote(.0))]
    NotAVersion(String),
    /// It has only one number.
    #[error("illegal version string {}", quote(.0))]
    TooShort(String),
    /// A number has a leading zero.
    #[error("illegal zero-prefixed version component {} in {}", quote(.component), quote(.text))]
    ZeroPrefixed {
        /// The number.
        component: String,
        /// The text.
        text: String,
    },
    /// A number is too large.
    #[error("illegal non-numeric version component {} in {}: strconv.ParseUint: parsing {}: value out of range", quote(.component), quote(.text), quote(.component))]
    TooLarge {
        /// The number.
        component: String,
        /// The text.
        text: String,
    },
}

impl KubeVersion {
    /// Parses the argument of `--kube-version`: two or more numbers, optionally after a `v` and followed by any text.
    pub fn parse(text: &str) -> Result<Self, KubeVersionError> {
        let trimmed = text.trim_start_matches([' ', '\t', '\n', '\x0c', '\r']);
        let numbers = trimmed.strip_prefix('v').unwrap_or(trimmed);
        let end = numbers
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(numbers.len());
        let (numbers, _) = numbers.split_at(end);
        let components: Vec<&str> = numbers.split('.').take_while(|c| !c.is_empty()).collect();
        match components.len() {
            0 => return Err(KubeVersionError::NotAVersion(text.to_owned())),
            1 => return Err(KubeVersionError::TooShort(text.to_owned())),
            _ => {}
        }
        for component in &components {
            let (component, text) = ((*component).to_owned(), text.to_owned());
            if component.len() > 1 && component.starts_with('0') {
                return Err(KubeVersionError::ZeroPrefixed { component, text });
            }
            if component.parse::<u64>().is_err() {
                return Err(KubeVersionError::TooLarge { component, text });
            }
        }
        let v = if text.starts_with('v') { "" } else { "v" };
        Ok(Self {
            version: format!("{v}{text}"),
            normalized: format!("v{}", components.join(".")),
            major: components.first().copied().unwrap_or_default().to_owned(),
            minor: components.get(1).copied().unwrap_or_default().to_owned(),
        })
    }

    /// The version to compare with ranges.
    pub fn comparable(&self) -> &str {
        if self.normalized.is_empty() {
            &self.version
        } else {
            &self.normalized
        }
    }
}

impl Default for HelmVersion {
    fn default() -> Self {
        Self {
            version: "v4.3".to_owned(),
            git_commit: String::new(),
            git_tree_state: String::new(),
            go_version: "go1.26.8".to_owned(),
            kube_client_version: "v1.37".to_owned(),
        }
    }
}

/// Helm's values without a cluster: the Kubernetes version of its client, and the API versions known to that.
impl Default for Capabilities {
    fn default() -> Self {
        let version = "v1.37.0".to_owned();
        Self {
            kube_version: KubeVersion {
                normalized: version.clone(),
                version,
                major: "1".to_owned(),
                minor: "37".to_owned(),
            },
            api_versions: KNOWN_API_VERSIONS.iter().map(|v| (*v).to_owned()).collect(),
            helm_version: HelmVersion::default(),
        }
    }
}

const KNOWN_API_VERSIONS: [&str; 57] = [
    "v1",
    "admissionregistration.k8s.io/v1",
    "admissionregistration.k8s.io/v1alpha1",
    "admissionregistration.k8s.io/v1beta1",
    "internal.apiserver.k8s.io/v1alpha1",
    "apps/v1",
    "apps/v1beta1",
    "apps/v1beta2",
    "authentication.k8s.io/v1",
    "authentication.k8s.io/v1alpha1",
    "authentication.k8s.io/v1beta1",
    "authorization.k8s.io/v1",
    "authorization.k8s.io/v1beta1",
    "autoscaling/v1",
    "autoscaling/v2",
    "batch/v1",
    "batch/v1beta1",
    "certificates.k8s.io/v1",
    "certificates.k8s.io/v1beta1",
    "certificates.k8s.io/v1alpha1",
    "coordination.k8s.io/v1alpha2",
    "coordination.k8s.io/v1beta1",
    "coordination.k8s.io/v1",
    "discovery.k8s.io/v1",
    "discovery.k8s.io/v1beta1",
    "events.k8s.io/v1",
    "events.k8s.io/v1beta1",
    "extensions/v1beta1",
    "flowcontrol.apiserver.k8s.io/v1",
    "flowcontrol.apiserver.k8s.io/v1beta1",
    "flowcontrol.apiserver.k8s.io/v1beta2",
    "flowcontrol.apiserver.k8s.io/v1beta3",
    "lifecycle.k8s.io/v1alpha1",
    "networking.k8s.io/v1",
    "networking.k8s.io/v1beta1",
    "node.k8s.io/v1",
    "node.k8s.io/v1alpha1",
    "node.k8s.io/v1beta1",
    "policy/v1",
    "policy/v1beta1",
    "rbac.authorization.k8s.io/v1",
    "rbac.authorization.k8s.io/v1beta1",
    "rbac.authorization.k8s.io/v1alpha1",
    "resource.k8s.io/v1",
    "resource.k8s.io/v1beta2",
    "resource.k8s.io/v1beta1",
    "resource.k8s.io/v1alpha3",
    "scheduling.k8s.io/v1alpha3",
    "scheduling.k8s.io/v1beta1",
    "scheduling.k8s.io/v1",
    "storage.k8s.io/v1beta1",
    "storage.k8s.io/v1",
    "storage.k8s.io/v1alpha1",
    "storagemigration.k8s.io/v1",
    "storagemigration.k8s.io/v1beta1",
    "apiextensions.k8s.io/v1beta1",
    "apiextensions.k8s.io/v1",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_versions_are_parsed() {
        // HE-OBJ-008
        for (text, version, normalized, minor) in [
            ("1.33", "v1.33", "v1.33", "33"),
            (
                "v1.33.4-gke.1245000",
                "v1.33.4-gke.1245000",
                "v1.33.4",
                "33",
            ),
            ("1.20.0+k3s1", "v1.20.0+k3s1", "v1.20.0", "20"),
        ] {
            let read = KubeVersion::parse(text).unwrap();
            assert_eq!(
                (
                    read.version.as_str(),
                    read.comparable(),
                    read.minor.as_str()
                ),
                (version, normalized, minor)
            );
        }
        for (text, want) in [
            ("", "could not parse \"\" as version"),
            ("abc", "could not parse \"abc\" as version"),
            ("1", "illegal version string \"1\""),
            (
                "1.02",
                "illegal zero-prefixed version component \"02\" in \"1.02\"",
            ),
        ] {
            assert_eq!(KubeVersion::parse(text).unwrap_err().to_string(), want);
        }
    }
}
