//! `cargo bench -p kind-tests --bench monorepo`: 50 Kustomizations of one repository with 20,000 files, installed,
//! then reconciled without a change.

mod figures;

use std::fmt::Write as _;
use std::process::ExitCode;

use figures::{Span, Took, mebibytes, print, seconds};
use kind_tests::controller::Settings;
use kind_tests::{Flux, KUSTOMIZATION, Result, is_ready};
use serde_json::{Value, json};

const FILES: usize = 20_000;
const KUSTOMIZATIONS: usize = 50;

fn main() -> ExitCode {
    figures::main(bench())
}

async fn bench() -> Result {
    let cluster = figures::cluster().await?;
    let flux = Flux::start_on(
        &cluster,
        "monorepo",
        Settings::default(),
        Settings::default(),
    )
    .await?;
    let files: Vec<(String, String)> = (0..FILES).map(file).collect();
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    let revision = flux.commit(&files);
    flux.follow_main().await?;

    let span = Span::start(&flux.kustomize, &flux.namespace)?;
    for number in 0..KUSTOMIZATIONS {
        let path = format!("path: ./app-{number:03}");
        let kustomization = flux.kustomization(&name(number), &[&path, "prune: true"]);
        flux.namespace.apply(&kustomization).await?;
    }
    all(&flux, "are installed", |object| {
        is_ready(object, "True") && object["status"]["lastAppliedRevision"] == revision
    })
    .await?;
    show("install", &span.end(&flux.kustomize)?, "upstream 431 s");

    for which in ["second", "unchanged"] {
        let span = Span::start(&flux.kustomize, &flux.namespace)?;
        for number in 0..KUSTOMIZATIONS {
            let patch =
                json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": which}}});
            flux.namespace
                .merge(KUSTOMIZATION, &name(number), patch)
                .await?;
        }
        all(&flux, "have handled the request", |object| {
            object["status"]["lastHandledReconcileAt"] == which && is_ready(object, "True")
        })
        .await?;
        show(which, &span.end(&flux.kustomize)?, "");
    }
    print(
        "peak memory of kustomize-controller",
        &mebibytes(flux.kustomize.peak_bytes()?),
        "",
    );
    Ok(())
}

fn name(number: usize) -> String {
    format!("app-{number:03}")
}

/// One ConfigMap for each of the applications; about two kilobytes of other text in each of the other files.
fn file(number: usize) -> (String, String) {
    if number < KUSTOMIZATIONS {
        let name = name(number);
        let text = format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}, data: {{a: b}}}}\n"
        );
        return (format!("{name}/config.yaml"), text);
    }
    let mut text = String::new();
    let mut state = number as u64 + 1;
    for line in 0..40 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let _ = writeln!(text, "key-{line:02}: value-{state:016x}-of-some-length");
    }
    (
        format!("other-{:03}/file-{number:05}.yaml", number % 200),
        text,
    )
}

async fn all(flux: &Flux, goal: &str, done: impl Fn(&Value) -> bool) -> Result {
    flux.namespace
        .wait_all(KUSTOMIZATION, goal, |objects| {
            (objects.len() == KUSTOMIZATIONS && objects.iter().all(&done)).then_some(())
        })
        .await
}

fn show(what: &str, took: &Took, beside: &str) {
    print(
        &format!("{what} of {KUSTOMIZATIONS} Kustomizations on {FILES} files"),
        &seconds(took.wall),
        beside,
    );
    print("  processor time", &seconds(took.cpu), "");
    if let Some(count) = took.request_count() {
        let each = format!("{:.1}", count as f64 / KUSTOMIZATIONS as f64);
        print("  API requests per Kustomization", &each, &took.breakdown());
    }
}
