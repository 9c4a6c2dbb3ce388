//! Scans: what is asked, kept and reported.

use git_servers::Authority;
use kind_tests::controller::Settings;
use kind_tests::{IMAGE_POLICY, IMAGE_REPOSITORY, Kind, Result, ensure};
use registries::{Artifact, Distribution, Registry, tar_gz};
use serde_json::{Value, json};

use crate::world::{APP, World, message};

const DEFINITION: Kind = Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition");

/// The revision of tags that are in this order in the store.
fn revision(tags: &[&str]) -> String {
    use sha2::Digest as _;
    let lines: String = tags.iter().map(|tag| format!("{tag}\n")).collect();
    format!("sha256:{}", hex::encode(sha2::Sha256::digest(lines)))
}

#[tokio::test]
async fn a_new_tag_is_found_and_selected() -> Result {
    let world = World::start("img-scan", Registry::start()).await?;
    world.push(&["1.0.0", "1.1.0", "sha256-00.sig", "latest"]);
    world.apply("app", "").await?;
    world
        .policy("app", "app", "policy: {semver: {range: '1.x'}}")
        .await?;
    let object = world.scanned("app").await?;
    let found = revision(&["latest", "1.1.0", "1.0.0"]);
    let status = &object["status"];
    // IR-REPO-010, IR-REPO-025, IR-REPO-026
    assert_eq!(status["canonicalImageName"], world.image());
    let scan = &status["lastScanResult"];
    assert_eq!(
        (&scan["revision"], &scan["tagCount"]),
        (&json!(found), &json!(3))
    );
    // IR-REPO-027, IR-REPO-030, IR-REPO-031
    assert_eq!(scan["latestTags"], json!(["latest", "1.1.0", "1.0.0"]));
    assert_eq!(status["observedExclusionList"], json!(["^.*\\.sig$"]));
    assert_eq!(status["observedGeneration"], 1);
    // IR-REPO-028
    let time = scan["scanTime"].as_str().unwrap_or_default();
    ensure!(
        time.len() == 20 && time.parse::<jiff::Timestamp>().is_ok(),
        "{time}"
    );
    // IR-REPO-057
    let ready = format!("successful scan: found 3 tags with checksum {found}");
    assert_eq!(message(&object, "Ready"), ready);
    assert_eq!(status["conditions"].as_array().map(Vec::len), Some(1));
    // IR-DB-021, IR-REPO-090
    let stored = std::fs::read_to_string(world.file("app"))?;
    assert_eq!(stored, "latest\n1.1.0\n1.0.0\n");
    // IR-REPO-080, IR-AUTH-041
    assert_eq!(
        world.registry.asked(),
        ["GET /v2/", &*format!("GET /v2/{APP}/tags/list?n=1000")]
    );
    let agents = world
        .registry
        .requests()
        .into_iter()
        .map(|made| made.user_agent);
    ensure!(
        agents
            .flatten()
            .all(|agent| agent.contains("go-containerregistry")),
        "user agents"
    );

    // IR-POL-022, IR-POL-025, IR-POL-053
    let policy = world.selected("app", "1.1.0").await?;
    let image = world.image();
    assert_eq!(
        policy["status"]["latestRef"],
        json!({"name": image, "tag": "1.1.0"})
    );
    ensure!(
        policy["status"]["observedPreviousRef"].is_null(),
        "{policy}"
    );
    let selected = format!("Latest image tag for {image} resolved to 1.1.0");
    assert_eq!(message(&policy, "Ready"), selected);
    assert_eq!(policy["status"]["observedGeneration"], 1);

    // IR-REPO-071, IR-REPO-032, IR-POL-031
    world.push(&["1.2.0"]);
    let object = world.reconcile(IMAGE_REPOSITORY, "app").await?;
    assert_eq!(object["status"]["lastScanResult"]["tagCount"], 4);
    let policy = world.selected("app", "1.2.0").await?;
    // IR-POL-023
    let before = &policy["status"]["observedPreviousRef"];
    assert_eq!(*before, json!({"name": image, "tag": "1.1.0"}));
    let moved =
        format!("Latest image tag for {image} resolved to 1.2.0 (previously {image}:1.1.0)");
    assert_eq!(message(&policy, "Ready"), moved);

    // IR-REPO-100, IR-PROC-047, RT-EVT-021
    let next = revision(&["latest", "1.2.0", "1.1.0", "1.0.0"]);
    let next = format!("successful scan: found 4 tags with checksum {next}");
    world
        .events
        .wait("tells of the scan", |event| event["message"] == *next)
        .await?;
    let told =
        |message: &str, action: &str| ["info", "Succeeded", action, message].map(str::to_owned);
    let events = world.told(IMAGE_REPOSITORY, "app");
    assert_eq!(events, [told(&ready, "Scan"), told(&next, "Scan")]);
    // IR-POL-057
    world
        .events
        .wait("tells of the tag", |event| event["message"] == *moved)
        .await?;
    let events = world.told(IMAGE_POLICY, "app");
    assert_eq!(
        events,
        [told(&selected, "SelectImage"), told(&moved, "SelectImage")]
    );

    // IR-REPO-103, IR-PROC-049: what did not change is told to Kubernetes only
    world.reconcile(IMAGE_REPOSITORY, "app").await?;
    let event = world
        .recorded("app", "tags did not change, next scan in 1h0m0s")
        .await?;
    assert_eq!(
        (&event["reason"], &event["type"]),
        (&json!("Succeeded"), &json!("Normal"))
    );
    assert_eq!(event["source"]["component"], "image-reflector-controller");
    assert_eq!(world.told(IMAGE_REPOSITORY, "app").len(), 2);
    // IR-REPO-104
    let logged = |line: &Value| line["msg"] == *moved && line["level"] == "info";
    let line = world.controller.log().wait("of the tag", logged).await?;
    // IR-PROC-014
    for (key, value) in [
        ("controllerKind", "ImagePolicy"),
        ("controllerGroup", "image.toolkit.fluxcd.io"),
        ("controller", "imagepolicy"),
        ("name", "app"),
        ("namespace", world.namespace.name()),
    ] {
        assert_eq!(line[key], value, "{line}");
    }
    ensure!(
        line["ts"].is_string() && line["reconcileID"].is_string(),
        "{line}"
    );
    Ok(())
}

// IR-REPO-080, FR-N-059: pages with relative links
#[tokio::test]
async fn all_pages_are_read() -> Result {
    let world = World::start("img-pages", Registry::builder().page(2).start()).await?;
    world.push(&["1.0.0", "1.1.0", "1.2.0", "1.3.0", "9.0.0"]);
    world.apply("app", "").await?;
    world
        .policy("app", "app", "policy: {semver: {range: '*'}}")
        .await?;
    let object = world.scanned("app").await?;
    assert_eq!(object["status"]["lastScanResult"]["tagCount"], 5);
    world.selected("app", "9.0.0").await?;
    Ok(())
}

#[tokio::test]
async fn the_spec_decides_whether_a_scan_is_made() -> Result {
    let world = World::start("img-decide", Registry::start()).await?;
    world.push(&["1.0.0", "1.0.0.sig", "2.0.0-rc.1"]);
    world.apply("app", "").await?;
    world.scanned("app").await?;
    assert_eq!(world.scans(), 1);
    // IR-REPO-078, IR-REPO-058: another timeout is no reason
    world.apply("app", "timeout: 20s").await?;
    let object = world.scanned("app").await?;
    assert_eq!(world.scans(), 1);
    let text = "no change in repository configuration since last scan, next scan in 59m";
    world.recorded("app", text).await?;
    ensure!(
        message(&object, "Ready").starts_with("successful scan: found 2 tags"),
        "{object}"
    );
    // IR-REPO-073, IR-REPO-085
    world
        .apply("app", "exclusionList: ['rc', '^1[.]0[.]0$']")
        .await?;
    let object = world.scanned("app").await?;
    assert_eq!(world.scans(), 2);
    let status = &object["status"];
    assert_eq!(status["lastScanResult"]["latestTags"], json!(["1.0.0.sig"]));
    assert_eq!(
        status["observedExclusionList"],
        json!(["rc", "^1[.]0[.]0$"])
    );
    // IR-REPO-021
    world.apply("app", "exclusionList: []").await?;
    let object = world.scanned("app").await?;
    assert_eq!(object["status"]["lastScanResult"]["tagCount"], 2);
    // IR-REPO-072
    world
        .registry
        .push("org/other", "9.0.0", &Artifact::flux(tar_gz(&[("a", "")])));
    let other = world.registry.repository("org/other");
    world.apply_image("app", &other, "").await?;
    let object = world.scanned("app").await?;
    assert_eq!(
        object["status"]["lastScanResult"]["latestTags"],
        json!(["9.0.0"])
    );
    assert_eq!(object["status"]["canonicalImageName"], other);
    // IR-REPO-077: all tags are excluded, which is a result as any
    world
        .apply_image("app", &other, "exclusionList: ['.']")
        .await?;
    let object = world.scanned("app").await?;
    let scan = &object["status"]["lastScanResult"];
    ensure!(
        scan["tagCount"] == 0 && scan["latestTags"].is_null(),
        "{scan}"
    );
    let before = world.registry.asked().len();
    world
        .apply_image("app", &other, "exclusionList: ['.'], timeout: 20s")
        .await?;
    world.scanned("app").await?;
    assert_eq!(world.registry.asked().len(), before);
    Ok(())
}

// IR-REPO-059, IR-REPO-076, IR-REPO-084: at each interval, over the failure of a scan
#[tokio::test]
async fn scans_are_repeated_at_the_interval() -> Result {
    let world = World::start("img-interval", Registry::start()).await?;
    world.push(&["1.0.0"]);
    world.apply("app", "interval: 1s").await?;
    world.scanned("app").await?;
    world.push(&["1.1.0"]);
    let found = |object: &Value| object["status"]["lastScanResult"]["tagCount"] == 2;
    world
        .namespace
        .wait(IMAGE_REPOSITORY, "app", "has found the new tag", found)
        .await?;
    Ok(())
}

/// The messages of Reconciling, and whether Ready was Unknown, in the states of an object from its creation until it is ready.
async fn states(
    world: &World,
    kind: Kind,
    created: impl Future<Output = Result>,
) -> Result<(Vec<String>, bool)> {
    let seen = std::sync::Mutex::new((Vec::new(), false));
    let look = |object: &Value| {
        let text = message(object, "Reconciling");
        if let Ok(mut seen) = seen.lock() {
            if !text.is_empty() {
                seen.0.push(text);
            }
            let ready = kind_tests::condition(object, "Ready");
            seen.1 |= ready.is_some_and(|ready| {
                ready["status"] == "Unknown" && ready["reason"] == "Progressing"
            });
        }
        kind_tests::is_ready(object, "True")
    };
    world
        .namespace
        .wait_during(kind, "app", "is ready", look, created)
        .await?;
    let (mut messages, unknown) = seen.into_inner().unwrap_or_default();
    messages.dedup();
    Ok((messages, unknown))
}

#[tokio::test]
async fn progress_is_reported_for_new_work() -> Result {
    let settings = Settings::default().telling_progress();
    let world = World::start_with("img-progress", settings, Registry::start()).await?;
    world.push(&["1.0.0"]);
    // IR-REPO-048, IR-REPO-049, IR-REPO-055
    let states_of = states(&world, IMAGE_REPOSITORY, world.apply("app", "")).await?;
    let (began, scanning) = (
        "processing object: new generation -1 -> 1".to_owned(),
        "scanning: first scan".to_owned(),
    );
    assert_eq!(states_of, (vec![began.clone(), scanning], true));
    // IR-POL-036
    let applied = world.policy("app", "app", "policy: {semver: {range: '*'}}");
    let states_of = states(&world, IMAGE_POLICY, applied).await?;
    assert_eq!(states_of, (vec![began], true));

    // IR-REPO-040, IR-POL-030: other changes of the objects cause no reconcile
    let labels = json!({"metadata": {"labels": {"team": "a"}, "annotations": {"team": "a"}}});
    for kind in [IMAGE_REPOSITORY, IMAGE_POLICY] {
        let before = reconciles(&world, kind).await?;
        world.namespace.merge(kind, "app", labels.clone()).await?;
        world.reconcile(kind, "app").await?;
        assert_eq!(reconciles(&world, kind).await?, before + 1, "{}", kind.1);
    }
    assert_eq!(world.scans(), 2);
    Ok(())
}

/// How many reconciles of a kind there were, by the metrics.
async fn reconciles(world: &World, kind: Kind) -> Result<u64> {
    let name = format!("gotk_reconcile_duration_seconds_count{{kind=\"{}\"", kind.1);
    let page = world
        .controller
        .metrics_at_rest(&kind.1.to_lowercase())
        .await?;
    let line = page.lines().find(|line| line.starts_with(&name));
    let count = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    Ok(count.unwrap_or_default())
}

// IR-REPO-081, IR-AUTH-014: another maker's registry, over TLS of a private authority and with a password
#[tokio::test]
async fn docker_registry_is_scanned_over_tls_with_a_password() -> Result {
    let authority = Authority::new();
    let pair = authority.issue(&["127.0.0.1"]);
    let Some(docker) = Distribution::secured(&pair) else {
        return Ok(());
    };
    let digest = docker.push(APP, "1.0.0", &Artifact::flux(tar_gz(&[("a", "1")])));
    docker.push(APP, "0.9.0", &Artifact::flux(tar_gz(&[("a", "0")])));
    let world = World::start("img-docker", Registry::start()).await?;
    let config = json!({"auths": {docker.host(): {"username": "flux", "password": "s3cret"}}});
    let secrets = [
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pull"},
            "type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": config.to_string()},
        }),
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "certs"},
            "stringData": {"ca.crt": authority.pem()},
        }),
    ];
    for secret in secrets {
        world.namespace.apply(&secret.to_string()).await?;
    }
    let image = docker.repository(APP);
    let spec = "secretRef: {name: pull}, certSecretRef: {name: certs}";
    world.apply_image("app", &image, spec).await?;
    let spec = "digestReflectionPolicy: IfNotPresent, policy: {semver: {range: '*'}}";
    world.policy("app", "app", spec).await?;
    let object = world.scanned("app").await?;
    assert_eq!(
        object["status"]["lastScanResult"]["latestTags"],
        json!(["1.0.0", "0.9.0"])
    );
    // IR-POL-103, IR-POL-104
    let policy = world.selected("app", "1.0.0").await?;
    assert_eq!(policy["status"]["latestRef"]["digest"], digest);

    // IR-AUTH-002: without the password nothing is found
    world
        .apply_image("anonymous", &image, "certSecretRef: {name: certs}")
        .await?;
    let text = world.failed("anonymous", "ReadOperationFailed").await?;
    ensure!(
        text.contains("UNAUTHORIZED: authentication required"),
        "{text}"
    );
    // IR-AUTH-016
    world
        .apply_image("unknown", &image, "insecure: true")
        .await?;
    let text = world.failed("unknown", "ReadOperationFailed").await?;
    ensure!(
        text.contains("certificate signed by unknown authority"),
        "{text}"
    );
    Ok(())
}

// IR-REPO-008, IR-POL-002, IR-REPO-024: what the API server makes of the definitions
#[tokio::test]
async fn new_objects_have_defaults() -> Result {
    let cluster = kind_tests::Cluster::shared().await?;
    let namespace = kind_tests::Namespace::create(&cluster, "img-defaults").await?;
    let repository = "{apiVersion: image.toolkit.fluxcd.io/v1, kind: ImageRepository, metadata: {name: a}, spec: {image: a, interval: 1m}}";
    let policy = "{apiVersion: image.toolkit.fluxcd.io/v1, kind: ImagePolicy, metadata: {name: a}, spec: {imageRepositoryRef: {name: a}, policy: {numerical: {}, alphabetical: {}}}}";
    let applied = namespace.apply(repository).await?;
    // IR-REPO-020, IR-REPO-022
    assert_eq!(applied[0]["spec"]["exclusionList"], json!(["^.*\\.sig$"]));
    assert_eq!(applied[0]["spec"]["provider"], "generic");
    assert_eq!(applied[0]["status"], json!({"observedGeneration": -1}));
    let applied = namespace.apply(policy).await?;
    // IR-POL-013, IR-POL-016, IR-POL-021
    let spec = &applied[0]["spec"];
    assert_eq!(
        spec["policy"],
        json!({"numerical": {"order": "asc"}, "alphabetical": {"order": "asc"}})
    );
    assert_eq!(spec["digestReflectionPolicy"], "Never");
    assert_eq!(applied[0]["status"], json!({"observedGeneration": -1}));
    for (kind, patch, expected) in [
        // IR-REPO-011, IR-REPO-012
        (IMAGE_REPOSITORY, json!({"interval": "1d"}), "spec.interval"),
        (IMAGE_REPOSITORY, json!({"timeout": "1h"}), "spec.timeout"),
        (
            IMAGE_REPOSITORY,
            json!({"provider": "other"}),
            "spec.provider",
        ),
        // IR-REPO-016
        (
            IMAGE_REPOSITORY,
            json!({"serviceAccountName": "a".repeat(254)}),
            "spec.serviceAccountName",
        ),
        (
            IMAGE_REPOSITORY,
            json!({"exclusionList": vec!["a"; 26]}),
            "spec.exclusionList",
        ),
        // IR-REPO-019
        (
            IMAGE_REPOSITORY,
            json!({"accessFrom": {}}),
            "spec.accessFrom.namespaceSelectors",
        ),
        (
            IMAGE_POLICY,
            json!({"policy": {"numerical": {"order": "up"}}}),
            "order",
        ),
        // IR-POL-017, IR-POL-018, IR-POL-019
        (
            IMAGE_POLICY,
            json!({"digestReflectionPolicy": "Always", "interval": "1d"}),
            "spec.interval",
        ),
        (
            IMAGE_POLICY,
            json!({"interval": "1m"}),
            "spec.interval is only accepted when spec.digestReflectionPolicy is set to 'Always'",
        ),
        (
            IMAGE_POLICY,
            json!({"digestReflectionPolicy": "Always"}),
            "spec.interval must be set when spec.digestReflectionPolicy is set to 'Always'",
        ),
    ] {
        let refused = namespace.merge(kind, "a", json!({"spec": patch})).await;
        let text = refused.map_or_else(|error| error.to_string(), |_| String::new());
        ensure!(text.contains(expected), "{patch}: {text}");
    }
    // IR-POL-011, IR-POL-012: an empty policy and range are for the controller to refuse
    for policy in [
        json!({"numerical": null, "alphabetical": null}),
        json!({"semver": {"range": ""}}),
    ] {
        namespace
            .merge(IMAGE_POLICY, "a", json!({"spec": {"policy": policy}}))
            .await?;
    }
    // IR-REPO-001, IR-POL-001
    for (name, short) in [
        ("imagerepositories", json!(["imgrepo", "imagerepo"])),
        ("imagepolicies", json!(["imgpol", "imagepol"])),
    ] {
        let name = format!("{name}.image.toolkit.fluxcd.io");
        let definition = namespace.get(DEFINITION, &name).await?.unwrap_or_default();
        assert_eq!(definition["spec"]["names"]["shortNames"], short);
        let categories = json!(["all", "fluxcd", "fluxcd-images"]);
        assert_eq!(definition["spec"]["names"]["categories"], categories);
        // IR-POL-005
        let annotation = "kustomize.toolkit.fluxcd.io/substitute";
        assert_eq!(
            definition["metadata"]["annotations"][annotation],
            "disabled"
        );
    }
    Ok(())
}
