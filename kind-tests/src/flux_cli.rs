//! The real `flux` command, as a client that must not notice the difference.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::cache::{self, Fingerprint};
use crate::failure::{Doing, Failure, Result};

const MODULE: &str = "github.com/fluxcd/flux2/v2";
const VERSION: &str = "v2.9.4";

/// The command, built from its Go module first where the cache lacks it (two to five minutes).
pub fn program() -> Result<PathBuf> {
    let go_version = go(Path::new("."), &["env", "GOVERSION", "GOARCH"])?;
    let key = Fingerprint::default().with(VERSION).with(go_version).key();
    let folder = cache::folder_of(&cache::folder()?.join("flux-cli"), &key, build)?;
    Ok(folder.join("flux"))
}

fn build(folder: &Path) -> Result {
    eprintln!("kind-tests: building the flux command {VERSION} (once; two to five minutes)");
    let download = go(
        folder,
        &["mod", "download", "-json", &format!("{MODULE}@{VERSION}")],
    )?;
    let download: Value = serde_json::from_str(&download)?;
    let module = download["Dir"]
        .as_str()
        .ok_or_else(|| Failure::new("go names no folder for the flux module"))?;

    // The module lacks the manifests that a release embeds and `flux install` applies; nothing else reads them.
    let source = folder.join("source");
    cache::copy_folder(Path::new(module), &source)?;
    let manifests = source.join("cmd/flux/manifests");
    fs::create_dir_all(&manifests)?;
    fs::write(manifests.join("none.yaml"), "{}\n")?;

    let output = folder.join("flux");
    let link = format!("-s -w -X main.VERSION={}", VERSION.trim_start_matches('v'));
    let output = output.to_string_lossy();
    go(
        &source,
        &[
            "build",
            "-buildvcs=false",
            "-trimpath",
            "-ldflags",
            &link,
            "-o",
            &output,
            "./cmd/flux",
        ],
    )?;
    fs::remove_dir_all(&source).doing("remove the copied module")
}

fn go(folder: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new("go")
        .args(arguments)
        .current_dir(folder)
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "")
        .stdin(Stdio::null())
        .output()
        .doing("run go (the flux command is built with it)")?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(format!(
            "go {} failed:\n{why}",
            arguments.join(" ")
        )));
    }
    Ok(String::from_utf8(output.stdout)?)
}
