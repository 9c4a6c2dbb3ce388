//! `cargo bench -p kind-tests --bench reconcile`: one Kustomization: 100 objects that do not change, 500 that are new.

mod figures;

use std::process::ExitCode;

use figures::{Span, mebibytes, print, seconds};
use kind_tests::controller::Settings;
use kind_tests::{Flux, KUSTOMIZATION, Result, condition};

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

        // The second run finds out what it may leave out; the third is what every later one is.
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
                let beside = format!(
                    "target 5 (one a kind and two, and one that tells of the request): {}",
                    took.breakdown()
                );
                print("  API requests", &count.to_string(), &beside);
            }
        }
        print(
            "peak memory of kustomize-controller",
            &mebibytes(flux.kustomize.peak_bytes()?),
            "",
        );
    }
    Ok(())
}

/// ConfigMaps and ServiceAccounts in turn.
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
