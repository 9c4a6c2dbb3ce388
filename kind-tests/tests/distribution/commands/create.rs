//! `flux create`, and the finalizers and Secrets of what it makes.

use kind_tests::{
    ARTIFACT_GENERATOR, EXTERNAL_ARTIFACT, GIT_REPOSITORY, HELM_RELEASE, IMAGE_POLICY,
    IMAGE_REPOSITORY, IMAGE_UPDATE_AUTOMATION, KUSTOMIZATION, OCI_REPOSITORY, RECEIVER, Result,
    SECRET, SHARD_LABEL, ensure,
};
use serde_json::json;

use super::world::World;

pub(super) async fn created(world: &World) -> Result {
    let mut commit = world.repo.commit("main");
    for (path, text) in world.files() {
        commit = commit.file(&path, text);
    }
    commit.create();
    let (git, registry) = (world.git.url("app.git"), world.registry.host());
    let (image, chart) = (
        format!("{registry}/org/app"),
        format!("oci://{registry}/org/web"),
    );
    // DI-CLI-007: each waits until its object is ready in its own generation
    world.create(&[
        "source",
        "git",
        "app",
        "--url",
        &git,
        "--branch=main",
        "--interval=1h",
    ])?;
    world.create(&[
        "source",
        "oci",
        "chart",
        "--url",
        &chart,
        "--tag=1.2.3",
        "--insecure",
        "--interval=1h",
    ])?;
    let namespace = world.namespace.name();
    let labels = format!("commonMetadata: {{labels: {{{SHARD_LABEL}: {namespace}}}}}");
    world
        .namespace
        .apply(&format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: vars}}, data: {{region: north}}}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: app}}
spec:
  interval: 1h
  retryInterval: 2s
  path: ./deploy
  prune: true
  wait: true
  targetNamespace: {namespace}
  sourceRef: {{kind: GitRepository, name: app}}
  postBuild: {{substituteFrom: [{{kind: ConfigMap, name: vars}}]}}
  {labels}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageRepository
metadata: {{name: app}}
spec: {{image: {image}, interval: 1h, insecure: true}}
---
apiVersion: source.extensions.fluxcd.io/v1beta1
kind: ArtifactGenerator
metadata: {{name: parts}}
spec:
  sources: [{{alias: app, kind: GitRepository, name: app}}]
  artifacts: [{{name: part, copy: [{{from: '@app/deploy/**', to: '@artifact/'}}]}}]
"
        ))
        .await?;
    world
        .namespace
        .wait_ready(IMAGE_REPOSITORY, "app", "True")
        .await?;
    world.create(&[
        "image",
        "policy",
        "app",
        "--image-ref=app",
        "--select-semver=1.0.x",
    ])?;
    world.create(&[
        "image",
        "update",
        "app",
        "--git-repo-ref=app",
        "--git-repo-path=./deploy",
        "--checkout-branch=main",
        "--author-name=flux",
        "--author-email=flux@example.com",
        "--commit-template={{range .Changed.Changes}}{{.NewValue}}{{end}}",
        "--interval=1h",
    ])?;
    // DI-CLI-003: the command writes Alerts and Providers as v1beta3
    world.create(&[
        "alert-provider",
        "chat",
        "--type=generic",
        &format!("--address={}", world.events.url()),
    ])?;
    world.create(&[
        "alert",
        "all",
        "--provider-ref=chat",
        "--event-source=Kustomization/*",
        "--event-severity=info",
    ])?;
    secrets(world).await?;
    world.create(&[
        "receiver",
        "hook",
        "--type=generic-hmac",
        "--secret-ref=hook-token",
        "--resource=GitRepository/app",
    ])?;
    for (kind, name) in [
        (KUSTOMIZATION, "app"),
        (HELM_RELEASE, "rel"),
        (ARTIFACT_GENERATOR, "parts"),
        (EXTERNAL_ARTIFACT, "part"),
    ] {
        world.namespace.wait_ready(kind, name, "True").await?;
    }

    // DI-TRP-002
    for (kind, name) in [
        (GIT_REPOSITORY, "app"),
        (OCI_REPOSITORY, "chart"),
        (KUSTOMIZATION, "app"),
        (HELM_RELEASE, "rel"),
        (IMAGE_REPOSITORY, "app"),
        (IMAGE_POLICY, "app"),
        (IMAGE_UPDATE_AUTOMATION, "app"),
        (RECEIVER, "hook"),
    ] {
        let finalizers = world.get(kind, name).await?["metadata"]["finalizers"].clone();
        assert_eq!(finalizers, json!(["finalizers.fluxcd.io"]), "{}", kind.1);
    }
    let generator = world.get(ARTIFACT_GENERATOR, "parts").await?;
    let wanted = json!(["source.extensions.fluxcd.io/finalizer"]);
    assert_eq!(generator["metadata"]["finalizers"], wanted);

    // DI-CLI-008, DI-CLI-002: what is retried is waited for until the timeout
    let missing = world.git.url("missing.git");
    let told = world.flux.fails(&[
        "create",
        "source",
        "git",
        "missing",
        "--url",
        &missing,
        "--branch=main",
        &world.label(),
        "--timeout",
        "4s",
    ])?;
    ensure!(told.contains("context deadline exceeded"), "{told}");
    // DI-CLI-006
    for line in [
        "✚ generating GitRepository source",
        "► applying GitRepository source",
        "◎ waiting for GitRepository source reconciliation",
        "✗ ",
    ] {
        ensure!(told.contains(line), "{line}: {told}");
    }
    world
        .flux
        .run(&["delete", "source", "git", "missing", "--silent"])?;
    Ok(())
}

/// Secrets as the command makes them, with the keys that the controllers read.
async fn secrets(world: &World) -> Result {
    let folder = world.folder();
    let write = |name: &str, text: &str| -> Result<String> {
        let path = folder.join(name);
        std::fs::write(&path, text)?;
        Ok(path.to_string_lossy().into_owned())
    };
    let authority = git_servers::Authority::new();
    let pair = authority.issue(&["client"]);
    let pem = write("ca.crt", &authority.pem())?;
    let policy = write(
        "policy.json",
        "{\"version\": \"1.0\", \"trustPolicies\": [{\"name\": \"all\", \"registryScopes\": [\"*\"], \
         \"signatureVerification\": {\"level\": \"strict\"}, \"trustStores\": [\"ca:all\"], \"trustedIdentities\": [\"*\"]}]}",
    )?;
    let (certificate, key) = (
        write("tls.crt", &pair.certificate)?,
        write("tls.key", &pair.key)?,
    );
    let app_key = git_servers::GitHubApp::new(1, 2).private_key();
    let app_key = write("app.pem", &app_key)?;
    let cases: &[(&str, &[&str], &[&str])] = &[
        (
            "git",
            &[
                "--url=https://h/r.git",
                "--username=u",
                "--password=p",
                &format!("--ca-crt-file={pem}"),
            ],
            &["ca.crt", "password", "username"],
        ),
        (
            "helm",
            &["--username=u", "--password=p"],
            &["password", "username"],
        ),
        (
            "oci",
            &["--url=reg.example", "--username=u", "--password=p"],
            &[".dockerconfigjson"],
        ),
        (
            "tls",
            &[
                &format!("--ca-crt-file={pem}"),
                &format!("--tls-crt-file={certificate}"),
                &format!("--tls-key-file={key}"),
            ],
            &["ca.crt", "tls.crt", "tls.key"],
        ),
        (
            "proxy",
            &[
                "--address=http://proxy:3128",
                "--username=u",
                "--password=p",
            ],
            &["address", "password", "username"],
        ),
        (
            "githubapp",
            &[
                "--app-id=1",
                "--app-installation-id=2",
                &format!("--app-private-key={app_key}"),
            ],
            &[
                "githubAppID",
                "githubAppInstallationID",
                "githubAppPrivateKey",
            ],
        ),
        (
            "notation",
            &[
                &format!("--trust-policy-file={policy}"),
                &format!("--ca-cert-file={pem}"),
            ],
            &["ca.crt", "trustpolicy.json"],
        ),
    ];
    for (kind, flags, keys) in cases {
        let name = format!("{kind}-auth");
        let arguments = [&["create", "secret", kind, &*name][..], flags].concat();
        world.flux.run(&arguments)?;
        let secret = world.get(SECRET, &name).await?;
        let found: Vec<&String> = secret["data"]
            .as_object()
            .into_iter()
            .flat_map(|data| data.keys())
            .collect();
        // DI-ACT-010
        assert_eq!(found, *keys, "{kind}");
    }
    world.flux.run(&[
        "create",
        "secret",
        "receiver",
        "hook-token",
        "--type=generic-hmac",
        "--hostname=flux.example.com",
        "--token=t0ken",
    ])?;
    let secret = world.get(SECRET, "hook-token").await?;
    let url = &secret["metadata"]["annotations"]["notification.toolkit.fluxcd.io/webhook"];
    let begin = "https://flux.example.com/hook/";
    ensure!(
        url.as_str().is_some_and(|url| url.starts_with(begin)),
        "{secret}"
    );
    Ok(())
}
