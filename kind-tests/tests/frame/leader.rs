//! Leader election: one leader at a time.

use std::time::Duration;

use flux_runtime::events::Recorder;
use flux_runtime::leader::Election;
use flux_runtime::metrics::Metrics;
use k8s_openapi::api::coordination::v1::Lease;
use kind_tests::{Cluster, Failure, Namespace, Result};
use kube::Api;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::EVENT;

fn election(namespace: &Namespace, identity: &str) -> Election {
    Election {
        namespace: namespace.name().to_owned(),
        name: "test-leader-election".into(),
        identity: identity.into(),
        lease: Duration::from_secs(5),
        renew_deadline: Duration::from_secs(3),
        retry: Duration::from_millis(100),
        release: true,
    }
}

#[tokio::test]
async fn one_replica_leads_and_hands_over() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "frame-leader").await?;
    let client = namespace.client().clone();
    let metrics = Metrics::new()?;
    let recorder = Recorder::new(client.clone(), "source-controller", "pod-1".into(), None)?;
    let never = CancellationToken::new();
    let win = |identity: &str| {
        election(&namespace, identity).acquire(
            client.clone(),
            recorder.clone(),
            metrics.clone(),
            &never,
        )
    };

    let mut first = namespace
        .wait_for("the first leader", win("a_1"))
        .await?
        .ok_or(Failure::new("stopped"))?;
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace.name());
    let holder = async || -> Result<Value> {
        Ok(serde_json::to_value(
            leases
                .get("test-leader-election")
                .await?
                .spec
                .unwrap_or_default(),
        )?)
    };
    // RT-LED-001, RT-LED-004, RT-LED-005
    let held = holder().await?;
    assert_eq!(
        (&held["holderIdentity"], &held["leaseDurationSeconds"]),
        (&json!("a_1"), &json!(5))
    );
    assert_eq!(held["leaseTransitions"], 0);

    // another candidate waits while the first renews
    let end = CancellationToken::new();
    let holding = {
        let end = end.clone();
        tokio::spawn(async move {
            let kept = first.renew(&end).await;
            (first, kept)
        })
    };
    let mut second = Box::pin(win("b_2"));
    let early = tokio::time::timeout(Duration::from_secs(1), &mut second).await;
    assert!(early.is_err(), "two leaders at once");

    // RT-LED-009: released, the Lease is taken over without waiting for its end
    end.cancel();
    let (first, kept) = holding.await?;
    assert!(kept);
    first.release().await;
    let second = namespace
        .wait_for("the second leader", second)
        .await?
        .ok_or(Failure::new("stopped"))?;
    let held = holder().await?;
    assert_eq!(
        (&held["holderIdentity"], &held["leaseTransitions"]),
        (&json!("b_2"), &json!(1))
    );

    // RT-LED-006
    namespace
        .wait_all(EVENT, "leadership is announced", |events| {
            let logged = |message: &str| {
                events
                    .iter()
                    .any(|event| event["reason"] == "LeaderElection" && event["message"] == message)
            };
            (logged("a_1 became leader")
                && logged("a_1 stopped leading")
                && logged("b_2 became leader"))
            .then_some(())
        })
        .await?;

    // RT-LED-008: a leader that has lost the Lease stops when the deadline has passed
    let mut second = second;
    let robbery = json!({"spec": {"holderIdentity": "robber", "leaseDurationSeconds": 3600, "renewTime": "2099-01-01T00:00:00.000000Z"}});
    leases
        .patch(
            "test-leader-election",
            &kube::api::PatchParams::default(),
            &kube::api::Patch::Merge(robbery),
        )
        .await?;
    let kept = namespace
        .wait_for("the loss of the Lease", second.renew(&never))
        .await?;
    assert!(!kept);
    Ok(())
}
