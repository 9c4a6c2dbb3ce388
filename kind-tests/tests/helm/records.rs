//! Our releases used by the real helm commands, and theirs used by us.

use flux_helm::{
    Hook, Release, SECRET_TYPE, SYSTEM_LABELS, Status, Time, decode, secret_labels, secret_name,
    to_go_json,
};
use kind_tests::helm_cli::Helm;
use kind_tests::{CONFIG_MAP, DEPLOYMENT, Namespace, Result, SECRET, ensure};
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::bench::{Bench, Cli, unpack};

const FILES: [(&str, &str); 6] = [
    (
        "Chart.yaml",
        "apiVersion: v2\nname: web\nversion: 1.2.3\nappVersion: \"2.0\"\ndescription: <a> & b\nkeywords: [x]\nannotations: {k: v}\n",
    ),
    (
        "values.yaml",
        "greeting: hello\nnested: {list: [1, 2.5, null], empty: {}}\n",
    ),
    (
        "values.schema.json",
        "{\"properties\": {\"greeting\": {\"type\": \"string\"}}}",
    ),
    (
        "templates/all.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: web\ndata:\n  greeting: {{ .Values.greeting | quote }}\n  revision: {{ .Release.Revision | quote }}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: 0\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec: {containers: [{name: web, image: example.com/web}]}\n",
    ),
    (
        "templates/hook.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: web-hook\n  annotations:\n    helm.sh/hook: post-install,post-upgrade,post-rollback\n    helm.sh/hook-weight: \"3\"\ndata: {is: a hook}\n",
    ),
    (
        "templates/NOTES.txt",
        "{{ .Release.Name }} says {{ .Values.greeting }}\n",
    ),
];

/// The records in the namespace, each with the JSON in its Secret.
async fn records(namespace: &Namespace) -> Result<Vec<(Release, String)>> {
    let list = namespace.api(SECRET).await?;
    let list = list
        .list(&ListParams::default().labels("owner=helm,name=web"))
        .await?;
    let mut records = Vec::new();
    for secret in list {
        let secret = serde_json::to_value(secret)?;
        ensure!(secret["type"] == SECRET_TYPE, "{}", secret["type"]);
        let data = secret["data"]["release"].as_str().unwrap_or_default();
        let data = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, data)?;
        let mut record = decode(&data)?;
        let name = secret_name(&record.name, record.revision);
        ensure!(
            secret["metadata"]["name"] == *name,
            "{}",
            secret["metadata"]
        );
        let mut labels: std::collections::BTreeMap<String, String> =
            serde_json::from_value(secret["metadata"]["labels"].clone())?;
        labels.retain(|key, _| !["createdAt", "modifiedAt"].contains(&key.as_str()));
        record.labels = labels.clone();
        record
            .labels
            .retain(|key, _| !SYSTEM_LABELS.contains(&key.as_str()));
        ensure!(secret_labels(&record) == labels, "{labels:?}");
        records.push((record, unpacked(&data)?));
    }
    records.sort_by_key(|(record, _)| record.revision);
    Ok(records)
}

/// The JSON packed in a Secret's value.
fn unpacked(data: &[u8]) -> Result<String> {
    use std::io::Read;
    let packed = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, data)?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_string(&mut text)?;
    Ok(text)
}

/// The draft of revision `revision`, as rendered here.
fn draft(bench: &Bench, values: &str, revision: i64) -> Result<flux_helm::action::Draft> {
    let config = flux_helm::load_values(values.as_bytes())?;
    let mut options = flux_helm::RenderOptions::new("web", bench.namespace.name());
    options.revision = revision;
    options.is_upgrade = revision > 1;
    let chart = bench.chart.chart();
    let rendered = flux_helm::render(chart, &config, &options)?;
    Ok(flux_helm::action::Draft::new(chart, config, rendered))
}

async fn greeting(namespace: &Namespace) -> Result<Value> {
    let map = namespace.get(CONFIG_MAP, "web").await?.unwrap_or_default();
    Ok(map["data"]["greeting"].clone())
}

/// The output of `helm history`.
fn helm_history(cli: &Cli<'_>) -> Result<Vec<Value>> {
    let told = cli.json(&["history", "web"])?;
    let told = told.as_array().cloned().unwrap_or_default();
    Ok(told
        .iter()
        .map(|told| {
            json!([
                told["revision"],
                told["status"],
                told["chart"],
                told["app_version"],
                told["description"]
            ])
        })
        .collect())
}

async fn helm_uses_our_release(helm: Helm, topic: &str) -> Result {
    let bench = Bench::new(topic, &FILES).await?;
    let namespace = &bench.namespace;
    let cli = Cli { helm, namespace };
    let labels = [("team".to_owned(), "a".to_owned())];
    bench
        .install_with("greeting: ours\nnumber: 1.50\n", |options| {
            options.labels.extend(labels);
        })
        .await?;
    let release = bench.upgrade("greeting: 'second'\n").await?;
    ensure!(release.revision == 2, "revision {}", release.revision);

    let list = cli.json(&["list", "-A"])?;
    let listed = list.as_array().into_iter().flatten();
    let listed = listed
        .filter(|told| told["namespace"] == namespace.name())
        .map(|told| {
            json!([
                told["name"],
                told["revision"],
                told["status"],
                told["chart"],
                told["app_version"]
            ])
        });
    assert_eq!(
        listed.collect::<Vec<_>>(),
        [json!(["web", "2", "deployed", "web-1.2.3", "2.0"])]
    );
    let status = cli.json(&["status", "web"])?;
    assert_eq!(status["info"]["status"], "deployed");
    assert_eq!(status["info"]["description"], "Upgrade complete");
    assert_eq!(status["info"]["notes"], "web says second\n");
    assert_eq!(
        cli.json(&["get", "values", "web"])?,
        json!({"greeting": "second"})
    );
    assert_eq!(
        cli.json(&["get", "values", "web", "--revision", "1", "--all"])?,
        json!({"greeting": "ours", "number": 1.5, "nested": {"empty": {}, "list": [1, 2.5, null]}})
    );
    assert_eq!(
        cli.run(&["get", "manifest", "web"])?.trim_end(),
        release.manifest.trim_end()
    );
    let hooks = cli.run(&["get", "hooks", "web"])?;
    assert!(
        hooks.contains("# Source: web/templates/hook.yaml"),
        "{hooks}"
    );
    let notes = cli.run(&["get", "notes", "web"])?;
    assert!(notes.contains("web says second"), "{notes}");
    let metadata = cli.json(&["get", "metadata", "web"])?;
    for (field, want) in [
        ("name", json!("web")),
        ("chart", json!("web")),
        ("version", json!("1.2.3")),
        ("appVersion", json!("2.0")),
        ("namespace", json!(namespace.name())),
        ("revision", json!(2)),
        ("status", json!("deployed")),
    ] {
        assert_eq!(metadata[field], want, "{field} of {metadata}");
    }
    if helm == Helm::V4 {
        assert_eq!(metadata["applyMethod"], "ssa", "{metadata}");
    }
    let all = cli.run(&["get", "all", "web"])?;
    assert!(
        all.contains("COMPUTED VALUES") && all.contains("NOTES:"),
        "{all}"
    );
    let first = json!([1, "superseded", "web-1.2.3", "2.0", "Install complete"]);
    let second = json!([2, "deployed", "web-1.2.3", "2.0", "Upgrade complete"]);
    assert_eq!(helm_history(&cli)?, [first, second]);

    // Its rollback becomes the base of our next upgrade.
    let force: &[&str] = match helm {
        // Server-side apply conflicts with other managers.
        Helm::V4 => &["--force-conflicts"],
        Helm::V3 => &[],
    };
    cli.run(&[&["rollback", "web", "1"], force].concat())?;
    assert_eq!(greeting(namespace).await?, "ours");
    let (rolled, _) = records(namespace).await?.pop().unwrap_or_default();
    assert_eq!((rolled.revision, rolled.status()), (3, Status::Deployed));
    assert_eq!(
        rolled.info.clone().unwrap_or_default().description,
        "Rollback to 1"
    );
    assert_eq!(rolled.labels.get("team").map(String::as_str), Some("a"));
    bench.upgrade("greeting: fourth\n").await?;
    assert_eq!(greeting(namespace).await?, "fourth");
    let statuses: Vec<_> = helm_history(&cli)?
        .iter()
        .map(|told| told[1].clone())
        .collect();
    assert_eq!(
        statuses,
        ["superseded", "superseded", "superseded", "deployed"]
    );

    cli.run(&["uninstall", "web", "--wait"])?;
    assert_eq!(records(namespace).await?.len(), 0);
    assert!(namespace.get(DEPLOYMENT, "web").await?.is_none());
    // Hooks are not deleted unless a policy says so.
    assert!(namespace.get(CONFIG_MAP, "web").await?.is_none());
    assert!(namespace.get(CONFIG_MAP, "web-hook").await?.is_some());
    Ok(())
}

async fn we_use_helms_release(helm: Helm, topic: &str) -> Result {
    let bench = Bench::new(topic, &FILES).await?;
    let namespace = &bench.namespace;
    let cli = Cli { helm, namespace };
    let chart = unpack(&namespace.folder(), &FILES)?;
    let chart = chart.to_string_lossy();
    cli.run(&[
        "install",
        "web",
        &chart,
        "--set",
        "greeting=theirs,number=1.5",
        "--labels",
        "team=b",
    ])?;
    cli.run(&[
        "upgrade",
        "web",
        &chart,
        "--set",
        "greeting=again",
        "--description",
        "by hand",
    ])?;

    let found = records(namespace).await?;
    assert_eq!(found.len(), 2);
    for (values, (record, text)) in ["greeting: theirs\nnumber: '1.5'\n", "greeting: again\n"]
        .iter()
        .zip(&found)
    {
        // Every field reads and writes unchanged. Helm 3 writes that nothing was deleted, and no schema times.
        let same = |text: &str| {
            text.replace("\"deleted\":\"\",", "")
                .replace("\"schemamodtime\":\"0001-01-01T00:00:00Z\",", "")
        };
        let ours = String::from_utf8(to_go_json(record)?)?;
        if helm == Helm::V3 {
            assert_eq!(same(&ours), same(text));
        } else {
            assert_eq!(ours, *text);
        }
        let draft = draft(&bench, values, record.revision)?;
        if helm == Helm::V3 {
            // It leaves no empty line at the end of a document.
            assert_eq!(record.manifest, draft.manifest.replace("\n\n", "\n"));
        } else {
            assert_eq!(record.manifest, draft.manifest);
        }
        assert_eq!(record.config, draft.config);
        assert_eq!(record.info.clone().unwrap_or_default().notes, draft.notes);
        assert_eq!(record.labels.get("team").map(String::as_str), Some("b"));
        let method = if helm == Helm::V4 { "ssa" } else { "" };
        assert_eq!(record.apply_method, method);
        let told_of = |hook: &Hook| {
            let manifest = match helm {
                Helm::V3 => hook.manifest.trim_end(),
                Helm::V4 => &hook.manifest,
            };
            (
                hook.name.clone(),
                manifest.to_owned(),
                hook.weight,
                hook.events.clone(),
            )
        };
        let run: Vec<_> = record.hooks.iter().map(told_of).collect();
        let ours: Vec<_> = draft.hooks.iter().map(told_of).collect();
        assert_eq!(run, ours);
        let (mut theirs, mut ours) = (
            record.chart.clone().unwrap_or_default(),
            draft.chart.unwrap_or_default(),
        );
        // Files of a folder have times.
        for chart in [&mut theirs, &mut ours] {
            chart.mod_time = Time::zero();
            chart.schema_mod_time = Time::zero();
            for file in chart.templates.iter_mut().chain(&mut chart.files) {
                file.mod_time = Time::zero();
            }
            chart.templates.sort_by(|a, b| a.name.cmp(&b.name));
        }
        assert_eq!(theirs, ours);
    }
    assert_eq!(found[0].0.status(), Status::Superseded);
    assert_eq!(
        found[1].0.info.clone().unwrap_or_default().description,
        "by hand"
    );

    let release = bench.upgrade("greeting: ours\n").await?;
    assert_eq!(
        release.apply_method,
        if helm == Helm::V4 { "ssa" } else { "csa" }
    );
    assert_eq!(release.labels.get("team").map(String::as_str), Some("b"));
    let told: Vec<_> = helm_history(&cli)?
        .iter()
        .map(|told| json!([told[0], told[1]]))
        .collect();
    assert_eq!(
        told,
        [
            json!([1, "superseded"]),
            json!([2, "superseded"]),
            json!([3, "deployed"])
        ]
    );
    assert_eq!(
        cli.json(&["get", "values", "web"])?,
        json!({"greeting": "ours"})
    );
    cli.run(&[
        "upgrade",
        "web",
        &chart,
        "--set",
        "greeting=last",
        "--force-conflicts",
    ])
    .or_else(|_| cli.run(&["upgrade", "web", &chart, "--set", "greeting=last"]))?;
    assert_eq!(greeting(namespace).await?, "last");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn helm_4_can_manage_our_release() -> Result {
    // HE-REL-013 HE-REL-014 HE-ACT-023
    Box::pin(helm_uses_our_release(Helm::V4, "helm4-ours")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn helm_3_can_manage_our_release() -> Result {
    // HE-REL-013 HE-REL-014
    Box::pin(helm_uses_our_release(Helm::V3, "helm3-ours")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn we_can_manage_a_release_of_helm_4() -> Result {
    // HE-REL-012, HE-REL-014
    we_use_helms_release(Helm::V4, "helm4-theirs").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn we_can_manage_a_release_of_helm_3() -> Result {
    // HE-REL-012 HE-REL-014
    we_use_helms_release(Helm::V3, "helm3-theirs").await
}
