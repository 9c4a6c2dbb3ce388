//! Computes which objects an uninstallation deletes.

use std::collections::BTreeMap;

use super::ResourcePolicy;
use crate::{KindOrder, ManifestError, sort_manifests, split_manifests};

/// The objects of a manifest to delete, and those to keep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deletion {
    /// The manifest of the objects to delete, in the order of deletion by kind (HE-ACT-030, HE-ACT-034).
    pub manifest: String,
    /// Objects that are kept because of their resource policy.
    pub kept: Vec<Kept>,
}

/// An object that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl Deletion {
    /// Helm's message about the objects that are kept; empty if all are deleted.
    pub fn info(&self) -> String {
        if self.kept.is_empty() {
            return String::new();
        }
        let mut info = "These resources were kept due to the resource policy:\n".to_owned();
        for Kept { kind, name } in &self.kept {
            info.push_str(&format!("[{kind}] {name}\n"));
        }
        info
    }
}

/// Sorts a stored manifest for deletion. Leaves out objects with a resource policy: `keep` in any spelling keeps an object;
/// with any other value it is neither deleted nor listed as kept (HE-ACT-031).
///
/// # Errors
/// A document is not YAML.
pub fn deletion(manifest: &str) -> Result<Deletion, ManifestError> {
    let documents: BTreeMap<String, String> = split_manifests(manifest)
        .into_iter()
        .enumerate()
        .map(|(i, document)| (format!("manifest-{i}"), document.to_owned()))
        .collect();
    let mut deletion = Deletion::default();
    for found in sort_manifests(&documents, KindOrder::Uninstall)?.manifests {
        match found.head.annotations.get(ResourcePolicy::ANNOTATION) {
            None => {
                deletion.manifest.push_str("\n---\n");
                deletion.manifest.push_str(&found.content);
            }
            Some(policy) if policy.trim().eq_ignore_ascii_case(ResourcePolicy::KEEP) => {
                deletion.kept.push(Kept {
                    kind: found.head.kind,
                    name: found.head.name,
                });
            }
            Some(_) => {}
        }
    }
    Ok(deletion)
}
