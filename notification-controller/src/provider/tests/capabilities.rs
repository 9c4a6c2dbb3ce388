//! What each type uses of the settings that all have: proxies, certificates, credentials, and the answers of its service.

use flux_http::{Proxy, RootCertificates};
use git_servers::Authority;

use super::*;

/// The data of a Secret.
type Data = Vec<(&'static str, &'static [u8])>;

/// Each type with a fitting spec and Secret.
fn every_type() -> Vec<(&'static str, Value, Data)> {
    let spec =
        |address: &str| json!({"address": address, "channel": "a/b", "proxy": "http://proxy:1"});
    let token: Vec<(&str, &[u8])> = vec![("token", b"u:t")];
    let mut all = Vec::new();
    for kind in [
        "generic",
        "generic-hmac",
        "slack",
        "discord",
        "rocket",
        "msteams",
        "googlechat",
        "webex",
        "telegram",
        "lark",
        "matrix",
        "opsgenie",
        "alertmanager",
        "grafana",
        "pagerduty",
        "datadog",
        "zulip",
        "zoom",
        "incident.io",
        "mastodon",
        "otel",
        "github",
        "githubdispatch",
        "githubpullrequestcomment",
        "gitlab",
        "gitlabmergerequestcomment",
        "gitea",
        "giteapullrequestcomment",
        "bitbucket",
        "googlepubsub",
        "azureeventhub",
        "nats",
    ] {
        all.push((kind, spec("https://ghe.example.com/o/r"), token.clone()));
    }
    all.push((
        "azuredevops",
        spec("https://h/org/proj/_git/repo"),
        token.clone(),
    ));
    all.push((
        "bitbucketserver",
        spec("https://h/scm/o/r.git"),
        token.clone(),
    ));
    all.push(("sentry", spec("https://key@h/1"), token));
    all
}

#[test]
fn every_type_uses_its_proxy_and_most_their_certificates() {
    let authority = Authority::new();
    let pem = authority.pem().into_bytes();
    // NC-GOOGLECHAT-004, NC-PROV-051
    let without_certificates = ["discord", "googlechat", "telegram", "lark"];
    for (kind, spec, secret) in every_type() {
        let at = settings(kind, &spec, &secret);
        // NC-PROVCAP-002, NC-OTEL-011, NC-ZOOM-003
        assert!(matches!(at.client_options().proxy, Proxy::Url(_)), "{kind}");
        let secrets = super::super::settings::tests::with_certificates(&secret, &pem);
        let provider = super::super::settings::tests::provider(kind, &spec);
        let at = Settings::new(&provider, &secrets).unwrap();
        let tls = at.client_options().tls;
        // NC-PROVCAP-003, NC-AZUREDEVOPS-008, NC-INCIDENTIO-003
        assert_eq!(
            tls.authorities.is_some(),
            !without_certificates.contains(&kind),
            "{kind}"
        );
        if tls.authorities.is_some() {
            assert_eq!(tls.roots, RootCertificates::ReplaceSystem, "{kind}");
        }
    }
}

#[tokio::test]
async fn metadata_is_listed_in_the_order_of_its_keys_under_one_heading() {
    // NC-HTTP-011, NC-HTTP-012
    let mut event = event("info");
    for key in ["zeta", "alpha", "mid"] {
        event.metadata.insert(key.to_owned(), format!("<{key}>"));
    }
    for (kind, heading) in [
        ("slack", "kustomization/web.apps"),
        ("discord", "kustomization/web.apps"),
        ("rocket", "kustomization/web.apps"),
        ("googlechat", "kustomization/web.apps"),
        ("webex", "kustomization/web.apps"),
        ("telegram", "kustomization/web/apps"),
        ("lark", "kustomization/web.apps"),
        ("matrix", "kustomization/web.apps"),
        ("grafana", "kustomization/web.apps"),
        ("zoom", "kustomization/web.apps"),
    ] {
        let spec = json!({"address": "https://h/o/r", "channel": "c"});
        let sent = call(kind, &spec, &[("token", b"t")], &event).await;
        let text = String::from_utf8_lossy(&sent.request.body).replace("\\\\", "");
        assert!(text.contains(heading), "{kind}: {text}");
        let at = |key: &str| {
            text.find(key)
                .unwrap_or_else(|| panic!("{kind}: no {key} in {text}"))
        };
        assert!(
            at("alpha") < at("mid") && at("mid") < at("zeta"),
            "{kind}: {text}"
        );
    }
}

#[tokio::test]
async fn services_that_refuse_in_their_own_way_are_told_so() {
    let refusal = async |kind: &str, code: u16, body: &str| {
        let service = Service::start(vec![(code, vec![], body.to_owned())]).await;
        let address = format!("{}/api", service.url);
        post(kind, &address, &[("token", b"t")], &event("error")).await
    };
    let begin = "postMessage failed: request failed: request failed with status code";
    // NC-ALERTMANAGER-008
    let error = refusal("alertmanager", 400, "invalid label name")
        .await
        .unwrap();
    assert_eq!(error, format!("{begin} 400: invalid label name"));
    // NC-ZOOM-003, NC-INCIDENTIO-003
    for kind in ["zoom", "incident.io"] {
        let error = refusal(kind, 400, "no such channel").await.unwrap();
        assert_eq!(error, format!("{begin} 400: no such channel"), "{kind}");
    }
    // NC-OTEL-010: a failure is told, and what is final is sent once
    let collector = Service::start(vec![(400, vec![], "bad span".to_owned())]).await;
    let error = post("otel", &collector.url, &[], &event("error")).await;
    let error = error.unwrap_or_default();
    assert!(error.starts_with("failed to export span: "), "{error}");
    assert_eq!(collector.lines(), ["POST /v1/traces"]);
    let busy = vec![(503, vec![], String::new()), (200, vec![], String::new())];
    let collector = Service::start(busy).await;
    assert_eq!(
        post("otel", &collector.url, &[], &event("info")).await,
        None
    );
    assert_eq!(collector.lines().len(), 2);
    // NC-WEBEX-003
    let error = refusal("webex", 404, "no room").await.unwrap();
    assert_eq!(error, format!("{begin} 404: no room"));
    // NC-SENTRY-006: a failure is told
    let service = Service::start(vec![(500, vec![], String::new())]).await;
    let address = service.url.replace("http://", "http://key@");
    let error = post("sentry", &format!("{address}/1"), &[], &event("error")).await;
    assert!(error.is_some(), "a failure of Sentry is silent");
    // NC-LARK-004: an answer of 200 counts, whatever it says
    assert_eq!(refusal("lark", 200, r#"{"code":19001}"#).await, None);
    // NC-GITHUBDISPATCH-004
    let error = refusal("githubdispatch", 422, "too long").await;
    assert!(error.is_some(), "a refusal of GitHub is silent");
    // NC-GOOGLEPUBSUB-004, NC-AZUREEVENTHUB-006
    let spec = json!({"address": "project", "channel": "topic"});
    let at = settings("googlepubsub", &spec, &[]).with_cloud_token("t".into());
    let sent = calls(&at, &event("info")).await.remove(0);
    assert!(
        sent.context
            .starts_with("error publishing to GCP Pub/Sub topic"),
        "{}",
        sent.context
    );
}

#[tokio::test]
async fn notes_about_what_is_sent_hold() {
    let token: [(&str, &[u8]); 1] = [("token", b"t")];
    let at = json!({"address": "https://h/o/r", "channel": "c"});
    // NC-ALERTMANAGER-001
    let sent = call("alertmanager", &at, &token, &event("error")).await;
    assert_eq!(sent.request.method, http::Method::POST);
    assert_eq!(body(&sent).as_array().unwrap().len(), 1);
    // NC-MSTEAMS-006: no credentials
    let sent = call("msteams", &at, &token, &event("info")).await;
    assert_eq!(header(&sent, "authorization"), "");
    // NC-OPSGENIE-004: info is an alert too
    let sent = call("opsgenie", &at, &token, &event("info")).await;
    assert_eq!(sent.request.method, http::Method::POST);
    // NC-GRAFANA-004: seconds, as upstream
    let sent = body(&call("grafana", &at, &token, &event("info")).await);
    assert_eq!(sent["when"], 1_666_941_979);
    assert!(sent.get("time").is_none());
    // NC-SLACK-008: one attachment, no blocks
    let sent = body(&call("slack", &at, &token, &event("info")).await);
    assert!(sent.get("blocks").is_none() && sent.get("thread_ts").is_none());
    assert_eq!(sent["attachments"].as_array().unwrap().len(), 1);
    // NC-PAGERDUTY-002
    let progress = Event {
        reason: "Progressing".to_owned(),
        ..event("info")
    };
    let pager = settings("pagerduty", &at, &token);
    assert!(calls(&pager, &progress).await.is_empty());
    // NC-MATRIX-003
    let slash = json!({"address": "https://h/", "channel": "!r:h"});
    let sent = call("matrix", &slash, &token, &event("info")).await;
    assert!(
        sent.request.address.starts_with("https://h//_matrix/"),
        "{}",
        sent.request.address
    );
    // NC-GITHUBDISPATCH-004: at most ten properties
    let github = json!({"address": "https://github.com/o/r"});
    let sent = body(&call("githubdispatch", &github, &token, &event("info")).await);
    assert!(sent["client_payload"].as_object().unwrap().len() <= 10);
    // NC-AZUREDEVOPS-003, NC-AZUREDEVOPS-008: of an address for SSH, too
    for address in [
        "git@ssh.dev.azure.com:v3/org/proj/repo",
        "ssh://git@ssh.dev.azure.com/v3/org/proj/repo",
        "https://dev.azure.com/org/proj/_git/repo",
    ] {
        let azure = settings("azuredevops", &json!({"address": address}), &token);
        let Job::Status(status) = job(&azure, &event("info")).await.unwrap() else {
            panic!("no status: {address}");
        };
        let api = "https://dev.azure.com/org/proj/_apis/git/repositories/repo/commits/";
        assert!(
            status.list.address.starts_with(api),
            "{}",
            status.list.address
        );
    }
    // NC-BITBUCKET-002: whatever the host
    let elsewhere = json!({"address": "https://git.example/acme/app"});
    let bitbucket = settings("bitbucket", &elsewhere, &[("token", b"u:t")]);
    let Job::Status(status) = job(&bitbucket, &event("info")).await.unwrap() else {
        panic!("no status");
    };
    let api = "https://api.bitbucket.org/2.0/repositories/acme/app/commit/";
    assert!(
        status.list.address.starts_with(api),
        "{}",
        status.list.address
    );
    // NC-GOOGLEPUBSUB-003: a key in the Secret has to be one
    let key = settings("googlepubsub", &at, &[("token", b"{}")]);
    assert!(key.wanted_cloud().is_some());
    // NC-PROV-067: the token of the Secret is preferred to the account, but for Event Hubs
    let account = json!({"address": "https://h/org/proj/_git/repo", "serviceAccountName": "robot"});
    assert!(
        settings("azuredevops", &account, &token)
            .wanted_cloud()
            .is_none()
    );
    assert!(
        settings("azuredevops", &account, &[])
            .wanted_cloud()
            .is_some()
    );
    // NC-OTEL-009: the credentials of the collector are not for the proxy
    let proxied = json!({"address": "https://h", "proxy": "http://me:mine@proxy:1"});
    let theirs: [(&str, &[u8]); 2] = [("username", b"u"), ("password", b"p")];
    let otel = settings("otel", &proxied, &theirs);
    let slack = settings("slack", &proxied, &[]);
    assert_eq!(otel.client_options().proxy, slack.client_options().proxy);
    // NC-PROV-083: any address will do
    let inside = json!({"address": "http://169.254.169.254/latest"});
    let sent = call("generic", &inside, &[], &event("info")).await;
    assert_eq!(sent.request.address, "http://169.254.169.254/latest");
}

#[tokio::test]
async fn commit_statuses_of_github_have_no_link_and_no_progress() {
    let token: [(&str, &[u8]); 1] = [("token", b"t")];
    let service = Service::start(vec![ok(&json!([])), (201, vec![], "{}".to_owned())]).await;
    let address = format!("{}/o/r", service.url);
    // NC-GITHUB-007
    let progress = Event {
        reason: "Progressing".to_owned(),
        ..event("info")
    };
    assert_eq!(post("github", &address, &token, &progress).await, None);
    assert!(service.got().is_empty());
    assert_eq!(post("github", &address, &token, &event("info")).await, None);
    // NC-GITHUB-012
    let sent = service.got()[1].json();
    assert!(sent.get("target_url").is_none(), "{sent}");
    // NC-PROV-075
    let spec = json!({"address": "https://github.com/o/r"});
    let empty = settings("github", &spec, &token).with_status(String::new(), true);
    let error = job(&empty, &event("info")).await.unwrap_err();
    assert_eq!(error, "commit status cannot be empty");
    // FR-N-016, FR-N-017: see the statuses of Bitbucket
}

#[tokio::test]
async fn a_comment_is_looked_for_among_the_first_hundred() {
    let token: [(&str, &[u8]); 1] = [("token", b"t")];
    let mut event = event("info");
    event
        .metadata
        .insert("change_request".to_owned(), "7".to_owned());
    event.reason = "Progressing".to_owned();
    let own = json!({"login": "bot"});
    let comments: Vec<Value> = (0..100)
        .map(|id| json!({"id": id, "user": {"login": "human"}, "body": "x"}))
        .collect();
    let service = Service::start(vec![
        ok(&own),
        ok(&json!(comments)),
        (201, vec![], "{}".to_owned()),
    ])
    .await;
    let address = format!("{}/o/r", service.url);
    // NC-GITHUBPULLREQUESTCOMMENT-005, NC-GITHUBPULLREQUESTCOMMENT-006: whatever the reason
    assert_eq!(
        post("githubpullrequestcomment", &address, &token, &event).await,
        None
    );
    let lines = service.lines();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(
        lines[1].contains("per_page=100") && lines[2].starts_with("POST "),
        "{lines:?}"
    );
    // NC-GITHUBPULLREQUESTCOMMENT-007
    let error = post(
        "githubpullrequestcomment",
        "https://github.com/o/r/x",
        &token,
        &event,
    )
    .await;
    assert_eq!(error.unwrap(), "invalid repository id: 'o/r/x'");
}
