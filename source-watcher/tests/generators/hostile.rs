//! Specs and sources that are wrong, or made to do harm.

use kind_tests::{Result, ensure};

use crate::world::World;

fn artifact(copy: &str) -> String {
    format!("artifacts: [{{name: app, copy: [{copy}]}}]")
}

async fn start(topic: &str) -> Result<World> {
    let world = World::start(topic).await?;
    let files = [
        ("apps/a/x.yaml", "a: 1\n"),
        ("apps/B/y.yaml", ""),
        ("list.yaml", "- a\n"),
        ("a.tgz", "no archive"),
    ];
    world.source("repo", "r1", &files).await?;
    Ok(world)
}

// SW-GEN-050, SW-GEN-051: what only a change of the spec helps
#[tokio::test]
async fn specs_that_contradict_themselves_stall() -> Result {
    let world = start("stall").await?;
    let copy = "{from: '@repo/**', to: '@artifact/'}";
    let twice = "sources: [{alias: r, kind: Bucket, name: b}, {alias: r, kind: Bucket, name: c}]";
    world
        .apply("alias", &format!("{twice}, {}", artifact(copy)))
        .await?;
    let message = world
        .condition("alias", "Stalled", "True", "ValidationFailed")
        .await?;
    // SW-GEN-052
    assert_eq!(message, "duplicate source alias 'r' found");
    assert_eq!(world.fails("alias", "ValidationFailed").await?, message);
    world
        .told("alias", &format!("Warning ValidationFailed: {message}"))
        .await?;
    // SW-GEN-055
    world
        .generate(
            "name",
            &format!("artifacts: [{{name: x, copy: [{copy}]}}, {{name: x, copy: [{copy}]}}]"),
        )
        .await?;
    let message = world
        .condition("name", "Stalled", "True", "ValidationFailed")
        .await?;
    let own = world.namespace.name();
    assert_eq!(
        message,
        format!("duplicate artifact name 'x' found in namespace '{own}'")
    );
    // SW-GEN-118, SW-GEN-122, SW-GEN-201
    for (pattern, expected) in [
        ("@repo/{a}/{a}", "duplicate capture variable \"a\""),
        (
            "@repo/apps/{app}",
            "rendered artifact name \"b_\" is not a valid Kubernetes object name",
        ),
        (
            "@none/{app}",
            "source alias none not found in local sources",
        ),
    ] {
        let spec =
            format!("pathPattern: '{pattern}', artifacts: [{{name: '{{app}}_', copy: [{copy}]}}]");
        let spec = spec.replace(
            "{app}_",
            if pattern.contains("{app}") {
                "{app}_"
            } else {
                "x"
            },
        );
        world.generate("pattern", &spec).await?;
        let message = world
            .condition("pattern", "Stalled", "True", "BuildFailed")
            .await?;
        ensure!(
            message.starts_with("failed to expand path pattern: pathPattern"),
            "{message}"
        );
        ensure!(
            message.contains(expected) || message.contains("\"a_\""),
            "{message}"
        );
    }
    let counted = world.watcher.metrics_at_rest("artifactgenerator").await?;
    // SW-GEN-050, SW-PROC-035
    let terminal =
        "controller_runtime_terminal_reconcile_errors_total{controller=\"artifactgenerator\"}";
    ensure!(
        counted
            .lines()
            .any(|line| line.starts_with(terminal) && !line.ends_with(" 0")),
        "{counted}"
    );
    // SW-PROC-036: what upstream lacks
    ensure!(
        counted.contains("gotk_reconcile_duration_seconds_count{kind=\"ArtifactGenerator\""),
        "{counted}"
    );
    Ok(())
}

#[tokio::test]
async fn artifacts_that_cannot_be_built_are_retried() -> Result {
    let world = start("build-fails").await?;
    let braces = "{a,b}".repeat(21);
    for (copy, expected) in [
        // SW-GEN-132
        ("{from: '@other/x', to: '@artifact/'}".to_owned(), "source alias 'other' not found".to_owned()),
        // SW-GEN-155
        (
            "{from: '@repo/none/*', to: '@artifact/'}".to_owned(),
            "no files match pattern 'none/*' in source 'repo'".to_owned(),
        ),
        // SW-GEN-205
        (
            format!("{{from: '@repo/*{braces}', to: '@artifact/', strategy: Extract}}"),
            format!("invalid copy source '@repo/*{braces}': pattern has 21 alternatives in '{{}}' groups, at most 20 are allowed"),
        ),
        // SW-GEN-135: paths that would leave the source
        (
            "{from: '@repo/../../etc/passwd', to: '@artifact/'}".to_owned(),
            "failed to stat source '../../etc/passwd': statat ../../etc/passwd: path escapes from parent".to_owned(),
        ),
        // SW-GEN-185
        (
            "{from: '@repo/apps/a/x.yaml', to: '@artifact/v.yaml'}, {from: '@repo/list.yaml', to: '@artifact/v.yaml', strategy: Merge}".to_owned(),
            "cannot unmarshal YAML document: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go value of type map[string]interface {}".to_owned(),
        ),
        (
            "{from: '@repo/a.tgz', to: '@artifact/', strategy: Extract}".to_owned(),
            "failed to extract tarball \"a.tgz\" to \".\": requires gzip-compressed body".to_owned(),
        ),
    ] {
        world.generate("gen", &artifact(&copy)).await?;
        let message = world.fails("gen", "BuildFailed").await?;
        let prefix = "app build failed: failed to apply copy operations: failed to apply copy operation from '";
        ensure!(message.starts_with(prefix) && message.contains(&expected), "{message}");
        // SW-GEN-082, SW-GEN-040
        let retried = world.condition("gen", "Reconciling", "True", "ProgressingWithRetry").await?;
        assert_eq!(retried, "Reconciliation in progress");
    }
    ensure!(
        !world.folder("app").join("x").exists(),
        "something was written"
    );
    Ok(())
}

// SW-GEN-082, SW-GEN-084, FR-N-114
#[tokio::test]
async fn one_artifact_that_fails_does_not_hold_up_the_others() -> Result {
    let world = World::start("partial").await?;
    let both = [("a/x", "1"), ("b/x", "1"), ("c/x", "1")];
    world.source("repo", "r1", &both).await?;
    let spec = "artifacts: [
        {name: a, copy: [{from: '@repo/a/', to: '@artifact/'}]},
        {name: b, copy: [{from: '@repo/b/', to: '@artifact/'}]},
        {name: c, copy: [{from: '@repo/c/', to: '@artifact/'}]}]";
    world.generate("gen", spec).await?;
    let before = world.ready("gen").await?;
    world.source("repo", "r2", &[("c/x", "2")]).await?;
    let message = world.fails("gen", "BuildFailed").await?;
    let text = |name: &str| {
        format!(
            "{name} build failed: failed to apply copy operations: failed to apply copy operation from '@repo/{name}/' to '@artifact/': source '{name}' does not exist"
        )
    };
    assert_eq!(message, format!("{}; {}", text("a"), text("b")));
    assert_eq!(world.files("c").await?["c/x"], "2");
    // what failed is as it was, and nothing is removed
    assert_eq!(world.files("a").await?["a/x"], "1");
    let now = world
        .namespace
        .get(crate::world::GENERATOR, "gen")
        .await?
        .unwrap_or_default();
    assert_eq!(now["status"]["inventory"], before["status"]["inventory"]);

    // SW-GEN-214, FR-N-113
    let optional = spec.replace("to: '@artifact/'", "to: '@artifact/', optional: true");
    world.generate("gen", &optional).await?;
    world.ready("gen").await?;
    assert!(world.files("a").await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn the_api_server_refuses_malformed_specs() -> Result {
    let world = World::start("schema").await?;
    let copy = |to: &str| artifact(&format!("{{from: '@repo/x', to: '{to}'}}"));
    let long = "x".repeat(1025);
    for (spec, expected) in [
        // SW-GEN-203, SW-GEN-016
        (copy("@artifact/../x"), Some("spec.artifacts[0].copy[0].to")),
        (copy("@artifact/a/.."), Some("spec.artifacts[0].copy[0].to")),
        (copy("@other/x"), Some("spec.artifacts[0].copy[0].to")),
        (copy("@artifact/./a..b/.x"), None),
        // SW-GEN-204, SW-GEN-017
        (
            artifact(&format!("{{from: '@repo/x', to: '@artifact/', exclude: ['{long}']}}")),
            Some("spec.artifacts[0].copy[0].exclude[0]"),
        ),
        // SW-GEN-018
        (
            artifact("{from: '@repo/x', to: '@artifact/', strategy: Link}"),
            Some("spec.artifacts[0].copy[0].strategy"),
        ),
        // SW-GEN-015
        (artifact("{from: 'repo/x', to: '@artifact/'}"), Some("spec.artifacts[0].copy[0].from")),
        // SW-GEN-011, SW-GEN-012, SW-GEN-206
        (
            "artifacts: [{name: A, copy: [{from: '@repo/x', to: '@artifact/'}]}]".to_owned(),
            Some("artifact names must be valid Kubernetes object names when pathPattern is not set"),
        ),
        (
            "artifacts: [{name: a, namespace: A, copy: [{from: '@repo/x', to: '@artifact/'}]}]".to_owned(),
            Some("artifact namespaces must be valid Kubernetes namespaces when pathPattern is not set"),
        ),
        (
            "pathPattern: '@repo/{a}', artifacts: [{name: 'A-{a}', copy: [{from: '@repo/x', to: '@artifact/'}]}]".to_owned(),
            None,
        ),
        // SW-GEN-009, SW-GEN-014
        ("pathPattern: 'x', artifacts: [{name: a, copy: [{from: '@repo/x', to: '@artifact/'}]}]".to_owned(), Some("spec.pathPattern")),
        ("artifacts: [{name: a, copy: []}]".to_owned(), Some("spec.artifacts[0].copy")),
        // SW-GEN-019
        (
            format!("commonMetadata: {{labels: {{a: 1}}}}, {}", copy("@artifact/")),
            Some("commonMetadata.labels"),
        ),
        (
            format!("commonMetadata: {{labels: {{a: b}}, annotations: {{c: d}}}}, {}", copy("@artifact/")),
            None,
        ),
        // SW-GEN-010
        ("artifacts: []".to_owned(), Some("spec.artifacts")),
        // SW-GEN-013
        (
            "artifacts: [{name: a, revision: repo, copy: [{from: '@repo/x', to: '@artifact/'}]}]".to_owned(),
            Some("spec.artifacts[0].revision"),
        ),
        // SW-GEN-209
        (
            format!("managedNamespaces: {{prune: true, allowedNames: ['true'], metadata: {{}}}}, {}", copy("@artifact/")),
            Some("either fromSource or at least one from operation must be set"),
        ),
        (
            format!("managedNamespaces: {{prune: true, allowedNames: ['true'], metadata: {{fromSource: {{path: '@repo/x'}}}}}}, {}", copy("@artifact/")),
            Some("at least one annotation or label must be set"),
        ),
    ] {
        let applied = world.generate("gen", &spec).await;
        match (applied, expected) {
            (Ok(()), None) => {}
            (Err(error), Some(expected)) => {
                let text = format!("{error:?}{error}");
                ensure!(text.contains(expected), "{text}");
            }
            (applied, expected) => ensure!(false, "{spec}: {applied:?}, and {expected:?} is right"),
        }
    }
    for (sources, field) in [
        // SW-GEN-004, SW-GEN-005, SW-GEN-006
        ("[]", "spec.sources"),
        (
            "[{alias: 'A', kind: Bucket, name: b}]",
            "spec.sources[0].alias",
        ),
        (
            "[{alias: a, kind: Bucket, name: b.c}]",
            "spec.sources[0].name",
        ),
        // SW-GEN-007, SW-GEN-008
        (
            "[{alias: a, kind: Bucket, name: b, namespace: 'x.y'}]",
            "spec.sources[0].namespace",
        ),
        (
            "[{alias: a, kind: HelmRepository, name: b}]",
            "spec.sources[0].kind",
        ),
    ] {
        let spec = format!("sources: {sources}, {}", copy("@artifact/"));
        let error = world.apply("gen", &spec).await.err();
        let text = error
            .map(|error| format!("{error:?}{error}"))
            .unwrap_or_default();
        ensure!(text.contains(field), "{sources}: {text}");
    }
    Ok(())
}
