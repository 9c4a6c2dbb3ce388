//! Malformed specs, Secrets and manifests: each ends in a condition that says what to change, and the controllers keep
//! running.

use kind_tests::{Flux, GIT_REPOSITORY, KUSTOMIZATION, Result, condition, ensure};
use serde_json::{Value, json};

use crate::config_map;

/// An invalid GitRepository: its URL, one additional line of its spec, the data of its Secret `access`, and the
/// expected Ready condition.
struct BadSource {
    url: &'static str,
    spec: &'static str,
    secret: &'static [(&'static str, &'static str)],
    reason: &'static str,
    message: &'static str,
}

const BAD_SOURCES: &[BadSource] = &[
    // SC-AUTH-014
    BadSource {
        url: "ssh://git@127.0.0.1:1/app.git",
        spec: "ref: {branch: main}",
        secret: &[],
        reason: "AuthenticationFailed",
        message: "invalid 'ssh' auth option: 'identity' is required",
    },
    BadSource {
        url: "ssh://git@127.0.0.1:1/app.git",
        spec: "secretRef: {name: access}",
        secret: &[("identity", "no key at all")],
        reason: "AuthenticationFailed",
        message: "invalid 'ssh' auth option: 'known_hosts' is required",
    },
    // SC-AUTH-012
    BadSource {
        url: "https://127.0.0.1:1/app.git",
        spec: "secretRef: {name: access}",
        secret: &[("password", "hidden-value")],
        reason: "AuthenticationFailed",
        message: "invalid 'https' auth option: 'password' requires 'username' to be set",
    },
    // SC-AUTH-005, SC-GIT-022
    BadSource {
        url: "https://127.0.0.1:1/app.git",
        spec: "proxySecretRef: {name: access}",
        secret: &[("username", "someone")],
        reason: "AuthenticationFailed",
        message: "failed to configure proxy options: ",
    },
    BadSource {
        url: "https://127.0.0.1:1/app.git",
        spec: "proxySecretRef: {name: access}",
        secret: &[("address", "gopher://proxy.example.com")],
        reason: "AuthenticationFailed",
        message: "proxy URL must use one of the supported schemes (http, https, socks5",
    },
    // SC-AUTH-018
    BadSource {
        url: "https://127.0.0.1:1/app.git",
        spec: "provider: github",
        secret: &[],
        reason: "InvalidProviderConfiguration",
        message: "secretRef with github app data must be specified when provider is set to github",
    },
    // SC-GIT-047
    BadSource {
        url: "GIT",
        spec: "ref: {name: /refs/heads/main}",
        secret: &[],
        reason: "GitOperationFailed",
        message: "failed to checkout and determine revision: ",
    },
    // SC-GIT-053
    BadSource {
        url: "GIT",
        spec: "ref: {commit: '0123456789012345678901234567890123456789'}",
        secret: &[],
        reason: "GitOperationFailed",
        message: "unable to resolve commit object for '0123456789012345678901234567890123456789'",
    },
    // SC-GIT-045
    BadSource {
        url: "GIT",
        spec: "ref: {semver: '>= 1.x.y.z'}",
        secret: &[],
        reason: "GitOperationFailed",
        message: "semver parse error: ",
    },
    BadSource {
        url: "GIT",
        spec: "ref: {semver: '>= 7'}",
        secret: &[],
        reason: "GitOperationFailed",
        message: "no match found for semver: >= 7",
    },
    // SC-GIT-074
    BadSource {
        url: "GIT",
        spec: "ref: {branch: main}, sparseCheckout: [nowhere]",
        secret: &[],
        reason: "GitOperationFailed",
        message: "sparse checkout dir 'nowhere' does not exist in repository",
    },
    // SC-GIT-091
    BadSource {
        url: "GIT",
        spec: "ref: {branch: main}, include: [{repository: {name: nowhere}}]",
        secret: &[],
        reason: "NotFound",
        message: "could not get resource for include 'nowhere'",
    },
    // SC-VER-006
    BadSource {
        url: "GIT",
        spec: "ref: {branch: main}, verify: {mode: HEAD, secretRef: {name: access}}",
        secret: &[("author.asc", "no key at all")],
        reason: "InvalidCommitSignature",
        message: "unsupported signature type: empty",
    },
    // SC-VER-008
    BadSource {
        url: "GIT",
        spec: "ref: {branch: main}, verify: {mode: Tag, secretRef: {name: access}}",
        secret: &[("author.asc", "no key at all")],
        reason: "InvalidVerificationMode",
        message: "cannot verify tag object's signature if a tag reference is not specified",
    },
];

fn reason_and_message(object: &Value) -> (String, String) {
    let ready = condition(object, "Ready").cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&ready["reason"]), text(&ready["message"]))
}

#[tokio::test]
async fn malformed_sources_are_reported_in_a_condition_with_a_hint() -> Result {
    let mut flux = Flux::start("bad-sources").await?;
    flux.commit(&[("a.yaml", &config_map("a", "1"))]);
    for (number, bad) in BAD_SOURCES.iter().enumerate() {
        let name = format!("bad-{number:02}");
        let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {}});
        for (key, value) in bad.secret {
            secret["stringData"][*key] = json!(value);
        }
        flux.namespace.apply(&secret.to_string()).await?;
        let url = if bad.url == "GIT" {
            flux.git.url("app.git")
        } else {
            bad.url.to_owned()
        };
        let spec = bad.spec.replace("access", &name);
        let yaml = format!(
            "
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {{name: {name}}}
spec: {{url: '{url}', interval: 10m, {spec}}}
"
        );
        flux.namespace.apply(&yaml).await?;
    }
    for (number, bad) in BAD_SOURCES.iter().enumerate() {
        let name = format!("bad-{number:02}");
        let failed = flux
            .namespace
            .wait(
                GIT_REPOSITORY,
                &name,
                &format!("says {:?}", bad.message),
                |object| {
                    let (reason, message) = reason_and_message(object);
                    reason == bad.reason && message.contains(bad.message)
                },
            )
            .await?;
        let text = failed["status"].to_string();
        for (_, value) in bad.secret.iter().filter(|(key, _)| *key != "address") {
            ensure!(
                !text.contains(value),
                "the status of {name} shows what its Secret holds: {text}"
            );
        }
    }
    ensure!(flux.source.runs(), "{}", flux.source.log().tail(40));
    let log = flux.source.log().lines().join("\n");
    ensure!(
        !log.contains("hidden-value"),
        "the log shows what a Secret holds"
    );
    Ok(())
}

/// A directory that cannot be built or an invalid spec, and the expected Ready condition.
struct BadKustomization {
    files: &'static [(&'static str, &'static str)],
    spec: &'static [&'static str],
    reason: &'static str,
    message: &'static [&'static str],
}

const BAD_KUSTOMIZATIONS: &[BadKustomization] = &[
    // KC-BLD-030
    BadKustomization {
        files: &[("kustomization.yaml", "resources: [nowhere.yaml]\n")],
        spec: &[],
        reason: "BuildFailed",
        message: &["kustomize build failed: ", "nowhere.yaml"],
    },
    BadKustomization {
        files: &[("kustomization.yaml", "resources: {a: [}\n")],
        spec: &[],
        reason: "BuildFailed",
        message: &[],
    },
    // Two objects with the same identity.
    BadKustomization {
        files: &[
            (
                "a.yaml",
                "{apiVersion: v1, kind: ConfigMap, metadata: {name: twice}}\n",
            ),
            (
                "b.yaml",
                "{apiVersion: v1, kind: ConfigMap, metadata: {name: twice}}\n",
            ),
        ],
        spec: &[],
        reason: "BuildFailed",
        message: &["kustomize build failed: ", "twice"],
    },
    // Outside of the artifact.
    BadKustomization {
        files: &[("kustomization.yaml", "resources: [../../../../etc]\n")],
        spec: &[],
        reason: "BuildFailed",
        message: &["kustomize build failed: "],
    },
    // A directory that includes itself.
    BadKustomization {
        files: &[
            ("kustomization.yaml", "resources: [inner]\n"),
            ("inner/kustomization.yaml", "resources: [../inner2]\n"),
            ("inner2/kustomization.yaml", "resources: [../inner]\n"),
        ],
        spec: &[],
        reason: "BuildFailed",
        message: &["kustomize build failed: ", "cycle"],
    },
    // KC-BLD-003
    BadKustomization {
        files: &[("deep/er/broken.yaml", "a: b\n  c: d\n")],
        spec: &[],
        reason: "BuildFailed",
        message: &["failed to decode Kubernetes YAML from ", "broken.yaml"],
    },
    // KC-SSA-031: rejections by the API server are quoted, for each kind of rejection
    BadKustomization {
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: Bad_Name}}\n",
        )],
        spec: &[],
        reason: "ReconciliationFailed",
        message: &["/Bad_Name dry-run failed (Invalid): ", "metadata.name"],
    },
    // KC-SSA-003: a Secret with a wrong type is sent to the server unchanged
    BadKustomization {
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: Secret, metadata: {name: db}, stringData: {HOST: db.local, PORT: 8080, TLS: true}}\n",
        )],
        spec: &[],
        reason: "ReconciliationFailed",
        message: &[
            "/db dry-run failed",
            ".stringData.PORT: expected string, got ",
        ],
    },
    // RT-SSA-001: nothing is dropped silently.
    BadKustomization {
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: 123}, data: {a: x}}\n",
        )],
        spec: &[],
        reason: "BuildFailed",
        message: &["failed to decode Kubernetes apiVersion, kind and name from: "],
    },
    // KC-SSA-001
    BadKustomization {
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: labelled, labels: {number: 1}}}\n",
        )],
        spec: &[],
        reason: "ReconciliationFailed",
        message: &[
            "/labelled dry-run failed",
            ".metadata.labels.number: expected string, got ",
        ],
    },
    // KC-SSA-003: a null item is what the type has without it.
    BadKustomization {
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: Pod, metadata: {name: nulls}, spec: {containers: [null]}}\n",
        )],
        spec: &[],
        reason: "ReconciliationFailed",
        message: &[
            "/nulls dry-run failed (Invalid): ",
            "spec.containers[0].name: Required value",
        ],
    },
];

#[tokio::test]
async fn malformed_directories_are_reported_in_a_condition() -> Result {
    let mut flux = Flux::start("bad-builds").await?;
    let mut files = Vec::new();
    for (number, bad) in BAD_KUSTOMIZATIONS.iter().enumerate() {
        for (path, content) in bad.files {
            files.push((format!("bad-{number}/{path}"), *content));
        }
    }
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, content)| (path.as_str(), *content))
        .collect();
    flux.commit(&files);
    flux.follow_main().await?;
    for (number, bad) in BAD_KUSTOMIZATIONS.iter().enumerate() {
        let path = format!("path: bad-{number}");
        let spec = [&[path.as_str(), "prune: true"], bad.spec].concat();
        flux.namespace
            .apply(&flux.kustomization(&format!("bad-{number}"), &spec))
            .await?;
    }
    for (number, bad) in BAD_KUSTOMIZATIONS.iter().enumerate() {
        let goal = format!("says {:?} {:?}", bad.reason, bad.message);
        flux.namespace
            .wait(KUSTOMIZATION, &format!("bad-{number}"), &goal, |object| {
                let (reason, message) = reason_and_message(object);
                reason == bad.reason && bad.message.iter().all(|part| message.contains(part))
            })
            .await?;
    }
    ensure!(flux.kustomize.runs(), "{}", flux.kustomize.log().tail(40));
    Ok(())
}
