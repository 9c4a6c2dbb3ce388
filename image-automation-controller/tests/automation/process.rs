//! The process: Lease, profiles, log, conditions while a run is under way, definitions.

use git_servers::{HttpGitServer, Repo, SshGitServer, SshKey, sshd_available};
use kind_tests::controller::Settings;
use kind_tests::{Failure, IMAGE_UPDATE_AUTOMATION, Kind, Result, condition, ensure};
use serde_json::json;

use crate::world::{World, is_settled};

const LEASE: Kind = Kind("coordination.k8s.io/v1", "Lease");
const DEFINITION: Kind = Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition");

#[tokio::test]
async fn the_lease_is_named_for_the_selector() -> Result {
    let settings = Settings::default().flag("--enable-leader-election");
    let mut world = World::start_with("ia-lease-name", settings, HttpGitServer::builder()).await?;
    world
        .controller
        .log()
        .wait("of leadership", |line| {
            line["msg"]
                .as_str()
                .is_some_and(|text| text.contains("successfully acquired lease"))
        })
        .await?;
    let leases = world.namespace.names(LEASE).await?;
    // IA-PROC-011
    let prefix = "image-automation-controller-leader-election-";
    let suffix = leases.iter().find_map(|name| name.strip_prefix(prefix));
    ensure!(
        suffix.is_some_and(
            |suffix| suffix.len() == 8 && suffix.bytes().all(|byte| byte.is_ascii_hexdigit())
        ),
        "{leases:?}"
    );
    // IA-PROC-031
    let client = flux_http::ClientOptions::default().build()?;
    let url = format!(
        "http://{}/debug/pprof/cmdline",
        world.controller.metrics_address()
    );
    ensure!(
        client.get(&url).send().await?.status().is_success(),
        "pprof"
    );
    // IA-PROC-003
    for path in ["healthz", "readyz"] {
        let url = format!("http://{}/{path}", world.controller.health_address());
        ensure!(
            client.get(&url).send().await?.status().is_success(),
            "{path}"
        );
    }
    ensure!(
        world.controller.terminate().await?.success(),
        "ends cleanly"
    );
    Ok(())
}

#[tokio::test]
async fn progress_is_written_at_once_for_new_work() -> Result {
    let git = HttpGitServer::builder().hang("/silent.git");
    let world = World::start_with("ia-progress", Settings::default(), git).await?;
    world.source("app", "silent.git", "timeout: 20s").await?;
    world.automation("auto", "", "").await?;
    // IA-STATUS-008, IA-STATUS-004
    let object = world
        .namespace
        .wait(IMAGE_UPDATE_AUTOMATION, "auto", "is under way", |object| {
            condition(object, "Reconciling")
                .is_some_and(|it| it["status"] == "True" && it["reason"] == "Progressing")
        })
        .await?;
    let reconciling = condition(&object, "Reconciling");
    ensure!(
        reconciling.is_some_and(|it| it["message"] == "processing object: new generation -1 -> 1"),
        "{object}"
    );
    let ready = condition(&object, "Ready");
    ensure!(
        ready.is_some_and(|it| it["status"] == "Unknown"),
        "{object}"
    );
    // IA-STATUS-040
    let managers = object["metadata"]["managedFields"].as_array();
    let managers: Vec<_> = managers
        .into_iter()
        .flatten()
        .map(|it| &it["manager"])
        .collect();
    ensure!(
        managers.contains(&&json!("image-automation-controller")),
        "{managers:?}"
    );
    let types = object["status"]["conditions"].as_array();
    let types: Vec<_> = types.into_iter().flatten().map(|it| &it["type"]).collect();
    ensure!(types == ["Reconciling", "Ready"], "{types:?}");
    Ok(())
}

#[tokio::test]
async fn a_run_follows_after_the_interval_and_a_change_of_the_spec() -> Result {
    let world = World::start("ia-interval").await?;
    world.repo("app.git");
    world.source("app", "app.git", "").await?;
    world.policy("app", "reg.io/app", "1.0.0").await?;
    world.automation("auto", "", "interval: 1s").await?;
    let mut times = std::collections::BTreeSet::new();
    for _ in 0..3 {
        // IA-STATUS-026, IA-STATUS-007
        let object = world
            .namespace
            .wait(IMAGE_UPDATE_AUTOMATION, "auto", "has run again", |object| {
                let time = object["status"]["lastAutomationRunTime"].as_str();
                is_settled(object) && time.is_some_and(|time| !times.contains(time))
            })
            .await?;
        times.extend(
            object["status"]["lastAutomationRunTime"]
                .as_str()
                .map(str::to_owned),
        );
    }
    // IA-STATUS-001
    world.change("auto", json!({"interval": "1h"})).await?;
    let object = world
        .namespace
        .wait(
            IMAGE_UPDATE_AUTOMATION,
            "auto",
            "has seen the change",
            |object| object["status"]["observedGeneration"] == 2,
        )
        .await?;
    // IA-API-026
    ensure!(object["status"]["conditions"].is_array(), "{object}");
    Ok(())
}

#[tokio::test]
async fn the_definition_is_that_of_upstream() -> Result {
    let world = World::start("ia-definition").await?;
    let name = "imageupdateautomations.image.toolkit.fluxcd.io";
    let found = world.namespace.get(DEFINITION, name).await?;
    let definition = found.ok_or_else(|| Failure::new("it is installed"))?;
    let names = &definition["spec"]["names"];
    // IA-API-001
    ensure!(
        names["shortNames"] == json!(["iua", "imgupd", "imgauto"]),
        "{names}"
    );
    ensure!(
        names["categories"] == json!(["all", "fluxcd", "fluxcd-images"]),
        "{names}"
    );
    ensure!(definition["spec"]["scope"] == "Namespaced", "scope");
    // IA-API-002
    ensure!(
        definition["metadata"]["annotations"]["kustomize.toolkit.fluxcd.io/substitute"]
            == "disabled",
        "{}",
        definition["metadata"]
    );
    let versions = definition["spec"]["versions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let stored: Vec<_> = versions
        .iter()
        .filter(|version| version["storage"] == true)
        .collect();
    // IA-API-003
    ensure!(
        stored.len() == 1 && stored[0]["name"] == "v1",
        "{}",
        versions.len()
    );
    ensure!(stored[0]["subresources"]["status"].is_object(), "status");
    // IA-API-008
    let columns = stored[0]["additionalPrinterColumns"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let columns: Vec<_> = columns.iter().map(|column| &column["name"]).collect();
    ensure!(
        columns == ["Ready", "Status", "Last run", "Age"],
        "{columns:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_template_is_read_only_when_there_is_something_to_commit() -> Result {
    let world = World::start("ia-late").await?;
    world.repo("app.git");
    world.source("app", "app.git", "").await?;
    world.policy("app", "reg.io/app", "1.0.0").await?;
    let git = "commit: {author: {email: a@b}, messageTemplate: '{{ .x'}";
    world.automation("auto", git, "").await?;
    // IA-MSG-019
    world.ready("auto").await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    world.failed("auto", "GitOperationFailed").await?;
    Ok(())
}

/// The number of sockets that a process has open.
fn sockets(pid: u32) -> usize {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd"));
    let targets = descriptors
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok());
    targets
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count()
}

#[tokio::test]
async fn connections_do_not_pile_up() -> Result {
    const RUNS: usize = 6;
    if !sshd_available() {
        eprintln!("skipped: sshd is not installed");
        return Ok(());
    }
    let world = World::start("ia-sockets").await?;
    let key = SshKey::ed25519();
    let server = SshGitServer::builder().authorize(&key.public()).start();
    let repo = Repo::init(server.root(), "app.git");
    repo.commit("main").file("a.yaml", "a: 1\n").create();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"},
        "stringData": {"identity": key.private(), "known_hosts": server.known_hosts()},
    });
    world.namespace.apply(&secret.to_string()).await?;
    let spec = "secretRef: {name: key}";
    let url = server.url("app.git");
    world.repo("app.git");
    world.source("ssh", &url, spec).await?;
    world.source("gone", &server.url("gone.git"), spec).await?;
    world.source("http", "app.git", "").await?;
    world.source("none", "none.git", "").await?;
    let names = ["ssh", "gone", "http", "none"];
    for name in names {
        let source = format!("sourceRef: {{kind: GitRepository, name: {name}}}");
        world.automation(name, "", &source).await?;
        world.reconcile(name).await?;
    }
    let before = sockets(world.controller.pid());
    for _ in 0..RUNS {
        for name in names {
            world.reconcile(name).await?;
        }
    }
    ensure!(server.connections() > 2 * RUNS, "connections over SSH");
    // FR-N-107: those to the API server and to the receiver of events come and go
    let few = async {
        while sockets(world.controller.pid()) > before + 4 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    world
        .namespace
        .wait_for("no more sockets than at the start", few)
        .await
}
