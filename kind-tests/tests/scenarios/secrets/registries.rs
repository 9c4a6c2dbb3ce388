//! Credentials of registries and of repositories of charts: pull secrets, tokens, certificates, proxies, URLs, and what
//! signatures are verified with.

use std::net::Ipv4Addr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use git_servers::{Authority, HttpGitServer, Proxy};
use kind_tests::{Flux, HELM_REPOSITORY, Kind, Namespace, OCI_REPOSITORY, Result, is_ready};
use registries::{Artifact, Registry, tar_gz};
use serde_json::{Value, json};

use super::echo::Echo;
use super::{MARK, armoured, ends, nothing_is_shown, secret, talkative};

/// How a case ends.
#[derive(Clone, Copy)]
enum End {
    Ready,
    /// Failed for this reason.
    Failed(&'static str),
    /// Failed, and for which reason is not the point.
    FailedSomehow,
}

const AUTH: End = End::Failed("AuthenticationFailed");
const PULL: End = End::Failed("OCIArtifactPullFailed");
const URL: End = End::Failed("URLInvalid");
const VERIFY: End = End::Failed("VerificationError");

/// Objects of one kind, each with its URL, more fields of its spec, and its end.
struct Cases {
    kind: Kind,
    cases: Vec<(String, String, String, End)>,
}

impl Cases {
    fn of(kind: Kind) -> Self {
        Self {
            kind,
            cases: Vec::new(),
        }
    }

    fn add(&mut self, name: &str, url: impl Into<String>, spec: &str, end: End) {
        let case = (name.to_owned(), url.into(), spec.to_owned(), end);
        self.cases.push(case);
    }

    /// Applies them all and waits for their ends.
    async fn run(&self, flux: &Flux) -> Result {
        let (namespace, kind) = (&flux.namespace, self.kind);
        for (name, url, spec, _) in &self.cases {
            let yaml = format!(
                "{{apiVersion: {}, kind: {}, metadata: {{name: {name}}}, spec: {{url: '{url}', interval: 10m, \
                 timeout: 20s, {spec}}}}}",
                kind.0, kind.1
            );
            namespace.apply(&yaml).await?;
        }
        for (name, _, _, end) in &self.cases {
            match *end {
                End::Ready => ends(flux, kind, name, None).await?,
                End::Failed(reason) => ends(flux, kind, name, Some(reason)).await?,
                End::FailedSomehow => {
                    let failed = |object: &Value| is_ready(object, "False");
                    namespace.wait(kind, name, "has failed", failed).await?
                }
            };
        }
        Ok(())
    }
}

/// Makes a pull secret with this entry for the host.
async fn pull_secret(namespace: &Namespace, name: &str, host: &str, entry: &Value) -> Result {
    docker_config(namespace, name, &json!({"auths": {host: entry}})).await
}

async fn docker_config(namespace: &Namespace, name: &str, config: &Value) -> Result {
    let (kind, data) = (
        "kubernetes.io/dockerconfigjson",
        json!({".dockerconfigjson": config.to_string()}),
    );
    typed_secret(namespace, name, kind, &data).await
}

async fn typed_secret(namespace: &Namespace, name: &str, kind: &str, data: &Value) -> Result {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": kind, "stringData": data});
    namespace.apply(&secret.to_string()).await?;
    Ok(())
}

fn login() -> Value {
    json!({"username": "flux", "password": format!("{MARK}password")})
}

/// The same as one value.
fn pair() -> Value {
    json!({"auth": BASE64.encode(format!("flux:{MARK}password"))})
}

// SC-AUTH-031, SC-AUTH-033
#[tokio::test]
async fn pull_secrets_are_never_shown() -> Result {
    let flux = Flux::start_with("secrets-oci", talkative(), talkative()).await?;
    let namespace = &flux.namespace;
    let mut cases = Cases::of(OCI_REPOSITORY);

    let registry = Registry::builder()
        .token_auth("flux", &format!("{MARK}password"))
        .start();
    let artifact = Artifact::flux(tar_gz(&[("a.yaml", "")]));
    registry.push("org/app", "latest", &artifact);
    let (host, url) = (
        registry.host(),
        format!("oci://{}", registry.repository("org/app")),
    );
    let legacy = json!({".dockercfg": json!({&host: login()}).to_string()});
    typed_secret(namespace, "legacy", "kubernetes.io/dockercfg", &legacy).await?;
    namespace
        .apply("{apiVersion: v1, kind: ServiceAccount, metadata: {name: puller}, imagePullSecrets: [{name: legacy}]}")
        .await?;
    cases.add("account", &url, "serviceAccountName: puller", End::Ready);
    let wrong = json!({"username": "flux", "password": format!("{MARK}wrong")});
    let unpaired = json!({"auth": BASE64.encode(format!("{MARK}alone"))});
    let of_types = json!({"username": 5, "password": [format!("{MARK}listed")]});
    for (name, entry, end) in [
        ("login", login(), End::Ready),
        ("pair", pair(), End::Ready),
        ("wrong", wrong, PULL),
        ("entry-text", json!(MARK), End::FailedSomehow),
        (
            "auth-text",
            json!({"auth": format!("{MARK}?")}),
            End::FailedSomehow,
        ),
        ("auth-unpaired", unpaired, End::FailedSomehow),
        ("types", of_types, End::FailedSomehow),
    ] {
        pull_secret(namespace, name, &host, &entry).await?;
        cases.add(name, &url, &format!("secretRef: {{name: {name}}}"), end);
    }
    docker_config(namespace, "auths-text", &json!({"auths": MARK})).await?;
    let spec = "secretRef: {name: auths-text}";
    cases.add("auths-text", &url, spec, End::FailedSomehow);

    // Registries that repeat what they were sent.
    let echo = Echo::start().await?;
    pull_secret(namespace, "echo-login", &echo.host(), &login()).await?;
    pull_secret(namespace, "echo-pair", &echo.host(), &pair()).await?;
    for path in [
        "400", "401", "403", "404", "429", "500", "json", "moved", "astray", "html",
    ] {
        let url = format!("oci://{}/{path}/app", echo.host());
        for secret in ["echo-login", "echo-pair"] {
            let end = if path == "html" {
                End::FailedSomehow
            } else {
                PULL
            };
            let spec = format!("secretRef: {{name: {secret}}}");
            cases.add(&format!("{secret}-{path}"), &url, &spec, end);
        }
        let spec = "secretRef: {name: echo-login}, ref: {semver: '*'}";
        cases.add(&format!("tags-{path}"), &url, spec, End::FailedSomehow);
    }
    let url = format!("oci://{}/pages/app", echo.host());
    let spec = "secretRef: {name: echo-login}, ref: {semver: '*'}";
    cases.add("pages", url, spec, End::Failed("ReadOperationFailed"));

    // Token services that do, or that are not.
    let internal = Echo::registry(Ipv4Addr::new(127, 0, 0, 2), "Basic").await?;
    let mut services = Vec::new();
    for (service, path) in [
        ("400", "403"),
        ("401", "403"),
        ("403", "403"),
        ("404", "403"),
        ("500", "403"),
        ("json", "403"),
        ("html", "403"),
        ("moved", "403"),
        ("astray", "403"),
        ("internal", "403"),
        ("granted", "403"),
        ("granted", "json"),
        ("renewed", "401"),
    ] {
        let at = match service {
            "internal" => internal.host(),
            _ => "HOST".to_owned(),
        };
        let challenge = format!("Bearer realm=\"http://{at}/{service}/token\",service=\"echo\"");
        let registry = Echo::registry(Ipv4Addr::LOCALHOST, &challenge).await?;
        let url = format!("oci://{}/{path}/app", registry.host());
        let identity = json!({"identitytoken": format!("{MARK}identity")});
        for (kind, entry) in [("login", login()), ("identity", identity)] {
            let name = format!("service-{service}-{path}-{kind}");
            pull_secret(namespace, &name, &registry.host(), &entry).await?;
            cases.add(&name, &url, &format!("secretRef: {{name: {name}}}"), PULL);
        }
        services.push(registry);
    }

    cases.run(&flux).await?;
    nothing_is_shown(&flux, &[]).await
}

// SC-OCI-022, SC-OCI-025, SC-OCI-026
#[tokio::test]
async fn urls_proxies_and_certificates_of_registries_are_never_shown() -> Result {
    let flux = Flux::start_with("secrets-oci-ways", talkative(), talkative()).await?;
    let echo = Echo::start().await?;
    let host = echo.host();
    let url = format!("oci://{host}/403/app");
    let mut cases = Cases::of(OCI_REPOSITORY);
    let mut others = Vec::new();

    for (name, start, path) in [
        ("user", format!("{MARK}a@"), "/org/app"),
        ("password", format!("flux:{MARK}a@"), "/org/app"),
        ("question", format!("flux:{MARK}?{MARK}@"), "/org/app"),
        ("scheme", format!("https://flux:{MARK}a@"), "/org/app"),
        ("tag", format!("flux:{MARK}a@"), "/org/app:v1"),
        ("letters", format!("flux:{MARK}a@"), "/Org"),
        ("host", format!("flux:{MARK}a@"), ""),
    ] {
        cases.add(name, format!("oci://{start}{host}{path}"), "", URL);
    }
    // Another field is wrong as well.
    for (name, spec) in [
        ("no-certificate", "certSecretRef: {name: absent}"),
        ("no-proxy", "proxySecretRef: {name: absent}"),
        ("no-secret", "secretRef: {name: absent}"),
        ("no-tag", "ref: {semver: '*'}"),
    ] {
        let url = format!("oci://flux:{MARK}a@{host}/org/app");
        cases.add(name, url, spec, End::FailedSomehow);
    }

    let proxy = Proxy::http(Some(("user", &format!("{MARK}proxy"))));
    for (name, address, end) in [
        ("proxy-right", proxy.url(), PULL),
        ("proxy-refused", "http://127.0.0.1:1".to_owned(), PULL),
        ("proxy-echo", format!("http://{host}"), PULL),
        (
            "proxy-inside",
            format!("http://user:{MARK}x@127.0.0.1:1"),
            PULL,
        ),
        ("proxy-broken", format!("http://user:{MARK}x@[::1"), AUTH),
        (
            "proxy-scheme",
            format!("ftp://user:{MARK}x@127.0.0.1:1"),
            AUTH,
        ),
        ("proxy-name", MARK.to_owned(), AUTH),
        ("proxy-password", format!("{MARK}:{MARK}@127.0.0.1:1"), AUTH),
    ] {
        let data =
            json!({"address": address, "username": "user", "password": format!("{MARK}proxy")});
        secret(&flux.namespace, name, &data).await?;
        let spec = format!("proxySecretRef: {{name: {name}}}");
        cases.add(name, &url, &spec, end);
    }

    for (name, data) in unusable_certificates(&mut others) {
        secret(&flux.namespace, name, &data).await?;
        let spec = format!("certSecretRef: {{name: {name}}}");
        cases.add(name, &url, &spec, End::FailedSomehow);
    }

    cases.run(&flux).await?;
    nothing_is_shown(&flux, &others).await
}

/// Data of `certSecretRef` that cannot be used. Keys that are real are added to `others`.
fn unusable_certificates(others: &mut Vec<String>) -> Vec<(&'static str, Value)> {
    let authority = Authority::new();
    let client = authority.issue(&["client"]);
    let stranger = Authority::new().issue(&["client"]);
    others.extend([client.key.clone(), stranger.key.clone()]);
    let pair =
        json!({"ca.crt": authority.pem(), "tls.crt": client.certificate, "tls.key": client.key});
    let change = |key: &str, value: String| {
        let mut data = pair.clone();
        data[key] = json!(value);
        data
    };
    vec![
        ("tls-ca", change("ca.crt", armoured("CERTIFICATE"))),
        (
            "tls-ca-text",
            change("ca.crt", format!("{MARK} is no certificate")),
        ),
        ("tls-crt", change("tls.crt", armoured("CERTIFICATE"))),
        ("tls-key", change("tls.key", armoured("PRIVATE KEY"))),
        ("tls-label", change("tls.key", armoured(MARK))),
        ("tls-text", change("tls.key", format!("{MARK} is no key"))),
        ("tls-other", change("tls.key", stranger.key)),
    ]
}

// SC-VER-030, SC-VER-036, SC-VER-050
#[tokio::test]
async fn keys_trusted_roots_and_policies_of_artifacts_are_never_shown() -> Result {
    let flux = Flux::start_with("secrets-oci-trust", talkative(), talkative()).await?;
    let registry = Registry::start();
    let artifact = Artifact::flux(tar_gz(&[("a.yaml", "")]));
    registry.push("org/app", "latest", &artifact);
    let url = format!("oci://{}", registry.repository("org/app"));
    let mut cases = Cases::of(OCI_REPOSITORY);

    for (name, key) in [
        ("key", armoured("PUBLIC KEY")),
        ("key-label", armoured(MARK)),
        ("key-private", armoured("PRIVATE KEY")),
        ("key-text", format!("{MARK} is no key")),
    ] {
        secret(&flux.namespace, name, &json!({"cosign.pub": key})).await?;
        let spec = format!("verify: {{provider: cosign, secretRef: {{name: {name}}}}}");
        cases.add(name, &url, &spec, VERIFY);
    }

    let media_type = "application/vnd.dev.sigstore.trustedroot+json;version=0.1";
    let with = |key: &str, value: Value| json!({"mediaType": media_type, key: value}).to_string();
    let certificate = json!([{"rawBytes": MARK}]);
    for (name, root) in [
        ("root-text", MARK.to_owned()),
        ("root-type", json!({"mediaType": MARK}).to_string()),
        ("root-string", json!(MARK).to_string()),
        ("root-tlogs", with("tlogs", json!(MARK))),
        (
            "root-url",
            with(
                "tlogs",
                json!([{"baseUrl": MARK, "logId": {"keyId": MARK}}]),
            ),
        ),
        (
            "root-key",
            with(
                "tlogs",
                json!([{"publicKey": {"rawBytes": MARK, "keyDetails": MARK}}]),
            ),
        ),
        (
            "root-chain",
            with(
                "certificateAuthorities",
                json!([{"certChain": {"certificates": certificate}}]),
            ),
        ),
        (
            "root-time",
            with(
                "timestampAuthorities",
                json!([{"validFor": {"start": MARK}}]),
            ),
        ),
    ] {
        secret(&flux.namespace, name, &json!({"trusted_root.json": root})).await?;
        let spec = format!(
            "verify: {{provider: cosign, trustedRootSecretRef: {{name: {name}}}, matchOIDCIdentity: \
             [{{issuer: a, subject: b}}]}}"
        );
        cases.add(name, &url, &spec, VERIFY);
    }

    let statement = |key: &str, value: Value| {
        let mut statement = json!({
            "name": "one", "registryScopes": ["*"], "signatureVerification": {"level": "strict"},
            "trustStores": ["ca:one"], "trustedIdentities": ["*"],
        });
        statement[key] = value;
        json!({"version": "1.0", "trustPolicies": [statement]}).to_string()
    };
    for (name, policy) in [
        ("policy-text", MARK.to_owned()),
        ("policy-string", json!(MARK).to_string()),
        ("policy-version", json!({"version": MARK}).to_string()),
        ("policy-name", statement("name", json!([MARK]))),
        ("policy-scope", statement("registryScopes", json!([MARK]))),
        (
            "policy-level",
            statement("signatureVerification", json!({"level": MARK})),
        ),
        ("policy-store", statement("trustStores", json!([MARK]))),
        (
            "policy-store-kind",
            statement("trustStores", json!([format!("{MARK}:one")])),
        ),
        (
            "policy-identity",
            statement("trustedIdentities", json!([MARK])),
        ),
        (
            "policy-subject",
            statement(
                "trustedIdentities",
                json!([format!("x509.subject: C={MARK}")]),
            ),
        ),
    ] {
        let data = json!({"trustpolicy.json": policy, "ca.crt": Authority::new().pem()});
        secret(&flux.namespace, name, &data).await?;
        let spec = format!("verify: {{provider: notation, secretRef: {{name: {name}}}}}");
        cases.add(name, &url, &spec, VERIFY);
    }
    let policy = statement("name", json!("one"));
    let data = json!({"trustpolicy.json": policy, "ca.crt": armoured("CERTIFICATE")});
    secret(&flux.namespace, "authority", &data).await?;
    let spec = "verify: {provider: notation, secretRef: {name: authority}}";
    cases.add("authority", &url, spec, VERIFY);

    cases.run(&flux).await?;
    nothing_is_shown(&flux, &[]).await
}

// SC-HREPO-023, SC-HREPO-024, SC-HREPO-027
#[tokio::test]
async fn credentials_of_chart_repositories_are_never_shown() -> Result {
    let flux = Flux::start_with("secrets-helm", talkative(), talkative()).await?;
    let namespace = &flux.namespace;
    let echo = Echo::start().await?;
    let host = echo.host();
    let mut cases = Cases::of(HELM_REPOSITORY);
    let mut others = Vec::new();

    let server = HttpGitServer::builder()
        .basic_auth("flux", &format!("{MARK}password"))
        .files("/charts")
        .start();
    std::fs::write(
        server.root().join("index.yaml"),
        "apiVersion: v1\nentries: {}\n",
    )?;
    let wrong = json!({"username": "flux", "password": format!("{MARK}wrong")});
    let half = json!({"username": format!("{MARK}half")});
    for (name, data, end) in [
        ("right", login(), End::Ready),
        ("wrong", wrong, End::Failed("Failed")),
        ("half", half, AUTH),
    ] {
        secret(namespace, name, &data).await?;
        let spec = format!("secretRef: {{name: {name}}}");
        cases.add(name, server.url("charts"), &spec, end);
    }

    // Servers that repeat what they were sent.
    for path in [
        "400", "401", "403", "404", "429", "500", "json", "html", "moved", "astray",
    ] {
        let end = match path {
            "html" => End::Failed("IndexationFailed"),
            _ => End::Failed("Failed"),
        };
        let url = format!("http://{host}/{path}/charts");
        cases.add(
            &format!("password-{path}"),
            &url,
            "secretRef: {name: right}",
            end,
        );
        let url = format!("http://flux:{MARK}inurl@{host}/{path}/charts");
        cases.add(&format!("url-{path}"), &url, "", end);
        let url = format!("http://{host}/{path}/charts?private_token={MARK}query");
        cases.add(&format!("query-{path}"), &url, "", end);
    }
    for (name, url) in [
        (
            "refused",
            format!("http://flux:{MARK}a@127.0.0.1:1/charts?t={MARK}b"),
        ),
        (
            "unknown-host",
            format!("http://flux:{MARK}a@nowhere.invalid/charts"),
        ),
        (
            "no-tls",
            format!("https://flux:{MARK}a@{host}/403/charts?t={MARK}b"),
        ),
        (
            "bad-escape",
            format!("http://flux:{MARK}%zz@{host}/403/charts"),
        ),
        ("open-bracket", format!("http://flux:{MARK}a@[::1/charts")),
        ("bad-port", format!("http://flux:{MARK}a@{host}x/charts")),
        ("no-host", format!("https://flux:{MARK}a@/charts")),
        ("registry", format!("oci://flux:{MARK}a@{host}/charts")),
        (
            "question",
            format!("http://flux:{MARK}?{MARK}@{host}/charts"),
        ),
    ] {
        cases.add(name, url, "", End::FailedSomehow);
    }

    let url = format!("http://{host}/403/charts");
    for (name, data) in unusable_certificates(&mut others) {
        secret(namespace, name, &data).await?;
        let spec = format!("certSecretRef: {{name: {name}}}");
        cases.add(name, &url, &spec, End::FailedSomehow);
        let spec = format!("secretRef: {{name: {name}}}");
        cases.add(&format!("{name}-legacy"), &url, &spec, End::FailedSomehow);
    }

    cases.run(&flux).await?;
    nothing_is_shown(&flux, &others).await
}
