//! The Kubernetes programs: one binary built from the Go module in `kind-tests/kube`, cached.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::cache::{self, Fingerprint};
use crate::failure::{Doing, Failure, Result};

/// The binary, built first if it is not cached for this module and Go version (5 to 15 minutes on two cores).
pub(crate) fn kube() -> Result<PathBuf> {
    let module = cache::workspace().join("kind-tests/kube");
    let go = go_command(&module, &["env", "GOVERSION", "GOOS", "GOARCH"])?;
    let key = Fingerprint::default()
        .with(&go)
        .with_files(&module, |name| {
            name == "go.mod" || name == "go.sum" || name.extension().is_some_and(|end| end == "go")
        })?
        .key();
    let folder = cache::folder_of(&cache::folder()?.join("kube"), &key, |folder| {
        build(&module, folder)
    })?;
    Ok(folder.join("kube"))
}

fn build(module: &Path, folder: &Path) -> Result {
    let started = Instant::now();
    // Written directly to standard error: a test runner captures the output of tests, and this takes minutes.
    let _ = writeln!(
        std::io::stderr(),
        "kind-tests: building Kubernetes from Go modules into {} (once; 5 to 15 minutes on two cores)",
        folder.display()
    );
    let version = go_command(
        module,
        &["list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes"],
    )?;
    let version = version.trim();
    let minor = version.split('.').nth(1).unwrap_or_default();
    let mut link = "-s -w".to_owned();
    // Without these the API server reports version v0.0.0 and refuses to start.
    for package in [
        "k8s.io/component-base/version",
        "k8s.io/client-go/pkg/version",
    ] {
        for (variable, value) in [
            ("gitVersion", version),
            ("gitMajor", "1"),
            ("gitMinor", minor),
            ("gitTreeState", "clean"),
            ("gitCommit", "module"),
            ("buildDate", "1970-01-01T00:00:00Z"),
        ] {
            write!(link, " -X {package}.{variable}={value}")?;
        }
    }
    let output = folder.join("kube");
    let output = output
        .to_str()
        .ok_or_else(|| Failure::new("the cache folder's name is not UTF-8"))?;
    go_command(
        module,
        &[
            "build",
            "-buildvcs=false",
            "-trimpath",
            "-gcflags=all=-dwarf=false",
            "-ldflags",
            &link,
            "-o",
            output,
            ".",
        ],
    )?;
    let _ = writeln!(
        std::io::stderr(),
        "kind-tests: built in {} s",
        started.elapsed().as_secs()
    );
    Ok(())
}

fn go_command(module: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new("go")
        .args(arguments)
        .current_dir(module)
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "")
        .stdin(Stdio::null())
        .output()
        .doing(
            "run go (the local control plane is built with Go 1.26 or newer; alternatives: Docker with kind, or \
             FLUX_TEST_CLUSTER=kubeconfig with a cluster of your own)",
        )?;
    if !output.status.success() {
        return Err(Failure::new(format!(
            "go {} failed in {}:\n{}",
            arguments[0],
            module.display(),
            String::from_utf8_lossy(&output.stderr)
        )));
    }
    String::from_utf8(output.stdout).doing("read go's answer")
}
