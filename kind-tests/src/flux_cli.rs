//! The real `flux` command, as a client that must work unchanged.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Result;
use crate::go_program::GoProgram;

/// The command, built from its Go module if it is not cached (two to five minutes).
pub fn program() -> Result<PathBuf> {
    let flux = GoProgram {
        name: "flux",
        cache: "flux-cli",
        module: "github.com/fluxcd/flux2/v2",
        version: "v2.9.4",
        package: "./cmd/flux",
        link: "-X main.VERSION=2.9.4",
        cgo_tags: None,
        data: &[],
        complete: Some(add_manifests),
    };
    flux.build()
}

/// The module lacks the manifests that a release embeds for `flux install`; nothing else reads them.
fn add_manifests(source: &Path) -> Result {
    let manifests = source.join("cmd/flux/manifests");
    fs::create_dir_all(&manifests)?;
    fs::write(manifests.join("none.yaml"), "{}\n")?;
    Ok(())
}
