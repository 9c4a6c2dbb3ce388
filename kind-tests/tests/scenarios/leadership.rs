//! Two replicas, one leader.

use kind_tests::controller::{Controller, Settings};
use kind_tests::requests::Counter;
use kind_tests::{Applier, CONFIG_MAP, Cluster, Flux, Kind, Namespace, Result, ensure};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::config_map;

const LEASE: Kind = Kind("coordination.k8s.io/v1", "Lease");

fn elected() -> Settings {
    Settings::default()
        .flag("--enable-leader-election")
        .flag("--leader-election-lease-duration=4s")
        .flag("--leader-election-renew-deadline=3s")
        .flag("--leader-election-retry-period=300ms")
}

fn holder(lease: &Value) -> &str {
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default()
}

/// The Lease of the controller: each controller has one in the namespace.
async fn lease(flux: &Flux, controller: &str) -> Result<Value> {
    flux.namespace
        .wait_all(LEASE, &format!("of {controller} is held"), |leases| {
            let ours = |lease: &&Value| {
                lease["metadata"]["name"]
                    .as_str()
                    .is_some_and(|name| name.starts_with(controller))
                    && !holder(lease).is_empty()
            };
            leases.iter().find(ours).cloned()
        })
        .await
}

#[tokio::test]
async fn a_standby_takes_over_when_the_leader_ends() -> Result {
    let mut flux = Flux::start_with("replicas", elected(), elected()).await?;
    let first = flux.commit(&[("a.yaml", &config_map("a", "1"))]);
    flux.follow_main().await?;
    flux.namespace
        .apply(&flux.kustomization("app", &["prune: true"]))
        .await?;
    flux.applied("app", &first).await?;
    let led = lease(&flux, "kustomize-controller").await?;
    // RT-LED-002, RT-LED-003
    let name = led["metadata"]["name"].as_str().unwrap_or_default();
    assert!(
        name.starts_with("kustomize-controller-leader-election-"),
        "{name}"
    );
    assert_eq!(led["spec"]["leaseDurationSeconds"], 4);

    let artifacts = flux.source.artifact_address().unwrap_or_default();
    let settings = elected().env("SOURCE_CONTROLLER_LOCALHOST", artifacts);
    let mut standby =
        Controller::start_unready("kustomize-controller", &flux.namespace, settings).await?;
    standby.healthy().await?;

    // RT-LED-009: a terminated leader releases the Lease, so that its expiry need not be awaited
    let status = flux.kustomize.terminate().await?;
    ensure!(
        status.success(),
        "ended with {status}: {}",
        flux.kustomize.log().tail(20)
    );
    let second = flux.commit(&[("a.yaml", &config_map("a", "2"))]);
    flux.fetch().await?;
    flux.applied("app", &second).await?;
    let taken = lease(&flux, "kustomize-controller").await?;
    assert_ne!(holder(&taken), holder(&led));

    // A killed leader is replaced when its Lease expires.
    flux.kustomize.restart().await?;
    standby.kill()?;
    let third = flux.commit(&[("a.yaml", &config_map("a", "3"))]);
    flux.fetch().await?;
    flux.applied("app", &third).await?;
    flux.namespace
        .wait(CONFIG_MAP, "a", "has the third value", |map| {
            map["data"]["v"] == "3"
        })
        .await?;
    let last = lease(&flux, "kustomize-controller").await?;
    assert_ne!(holder(&last), holder(&taken));
    Ok(())
}

#[tokio::test]
async fn only_the_leading_source_controller_serves_artifacts() -> Result {
    let mut flux = Flux::start_with("serving", elected(), Settings::default()).await?;
    flux.commit(&[("a.yaml", &config_map("a", "1"))]);
    flux.follow_main().await?;

    let mut standby =
        Controller::start_unready("source-controller", &flux.namespace, elected()).await?;
    standby.healthy().await?;
    // RT-LED-007, SC-PROC-043: its artifact port stays closed, so the Service does not route to it
    let address = standby.artifact_address().unwrap_or_default();
    ensure!(
        TcpStream::connect(&address).await.is_err(),
        "the standby serves on {address}"
    );

    flux.source.terminate().await?;
    standby.ready().await?;
    Ok(())
}

#[tokio::test]
async fn leader_election_flags_take_effect() -> Result {
    // KC-PROC-018: with client-go's text
    let namespace = Namespace::create(&Cluster::shared().await?, "bad-times").await?;
    let impossible = Settings::default()
        .flag("--enable-leader-election")
        .flag("--leader-election-renew-deadline=40s");
    let controller =
        Controller::start_unready("kustomize-controller", &namespace, impossible).await?;
    let refused = |line: &Value| line["msg"] == "problem running manager";
    let line = controller.log().wait("of the refusal", refused).await?;
    assert_eq!(
        line["error"],
        "leaseDuration must be greater than renewDeadline"
    );

    // KC-PROC-018: with the default period there would be ten renewals a minute
    let settings = Settings::default()
        .flag("--enable-leader-election")
        .flag("--leader-election-lease-duration=3600s")
        .flag("--leader-election-retry-period=20ms")
        .flag("--leader-election-release-on-cancel=false");
    let mut applier = Applier::start("keeps-lease", settings).await?;
    let user = applier.kustomize.user().to_owned();
    let counter = Counter::start(applier.namespace.cluster(), &user)?;
    let renewals = || -> Result<usize> {
        let requests = counter.requests()?;
        let lease = requests
            .iter()
            .filter(|request| request.resource == "leases" && request.verb == "update");
        Ok(lease.count())
    };
    let many = async {
        while renewals()? < 40 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        Ok::<_, kind_tests::Failure>(())
    };
    applier.namespace.wait_for("forty renewals", many).await??;
    let held = |leases: &[Value]| {
        leases
            .iter()
            .find(|lease| !holder(lease).is_empty())
            .cloned()
    };
    let led = applier.namespace.wait_all(LEASE, "is held", held).await?;
    assert_eq!(led["spec"]["leaseDurationSeconds"], 3600);
    // It is not released on exit.
    ensure!(applier.kustomize.terminate().await?.success(), "failed");
    let kept = applier.namespace.wait_all(LEASE, "is held", held).await?;
    assert_eq!(holder(&kept), holder(&led));
    Ok(())
}
