//! `cargo bench -p kind-tests --bench unchanged`: runs that change nothing: of 100 and of 5,000 objects, and of fifty
//! Kustomizations on one repository of 20,000 files.

mod figures;

use std::process::ExitCode;

use figures::{Span, Took, mebibytes, milliseconds, print, seconds};
use kind_tests::controller::Settings;
use kind_tests::{Applier, KUSTOMIZATION, Result, is_ready};
use serde_json::{Value, json};

/// Measured runs, after a first one that determines which requests can be omitted.
const RUNS: u32 = 4;
const KUSTOMIZATIONS: usize = 50;
/// With 4 KiB each these are more than the controller keeps of artifacts.
const FILES: usize = 20_000;

fn main() -> ExitCode {
    figures::main(bench())
}

async fn bench() -> Result {
    let cluster = figures::cluster().await?;
    for objects in [100, 5_000] {
        let applier = Applier::start_on(&cluster, "unchanged", Settings::default()).await?;
        let maps = (0..objects).map(|number| (format!("{number}.yaml"), map(number)));
        let took = install(&applier, &maps.collect::<Vec<_>>(), &["app"]).await?;
        show(&format!("install of {objects} objects"), &took, 1);
        again(&applier, &["app"]).await?;
        let mut cpu = std::time::Duration::ZERO;
        for _ in 0..RUNS {
            cpu += again(&applier, &["app"]).await?.cpu;
        }
        let what = format!("processor time of an unchanged run of {objects}");
        print(&what, &milliseconds(cpu / RUNS), "");
    }

    let applier = Applier::start_on(&cluster, "fifty", Settings::default()).await?;
    let names: Vec<String> = (0..KUSTOMIZATIONS)
        .map(|number| format!("app-{number}"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let manifests = names.iter().zip(0..);
    let mut files: Vec<(String, String)> = manifests
        .map(|(name, number)| (format!("{name}/a.yaml"), map(number)))
        .collect();
    let filler = "x".repeat(4 << 10);
    files.extend((files.len()..FILES).map(|number| (format!("docs/{number}"), filler.clone())));
    let took = install(&applier, &files, &names).await?;
    show("install of fifty", &took, 1);
    for which in ["second", "third", "fourth"] {
        let took = again(&applier, &names).await?;
        show(&format!("{which} run of fifty"), &took, 1);
    }
    print(
        "peak memory of kustomize-controller",
        &mebibytes(applier.kustomize.peak_bytes()?),
        "",
    );
    Ok(())
}

fn show(what: &str, took: &Took, runs: u32) {
    print(what, &seconds(took.wall), "");
    print("  processor time", &milliseconds(took.cpu / runs), "");
}

fn map(number: usize) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: map-{number}\ndata:\n  value: \"{number}\"\n  more: {}\n",
        "text ".repeat(20)
    )
}

/// Publishes the files and applies a Kustomization of each name; one of several has the folder of its name.
async fn install(applier: &Applier, files: &[(String, String)], names: &[&str]) -> Result<Took> {
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    applier.publish("main@sha1:1", &files).await?;
    let span = Span::start(&applier.kustomize, &applier.namespace)?;
    for name in names {
        let path = format!("path: ./{}", if names.len() > 1 { name } else { "" });
        let yaml = applier.kustomization(name, &[&path, "prune: true"]);
        applier.namespace.apply(&yaml).await?;
    }
    all(applier, names.len(), "are installed", |object| {
        is_ready(object, "True")
    })
    .await?;
    span.end(&applier.kustomize)
}

/// Has all of them reconciled once more.
async fn again(applier: &Applier, names: &[&str]) -> Result<Took> {
    let at = format!("{:?}", std::time::Instant::now());
    let span = Span::start(&applier.kustomize, &applier.namespace)?;
    for name in names {
        let patch = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": at}}});
        applier.namespace.merge(KUSTOMIZATION, name, patch).await?;
    }
    all(applier, names.len(), "have handled the request", |object| {
        object["status"]["lastHandledReconcileAt"] == at && is_ready(object, "True")
    })
    .await?;
    span.end(&applier.kustomize)
}

async fn all(applier: &Applier, count: usize, goal: &str, done: impl Fn(&Value) -> bool) -> Result {
    applier
        .namespace
        .wait_all(KUSTOMIZATION, goal, |objects| {
            (objects.len() == count && objects.iter().all(&done)).then_some(())
        })
        .await
}
