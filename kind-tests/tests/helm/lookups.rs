//! `lookup` in templates.

use flux_budget::Budget;
use flux_errors::chain;
use flux_helm::{Chart, File, ParsedChart, RenderOptions, Values};
use flux_release::{SchemaDocuments, render};
use kind_tests::helm_cli::Helm;
use kind_tests::{Result, ensure};

use crate::bench::{Bench, Cli, files, unpack};

const OBJECTS: &str = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: found, labels: {of: us}}\ndata: {n: '1'}\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: b}\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n";

/// Templates with results.
const FOUND: &[&str] = &[
    r#"{{ (lookup "v1" "ConfigMap" .Release.Namespace "found").data | toJson }}"#,
    r#"{{ (lookup "v1" "ConfigMap" .Release.Namespace "found").metadata.labels | toJson }}"#,
    r#"{{ lookup "v1" "ConfigMap" .Release.Namespace "lost" | toJson }}"#,
    r#"{{ lookup "v1" "ConfigMap" "" "found" | toJson }}"#,
    r#"{{ lookup "v1" "ConfigMap" "no-such-namespace" "" | dig "items" "none" | toJson }}"#,
    r#"{{ $l := lookup "v1" "ServiceAccount" .Release.Namespace "" }}{{ $l.kind }} {{ $l.apiVersion }} {{ keys $l | sortAlpha }} {{ keys $l.metadata | sortAlpha }}{{ range $l.items }} {{ .apiVersion }}/{{ .kind }}/{{ .metadata.name }}{{ end }}"#,
    r#"{{ (lookup "v1" "Namespace" "ignored" .Release.Namespace).metadata.name }}"#,
    r#"{{ (lookup "v1" "Namespace" "" "default").kind }}"#,
    r#"{{ lookup "apps/v1" "Deployment" .Release.Namespace "" | dig "items" "none" | toJson }}"#,
    r#"{{ typeOf (lookup "v1" "ConfigMap" .Release.Namespace "found").metadata.creationTimestamp }}"#,
];

/// Templates with errors or unusual results.
const ODD: &[&str] = &[
    r#"{{ lookup "nowhere.io/v1" "Thing" "" "x" | toJson }}"#,
    r#"{{ lookup "v9" "Thing" "" "x" | toJson }}"#,
    r#"{{ lookup "v1" "Thing" "" "x" | toJson }}"#,
    r#"{{ lookup "apps/v1" "Thing" .Release.Namespace "x" | toJson }}"#,
    r#"{{ lookup "v1" "Thing" "" "" | toJson }}"#,
    r#"{{ lookup "apps/v1" "Thing" "" "" | toJson }}"#,
    r#"{{ lookup "v1" "ConfigMap" .Release.Namespace "Not A Name" | toJson }}"#,
];

/// Compares Helm's result with ours, both optionally impersonating a user.
async fn compare(bench: &Bench, lookups: &[&str], user: Option<&str>) -> Result {
    let lines = lookups.iter().enumerate();
    let lines = lines.map(|(at, lookup)| format!("  l{at}: |-\n    {lookup}\n"));
    let template = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x}}\ndata:\n{}",
        lines.collect::<String>()
    );
    let files = files(&[("templates/all.yaml", template.as_str())]);
    let chart = unpack(&bench.namespace.folder(), &files)?;
    let chart = chart.to_string_lossy();
    let cli = Cli {
        helm: Helm::V4,
        namespace: &bench.namespace,
    };
    let mut arguments = vec!["template", "web", &chart, "--dry-run=server"];
    arguments.extend(user.into_iter().flat_map(|user| ["--kube-as-user", user]));
    let output = cli.output(&arguments)?;
    let theirs = if output.status.success() {
        Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
    } else {
        let told = String::from_utf8(output.stderr)?;
        let told = told.replace("\n\nUse --debug flag to render out invalid YAML", "");
        let at = told.rfind("Error: ").unwrap_or_default();
        Err(told.get(at + 7..).unwrap_or_default().trim_end().to_owned())
    };
    let files = files
        .iter()
        .map(|(name, data)| File::new(*name, data.as_bytes().to_vec()));
    let chart = ParsedChart::new(Chart::from_files(files.collect())?);
    let options = RenderOptions::new("web", bench.namespace.name());
    let cluster = bench.target_as(user).await?;
    let documents = SchemaDocuments::from_environment(&Budget::unlimited());
    let rendered = render(&cluster, chart, Values::new(), options, &documents).await;
    let our = rendered
        .map(|rendered| rendered.manifest(false).trim_end().to_owned())
        .map_err(|error| chain(&error));
    ensure!(
        our == theirs,
        "{lookups:?}\nours: {our:?}\nhelm: {theirs:?}"
    );
    Ok(())
}

// HE-ENG-014 HE-ENG-015
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lookup_returns_the_same_objects_as_helm() -> Result {
    let ours = Bench::new("helm-lookup", &files(&[])).await?;
    ours.namespace.apply(OBJECTS).await?;
    compare(&ours, FOUND, None).await?;
    for odd in ODD {
        compare(&ours, &[odd], None).await?;
    }
    // Without permission nothing is found.
    for hidden in [
        r#"{{ lookup "v1" "Secret" .Release.Namespace "s" | toJson }}"#,
        r#"{{ lookup "v1" "Secret" "" "" | toJson }}"#,
    ] {
        compare(&ours, &[hidden], Some("jane")).await?;
    }
    Ok(())
}
