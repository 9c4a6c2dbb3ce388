//! The result of a render.

use flux_chart::{Crd, Metadata};
use flux_gotemplate::Constants;

use crate::hook::Hook;
use crate::manifest::{Manifest, push_manifest};
use crate::values::to_yaml;

/// The result of a render.
#[derive(Clone, Debug, Default)]
pub struct Rendered {
    /// The hooks, sorted by kind for installation.
    pub hooks: Vec<Hook>,
    /// The manifests, sorted by kind for installation.
    pub manifests: Vec<Manifest>,
    /// The root chart's NOTES.txt.
    pub notes: String,
    /// The definitions in crds/ of the enabled charts, which are not among the manifests (HE-MAN-013).
    pub crds: Vec<Crd>,
    /// The chart's metadata as stored in the release, with resolved dependencies.
    pub metadata: Metadata,
    pub(crate) values: Option<Constants>,
    /// Warnings about the values that Helm would log.
    pub warnings: Vec<String>,
}

impl Rendered {
    /// The manifests in the format of the release record, after the definitions if requested.
    pub fn manifest(&self, include_crds: bool) -> String {
        let mut text = String::new();
        if include_crds {
            for crd in &self.crds {
                push_manifest(
                    &mut text,
                    &crd.filename,
                    &String::from_utf8_lossy(&crd.file.data),
                );
            }
        }
        for manifest in &self.manifests {
            push_manifest(&mut text, &manifest.name, &manifest.content);
        }
        text
    }

    /// The chart's defaults as stored in the release, with imported values. Computed on each call, since most renders do
    /// not need them.
    pub fn values(&self) -> Option<flux_yaml::Map> {
        self.values.as_ref().map(to_yaml)
    }

    /// The output of `helm template`.
    pub fn template_output(&self, include_crds: bool) -> String {
        let mut text = self.manifest(include_crds).trim().to_owned();
        text.push('\n');
        for hook in &self.hooks {
            push_manifest(&mut text, &hook.path, &hook.manifest);
        }
        text
    }
}
