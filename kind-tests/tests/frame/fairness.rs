//! The order in which waiting objects are reconciled.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flux_api::source::GitRepository;
use flux_runtime::controller::{Controller, Environment, FINALIZER};
use flux_runtime::metrics::{Metrics, Page};
use flux_runtime::watch::Cache;
use flux_runtime::{self as runtime, Outcome, Reconciler, Run, Settings};
use kind_tests::{Cluster, Namespace, Result};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::environment;

/// Records the namespaces in the order of their runs. The first run waits until it is released.
struct Recorded {
    order: Arc<Mutex<Vec<String>>>,
    go: watch::Receiver<bool>,
}

impl Reconciler for Recorded {
    type Kind = GitRepository;

    fn suspended(&self, _: &GitRepository) -> bool {
        false
    }

    async fn reconcile(
        &self,
        run: &mut Run<GitRepository>,
    ) -> std::result::Result<Outcome, runtime::Failure> {
        self.order
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(run.namespace().to_owned());
        // The sender lives as long as the test does.
        let _ = self.go.clone().wait_for(|go| *go).await;
        let hour = Duration::from_hours(1);
        Ok(Outcome::ready("Succeeded", "recorded", hour))
    }

    async fn finalize(
        &self,
        _: &mut Run<GitRepository>,
    ) -> std::result::Result<(), runtime::Failure> {
        Ok(())
    }
}

#[tokio::test]
async fn a_namespace_with_many_objects_does_not_delay_one_with_few() -> Result {
    let cluster = Cluster::shared().await?;
    // The API server lists by namespace: in list order the namespace with few objects would be last.
    let many = Namespace::create(&cluster, "frame-a-many").await?;
    let few = Namespace::create(&cluster, "frame-b-few").await?;
    for (namespace, count) in [(&many, 20), (&few, 2)] {
        for at in 0..count {
            namespace
                .apply(&format!(
                    "{{apiVersion: source.toolkit.fluxcd.io/v1, kind: GitRepository, metadata: {{name: r{at}, \
                     finalizers: [{FINALIZER}]}}, spec: {{interval: 1h, url: 'https://example.com/r'}}}}"
                ))
                .await?;
        }
    }

    let metrics = Metrics::new()?;
    let (label, _) = many.selector().split_once('=').map_or_else(
        || (many.selector(), String::new()),
        |(label, value)| (label.to_owned(), value.to_owned()),
    );
    let environment = Environment {
        namespace: None,
        selector: Some(format!("{label} in ({}, {})", many.name(), few.name())),
        workers: 1,
        ..environment(&many, &metrics, None)?
    };
    let order = Arc::<Mutex<Vec<String>>>::default();
    let (go, waits) = watch::channel(false);
    let recorded = Recorded {
        order: order.clone(),
        go: waits,
    };
    let stop = CancellationToken::new();
    let _stopped = stop.clone().drop_guard();
    let settings = Settings::new("gitrepository");
    let controller = Controller::new(recorded, settings, Cache::default(), environment);
    tokio::spawn(controller.run(stop, Duration::from_secs(1)));

    let depth =
        "workqueue_depth{controller=\"gitrepository\",name=\"gitrepository\",priority=\"-100\"} 21";
    let all_wait = async {
        while !metrics.page(Page::default()).is_ok_and(|page| {
            String::from_utf8_lossy(&page)
                .lines()
                .any(|line| line == depth)
        }) {
            tokio::task::yield_now().await;
        }
    };
    few.wait_for("all but the first are in the queue", all_wait)
        .await?;
    go.send_replace(true);
    let seen = || order.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let all_ran = async {
        while seen().len() < 22 {
            tokio::task::yield_now().await;
        }
    };
    few.wait_for("a run of each object", all_ran).await?;

    let order = seen();
    let last = order
        .iter()
        .rposition(|namespace| namespace == few.name())
        .unwrap_or(usize::MAX);
    assert!(last <= 4, "in turn after the first: {order:?}");
    Ok(())
}
