//! The controller is killed before each of its writes, and ends at the same release.

use kind_tests::controller::Settings;
use kind_tests::{
    CONFIG_MAP, Cluster, HELM_RELEASE, Result, SECRET, Writes, condition, ensure, is_ready,
};
use serde_json::{Value, json};

use crate::bench::{Bench, MAP};
use crate::refusal::Refusal;

const HOOK: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: hook\n  annotations: {helm.sh/hook: 'pre-install,pre-upgrade', helm.sh/hook-delete-policy: 'before-hook-creation,hook-succeeded'}\n";
const TEST: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: check\n  annotations: {helm.sh/hook: test, helm.sh/hook-delete-policy: before-hook-creation}\n";
const OTHER: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: other}\n";

/// No operation has as many writes.
const MANY: usize = 60;

/// The revisions of a release with their statuses.
type Revisions = Vec<(i64, String)>;

/// A bench whose controller writes through a proxy, and a chart with two objects, a hook and a test.
struct Killed {
    bench: Bench,
    writes: Writes,
}

impl Killed {
    async fn start(topic: &str) -> Result<Self> {
        let user = format!("{topic}-{}", std::process::id());
        let writes = Writes::start(&Cluster::shared().await?, &user).await?;
        let kubeconfig = writes.kubeconfig()?;
        let settings = Settings::default()
            .env("KUBECONFIG", kubeconfig.to_string_lossy())
            .flag("--concurrent=1");
        let bench = Bench::with(topic, settings).await?;
        let files = [
            ("templates/map.yaml", MAP),
            ("templates/other.yaml", OTHER),
            ("templates/hook.yaml", HOOK),
            ("templates/test.yaml", TEST),
        ];
        bench.publish("1.0.0", &files).await?;
        Ok(Self { bench, writes })
    }

    /// Waits until a write is held, kills the controller, and starts it again. Returns what the release was then; `None` if
    /// the operation ended before, which had as many writes as are allowed then.
    async fn killed(&mut self, ended: impl AsyncFn(&Bench) -> Result) -> Result<Option<Revisions>> {
        let ended = tokio::select! {
            biased;
            held = self.writes.held() => held.map(|_| false)?,
            ended = ended(&self.bench) => ended.map(|()| true)?,
        };
        if ended {
            self.writes.open();
            return Ok(None);
        }
        self.bench.helm.kill()?;
        let left = self.bench.revisions().await?;
        self.writes.open();
        self.bench.helm.restart().await?;
        Ok(Some(left))
    }
}

/// Waits until the HelmRelease is ready for its generation, and nothing is left to do.
async fn settled(bench: &Bench) -> Result {
    let settled =
        |object: &Value| is_ready(object, "True") && condition(object, "Reconciling").is_none();
    let wait = bench
        .namespace
        .wait(HELM_RELEASE, "web", "is settled", settled);
    wait.await.map(drop)
}

/// Waits until the attempts of the HelmRelease's generation are used up.
async fn stalled(bench: &Bench) -> Result {
    let stalled = |object: &Value| {
        condition(object, "Stalled").is_some_and(|stalled| {
            stalled["reason"] == "RetriesExceeded"
                && stalled["observedGeneration"] == object["metadata"]["generation"]
        })
    };
    let wait = bench
        .namespace
        .wait(HELM_RELEASE, "web", "is stalled", stalled);
    wait.await.map(drop)
}

async fn gone(bench: &Bench) -> Result {
    bench.namespace.wait_gone(HELM_RELEASE, "web").await
}

/// Checks that the newest revision alone is deployed, and that what was finished when the controller was killed was not done
/// again: `before` is the newest revision before the operation, `left` what was there when it was killed.
fn check(before: i64, left: &Revisions, now: &Revisions, about: &str) -> Result {
    let last = left.last().cloned().unwrap_or_default();
    let wanted = if last.0 > before && last.1 == "deployed" {
        last.0
    } else {
        last.0.max(before) + 1
    };
    let deployed: Vec<_> = now.iter().filter(|(_, s)| s == "deployed").collect();
    ensure!(
        deployed.len() == 1 && now.last() == Some(&(wanted, "deployed".to_owned())),
        "{about}: {left:?} {now:?}"
    );
    Ok(())
}

/// Checks that nothing of the release is left.
async fn nothing_is_left(bench: &Bench, about: &str) -> Result {
    for (kind, name) in [
        (CONFIG_MAP, "web-map"),
        (CONFIG_MAP, "hook"),
        (SECRET, "other"),
    ] {
        let found = bench.namespace.get(kind, name).await?;
        ensure!(found.is_none(), "{about}: {name} is left");
    }
    let records = bench.revisions().await?;
    ensure!(records.is_empty(), "{about}: {records:?}");
    Ok(())
}

// FR-H-016
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_survives_a_kill_before_each_write() -> Result {
    let mut all = Killed::start("kill-install").await?;
    for count in 0..MANY {
        let about = format!("killed after {count} writes");
        all.writes.hold_after(count);
        all.bench
            .release(json!({"values": {"text": "one"}}))
            .await?;
        let Some(left) = all.killed(settled).await? else {
            // The finalizer, three of the status, three of records and hooks, and two objects at least.
            ensure!(count > 8, "{:?}", all.writes.passed());
            return Ok(());
        };
        settled(&all.bench).await?;
        check(0, &left, &all.bench.revisions().await?, &about)?;
        ensure!(all.bench.text().await? == "one", "{about}");
        let hook = all.bench.namespace.get(CONFIG_MAP, "hook").await?;
        ensure!(hook.is_none(), "{about}: the hook is left");
        all.bench.namespace.delete(HELM_RELEASE, "web").await?;
        gone(&all.bench).await?;
        nothing_is_left(&all.bench, &about).await?;
    }
    Ok(())
}

// FR-H-016
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_with_tests_survives_a_kill_before_each_write() -> Result {
    let mut all = Killed::start("kill-upgrade").await?;
    let spec = |text: &str| json!({"values": {"text": text}, "test": {"enable": true}});
    all.bench.release(spec("first")).await?;
    settled(&all.bench).await?;
    for count in 0..MANY {
        let about = format!("killed after {count} writes");
        let before = all.bench.revisions().await?.last().map_or(0, |(v, _)| *v);
        let text = format!("round {count}");
        all.writes.hold_after(count);
        all.bench.release(spec(&text)).await?;
        let Some(left) = all.killed(settled).await? else {
            ensure!(count > 10, "{:?}", all.writes.passed());
            return Ok(());
        };
        settled(&all.bench).await?;
        check(before, &left, &all.bench.revisions().await?, &about)?;
        ensure!(all.bench.text().await? == text, "{about}");
        let object = all.bench.get().await?;
        let tested = condition(&object, "TestSuccess");
        ensure!(
            tested.is_some_and(|tested| tested["status"] == "True"),
            "{about}: {object}"
        );
        let phase = &object["status"]["history"][0]["testHooks"]["check"]["phase"];
        ensure!(phase == "Succeeded", "{about}: {object}");
    }
    Ok(())
}

// FR-H-016
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_survives_a_kill_before_each_write() -> Result {
    let mut all = Killed::start("kill-rollback").await?;
    let remediation = json!({"retries": 0, "remediateLastFailure": true});
    let spec =
        |text: &str| json!({"values": {"text": text}, "upgrade": {"remediation": remediation}});
    all.bench.release(spec("good")).await?;
    settled(&all.bench).await?;
    // It ends with the namespace.
    Refusal::of_text(&all.bench.namespace, "bad").await?.keep();
    for count in 0..MANY {
        let about = format!("killed after {count} writes");
        let text = format!("bad {count}");
        all.writes.hold_after(count);
        all.bench.release(spec(&text)).await?;
        if all.killed(stalled).await?.is_none() {
            ensure!(count > 8, "{:?}", all.writes.passed());
            return Ok(());
        }
        stalled(&all.bench).await?;
        let now = all.bench.revisions().await?;
        let deployed: Vec<_> = now.iter().filter(|(_, s)| s == "deployed").collect();
        ensure!(
            deployed.len() == 1 && now.last().is_some_and(|(_, s)| s == "deployed"),
            "{about}: {now:?}"
        );
        ensure!(all.bench.text().await? == "good", "{about}");
    }
    Ok(())
}

// FR-H-061
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_uninstallation_survives_a_kill_before_each_write() -> Result {
    let mut all = Killed::start("kill-uninstall").await?;
    for count in 0..MANY {
        let about = format!("killed after {count} writes");
        all.bench.release(json!({})).await?;
        settled(&all.bench).await?;
        all.writes.hold_after(count);
        all.bench.namespace.delete(HELM_RELEASE, "web").await?;
        let killed = all.killed(gone).await?;
        gone(&all.bench).await?;
        nothing_is_left(&all.bench, &about).await?;
        if killed.is_none() {
            ensure!(count > 4, "{:?}", all.writes.passed());
            return Ok(());
        }
    }
    Ok(())
}
