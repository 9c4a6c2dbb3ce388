//! What a render gives.

use flux_chart::{Crd, Metadata};
use flux_gotemplate::Constants;

use crate::hook::Hook;
use crate::manifest::{Manifest, push_manifest};
use crate::values::to_yaml;

/// What a render gives.
#[derive(Clone, Debug, Default)]
pub struct Rendered {
    /// The hooks, sorted by kind for installation.
    pub hooks: Vec<Hook>,
    /// The manifests, sorted by kind for installation.
    pub manifests: Vec<Manifest>,
    /// The root chart's NOTES.txt.
    pub notes: String,
    /// The definitions in crds/ of the charts that take part, which are not among the manifests (HE-MAN-013).
    pub crds: Vec<Crd>,
    /// The chart's metadata as the release remembers it: dependencies decided.
    pub metadata: Metadata,
    pub(crate) values: Option<Constants>,
    /// What Helm would have logged about the values.
    pub warnings: Vec<String>,
}

impl Rendered {
    /// The manifests as a release keeps them, after the definitions if asked for.
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

    /// The chart's defaults as the release remembers them: with what was imported. They are put together here, which most
    /// renders need not pay for.
    pub fn values(&self) -> Option<flux_yaml::Map> {
        self.values.as_ref().map(to_yaml)
    }

    /// What `helm template` prints.
    pub fn template_output(&self, include_crds: bool) -> String {
        let mut text = self.manifest(include_crds).trim().to_owned();
        text.push('\n');
        for hook in &self.hooks {
            push_manifest(&mut text, &hook.path, &hook.manifest);
        }
        text
    }
}
