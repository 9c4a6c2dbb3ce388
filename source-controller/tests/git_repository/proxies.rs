//! Repositories behind a proxy.

use git_servers::{Authority, HttpGitServer, Proxy, Repo, SshGitServer, SshKey, sshd_available};
use kind_tests::controller::Settings;
use kind_tests::{Result, ensure};
use serde_json::{Value, json};

use crate::support::World;

/// A name that only the proxies can resolve.
const NAME: &str = "git.example.test";

async fn secret(world: &World, name: &str, data: Value) -> Result {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
    world.namespace.apply(&secret.to_string()).await?;
    Ok(())
}

#[tokio::test]
async fn each_object_can_have_its_own_proxy() -> Result {
    let world = World::start("git-proxy").await?;
    world.repo("app.git");
    let authority = Authority::new();
    let secure = HttpGitServer::builder().tls(&authority).start();
    Repo::init(secure.root(), "app.git")
        .commit("main")
        .file("f", "x")
        .create();
    let proxies = [
        ("http", Proxy::http(None)),
        ("guarded", Proxy::http(Some(("someone", "pa55word")))),
        ("socks", Proxy::socks5(Some(("someone", "pa55word")))),
    ];
    // SC-AUTH-005, RT-SEC-012: schemes and credentials
    for (name, proxy) in &proxies {
        proxy.resolve(&format!("{NAME}:80"), world.git.address());
        let mut data = json!({"address": proxy.url()});
        if *name != "http" {
            data["username"] = json!("someone");
            data["password"] = json!("pa55word");
        }
        secret(&world, name, data).await?;
        let plain = format!("http://{NAME}/app.git");
        let spec = format!("ref: {{branch: main}}, proxySecretRef: {{name: {name}}}");
        world.apply_url(name, &plain, &spec).await?;
        world.ready(name).await?;
        // SC-GIT-127, RT-GIT-019
        let destinations = proxy.destinations();
        ensure!(
            !destinations.is_empty()
                && destinations
                    .iter()
                    .all(|found| *found == format!("{NAME}:80")),
            "{name}: {destinations:?}"
        );
        proxy.clear_destinations();
    }

    // A tunnel for TLS, whose content the proxy cannot see.
    secret(&world, "authority", json!({"ca.crt": authority.pem()})).await?;
    for (name, proxy) in &proxies {
        let tunneled = format!("{name}-tls");
        let spec = format!(
            "ref: {{branch: main}}, secretRef: {{name: authority}}, proxySecretRef: {{name: {name}}}"
        );
        world
            .apply_url(&tunneled, &secure.url("app.git"), &spec)
            .await?;
        world.ready(&tunneled).await?;
        let destinations = proxy.destinations();
        let address = secure.address().to_string();
        ensure!(
            destinations.first() == Some(&address),
            "{name}: {destinations:?}"
        );
    }

    // Rejecting and unreachable proxies are distinguished from the repository.
    secret(
        &world,
        "wrong",
        json!({"address": proxies[1].1.url(), "username": "someone", "password": "wr0ng"}),
    )
    .await?;
    secret(
        &world,
        "wrong-socks",
        json!({"address": proxies[2].1.url(), "username": "someone", "password": "wr0ng"}),
    )
    .await?;
    secret(&world, "nobody", json!({"address": "http://127.0.0.1:1"})).await?;
    for (name, url, words) in [
        ("wrong", format!("http://{NAME}/app.git"), "407"),
        ("wrong", secure.url("app.git"), "proxy"),
        (
            "wrong-socks",
            format!("http://{NAME}/app.git"),
            "socks connect",
        ),
        (
            "nobody",
            format!("http://{NAME}/app.git"),
            "connect: connection refused",
        ),
    ] {
        let object = format!("{name}-{}", url.split(':').next().unwrap_or_default());
        let spec = format!(
            "ref: {{branch: main}}, secretRef: {{name: authority}}, proxySecretRef: {{name: {name}}}"
        );
        world.apply_url(&object, &url, &spec).await?;
        let message = world
            .condition(&object, "FetchFailed", "True", "GitOperationFailed")
            .await?;
        ensure!(
            message.to_lowercase().contains(&words.to_lowercase()),
            "{object}: {message}"
        );
        ensure!(!message.contains("wr0ng"), "{object}: {message}");
    }
    Ok(())
}

// SC-GIT-127
#[tokio::test]
async fn ssh_with_a_deploy_key_uses_the_proxy() -> Result {
    if !sshd_available() {
        println!("skipped: sshd is not installed");
        return Ok(());
    }
    let world = World::start("git-sshproxy").await?;
    let key = SshKey::ed25519();
    let server = SshGitServer::builder().authorize(&key.public()).start();
    Repo::init(server.root(), "app.git")
        .commit("main")
        .file("f", "x")
        .create();
    secret(
        &world,
        "key",
        json!({"identity": key.private(), "known_hosts": server.known_hosts()}),
    )
    .await?;
    for (name, proxy) in [("http", Proxy::http(None)), ("socks", Proxy::socks5(None))] {
        secret(&world, name, json!({"address": proxy.url()})).await?;
        let spec = format!(
            "ref: {{branch: main}}, secretRef: {{name: key}}, proxySecretRef: {{name: {name}}}"
        );
        world.apply_url(name, &server.url("app.git"), &spec).await?;
        world.ready(name).await?;
        assert_eq!(
            proxy.destinations(),
            [server.address().to_string()],
            "{name}"
        );
    }
    Ok(())
}

// SC-PROC-036
#[tokio::test]
async fn the_proxy_from_the_environment_is_the_default() -> Result {
    let (usual, own) = (Proxy::http(None), Proxy::http(None));
    let settings = Settings::default()
        .env("HTTP_PROXY", usual.url())
        .env("NO_PROXY", "direct.example.test");
    let world = World::start_with("git-env", settings, HttpGitServer::start()).await?;
    world.repo("app.git");
    secret(&world, "own", json!({"address": own.url()})).await?;
    for proxy in [&usual, &own] {
        proxy.resolve(&format!("{NAME}:80"), world.git.address());
    }
    let url = format!("http://{NAME}/app.git");
    world
        .apply_url("usual", &url, "ref: {branch: main}")
        .await?;
    world.ready("usual").await?;
    // Events are sent directly to their address.
    let through = |proxy: &Proxy, destination: &str| {
        let destinations = proxy.destinations();
        destinations.iter().any(|found| found == destination)
    };
    let named = format!("{NAME}:80");
    ensure!(
        through(&usual, &named) && !through(&own, &named),
        "the environment's: {:?} {:?}",
        usual.destinations(),
        own.destinations()
    );

    usual.clear_destinations();
    world
        .apply_url(
            "own",
            &url,
            "ref: {branch: main}, proxySecretRef: {name: own}",
        )
        .await?;
    world.ready("own").await?;
    ensure!(
        !through(&usual, &named) && through(&own, &named),
        "the object's: {:?} {:?}",
        usual.destinations(),
        own.destinations()
    );

    // Neither loopback addresses nor those in NO_PROXY use it.
    world
        .apply("loopback", "app.git", "ref: {branch: main}")
        .await?;
    world.ready("loopback").await?;
    world
        .apply_url(
            "direct",
            "http://direct.example.test/app.git",
            "ref: {branch: main}",
        )
        .await?;
    world
        .condition("direct", "FetchFailed", "True", "GitOperationFailed")
        .await?;
    ensure!(
        !through(&usual, &world.git.address().to_string())
            && !through(&usual, "direct.example.test:80"),
        "{:?}",
        usual.destinations()
    );
    Ok(())
}
