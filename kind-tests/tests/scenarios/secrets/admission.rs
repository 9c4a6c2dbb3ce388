//! Admission policies whose messages quote the refused object, on the real API server.

use kind_tests::{Flux, KUSTOMIZATION, Kind, Namespace, Result};
use serde_json::{Value, json};

use super::{MARK, ends, nothing_is_shown, secret, talkative};

const POLICY: Kind = Kind(
    "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicy",
);
const BINDING: Kind = Kind(
    "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicyBinding",
);

/// Policies for the objects of a namespace that are labelled `policy: <name>`: what is done about the request, the
/// operations, and which of the two objects of a request is quoted.
const POLICIES: &[(&str, &str, &str, &str)] = &[
    ("deny", "Deny", "CREATE, UPDATE", "object"),
    ("warn", "Warn", "CREATE, UPDATE", "object"),
    ("deny-old", "Deny", "UPDATE", "oldObject"),
    ("keep", "Deny", "DELETE", "oldObject"),
];

fn policy(namespace: &str, (name, action, operations, quoted): (&str, &str, &str, &str)) -> String {
    let object = if operations == "DELETE" {
        "oldObject"
    } else {
        "object"
    };
    let labelled = format!(
        "has({object}.metadata.labels) && \"policy\" in {object}.metadata.labels && {object}.metadata.labels[\"policy\"] == \"{name}\""
    );
    let values = |field: &str| {
        format!(
            "(has({quoted}.{field}) ? {quoted}.{field}.map(k, k + \"=\" + {quoted}.{field}[k]).join(\" \") : \"\")"
        )
    };
    format!(
        "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: {namespace}-{name}}}
spec:
  matchConstraints:
    namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {namespace}}}}}
    resourceRules:
    - {{apiGroups: [''], apiVersions: [v1], operations: [{operations}], resources: [configmaps, secrets]}}
  validations:
  - expression: '!({labelled})'
    messageExpression: '\"saw \" + {} + \" \" + {}'
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: {namespace}-{name}}}
spec: {{policyName: {namespace}-{name}, validationActions: [{action}]}}
",
        values("data"),
        values("metadata.annotations"),
    )
}

fn labelled(kind: &str, name: &str, policy: &str, rest: &str) -> String {
    format!(
        "---\n{{apiVersion: v1, kind: {kind}, metadata: {{name: {name}, labels: {{policy: {policy}}}}}, {rest}}}\n"
    )
}

/// Waits until the server refuses what the policy forbids: it takes policies up when it comes to it.
async fn takes_effect(namespace: &Namespace) -> Result {
    let refused = async {
        let probe = labelled("ConfigMap", "probe", "deny", "data: {a: b}");
        while namespace.apply(&probe).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    namespace.wait_for("the server refuses", refused).await
}

// KC-SUB-009, KC-SSA-031, KC-PRUNE-008
#[tokio::test]
async fn admission_errors_that_quote_the_object_show_no_secret() -> Result {
    let flux = Flux::start_with("secrets-denied", talkative(), talkative()).await?;
    let namespace = &flux.namespace;
    let variables = json!({"plain": format!("{MARK}plain0123456789")});
    secret(namespace, "variables", &variables).await?;
    // What others keep in Secrets that a Kustomization applies as well.
    for name in ["deny-shared", "deny-old-shared"] {
        secret(namespace, name, &json!({"theirs": format!("{MARK}theirs")})).await?;
    }
    for one in POLICIES {
        namespace.apply(&policy(namespace.name(), *one)).await?;
    }
    takes_effect(namespace).await?;

    let secret_data = format!("stringData: {{a: {MARK}own}}");
    let map_data = "data: {a: '${plain}', b: 'x-${plain:4:14}-y', c: 'a text with ${plain} in it'}";
    let cases: Vec<(&str, String, bool)> = vec![
        (
            "deny-secret",
            labelled("Secret", "deny-secret", "deny", &secret_data),
            false,
        ),
        (
            "deny-map",
            labelled("ConfigMap", "deny-map", "deny", map_data),
            false,
        ),
        (
            "deny-shared",
            labelled("Secret", "deny-shared", "deny", &secret_data),
            false,
        ),
        (
            "deny-old-shared",
            labelled("Secret", "deny-old-shared", "deny-old", &secret_data),
            false,
        ),
        (
            "warn-secret",
            labelled("Secret", "warn-secret", "warn", &secret_data),
            true,
        ),
        (
            "warn-map",
            labelled("ConfigMap", "warn-map", "warn", map_data),
            true,
        ),
        (
            "old-map",
            labelled("ConfigMap", "old-map", "none", map_data),
            true,
        ),
        (
            "pruned",
            labelled("Secret", "pruned-secret", "keep", &secret_data)
                + &labelled("ConfigMap", "pruned-map", "keep", map_data),
            true,
        ),
        (
            "finalized",
            labelled("Secret", "final-secret", "keep", &secret_data)
                + &labelled("ConfigMap", "final-map", "keep", map_data),
            true,
        ),
    ];
    let mut commit = flux.repo.commit("main");
    for (name, text, _) in &cases {
        commit = commit.file(&format!("{name}/a.yaml"), text);
    }
    let generator = format!(
        "secretGenerator: [{{name: made, literals: [a={MARK}made], options: {{labels: {{policy: deny}}}}}}]"
    );
    commit = commit.file("deny-made/kustomization.yaml", generator);
    commit.create();
    flux.follow_main().await?;
    let substitute = "postBuild: {substituteFrom: [{kind: Secret, name: variables}]}";
    let names = cases.iter().map(|(name, ..)| *name).chain(["deny-made"]);
    for name in names {
        let path = format!("path: {name}");
        let yaml = flux.kustomization(name, &["prune: true", &path, substitute]);
        namespace.apply(&yaml).await?;
    }
    for (name, _, is_ready) in &cases {
        let reason = (!is_ready).then_some("ReconciliationFailed");
        ends(&flux, KUSTOMIZATION, name, reason).await?;
    }
    ends(
        &flux,
        KUSTOMIZATION,
        "deny-made",
        Some("ReconciliationFailed"),
    )
    .await?;

    // The value of the variable changes, and the refusal quotes what it was before.
    let after = json!({"plain": format!("{MARK}changed0123456789")});
    secret(namespace, "variables", &after).await?;
    flux.repo
        .commit("main")
        .file(
            "old-map/a.yaml",
            labelled("ConfigMap", "old-map", "deny-old", map_data),
        )
        .file(
            "pruned/a.yaml",
            labelled("ConfigMap", "rest", "none", "data: {a: b}"),
        )
        .create();
    flux.fetch().await?;
    ends(
        &flux,
        KUSTOMIZATION,
        "old-map",
        Some("ReconciliationFailed"),
    )
    .await?;
    ends(&flux, KUSTOMIZATION, "pruned", Some("PruneFailed")).await?;
    namespace.delete(KUSTOMIZATION, "finalized").await?;
    let refused = |event: &Value| {
        event["involvedObject"]["name"] == "finalized"
            && event["message"] == "pruning for deleted resource failed"
    };
    flux.events.wait("of the failed deletion", refused).await?;
    let logged = |line: &Value| line["name"] == "finalized" && line["msg"] == "Reconciler error";
    flux.kustomize
        .log()
        .wait("of the failed deletion", logged)
        .await?;

    // The policies are in no namespace that would take them along, and nothing could be deleted as long as they are there.
    let shown = nothing_is_shown(&flux, &[]).await;
    for (name, ..) in POLICIES {
        let name = format!("{}-{name}", namespace.name());
        namespace.delete(BINDING, &name).await?;
        namespace.delete(POLICY, &name).await?;
    }
    shown
}
