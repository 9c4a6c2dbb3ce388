//! Pods on a real kubelet.

use std::path::Path;
use std::process::Command;

use kind_tests::node::{self, Node};
use kind_tests::{DEPLOYMENT, Namespace, Result, ensure};

const IDLE: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: idle}
spec:
  replicas: 2
  selector: {matchLabels: {app: idle}}
  template:
    metadata: {labels: {app: idle}}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: idle
        image: localhost/pause:1
        imagePullPolicy: Never
        securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
        resources: {limits: {cpu: 100m, memory: 16Mi}}
";

#[tokio::test]
async fn an_unprivileged_pod_runs_and_the_node_is_cleaned_up() -> Result {
    if let Some(why) = node::missing() {
        eprintln!("skipped: {why}");
        return Ok(());
    }
    let node = Node::start(&[]).await?;
    let namespace = Namespace::create(node.cluster(), "pods").await?;
    namespace.apply(IDLE).await?;
    namespace
        .wait(DEPLOYMENT, "idle", "has its replicas", |idle| {
            idle["status"]["readyReplicas"] == 2
        })
        .await?;
    drop(namespace);
    drop(node);

    ensure!(
        !Path::new("/sys/class/net/flux0").exists(),
        "the bridge is still there"
    );
    ensure!(
        !Path::new("/run/flux-tests-node").exists(),
        "its folder in /run is still there"
    );
    let mounts = std::fs::read_to_string("/proc/mounts")?;
    ensure!(
        !mounts.contains("flux-tests-node") && !mounts.contains("/clusters/own-"),
        "mounts are left:\n{mounts}"
    );
    let rules = String::from_utf8(Command::new("iptables-save").output()?.stdout)?;
    ensure!(
        !rules.contains("KUBE-") && !rules.contains("CNI-"),
        "rules are left:\n{rules}"
    );
    Ok(())
}
