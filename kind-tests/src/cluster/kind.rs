//! Clusters of kind, where Docker works.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::failure::{Doing, Failure, Result};

/// Whether both tools are there and the Docker engine answers.
pub(crate) fn works() -> bool {
    let succeeds = |program: &str, argument: &str| {
        Command::new(program)
            .arg(argument)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    succeeds("kind", "version") && succeeds("docker", "info")
}

/// Whether a cluster of this name is there.
pub(crate) fn exists(name: &str) -> Result<bool> {
    Ok(kind(&["get", "clusters"])?
        .lines()
        .any(|line| line.trim() == name))
}

/// Creates the cluster and writes its kubeconfig.
pub(crate) fn create(name: &str, kubeconfig: &Path) -> Result {
    let kubeconfig = kubeconfig.to_string_lossy();
    kind(&[
        "create",
        "cluster",
        "--name",
        name,
        "--kubeconfig",
        &kubeconfig,
        "--wait",
        "120s",
    ])?;
    Ok(())
}

/// Deletes the cluster.
pub(crate) fn delete(name: &str) -> Result {
    kind(&["delete", "cluster", "--name", name])?;
    Ok(())
}

fn kind(arguments: &[&str]) -> Result<String> {
    let output = Command::new("kind")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .doing("run kind")?;
    if !output.status.success() {
        return Err(Failure::new(format!(
            "kind {} failed:\n{}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
