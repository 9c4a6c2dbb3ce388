//! Commit statuses.

use super::*;

#[tokio::test]
async fn github_statuses_are_set_once() {
    let token: [(&str, &[u8]); 1] = [("token", b"t\n")];
    let other = json!({"context": "other", "state": "success", "description": "x"});
    let same = |state: &str| json!({"context": ID, "state": state, "description": "reconciliation succeeded"});
    for (listed, severity, posts) in [
        // NC-GITHUB-009: the newest one with the same context decides
        (json!([other, same("success"), same("failure")]), "info", 0),
        (json!([same("failure"), same("success")]), "info", 1),
        (json!([]), "error", 1),
    ] {
        let service = Service::start(vec![ok(&listed), (201, vec![], "{}".to_owned())]).await;
        let error = post(
            "github",
            &format!("{}/o/r", service.url),
            &token,
            &event(severity),
        )
        .await;
        assert_eq!(error, None);
        let got = service.got();
        assert_eq!(got.len(), 1 + posts, "{listed}");
        assert_eq!(
            got[0].line,
            format!("GET /api/v3/repos/o/r/commits/{HASH}/statuses?per_page=50")
        );
        for got in &got {
            // NC-GITHUB-006
            assert_eq!(got.header("authorization"), "Bearer t");
            assert_eq!(got.header("accept"), "application/vnd.github.v3+json");
            assert_eq!(got.header("x-github-api-version"), "2022-11-28");
        }
        if posts == 1 {
            // NC-GITHUB-008, NC-GITHUB-010
            let state = if severity == "info" {
                "success"
            } else {
                "failure"
            };
            assert_eq!(
                got[1].line,
                format!("POST /api/v3/repos/o/r/statuses/{HASH}")
            );
            assert_eq!(got[1].json(), same(state));
        }
    }
    // NC-GITHUB-001, NC-GITHUB-002
    let error = post("github", "https://github.com/o/r/x", &token, &event("info")).await;
    assert_eq!(error.unwrap(), "invalid repository id: 'o/r/x'");
    let error = post("github", "https://github.com/o/r", &[], &event("info")).await;
    assert_eq!(
        error.unwrap(),
        "github token or github app details must be specified"
    );
    // NC-PROV-076
    let error = post("github", "https://github.com/o/r", &token, &bare("error")).await;
    assert_eq!(error.unwrap(), "missing revision metadata");
    let error = post("github", "https://github.com/o/r", &token, &event("trace")).await;
    assert_eq!(error.unwrap(), "can't convert to github state");
    // NC-GITHUB-011
    let service =
        Service::start(vec![(404, vec![], r#"{"message":"Not Found"}"#.to_owned())]).await;
    let error = post(
        "github",
        &format!("{}/o/r", service.url),
        &token,
        &event("info"),
    )
    .await;
    let error = error.unwrap();
    assert!(
        error.starts_with("could not list commit statuses: GET http://"),
        "{error}"
    );
    assert!(
        error.contains(": 404 {\"message\":\"Not Found\"}"),
        "{error}"
    );
    let service = Service::start(vec![ok(&json!([])), (500, vec![], String::new())]).await;
    let error = post(
        "github",
        &format!("{}/o/r", service.url),
        &token,
        &event("info"),
    )
    .await;
    assert!(
        error
            .unwrap()
            .starts_with("could not create commit status: POST ")
    );
    assert_eq!(service.got().len(), 2, "no retries");
}

#[tokio::test]
async fn github_gets_dispatch_events() {
    let service = Service::start(vec![(204, vec![], String::new())]).await;
    let token: [(&str, &[u8]); 2] = [("username", b"git"), ("password", b"t")];
    let address = format!("{}/o/r", service.url);
    assert_eq!(
        post("githubdispatch", &address, &token, &event("info")).await,
        None
    );
    let got = service.got().remove(0);
    // NC-GITHUBDISPATCH-001, NC-GITHUBDISPATCH-002
    assert_eq!(got.line, "POST /api/v3/repos/o/r/dispatches");
    assert_eq!(got.header("authorization"), "Bearer t");
    let payload: Value = serde_json::from_str(&event("info").to_json()).unwrap();
    assert_eq!(
        got.json(),
        json!({"event_type": "Kustomization/web.apps", "client_payload": payload})
    );
    // NC-GITHUBDISPATCH-003
    let down = Service::start(vec![(422, vec![], String::new())]).await;
    let error = post(
        "githubdispatch",
        &format!("{}/o/r", down.url),
        &token,
        &event("info"),
    )
    .await;
    assert_eq!(
        error.unwrap(),
        "could not send github repository dispatch webhook: 422 Unprocessable Entity"
    );
}

#[tokio::test]
async fn gitlab_statuses_are_set_once() {
    let token: [(&str, &[u8]); 1] = [("token", b"t")];
    let same = json!({"sha": HASH, "status": "failed", "description": "reconciliation succeeded", "name": ID});
    for (listed, posts) in [(json!([{"sha": "x"}, same]), 0), (json!([]), 1)] {
        let service = Service::start(vec![ok(&listed), (201, vec![], "{}".to_owned())]).await;
        let address = format!("{}/group/sub/r.x.git", service.url);
        assert_eq!(
            post("gitlab", &address, &token, &event("error")).await,
            None
        );
        let got = service.got();
        assert_eq!(got.len(), 1 + posts);
        // NC-GITLAB-001, NC-GITLAB-002, NC-GITLAB-004
        assert_eq!(got[0].header("private-token"), "t");
        let project = "/api/v4/projects/group%2Fsub%2Fr%2Ex";
        assert_eq!(
            got[0].line,
            format!(
                "GET {project}/repository/commits/{HASH}/statuses?name=kustomization%2Fweb%2F0c9c2e41"
            )
        );
        if posts == 1 {
            // NC-GITLAB-003, NC-GITLAB-005
            assert_eq!(got[1].line, format!("POST {project}/statuses/{HASH}"));
            assert_eq!(
                got[1].json(),
                json!({"state": "failed", "name": ID, "description": "reconciliation succeeded"})
            );
        }
    }
    // NC-GITLAB-006: what changes nothing is sent again
    let service = Service::start(vec![
        (502, vec![], String::new()),
        (429, vec![], String::new()),
        ok(&json!([same])),
    ])
    .await;
    let address = format!("{}/o/r", service.url);
    assert_eq!(
        post("gitlab", &address, &token, &event("error")).await,
        None
    );
    assert_eq!(service.got().len(), 3);
    // NC-GITLAB-007
    let service = Service::start(vec![(401, vec![], "no".to_owned())]).await;
    let error = post(
        "gitlab",
        &format!("{}/o/r", service.url),
        &token,
        &event("error"),
    )
    .await;
    assert!(
        error
            .unwrap()
            .starts_with("unable to list commit status: GET ")
    );
    let error = post("gitlab", "https://h/o/r", &[], &event("info")).await;
    assert_eq!(error.unwrap(), "gitlab token cannot be empty");
}

#[tokio::test]
async fn gitea_statuses_are_set_once() {
    let token: [(&str, &[u8]); 1] = [("token", b"t")];
    let version = ok(&json!({"version": "1.25.0"}));
    let same = |state: &str| json!({"context": ID, "status": state, "description": "reconciliation succeeded"});
    for (listed, severity, reason, state, posts) in [
        (
            json!([same("success")]),
            "info",
            "ReconciliationSucceeded",
            "success",
            0,
        ),
        (
            json!([same("failure"), same("success")]),
            "info",
            "ReconciliationSucceeded",
            "success",
            1,
        ),
        (json!([]), "error", "ReconciliationSucceeded", "failure", 1),
        // NC-GITEA-003
        (json!([]), "info", "Progressing", "pending", 1),
    ] {
        let service = Service::start(vec![
            version.clone(),
            ok(&listed),
            (201, vec![], "{}".to_owned()),
        ])
        .await;
        let event = Event {
            reason: reason.to_owned(),
            ..event(severity)
        };
        assert_eq!(
            post("gitea", &format!("{}/o/r", service.url), &token, &event).await,
            None
        );
        let got = service.got();
        assert_eq!(got.len(), 2 + posts);
        // NC-GITEA-001, NC-GITEA-002, NC-GITEA-004
        assert_eq!(got[0].line, "GET /api/v1/version");
        assert_eq!(got[0].header("authorization"), "token t");
        assert_eq!(
            got[1].line,
            format!("GET /api/v1/repos/o/r/commits/{HASH}/statuses?limit=50&page=1")
        );
        if posts == 1 {
            // NC-GITEA-005
            assert_eq!(
                got[2].line,
                format!("POST /api/v1/repos/o/r/statuses/{HASH}")
            );
            let body = got[2].json();
            assert_eq!(
                (&body["state"], &body["target_url"], &body["context"]),
                (&json!(state), &json!(""), &json!(ID))
            );
        }
    }
    let down = Service::start(vec![(500, vec![], "no".to_owned())]).await;
    let error = post(
        "gitea",
        &format!("{}/o/r", down.url),
        &token,
        &event("info"),
    )
    .await;
    assert!(
        error
            .unwrap()
            .starts_with("failed creating Gitea client: GET ")
    );
    let error = post("gitea", "https://h/o/r", &[], &event("info")).await;
    assert_eq!(error.unwrap(), "gitea token cannot be empty");
    let error = post("gitea", "https://h/o", &token, &event("info")).await;
    assert_eq!(error.unwrap(), "invalid repository id \"o\"");
}

#[tokio::test]
async fn bitbucket_server_statuses_are_set_once() {
    use sha1::Digest as _;
    let key = hex::encode(sha1::Sha1::digest(ID));
    let same = json!({
        "key": key, "state": "SUCCESSFUL", "description": "reconciliation succeeded",
        "name": "kustomization/web [reconciliation succeeded]",
    });
    let basic: [(&str, &[u8]); 2] = [("username", b"u"), ("password", b"p")];
    for (answer, posts) in [
        (ok(&same), 0),
        (ok(&json!({})), 1),
        ((404, vec![], String::new()), 1),
    ] {
        let service = Service::start(vec![answer, (204, vec![], String::new())]).await;
        let address = format!("{}/scm/proj/repo.git", service.url);
        assert_eq!(
            post("bitbucketserver", &address, &basic, &event("info")).await,
            None
        );
        let got = service.got();
        assert_eq!(got.len(), 1 + posts);
        let builds = format!("/rest/api/latest/projects/proj/repos/repo/commits/{HASH}/builds");
        // NC-BITBUCKETSERVER-002, NC-BITBUCKETSERVER-004, NC-BITBUCKETSERVER-007
        assert_eq!(got[0].line, format!("GET {builds}?key={key}"));
        for got in &got {
            assert_eq!(got.header("authorization"), "Basic dTpw");
            assert_eq!(got.header("x-atlassian-token"), "no-check");
            assert_eq!(got.header("x-requested-with"), "XMLHttpRequest");
        }
        if posts == 1 {
            // NC-BITBUCKETSERVER-006, NC-BITBUCKETSERVER-008
            assert_eq!(got[1].line, format!("POST {builds}"));
            let mut want = same.clone();
            want["url"] = json!(address);
            assert_eq!(got[1].json(), want);
        }
    }
    // NC-BITBUCKETSERVER-009
    let service = Service::start(vec![(503, vec![], String::new()), ok(&same)]).await;
    let address = format!("{}/scm/proj/repo", service.url);
    let token: [(&str, &[u8]); 1] = [("token", b"t")];
    assert_eq!(
        post("bitbucketserver", &address, &token, &event("info")).await,
        None
    );
    assert_eq!(service.got()[1].header("authorization"), "Bearer t");
    let service = Service::start(vec![(403, vec![], String::new())]).await;
    let address = format!("{}/scm/proj/repo", service.url);
    let error = post("bitbucketserver", &address, &token, &event("info")).await;
    assert_eq!(
        error.unwrap(),
        "could not get existing commit status: failed api call to check duplicate commit status: 403 - Forbidden"
    );
    let service = Service::start(vec![ok(&json!({})), (400, vec![], String::new())]).await;
    let address = format!("{}/scm/proj/repo", service.url);
    let error = post("bitbucketserver", &address, &token, &event("info")).await;
    assert_eq!(
        error.unwrap(),
        "could not post build status: could not post build commit status: 400 - Bad Request"
    );
    let error = post("bitbucketserver", &address, &[], &event("info")).await;
    assert_eq!(
        error.unwrap(),
        "invalid credentials, expected to be one of username/password or API Token"
    );
    // NC-BITBUCKETSERVER-005
    let error = post("bitbucketserver", &address, &token, &event("trace")).await;
    assert!(
        error
            .unwrap()
            .ends_with("bitbucket server state generated on info or error events only")
    );
}

#[tokio::test]
async fn azure_devops_statuses_are_set_once() {
    let token: [(&str, &[u8]); 1] = [("token", b"pat")];
    let status = |genre: &str, state: &str| json!({"state": state, "description": "reconciliation succeeded", "context": {"genre": genre, "name": ID}});
    let list = |statuses: Value| ok(&json!({"value": statuses}));
    for (answer, posts) in [
        // NC-AZUREDEVOPS-007
        (
            list(json!([
                status("other", "error"),
                status("fluxcd:S", "succeeded")
            ])),
            0,
        ),
        (
            list(json!([
                status("fluxcd:S", "error"),
                status("fluxcd:S", "succeeded")
            ])),
            1,
        ),
        (list(json!([])), 1),
    ] {
        let service = Service::start(vec![answer, (201, vec![], "{}".to_owned())]).await;
        let address = format!("{}/org/my%20proj/_git/repo", service.url);
        assert_eq!(
            post("azuredevops", &address, &token, &event("info")).await,
            None
        );
        let got = service.got();
        assert_eq!(got.len(), 1 + posts);
        let statuses =
            format!("/org/my%20proj/_apis/git/repositories/repo/commits/{HASH}/statuses");
        assert_eq!(got[0].line, format!("GET {statuses}"));
        // NC-AZUREDEVOPS-002, NC-AZUREDEVOPS-004
        for got in &got {
            assert_eq!(got.header("authorization"), "Basic OnBhdA==");
            assert_eq!(got.header("accept"), "application/json;api-version=6.0");
            assert_eq!(got.header("x-tfs-fedauthredirect"), "Suppress");
            assert_eq!(got.header("x-tfs-session").len(), 36);
        }
        if posts == 1 {
            // NC-AZUREDEVOPS-005, NC-AZUREDEVOPS-006
            assert_eq!(got[1].line, format!("POST {statuses}"));
            assert_eq!(got[1].json(), status("fluxcd:S", "succeeded"));
        }
    }
    // NC-AZUREDEVOPS-001
    let error = post("azuredevops", "https://h/o/r", &token, &event("info")).await;
    assert_eq!(error.unwrap(), "invalid repository id \"o/r\"");
}

/// Sets a status on Bitbucket; the error's text, or nothing.
async fn post_to_bitbucket(api: &str, token: &[u8], event: &Event) -> Option<String> {
    let spec = json!({"address": "https://bitbucket.org/acme/app.git"});
    let settings = settings("bitbucket", &spec, &[("token", token)]).with_status(ID.into(), false);
    let job = match crate::provider::bitbucket::status_at(api, &settings, event) {
        Ok(job) => job.unwrap().unwrap(),
        Err(error) => return Some(error.to_string()),
    };
    let sent = job.run(&sender(&settings), deadline()).await;
    sent.err().map(|error| error.to_string())
}

#[tokio::test]
async fn bitbucket_statuses_are_set_once() {
    use sha1::Digest as _;
    let key = hex::encode(sha1::Sha1::digest(ID));
    let same = json!({"state": "FAILED", "description": "reconciliation succeeded"});
    let other = json!({"state": "FAILED", "description": "another"});
    let absent = (404, vec![], String::new());
    for (answer, posts) in [(ok(&same), 0), (ok(&other), 1), (absent, 1)] {
        let service = Service::start(vec![answer, (201, vec![], "{}".to_owned())]).await;
        let api = format!("{}/2.0/", service.url);
        assert_eq!(
            post_to_bitbucket(&api, b"u:p\n", &event("error")).await,
            None
        );
        let got = service.got();
        assert_eq!(got.len(), 1 + posts);
        let statuses = format!("/2.0/repositories/acme/app/commit/{HASH}/statuses/build");
        // NC-BITBUCKET-004
        assert_eq!(got[0].line, format!("GET {statuses}/{key}"));
        // NC-BITBUCKET-001
        assert_eq!(got[0].header("authorization"), "Basic dTpw");
        if posts == 1 {
            // NC-BITBUCKET-003, NC-BITBUCKET-005
            assert_eq!(got[1].line, format!("POST {statuses}"));
            assert_eq!(got[1].header("authorization"), "Basic dTpw");
            let want = json!({
                "key": key, "url": "https://bitbucket.org", "state": "FAILED", "name": "kustomization/web",
                "description": "reconciliation succeeded",
            });
            assert_eq!(got[1].json(), want);
        }
    }
    let service = Service::start(vec![(403, vec![], "no".to_owned())]).await;
    let error = post_to_bitbucket(&service.url, b"u:p", &event("info")).await;
    assert!(error.unwrap().starts_with("could not get commit status: "));
    // NC-BITBUCKET-006
    let error = post_to_bitbucket(&service.url, b"u:a:b", &event("info")).await;
    assert_eq!(
        error.unwrap(),
        "invalid token format, expected to be <user>:<password>"
    );
    let service = Service::start(vec![
        (404, vec![], String::new()),
        (201, vec![], "{}".to_owned()),
    ])
    .await;
    let error = post_to_bitbucket(&service.url, b"me@example.com:t0ken", &event("info")).await;
    assert_eq!(error, None);
    let error = post_to_bitbucket(&service.url, b"u", &event("info")).await;
    assert_eq!(
        error.unwrap(),
        "invalid token format, expected to be <user>:<password>"
    );
}
