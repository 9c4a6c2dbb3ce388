//! Secrets on their way from Git, and from other Secrets, to the cluster.

use kind_tests::{Flux, KUSTOMIZATION, Kind, Result};
use serde_json::json;

use super::echo::Echo;
use super::{MARK, ends, nothing_is_shown, secret, talkative};

/// Where the cases' files say `MARK`, the mark stands, followed by what follows there; `ECHO` is a server that repeats what it
/// is sent.
struct Case {
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
    /// More lines of the Kustomization's spec.
    spec: &'static [&'static str],
    /// Why it is not Ready; empty if it is.
    reason: Option<&'static str>,
}

const BUILD: Option<&str> = Some("BuildFailed");
const APPLY: Option<&str> = Some("ReconciliationFailed");

const SUBSTITUTE: &[&str] = &["postBuild: {substituteFrom: [{kind: Secret, name: variables}]}"];

/// Values of a Secret that go into other objects, which the API server refuses and quotes.
const SUBSTITUTED: &[Case] = &[
    Case {
        name: "port",
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: Service, metadata: {name: port}, spec: {ports: [{port: 80, targetPort: '${plain}'}]}}",
        )],
        spec: SUBSTITUTE,
        reason: APPLY,
    },
    Case {
        name: "number",
        files: &[(
            "a.yaml",
            "{apiVersion: apps/v1, kind: Deployment, metadata: {name: number}, spec: {replicas: '${plain}', selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: a}]}}}}",
        )],
        spec: SUBSTITUTE,
        reason: APPLY,
    },
    Case {
        name: "label",
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: label, labels: {a: '${words}'}}}",
        )],
        spec: SUBSTITUTE,
        reason: APPLY,
    },
    Case {
        name: "twice",
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: Pod, metadata: {name: twice}, spec: {containers: [{name: '${plain}', image: a}, {name: '${plain}', image: b}]}}",
        )],
        spec: SUBSTITUTE,
        reason: APPLY,
    },
    Case {
        name: "version",
        files: &[(
            "a.yaml",
            "{apiVersion: 'apps/${plain}', kind: Deployment, metadata: {name: version}}",
        )],
        spec: SUBSTITUTE,
        reason: APPLY,
    },
    Case {
        // A field that the kind does not have is dropped before it is sent.
        name: "field",
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: Service, metadata: {name: field}, spec: {'${plain}': 1, ports: [{port: 80}]}}",
        )],
        spec: SUBSTITUTE,
        reason: None,
    },
    Case {
        name: "part",
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: Service, metadata: {name: part}, spec: {ports: [{port: 80, targetPort: '${plain:0:17}'}]}}",
        )],
        spec: SUBSTITUTE,
        reason: APPLY,
    },
    Case {
        name: "upper",
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: Service, metadata: {name: upper}, spec: {ports: [{port: 80, targetPort: '${plain^^}'}]}}",
        )],
        spec: SUBSTITUTE,
        reason: APPLY,
    },
    Case {
        name: "replaced",
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: Service, metadata: {name: replaced}, spec: {ports: [{port: 80, targetPort: '${plain/plain/changed}'}]}}",
        )],
        spec: SUBSTITUTE,
        reason: APPLY,
    },
    Case {
        name: "name",
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: '${plain}'}}",
        )],
        spec: SUBSTITUTE,
        reason: APPLY,
    },
    Case {
        name: "part-of-name",
        files: &[(
            "a.yaml",
            "{apiVersion: apps/v1, kind: Deployment, metadata: {name: 'a-${plain:0:9}_'}}",
        )],
        spec: SUBSTITUTE,
        reason: APPLY,
    },
    Case {
        name: "kind-of-object",
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: '${plain}', metadata: {name: a}}",
        )],
        spec: SUBSTITUTE,
        reason: APPLY,
    },
    Case {
        name: "group",
        files: &[(
            "a.yaml",
            "{apiVersion: '${plain}/v1', kind: A, metadata: {name: a}}",
        )],
        spec: SUBSTITUTE,
        reason: APPLY,
    },
    Case {
        name: "encrypted-name",
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: Secret, metadata: {name: '${plain}'}, data: {a: 'ENC[AES256_GCM,data:a,iv:a,tag:a,type:str]'}, sops: {mac: 'ENC[a]'}}",
        )],
        spec: SUBSTITUTE,
        reason: APPLY,
    },
    Case {
        name: "label-key",
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: label-key, labels: {'${plain}!': a}}}",
        )],
        spec: SUBSTITUTE,
        reason: APPLY,
    },
    Case {
        name: "path",
        files: &[(
            "a.yaml",
            "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: path}, spec: {rules: [{host: '${plain}', http: {paths: [{path: '${plain}', pathType: Exact, backend: {service: {name: a, port: {number: 80}}}}]}}]}}",
        )],
        spec: SUBSTITUTE,
        reason: APPLY,
    },
    Case {
        name: "image",
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: Pod, metadata: {name: image}, spec: {containers: [{name: a, image: ' a:${plain}'}]}}",
        )],
        spec: SUBSTITUTE,
        reason: APPLY,
    },
    Case {
        name: "yaml",
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: yaml}, data: {a: '${yaml}'}}",
        )],
        spec: SUBSTITUTE,
        reason: BUILD,
    },
    Case {
        name: "kind",
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: kind}, data: '${plain}'}",
        )],
        spec: SUBSTITUTE,
        reason: APPLY,
    },
    Case {
        name: "unset",
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: Secret, metadata: {name: unset}, stringData: {a: MARKunset, b: '${missing}'}}",
        )],
        spec: SUBSTITUTE,
        reason: BUILD,
    },
];

/// Secrets that Git holds.
const MANIFESTS: &[Case] = &[
    Case {
        name: "right",
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: Secret, metadata: {name: right}, stringData: {a: MARKright}}",
        )],
        spec: &[],
        reason: None,
    },
    Case {
        name: "not-base64",
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: Secret, metadata: {name: not-base64}, data: {a: 'MARK!!'}}",
        )],
        spec: &[],
        reason: APPLY,
    },
    Case {
        name: "nested",
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: Secret, metadata: {name: nested}, stringData: {a: {b: MARKnested}}}",
        )],
        spec: &[],
        reason: APPLY,
    },
    Case {
        name: "list",
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: Secret, metadata: {name: list}, data: [MARKlist]}",
        )],
        spec: &[],
        reason: APPLY,
    },
    Case {
        name: "kind-of-data",
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: Secret, metadata: {name: kind-of-data}, stringData: MARKtext}",
        )],
        spec: &[],
        reason: APPLY,
    },
    Case {
        name: "docker",
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: Secret, type: kubernetes.io/dockerconfigjson, metadata: {name: docker}, stringData: {.dockerconfigjson: '{\"auths\": MARK'}}",
        )],
        spec: &[],
        reason: APPLY,
    },
    Case {
        name: "immutable",
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: Secret, immutable: true, metadata: {name: immutable}, stringData: {a: MARKnew}}",
        )],
        spec: &[],
        reason: APPLY,
    },
    Case {
        name: "encrypted",
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: Secret, metadata: {name: encrypted}, data: {a: 'ENC[AES256_GCM,data:MARK,iv:MARK,tag:MARK,type:str]'}, sops: {mac: 'ENC[MARK]', lastmodified: '2026-01-01T00:00:00Z'}}",
        )],
        spec: &[],
        reason: APPLY,
    },
    Case {
        name: "encrypted-text",
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: Secret, metadata: {name: encrypted-text}, data: {a: 'ENC[AES256_GCM,data:MARK,iv:MARK,tag:MARK,type:str]'}}",
        )],
        spec: &[],
        reason: APPLY,
    },
    Case {
        name: "nameless",
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: Secret, metadata: {annotations: {a: MARKa}}, stringData: {a: MARKb}}",
        )],
        spec: &[],
        reason: BUILD,
    },
    Case {
        name: "kindless",
        files: &[(
            "a.yaml",
            "{apiVersion: v1, metadata: {name: a}, stringData: {a: MARKkindless}}",
        )],
        spec: &[],
        reason: BUILD,
    },
    Case {
        name: "broken",
        files: &[(
            "a.yaml",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: broken}\nstringData:\n  a: MARKa\n b: MARKb: [\n",
        )],
        spec: &[],
        reason: BUILD,
    },
    Case {
        name: "twice-there",
        files: &[
            (
                "a.yaml",
                "{apiVersion: v1, kind: Secret, metadata: {name: twice-there}, stringData: {a: MARKa}}",
            ),
            (
                "b.yaml",
                "{apiVersion: v1, kind: Secret, metadata: {name: twice-there}, stringData: {a: MARKb}}",
            ),
        ],
        spec: &[],
        reason: BUILD,
    },
];

/// Kustomizations that make and change Secrets.
const OVERLAYS: &[Case] = &[
    Case {
        name: "generated",
        files: &[(
            "kustomization.yaml",
            "secretGenerator: [{name: generated, literals: [a=MARKa]}]",
        )],
        spec: &[],
        reason: None,
    },
    Case {
        name: "literal",
        files: &[(
            "kustomization.yaml",
            "secretGenerator: [{name: literal, literals: [MARKliteral]}]",
        )],
        spec: &[],
        reason: BUILD,
    },
    Case {
        name: "environment",
        files: &[
            (
                "kustomization.yaml",
                "secretGenerator: [{name: environment, envs: [a.env]}]",
            ),
            ("a.env", "a=MARKa\nb MARKb\n9=\u{0}MARKc\n"),
        ],
        spec: &[],
        reason: BUILD,
    },
    Case {
        name: "unknown-field",
        files: &[(
            "kustomization.yaml",
            "secretGenerator: [{name: a, literal: [a=MARKa]}]",
        )],
        spec: &[],
        reason: None,
    },
    Case {
        name: "broken-file",
        files: &[(
            "kustomization.yaml",
            "secretGenerator:\n- name: a\n  literals:\n  - a=MARKa\n - b=MARKb: [\n",
        )],
        spec: &[],
        reason: BUILD,
    },
    Case {
        name: "json-path",
        files: &[
            (
                "kustomization.yaml",
                "resources: [a.yaml]\npatches: [{target: {kind: Secret}, patch: '[{\"op\": \"replace\", \"path\": \"/data/a/b\", \"value\": \"MARKvalue\"}]'}]",
            ),
            (
                "a.yaml",
                "{apiVersion: v1, kind: Secret, metadata: {name: a}, stringData: {a: MARKa}}",
            ),
        ],
        spec: &[],
        reason: BUILD,
    },
    Case {
        name: "json-test",
        files: &[
            (
                "kustomization.yaml",
                "resources: [a.yaml]\npatches: [{target: {kind: Secret}, patch: '[{\"op\": \"test\", \"path\": \"/stringData/a\", \"value\": \"MARKvalue\"}]'}]",
            ),
            (
                "a.yaml",
                "{apiVersion: v1, kind: Secret, metadata: {name: a}, stringData: {a: MARKa}}",
            ),
        ],
        spec: &[],
        reason: BUILD,
    },
    Case {
        name: "json-broken",
        files: &[
            (
                "kustomization.yaml",
                "resources: [a.yaml]\npatches: [{target: {kind: Secret}, patch: '[{\"op\": \"add\", MARK'}]",
            ),
            (
                "a.yaml",
                "{apiVersion: v1, kind: Secret, metadata: {name: a}, stringData: {a: MARKa}}",
            ),
        ],
        spec: &[],
        reason: BUILD,
    },
    Case {
        name: "merge-missing",
        files: &[(
            "kustomization.yaml",
            "patches: [{patch: '{apiVersion: v1, kind: Secret, metadata: {name: gone}, stringData: {a: MARKa}}'}]",
        )],
        spec: &[],
        reason: BUILD,
    },
    Case {
        name: "merge-broken",
        files: &[(
            "kustomization.yaml",
            "patches: [{patch: '{apiVersion: v1, kind: Secret, metadata: {name: gone}, stringData: {a: MARKa'}]",
        )],
        spec: &[],
        reason: BUILD,
    },
    Case {
        name: "spec-patch",
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: Secret, metadata: {name: a}, stringData: {a: MARKa}}",
        )],
        spec: &[
            "patches: [{target: {kind: Secret}, patch: '[{\"op\": \"replace\", \"path\": \"/data/a\", \"value\": \"MARKvalue\"}]'}]",
        ],
        reason: BUILD,
    },
    Case {
        name: "replacement",
        files: &[
            (
                "kustomization.yaml",
                "resources: [a.yaml]\nreplacements: [{source: {kind: Secret, name: a, fieldPath: stringData.a}, targets: [{select: {kind: ConfigMap}, fieldPaths: ['data.[x=y].z']}]}]",
            ),
            (
                "a.yaml",
                "{apiVersion: v1, kind: Secret, metadata: {name: a}, stringData: {a: MARKa}}\n---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {b: c}}",
            ),
        ],
        spec: &[],
        reason: BUILD,
    },
    Case {
        name: "chart",
        files: &[(
            "kustomization.yaml",
            "helmCharts: [{name: a, repo: 'https://user:MARKa@127.0.0.1:1/', valuesInline: {password: MARKb}}]",
        )],
        spec: &[],
        reason: BUILD,
    },
    Case {
        name: "remote-refused",
        files: &[(
            "kustomization.yaml",
            "resources: ['http://user:MARKa@127.0.0.1:1/x.yaml?token=MARKb']",
        )],
        spec: &[],
        reason: BUILD,
    },
    Case {
        name: "remote-echo",
        files: &[(
            "kustomization.yaml",
            "resources: ['http://user:MARKa@ECHO/403/x.yaml?token=MARKb']",
        )],
        spec: &[],
        reason: BUILD,
    },
    Case {
        name: "remote-page",
        files: &[(
            "kustomization.yaml",
            "resources: ['http://user:MARKa@ECHO/html/x.yaml?token=MARKb']",
        )],
        spec: &[],
        reason: BUILD,
    },
    Case {
        name: "remote-git",
        files: &[(
            "kustomization.yaml",
            "resources: ['http://user:MARKa@ECHO/err/x.git//path?ref=main&token=MARKb']",
        )],
        spec: &[],
        reason: BUILD,
    },
];

/// Kustomizations that say by themselves where secrets are.
const SPECS: &[Case] = &[
    Case {
        name: "decryption",
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: Secret, metadata: {name: a}, stringData: {a: 'ENC[AES256_GCM,data:MARKa,iv:MARKb,tag:MARKc,type:str]'}, \
             sops: {age: [{recipient: age1x, enc: MARKd}], lastmodified: '2026-01-01T00:00:00Z', mac: MARKe, version: 3.9.0}}",
        )],
        spec: &["decryption: {provider: sops, secretRef: {name: variables}}"],
        reason: BUILD,
    },
    Case {
        name: "kubeconfig",
        files: &[(
            "a.yaml",
            "{apiVersion: v1, kind: Secret, metadata: {name: a}, stringData: {a: MARKa}}",
        )],
        spec: &["kubeConfig: {secretRef: {name: variables}}"],
        reason: APPLY,
    },
];

const BUCKET: Kind = Kind("source.toolkit.fluxcd.io/v1", "Bucket");

// KC-SUB-009, RT-LOG-011, KC-EVT-015
#[tokio::test]
async fn secret_values_are_never_shown_while_they_are_applied() -> Result {
    let flux = Flux::start_with("secrets-apply", talkative(), talkative()).await?;
    let echo = Echo::start().await?;
    let namespace = &flux.namespace;
    let variables = json!({
        "plain": format!("{MARK}plain0123456789"),
        "words": format!("{MARK} are some words!"),
        "yaml": format!("{MARK}yaml', b: ["),
        "value": format!("{MARK}kubeconfig"),
    });
    secret(namespace, "variables", &variables).await?;
    let live = json!({"apiVersion": "v1", "kind": "Secret", "immutable": true, "metadata": {"name": "immutable"},
        "stringData": {"a": format!("{MARK}old")}});
    namespace.apply(&live.to_string()).await?;

    let cases = || {
        [SUBSTITUTED, MANIFESTS, OVERLAYS, SPECS]
            .into_iter()
            .flatten()
    };
    let filled = |text: &str| text.replace("MARK", MARK).replace("ECHO", &echo.host());
    let mut commit = flux.repo.commit("main");
    for case in cases() {
        for (file, text) in case.files {
            commit = commit.file(&format!("{}/{file}", case.name), filled(text));
        }
    }
    commit.create();
    flux.follow_main().await?;
    for case in cases() {
        let path = format!("path: {}", case.name);
        let mut spec = vec!["prune: true".to_owned(), path];
        spec.extend(case.spec.iter().map(|line| filled(line)));
        let spec: Vec<&str> = spec.iter().map(String::as_str).collect();
        namespace
            .apply(&flux.kustomization(case.name, &spec))
            .await?;
    }
    // A source that says itself where its artifact is, with what opens it; this one is read from where it says.
    for (name, url) in [
        (
            "url-refused",
            format!("http://user:{MARK}a@127.0.0.1:1//source-watcher/a.tar.gz?sig={MARK}b"),
        ),
        (
            "url-echo",
            format!(
                "http://user:{MARK}a@{}/403//source-watcher/a.tar.gz?sig={MARK}b",
                echo.host()
            ),
        ),
        (
            "url-broken",
            format!("http://user:{MARK}a@[::1//source-watcher/a.tar.gz?sig={MARK}b"),
        ),
    ] {
        let bucket = format!(
            "{{apiVersion: {}, kind: Bucket, metadata: {{name: {name}}}, spec: {{interval: 1h, endpoint: 127.0.0.1, bucketName: b}}}}",
            BUCKET.0
        );
        namespace.apply(&bucket).await?;
        let digest = format!("sha256:{}", "0".repeat(64));
        let artifact = json!({"artifact": {"url": url, "path": "a", "revision": "r", "digest": digest, "lastUpdateTime": "2026-01-01T00:00:00Z"}});
        namespace.set_status(BUCKET, name, artifact).await?;
        let yaml = flux.kustomization(name, &["prune: true", "timeout: 5s"]);
        let own = format!("{{kind: Bucket, name: {name}}}");
        namespace
            .apply(&yaml.replace("{kind: GitRepository, name: app}", &own))
            .await?;
    }

    for case in cases() {
        ends(&flux, KUSTOMIZATION, case.name, case.reason).await?;
    }
    for name in ["url-refused", "url-echo", "url-broken"] {
        ends(&flux, KUSTOMIZATION, name, Some("ArtifactFailed")).await?;
    }
    nothing_is_shown(&flux, &[]).await
}
