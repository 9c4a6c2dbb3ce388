//! `flux debug`, and the requests that the controllers have made meanwhile.

use kind_tests::{Result, ensure};

use super::world::World;

pub(super) fn debugged(world: &World) -> Result {
    let flux = &world.flux;
    // DI-ACT-015
    let told = flux.run(&["debug", "ks", "app", "--show-vars"])?;
    assert_eq!(told.trim(), "region=north");
    let told = flux.run(&["debug", "ks", "app", "--show-status"])?;
    ensure!(told.contains("lastAppliedRevision: main@sha1:"), "{told}");
    let told = flux.run(&["debug", "ks", "app", "--show-history"])?;
    ensure!(
        told.contains("lastReconciledStatus: ReconciliationSucceeded"),
        "{told}"
    );
    let told = flux.run(&["debug", "hr", "rel", "--show-values"])?;
    assert_eq!(told.trim(), "size: large");
    let told = flux.run(&["debug", "hr", "rel", "--show-status"])?;
    ensure!(told.contains("chartVersion: 1.2.3"), "{told}");
    let told = flux.run(&["debug", "hr", "rel", "--show-history"])?;
    ensure!(told.contains("status: deployed"), "{told}");
    // DI-RBAC-004
    for controller in world.controllers.iter().chain([&world.notification]) {
        let counter = world
            .counters
            .iter()
            .find(|(user, _)| user == controller.user());
        let requests = counter
            .map(|(_, counter)| counter.requests())
            .transpose()?
            .unwrap_or_default();
        ensure!(
            !requests.is_empty(),
            "{} made no request",
            controller.name()
        );
        let newer = requests
            .iter()
            .find(|request| request.uri.starts_with("/apis/events.k8s.io/"));
        ensure!(newer.is_none(), "{newer:?}");
    }
    Ok(())
}
