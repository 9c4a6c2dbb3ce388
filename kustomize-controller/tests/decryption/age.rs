//! Keys of age and OpenPGP.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kind_tests::controller::Settings;
use kind_tests::{CONFIG_MAP, KUSTOMIZATION, Result, SECRET};
use serde_json::json;

use crate::material::{file, key};
use crate::{assert_nothing_leaked, keys, start, value, with};

#[tokio::test]
async fn all_that_a_build_reads_and_makes_is_decrypted() -> Result {
    let applier = start("sops-all", Settings::default()).await?;
    // RT-SEC-015
    applier
        .namespace
        .apply(&keys("age", &[("identity.agekey", key("x25519"))]))
        .await?;
    let root = "resources: [secret.yaml, field.yaml, base]\ncomponents: [component]\npatches: [{path: patch.yaml}]\n";
    let base = "resources: [map.yaml]\nsecretGenerator:\n- name: generated\n  files: [plain.bin, named=other.bin, only.env, but.env]\n  envs: [token.env]\n- name: login\n  type: kubernetes.io/dockerconfigjson\n  files: [.dockerconfigjson=login.json]\ngeneratorOptions: {disableNameSuffixHash: true}\n";
    let component =
        "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\ncomponents: [nested]\n";
    let nested = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nsecretGenerator:\n- {name: nested, envs: [token.env]}\ngeneratorOptions: {disableNameSuffixHash: true}\n";
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: out}\ndata: {clear: text}\n";
    let field = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "field"}, "data": {
        "login.json": STANDARD.encode(file("login")), "clear": STANDARD.encode("in clear"),
        "env.env": STANDARD.encode(file("env file"))}});
    let (secret, patch, env) = (file("Secret, x25519"), file("patch"), file("env file"));
    let (any, login) = (file("any file"), file("login"));
    let (only, but) = (
        file("dotenv, encrypted comment"),
        file("dotenv, unencrypted comment"),
    );
    applier
        .publish(
            "main@sha1:1",
            &[
                ("kustomization.yaml", root),
                ("secret.yaml", &secret),
                ("field.yaml", &field.to_string()),
                ("patch.yaml", &patch),
                ("base/kustomization.yaml", base),
                ("base/map.yaml", map),
                ("base/plain.bin", &any),
                ("base/other.bin", &any),
                ("base/token.env", &env),
                ("base/only.env", &only),
                ("base/but.env", &but),
                ("base/login.json", &login),
                ("component/kustomization.yaml", component),
                ("component/nested/kustomization.yaml", nested),
                ("component/nested/token.env", &env),
            ],
        )
        .await?;
    let app = applier.kustomization("app", &["prune: true", &with("age")]);
    applier.namespace.apply(&app).await?;
    applier.applied("app", "main@sha1:1").await?;
    for (secret, field, expected) in [
        // KC-SOPS-011
        ("x25519", "token", "very-secret"),
        // KC-SOPS-002, KC-SOPS-003
        ("generated", "plain.bin", "very-secret-file"),
        ("generated", "named", "very-secret-file"),
        ("generated", "TOKEN", "very-secret-env"),
        // KC-SOPS-002, FR-N-121
        ("nested", "TOKEN", "very-secret-env"),
        // KC-SOPS-012
        ("field", "clear", "in clear"),
        ("field", "env.env", "TOKEN=very-secret-env\n"),
    ] {
        assert_eq!(
            value(&applier, secret, field).await?,
            expected,
            "{secret} {field}"
        );
    }
    // KC-SOPS-049
    for field in ["only.env", "but.env"] {
        let text = value(&applier, "generated", field).await?;
        assert!(
            text.contains("COMMENTED=by a comment") && !text.contains("ENC["),
            "{text}"
        );
    }
    for (secret, field) in [("login", ".dockerconfigjson"), ("field", "login.json")] {
        let login = value(&applier, secret, field).await?;
        assert!(
            login.contains("very-secret-login") && !login.contains("sops"),
            "{login}"
        );
    }
    let out = applier
        .namespace
        .get(CONFIG_MAP, "out")
        .await?
        .unwrap_or_default();
    assert_eq!(
        out["data"],
        json!({"clear": "text", "patched": "very-secret-patch"})
    );
    let secret = applier
        .namespace
        .get(SECRET, "x25519")
        .await?
        .unwrap_or_default();
    assert!(secret.get("sops").is_none());

    // KC-SOPS-021: a run without changes has nothing to tell
    let before = applier.events.events().len();
    applier.run("app").await?;
    let changed: Vec<_> = applier
        .events
        .events()
        .into_iter()
        .skip(before)
        .filter(|event| event.to_string().contains("configured"))
        .collect();
    assert!(changed.is_empty(), "{changed:?}");
    assert_nothing_leaked(&applier, "app").await
}

#[tokio::test]
async fn a_changed_key_is_noticed() -> Result {
    let applier = start("sops-key", Settings::default()).await?;
    applier
        .publish("main@sha1:1", &[("secret.yaml", &file("Secret, x25519"))])
        .await?;
    let app = applier.kustomization("app", &["prune: true", &with("age")]);
    applier.namespace.apply(&app).await?;
    // KC-SOPS-031
    applier
        .says("app", "BuildFailed", "secrets \"age\" not found")
        .await?;
    applier
        .namespace
        .apply(&keys("age", &[("a.agekey", "nonsense")]))
        .await?;
    let name = applier.namespace.name().to_owned();
    // KC-SOPS-031, KC-SOPS-033
    let text = format!(
        "failed to import 'a.agekey' data from sops decryption Secret '{name}/age': failed to parse and add to age identities: unknown identity type"
    );
    applier.says("app", "BuildFailed", &text).await?;
    applier
        .namespace
        .apply(&keys("age", &[("a.agekey", key("other"))]))
        .await?;
    // KC-SOPS-016
    let text = format!(
        "decryption failed for 'Secret.v1.[noGrp]/x25519': failed to decrypt and format '{name}/x25519' Secret data: cannot get sops data key: Failed to get the data key required to decrypt the SOPS file.\n\nGroup 0: FAILED\n"
    );
    applier.says("app", "BuildFailed", &text).await?;
    applier
        .namespace
        .apply(&keys("age", &[("a.agekey", key("x25519"))]))
        .await?;
    applier.applied("app", "main@sha1:1").await?;
    assert_eq!(value(&applier, "x25519", "token").await?, "very-secret");
    // The build is the same as before, and so is the artifact: only the key has changed.
    applier
        .namespace
        .apply(&keys("age", &[("a.agekey", key("other"))]))
        .await?;
    applier.run("app").await?;
    applier
        .says("app", "BuildFailed", "Group 0: FAILED")
        .await?;
    assert_nothing_leaked(&applier, "app").await
}

#[tokio::test]
async fn keys_of_every_kind_decrypt() -> Result {
    let applier = start("sops-kinds", Settings::default()).await?;
    let all = [
        ("q.agekey", key("hybrid")),
        ("p.asc", key("pgp-rsa")),
        ("x.agekey", key("x25519")),
        ("other", "ignored"),
    ];
    applier.namespace.apply(&keys("all", &all)).await?;
    applier
        .publish(
            "main@sha1:1",
            &[
                ("x.yaml", &file("Secret, x25519")),
                ("q.yaml", &file("Secret, hybrid")),
                ("p.yaml", &file("Secret, pgp-rsa")),
            ],
        )
        .await?;
    let app = applier.kustomization("app", &["prune: true", &with("all")]);
    applier.namespace.apply(&app).await?;
    applier.applied("app", "main@sha1:1").await?;
    // KC-SOPS-032, KC-SOPS-033, FR-N-128: no program is needed
    for name in ["x25519", "hybrid", "pgp-rsa"] {
        assert_eq!(
            value(&applier, name, "token").await?,
            "very-secret",
            "{name}"
        );
    }
    // KC-SOPS-048
    let other = applier.kustomization("other", &["prune: true", "decryption: {provider: sops}"]);
    applier.namespace.apply(&other).await?;
    applier
        .says("other", "BuildFailed", "failed: No secret key")
        .await?;
    assert_nothing_leaked(&applier, "app").await
}

#[tokio::test]
async fn a_key_of_the_controller_is_for_objects_without_their_own() -> Result {
    let settings = Settings::default()
        .flag("--sops-age-secret=global")
        .flag("--default-decryption-service-account=absent");
    let applier = start("sops-global", settings).await?;
    applier
        .publish("main@sha1:1", &[("secret.yaml", &file("Secret, x25519"))])
        .await?;
    let app = applier.kustomization("app", &["prune: true", "decryption: {provider: sops}"]);
    applier.namespace.apply(&app).await?;
    // KC-SOPS-035, KC-PROC-012
    applier
        .says("app", "BuildFailed", "secrets \"global\" not found")
        .await?;
    let global = keys(
        "global",
        &[
            ("one.agekey", key("other")),
            ("two.agekey", key("x25519")),
            ("p.asc", "nonsense"),
        ],
    );
    applier.namespace.apply(&global).await?;
    applier.run("app").await?;
    // KC-SOPS-050: the default account does not exist
    applier.applied("app", "main@sha1:1").await?;
    assert_eq!(value(&applier, "x25519", "token").await?, "very-secret");
    // KC-SOPS-035, FR-N-134: not merged with an object's own
    applier
        .namespace
        .apply(&keys("own", &[("one.agekey", key("other"))]))
        .await?;
    let own = applier.kustomization("app", &["prune: true", &with("own")]);
    applier.namespace.apply(&own).await?;
    applier
        .says("app", "BuildFailed", "Group 0: FAILED")
        .await?;
    assert_nothing_leaked(&applier, "app").await
}

#[tokio::test]
async fn what_is_not_to_be_decrypted_is_not() -> Result {
    let applier = start("sops-not", Settings::default()).await?;
    applier
        .namespace
        .apply(&keys("age", &[("a.agekey", key("x25519"))]))
        .await?;
    let secret = file("Secret, x25519");
    applier
        .publish("main@sha1:1", &[("secret.yaml", &secret)])
        .await?;
    // KC-SOPS-001, KC-SOPS-019
    applier
        .namespace
        .apply(&applier.kustomization("app", &["prune: true"]))
        .await?;
    let refused =
        "is SOPS encrypted, configuring decryption is required for this secret to be reconciled";
    applier.says("app", "ReconciliationFailed", refused).await?;

    // KC-SOPS-012, KC-SOPS-013
    let env = STANDARD.encode(file("env file"));
    let disabled = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "disabled",
        "annotations": {"kustomize.toolkit.fluxcd.io/decrypt": "DISABLED"}}, "data": {"env.env": env}});
    applier
        .publish("main@sha1:2", &[("secret.yaml", &disabled.to_string())])
        .await?;
    let app = applier.kustomization("app", &["prune: true", &with("age")]);
    applier.namespace.apply(&app).await?;
    applier.applied("app", "main@sha1:2").await?;
    assert!(
        value(&applier, "disabled", "env.env")
            .await?
            .contains("ENC[")
    );

    // KC-SOPS-014: what an object is has to be in clear text
    applier
        .publish("main@sha1:2a", &[("secret.yaml", &file("yaml, default"))])
        .await?;
    applier.says("app", "BuildFailed", "").await?;

    // FR-N-122: an encrypted object patched in clear
    let patch = "resources: [secret.yaml]\npatches:\n- patch: |\n    {apiVersion: v1, kind: Secret, metadata: {name: x25519}, stringData: {token: very-secret-too}}\n";
    applier
        .publish(
            "main@sha1:3",
            &[("kustomization.yaml", patch), ("secret.yaml", &secret)],
        )
        .await?;
    // KC-SOPS-017
    let text = "error decrypting sops tree: Error walking tree: Could not decrypt value: Input string <redacted> does not match sops' data format";
    applier.says("app", "BuildFailed", text).await?;
    // FR-N-133: a label may change, since the code over all values is not checked
    let patch = "resources: [secret.yaml]\npatches:\n- patch: |\n    {apiVersion: v1, kind: Secret, metadata: {name: x25519, labels: {team: web}}}\n";
    applier
        .publish(
            "main@sha1:4",
            &[("kustomization.yaml", patch), ("secret.yaml", &secret)],
        )
        .await?;
    // KC-SOPS-015
    applier.applied("app", "main@sha1:4").await?;
    let object = applier
        .namespace
        .get(KUSTOMIZATION, "app")
        .await?
        .unwrap_or_default();
    assert!(!object.to_string().contains("very-secret"));
    assert_nothing_leaked(&applier, "app").await
}
