//! No value of a Secret reaches a condition, an event or a log, whatever the API server says.

use kind_tests::controller::Settings;
use kind_tests::{Applier, Failure, KUSTOMIZATION, Kind, Result, SECRET, ensure};
use kube::api::{DeleteParams, DynamicObject, ListParams, PostParams};
use serde_json::{Value, json};

use crate::config_map;

/// In the Secret that variables come from.
const VARIABLE: &str = "MARKED-variable-5f2c!";
/// A port that no Service may have.
const PORT: &str = "70007";
/// In a Secret that is applied.
const OWN: &str = "MARKED-own-77ab";
/// The same in base64.
const OWN_ENCODED: &str = "TUFSS0VELW93bi03N2Fi";

const POLICY: Kind = Kind(
    "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicy",
);
const BINDING: Kind = Kind(
    "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicyBinding",
);

/// A manifest that the server refuses, and what the condition says of it.
const REFUSED: &[(&str, &str)] = &[
    (
        "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n  ports: [{port: 80, name: \"${token}\"}]\n",
        "spec.ports[0].name: Invalid value: \"***\"",
    ),
    (
        "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n  ports: [{port: ${port}}]\n",
        "spec.ports[0].port: Invalid value: ***",
    ),
    (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, labels: {l: \"${token}\"}}\n",
        "metadata.labels: Invalid value: \"***\"",
    ),
    (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {replicas: \"${token}\"}\n",
        "***",
    ),
    (
        "apiVersion: v1\nkind: Secret\nmetadata: {name: echoed}\nstringData: {token: MARKED-own-77ab}\n",
        "saw ***",
    ),
    (
        "apiVersion: v1\nkind: Secret\nmetadata: {name: echoed}\ndata: {token: TUFSS0VELW93bi03N2Fi}\n",
        "saw ***",
    ),
    (
        "apiVersion: v1\nkind: Secret\nmetadata: {name: broken}\nimmutable: [MARKED-own-77ab]\nstringData: {token: MARKED-own-77ab}\n",
        "***",
    ),
];

/// Has the server refuse Secrets of this namespace and quote what they hold.
async fn echo(applier: &Applier) -> Result<String> {
    let name = format!("{}-echo", applier.namespace.name());
    let policy = format!(
        "apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: {name}}}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules: [{{apiGroups: [''], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [secrets]}}]
  validations:
  - expression: \"!object.metadata.name.startsWith('echoed')\"
    messageExpression: \"'saw ' + string(object.data.token)\"
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: {name}}}
spec:
  policyName: {name}
  validationActions: [Deny]
  matchResources: {{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: ${{namespace}}}}}}}}
"
    );
    applier.namespace.apply(&policy).await?;
    // The server enforces a policy some moments after it has stored it.
    let api = applier.namespace.api(SECRET).await?;
    let probe = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "echoed-probe"}, "data": {"token": "eA=="}});
    let probe: DynamicObject = serde_json::from_value(probe)?;
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let enforced = async {
        while api.create(&params, &probe).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    applier
        .namespace
        .wait_for("the policy to be enforced", enforced)
        .await?;
    Ok(name)
}

/// Everything that a user or an operator gets to see.
async fn everything_said(applier: &Applier) -> Result<Vec<String>> {
    let mut said = applier.kustomize.log().lines();
    let events = applier.events.events();
    said.extend(events.iter().map(Value::to_string));
    let object = applier.namespace.get(KUSTOMIZATION, "app").await?;
    said.push(object.unwrap_or_default().to_string());
    let events = applier.namespace.api(Kind("v1", "Event")).await?;
    for event in events.list(&ListParams::default()).await? {
        said.push(serde_json::to_string(&event)?);
    }
    Ok(said)
}

// KC-SUB-009
#[tokio::test]
async fn values_of_secrets_stay_out_of_conditions_events_and_logs() -> Result {
    let applier = Applier::start("secrecy", Settings::default().flag("--log-level=trace")).await?;
    let variables = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vars"},
        "stringData": {"token": VARIABLE, "port": PORT}});
    applier.namespace.apply(&variables.to_string()).await?;
    let policy = echo(&applier).await?;
    applier
        .publish("main@sha1:0", &[("a.yaml", &config_map("a", "1"))])
        .await?;
    let from = "postBuild: {substituteFrom: [{kind: Secret, name: vars}]}";
    let yaml = applier.kustomization("app", &["prune: true", from]);
    applier.namespace.apply(&yaml).await?;
    applier.applied("app", "main@sha1:0").await?;

    for (number, (manifest, says)) in REFUSED.iter().enumerate() {
        let revision = format!("main@sha1:{}", number + 1);
        applier
            .publish(&revision, &[("all.yaml", manifest)])
            .await?;
        let attempted = |object: &Value| object["status"]["lastAttemptedRevision"] == revision;
        applier
            .namespace
            .wait(KUSTOMIZATION, "app", "is at the revision", attempted)
            .await?;
        applier.says("app", "ReconciliationFailed", says).await?;
    }

    let said = everything_said(&applier).await?;
    for secret in [VARIABLE, OWN, OWN_ENCODED, ": 70007:", "MARKED"] {
        let leak = said.iter().find(|text| text.contains(secret));
        ensure!(leak.is_none(), "{secret} in {leak:?}");
    }
    for kind in [BINDING, POLICY] {
        let api = applier.namespace.api(kind).await?;
        let deleted = api.delete(&policy, &DeleteParams::default()).await;
        deleted.map_err(|error| Failure::new(error.to_string()))?;
    }
    Ok(())
}
