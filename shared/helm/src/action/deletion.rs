//! Which objects an uninstallation deletes.

use std::collections::BTreeMap;

use super::ResourcePolicy;
use crate::{KindOrder, ManifestError, sort_manifests, split_manifests};

/// What is to be deleted of a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deletion {
    /// The manifest of what goes, in the order of its going: kind after kind (HE-ACT-030, HE-ACT-034).
    pub manifest: String,
    /// What stays because it says so.
    pub kept: Vec<Kept>,
}

/// An object that stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl Deletion {
    /// What Helm says about what stays; nothing where all goes.
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

/// Sorts a stored manifest for deletion, and leaves out what has a resource policy: `keep`, however written, or any other,
/// which neither keeps nor deletes (HE-ACT-031).
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
