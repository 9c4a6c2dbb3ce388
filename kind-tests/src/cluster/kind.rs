//! Clusters of kind, if Docker works.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::failure::{Doing, Failure, Result};

/// Whether both tools are installed and the Docker engine responds.
pub(crate) fn is_available() -> bool {
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

/// Whether a cluster of this name exists.
pub(crate) fn exists(name: &str) -> Result<bool> {
    Ok(kind(&["get", "clusters"])?
        .lines()
        .any(|line| line.trim() == name))
}

/// Creates the cluster and writes its kubeconfig.
pub(crate) fn create(name: &str, kubeconfig: &Path) -> Result {
    let kubeconfig = kubeconfig.to_string_lossy();
    let mut arguments = vec![
        "create",
        "cluster",
        "--name",
        name,
        "--kubeconfig",
        &kubeconfig,
        "--wait",
        "120s",
    ];
    let image = std::env::var("FLUX_TEST_KIND_IMAGE").unwrap_or_default();
    if !image.is_empty() {
        arguments.extend(["--image", &image]);
    }
    kind(&arguments)?;
    Ok(())
}

/// Deletes the cluster.
pub(crate) fn delete(name: &str) -> Result {
    kind(&["delete", "cluster", "--name", name])?;
    Ok(())
}

/// Loads an image from a tar file into every node of the cluster.
pub(crate) fn load(name: &str, tar: &Path) -> Result {
    kind(&[
        "load",
        "image-archive",
        "--name",
        name,
        &tar.to_string_lossy(),
    ])?;
    Ok(())
}

/// This machine's address as seen by kind's nodes and their pods: the gateway of their Docker network.
pub(crate) fn host() -> Result<IpAddr> {
    let format = "{{range .IPAM.Config}}{{println .Gateway}}{{end}}";
    let listed = run(
        "docker",
        &["network", "inspect", "kind", "--format", format],
    )?;
    gateway(&listed).map(IpAddr::V4).ok_or_else(|| {
        Failure::new(format!(
            "docker's network kind has no IPv4 gateway: {listed}"
        ))
    })
}

/// The first IPv4 address in Docker's output, which has one gateway per line and an empty line for networks without
/// one.
fn gateway(listed: &str) -> Option<Ipv4Addr> {
    listed.lines().find_map(|line| line.trim().parse().ok())
}

fn kind(arguments: &[&str]) -> Result<String> {
    run("kind", arguments)
}

fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .doing(format!("run {program}"))?;
    if !output.status.success() {
        return Err(Failure::new(format!(
            "{program} {} failed:\n{}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::gateway;

    #[test]
    fn the_host_is_the_ipv4_gateway_of_the_network() {
        for (listed, found) in [
            ("172.18.0.1\n", Some(Ipv4Addr::new(172, 18, 0, 1))),
            (
                "fc00:f853:ccd:e793::1\n172.18.0.1\n",
                Some(Ipv4Addr::new(172, 18, 0, 1)),
            ),
            ("\n", None),
        ] {
            assert_eq!(gateway(listed), found, "{listed:?}");
        }
    }
}
