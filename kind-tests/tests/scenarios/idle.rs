//! The requests of idle controllers to the API server.

use std::collections::BTreeMap;
use std::time::Duration;

use kind_tests::controller::{Controller, Settings};
use kind_tests::requests::Counter;
use kind_tests::{Flux, GIT_REPOSITORY, KUSTOMIZATION, Kind, Result, ensure, is_ready};

use crate::config_map;

/// The number of GitRepositories, of Kustomizations, and of the objects that each Kustomization applies.
const OBJECTS: usize = 10;

fn elected() -> Settings {
    Settings::default()
        .flag("--enable-leader-election")
        .flag("--leader-election-retry-period=200ms")
}

/// The controller's requests since the counter began, by verb and resource.
fn requests_by_verb(counter: &Counter) -> Result<BTreeMap<String, usize>> {
    let mut asked = BTreeMap::new();
    for request in counter.requests()? {
        *asked
            .entry(format!("{} {}", request.verb, request.resource))
            .or_default() += 1;
    }
    Ok(asked)
}

/// Waits until the controller has renewed its Lease this often, and returns all its requests in the meantime.
async fn requests_during_renewals(
    flux: &Flux,
    controller: &Controller,
    count: usize,
) -> Result<BTreeMap<String, usize>> {
    let counter = Counter::start(flux.namespace.cluster(), controller.user())?;
    let renewed = async {
        loop {
            let asked = requests_by_verb(&counter)?;
            if asked
                .get("update leases")
                .is_some_and(|have| *have >= count)
            {
                return Ok::<_, kind_tests::Failure>(asked);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    flux.namespace
        .wait_for("the Lease is renewed", renewed)
        .await?
}

#[tokio::test]
async fn an_idle_controller_only_renews_its_lease() -> Result {
    let flux = Flux::start_with("idle", elected(), elected()).await?;
    let files: Vec<(String, String)> = (0..OBJECTS * OBJECTS)
        .map(|number| {
            let map = config_map(&format!("map-{number}"), "1");
            (format!("{}/{number}.yaml", number % OBJECTS), map)
        })
        .collect();
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    flux.commit(&files);
    flux.follow_main().await?;
    for number in 0..OBJECTS {
        let path = format!("path: '{number}'");
        let yaml = flux.kustomization(
            &format!("app-{number}"),
            &[&path, "prune: true", "wait: true"],
        );
        flux.namespace.apply(&yaml).await?;
        let yaml = flux.git_repository(&format!("repo-{number}"), "ref: {branch: main}");
        flux.namespace.apply(&yaml).await?;
    }
    let all_ready = async |kind: Kind, count: usize| {
        let look = |objects: &[serde_json::Value]| {
            let ready = objects.iter().filter(|object| is_ready(object, "True"));
            (ready.count() == count).then_some(())
        };
        flux.namespace.wait_all(kind, "are ready", look).await
    };
    all_ready(KUSTOMIZATION, OBJECTS).await?;
    all_ready(GIT_REPOSITORY, OBJECTS + 1).await?;

    for controller in [&flux.source, &flux.kustomize] {
        // The last events are being sent.
        requests_during_renewals(&flux, controller, 5).await?;
        let asked = requests_during_renewals(&flux, controller, 10).await?;
        // As in client-go, one request per renewal: the holder need not read the Lease.
        ensure!(asked.len() == 1, "{} asks for {asked:?}", controller.name());
    }
    Ok(())
}
