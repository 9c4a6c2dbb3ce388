//! Drives actions step by step on a fake cluster, and compares them with Helm's actions under the same failures.

mod caller;
mod course;
mod objects;

use flux_helm::action::{Draft, Object, Scope, Upgrade};
use flux_helm::{Chart, File, RenderOptions, Values, load_values, render, reuse_values};
use serde_json::{Value, json};

const NAMESPACE: &str = "apps";

const MAPS: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n";
const KEPT: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept, annotations: {helm.sh/resource-policy: ' Keep '}}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: odd, annotations: {helm.sh/resource-policy: other}}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: s}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: n}\n";

fn hook(kind: &str, name: &str, annotations: &str) -> String {
    let api = if kind == "Job" { "batch/v1" } else { "v1" };
    let api = if kind == "CustomResourceDefinition" {
        "apiextensions.k8s.io/v1"
    } else {
        api
    };
    format!(
        "---\napiVersion: {api}\nkind: {kind}\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\n"
    )
}

/// Hooks of every event, of several weights and policies.
fn hooks() -> String {
    let mut text = String::new();
    for event in ["install", "upgrade", "rollback", "delete"] {
        text += &hook(
            "Job",
            &format!("pre-{event}-second"),
            &format!(
                "helm.sh/hook: 'pre-{event}', helm.sh/hook-weight: '2', helm.sh/hook-delete-policy: 'hook-failed'"
            ),
        );
        // HE-HOOK-004, HE-HOOK-006, HE-HOOK-013
        text += &hook(
            "Job",
            &format!("pre-{event}-first"),
            &format!(
                "helm.sh/hook: 'pre-{event}', helm.sh/hook-weight: '-1', helm.sh/hook-delete-policy: 'hook-succeeded,before-hook-creation'"
            ),
        );
        text += &hook(
            "Pod",
            &format!("post-{event}-b"),
            &format!(
                "helm.sh/hook: 'post-{event}', helm.sh/hook-output-log-policy: 'hook-succeeded,hook-failed'"
            ),
        );
        // HE-HOOK-005: listed twice
        text += &hook(
            "ConfigMap",
            &format!("post-{event}-a"),
            &format!(
                "helm.sh/hook: 'post-{event},post-{event}', helm.sh/hook-delete-policy: 'hook-succeeded,hook-failed'"
            ),
        );
    }
    text += &hook(
        "CustomResourceDefinition",
        "crd",
        "helm.sh/hook: 'pre-install,pre-upgrade', helm.sh/hook-weight: '9', helm.sh/hook-delete-policy: 'before-hook-creation,hook-succeeded'",
    );
    text += &hook(
        "Pod",
        "test-b",
        "helm.sh/hook: test, helm.sh/hook-delete-policy: 'hook-succeeded'",
    );
    text += &hook("Pod", "test-a", "helm.sh/hook: test-success");
    text
}

/// A record in JSON.
fn record(version: i64, status: &str, manifest: &str, method: &str) -> Value {
    let (_, hooks) = rendered(&format!("{manifest}{}", hooks()), true);
    json!({
        "name": "web", "namespace": NAMESPACE, "version": version, "manifest": manifest, "apply_method": method,
        "config": {"old": version}, "hooks": hooks,
        "chart": {"metadata": {"name": "web", "version": "0.9.0", "apiVersion": "v2"}, "templates": [], "files": []},
        "info": {"first_deployed": "2020-01-01T00:00:00Z", "last_deployed": "2020-01-02T00:00:00Z", "status": status,
            "description": format!("was {status}"), "notes": format!("notes {version}")},
    })
}

fn chart(template: &str) -> Chart {
    Chart::from_files(vec![
        File::new("Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n"),
        File::new("templates/all.yaml", template.to_owned()),
        File::new("templates/NOTES.txt", "revision {{ .Release.Revision }}"),
    ])
    .unwrap()
}

fn rendered(template: &str, upgrade: bool) -> (Draft, Value) {
    let config = load_values(b"given: true").unwrap();
    render_chart(&chart(template), config, 1, upgrade)
}

fn render_chart(chart: &Chart, config: Values, revision: i64, upgrade: bool) -> (Draft, Value) {
    let mut options = RenderOptions::new("web", NAMESPACE);
    options.revision = revision;
    options.is_upgrade = upgrade;
    let rendered = render(chart, &config, &options).unwrap();
    let hooks = serde_json::to_value(&rendered.hooks).unwrap();
    (Draft::new(chart, config, rendered), hooks)
}

/// The result of rendering the chart of a request for an upgrade.
fn upgraded(request: &Value, upgrade: &Upgrade) -> Draft {
    let template = request["template"].as_str().unwrap_or_default();
    let mut chart = chart(template);
    let read = |value: &Value| load_values(value.to_string().as_bytes()).unwrap();
    let mut config = match &request["values"] {
        Value::Null => load_values(b"given: true").unwrap(),
        values => read(values),
    };
    if !request["chartValues"].is_null() {
        chart.values = Some(read(&request["chartValues"]));
    }
    if flag(request, "reuseValues") {
        config = reuse_values(upgrade.base(), &mut chart, &config);
    }
    render_chart(&chart, config, upgrade.revision(), true).0
}

fn scope(api_version: &str, kind: &str) -> Option<Scope> {
    match (api_version, kind) {
        ("v1", "ConfigMap" | "Secret" | "Service" | "ServiceAccount" | "Pod")
        | ("apps/v1", "Deployment")
        | ("batch/v1", "Job" | "CronJob")
        | ("batch/v1beta1", "CronJob")
        | ("extensions/v1beta1" | "networking.k8s.io/v1", "Ingress")
        | ("example.com/v1", "Widget") => Some(Scope::Namespaced),
        ("v1", "Namespace")
        | ("rbac.authorization.k8s.io/v1", "ClusterRole")
        | ("apiextensions.k8s.io/v1", "CustomResourceDefinition") => Some(Scope::Cluster),
        _ => None,
    }
}

/// The API path of an object.
fn path(object: &Object) -> String {
    let api = match object.api_version.as_str() {
        "v1" => "/api/v1".to_owned(),
        group => format!("/apis/{group}"),
    };
    let namespace = match object.namespace.as_str() {
        "" => String::new(),
        namespace => format!("/namespaces/{namespace}"),
    };
    let kind = object.kind.to_lowercase();
    let plural = if kind.ends_with('s') { "es" } else { "s" };
    format!("{api}{namespace}/{kind}{plural}/{}", object.name)
}

fn names(objects: &[Object]) -> String {
    let names: Vec<_> = objects.iter().map(|o| o.name.as_str()).collect();
    names.join(" ")
}

fn flag(request: &Value, name: &str) -> bool {
    request[name].as_bool().unwrap_or_default()
}

/// Normalises numbers, which JSON text can write in several ways.
fn plain_numbers(value: Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.into_iter().map(plain_numbers).collect(),
        Value::Object(entries) => entries
            .into_iter()
            .map(|(key, value)| (key, plain_numbers(value)))
            .collect(),
        other => other,
    }
}
