//! Tests which objects a manifest has, and which are created, updated and pruned.

use flux_helm::action::{Identity, Object, objects, plan};
use flux_helm::{Release, Values};
use oracle::{Answer, Oracle};
use serde_json::{Value, json};

use super::{NAMESPACE, flag, path, plain_numbers, scope};

const MANIFESTS: &[&str] = &[
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {a: 1}}\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a, annotations: [a]}\n",
    "apiVersion: v1\nkind: Pod\nmetadata: text\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {a: null}}\n",
    "apiVersion: 1\nkind: Pod\n",
    "apiVersion: v1\nkind: 5\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a, creationTimestamp: 5}\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a, finalizers: x, generation: x, ownerReferences: {}}\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {uid: 5, generation: x}\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {generation: x, ownerReferences: {}}\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {ownerReferences: {}}\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {managedFields: x, finalizers: [x]}\n",
    "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Pod, metadata: {name: 5, labels: {a: 1}}}]\n",
    "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1}]\n",
    "apiVersion: v1\nkind: List\nitems: [5]\n",
    "",
    "---\n# Source: a\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {n: \"1\"}\n---\n# only a comment\n---\nnull\n",
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: else}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: a, namespace: wrong}\n",
    "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: s}}\n- {apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: r}}\n",
    "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: List\n  items: [{apiVersion: v1, kind: Pod, metadata: {name: inner}}]\n- {apiVersion: v1, kind: Pod, metadata: {name: outer}}\n",
    "apiVersion: v1\nkind: List\nitems: []\n",
    "apiVersion: v1\nkind: List\nitems: null\n",
    "apiVersion: v1\nkind: List\nitems: text\n",
    "apiVersion: v1\nkind: ConfigMapList\nitems: [{metadata: {name: a}}]\n",
    "apiVersion: v1\nkind: List\nitems: [{metadata: {name: a}}]\n",
    "apiVersion: v1\nkind: List\nitems: [{apiVersion: x/v1, kind: Nope}, {apiVersion: v1, kind: Pod}, {apiVersion: y/v1, kind: Nope}]\n",
    "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\nitems: [{metadata: {name: a}}]\n",
    "apiVersion: v1\nmetadata: {name: a}\nx: '<&>'\n",
    "[1]\n",
    "text\n",
    "apiVersion: x/v1\nkind: Nope\nmetadata: {name: '\"n\"', namespace: q}\n---\napiVersion: x/v1\nkind: Nope\nmetadata: {name: '\"n\"', namespace: q}\n",
    "apiVersion: x/v1\nkind: Nope\nmetadata: {name: n}\n---\nkind: Nope\n---\napiVersion: v1\nkind: Pod\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\na: [\n---\napiVersion: x/v1\nkind: Nope\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n--- text\napiVersion: v1\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {a: 1.0, b: 1.5, c: 10000000000000000000, d: 1e3, e: -0, f: 12345678901}\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {generateName: a-, labels: null}\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: 5, namespace: null}\n",
];

#[test]
fn manifest_objects_are_parsed_as_in_helm() {
    // HE-KUBE-002 HE-KUBE-003 HE-ACT-006
    let Some(mut go) = Oracle::start("helm-actions") else {
        return;
    };
    let questions: Vec<_> = MANIFESTS
        .iter()
        .map(|manifest| json!({"mode": "objects", "manifest": manifest, "namespace": NAMESPACE}))
        .collect();
    for (manifest, answer) in MANIFESTS.iter().zip(go.ask_all(&questions)) {
        let ours = match objects(manifest, NAMESPACE, &scope) {
            Ok(objects) => Answer::Output(
                objects
                    .iter()
                    .map(|o| json!({"namespace": o.namespace, "name": o.name, "object": as_json(&o.value)}))
                    .collect(),
            ),
            Err(error) => Answer::Error(error.to_string()),
        };
        let (ours, theirs) = (plain(ours), plain(answer));
        assert_eq!(ours, theirs, "{manifest}");
    }
}

fn plain(answer: Answer) -> Answer {
    match answer {
        Answer::Output(value) => Answer::Output(plain_numbers(value)),
        error => error,
    }
}

fn as_json(value: &flux_yaml::Value) -> Value {
    let config: Values = [("v".to_owned(), value.clone())].into_iter().collect();
    let release = Release {
        config,
        ..Release::default()
    };
    serde_json::to_value(release).unwrap()["config"]["v"].take()
}

/// The requests of an update by server-side apply or replacement, according to this crate's plan.
fn requests(question: &Value) -> Vec<Value> {
    let manifest =
        |name: &str| objects(question[name].as_str().unwrap(), NAMESPACE, &scope).unwrap();
    let (base, target) = (manifest("base"), manifest("target"));
    let plan = plan(&base, &target, &[] as &[Identity<'_>]);
    let live = |object: &Object| !question["live"][path(object)].is_null();
    let mut requests = Vec::new();
    let mut ask = |method: &str, path: String| requests.push(json!([method, path]));
    for update in &plan.updates {
        let at = path(update.target);
        ask("GET", at.clone());
        if live(update.target) {
            if update.original.is_none() {
                ask("GET", at.clone());
            }
            if flag(question, "force") {
                // Helm reads the resource version to replace.
                ask("GET", at.clone());
                ask("PUT", at);
                continue;
            }
            ask("PATCH", at);
        } else if flag(question, "serverSide") {
            ask("PATCH", at);
        } else {
            ask("POST", at.rsplit_once('/').unwrap().0.to_owned());
        }
    }
    for object in plan.prune {
        ask("GET", path(object));
        let found = &question["live"][path(object)];
        if found.is_null() {
            continue;
        }
        let found = flux_yaml::sigs::from_str(found.to_string()).unwrap();
        if !flux_helm::action::ResourcePolicy::keeps(&found) {
            ask("DELETE", path(object));
        }
    }
    requests
}

#[test]
fn created_changed_and_pruned_objects_match_helm() {
    let Some(mut go) = Oracle::start("helm-actions") else {
        return;
    };
    let map = |name: &str, more: &str| {
        format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}{more}}}\n")
    };
    let at = |name: &str| format!("/api/v1/namespaces/apps/configmaps/{name}");
    let live = |name: &str, annotations: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": NAMESPACE, "annotations": annotations}});
    let beta = "---\napiVersion: batch/v1beta1\nkind: CronJob\nmetadata: {name: c}\n";
    let stable = "---\napiVersion: batch/v1\nkind: CronJob\nmetadata: {name: c}\n";
    let deployment = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n";
    let cases = [
        // HE-KUBE-007, HE-KUBE-014
        (
            map("a", ""),
            map("a", ""),
            json!({at("a"): live("a", json!({}))}),
        ),
        // HE-KUBE-005, HE-KUBE-016
        (
            map("a", ""),
            map("b", ""),
            json!({at("a"): live("a", json!({}))}),
        ),
        // HE-KUBE-008
        (
            map("a", "") + &map("gone", ""),
            map("b", "") + &map("a", ""),
            json!({at("a"): live("a", json!({})), at("b"): live("b", json!({}))}),
        ),
        // HE-KUBE-017
        (
            map("a", ""),
            String::new(),
            json!({at("a"): live("a", json!({"helm.sh/resource-policy": "keep"}))}),
        ),
        (
            map("a", ""),
            String::new(),
            json!({at("a"): live("a", json!({"helm.sh/resource-policy": "Keep"}))}),
        ),
        (
            map("a", ", annotations: {helm.sh/resource-policy: keep}"),
            String::new(),
            json!({at("a"): live("a", json!({}))}),
        ),
        (
            map("a", ""),
            map("a", ", namespace: other"),
            json!({at("a"): live("a", json!({}))}),
        ),
        (
            beta.to_owned(),
            stable.to_owned(),
            json!({"/apis/batch/v1/namespaces/apps/cronjobs/c": {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c", "namespace": NAMESPACE}}}),
        ),
        (
            map("a", ""),
            deployment.to_owned(),
            json!({at("a"): live("a", json!({}))}),
        ),
    ];
    for (base, target, live) in cases {
        for (server_side, force) in [(true, false), (false, true)] {
            let question = json!({"mode": "update", "base": base, "target": target, "namespace": NAMESPACE, "live": live,
                "serverSide": server_side, "conflicts": server_side, "force": force});
            let Answer::Output(theirs) = go.ask(&question) else {
                panic!("{question:#}");
            };
            assert_eq!(theirs["error"], "", "{question:#}");
            let theirs: Vec<_> = theirs["requests"]
                .as_array()
                .unwrap()
                .iter()
                // If an object is not found, Helm looks up the namespace.
                .filter(|request| request["path"] != "/api/v1/namespaces/apps")
                .map(|request| json!([request["method"], request["path"]]))
                .collect();
            assert_eq!(requests(&question), theirs, "{question:#}");
        }
    }
}

#[test]
fn a_kind_that_moves_to_another_group_is_created_and_pruned() {
    // HE-KUBE-020
    let ingress = |api: &str| format!("apiVersion: {api}\nkind: Ingress\nmetadata: {{name: i}}\n");
    let (old, new) = (
        "/apis/extensions/v1beta1/namespaces/apps/ingresses/i",
        "/apis/networking.k8s.io/v1/namespaces/apps/ingresses/i",
    );
    let question = json!({"base": ingress("extensions/v1beta1"), "target": ingress("networking.k8s.io/v1"),
        "live": {(old): {"metadata": {"name": "i"}}}, "serverSide": true});
    let want = [("GET", new), ("PATCH", new), ("GET", old), ("DELETE", old)];
    let want = want.map(|(method, path)| json!([method, path]));
    assert_eq!(requests(&question), want);
}
