//! Sources, Kustomizations, Secrets, tenants and Helm releases.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::read::GzDecoder;
use kind_tests::{
    BUCKET, CONFIG_MAP, DEPLOYMENT, Failure, GIT_REPOSITORY, HELM_RELEASE, HELM_REPOSITORY,
    KUSTOMIZATION, Kind, Namespace, OCI_REPOSITORY, Result, SECRET, condition, ensure, is_ready,
};
use registries::Artifact;
use serde_json::{Value, json};

use crate::charts::{METRICS, ORDERS, SMALL, STOCK, chart};
use crate::world::{SYSTEM, World};

const INGRESS: Kind = Kind("networking.k8s.io/v1", "Ingress");
const AUTOSCALER: Kind = Kind("autoscaling/v2", "HorizontalPodAutoscaler");
const JOB: Kind = Kind("batch/v1", "Job");
/// The version of Kustomization that had `validation`.
const OLD_KUSTOMIZATION: &str = "kustomize.toolkit.fluxcd.io/v1beta2";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_about_sources_and_applications_work_as_written() -> Result {
    let controllers = [
        "source-controller",
        "kustomize-controller",
        "helm-controller",
    ];
    let Some(world) = World::start_with_store(&controllers).await? else {
        return Ok(());
    };
    sources(&world).await?;
    kustomizations(&world).await?;
    secrets(&world).await?;
    tenants(&world).await?;
    helm_releases(&world).await?;
    confined(&world).await?;
    // What was applied in old versions is the same object in the current one: nothing is to be reconciled.
    let before = generations(&world).await?;
    let mut all = Vec::new();
    for page in [
        "sources.md",
        "kustomizations.md",
        "secrets.md",
        "tenants.md",
        "helm-releases.md",
    ] {
        all.extend(world.pages.page(page)?);
    }
    world.apply_current(&all).await?;
    let after = generations(&world).await?;
    ensure!(before == after, "{before:?} {after:?}");
    Ok(())
}

async fn generations(world: &World) -> Result<Vec<(String, Value)>> {
    let mut found = Vec::new();
    for (kind, names) in [
        (GIT_REPOSITORY, &["shop"][..]),
        (HELM_REPOSITORY, &["charts"]),
        (OCI_REPOSITORY, &["bundles", "metrics-chart"]),
        (BUCKET, &["settings"]),
        (
            KUSTOMIZATION,
            &["infrastructure", "apps", "secrets", "tenants", "releases"],
        ),
    ] {
        for name in names {
            let object = world.system.get(kind, name).await?.unwrap_or_default();
            let generation = object["metadata"]["generation"].clone();
            ensure!(generation.is_number(), "no {} {name}", kind.1);
            found.push((format!("{} {name}", kind.1), generation));
        }
    }
    Ok(found)
}

/// An entry of a Secret.
async fn entry(namespace: &Namespace, secret: &str, key: &str) -> Result<String> {
    let object = namespace.get(SECRET, secret).await?.unwrap_or_default();
    let value = object["data"][key].as_str().unwrap_or_default();
    let value = BASE64_STANDARD.decode(value)?;
    Ok(String::from_utf8_lossy(&value).into_owned())
}

/// The data of a ConfigMap.
async fn data(namespace: &Namespace, name: &str) -> Result<Value> {
    let object = namespace.get(CONFIG_MAP, name).await?.unwrap_or_default();
    Ok(object["data"].clone())
}

async fn applied(world: &World, name: &str) -> Result<Value> {
    let revision = world.revision();
    let goal = format!("is ready at {revision}");
    let applied = |object: &Value| {
        is_ready(object, "True") && object["status"]["lastAppliedRevision"] == revision
    };
    world.system.wait(KUSTOMIZATION, name, &goal, applied).await
}

async fn sources(world: &World) -> Result {
    let small = |name, version| (name, version, SMALL);
    world.publish_charts(&[
        ("orders", "1.4.0", ORDERS),
        ("orders", "2.0.0", ORDERS),
        ("stock", "0.3.0", STOCK),
        small("database", "2.4.1"),
        small("database", "3.0.0"),
        small("cache", "1.0.0"),
    ])?;
    let metrics = Artifact::helm(chart("metrics", "1.3.0", METRICS));
    world.registry.push("charts/metrics", "1.3.0", &metrics);
    world.apply(&world.pages.page("sources.md")?).await?;
    let source = world
        .system
        .wait_ready(GIT_REPOSITORY, "shop", "True")
        .await?;
    let artifact = &source["status"]["artifact"];
    ensure!(artifact["revision"] == world.revision(), "{source}");
    let path = artifact["path"].as_str().unwrap_or_default();
    let path = world.system.folder().join("source-controller").join(path);
    let mut names = Vec::new();
    let archive = std::fs::read(path)?;
    for entry in tar::Archive::new(GzDecoder::new(&archive[..])).entries()? {
        names.push(entry?.path()?.to_string_lossy().into_owned());
    }
    // What the page tells to ignore is left out.
    let has = |name: &str| names.iter().any(|own| own == name);
    ensure!(
        has("apps/base/web.yaml") && !has("Jenkinsfile"),
        "{names:?}"
    );

    for (kind, name, revision) in [
        (HELM_REPOSITORY, "charts", "sha256:"),
        (OCI_REPOSITORY, "bundles", "1.2.0@sha256:"),
        (BUCKET, "settings", "sha256:"),
    ] {
        let object = world.system.wait_ready(kind, name, "True").await?;
        let found = object["status"]["artifact"]["revision"].as_str();
        ensure!(
            found.is_some_and(|found| found.starts_with(revision)),
            "{object}"
        );
    }
    Ok(())
}

async fn kustomizations(world: &World) -> Result {
    world.apply(&world.pages.page("kustomizations.md")?).await?;
    let before = applied(world, "infrastructure").await?;
    applied(world, "apps").await?;
    for (namespace, name) in [("edge", "gateway"), ("queue", "queue")] {
        let namespace = world.namespace(namespace).await?;
        let object = namespace.get(DEPLOYMENT, name).await?.unwrap_or_default();
        ensure!(object["status"]["readyReplicas"] == 1, "{object}");
    }
    let shop = world.namespace("shop").await?;
    let web = shop.get(DEPLOYMENT, "web").await?.unwrap_or_default();
    ensure!(web["spec"]["replicas"] == 2, "{web}");
    // The dependency was ready before anything was applied.
    let ready = condition(&before, "Ready").map(|ready| ready["lastTransitionTime"].clone());
    let ready = ready.unwrap_or_default();
    ensure!(
        ready.as_str() <= web["metadata"]["creationTimestamp"].as_str() && ready.is_string(),
        "{ready} {web}"
    );
    let map = shop.get(CONFIG_MAP, "web").await?.unwrap_or_default();
    ensure!(map["metadata"]["labels"]["stage"] == "prod", "{map}");
    let wanted =
        json!({"url": "https://www.eu.example.com", "cluster": "eu-1", "script": "echo ${HOME}"});
    ensure!(map["data"] == wanted, "{map}");
    Ok(())
}

async fn secrets(world: &World) -> Result {
    let key = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sops-age", "namespace": SYSTEM},
        "stringData": {"age.agekey": include_str!("age.agekey")}});
    world
        .kubectl(&["apply", "-f", "-"], &key.to_string())
        .await?;
    world.apply(&world.pages.page("secrets.md")?).await?;
    applied(world, "secrets").await?;
    let shop = world.namespace("shop").await?;
    ensure!(
        entry(&shop, "database", "password").await? == "correct-horse",
        "the Secret for two recipients"
    );
    let names = shop.names(SECRET).await?;
    let generated = names.iter().find(|name| name.starts_with("smtp-"));
    let generated = generated.cloned().unwrap_or_default();
    ensure!(
        entry(&shop, &generated, "PASSWORD").await? == "battery-staple",
        "{names:?}"
    );
    Ok(())
}

/// Tutorials still write `validation: client`, which no version from v1 on has.
async fn long_gone_fields(world: &World, tenants: &str) -> Result {
    let with_field = tenants.replace("  force: false\n", "  force: false\n  validation: client\n");
    ensure!(with_field != tenants, "{tenants}");
    // kubectl is strict by default, and so is server-side apply, as kustomize-controller does it.
    for (arguments, words) in [
        (
            &["apply", "-f", "-"][..],
            "strict decoding error: unknown field \"spec.validation\"",
        ),
        (
            &["apply", "--server-side", "--validate=false", "-f", "-"],
            ".spec.validation: field not declared in schema",
        ),
    ] {
        match world.kubectl(arguments, &with_field).await {
            Ok(told) => return Err(Failure::new(format!("{arguments:?}: {told}"))),
            Err(refused) => ensure!(refused.to_string().contains(words), "{refused}"),
        }
    }
    let lenient = ["apply", "--validate=warn", "-f", "-"];
    let told = world.kubectl(&lenient, &with_field).await?;
    ensure!(
        told.contains("Warning: unknown field \"spec.validation\""),
        "{told}"
    );
    // KC-API-002: the version that had it takes it.
    let old = with_field.replacen(
        "kustomize.toolkit.fluxcd.io/v1\n",
        &format!("{OLD_KUSTOMIZATION}\n"),
        1,
    );
    let told = world.kubectl(&["apply", "-f", "-"], &old).await?;
    ensure!(
        told.contains("Warning: v1beta2 Kustomization is deprecated, upgrade to v1"),
        "{told}"
    );
    Ok(())
}

async fn tenants(world: &World) -> Result {
    let all = world.pages.page("tenants.md")?;
    let (team, system): (Vec<&str>, Vec<&str>) = all
        .into_iter()
        .partition(|text| text.contains("  namespace: checkout\nspec:"));
    ensure!(team.len() == 1, "{team:?}");
    let [tenants] = world
        .pages
        .of_page("tenants.md", &["Kustomization tenants"])?[..]
    else {
        return Ok(());
    };
    let (rights, _): (Vec<&str>, Vec<&str>) = system.iter().partition(|text| **text != tenants);
    world.apply(&rights).await?;
    long_gone_fields(world, tenants).await?;
    applied(world, "tenants").await?;
    world.apply(&team).await?;
    let checkout = world.namespace("checkout").await?;
    checkout
        .wait_ready(KUSTOMIZATION, "checkout", "True")
        .await?;
    ensure!(
        data(&checkout, "settings").await? == json!({"currency": "EUR"}),
        "what the team deploys"
    );
    Ok(())
}

/// What a team may not do is refused, although the controller might.
async fn confined(world: &World) -> Result {
    let role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: checkout\n";
    world.commit("teams/checkout/role.yaml", role);
    world
        .system
        .request_reconcile(GIT_REPOSITORY, "shop")
        .await?;
    let checkout = world.namespace("checkout").await?;
    let refused = |object: &Value| {
        let ready = condition(object, "Ready");
        ready.is_some_and(|ready| {
            let text = ready["message"].as_str().unwrap_or_default();
            ready["status"] == "False"
                && text.contains("User \"system:serviceaccount:checkout:checkout\" cannot")
        })
    };
    checkout
        .wait(KUSTOMIZATION, "checkout", "is refused", refused)
        .await?;
    Ok(())
}

async fn helm_releases(world: &World) -> Result {
    world.apply(&world.pages.page("helm-releases.md")?).await?;
    let orders = world.namespace("orders").await?;
    let release = orders.wait_ready(HELM_RELEASE, "orders", "True").await?;
    let newest = &release["status"]["history"][0];
    ensure!(newest["chartVersion"] == "1.4.0", "{release}");
    let tested = condition(&release, "TestSuccess").map(|found| found["status"].clone());
    ensure!(tested == Some(json!("True")), "{release}");
    let api = orders
        .get(DEPLOYMENT, "orders-api")
        .await?
        .unwrap_or_default();
    let container = &api["spec"]["template"]["spec"]["containers"][0];
    ensure!(
        container["image"] == "registry.example.com/shop/orders:v1.4.0"
            && container["resources"]["requests"]["cpu"] == "10m",
        "{api}"
    );
    let ingress = orders.get(INGRESS, "orders").await?.unwrap_or_default();
    ensure!(
        ingress["spec"]["rules"][0]["host"] == "orders.example.com",
        "{ingress}"
    );
    let autoscaler = orders.get(AUTOSCALER, "orders").await?.unwrap_or_default();
    ensure!(autoscaler["spec"]["maxReplicas"] == 10, "{autoscaler}");
    let check = orders.get(JOB, "orders-check").await?.unwrap_or_default();
    ensure!(check["status"]["succeeded"] == 1, "{check}");

    let databases = world.namespace("databases").await?;
    databases
        .wait_ready(HELM_RELEASE, "database", "True")
        .await?;
    ensure!(
        data(&databases, "database").await? == json!({"version": "2.4.1"}),
        "the newest of 2.x"
    );
    let stock = world.namespace("stock").await?;
    stock.wait_ready(HELM_RELEASE, "stock", "True").await?;
    ensure!(
        data(&stock, "stock").await? == json!({"mode": "fast"}),
        "values of the ConfigMap"
    );
    ensure!(
        entry(&stock, "stock", "password").await? == "correct-horse",
        "values of the Secret"
    );
    drift(&stock).await?;

    applied(world, "releases").await?;
    let metrics = world.namespace("metrics").await?;
    let release = metrics.wait_ready(HELM_RELEASE, "metrics", "True").await?;
    ensure!(
        release["spec"]["values"]["admin"]["password"] == "correct-horse",
        "{release}"
    );
    ensure!(
        entry(&metrics, "metrics", "password").await? == "correct-horse",
        "values with variables"
    );
    Ok(())
}

/// What was changed on the cluster is corrected, apart from the number of replicas.
async fn drift(stock: &Namespace) -> Result {
    stock
        .merge(CONFIG_MAP, "stock", json!({"data": {"mode": "slow"}}))
        .await?;
    stock
        .merge(DEPLOYMENT, "stock", json!({"spec": {"replicas": 4}}))
        .await?;
    let at = stock.request_reconcile(HELM_RELEASE, "stock").await?;
    let corrected = |map: &Value| map["data"]["mode"] == "fast";
    stock
        .wait(CONFIG_MAP, "stock", "is corrected", corrected)
        .await?;
    let ended = |object: &Value| {
        object["status"]["lastHandledReconcileAt"] == at
            && is_ready(object, "True")
            && condition(object, "Reconciling").is_none()
    };
    stock
        .wait(HELM_RELEASE, "stock", "has corrected all", ended)
        .await?;
    let deployment = stock.get(DEPLOYMENT, "stock").await?.unwrap_or_default();
    ensure!(deployment["spec"]["replicas"] == 4, "{deployment}");
    Ok(())
}
