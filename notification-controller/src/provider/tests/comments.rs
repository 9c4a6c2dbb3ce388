//! Comments on change requests.

use super::*;

/// An event about a pull request.
fn of_request(number: &str) -> Event {
    let mut event = event("error");
    event
        .metadata
        .insert("change_request".to_owned(), number.to_owned());
    event
}

/// A code host, and its requests.
struct Host {
    kind: &'static str,
    prefix: &'static str,
    /// What is asked before anything is written.
    before: &'static [&'static str],
    own: Value,
    author: fn(&str) -> Value,
    list: &'static str,
    create: &'static str,
    update: &'static str,
    authorization: (&'static str, &'static str),
}

#[tokio::test]
async fn comments_are_written_once_and_then_replaced() {
    let token: [(&str, &[u8]); 1] = [("token", b"t")];
    let object = "0c9c2e41-d2f9-4f9b/Kustomization/apps/web";
    let text = |prefix: &str| {
        // NC-GITHUBPULLREQUESTCOMMENT-002, NC-PROV-080
        format!(
            "<!-- {prefix}:{object} -->\n\n## Flux Status\n\n⚠️ Kustomization/apps/web\n\napplied <a>\nsecond line\n\nMetadata:\n* `revision`: {}\n* `summary`: S\n",
            revision()
        )
    };
    for host in [
        // NC-GITHUBPULLREQUESTCOMMENT-003, NC-GITHUBPULLREQUESTCOMMENT-004
        Host {
            kind: "githubpullrequestcomment",
            prefix: "flux-pr-comment-key",
            before: &["GET /api/v3/user"],
            own: json!({"login": "bot"}),
            author: |name| json!({"login": name}),
            list: "GET /api/v3/repos/o/r/issues/7/comments?direction=asc&per_page=100&sort=created",
            create: "POST /api/v3/repos/o/r/issues/7/comments",
            update: "PATCH /api/v3/repos/o/r/issues/comments/12",
            authorization: ("authorization", "Bearer t"),
        },
        // NC-GITEAPULLREQUESTCOMMENT-001, NC-GITEAPULLREQUESTCOMMENT-002
        Host {
            kind: "giteapullrequestcomment",
            prefix: "flux-pr-comment-key",
            before: &["GET /api/v1/version", "GET /api/v1/user"],
            own: json!({"login": "bot", "version": "1.25.0"}),
            author: |name| json!({"login": name}),
            list: "GET /api/v1/repos/o/r/issues/7/comments?page=1&limit=100",
            create: "POST /api/v1/repos/o/r/issues/7/comments",
            update: "PATCH /api/v1/repos/o/r/issues/comments/12",
            authorization: ("authorization", "token t"),
        },
        // NC-GITLABMERGEREQUESTCOMMENT-001, NC-GITLABMERGEREQUESTCOMMENT-002, NC-GITLABMERGEREQUESTCOMMENT-003
        Host {
            kind: "gitlabmergerequestcomment",
            prefix: "flux-mr-comment-key",
            before: &["GET /api/v4/user"],
            own: json!({"username": "bot"}),
            author: |name| json!({"username": name}),
            list: "GET /api/v4/projects/o%2Fr/merge_requests/7/notes?order_by=created_at&per_page=100&sort=asc",
            create: "POST /api/v4/projects/o%2Fr/merge_requests/7/notes",
            update: "PUT /api/v4/projects/o%2Fr/merge_requests/7/notes/12",
            authorization: ("private-token", "t"),
        },
    ] {
        let marker = format!("<!-- {}:{object} -->", host.prefix);
        let comment = |id: u64, author: &str, body: &str| json!({"id": id, "user": (host.author)(author), "author": (host.author)(author), "body": body});
        let foreign = comment(10, "human", &marker);
        let other = comment(11, "bot", "<!-- another -->");
        let own = comment(12, "bot", &format!("{marker}\n\nold"));
        for (comments, want) in [
            (json!([foreign, other]), host.create),
            (json!([foreign, other, own]), host.update),
        ] {
            let mut answers = vec![ok(&host.own); host.before.len()];
            answers.extend([ok(&comments), (201, vec![], "{}".to_owned())]);
            let service = Service::start(answers).await;
            let address = format!("{}/o/r", service.url);
            assert_eq!(
                post(host.kind, &address, &token, &of_request("7")).await,
                None
            );
            let mut lines = host.before.to_vec();
            lines.extend([host.list, want]);
            assert_eq!(service.lines(), lines);
            let got = service.got();
            assert!(
                got.iter()
                    .all(|got| got.header(host.authorization.0) == host.authorization.1)
            );
            assert_eq!(
                got[got.len() - 1].json(),
                json!({"body": text(host.prefix)})
            );
        }
        // NC-GITHUBPULLREQUESTCOMMENT-001
        let mut answers = vec![ok(&host.own); host.before.len()];
        answers.push(ok(&json!([])));
        let service = Service::start(answers).await;
        let address = format!("{}/o/r", service.url);
        let error = post(host.kind, &address, &token, &event("error")).await;
        assert_eq!(error.unwrap(), "missing \"change_request\" metadata key");
        let error = post(host.kind, &address, &token, &of_request("x")).await;
        assert!(
            error
                .unwrap()
                .starts_with("invalid \"change_request\" metadata value \"x\": ")
        );
        let down = Service::start(vec![(403, vec![], String::new())]).await;
        let error = post(
            host.kind,
            &format!("{}/o/r", down.url),
            &token,
            &of_request("7"),
        )
        .await;
        let error = error.unwrap();
        assert!(error.starts_with("failed "), "{error}");
    }
}
