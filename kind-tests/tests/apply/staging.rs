//! The effect of stages, failed waits and failed writes on what follows.

use flux_apply::{Options, apply_in_stages};
use kind_tests::requests::{Counter, Request};
use kind_tests::{CONFIG_MAP, DEPLOYMENT, Failure, Kind, Result, SECRET, condition, ensure};
use kube::api::{DeleteParams, DynamicObject, PostParams};
use serde_json::{Value, json};

use crate::{Bench, GROUP, MANAGER, config_map};

const DEFINITION: Kind = Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition");
const POLICY: Kind = Kind(
    "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicy",
);
const BINDING: Kind = Kind(
    "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicyBinding",
);

/// A definition of a kind in a group of this test.
fn definition(group: &str, plural: &str, kind: &str) -> String {
    format!(
        "---
{{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {{name: {plural}.{group}}}, spec: {{
  group: {group}, scope: Namespaced, names: {{kind: {kind}, plural: {plural}}}, versions: [{{name: v1, served: true, storage: true,
  subresources: {{status: {{}}}}, schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}}}]}}}}
"
    )
}

fn is_established(definition: &Value) -> bool {
    condition(definition, "Established").is_some_and(|established| established["status"] == "True")
}

// KC-SSA-010
#[tokio::test]
async fn the_next_stage_waits_until_the_classes_are_ready() -> Result {
    let mut bench = Bench::new("apply-classes").await?;
    let group = format!("{}.example.com", bench.namespace.name());
    let defined = format!("toolclasses.{group}");
    bench
        .namespace
        .apply(&definition(&group, "toolclasses", "ToolClass"))
        .await?;
    bench
        .namespace
        .wait(DEFINITION, &defined, "is established", is_established)
        .await?;
    let class = |size: u32| {
        format!(
            "{{apiVersion: {group}/v1, kind: ToolClass, metadata: {{name: c, namespace: '${{namespace}}'}}, spec: {{size: {size}}}}}\n"
        )
    };
    let kind = Kind(format!("{group}/v1").leak(), "ToolClass");
    // Only the test sets its readiness; there is no controller for it.
    let status = |ready: &str, generation: u32| {
        json!({"observedGeneration": generation, "conditions": [{"type": "Ready", "status": ready,
            "reason": "Test", "message": "", "lastTransitionTime": "2001-01-01T00:00:00Z"}]})
    };
    bench.namespace.apply(&class(1)).await?;
    bench
        .namespace
        .set_status(kind, "c", status("False", 1))
        .await?;

    let objects = bench.objects(&(class(2) + &config_map("after", "")))?;
    let options = bench.options();
    let counter = Counter::start(bench.namespace.cluster(), &bench.user)?;
    let Bench {
        namespace,
        target,
        memory,
        ..
    } = &mut bench;
    let mut applying = Box::pin(apply_in_stages(target, &objects, &options, memory));
    let watched = async {
        loop {
            let asked = counter.requests()?;
            if asked
                .iter()
                .any(|request| request.verb == "watch" && request.resource == "toolclasses")
            {
                return Result::<()>::Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        applied = &mut applying => {
            return Err(Failure::new(format!("ended before the class was ready: {applied:?}")));
        }
        watched = namespace.wait_for("the class is watched", watched) => watched??,
    }
    ensure!(
        namespace.get(CONFIG_MAP, "after").await?.is_none(),
        "the next stage has begun"
    );
    namespace.set_status(kind, "c", status("True", 2)).await?;
    let applied = applying.await?.to_string().replace(namespace.name(), "ns");
    let want = "ToolClass/ns/c configured\nConfigMap/ns/after created";
    ensure!(applied == want, "{applied}");
    bench.namespace.delete(DEFINITION, &defined).await
}

// KC-SSA-010
#[tokio::test]
async fn a_failed_wait_is_repeated_without_changes() -> Result {
    let mut bench = Bench::new("apply-refused").await?;
    let group = format!("{}.example.com", bench.namespace.name());
    let (first, second) = (format!("tools.{group}"), format!("hammers.{group}"));
    bench
        .namespace
        .apply(&definition(&group, "tools", "Tool"))
        .await?;
    bench
        .namespace
        .wait(DEFINITION, &first, "is established", is_established)
        .await?;
    // The kind's name is taken, so the server never accepts this one.
    let yaml = definition(&group, "hammers", "Tool") + &config_map("after", "");
    let options = bench.options();
    for run in ["first", "second", "third"] {
        let error = bench.refused(&yaml, &options).await?;
        ensure!(
            error.contains("CustomResourceDefinition/hammers.ns.example.com status: 'Failed'"),
            "{run} run: {error}"
        );
        ensure!(
            bench.namespace.get(CONFIG_MAP, "after").await?.is_none(),
            "{run} run: the next stage has begun"
        );
    }
    bench.namespace.delete(DEFINITION, &first).await?;
    bench
        .namespace
        .wait(DEFINITION, &second, "is established", is_established)
        .await?;
    let changes = bench.apply(&yaml).await?;
    let want =
        "CustomResourceDefinition/hammers.ns.example.com unchanged\nConfigMap/ns/after created";
    ensure!(changes == want, "{changes}");
    bench.namespace.delete(DEFINITION, &second).await
}

/// A Deployment without pods that keeps this many old revisions.
fn deployment(name: &str, revisions: u32) -> String {
    format!(
        "---\n{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: {name}, namespace: '${{namespace}}'}},
           spec: {{replicas: 0, revisionHistoryLimit: {revisions}, selector: {{matchLabels: {{app: d}}}},
           template: {{metadata: {{labels: {{app: d}}}}, spec: {{containers: [{{name: c, image: i}}]}}}}}}}}\n"
    )
}

/// Makes the server reject real writes of the Deployment `second`, and accept dry runs.
const REFUSE: &str = "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: '${namespace}'}
spec:
  failurePolicy: Fail
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: '${namespace}'}}
    resourceRules: [{apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}]
  validations:
  - {expression: '(has(request.dryRun) && request.dryRun) || !(object.metadata.name in [\"second\", \"probe\"])', message: only for show}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: '${namespace}'}
spec: {policyName: '${namespace}', validationActions: [Deny]}
";

/// Waits until the server accepts real writes of a Deployment selected by the policy, or rejects them: a policy takes
/// effect some time after it is written or deleted.
async fn until_accepted(bench: &Bench, accepted: bool) -> Result {
    let api = bench.namespace.api(DEPLOYMENT).await?;
    let text = deployment("probe", 1).replace("${namespace}", bench.namespace.name());
    let probe: DynamicObject = serde_saphyr::from_str(text.trim_start_matches("---\n"))?;
    let in_effect = async {
        loop {
            let made = api.create(&PostParams::default(), &probe).await.is_ok();
            if made {
                api.delete("probe", &DeleteParams::default()).await?;
            }
            if made == accepted {
                return Result::<()>::Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    let goal = format!("writes are accepted: {accepted}");
    bench.namespace.wait_for(&goal, in_effect).await?
}

// The difference under KC-SSA-014: only written content counts as unchanged.
#[tokio::test]
async fn a_failed_write_is_retried_without_changes() -> Result {
    let mut bench = Bench::new("apply-half").await?;
    let both = |revisions| deployment("first", revisions) + &deployment("second", revisions);
    bench.apply(&both(1)).await?;
    for name in ["first", "second"] {
        let observed = |object: &Value| object["status"]["observedGeneration"] == json!(1);
        bench
            .namespace
            .wait(DEPLOYMENT, name, "is observed", observed)
            .await?;
    }
    bench.namespace.apply(REFUSE).await?;
    until_accepted(&bench, false).await?;
    let options = bench.options();
    for run in ["first", "second", "third"] {
        let error = bench.refused(&both(2), &options).await?;
        ensure!(
            error.starts_with("Deployment/ns/second apply failed")
                && error.contains("only for show"),
            "{run} run: {error}"
        );
    }
    let name = bench.namespace.name().to_owned();
    bench.namespace.delete(BINDING, &name).await?;
    bench.namespace.delete(POLICY, &name).await?;
    until_accepted(&bench, true).await?;
    let changes = bench.apply(&both(2)).await?;
    let want = "Deployment/ns/first unchanged\nDeployment/ns/second configured";
    ensure!(changes == want, "{changes}");
    Ok(())
}

// KC-SSA-028, RT-SSA-013
#[tokio::test]
async fn the_force_annotation_is_also_read_from_the_live_object() -> Result {
    let mut bench = Bench::new("apply-live-force").await?;
    let secret = |value: &str| {
        format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: s, namespace: '${{namespace}}'}}, immutable: true, stringData: {{k: {value}}}}}"
        )
    };
    bench.apply(&secret("one")).await?;
    let before = bench.uid(SECRET, "s").await?;
    let force = json!({"metadata": {"annotations": {format!("{GROUP}/force"): "Enabled"}}});
    bench.namespace.merge(SECRET, "s", force).await?;
    let changes = bench.apply(&secret("two")).await?;
    ensure!(changes == "Secret/ns/s created", "{changes}");
    ensure!(
        bench.uid(SECRET, "s").await? != before,
        "it was not recreated"
    );
    Ok(())
}

/// The parameters of a request, sorted.
fn parameters(request: &Request) -> Vec<String> {
    let query = request.uri.split_once('?').map_or("", |(_, query)| query);
    let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
    let mut parameters: Vec<String> = parameters.map(str::to_owned).collect();
    parameters.sort();
    parameters
}

// KC-SSA-018, KC-SSA-019
#[tokio::test]
async fn dry_runs_and_writes_have_the_same_parameters_as_upstream() -> Result {
    let mut bench = Bench::new("apply-parameters").await?;
    let manager = format!("fieldManager={MANAGER}");
    let counter = Counter::start(bench.namespace.cluster(), &bench.user)?;
    bench.apply(&config_map("a", "")).await?;
    let patches: Vec<Vec<String>> = counter
        .requests()?
        .iter()
        .filter(|request| request.verb == "patch")
        .map(parameters)
        .collect();
    let want = [
        vec![
            "dryRun=All".to_owned(),
            manager.clone(),
            "force=true".into(),
        ],
        vec![manager.clone(), "force=true".into()],
    ];
    ensure!(patches == want, "{patches:?}");

    // Everything tried before an object is recreated is a dry run.
    let service = |ports: &str| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: s, namespace: '${{namespace}}'}}, spec: {{ports: [{ports}]}}}}"
        )
    };
    bench.apply(&service("{port: 80}")).await?;
    let counter = Counter::start(bench.namespace.cluster(), &bench.user)?;
    let force = Options {
        force: true,
        ..bench.options()
    };
    bench.refused(&service("{port: 70000}"), &force).await?;
    for request in counter.requests()? {
        if matches!(&*request.verb, "get" | "list" | "watch") {
            continue;
        }
        let found = parameters(&request);
        ensure!(
            found.contains(&"dryRun=All".to_owned()) && found.contains(&manager),
            "{request:?}"
        );
    }
    Ok(())
}
