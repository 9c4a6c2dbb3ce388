//! Policies: what they select, and which repositories they may use.

use kind_tests::controller::Settings;
use kind_tests::{IMAGE_POLICY, IMAGE_REPOSITORY, Result, ensure};
use registries::Registry;
use serde_json::{Value, json};

use crate::world::{World, message};

const NAMESPACE: kind_tests::Kind = kind_tests::Kind("v1", "Namespace");

#[tokio::test]
async fn each_kind_of_policy_selects_its_tag() -> Result {
    let world = World::start("img-policies", Registry::start()).await?;
    world.push(&[
        "1.0.0",
        "v1.10.0",
        "1.9.0",
        "main-a1-100",
        "main-b2-99",
        "7",
        "10",
        "zeta",
    ]);
    world.apply("app", "").await?;
    for (name, spec, tag) in [
        // IR-POL-076
        ("semver", "policy: {semver: {range: '>=1.0.0'}}", "v1.10.0"),
        // IR-POL-080
        ("last", "policy: {alphabetical: {order: asc}}", "zeta"),
        ("first", "policy: {alphabetical: {order: desc}}", "1.0.0"),
        // IR-POL-015, IR-POL-082, IR-POL-092
        (
            "number",
            "filterTags: {pattern: '^[0-9]+$'}, policy: {numerical: {order: asc}}",
            "10",
        ),
        // IR-POL-087, IR-POL-089
        (
            "build",
            "filterTags: {pattern: '^main-[a-f0-9]+-(?P<n>[0-9]+)$', extract: '$n'}, policy: {numerical: {order: asc}}",
            "main-a1-100",
        ),
        // IR-POL-014
        (
            "several",
            "policy: {numerical: {order: asc}, semver: {range: '<1.5'}}",
            "1.0.0",
        ),
    ] {
        world.policy(name, "app", spec).await?;
        let object = world.selected(name, tag).await?;
        assert_eq!(object["status"]["latestRef"]["name"], world.image());
    }
    // one scan serves them all
    assert_eq!(world.scans(), 1);

    for (name, spec, reason, expected) in [
        // IR-POL-047, IR-POL-070
        (
            "none",
            "policy: {}",
            "InvalidPolicy",
            "invalid policy: given ImagePolicyChoice object is invalid",
        ),
        // IR-POL-071
        (
            "range",
            "policy: {semver: {range: ''}}",
            "InvalidPolicy",
            "invalid policy: improper constraint: \"\"",
        ),
        // IR-POL-086
        (
            "pattern",
            "filterTags: {pattern: '['}, policy: {semver: {range: '*'}}",
            "InvalidPolicy",
            "failed to filter tags: invalid regular expression pattern '[': error parsing regexp: missing closing ]: `[`",
        ),
        // IR-POL-050, IR-POL-078
        (
            "high",
            "policy: {semver: {range: '>=9'}}",
            "Failure",
            "unable to determine latest version from provided list",
        ),
        // IR-POL-079
        (
            "empty",
            "filterTags: {pattern: '^x'}, policy: {semver: {range: '*'}}",
            "Failure",
            "version list argument cannot be empty",
        ),
        // IR-POL-083
        (
            "words",
            "policy: {numerical: {order: asc}}",
            "Failure",
            "failed to parse invalid numeric value 'zeta'",
        ),
    ] {
        world.policy(name, "app", spec).await?;
        assert_eq!(world.refused(name, reason).await?, expected);
        if reason == "InvalidPolicy" {
            let state = ["Stalled", "True", reason];
            let text = world.condition(IMAGE_POLICY, name, state).await?;
            assert_eq!(text, expected);
        } else {
            // IR-POL-056
            let state = ["Reconciling", "True", "ProgressingWithRetry"];
            world.condition(IMAGE_POLICY, name, state).await?;
        }
    }
    // IR-REPO-102: a failure is told as one
    let told = world.told(IMAGE_POLICY, "none");
    let warning = [
        "error",
        "InvalidPolicy",
        "SelectImage",
        "invalid policy: given ImagePolicyChoice object is invalid",
    ];
    ensure!(
        told.iter()
            .any(|event| event == &warning.map(str::to_owned)),
        "{told:?}"
    );
    // IR-REPO-101: and its end too
    world
        .policy("none", "app", "policy: {semver: {range: '*'}}")
        .await?;
    let object = world.selected("none", "v1.10.0").await?;
    assert_eq!(
        object["status"]["conditions"].as_array().map(Vec::len),
        Some(1)
    );
    Ok(())
}

// FR-N-061
#[tokio::test]
async fn percent_signs_of_a_registry_are_text() -> Result {
    let body = r#"{"errors":[{"code":"DENIED","message":"100%d of repository%3Aorg%2Fapp %s"}]}"#;
    let registry = Registry::builder()
        .answer(99, "GET", "/v2/org/app/tags", 404, body)
        .start();
    let world = World::start("img-percent", registry).await?;
    world.apply("app", "").await?;
    let text = world.failed("app", "ReadOperationFailed").await?;
    let expected = "scan failed: GET http://HOST/v2/org/app/tags/list?n=***: DENIED: 100%d of repository%3Aorg%2Fapp %s";
    assert_eq!(text, expected);
    let words = "100%d of repository%3Aorg%2Fapp %s";
    let is_told = |event: &Value| {
        event["message"]
            .as_str()
            .is_some_and(|text| text.ends_with(words))
    };
    world.events.wait("tells of the failure", is_told).await?;
    world.recorded("app", words).await?;
    let logged = |line: &Value| {
        line["error"]
            .as_str()
            .is_some_and(|text| text.ends_with(words))
    };
    world
        .controller
        .log()
        .wait("of the failure", logged)
        .await?;
    Ok(())
}

// IR-POL-037, IR-POL-038, IR-POL-032
#[tokio::test]
async fn a_policy_waits_for_its_repository() -> Result {
    let world = World::start("img-waits", Registry::start()).await?;
    world.push(&["1.0.0"]);
    world
        .policy("app", "app", "policy: {semver: {range: '*'}}")
        .await?;
    let text = world.refused("app", "DependencyNotReady").await?;
    let expected = "failed to get the referred ImageRepository: referenced ImageRepository does not exist: \
                    ImageRepository.image.toolkit.fluxcd.io \"app\" not found";
    assert_eq!(text, expected);
    world.apply("app", "").await?;
    world.selected("app", "1.0.0").await?;
    // IR-POL-045
    world.apply_image("app", "http://x/y", "").await?;
    world.reconcile(IMAGE_POLICY, "app").await?;
    let text = world.refused("app", "ImageURLInvalid").await?;
    assert_eq!(
        text,
        "image 'http://x/y' should not include URL scheme; remove 'http://'"
    );
    // what was selected stays
    let object = world
        .namespace
        .get(IMAGE_POLICY, "app")
        .await?
        .unwrap_or_default();
    assert_eq!(object["status"]["latestRef"]["tag"], "1.0.0");
    world.namespace.delete(IMAGE_REPOSITORY, "app").await?;
    world.refused("app", "DependencyNotReady").await?;
    Ok(())
}

// IR-POL-048, IR-PROC-010: a repository that has not been scanned
#[tokio::test]
async fn a_repository_without_tags_is_looked_at_again() -> Result {
    let settings = Settings::default().flag("--requeue-dependency=1s");
    let world = World::start_with("img-no-tags", settings, Registry::start()).await?;
    world.apply("app", "").await?;
    world
        .policy("app", "app", "policy: {semver: {range: '*'}}")
        .await?;
    let text = world.refused("app", "DependencyNotReady").await?;
    assert_eq!(text, "retrying in 1s error: no tags in database");
    world.push(&["1.0.0"]);
    world
        .namespace
        .request_reconcile(IMAGE_REPOSITORY, "app")
        .await?;
    world.selected("app", "1.0.0").await?;
    Ok(())
}

#[tokio::test]
async fn other_namespaces_need_permission() -> Result {
    let world = World::start("img-access", Registry::start()).await?;
    world.push(&["1.0.0"]);
    let cluster = kind_tests::Cluster::shared().await?;
    let other = kind_tests::Namespace::create(&cluster, "img-tenant").await?;
    let (own, tenant) = (world.namespace.name().to_owned(), other.name().to_owned());
    world.apply("app", "").await?;
    world.scanned("app").await?;
    // The label of this test's controller.
    let policy = format!(
        "{{apiVersion: image.toolkit.fluxcd.io/v1, kind: ImagePolicy, metadata: {{name: app, namespace: {tenant}, \
         labels: {{{}: {own}}}}}, spec: {{imageRepositoryRef: {{name: app, namespace: {own}}}, policy: {{semver: {{range: '*'}}}}}}}}",
        kind_tests::SHARD_LABEL
    );
    world.namespace.apply(&policy).await?;
    let state = |expected: String| {
        move |object: &Value| {
            kind_tests::is_ready(object, "False") && message(object, "Ready") == expected
        }
    };
    let begin = "failed to get the referred ImageRepository: access denied: ";
    // IR-POL-010, IR-POL-041
    let missing =
        format!("{begin}'{own}/app' can't be accessed due to missing ACL labels on 'accessFrom'");
    other
        .wait(IMAGE_POLICY, "app", "is denied", state(missing))
        .await?;
    // IR-POL-058: access is checked before the image
    world.apply_image("app", "http://x/y", "").await?;
    world.failed("app", "ImageURLInvalid").await?;
    let at = other.request_reconcile(IMAGE_POLICY, "app").await?;
    let denied = |object: &Value| {
        object["status"]["lastHandledReconcileAt"] == at.as_str()
            && kind_tests::condition(object, "Ready")
                .is_some_and(|it| it["reason"] == "AccessDenied")
    };
    let goal = "is still denied";
    other.wait(IMAGE_POLICY, "app", goal, denied).await?;
    // IR-POL-042, IR-POL-044, RT-ACL-002
    let spec =
        "accessFrom: {namespaceSelectors: [{matchLabels: {a: b}}, {matchLabels: {team: a}}]}";
    world.apply("app", spec).await?;
    let mismatch = format!(
        "{begin}'{own}/app' can't be accessed due to ACL labels mismatch on namespace '{tenant}'"
    );
    other
        .wait(IMAGE_POLICY, "app", "is denied", state(mismatch))
        .await?;
    // IR-POL-043
    let label = json!({"metadata": {"labels": {"team": "a"}}});
    other.merge(NAMESPACE, &tenant, label).await?;
    other.wait_ready(IMAGE_POLICY, "app", "True").await?;
    Ok(())
}

// IR-POL-040, IR-PROC-023
#[tokio::test]
async fn references_to_other_namespaces_can_be_switched_off() -> Result {
    let settings = Settings::default().flag("--no-cross-namespace-refs");
    let world = World::start_with("img-cross", settings, Registry::start()).await?;
    let policy = "{apiVersion: image.toolkit.fluxcd.io/v1, kind: ImagePolicy, metadata: {name: app}, \
         spec: {imageRepositoryRef: {name: app, namespace: other}, policy: {semver: {range: '*'}}}}";
    world.namespace.apply(policy).await?;
    let text = world.refused("app", "AccessDenied").await?;
    let expected = "failed to get the referred ImageRepository: cannot access 'ImageRepository/other/app', \
                    cross-namespace references have been blocked";
    assert_eq!(text, expected);
    Ok(())
}
