//! Outages of the API server while controllers work: changes made meanwhile are applied once watches resume, without
//! waiting for an interval, and nothing is lost.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use kind_tests::controller::Settings;
use kind_tests::{
    Answer, Applier, CONFIG_MAP, Cluster, Failure, Gate, KUSTOMIZATION, Kind, Result, Way, ensure,
};
use kube::api::ListParams;
use serde_json::Value;

use crate::config_map;

const LEASE: Kind = Kind("coordination.k8s.io/v1", "Lease");

/// Nothing is retried at an interval while a test runs.
const SELDOM: [&str; 2] = ["prune: true", "retryInterval: 1h"];

/// A kubeconfig whose requests go through a gate.
pub(crate) struct Outside {
    pub(crate) gate: Gate,
    pub(crate) user: String,
    kubeconfig: PathBuf,
}

impl Outside {
    pub(crate) async fn of(cluster: &Cluster) -> Result<Self> {
        let user = format!("outage-{:08x}", rand::random::<u32>());
        let kubeconfig = cluster.kubeconfig_for(&user)?;
        let text = std::fs::read_to_string(&kubeconfig)?;
        let (before, rest) = text
            .split_once("https://")
            .ok_or_else(|| Failure::new("the kubeconfig names no server"))?;
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || ".:".contains(c)))
            .unwrap_or(rest.len());
        let server: SocketAddr = rest[..end].parse()?;
        let gate = Gate::start(server).await?;
        let own = std::env::temp_dir().join(format!("{user}.kubeconfig"));
        let text = format!("{before}https://{}{}", gate.address(), &rest[end..]);
        std::fs::write(&own, text)?;
        Ok(Self {
            gate,
            user,
            kubeconfig: own,
        })
    }

    /// The settings of a controller with one worker that lives behind the gate.
    pub(crate) fn settings(&self, flags: &[&str]) -> Settings {
        let settings = Settings::default()
            .env("KUBECONFIG", self.kubeconfig.to_string_lossy())
            .flag("--concurrent=1")
            .flag("--enable-leader-election");
        flags
            .iter()
            .fold(settings, |settings, flag| settings.flag(*flag))
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.kubeconfig);
    }
}

/// Applies a Kustomization that is not retried at an interval.
async fn kustomization(applier: &Applier, name: &str) -> Result {
    let path = format!("path: {name}");
    let yaml = applier.kustomization(name, &[SELDOM[0], SELDOM[1], &path]);
    let yaml = yaml
        .replace("  retryInterval: 2s\n", "")
        .replace("interval: 10m", "interval: 1h");
    applier.namespace.apply(&yaml).await?;
    Ok(())
}

async fn publish(applier: &Applier, revision: &str) -> Result {
    let map = |name: &str| config_map(name, revision);
    let (app, going, new) = (map("app"), map("going"), map("new"));
    let files = [
        ("app/a.yaml", &*app),
        ("going/a.yaml", &*going),
        ("new/a.yaml", &*new),
    ];
    applier.publish(revision, &files).await?;
    Ok(())
}

async fn value(applier: &Applier, name: &str) -> Result<Value> {
    let map = applier.namespace.get(CONFIG_MAP, name).await?;
    Ok(map.unwrap_or_default()["data"]["v"].clone())
}

async fn holder(applier: &Applier) -> Result<Value> {
    let leases = applier.namespace.api(LEASE).await?;
    let leases = leases.list(&ListParams::default()).await?;
    let lease = leases
        .items
        .first()
        .ok_or_else(|| Failure::new("no Lease"))?;
    Ok(lease.data["spec"]["holderIdentity"].clone())
}

// RT-WAT-004, KC-SRC-017
#[tokio::test]
async fn changes_made_during_an_outage_are_applied_afterwards() -> Result {
    let cluster = Cluster::shared().await?;
    for way in [Way::Broken, Way::Silent] {
        let outside = Outside::of(&cluster).await?;
        let gate = &outside.gate;
        let mut applier = Applier::start_on(&cluster, "outage", outside.settings(&[])).await?;
        publish(&applier, "main@sha1:1").await?;
        for name in ["app", "going"] {
            kustomization(&applier, name).await?;
            applier.applied(name, "main@sha1:1").await?;
        }
        let leader = holder(&applier).await?;

        // The only worker is in the middle of a run: it downloads.
        applier.artifacts.take_requests();
        applier
            .artifacts
            .instead([Answer::Late(Duration::from_secs(1))]);
        publish(&applier, "main@sha1:2").await?;
        let asked = async {
            while applier.artifacts.take_requests().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        applier
            .namespace
            .wait_for("the download begins", asked)
            .await?;
        gate.set(way);
        // All of this the controller cannot see.
        publish(&applier, "main@sha1:3").await?;
        kustomization(&applier, "new").await?;
        applier.namespace.delete(KUSTOMIZATION, "going").await?;
        if way == Way::Broken {
            // It has tried and failed more than once.
            let tried = gate.wait_for_connections(5);
            applier
                .namespace
                .wait_for("it has tried again", tried)
                .await?;
        } else {
            // The download is over, and the run hangs.
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        ensure!(
            value(&applier, "app").await? == "main@sha1:1",
            "something passed"
        );
        gate.set(Way::Open);

        for name in ["app", "new"] {
            applier.applied(name, "main@sha1:3").await?;
            ensure!(value(&applier, name).await? == "main@sha1:3", "{name}");
        }
        applier.namespace.wait_gone(KUSTOMIZATION, "going").await?;
        applier.namespace.wait_gone(CONFIG_MAP, "going").await?;
        // RT-LED-008: an outage shorter than the renew deadline costs no leadership.
        ensure!(applier.kustomize.runs(), "the process has ended");
        assert_eq!(holder(&applier).await?, leader);

        // And the worker is free for what comes next.
        publish(&applier, "main@sha1:4").await?;
        applier.applied("app", "main@sha1:4").await?;
    }
    Ok(())
}

// RT-LED-008
#[tokio::test]
async fn an_outage_beyond_the_renew_deadline_ends_the_process_and_the_next_continues() -> Result {
    let cluster = Cluster::shared().await?;
    for way in [Way::Broken, Way::Silent] {
        let outside = Outside::of(&cluster).await?;
        let flags = [
            "--leader-election-lease-duration=4s",
            "--leader-election-renew-deadline=2s",
            "--leader-election-retry-period=500ms",
        ];
        let mut applier =
            Applier::start_on(&cluster, "long-outage", outside.settings(&flags)).await?;
        publish(&applier, "main@sha1:1").await?;
        for name in ["app", "going"] {
            kustomization(&applier, name).await?;
            applier.applied(name, "main@sha1:1").await?;
        }
        outside.gate.set(way);
        publish(&applier, "main@sha1:2").await?;
        kustomization(&applier, "new").await?;
        applier.namespace.delete(KUSTOMIZATION, "going").await?;
        let lost = |line: &Value| line["error"] == "leader election lost";
        applier.kustomize.log().wait("of the end", lost).await?;
        let kustomize = &mut applier.kustomize;
        let ended = async {
            while kustomize.runs() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        applier
            .namespace
            .wait_for("the process ends", ended)
            .await?;

        // As the kubelet does it.
        outside.gate.set(Way::Open);
        applier.kustomize.restart().await?;
        for name in ["app", "new"] {
            applier.applied(name, "main@sha1:2").await?;
            ensure!(value(&applier, name).await? == "main@sha1:2", "{name}");
        }
        applier.namespace.wait_gone(KUSTOMIZATION, "going").await?;
        applier.namespace.wait_gone(CONFIG_MAP, "going").await?;
    }
    Ok(())
}
