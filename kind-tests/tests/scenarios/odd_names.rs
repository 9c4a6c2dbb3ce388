//! Names that are paths or queries, in every field that refers to an object: each ends in upstream's condition, no
//! request is misdirected or endless, and other objects are served.

use kind_tests::controller::Settings;
use kind_tests::requests::Counter;
use kind_tests::{
    CONFIG_MAP, Flux, GIT_REPOSITORY, HELM_REPOSITORY, KUSTOMIZATION, Kind, OCI_REPOSITORY, Result,
    condition, ensure,
};
use registries::{Artifact, Registry, tar_gz};
use serde_json::{Value, json};

use crate::config_map;

/// A name, and client-go's objection; a name that is escaped is not found.
const NAMES: &[(&str, Option<&str>)] = &[
    ("?watch=true&timeoutSeconds=86400", None),
    ("#x y", None),
    ("../../kube-system/secrets/x", Some("may not contain '/'")),
    ("..", Some("may not be '..'")),
    ("%2e%2e%2fx", Some("may not contain '%'")),
];

/// A field that refers to an object.
struct Field {
    id: &'static str,
    /// The lines of the spec, with `NAME` in place of the name.
    spec: &'static str,
    /// The condition, its status, and its reason.
    told: (&'static str, &'static str, &'static str),
    /// The message for a rejected name, in which `NAME`, `NS` and `REFUSED` are replaced.
    refused: &'static str,
    /// The message for an escaped name.
    missing: &'static str,
}

/// The fields of GitRepositories.
const OF_SOURCES: &[Field] = &[
    // SC-GIT-024
    Field {
        id: "secret",
        spec: "secretRef: {name: 'NAME'}",
        told: ("FetchFailed", "True", "AuthenticationFailed"),
        refused: "failed to get secret 'NS/NAME': invalid resource name \"NAME\": [REFUSED]",
        missing: "failed to get secret 'NS/NAME': secrets \"NAME\" not found",
    },
    // SC-GIT-022
    Field {
        id: "proxy",
        spec: "proxySecretRef: {name: 'NAME'}",
        told: ("FetchFailed", "True", "AuthenticationFailed"),
        refused: "failed to configure proxy options: failed to get secret 'NS/NAME': invalid resource name \"NAME\": [REFUSED]",
        missing: "failed to configure proxy options: secret 'NS/NAME' not found",
    },
    // SC-VER-003
    Field {
        id: "verify",
        spec: "verify: {mode: HEAD, secretRef: {name: 'NAME'}}",
        told: ("SourceVerified", "False", "VerificationError"),
        refused: "public keys secret error: invalid resource name \"NAME\": [REFUSED]",
        missing: "public keys secret error: secrets \"NAME\" not found",
    },
    // SC-GIT-091: from the cache, which has no such name
    Field {
        id: "include",
        spec: "include: [{repository: {name: 'NAME'}}]",
        told: ("IncludeUnavailable", "True", "NotFound"),
        refused: "GitRepository.source.toolkit.fluxcd.io \"NAME\" not found",
        missing: "GitRepository.source.toolkit.fluxcd.io \"NAME\" not found",
    },
];

/// The fields of OCIRepositories.
const OF_REGISTRIES: &[Field] = &[
    // SC-OCI-021
    Field {
        id: "secret",
        spec: "secretRef: {name: 'NAME'}",
        told: ("FetchFailed", "True", "AuthenticationFailed"),
        refused: "failed to get credential: failed to get secret 'NS/NAME': invalid resource name \"NAME\": [REFUSED]",
        missing: "failed to get credential: failed to get secret 'NS/NAME': secrets \"NAME\" not found",
    },
    // SC-AUTH-033
    Field {
        id: "account",
        spec: "serviceAccountName: 'NAME'",
        told: ("FetchFailed", "True", "AuthenticationFailed"),
        refused: "failed to get credential: failed to get serviceaccount 'NS/NAME': invalid resource name \"NAME\": [REFUSED]",
        missing: "failed to get credential: serviceaccount 'NS/NAME' not found",
    },
    // SC-OCI-022
    Field {
        id: "proxy",
        spec: "proxySecretRef: {name: 'NAME'}",
        told: ("FetchFailed", "True", "AuthenticationFailed"),
        refused: "failed to get proxy address: failed to get secret 'NS/NAME': invalid resource name \"NAME\": [REFUSED]",
        missing: "failed to get proxy address: secret 'NS/NAME' not found",
    },
    // SC-OCI-025
    Field {
        id: "certificates",
        spec: "certSecretRef: {name: 'NAME'}",
        told: ("FetchFailed", "True", "AuthenticationFailed"),
        refused: "': failed to get secret 'NS/NAME': invalid resource name \"NAME\": [REFUSED]",
        missing: "': secret 'NS/NAME' not found",
    },
    // SC-OCI-082
    Field {
        id: "cosign",
        spec: "verify: {provider: cosign, secretRef: {name: 'NAME'}}",
        told: ("SourceVerified", "False", "VerificationError"),
        refused: "failed to verify the signature using provider 'cosign': invalid resource name \"NAME\": [REFUSED]",
        missing: "failed to verify the signature using provider 'cosign': secrets \"NAME\" not found",
    },
    Field {
        id: "notation",
        spec: "verify: {provider: notation, secretRef: {name: 'NAME'}}",
        told: ("SourceVerified", "False", "VerificationError"),
        refused: "failed to verify the signature using provider 'notation': invalid resource name \"NAME\": [REFUSED]",
        missing: "failed to verify the signature using provider 'notation': secrets \"NAME\" not found",
    },
    // SC-VER-036
    Field {
        id: "root",
        spec: "verify: {provider: cosign, trustedRootSecretRef: {name: 'NAME'}, matchOIDCIdentity: [{issuer: a, subject: b}]}",
        told: ("SourceVerified", "False", "VerificationError"),
        refused: "failed to read trusted root from secret 'NS/NAME': invalid resource name \"NAME\": [REFUSED]",
        missing: "failed to read trusted root from secret 'NS/NAME': secrets \"NAME\" not found",
    },
];

/// The pull secrets of a ServiceAccount `account-NUMBER`.
const PULL_SECRET: Field = Field {
    id: "pull",
    spec: "serviceAccountName: account-NUMBER",
    told: ("FetchFailed", "True", "AuthenticationFailed"),
    refused: "failed to get image pull secret for serviceaccount 'NS/account-NUMBER': failed to get secret 'NS/NAME': invalid resource name \"NAME\": [REFUSED]",
    missing: "failed to get image pull secret for serviceaccount 'NS/account-NUMBER': secret 'NS/NAME' not found",
};

/// The fields of HelmRepositories.
const OF_CHART_REPOSITORIES: &[Field] = &[
    // SC-HREPO-023
    Field {
        id: "secret",
        spec: "secretRef: {name: 'NAME'}",
        told: ("FetchFailed", "True", "AuthenticationFailed"),
        refused: "failed to get authentication secret 'NS/NAME': invalid resource name \"NAME\": [REFUSED]",
        missing: "failed to get authentication secret 'NS/NAME': secrets \"NAME\" not found",
    },
    Field {
        id: "certificates",
        spec: "certSecretRef: {name: 'NAME'}",
        told: ("FetchFailed", "True", "AuthenticationFailed"),
        refused: "failed to get TLS authentication secret 'NS/NAME': invalid resource name \"NAME\": [REFUSED]",
        missing: "failed to get TLS authentication secret 'NS/NAME': secrets \"NAME\" not found",
    },
];

/// The fields of Kustomizations.
const OF_KUSTOMIZATIONS: &[Field] = &[
    // KC-DEP-003
    Field {
        id: "depends",
        spec: "dependsOn: [{name: 'NAME'}]",
        told: ("Ready", "False", "DependencyNotReady"),
        refused: "dependency 'NS/NAME' not found: invalid resource name \"NAME\": [REFUSED]",
        missing: "dependency 'NS/NAME' not found: kustomizations.kustomize.toolkit.fluxcd.io \"NAME\" not found",
    },
    Field {
        id: "depends-namespace",
        spec: "dependsOn: [{name: app, namespace: 'NAME'}]",
        told: ("Ready", "False", "DependencyNotReady"),
        refused: "dependency 'NAME/app' not found: invalid namespace \"NAME\": [REFUSED]",
        missing: "dependency 'NAME/app' not found: kustomizations.kustomize.toolkit.fluxcd.io \"app\" not found",
    },
    // KC-SUB-009
    Field {
        id: "substitute-map",
        spec: "postBuild: {substituteFrom: [{kind: ConfigMap, name: 'NAME'}]}",
        told: ("Ready", "False", "BuildFailed"),
        refused: "post build failed for 'ConfigMap.v1.[noGrp]/a': substitute from 'ConfigMap/NAME' error: invalid resource name \"NAME\": [REFUSED]",
        missing: "post build failed for 'ConfigMap.v1.[noGrp]/a': substitute from 'ConfigMap/NAME' error: configmaps \"NAME\" not found",
    },
    Field {
        id: "substitute-secret",
        spec: "postBuild: {substituteFrom: [{kind: Secret, name: 'NAME'}]}",
        told: ("Ready", "False", "BuildFailed"),
        refused: "post build failed for 'ConfigMap.v1.[noGrp]/a': substitute from 'Secret/NAME' error: invalid resource name \"NAME\": [REFUSED]",
        missing: "post build failed for 'ConfigMap.v1.[noGrp]/a': substitute from 'Secret/NAME' error: secrets \"NAME\" not found",
    },
    // KC-REMOTE-001: only a request header contains the account, and no user has that name
    Field {
        id: "account",
        spec: "serviceAccountName: 'NAME'",
        told: ("Ready", "False", "ReconciliationFailed"),
        refused: "User \"system:serviceaccount:NS:NAME\" cannot",
        missing: "User \"system:serviceaccount:NS:NAME\" cannot",
    },
    Field {
        id: "health",
        spec: "timeout: 3s, healthChecks: [{apiVersion: v1, kind: ConfigMap, name: 'NAME', namespace: NS}]",
        told: ("Ready", "False", "HealthCheckFailed"),
        refused: "ConfigMap/NS/NAME status: 'Unknown': invalid resource name \"NAME\": [REFUSED]",
        missing: "ConfigMap/NS/NAME status: 'NotFound'",
    },
    Field {
        id: "health-namespace",
        spec: "timeout: 3s, healthChecks: [{apiVersion: v1, kind: ConfigMap, name: a, namespace: 'NAME'}]",
        told: ("Ready", "False", "HealthCheckFailed"),
        refused: "ConfigMap/NAME/a status: 'Unknown': invalid namespace \"NAME\": [REFUSED]",
        missing: "ConfigMap/NAME/a status: 'NotFound'",
    },
];

/// The `sourceRef` of a Kustomization, read directly or from the cache, which has no such name.
const SOURCE: &str = "sourceRef: {kind: GitRepository, name: 'NAME'}";
const REGISTRY: &str = "sourceRef: {kind: OCIRepository, name: 'NAME'}";
const SOURCE_NAMESPACE: &str = "sourceRef: {kind: GitRepository, name: app, namespace: 'NAME'}";

fn fill_in(text: &str, namespace: &str, (name, refused): (&str, Option<&str>)) -> String {
    text.replace("REFUSED", refused.unwrap_or_default())
        .replace("NAME", name)
        .replace("NS", namespace)
}

/// An object of the kind in YAML's flow form; `spec` begins with common fields.
fn object(kind: Kind, name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: {}, kind: {}, metadata: {{name: {name}}}, spec: {{{spec}}}}}",
        kind.0, kind.1
    )
}

/// Waits until the object has this condition.
async fn wait_for_condition(
    flux: &Flux,
    kind: Kind,
    name: &str,
    (type_, status, reason): (&str, &str, &str),
    words: &str,
) -> Result<Value> {
    let goal = format!("has {type_}={status} for {reason}: {words}");
    flux.namespace
        .wait(kind, name, &goal, |object| {
            condition(object, type_).is_some_and(|found| {
                found["status"] == status
                    && found["reason"] == reason
                    && found["message"]
                        .as_str()
                        .is_some_and(|text| text.contains(words))
            })
        })
        .await
}

/// Checks that a new, valid pair of objects is served.
async fn check_that_others_are_served(flux: &mut Flux) -> Result {
    flux.namespace
        .apply(&flux.git_repository("healthy", "ref: {branch: main}"))
        .await?;
    flux.namespace
        .wait_ready(GIT_REPOSITORY, "healthy", "True")
        .await?;
    let kustomization = flux.kustomization("healthy", &["prune: true"]);
    let kustomization = kustomization.replace("name: app", "name: healthy");
    flux.namespace.apply(&kustomization).await?;
    flux.namespace
        .wait_ready(KUSTOMIZATION, "healthy", "True")
        .await?;
    flux.namespace
        .wait(CONFIG_MAP, "a", "is applied", |_| true)
        .await?;
    ensure!(
        flux.source.runs() && flux.kustomize.runs(),
        "a controller has ended"
    );
    Ok(())
}

/// Checks the controllers' requests: no read by name is a watch, and none is outside of their scope.
fn check_requests(counter: &Counter) -> Result {
    for request in counter.requests()? {
        let path = request.uri.split('?').next().unwrap_or_default();
        ensure!(
            !path.contains("kube-system")
                && !path.contains("/..")
                && !request.uri.contains("timeoutSeconds=86400"),
            "{request:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_source_with_a_malformed_reference_is_reported_and_blocks_no_others() -> Result {
    let mut flux = Flux::start("odd-sources").await?;
    flux.commit(&[("a.yaml", &config_map("a", "1"))]);
    let counter = Counter::start(flux.namespace.cluster(), flux.source.user())?;
    let begin = format!(
        "url: '{}', interval: 10m, ref: {{branch: main}}",
        flux.git.url("app.git")
    );
    check_fields(&flux, GIT_REPOSITORY, &begin, OF_SOURCES).await?;
    check_that_others_are_served(&mut flux).await?;
    check_requests(&counter)
}

/// Applies an object for each of these fields and names, and checks what is told of it.
async fn check_fields(flux: &Flux, kind: Kind, begin: &str, fields: &[Field]) -> Result {
    let namespace = flux.namespace.name();
    for field in fields {
        for (number, name) in NAMES.iter().enumerate() {
            let spec = fill_in(field.spec, namespace, *name);
            let spec = spec.replace("NUMBER", &number.to_string());
            let name = format!("{}-{number}", field.id);
            let yaml = object(kind, &name, &format!("{begin}, {spec}"));
            flux.namespace.apply(&yaml).await?;
        }
    }
    for field in fields {
        for (number, name) in NAMES.iter().enumerate() {
            let words = if name.1.is_some() {
                field.refused
            } else {
                field.missing
            };
            let words = fill_in(words, namespace, *name);
            let words = words.replace("NUMBER", &number.to_string());
            let object = format!("{}-{number}", field.id);
            wait_for_condition(flux, kind, &object, field.told, &words).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_registry_with_a_malformed_reference_is_reported_and_blocks_no_others() -> Result {
    let mut flux = Flux::start("odd-registries").await?;
    flux.commit(&[("a.yaml", &config_map("a", "1"))]);
    let registry = Registry::start();
    let artifact = Artifact::flux(tar_gz(&[("a.yaml", "")]));
    registry.push("org/app", "latest", &artifact);
    let counter = Counter::start(flux.namespace.cluster(), flux.source.user())?;
    let url = registry.repository("org/app");
    let begin = format!("url: 'oci://{url}', interval: 10m");
    check_fields(&flux, OCI_REPOSITORY, &begin, OF_REGISTRIES).await?;
    // SC-AUTH-033
    for (number, (name, _)) in NAMES.iter().enumerate() {
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": format!("account-{number}")},
            "imagePullSecrets": [{"name": name}],
        });
        flux.namespace.apply(&account.to_string()).await?;
    }
    check_fields(&flux, OCI_REPOSITORY, &begin, &[PULL_SECRET]).await?;
    check_that_others_are_served(&mut flux).await?;
    check_requests(&counter)
}

#[tokio::test]
async fn a_chart_repository_with_a_malformed_reference_is_reported_and_blocks_no_others() -> Result
{
    let mut flux = Flux::start("odd-charts").await?;
    flux.commit(&[("a.yaml", &config_map("a", "1"))]);
    let counter = Counter::start(flux.namespace.cluster(), flux.source.user())?;
    let begin = format!("url: '{}', interval: 10m", flux.git.url("charts"));
    check_fields(&flux, HELM_REPOSITORY, &begin, OF_CHART_REPOSITORIES).await?;
    check_that_others_are_served(&mut flux).await?;
    check_requests(&counter)
}

#[tokio::test]
async fn a_kustomization_with_a_malformed_reference_is_reported_and_blocks_no_others() -> Result {
    let mut flux = Flux::start("odd-kustomizations").await?;
    flux.commit(&[("a.yaml", &config_map("a", "1"))]);
    flux.follow_main().await?;
    let counter = Counter::start(flux.namespace.cluster(), flux.kustomize.user())?;
    let namespace = flux.namespace.name().to_owned();
    for field in OF_KUSTOMIZATIONS {
        for (number, name) in NAMES.iter().enumerate() {
            let spec = format!(
                "interval: 10m, retryInterval: 2s, targetNamespace: {namespace}, prune: true, \
                 sourceRef: {{kind: GitRepository, name: app}}, {}",
                fill_in(field.spec, &namespace, *name)
            );
            let yaml = object(KUSTOMIZATION, &format!("{}-{number}", field.id), &spec);
            flux.namespace.apply(&yaml).await?;
        }
    }
    for field in OF_KUSTOMIZATIONS {
        for (number, name) in NAMES.iter().enumerate() {
            let words = if name.1.is_some() {
                field.refused
            } else {
                field.missing
            };
            let mut words = fill_in(words, &namespace, *name);
            if field.id == "account" {
                // The API server escapes user names for HTML.
                words = words.replace('&', "&amp;");
            }
            let object = format!("{}-{number}", field.id);
            wait_for_condition(&flux, KUSTOMIZATION, &object, field.told, &words).await?;
        }
    }
    // RT-ACL-007: no account can have this name, so the object is deleted without one
    for number in 0..NAMES.len() {
        let name = format!("account-{number}");
        flux.namespace.delete(KUSTOMIZATION, &name).await?;
        flux.namespace.wait_gone(KUSTOMIZATION, &name).await?;
    }
    check_that_others_are_served(&mut flux).await?;
    check_requests(&counter)
}

// KC-SRC-003, KC-SRC-006, KC-PROC-038
#[tokio::test]
async fn a_malformed_source_name_is_refused_or_not_found() -> Result {
    for direct in [false, true] {
        let gate = format!("--feature-gates=DirectSourceFetch={direct}");
        let settings = Settings::default().flag(gate);
        let mut flux = Flux::start_with("odd-refs", Settings::default(), settings).await?;
        flux.commit(&[("a.yaml", &config_map("a", "1"))]);
        flux.follow_main().await?;
        let counter = Counter::start(flux.namespace.cluster(), flux.kustomize.user())?;
        let namespace = flux.namespace.name().to_owned();
        let cases = [
            ("name", SOURCE),
            ("registry-name", REGISTRY),
            ("namespace", SOURCE_NAMESPACE),
        ];
        for (what, spec) in cases {
            for (number, name) in NAMES.iter().enumerate() {
                let spec = fill_in(spec, &namespace, *name);
                let spec = format!("interval: 10m, prune: true, {spec}");
                let yaml = object(KUSTOMIZATION, &format!("{what}-{number}"), &spec);
                flux.namespace.apply(&yaml).await?;
            }
        }
        for (what, _) in cases {
            for (number, (name, refused)) in NAMES.iter().enumerate() {
                let words = match (refused, what.ends_with("name"), direct) {
                    (Some(why), true, true) => {
                        format!("invalid resource name \"{name}\": [{why}]")
                    }
                    (Some(why), _, true) => format!("invalid namespace \"{name}\": [{why}]"),
                    (_, true, _) => format!("\"{name}\" not found"),
                    _ => "\"app\" not found".to_owned(),
                };
                let object = format!("{what}-{number}");
                let ready = ("Ready", "False", "ArtifactFailed");
                wait_for_condition(&flux, KUSTOMIZATION, &object, ready, &words).await?;
            }
        }
        check_that_others_are_served(&mut flux).await?;
        check_requests(&counter)?;
    }
    Ok(())
}

/// Objects of a manifest with invalid names, namespaces or versions, and the expected messages.
const MANIFESTS: &[(&str, &str)] = &[
    (
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: a/b}}",
        "/a/b dry-run failed: invalid resource name \"a/b\": [may not contain '/']",
    ),
    (
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: ..}}",
        "/.. dry-run failed: invalid resource name \"..\": [may not be '..']",
    ),
    (
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: '?watch=true'}}",
        "/?watch=true dry-run failed (Invalid): ",
    ),
    (
        "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: ../secrets}}",
        "ClusterRole/../secrets dry-run failed: invalid resource name \"../secrets\": [may not contain '/']",
    ),
    (
        "{apiVersion: '../v1', kind: ConfigMap, metadata: {name: a}}",
        "no matches for kind \"ConfigMap\" in version \"../v1\"",
    ),
    (
        "{apiVersion: 'v1?watch=true', kind: ConfigMap, metadata: {name: a}}",
        "no matches for kind \"ConfigMap\" in version \"v1?watch=true\"",
    ),
];

// KC-SSA-031
#[tokio::test]
async fn an_object_with_a_malformed_name_is_refused_without_a_request() -> Result {
    let flux = Flux::start("odd-manifests").await?;
    for (number, (manifest, _)) in MANIFESTS.iter().enumerate() {
        flux.commit(&[(&format!("odd-{number}/a.yaml"), manifest)]);
    }
    flux.commit(&[("healthy/a.yaml", &config_map("a", "1"))]);
    flux.follow_main().await?;
    let counter = Counter::start(flux.namespace.cluster(), flux.kustomize.user())?;
    for number in 0..MANIFESTS.len() {
        let path = format!("path: odd-{number}");
        let yaml = flux.kustomization(&format!("odd-{number}"), &[&path, "prune: true"]);
        flux.namespace.apply(&yaml).await?;
    }
    for (number, (_, words)) in MANIFESTS.iter().enumerate() {
        let ready = ("Ready", "False", "ReconciliationFailed");
        wait_for_condition(&flux, KUSTOMIZATION, &format!("odd-{number}"), ready, words).await?;
    }
    let yaml = flux.kustomization("healthy", &["path: healthy", "prune: true"]);
    flux.namespace.apply(&yaml).await?;
    flux.namespace
        .wait_ready(KUSTOMIZATION, "healthy", "True")
        .await?;
    check_requests(&counter)
}
