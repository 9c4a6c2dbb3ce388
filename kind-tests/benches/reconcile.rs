//! `cargo bench -p kind-tests --bench reconcile`: one Kustomization with 100 unchanged objects, and with 500 new ones.

mod figures;

use std::process::ExitCode;

use figures::{Span, mebibytes, milliseconds, print, seconds};
use kind_tests::controller::Settings;
use kind_tests::{Flux, KUSTOMIZATION, Result, condition};
use serde_json::{Value, json};

fn main() -> ExitCode {
    figures::main(bench())
}

async fn bench() -> Result {
    let cluster = figures::cluster().await?;
    for objects in [100, 500] {
        let flux = Flux::start_on(
            &cluster,
            "reconcile",
            Settings::default(),
            Settings::default(),
        )
        .await?;
        let files: Vec<(String, String)> = (0..objects).map(manifest).collect();
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .collect();
        let revision = flux.commit(&files);
        flux.follow_main().await?;

        let span = Span::start(&flux.kustomize, &flux.namespace)?;
        flux.namespace
            .apply(&flux.kustomization("app", &["prune: true"]))
            .await?;
        flux.applied("app", &revision).await?;
        let took = span.end(&flux.kustomize)?;
        print(
            &format!("first apply of {objects} objects"),
            &seconds(took.wall),
            "",
        );
        print("  processor time", &seconds(took.cpu), "");
        if let Some(count) = took.request_count() {
            print("  API requests", &count.to_string(), &took.breakdown());
        }

        // The second run determines what it can skip; the third is like every later one.
        for which in ["second", "unchanged"] {
            let span = Span::start(&flux.kustomize, &flux.namespace)?;
            let at = flux
                .namespace
                .request_reconcile(KUSTOMIZATION, "app")
                .await?;
            flux.namespace
                .wait(KUSTOMIZATION, "app", "has handled the request", |object| {
                    object["status"]["lastHandledReconcileAt"] == at
                        && condition(object, "Reconciling").is_none()
                })
                .await?;
            let took = span.end(&flux.kustomize)?;
            print(
                &format!("{which} reconcile of {objects} objects of 2 kinds"),
                &seconds(took.wall),
                "",
            );
            print("  processor time", &seconds(took.cpu), "");
            if let Some(count) = took.request_count() {
                print("  API requests", &count.to_string(), &took.breakdown());
            }
        }
        at_its_interval(&flux, objects).await?;
        print(
            "peak memory of kustomize-controller",
            &mebibytes(flux.kustomize.peak_bytes()?),
            "",
        );
    }
    Ok(())
}

/// The cost of runs at the interval that change nothing.
async fn at_its_interval(flux: &Flux, objects: usize) -> Result {
    const RUNS: u64 = 4;
    let spec = json!({"spec": {"interval": "1s"}});
    flux.namespace.merge(KUSTOMIZATION, "app", spec).await?;
    let runs = |object: &Value| {
        object["status"]["history"][0]["totalReconciliations"]
            .as_u64()
            .unwrap_or_default()
    };
    let another = async |more: u64| {
        let object = flux.namespace.get(KUSTOMIZATION, "app").await?;
        let wanted = runs(&object.unwrap_or_default()) + more;
        let reached = move |object: &Value| runs(object) >= wanted;
        let wait = flux.namespace.wait(KUSTOMIZATION, "app", "ran", reached);
        wait.await.map(drop)
    };
    // The first run is for the new interval, a new generation.
    another(2).await?;
    let span = Span::start(&flux.kustomize, &flux.namespace)?;
    another(RUNS).await?;
    let took = span.end(&flux.kustomize)?;
    let what = format!("{RUNS} runs of {objects} unchanged objects of 2 kinds at their interval");
    let cpu = took.cpu / u32::try_from(RUNS).unwrap_or(1);
    print(&what, "", "");
    print("  processor time of each", &milliseconds(cpu), "");
    if let Some(count) = took.request_count() {
        let beside = format!(
            "target {} (one a kind and two, each): {}",
            4 * RUNS,
            took.breakdown()
        );
        print("  API requests", &count.to_string(), &beside);
    }
    Ok(())
}

/// ConfigMaps and ServiceAccounts, alternating.
fn manifest(number: usize) -> (String, String) {
    let text = if number.is_multiple_of(2) {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: map-{number}\ndata:\n  value: \"{number}\"\n"
        )
    } else {
        format!("apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: account-{number}\n")
    };
    (format!("{number:03}.yaml"), text)
}
