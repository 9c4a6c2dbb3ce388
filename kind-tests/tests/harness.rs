//! Tests of the harness itself, on a real cluster.

use std::fs;
use std::path::Path;

use kind_tests::requests::Counter;
use kind_tests::{
    CONFIG_MAP, Cluster, DEPLOYMENT, EventSink, Kind, Namespace, Result, Settings, ensure,
};
use kube::api::PostParams;
use kube::config::KubeConfigOptions;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const NODE: Kind = Kind("v1", "Node");

#[tokio::test]
async fn tests_share_a_cluster_separated_by_namespaces() -> Result {
    let (one, other) = (Cluster::shared().await?, Cluster::shared().await?);
    assert_eq!(one.kubeconfig(), other.kubeconfig());

    let (mine, yours) = (
        Namespace::create(&one, "mine").await?,
        Namespace::create(&other, "yours").await?,
    );
    mine.apply(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {in: '${namespace}'}}",
    )
    .await?;
    mine.wait(CONFIG_MAP, "a", "names its namespace", |map| {
        map["data"]["in"] == mine.name()
    })
    .await?;
    assert_eq!(yours.get(CONFIG_MAP, "a").await?, None);

    mine.delete(CONFIG_MAP, "a").await?;
    mine.wait_gone(CONFIG_MAP, "a").await
}

#[tokio::test]
async fn pods_of_a_deployment_become_ready() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "deployment").await?;
    namespace
        .apply(
            "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: registry.k8s.io/pause:3.10}]}
",
        )
        .await?;
    namespace
        .wait(DEPLOYMENT, "web", "has its replicas", |web| {
            web["status"]["readyReplicas"] == 2
        })
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_dedicated_cluster_has_the_crds_and_stops_on_drop() -> Result {
    let cluster = Cluster::own(Settings::default()).await?;
    let kubeconfig = cluster.kubeconfig().to_path_buf();
    let namespace = Namespace::create(&cluster, "own").await?;
    namespace
        .wait(NODE, "fake-1", "is ready", |node| {
            node["status"]["conditions"].as_array().is_some_and(|all| {
                all.iter()
                    .any(|c| c["type"] == "Ready" && c["status"] == "True")
            })
        })
        .await?;
    drop(namespace);
    drop(cluster);
    ensure!(
        !kubeconfig.exists(),
        "{} is still there",
        kubeconfig.display()
    );
    Ok(())
}

#[tokio::test]
async fn requests_are_counted_by_user() -> Result {
    let cluster = Cluster::shared().await?;
    if cluster.audit_log().is_none() {
        println!("skipped: the requests of this cluster cannot be counted");
        return Ok(());
    }
    let namespace = Namespace::create(&cluster, "requests").await?;
    let user = format!("counted.{}", namespace.name());
    let path = cluster.kubeconfig_for(&user)?;
    let config = kube::config::Kubeconfig::read_from(path)?;
    let config =
        kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    let client = kube::Client::try_from(config)?;
    let maps: kube::Api<k8s_openapi::api::core::v1::ConfigMap> =
        kube::Api::namespaced(client, namespace.name());

    maps.get_opt("before").await?;
    let counter = Counter::start(&cluster, &user)?;
    let map = serde_json::from_value(json!({"metadata": {"name": "a"}}))?;
    maps.create(&PostParams::default(), &map).await?;
    maps.get("a").await?;
    maps.get_opt("b").await?;
    let counted: Vec<_> = counter
        .requests()?
        .into_iter()
        .map(|request| (request.verb, request.resource, request.code))
        .collect();
    let expected = [("create", 201), ("get", 200), ("get", 404)];
    assert_eq!(
        counted,
        expected.map(|(verb, code)| (verb.to_owned(), "configmaps".to_owned(), code))
    );
    Ok(())
}

#[tokio::test]
async fn any_request_keeps_the_shared_cluster_alive() -> Result {
    let cluster = Cluster::shared().await?;
    let Some(log) = cluster.audit_log() else {
        println!("skipped: this cluster is not ours to end");
        return Ok(());
    };
    let plan = fs::read(log.with_file_name("plan.json"))?;
    let plan: Value = serde_json::from_slice(&plan)?;
    let watched = Path::new(plan["idleFile"].as_str().unwrap_or_default());
    let before = fs::metadata(watched)?.len();
    // A client that is not part of this harness: kubectl, a controller started manually.
    let user = format!("stranger.{:08x}", rand::random::<u32>());
    let config = kube::config::Kubeconfig::read_from(cluster.kubeconfig_for(&user)?)?;
    let config =
        kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    kube::Client::try_from(config)?.apiserver_version().await?;
    let after = fs::metadata(watched)?.len();
    ensure!(
        after > before,
        "{} stays as it is at a request",
        watched.display()
    );
    Ok(())
}

#[tokio::test]
async fn the_event_sink_rejects_invalid_events() -> Result {
    let sink = EventSink::start().await?;
    assert!(sink.url().ends_with('/'));
    let address = sink
        .url()
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .to_owned();
    let body = "{\"message\": \"only this\"}";
    let request = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = tokio::net::TcpStream::connect(&address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    ensure!(answer.starts_with("HTTP/1.1 400"), "answered {answer}");
    ensure!(sink.events().is_empty(), "took {:?}", sink.events());
    ensure!(
        sink.check()
            .is_err_and(|failure| failure.to_string().contains("involvedObject")),
        "did not say why"
    );
    Ok(())
}
