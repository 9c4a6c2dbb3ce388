//! `cargo bench -p kind-tests --bench images`: scans 1,000 ImageRepositories of 1,000 tags each, with a policy for each, and
//! then scans them again without a change. `FLUX_BENCH_SCALE=10` makes it a tenth of the repositories.

mod figures;

use std::process::ExitCode;

use figures::{Span, Took, mebibytes, print, seconds};
use kind_tests::controller::{Controller, Settings};
use kind_tests::{IMAGE_POLICY, IMAGE_REPOSITORY, Kind, Namespace, Result};
use registries::Registry;
use serde_json::Value;

const REPOSITORIES: usize = 1000;
const TAGS: usize = 1000;
const TARGET: &str = "target 60 MiB";

fn main() -> ExitCode {
    figures::main(bench())
}

async fn bench() -> Result {
    let repositories = REPOSITORIES / figures::scale();
    let cluster = figures::cluster().await?;
    let tags: Vec<String> = (0..TAGS)
        .map(|number| format!("\"v1.{}.{}-0123abc\"", number / 100, number % 100))
        .collect();
    let page = format!("{{\"tags\":[{}]}}", tags.join(","));
    let registry = Registry::builder()
        .answer(usize::MAX, "GET", "/v2/org/", 200, &page)
        .start();
    let namespace = Namespace::create(&cluster, "images").await?;
    let name = "image-reflector-controller";
    let controller = Controller::start(name, &namespace, Settings::default()).await?;
    let idle = mebibytes(controller.resident_bytes()?);
    print("memory without objects", &idle, "target 12 MiB");

    let span = Span::start(&controller, &namespace)?;
    for number in 0..repositories {
        let image = registry.repository(&format!("org/app-{number}"));
        let yaml = format!(
            "
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageRepository
metadata: {{name: app-{number}}}
spec: {{image: '{image}', interval: 1h}}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImagePolicy
metadata: {{name: app-{number}}}
spec: {{imageRepositoryRef: {{name: app-{number}}}, policy: {{semver: {{range: '>=1.0.0-0'}}}}}}
"
        );
        namespace.apply(&yaml).await?;
    }
    all(
        &namespace,
        repositories,
        IMAGE_REPOSITORY,
        "are scanned",
        |object| kind_tests::is_ready(object, "True"),
    )
    .await?;
    all(
        &namespace,
        repositories,
        IMAGE_POLICY,
        "have a tag",
        |object| kind_tests::is_ready(object, "True"),
    )
    .await?;
    show(
        &format!("{repositories} repositories of {TAGS} tags scanned"),
        &span.end(&controller)?,
    );
    let peak = mebibytes(controller.peak_bytes()?);
    print("  peak memory", &peak, TARGET);

    let span = Span::start(&controller, &namespace)?;
    for number in 0..repositories {
        let name = format!("app-{number}");
        namespace.request_reconcile(IMAGE_REPOSITORY, &name).await?;
    }
    all(
        &namespace,
        repositories,
        IMAGE_REPOSITORY,
        "are scanned again",
        |object| {
            let requested = &object["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"];
            requested.is_string() && *requested == object["status"]["lastHandledReconcileAt"]
        },
    )
    .await?;
    show("scanned again, unchanged", &span.end(&controller)?);
    let peak = mebibytes(controller.peak_bytes()?);
    print("  peak memory", &peak, TARGET);
    let resident = mebibytes(controller.resident_bytes()?);
    print("  memory afterwards", &resident, TARGET);
    Ok(())
}

/// Waits until all objects of a kind satisfy `fits`.
async fn all(
    namespace: &Namespace,
    count: usize,
    kind: Kind,
    goal: &str,
    fits: impl Fn(&Value) -> bool,
) -> Result {
    let enough =
        |objects: &[Value]| (objects.iter().filter(|it| fits(it)).count() == count).then_some(());
    namespace.wait_all(kind, goal, enough).await
}

fn show(what: &str, took: &Took) {
    print(what, &seconds(took.wall), "");
    print("  processor time", &seconds(took.cpu), "");
    if let Some(requests) = took.request_count() {
        print("  requests to the API server", &requests.to_string(), "");
    }
}
