//! What the API server accepts, and in which versions.

use kind_tests::{Failure, IMAGE_UPDATE_AUTOMATION, Result, ensure};

use crate::world::{World, message};

/// Whether the API server accepts an object of this version with this spec, in YAML's flow form.
async fn applied(world: &World, version: &str, name: &str, spec: &str) -> Result {
    let yaml = format!(
        "{{apiVersion: image.toolkit.fluxcd.io/{version}, kind: ImageUpdateAutomation, metadata: {{name: {name}}}, spec: {{suspend: true, {spec}}}}}"
    );
    world.namespace.apply(&yaml).await.map(|_| ())
}

const SOURCE: &str = "sourceRef: {kind: GitRepository, name: app}";
const GIT: &str = "git: {commit: {author: {email: a@b}}}";

#[tokio::test]
async fn fields_are_validated() -> Result {
    let world = World::start("ia-admission").await?;
    for (spec, accepted) in [
        // IA-API-011
        (format!("{SOURCE}, interval: 1h30m"), true),
        (format!("{SOURCE}, interval: 1d"), false),
        (SOURCE.to_owned(), false),
        // IA-API-010
        ("interval: 1h, sourceRef: {name: app}".to_owned(), true),
        (
            "interval: 1h, sourceRef: {kind: Bucket, name: app}".to_owned(),
            false,
        ),
        (
            "interval: 1h, sourceRef: {kind: GitRepository}".to_owned(),
            false,
        ),
        // IA-API-012
        (format!("{SOURCE}, interval: 1h"), true),
        // IA-API-014
        (format!("{SOURCE}, interval: 1h, git: {{}}"), false),
        (
            format!("{SOURCE}, interval: 1h, git: {{commit: {{author: {{name: x}}}}}}"),
            false,
        ),
        // IA-API-013
        (
            format!(
                "{SOURCE}, interval: 1h, git: {{checkout: {{}}, commit: {{author: {{email: a}}}}}}"
            ),
            false,
        ),
        // IA-API-015, IA-API-016
        (
            format!(
                "{SOURCE}, interval: 1h, git: {{commit: {{author: {{email: a}}, messageTemplate: x, messageTemplateValues: {{a: b}}}}}}"
            ),
            true,
        ),
        // IA-API-017
        (
            format!(
                "{SOURCE}, interval: 1h, git: {{commit: {{author: {{email: a}}, signingKey: {{secretRef: {{name: k}}, type: ssh}}}}}}"
            ),
            true,
        ),
        (
            format!(
                "{SOURCE}, interval: 1h, git: {{commit: {{author: {{email: a}}, signingKey: {{type: ssh}}}}}}"
            ),
            false,
        ),
        (
            format!(
                "{SOURCE}, interval: 1h, git: {{commit: {{author: {{email: a}}, signingKey: {{secretRef: {{name: k}}, type: x509}}}}}}"
            ),
            false,
        ),
        // IA-API-018, IA-API-028
        (
            format!(
                "{SOURCE}, interval: 1h, git: {{push: {{branch: a, refspec: 'a:b', options: {{c: ''}}}}, commit: {{author: {{email: a}}}}}}"
            ),
            true,
        ),
        (
            format!(
                "{SOURCE}, interval: 1h, git: {{push: {{refspec: '+a:b'}}, commit: {{author: {{email: a}}}}}}"
            ),
            false,
        ),
        (
            format!(
                "{SOURCE}, interval: 1h, git: {{push: {{refspec: ':b'}}, commit: {{author: {{email: a}}}}}}"
            ),
            false,
        ),
        // IA-API-019
        (
            format!(
                "{SOURCE}, interval: 1h, policySelector: {{matchLabels: {{a: b}}, matchExpressions: [{{key: c, operator: In, values: [d]}}]}}"
            ),
            true,
        ),
        // IA-API-020
        (
            format!("{SOURCE}, interval: 1h, update: {{strategy: Other}}"),
            false,
        ),
        // IA-API-029
        (
            format!("{SOURCE}, interval: 1h, policyChangeDelay: 30s"),
            true,
        ),
        (
            format!("{SOURCE}, interval: 1h, policyChangeDelay: soon"),
            false,
        ),
    ] {
        let found = applied(&world, "v1", "auto", &spec).await;
        ensure!(found.is_ok() == accepted, "{spec}: {found:?}");
    }
    Ok(())
}

#[tokio::test]
async fn defaults_are_set() -> Result {
    let world = World::start("ia-defaults").await?;
    applied(&world, "v1", "auto", "interval: 1h, sourceRef: {name: app}").await?;
    let object = world.namespace.get(IMAGE_UPDATE_AUTOMATION, "auto").await?;
    let object = object.ok_or_else(|| Failure::new("it exists"))?;
    // IA-API-007, IA-API-020
    ensure!(
        object["spec"]["update"] == serde_json::json!({"strategy": "Setters"}),
        "{object}"
    );
    // IA-API-010
    ensure!(
        object["spec"]["sourceRef"]["kind"] == "GitRepository",
        "{object}"
    );
    // IA-API-022
    ensure!(object["status"]["observedGeneration"] == -1, "{object}");
    // IA-API-021
    ensure!(object["spec"]["suspend"] == true, "{object}");
    Ok(())
}

#[tokio::test]
async fn manifests_of_older_versions_work_as_written() -> Result {
    let world = World::start("ia-versions").await?;
    let repo = world.repo("app.git");
    world.source("app", "app.git", "").await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    // IA-API-004, IA-API-005, IA-API-006
    for (version, name) in [("v1beta1", "old"), ("v1beta2", "older")] {
        let yaml = format!(
            "{{apiVersion: image.toolkit.fluxcd.io/{version}, kind: ImageUpdateAutomation, metadata: {{name: {name}}}, \
             spec: {{interval: 1h, {SOURCE}, {}, update: {{path: ./apps, strategy: Setters}}}}}}",
            GIT.replace(
                "git: {",
                &format!("git: {{checkout: {{ref: {{branch: main}}}}, push: {{branch: {name}}}, ")
            )
        );
        world.namespace.apply(&yaml).await?;
        let object = world.pushed(name, "").await?;
        ensure!(
            object["status"]["lastPushCommit"] == repo.rev_parse(name),
            "{object}"
        );
        ensure!(message(&object) == "repository up-to-date", "{object}");
    }
    Ok(())
}

/// What tutorials have their readers apply: the version before the current one, and a marker on the line above the value.
#[tokio::test]
async fn the_manifest_of_tutorials_applies() -> Result {
    let world = World::start("ia-tutorial").await?;
    let repo = git_servers::Repo::init(world.git.root(), "app.git");
    let above = "image:\n  # {\"$imagepolicy\": \"NAMESPACE:orders\"}\n  name: shop/orders:1.0.0\n";
    let beside = "tag: 1.0.0 # {\"$imagepolicy\": \"NAMESPACE:orders:tag\"}\n";
    repo.commit("main")
        .file("apps/above.yaml", world.marked(above))
        .file("apps/beside.yaml", world.marked(beside))
        .create();
    world.source("shop", "app.git", "").await?;
    world.policy("orders", "shop/orders", "1.1.0").await?;
    let yaml = "
apiVersion: image.toolkit.fluxcd.io/v1beta2
kind: ImageUpdateAutomation
metadata: {name: shop}
spec:
  interval: 30m
  sourceRef: {kind: GitRepository, name: shop}
  git:
    checkout: {ref: {branch: main}}
    commit:
      author: {name: Updates, email: updates@example.com}
      messageTemplate: |
        chore: new images

        {{range .Changed.Changes}}
        - {{.OldValue}} -> {{.NewValue}}
        {{end}}
    push: {branch: main}
  update: {path: ./apps, strategy: Setters}
";
    world.namespace.apply(yaml).await?;
    world.pushed("shop", "").await?;
    let message = repo.git(&["log", "-1", "--format=%B", "main"]);
    ensure!(
        message == "chore: new images\n\n\n- 1.0.0 -> 1.1.0",
        "{message:?}"
    );
    // IA-UPD-031
    let names = repo.git(&["diff", "--name-only", "main~1", "main"]);
    ensure!(names == "apps/beside.yaml", "{names}");
    Ok(())
}
