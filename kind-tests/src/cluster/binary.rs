//! The Kubernetes programs: one binary built from the Go module in `kind-tests/kube`, cached.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use crate::cache::{self, Fingerprint};
use crate::failure::{Doing, Failure, Result};
use crate::go_program::go;

const NEEDS_GO: &str = "run go (the local control plane is built with Go 1.26 or newer; alternatives: Docker with kind, or \
     FLUX_TEST_CLUSTER=kubeconfig with a cluster of your own)";
/// The package that is compiled last, and linked.
const PROGRAM: &str = "fluxcd.invalid/kube";
/// How many lines of a failed build are shown.
const SHOWN_LINES: usize = 60;

/// The binary, built first if it is not cached for this module and Go version (5 to 15 minutes on two cores).
pub(crate) fn kube() -> Result<PathBuf> {
    kube_with(&|_| {})
}

/// As [`kube`]; a build tells `progress` how far it is.
pub(crate) fn kube_with(progress: &dyn Fn(&str)) -> Result<PathBuf> {
    let module = cache::workspace().join("kind-tests/kube");
    let go = go_command(&module, &["env", "GOVERSION", "GOOS", "GOARCH"])?;
    let key = Fingerprint::default()
        .with(&go)
        .with_files(&module, |name| {
            name == "go.mod" || name == "go.sum" || name.extension().is_some_and(|end| end == "go")
        })?
        .key();
    let folder = cache::folder_of(&cache::folder()?.join("kube"), &key, |folder| {
        build(&module, folder, progress)
    })?;
    Ok(folder.join("kube"))
}

fn build(module: &Path, folder: &Path, progress: &dyn Fn(&str)) -> Result {
    let started = Instant::now();
    // Written directly to standard error: a test runner captures the output of tests, and this takes minutes.
    let _ = writeln!(
        std::io::stderr(),
        "kind-tests: building Kubernetes from Go modules into {} (once; 5 to 15 minutes on two cores)",
        folder.display()
    );
    progress("downloading modules");
    let packages = go_command(module, &["list", "-deps", "."])?.lines().count();
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
    let mut compiled = 0;
    go_lines(
        module,
        &[
            "build",
            "-v",
            "-buildvcs=false",
            "-trimpath",
            "-gcflags=all=-dwarf=false",
            "-ldflags",
            &link,
            "-o",
            output,
            ".",
        ],
        &mut |package| {
            compiled += 1;
            // Packages in Go's cache are not named.
            progress(&match package {
                PROGRAM => "linking".to_owned(),
                _ => format!("{compiled} of {packages} packages"),
            });
        },
    )?;
    let _ = writeln!(
        std::io::stderr(),
        "kind-tests: built in {} s",
        started.elapsed().as_secs()
    );
    Ok(())
}

/// Go's standard output.
fn go_command(module: &Path, arguments: &[&str]) -> Result<String> {
    let output = go(module, arguments, false).output().doing(NEEDS_GO)?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(failed(module, arguments, &why));
    }
    String::from_utf8(output.stdout).doing("read go's answer")
}

/// Gives each line of Go's error stream to `line` as it comes.
fn go_lines(module: &Path, arguments: &[&str], line: &mut dyn FnMut(&str)) -> Result {
    let mut command = go(module, arguments, false);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().doing(NEEDS_GO)?;
    let mut last = VecDeque::new();
    for text in child.stderr.take().into_iter().flat_map(|stream| {
        let lines = BufReader::new(stream).lines();
        lines.map_while(Result::ok)
    }) {
        line(&text);
        last.push_back(text);
        if last.len() > SHOWN_LINES {
            last.pop_front();
        }
    }
    if child.wait()?.success() {
        return Ok(());
    }
    Err(failed(module, arguments, &Vec::from(last).join("\n")))
}

fn failed(module: &Path, arguments: &[&str], why: &str) -> Failure {
    let (command, module) = (arguments[0], module.display());
    Failure::new(format!("go {command} failed in {module}:\n{why}"))
}
