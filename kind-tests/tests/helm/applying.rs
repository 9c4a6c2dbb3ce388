//! How the objects of a release are created and changed.

use flux_helm::action::{ApplyMethod, ApplyMethodChoice, UninstallOptions, UpgradeOptions};
use flux_helm::{Status, secret_name};
use kind_tests::helm_cli::Helm;
use kind_tests::{CONFIG_MAP, DEPLOYMENT, Kind, Result, SECRET, ensure};
use serde_json::{Value, json};

use crate::bench::{Bench, Cli, failure, files};

const NAMESPACE: Kind = Kind("v1", "Namespace");
const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: map}\ndata: {is: '{{ .Values.is }}', rest: same}\n";
const WEB: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 0\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec: {containers: [{name: web, image: example.com/web, env: [{name: IS, value: '{{ .Values.is }}'}]}]}\n";
const HOOK: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: hook\n  annotations: {helm.sh/hook: 'pre-install,pre-upgrade'}\n";

/// The managers of an object's fields, with the managed fields, without times.
fn managed(object: &Value) -> Vec<Value> {
    let entries = object["metadata"]["managedFields"].as_array();
    let mut managed: Vec<Value> = entries
        .into_iter()
        .flatten()
        .map(|entry| {
            json!([
                entry["manager"],
                entry["operation"],
                entry["subresource"],
                entry["fieldsV1"]
            ])
        })
        .collect();
    managed.sort_by_key(ToString::to_string);
    managed
}

fn managers(object: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let own = |entry: &Value| entry[2].is_null();
    managed(object)
        .iter()
        .filter(|entry| own(entry))
        .map(|entry| (text(&entry[0]), text(&entry[1])))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_have_the_ownership_that_helm_sets() -> Result {
    let templates = [
        ("templates/map.yaml", MAP),
        ("templates/web.yaml", WEB),
        ("templates/hook.yaml", HOOK),
    ];
    let mut ours = Bench::new("helm-managers", &files(&templates)).await?;
    let theirs = Bench::new("helm-managers-helm", &files(&templates)).await?;
    let helm = |arguments: &[&str]| -> Result {
        let output = theirs.helm(arguments)?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "helm: {told}");
        Ok(())
    };
    for (step, method) in [
        ("client-side", ApplyMethod::ClientSide),
        ("server-side", ApplyMethod::ServerSide),
        ("server-side again", ApplyMethod::ServerSide),
    ] {
        let fixed = match method {
            ApplyMethod::ClientSide => "--server-side=false",
            ApplyMethod::ServerSide => "--server-side=true",
        };
        let values = format!("is: {step}\n");
        let set = format!("is={step}");
        if step == "client-side" {
            ours.method = method;
            ours.install(&values).await?;
            helm(&["install", "web", fixed, "--set", &set])?;
        } else {
            let options = UpgradeOptions {
                apply_method: ApplyMethodChoice::Fixed(method),
                ..UpgradeOptions::default()
            };
            let upgraded = ours.try_upgrade(&values, options).await?;
            ensure!(upgraded.result.is_ok(), "{step}: {:?}", upgraded.result);
            let force = "--force-conflicts";
            helm(&["upgrade", "web", fixed, force, "--set", &set])?;
        }
        for (kind, name) in [
            (CONFIG_MAP, "map"),
            (CONFIG_MAP, "hook"),
            (DEPLOYMENT, "web"),
        ] {
            let own = |object: &Value| {
                let managed: Vec<_> = managed(object)
                    .into_iter()
                    .filter(|entry| entry[2].is_null() && entry[0] != "kube-controller-manager")
                    .collect();
                Value::from(managed)
                    .to_string()
                    .replace("helm-controller", "helm")
            };
            let our = ours.namespace.get(kind, name).await?.unwrap_or_default();
            let their = theirs.namespace.get(kind, name).await?.unwrap_or_default();
            // HE-KUBE-013, HE-ACT-007: operations, fields and metadata are those that Helm manages
            ensure!(
                own(&our) == own(&their),
                "{step} {name}:\n{}\n{}",
                own(&our),
                own(&their)
            );
            // HE-KUBE-001
            for (manager, _) in managers(&our) {
                ensure!(
                    manager == "helm-controller" || manager == "kube-controller-manager",
                    "{step} {name}: {manager}"
                );
            }
        }
        let record = secret_name("web", 1);
        let record = ours.namespace.get(SECRET, &record).await?;
        let record = managers(&record.unwrap_or_default());
        ensure!(
            record == [("helm-controller".to_owned(), "Update".to_owned())],
            "{record:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apply_errors_match_helm() -> Result {
    let web = WEB.replace("{{ .Values.is }}", "x");
    let unknown = web.replace("replicas: 0", "replicas: 0\n  replica: 1");
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bad_NAME}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: fine}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: map}\ndata: {of: x}\nextra: x\n";
    let ours = Bench::new(
        "helm-refused",
        &files(&[
            ("templates/web.yaml", &unknown),
            ("templates/map.yaml", map),
        ]),
    )
    .await?;
    let lines = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
        lines.sort();
        lines
    };
    let our = ours.install_error().await?;
    // HE-KUBE-004, HE-KUBE-006: one kind after the other, errors in that order; valid objects are created
    ensure!(our.lines().count() == 3, "{our}");
    for (line, part) in our.lines().zip(["bad_NAME", ".extra:", ".spec.replica:"]) {
        ensure!(line.contains(part), "{our}");
    }
    ensure!(
        ours.namespace.get(CONFIG_MAP, "fine").await?.is_some(),
        "fine"
    );
    let record = ours.releaser().records().get("web", 1).await?;
    let record = record.unwrap_or_default();
    // HE-ACT-012
    ensure!(record.status() == Status::Failed, "{}", record.status());

    let theirs = ours.helm_error(&["install", "web2"])?;
    let theirs = theirs.replace("web2", "web");
    // Helm first reports objects of other releases.
    ensure!(theirs.contains("cannot be imported"), "{theirs}");
    let cli = Cli {
        helm: Helm::V4,
        namespace: &ours.namespace,
    };
    cli.run(&["uninstall", "web", "--wait"])?;
    let theirs = ours.helm_error(&["install", "web"])?;
    // HE-KUBE-011
    ensure!(
        lines(&our) == lines(&theirs),
        "ours:\n{our}\nhelm:\n{theirs}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_pruned_if_an_object_cannot_be_applied() -> Result {
    let old = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: old}\n";
    let kept = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept}\n";
    let map = MAP.replace("{{ .Values.is }}", "x");
    let mut ours = Bench::new(
        "helm-prune",
        &files(&[
            ("templates/map.yaml", &map),
            ("templates/old.yaml", old),
            ("templates/kept.yaml", kept),
            ("templates/web.yaml", &WEB.replace("{{ .Values.is }}", "x")),
        ]),
    )
    .await?;
    ours.install("{}").await?;
    let keep = json!({"metadata": {"annotations": {"helm.sh/resource-policy": "keep"}}});
    ours.namespace.merge(CONFIG_MAP, "kept", keep).await?;

    // HE-KUBE-007: the selector is immutable, and unknown fields are errors; both are reported
    let web = WEB
        .replace("{{ .Values.is }}", "x")
        .replace("app: web", "app: other");
    let wrong = map.replace("\ndata:", "\nwrong: x\ndata:");
    let new = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: new}\n";
    ours.change(&files(&[
        ("templates/map.yaml", &wrong),
        ("templates/web.yaml", &web),
        ("templates/new.yaml", new),
    ]))?;
    let options = UpgradeOptions {
        cleanup_on_fail: true,
        ..UpgradeOptions::default()
    };
    let failed = ours.try_upgrade("{}", options).await?;
    let error = failure(failed.result);
    let parts: Vec<&str> = error.split(" && ").collect();
    ensure!(
        matches!(parts.as_slice(), [map, web] if map.contains("field not declared in schema") && web.contains("field is immutable")),
        "{error}"
    );
    // HE-KUBE-018: nothing is pruned; HE-ACT-022: what was created is cleaned up
    for (name, there) in [("old", true), ("kept", true), ("new", false)] {
        let found = ours.namespace.get(CONFIG_MAP, name).await?.is_some();
        ensure!(found == there, "{name} is there: {found}");
    }

    ours.change(&files(&[("templates/map.yaml", &map)]))?;
    let upgraded = ours.upgrade("{}").await?;
    ensure!(upgraded.revision == 3, "{}", upgraded.revision);
    // HE-KUBE-016
    ours.namespace.wait_gone(CONFIG_MAP, "old").await?;
    ours.namespace.wait_gone(DEPLOYMENT, "web").await?;
    // HE-KUBE-017
    let kept = ours.namespace.get(CONFIG_MAP, "kept").await?;
    ensure!(kept.is_some(), "kept was pruned");
    Ok(())
}

// HE-ACT-008 HE-ACT-009 HE-KUBE-015
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn existing_objects_are_adopted_only_on_request() -> Result {
    let map = MAP.replace("{{ .Values.is }}", "ours");
    let mut ours = Bench::new("helm-adopt", &files(&[("templates/map.yaml", &map)])).await?;
    let there =
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: map}, data: {is: theirs, more: x}}";
    ours.namespace.apply(there).await?;
    let our = ours.install_error().await?;
    ensure!(our == ours.helm_error(&["install", "web"])?, "{our}");
    ensure!(
        ours.releaser().records().history("web").await?.is_empty(),
        "a record"
    );

    ours.options.take_ownership = true;
    ours.install("{}").await?;
    let live = ours
        .namespace
        .get(CONFIG_MAP, "map")
        .await?
        .unwrap_or_default();
    ensure!(
        live["data"] == json!({"is": "ours", "rest": "same", "more": "x"}),
        "{live}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_side_updates_only_send_changes() -> Result {
    let mut ours = Bench::new(
        "helm-client-side",
        &files(&[("templates/map.yaml", MAP), ("templates/web.yaml", WEB)]),
    )
    .await?;
    ours.method = ApplyMethod::ClientSide;
    let writes = |counter: &kind_tests::requests::Counter| -> Result<Vec<String>> {
        let requests = counter.requests()?;
        let writes = requests.iter().filter(|r| {
            ["create", "update", "patch"].contains(&r.verb.as_str()) && r.resource != "secrets"
        });
        Ok(writes
            .map(|r| format!("{} {}", r.verb, r.resource))
            .collect())
    };
    let counter = ours.counter()?;
    ours.install("is: a").await?;
    let sent = writes(&counter)?;
    // HE-KUBE-005
    ensure!(
        sent == ["create configmaps", "create deployments"],
        "{sent:?}"
    );

    // Additions by others stay, changes of the release's fields are reverted.
    let drift = json!({"data": {"is": "drift", "theirs": "x"}});
    ours.namespace.merge(CONFIG_MAP, "map", drift).await?;
    let counter = ours.counter()?;
    ours.upgrade("is: a").await?;
    let sent = writes(&counter)?;
    // HE-KUBE-010: the Deployment's patch is empty
    ensure!(sent == ["patch configmaps"], "{sent:?}");
    let live = ours
        .namespace
        .get(CONFIG_MAP, "map")
        .await?
        .unwrap_or_default();
    // HE-KUBE-009
    ensure!(
        live["data"] == json!({"is": "a", "rest": "same", "theirs": "x"}),
        "{live}"
    );

    // HE-KUBE-014
    ours.options.force = true;
    let counter = ours.counter()?;
    ours.upgrade("is: b").await?;
    let sent = writes(&counter)?;
    ensure!(
        sent == ["update configmaps", "update deployments"],
        "{sent:?}"
    );
    let strict = counter.requests()?;
    let strict = strict
        .iter()
        .filter(|r| r.verb == "update" && r.resource != "secrets");
    for request in strict {
        ensure!(
            request.uri.contains("fieldValidation=Strict"),
            "{}",
            request.uri
        );
    }
    let live = ours
        .namespace
        .get(CONFIG_MAP, "map")
        .await?
        .unwrap_or_default();
    ensure!(live["data"] == json!({"is": "b", "rest": "same"}), "{live}");
    Ok(())
}

// HE-ACT-025 HE-ACT-027 HE-ACT-028
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_restores_the_previous_objects() -> Result {
    let one = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\n";
    let two = one.replace("one", "two");
    let mut ours = Bench::new(
        "helm-rollback",
        &files(&[("templates/map.yaml", MAP), ("templates/one.yaml", one)]),
    )
    .await?;
    ours.install("is: first").await?;
    ours.change(&files(&[
        ("templates/map.yaml", MAP),
        ("templates/two.yaml", &two),
    ]))?;
    ours.upgrade("is: second").await?;
    ours.namespace.wait_gone(CONFIG_MAP, "one").await?;
    ours.namespace.delete(CONFIG_MAP, "map").await?;

    let performed = ours.rollback().await?;
    ensure!(performed.result.is_ok(), "{:?}", performed.result);
    let live = ours.namespace.get(CONFIG_MAP, "map").await?;
    let live = live.unwrap_or_default();
    ensure!(live["data"]["is"] == "first", "{live}");
    ensure!(
        ours.namespace.get(CONFIG_MAP, "one").await?.is_some(),
        "one was not made again"
    );
    ours.namespace.wait_gone(CONFIG_MAP, "two").await?;
    let history = ours.releaser().records().history("web").await?;
    let told: Vec<_> = history
        .iter()
        .map(|record| (record.revision, record.status()))
        .collect();
    ensure!(
        told == [
            (1, Status::Superseded),
            (2, Status::Superseded),
            (3, Status::Deployed)
        ],
        "{told:?}"
    );
    Ok(())
}

// HE-KUBE-003
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generate_name_behaves_as_in_helm() -> Result {
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: made-up-}\n";
    let two = map.replace("generateName", "name: a, generateName");
    let mut ours = Bench::new("helm-generated", &files(&[("templates/m.yaml", map)])).await?;
    let our = ours.install_error().await?;
    // An object without name cannot be deleted either.
    ours.namespace
        .delete(SECRET, &secret_name("web", 1))
        .await?;
    let their = ours.helm_error(&["install", "web"])?;
    ensure!(our == their, "{our}\n{their}");
    ours.namespace
        .delete(SECRET, &secret_name("web", 1))
        .await?;

    // Client-side it is created once.
    ours.method = ApplyMethod::ClientSide;
    ours.install("{}").await?;
    let mut made = ours.namespace.names(CONFIG_MAP).await?;
    made.retain(|name| name.starts_with("made-up-"));
    ensure!(made.len() == 1, "{made:?}");
    let our = ours.try_upgrade("{}", UpgradeOptions::default()).await?;
    let our = failure(our.result);
    let their = ours.helm_error(&["upgrade", "web"])?;
    let their = their.trim_start_matches("UPGRADE FAILED: ");
    ensure!(our == their, "{our}\n{their}");

    ours.change(&files(&[("templates/m.yaml", &two)]))?;
    let our = ours.try_upgrade("{}", UpgradeOptions::default()).await?;
    let our = failure(our.result);
    let their = ours.helm_error(&["upgrade", "web"])?;
    let their = their.trim_start_matches("UPGRADE FAILED: ");
    ensure!(our == their, "{our}\n{their}");
    Ok(())
}

// HE-ACT-010
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_namespace_is_created_if_missing() -> Result {
    let map = MAP.replace("{{ .Values.is }}", "x");
    let mut ours = Bench::new("helm-namespace", &files(&[("templates/map.yaml", &map)])).await?;
    for (method, suffix) in [
        (ApplyMethod::ServerSide, "server"),
        (ApplyMethod::ClientSide, "client"),
    ] {
        ours.method = method;
        let name = format!("{}-{suffix}", ours.namespace.name());
        // The second time it exists.
        for time in ["first", "second"] {
            let installed = ours
                .try_install("{}", |options| {
                    options.namespace.clone_from(&name);
                    options.create_namespace = true;
                })
                .await?;
            ensure!(
                installed.result.is_ok(),
                "{suffix} {time}: {:?}",
                installed.result
            );
            let made = ours
                .namespace
                .get(NAMESPACE, &name)
                .await?
                .unwrap_or_default();
            ensure!(made["metadata"]["labels"]["name"] == *name, "{made}");
            let gone = ours.uninstall(UninstallOptions::default()).await?;
            ensure!(gone.result.is_ok(), "{suffix} {time}: {:?}", gone.result);
        }
        ours.namespace.delete(NAMESPACE, &name).await?;
    }
    Ok(())
}
