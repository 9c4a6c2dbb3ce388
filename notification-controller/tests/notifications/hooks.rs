//! Webhooks as their senders make them, and the objects that they annotate.

use hmac::{Hmac, KeyInit, Mac};
use kind_tests::controller::Settings;
use kind_tests::{GIT_REPOSITORY, RECEIVER, Result, ensure};
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::Sha256;

use crate::World;

const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";

fn hmac<M: Mac + KeyInit>(key: &str, body: &str) -> String {
    let Ok(mut mac) = <M as KeyInit>::new_from_slice(key.as_bytes()) else {
        return String::new();
    };
    mac.update(body.as_bytes());
    let code = mac.finalize().into_bytes();
    code.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl World {
    /// A suspended GitRepository with these labels, to be annotated.
    async fn target(&self, name: &str, labels: &str) -> Result {
        let yaml = format!(
            "{{apiVersion: source.toolkit.fluxcd.io/v1, kind: GitRepository, metadata: {{name: {name}, labels: {{{labels}}}, annotations: {{keep: me}}}}, \
             spec: {{url: 'https://h/r', interval: 1h, suspend: true}}}}"
        );
        self.namespace.apply(&yaml).await?;
        Ok(())
    }

    /// Applies a Receiver and returns its address once the server knows it.
    async fn hook(&self, name: &str, spec: &str) -> Result<String> {
        self.apply("Receiver", name, spec).await?;
        let ready = self.namespace.wait_ready(RECEIVER, name, "True").await?;
        let path = ready["status"]["webhookPath"].as_str().unwrap_or_default();
        let base = self.controller.webhooks_url().unwrap_or_default();
        let url = format!("{base}{path}");
        self.until(&url, |code| code != 404 && code != 503).await?;
        Ok(url)
    }

    /// Calls an address until its answer satisfies `wanted`: the cache of the server follows the API server.
    async fn until(&self, url: &str, wanted: impl Fn(u16) -> bool) -> Result {
        let asking = async {
            loop {
                let code = self.client.get(url).send().await?.status().as_u16();
                if wanted(code) {
                    return Ok(());
                }
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        };
        match tokio::time::timeout(kind_tests::deadline(), asking).await {
            Ok(found) => found,
            Err(_) => Err(kind_tests::Failure::new(format!("{url} does not change"))),
        }
    }

    async fn call(&self, url: &str, headers: &[(&str, &str)], body: &str) -> Result<u16> {
        let mut request = self.client.post(url).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await?;
        let code = answer.status().as_u16();
        // NC-RECV-058
        ensure!(answer.text().await?.is_empty(), "{code} with a body");
        Ok(code)
    }

    /// When a GitRepository was last asked to reconcile.
    async fn requested(&self, name: &str) -> Result<String> {
        let object = self
            .namespace
            .get(GIT_REPOSITORY, name)
            .await?
            .unwrap_or_default();
        ensure!(
            object["metadata"]["annotations"]["keep"] == "me",
            "{object}"
        );
        let at = object["metadata"]["annotations"][REQUESTED_AT].as_str();
        Ok(at.unwrap_or_default().to_owned())
    }
}

/// The headers and the body of a call.
type Call<'c> = (Vec<(&'c str, &'c str)>, &'c str);

#[tokio::test]
async fn each_sender_is_known_by_its_own_proof() -> Result {
    let world = World::start("hooks").await?;
    world.secret("token", "token: t0ken").await?;
    world.target("app", "a: b").await?;
    let json = ("Content-Type", "application/json");
    let sha256 = |body: &str| format!("sha256={}", hmac::<Hmac<Sha256>>("t0ken", body));
    let push = r#"{"ref":"refs/heads/main"}"#;
    let (push_signature, push_sha1) = (sha256(push), hmac::<Hmac<Sha1>>("t0ken", push));
    let push_sha1 = format!("sha1={push_sha1}");
    let forged = sha256("forged");
    let nexus = r#"{"action":"CREATED","repositoryName":"npm"}"#;
    let nexus_signature = hmac::<Hmac<Sha1>>("t0ken", nexus);
    let hub = r#"{"push_data":{"tag":"v1"},"repository":{"repo_url":"https://hub/x"}}"#;
    let quay = r#"{"docker_url":"quay.io/x","updated_tags":["latest"]}"#;
    let acr = r#"{"action":"push","target":{"repository":"r","tag":"v1"}}"#;
    let cd_event = json!({
        "context": {
            "version": "0.4.1", "id": "1", "source": "/s", "type": "dev.cdevents.change.merged.0.2.0",
            "timestamp": "2023-03-20T14:27:05Z",
        },
        "subject": {"id": "s", "source": "/s", "type": "change", "content": {}},
    })
    .to_string();
    let hub_signature = ("X-Hub-Signature-256", &*push_signature);
    let hub_sha1 = ("X-Hub-Signature", &*push_sha1);
    let hub_forged = ("X-Hub-Signature-256", &*forged);
    // A type, what is sent, and what is not accepted.
    let cases: Vec<(&str, &str, Call<'_>, Call<'_>)> = vec![
        (
            "generic-hmac",
            "",
            (vec![("X-Signature", &push_signature)], push),
            (vec![("X-Signature", &forged)], push),
        ),
        (
            "github",
            ", events: [push]",
            (vec![json, hub_signature, ("X-GitHub-Event", "push")], push),
            (vec![json, hub_signature, ("X-GitHub-Event", "ping")], push),
        ),
        (
            "github",
            "",
            (vec![json, hub_sha1], push),
            (vec![json, hub_forged], push),
        ),
        (
            "bitbucket",
            "",
            (
                vec![
                    ("Content-Type", "application/json; charset=utf-8"),
                    hub_sha1,
                ],
                push,
            ),
            (vec![("Content-Type", "text/plain"), hub_sha1], push),
        ),
        (
            "gitlab",
            "",
            (vec![("X-Gitlab-Token", "t0ken")], push),
            (vec![("X-Gitlab-Token", "other")], push),
        ),
        (
            "harbor",
            "",
            (vec![("Authorization", "t0ken")], ""),
            (vec![("Authorization", "Bearer t0ken")], ""),
        ),
        ("dockerhub", "", (vec![], hub), (vec![], "no json")),
        (
            "quay",
            "",
            (vec![], quay),
            (vec![], r#"{"updated_tags":"x"}"#),
        ),
        ("acr", "", (vec![], acr), (vec![], "[]")),
        (
            "nexus",
            "",
            (vec![("X-Nexus-Webhook-Signature", &nexus_signature)], nexus),
            (vec![], nexus),
        ),
        (
            "cdevents",
            "",
            (
                vec![("Ce-Type", "dev.cdevents.change.merged.0.2.0")],
                &cd_event,
            ),
            (vec![], "{}"),
        ),
        // NC-RECV-079: its Secret lacks an account and an audience
    ];
    for (number, (kind, more, good, bad)) in cases.into_iter().enumerate() {
        let spec = format!(
            "type: {kind}, secretRef: {{name: token}}, resources: [{{kind: GitRepository, name: app}}]{more}"
        );
        let url = world.hook(&format!("hook-{number}"), &spec).await?;
        let before = world.requested("app").await?;
        // NC-RECV-055
        let code = world.call(&url, &bad.0, bad.1).await?;
        ensure!(code == 400, "{kind}: {code}");
        ensure!(world.requested("app").await? == before, "{kind}: annotated");
        // NC-RECV-057, NC-RECV-097, NC-RECV-109
        let code = world.call(&url, &good.0, good.1).await?;
        ensure!(code == 200, "{kind}: {code}");
        let after = world.requested("app").await?;
        ensure!(
            after != before && after.contains(" +0000 UTC m=+"),
            "{kind}: {after}"
        );
    }
    // NC-RECV-079
    let spec = "type: gcr, secretRef: {name: token}, resources: [{kind: GitRepository, name: app}]";
    let url = world.hook("gcr", spec).await?;
    let code = world
        .call(&url, &[("Authorization", "Bearer a.b.c")], "{}")
        .await?;
    ensure!(code == 400, "{code}");
    let line = |line: &Value| {
        line["msg"] == "unable to validate payload"
            && line["error"] == "invalid secret data: required field 'email' for GCR receiver"
    };
    world.controller.log().wait("about the email", line).await?;
    // NC-RECV-098
    let object = world
        .namespace
        .get(GIT_REPOSITORY, "app")
        .await?
        .unwrap_or_default();
    let managers = object["metadata"]["managedFields"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let ours = managers
        .iter()
        .any(|entry| entry["manager"] == "notification-controller");
    ensure!(ours, "{managers:?}");
    let log = world.controller.log().lines().join("\n");
    ensure!(!log.contains("t0ken"), "the log shows the token");
    // NC-RECV-088, NC-RECV-099
    let annotated = format!(
        "resource 'GitRepository/app.{}' annotated",
        world.namespace.name()
    );
    for text in [
        "handling GitHub event: push",
        "handling GitLab event: ",
        "handling CDEvent: dev.cdevents.change.merged.0.2.0",
        "handling Bitbucket server event: ",
        "handling Harbor event",
        "handling DockerHub event from https://hub/x for tag v1",
        "handling Quay event from quay.io/x",
        "handling Nexus event from npm",
        "handling ACR event from r for tag v1",
        &*annotated,
    ] {
        let line = |line: &Value| line["msg"] == text;
        let line = world.controller.log().wait(text, line).await?;
        ensure!(line["reconciler kind"] == "Receiver", "{line}");
        ensure!(line["namespace"] == world.namespace.name(), "{line}");
        ensure!(
            line["name"]
                .as_str()
                .is_some_and(|name| name.starts_with("hook-")),
            "{line}"
        );
    }
    // NC-RECV-051
    let digest = |line: &Value| {
        line["msg"].as_str().is_some_and(|text| {
            text.strip_prefix("handling request: ")
                .is_some_and(|digest| digest.len() == 64)
        })
    };
    world
        .controller
        .log()
        .wait("about a request", digest)
        .await?;
    // NC-RECV-061: every call counts, however soon it comes after another
    let spec =
        "type: generic, secretRef: {name: token}, resources: [{kind: GitRepository, name: app}]";
    let url = world.hook("again", spec).await?;
    let mut times = std::collections::BTreeSet::new();
    for _ in 0..5 {
        ensure!(world.call(&url, &[], "").await? == 200, "a call is refused");
        times.insert(world.requested("app").await?);
    }
    ensure!(times.len() == 5, "{times:?}");
    Ok(())
}

#[tokio::test]
async fn resources_are_annotated_by_name_or_by_labels() -> Result {
    let world = World::start("hook-targets").await?;
    let namespace = world.namespace.name().to_owned();
    world.secret("token", "token: t").await?;
    for (name, labels) in [("a", "team: one"), ("b", "team: one"), ("c", "team: two")] {
        world.target(name, labels).await?;
    }
    let spec = |resources: &str| {
        format!("type: generic, secretRef: {{name: token}}, resources: [{resources}]")
    };
    let x = "{kind: GitRepository, name: '*', matchLabels: {team: one}}";
    for (name, resources, code, annotated) in [
        // NC-RECV-094, NC-RECV-096
        ("labels", x.to_owned(), 200, &["a", "b"][..]),
        ("all", "{kind: GitRepository, name: '*', matchLabels: {}}".to_owned(), 200, &["a", "b", "c"]),
        ("no-labels", "{kind: GitRepository, name: '*'}".to_owned(), 500, &[]),
        // NC-RECV-095, FR-N-052
        ("none", "{kind: GitRepository, name: '*', matchLabels: {team: none}}".to_owned(), 200, &[]),
        ("star", "{kind: GitRepository, name: '*', namespace: '*', matchLabels: {}}".to_owned(), 200, &[]),
        // NC-RECV-093, NC-RECV-057: the others still are
        ("missing", "{kind: GitRepository, name: gone}, {kind: GitRepository, name: c, matchLabels: {team: none}}".to_owned(), 500, &["c"]),
        // NC-RECV-091
        ("no-version", "{kind: Kustomization, name: app}, {kind: GitRepository, name: a}".to_owned(), 500, &["a"]),
        // FR-N-055
        ("old-version", "{apiVersion: source.toolkit.fluxcd.io/v1beta1, kind: GitRepository, name: b}".to_owned(), 200, &["b"]),
        // NC-RECV-090
        ("named", format!("{{kind: GitRepository, name: a, namespace: {namespace}}}"), 200, &["a"]),
    ] {
        let url = world.hook(name, &spec(&resources)).await?;
        let mut before = Vec::new();
        for target in ["a", "b", "c"] {
            before.push(world.requested(target).await?);
        }
        let have = world.call(&url, &[], "").await?;
        ensure!(have == code, "{name}: {have}");
        let mut changed = Vec::new();
        for (target, before) in ["a", "b", "c"].into_iter().zip(before) {
            if world.requested(target).await? != before {
                changed.push(target);
            }
        }
        ensure!(changed == annotated, "{name}: {changed:?}");
    }
    // NC-RECV-053
    let url = world.hook("labels", &spec(x)).await?;
    ensure!(
        world.call(&format!("{url}?x=y"), &[], "").await? == 404,
        "with a query"
    );
    // NC-RECV-060
    world.namespace.delete(kind_tests::SECRET, "token").await?;
    world
        .namespace
        .wait_gone(kind_tests::SECRET, "token")
        .await?;
    ensure!(world.call(&url, &[], "").await? == 400, "without a Secret");
    // NC-RECV-054
    let suspend = json!({"spec": {"suspend": true}});
    world.namespace.merge(RECEIVER, "labels", suspend).await?;
    world.until(&url, |code| code == 503).await?;
    Ok(())
}

#[tokio::test]
async fn filters_select_among_the_resources() -> Result {
    let world = World::start("hook-filters").await?;
    world.secret("token", "token: t").await?;
    for name in ["app1", "app2"] {
        world.target(name, "team: one").await?;
    }
    let json = [("Content-Type", "application/json")];
    let all = "{kind: GitRepository, name: '*', matchLabels: {team: one}";
    let spec = |top: &str, own: &str| {
        format!(
            "type: generic, secretRef: {{name: token}}, resourceFilter: \"{top}\", resources: [{all}{own}}}]"
        )
    };
    let named = "req.image.split('/').last().value() == res.metadata.name";
    let both = spec(named, ", filter: \"res.kind == 'GitRepository'\"");
    let none = spec(named, ", filter: \"res.metadata.labels.team == 'two'\"");
    let fails = spec("req.absent == 'x'", "");
    for (name, spec, body, code, annotated) in [
        // NC-RECV-101, NC-RECV-102
        ("both", &both, r#"{"image":"h/app1"}"#, 200, &["app1"][..]),
        ("none", &none, r#"{"image":"h/app1"}"#, 200, &[]),
        // NC-RECV-105
        ("fails", &fails, "{}", 500, &[]),
        // NC-RECV-056, NC-RECV-103
        ("both", &both, "", 500, &[]),
    ] {
        let url = world.hook(name, spec).await?;
        let before = [
            world.requested("app1").await?,
            world.requested("app2").await?,
        ];
        let have = world.call(&url, &json, body).await?;
        ensure!(have == code, "{name}: {have}");
        let mut changed = Vec::new();
        for (target, before) in ["app1", "app2"].into_iter().zip(before) {
            if world.requested(target).await? != before {
                changed.push(target);
            }
        }
        ensure!(changed == annotated, "{name}: {changed:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_token_of_a_trusted_issuer_is_enough() -> Result {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

    let world = World::start("hook-oidc").await?;
    world.target("app", "").await?;
    let random = ring::rand::SystemRandom::new();
    let refuse = |_| kind_tests::Failure::new("no key");
    let kind = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let document = EcdsaKeyPair::generate_pkcs8(kind, &random).map_err(refuse)?;
    let key = EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random)
        .map_err(|_| kind_tests::Failure::new("no key"))?;
    let point = key.public_key().as_ref();
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let address = crate::service::free_address().await;
    let issuer = format!("http://{address}");
    // One document for both requests: that of the issuer, with its keys.
    let answer = json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/keys"),
        "id_token_signing_alg_values_supported": ["ES256"],
        "keys": [{"kty": "EC", "crv": "P-256", "kid": "k", "x": part(&point[1..33]), "y": part(&point[33..])}],
    });
    let answers = vec![(200, vec![], answer.to_string())];
    let service = crate::service::Service::start_at(&address, answers).await;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)?
        .as_secs();
    let token = |audience: &str, repository: &str| {
        let claims =
            json!({"iss": issuer, "aud": audience, "exp": now + 600, "repository": repository});
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!(
            "{}.{}",
            encode(&json!({"alg": "ES256", "kid": "k"})),
            encode(&claims)
        );
        let signature = key.sign(&random, signed.as_bytes()).map_err(refuse)?;
        Ok::<_, kind_tests::Failure>(format!(
            "Bearer {signed}.{}",
            URL_SAFE_NO_PAD.encode(signature.as_ref())
        ))
    };
    // NC-RECV-010, NC-RECV-036
    let spec = format!(
        "type: generic-oidc, resources: [{{kind: GitRepository, name: app, filter: \"claims.repository.endsWith(res.metadata.name)\"}}], \
         oidcProviders: [{{issuerURL: '{issuer}', variables: [{{name: owner, expression: \"claims.repository.split('/')[0]\"}}], \
         validations: [{{expression: \"vars.owner == 'org'\", message: not ours}}]}}]"
    );
    let url = world.hook("hook", &spec).await?;
    for (token, code) in [
        // NC-RECV-083, NC-RECV-084, NC-RECV-085
        (token("notification-controller", "org/app")?, 200),
        (token("notification-controller", "other/app")?, 400),
        (token("other", "org/app")?, 400),
        ("Bearer a.b.c".to_owned(), 400),
        (String::new(), 400),
    ] {
        let before = world.requested("app").await?;
        let have = world.call(&url, &[("Authorization", &*token)], "").await?;
        ensure!(have == code, "{code}: {have}");
        ensure!(
            (world.requested("app").await? != before) == (code == 200),
            "{code}: annotated"
        );
    }
    let line = |line: &Value| line["error"] == "token validation failed: not ours";
    world
        .controller
        .log()
        .wait("about the validation", line)
        .await?;
    // NC-RECV-085, NC-RECV-086: the caller learns nothing
    ensure!(
        service
            .lines()
            .contains(&"GET /.well-known/openid-configuration".to_owned()),
        "no discovery"
    );
    Ok(())
}

#[tokio::test]
async fn other_namespaces_are_refused_under_lockdown() -> Result {
    let settings = Settings::default().flag("--no-cross-namespace-refs=true");
    let world = World::start_with("hook-tenants", settings).await?;
    let namespace = world.namespace.name().to_owned();
    world.secret("token", "token: t").await?;
    world.target("a", "").await?;
    // NC-RECV-092
    for (name, other, code) in [("own", &*namespace, 200), ("foreign", "default", 500)] {
        let spec = format!(
            "type: generic, secretRef: {{name: token}}, resources: [{{kind: GitRepository, name: a, namespace: {other}}}]"
        );
        let url = world.hook(name, &spec).await?;
        ensure!(world.call(&url, &[], "").await? == code, "{name}");
    }
    Ok(())
}
