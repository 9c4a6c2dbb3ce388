//! The real `helm` command, as a client that must work unchanged.

use std::path::PathBuf;

use crate::failure::Result;
use crate::go_program::GoProgram;

/// A major version of Helm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Helm {
    /// The version in helm-controller of Flux 2.9.
    V4,
    /// The previous one, which reads and writes the same releases.
    V3,
}

/// The command, built from its Go module if it is not cached (two to five minutes).
pub fn program(helm: Helm) -> Result<PathBuf> {
    let (cache, module, version) = match helm {
        Helm::V4 => ("helm-cli-4", "helm.sh/helm/v4", "v4.3.2"),
        Helm::V3 => ("helm-cli-3", "helm.sh/helm/v3", "v3.21.4"),
    };
    let program = GoProgram {
        name: "helm",
        cache,
        module,
        version,
        package: "./cmd/helm",
        link: "",
        cgo_tags: None,
        data: &[],
        complete: None,
    };
    program.build()
}
