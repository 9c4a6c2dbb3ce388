//! Splits rendered files into manifests and hooks, and sorts them.

use std::collections::BTreeMap;

use flux_chart::decode::{self, Place};
use flux_chart::yaml::{self, YamlError};
use flux_golang::path;
use flux_yaml::Value;

use crate::hook::{Hook, HookEvent};
use crate::text;

const HOOK: &str = "helm.sh/hook";
const HOOK_WEIGHT: &str = "helm.sh/hook-weight";
const HOOK_DELETE_POLICY: &str = "helm.sh/hook-delete-policy";
const HOOK_OUTPUT_LOG_POLICY: &str = "helm.sh/hook-output-log-policy";

/// One document of a rendered file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The file's path.
    pub name: String,
    /// The document without leading white space.
    pub content: String,
    /// The fields read for sorting.
    pub head: Head,
}

/// The fields of a document that are read for sorting (HE-MAN-006).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// `apiVersion`
    pub api_version: String,
    /// `kind`
    pub kind: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.annotations`
    pub annotations: BTreeMap<String, String>,
}

/// A rendered file that is not YAML.
#[derive(Debug, thiserror::Error)]
#[error("YAML parse error on {file}")]
pub struct ManifestError {
    /// The file's path.
    pub file: String,
    /// The error of the YAML parser.
    pub source: YamlError,
}

/// An order of kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KindOrder {
    /// The order of creation (HE-MAN-009).
    Install,
    /// The order of deletion (HE-MAN-010).
    Uninstall,
}

const INSTALL_ORDER: [&str; 38] = [
    "PriorityClass",
    "Namespace",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PodSecurityPolicy",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "SecretList",
    "ConfigMap",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleList",
    "ClusterRoleBinding",
    "ClusterRoleBindingList",
    "Role",
    "RoleList",
    "RoleBinding",
    "RoleBindingList",
    "Service",
    "DaemonSet",
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "StatefulSet",
    "Job",
    "CronJob",
    "IngressClass",
    "Ingress",
    "APIService",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
];

const UNINSTALL_ORDER: [&str; 38] = [
    "ValidatingWebhookConfiguration",
    "MutatingWebhookConfiguration",
    "APIService",
    "Ingress",
    "IngressClass",
    "Service",
    "CronJob",
    "Job",
    "StatefulSet",
    "HorizontalPodAutoscaler",
    "Deployment",
    "ReplicaSet",
    "ReplicationController",
    "Pod",
    "DaemonSet",
    "RoleBindingList",
    "RoleBinding",
    "RoleList",
    "Role",
    "ClusterRoleBindingList",
    "ClusterRoleBinding",
    "ClusterRoleList",
    "ClusterRole",
    "CustomResourceDefinition",
    "PersistentVolumeClaim",
    "PersistentVolume",
    "StorageClass",
    "ConfigMap",
    "SecretList",
    "Secret",
    "ServiceAccount",
    "PodDisruptionBudget",
    "PodSecurityPolicy",
    "LimitRange",
    "ResourceQuota",
    "NetworkPolicy",
    "Namespace",
    "PriorityClass",
];

impl KindOrder {
    /// The sort key of a kind; unknown kinds come last, sorted by name (HE-MAN-008). The sort is stable.
    fn key(self, kind: &str) -> (usize, &str) {
        let kinds = match self {
            Self::Install => &INSTALL_ORDER,
            Self::Uninstall => &UNINSTALL_ORDER,
        };
        match kinds.iter().position(|known| *known == kind) {
            Some(rank) => (rank, ""),
            None => (kinds.len(), kind),
        }
    }
}

/// The hooks and the other manifests of rendered files, both sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sorted {
    /// The documents with a hook annotation.
    pub hooks: Vec<Hook>,
    /// All other documents.
    pub manifests: Vec<Manifest>,
}

/// Splits rendered files (by path) into documents and sorts them.
pub fn sort_manifests(
    files: &BTreeMap<String, String>,
    order: KindOrder,
) -> Result<Sorted, ManifestError> {
    let files = files.iter();
    sort_owned(
        files.map(|(path, text)| (path.clone(), text.clone())),
        order,
    )
}

/// As [`sort_manifests`]; a file with a single document is not copied.
pub(crate) fn sort_owned(
    files: impl IntoIterator<Item = (String, String)>,
    order: KindOrder,
) -> Result<Sorted, ManifestError> {
    let mut sorted = Sorted::default();
    for (path, mut content) in files {
        if path::base(path.as_str()).starts_with('_') || text::is_blank(&content) {
            continue;
        }
        let read = |document: &str| {
            Head::read(document.as_bytes()).map_err(|source| ManifestError {
                file: path.clone(),
                source,
            })
        };
        let documents = split_manifests(&content);
        if let [document] = *documents {
            let head = read(document)?;
            let start = document.as_ptr() as usize - content.as_ptr() as usize;
            let end = start + document.len();
            content.truncate(end);
            content.drain(..start);
            content.shrink_to_fit();
            sorted.add(&path, content, head);
            continue;
        }
        for document in documents {
            sorted.add(&path, document.to_owned(), read(document)?);
        }
    }
    sorted
        .hooks
        .sort_by(|a, b| order.key(&a.kind).cmp(&order.key(&b.kind)));
    sorted
        .manifests
        .sort_by(|a, b| order.key(&a.head.kind).cmp(&order.key(&b.head.kind)));
    Ok(sorted)
}

/// The first error that Helm reports for rendered files of which some are not UTF-8. `raw` has the bytes of those, while
/// `files` have replacement characters.
pub(crate) fn first_fault(
    files: &BTreeMap<String, String>,
    raw: &BTreeMap<String, Vec<u8>>,
) -> Option<ManifestError> {
    for (path, content) in files {
        if path::base(path.as_str()).starts_with('_') || text::is_blank(content) {
            continue;
        }
        for document in split_manifests(content) {
            let read = match raw.get(path) {
                None => Head::read(document.as_bytes()),
                Some(raw) => Head::read(&raw_document(raw, content, document)),
            };
            if let Err(source) = read {
                let file = path.clone();
                return Some(ManifestError { file, source });
            }
        }
    }
    None
}

/// The original bytes of a document of a file, before replacement characters were inserted.
pub(crate) fn raw_document(raw: &[u8], file: &str, document: &str) -> Vec<u8> {
    let start = document.as_ptr() as usize - file.as_ptr() as usize;
    let range = start..start + document.len();
    let mut bytes = Vec::with_capacity(document.len());
    let mut at = 0;
    for chunk in raw.utf8_chunks() {
        let valid = chunk.valid();
        let from = range.start.clamp(at, at + valid.len()) - at;
        let to = range.end.clamp(at, at + valid.len()) - at;
        bytes.extend_from_slice(valid.as_bytes().get(from..to).unwrap_or_default());
        at += valid.len();
        if !chunk.invalid().is_empty() {
            if range.contains(&at) {
                bytes.extend_from_slice(chunk.invalid());
            }
            at += char::REPLACEMENT_CHARACTER.len_utf8();
        }
    }
    bytes
}

impl Sorted {
    fn add(&mut self, path: &str, document: String, head: Head) {
        let Some(hook) = head.annotations.get(HOOK) else {
            self.manifests.push(Manifest {
                name: path.to_owned(),
                content: document,
                head,
            });
            return;
        };
        let events: Option<Vec<_>> = words(hook)
            .map(|word| HookEvent::from_annotation(&word))
            .collect();
        // If a word is not an event, the document is dropped altogether (HE-HOOK-002).
        let Some(events) = events else { return };
        let policies = |annotation| {
            let list = head.annotations.get(annotation).map(String::as_str);
            list.into_iter().flat_map(words).collect()
        };
        let weight = head.annotations.get(HOOK_WEIGHT);
        self.hooks.push(Hook {
            path: path.to_owned(),
            manifest: document,
            events,
            weight: weight
                .and_then(|weight| weight.parse().ok())
                .unwrap_or_default(),
            delete_policies: policies(HOOK_DELETE_POLICY),
            output_log_policies: policies(HOOK_OUTPUT_LOG_POLICY),
            name: head.name,
            kind: head.kind,
            ..Hook::default()
        });
    }
}

fn words(list: &str) -> impl Iterator<Item = String> + '_ {
    list.split(',').map(|word| word.trim().to_lowercase())
}

/// Splits a rendered file at every line that begins with `---`; the rest of that line belongs to the next document
/// (HE-MAN-003, HE-MAN-004). Blank documents are dropped.
pub fn split_manifests(file: &str) -> Vec<&str> {
    let file = text::trim_start(file);
    let mut documents = Vec::new();
    let mut start = 0;
    let mut line_start = 0;
    while let Some(rest) = file.get(line_start..) {
        if let Some(after) = rest.strip_prefix("---") {
            documents.extend(file.get(start..line_start));
            start = file.len() - after.trim_start_matches([' ', '\t']).len();
        }
        match rest.find('\n') {
            Some(end) => line_start += end + 1,
            None => break,
        }
    }
    documents.extend(file.get(start..));
    documents.retain(|document| !text::is_blank(document));
    documents
        .iter()
        .map(|document| text::trim_start(document))
        .collect()
}

impl Head {
    fn read(document: &[u8]) -> Result<Self, YamlError> {
        let wanted = |key: &str| {
            let known = ["apiVersion", "kind", "metadata"];
            known.iter().any(|known| known.eq_ignore_ascii_case(key))
        };
        let value = yaml::value_of_keys(document, wanted)?;
        let mut head = Self::default();
        let place = Place {
            owner: "SimpleHead",
            path: "",
        };
        for (field, value) in decode::fields(
            &value,
            &["apiVersion", "kind", "metadata"],
            "util.SimpleHead",
        )? {
            match field {
                "apiVersion" => decode::text(&mut head.api_version, place, field, value)?,
                "kind" => decode::text(&mut head.kind, place, field, value)?,
                _ => head.read_metadata(value)?,
            }
        }
        Ok(head)
    }

    fn read_metadata(&mut self, value: &Value) -> Result<(), YamlError> {
        const TYPE: &str = "struct { Name string \"json:\\\"name\\\"\"; Annotations map[string]string \"json:\\\"annotations\\\"\" }";
        if !matches!(value, Value::Map(_) | Value::Null) {
            let place = Place {
                owner: "SimpleHead",
                path: "",
            };
            return Err(place.mismatch("metadata", value, TYPE));
        }
        let place = Place {
            owner: "",
            path: "metadata",
        };
        for (field, value) in decode::fields(value, &["name", "annotations"], TYPE)? {
            match field {
                "name" => decode::text(&mut self.name, place, field, value)?,
                _ => decode::text_map(&mut self.annotations, place, field, value)?,
            }
        }
        Ok(())
    }
}

/// The manifests in the format of the release record (HE-MAN-012).
pub fn join_manifests<'m>(manifests: impl IntoIterator<Item = &'m Manifest>) -> String {
    let mut joined = String::new();
    for manifest in manifests {
        push_manifest(&mut joined, &manifest.name, &manifest.content);
    }
    joined
}

/// Appends one document, with a comment that names its source.
pub(crate) fn push_manifest(into: &mut String, name: &str, content: &str) {
    into.push_str("---\n# Source: ");
    into.push_str(name);
    into.push('\n');
    into.push_str(content);
    into.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_split_at_document_separators() {
        // HE-MAN-003 HE-MAN-004
        for (file, want) in [
            ("", vec![]),
            ("\n---\n---\n \n", vec![]),
            ("---\na: 1\n---\n\nb: 2\n\n", vec!["a: 1\n", "b: 2\n\n"]),
            // FR-H-005
            (
                "---apiVersion: v1\n--- \t# c\nb",
                vec!["apiVersion: v1\n", "# c\nb"],
            ),
            ("a: |\n  ---\n---\nb", vec!["a: |\n  ---\n", "b"]),
            ("a\r\n---\r\nb\r\n", vec!["a\r\n", "b\r\n"]),
            ("a: ---\n----\nb", vec!["a: ---\n", "-\nb"]),
        ] {
            assert_eq!(split_manifests(file), want, "{file:?}");
        }
    }

    #[test]
    fn manifests_are_sorted_by_kind() {
        // HE-MAN-009
        assert_eq!(
            INSTALL_ORDER.join(" "),
            "PriorityClass Namespace NetworkPolicy ResourceQuota LimitRange PodSecurityPolicy PodDisruptionBudget \
             ServiceAccount Secret SecretList ConfigMap StorageClass PersistentVolume PersistentVolumeClaim \
             CustomResourceDefinition ClusterRole ClusterRoleList ClusterRoleBinding ClusterRoleBindingList Role RoleList \
             RoleBinding RoleBindingList Service DaemonSet Pod ReplicationController ReplicaSet Deployment \
             HorizontalPodAutoscaler StatefulSet Job CronJob IngressClass Ingress APIService \
             MutatingWebhookConfiguration ValidatingWebhookConfiguration"
        );
        // HE-MAN-010
        assert_eq!(
            UNINSTALL_ORDER.join(" "),
            "ValidatingWebhookConfiguration MutatingWebhookConfiguration APIService Ingress IngressClass Service CronJob Job \
             StatefulSet HorizontalPodAutoscaler Deployment ReplicaSet ReplicationController Pod DaemonSet RoleBindingList \
             RoleBinding RoleList Role ClusterRoleBindingList ClusterRoleBinding ClusterRoleList ClusterRole \
             CustomResourceDefinition PersistentVolumeClaim PersistentVolume StorageClass ConfigMap SecretList Secret \
             ServiceAccount PodDisruptionBudget PodSecurityPolicy LimitRange ResourceQuota NetworkPolicy Namespace \
             PriorityClass"
        );
        let mut kinds: Vec<_> = INSTALL_ORDER
            .iter()
            .chain(&["Zebra", "Ant"])
            .rev()
            .collect();
        kinds.sort_by_key(|kind| KindOrder::Install.key(kind));
        assert_eq!(
            kinds[..38].iter().map(|k| **k).collect::<Vec<_>>(),
            INSTALL_ORDER
        );
        // HE-MAN-008: unknown kinds come last, by name
        assert_eq!(kinds[38..], [&"Ant", &"Zebra"]);
        kinds.sort_by_key(|kind| KindOrder::Uninstall.key(kind));
        assert_eq!(
            kinds[..38].iter().map(|k| **k).collect::<Vec<_>>(),
            UNINSTALL_ORDER
        );
        assert_eq!(kinds[38..], [&"Ant", &"Zebra"]);
    }

    #[test]
    fn manifests_are_sorted_by_kind_then_by_file_and_position() {
        let sorted = sort_manifests(
            &files(&[
                ("b.yaml", "kind: Pod\nmetadata: {name: b}\n"),
                (
                    "a.yaml",
                    "kind: Pod\nmetadata: {name: a2}\n---\nkind: Pod\nmetadata: {name: a1}\n",
                ),
                (
                    "c.yaml",
                    "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: c}\n",
                ),
            ]),
            KindOrder::Install,
        )
        .unwrap();
        let contents = sorted.manifests.iter().map(|m| m.content.as_str());
        let names: Vec<_> = contents
            .filter_map(|content| content.rsplit_once("{name: ")?.1.split_once('}'))
            .map(|(name, _)| name)
            .collect();
        // HE-MAN-011: any group's Service comes before Pods
        assert_eq!(names[0], "c");
        // HE-MAN-008
        assert_eq!(names[1..], ["a2", "a1", "b"]);
    }

    fn files(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn hooks_are_separated_from_manifests() {
        let sorted = sort_manifests(
            &files(&[
                ("c/templates/_p.tpl", "kind: Secret"),
                ("c/templates/a.yaml", "# only a comment\n---\nkind: Job\nmetadata: {name: h, annotations: {helm.sh/hook: ' Pre-Install,test-success', helm.sh/hook-weight: \"-5\", helm.sh/hook-delete-policy: 'Hook-Succeeded , before-hook-creation'}}\n"),
                ("c/templates/b.yaml", "kind: Pod\nmetadata: {annotations: {helm.sh/hook: crd-install}}\n---\nkind: Namespace\n"),
                ("c/templates/c.yaml", "kind: Job\nmetadata: {name: l, annotations: {helm.sh/hook: post-delete, helm.sh/hook-weight: light}}\n"),
                ("c/templates/empty.yaml", " \n"),
            ]),
            KindOrder::Install,
        )
        .unwrap();
        let kinds: Vec<_> = sorted
            .manifests
            .iter()
            .map(|m| m.head.kind.as_str())
            .collect();
        // HE-MAN-002: no Secret. HE-MAN-007: a manifest without kind. HE-HOOK-002: no Pod
        assert_eq!(kinds, ["Namespace", ""]);
        let [hook, light] = sorted.hooks.as_slice() else {
            panic!("{:?}", sorted.hooks)
        };
        // HE-HOOK-001
        assert_eq!(hook.events, [HookEvent::PreInstall, HookEvent::Test]);
        // HE-HOOK-003
        assert_eq!((hook.name.as_str(), hook.weight), ("h", -5));
        assert_eq!(
            hook.delete_policies,
            ["hook-succeeded", "before-hook-creation"]
        );
        assert_eq!((light.name.as_str(), light.weight), ("l", 0));
        let error = sort_manifests(&files(&[("x.yaml", "a: [")]), KindOrder::Install).unwrap_err();
        assert_eq!(error.to_string(), "YAML parse error on x.yaml");
    }
}
