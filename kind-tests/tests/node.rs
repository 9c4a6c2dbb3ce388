//! Pods on a real kubelet, under the security settings that the controllers ask for.

use kind_tests::node::{self, Node};
use kind_tests::{DEPLOYMENT, Namespace, Result};

#[tokio::test]
async fn a_pod_without_privileges_runs_on_the_real_node() -> Result {
    if let Some(why) = node::missing() {
        eprintln!("skipped: {why}");
        return Ok(());
    }
    let node = Node::start(&[]).await?;
    let namespace = Namespace::create(node.cluster(), "pods").await?;
    namespace
        .apply(
            "
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
",
        )
        .await?;
    namespace
        .wait(DEPLOYMENT, "idle", "has its replicas", |idle| {
            idle["status"]["readyReplicas"] == 2
        })
        .await?;
    Ok(())
}
