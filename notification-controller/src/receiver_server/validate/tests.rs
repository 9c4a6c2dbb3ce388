//! Requests as the senders make them.

use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderName, HeaderValue};
use sha1::Sha1;
use sha2::Sha256;

use super::*;

const TOKEN: &[u8] = b"t0ken";

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pairs = pairs.iter().map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        (name, HeaderValue::from_str(value).unwrap())
    });
    pairs.collect()
}

fn verdict(
    kind: &str,
    events: &[&str],
    pairs: &[(&str, &str)],
    body: &[u8],
) -> Result<Option<String>, String> {
    let headers = headers(pairs);
    let request = Request {
        headers: &headers,
        body,
    };
    let events: Vec<String> = events.iter().map(|event| (*event).to_owned()).collect();
    check(&T::from(kind), &events, TOKEN, &request).map_err(|error| chain(&error))
}

fn hmac<M: Mac + KeyInit>(body: &[u8]) -> String {
    let mut mac = <M as KeyInit>::new_from_slice(TOKEN).unwrap();
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

#[expect(clippy::unnecessary_wraps, reason = "it is compared with a verdict")]
fn said(text: &str) -> Result<Option<String>, String> {
    Ok(Some(text.to_owned()))
}

#[test]
fn generic_needs_nothing_and_generic_hmac_a_signature() {
    // NC-RECV-065, FR-N-056
    assert_eq!(verdict("generic", &["push"], &[], b""), Ok(None));
    // NC-RECV-066, FR-N-050
    for body in [&b"body"[..], b""] {
        let signature = format!("sha256={}", hmac::<Hmac<Sha256>>(body));
        assert_eq!(
            verdict("generic-hmac", &[], &[("X-Signature", &signature)], body),
            Ok(None)
        );
        let wrong = verdict(
            "generic-hmac",
            &[],
            &[("X-Signature", &signature)],
            b"other",
        );
        assert_eq!(
            wrong,
            Err("unable to validate HMAC signature: payload signature check failed".to_owned())
        );
    }
    assert!(verdict("generic-hmac", &[], &[], b"").is_err());
}

#[test]
fn github_and_bitbucket_sign_the_raw_body() {
    let json = ("Content-Type", "application/json");
    let body = br#"{"package":{"package_version":{"body":{}}}}"#;
    let sha256 = format!("sha256={}", hmac::<Hmac<Sha256>>(body));
    let sha1 = format!("sha1={}", hmac::<Hmac<Sha1>>(body));
    let newer = ("X-Hub-Signature-256", &*sha256);
    let older = ("X-Hub-Signature", &*sha1);
    for (kind, event, said_of) in [
        ("github", "X-GitHub-Event", "GitHub"),
        ("bitbucket", "X-Event-Key", "Bitbucket server"),
    ] {
        let push = (event, "Push");
        let line = said(&format!("handling {said_of} event: Push"));
        // NC-RECV-067, NC-RECV-072, FR-N-047
        assert_eq!(verdict(kind, &[], &[json, newer, push], body), line);
        assert_eq!(verdict(kind, &[], &[json, older, push], body), line);
        // NC-RECV-068, FR-N-046
        for media in [
            "application/json; charset=utf-8",
            "Application/JSON",
            "application/x-www-form-urlencoded",
        ] {
            assert_eq!(
                verdict(kind, &[], &[("Content-Type", media), newer, push], body),
                line,
                "{media}"
            );
        }
        for media in ["text/plain", ""] {
            assert!(verdict(kind, &[], &[("Content-Type", media), newer, push], body).is_err());
        }
        // NC-RECV-069
        assert_eq!(
            verdict(kind, &["ping", "PUSH"], &[json, newer, push], body),
            line
        );
        let refused = verdict(kind, &["ping"], &[json, newer, push], body);
        assert_eq!(
            refused,
            Err(format!("the {said_of} event \"Push\" is not authorised"))
        );
        assert!(verdict(kind, &[], &[json, newer, push], b"forged").is_err());
        assert!(verdict(kind, &[], &[json, push], body).is_err());
        let wrong = ("X-Hub-Signature-256", "sha256=00");
        assert!(verdict(kind, &[], &[json, wrong, older, push], body).is_err());
    }
}

#[test]
fn gitlab_and_harbor_present_the_token() {
    // NC-RECV-070
    let push = ("X-Gitlab-Event", "Push Hook");
    let token = ("X-Gitlab-Token", "t0ken");
    let line = said("handling GitLab event: Push Hook");
    assert_eq!(verdict("gitlab", &[], &[token, push], b"x"), line);
    assert_eq!(
        verdict("gitlab", &["push hook"], &[token, push], b"x"),
        line
    );
    assert!(verdict("gitlab", &["tag"], &[token, push], b"x").is_err());
    for wrong in ["t0keN", "", "t0ken2"] {
        assert!(verdict("gitlab", &[], &[("X-Gitlab-Token", wrong), push], b"x").is_err());
    }
    assert!(verdict("gitlab", &[], &[push], b"x").is_err());
    // NC-RECV-073
    let harbor = verdict("harbor", &[], &[("Authorization", "t0ken")], b"");
    assert_eq!(harbor, said("handling Harbor event"));
    assert!(verdict("harbor", &[], &[("Authorization", "Bearer t0ken")], b"").is_err());
}

#[test]
fn registries_send_json() {
    // NC-RECV-074
    let body = br#"{"push_data":{"tag":"v1"},"repository":{"repo_url":"https://hub/x"}} more"#;
    let line = said("handling DockerHub event from https://hub/x for tag v1");
    assert_eq!(verdict("dockerhub", &[], &[], body), line);
    assert_eq!(
        verdict("dockerhub", &[], &[], b"{}"),
        said("handling DockerHub event from  for tag ")
    );
    assert!(verdict("dockerhub", &[], &[], b"no").is_err());
    // NC-RECV-075, NC-RECV-078
    let quay = br#"{"docker_url":"quay.io/x","updated_tags":["latest"]}"#;
    assert_eq!(
        verdict("quay", &[], &[], quay),
        said("handling Quay event from quay.io/x")
    );
    assert!(verdict("quay", &[], &[], br#"{"updated_tags":"x"}"#).is_err());
    // NC-RECV-076
    let acr = br#"{"action":"push","target":{"repository":"r","tag":"v1"}}"#;
    assert_eq!(
        verdict("acr", &[], &[], acr),
        said("handling ACR event from r for tag v1")
    );
    assert!(verdict("acr", &[], &[], br#"{"target":[]}"#).is_err());
    // NC-RECV-077
    let nexus = br#"{"action":"CREATED","repositoryName":"npm"}"#;
    let signature = hmac::<Hmac<Sha1>>(nexus);
    let header = ("X-Nexus-Webhook-Signature", &*signature);
    assert_eq!(
        verdict("nexus", &[], &[header], nexus),
        said("handling Nexus event from npm")
    );
    assert_eq!(
        verdict("nexus", &[], &[], nexus),
        Err("the Nexus signature is missing from header".to_owned())
    );
    assert_eq!(
        verdict("nexus", &[], &[header], b"{}"),
        Err("invalid Nexus signature".to_owned())
    );
    let text = hmac::<Hmac<Sha1>>(b"text");
    assert!(
        verdict(
            "nexus",
            &[],
            &[("X-Nexus-Webhook-Signature", &text)],
            b"text"
        )
        .is_err()
    );
}

#[test]
fn cd_events_have_context_and_subject() {
    let good = serde_json::json!({
        "context": {
            "version": "0.4.1",
            "id": "271069a8-fc18-44f1-b38f-9d70a1695819",
            "source": "/event/source/123",
            "type": "dev.cdevents.change.merged.0.2.0",
            "timestamp": "2023-03-20T14:27:05.315384Z",
        },
        "subject": {"id": "mySubject123", "source": "/event/source/123", "type": "change", "content": {}},
    });
    let event = ("Ce-Type", "cd.change.merged.v1");
    let verdict_of = |body: &serde_json::Value, events: &[&str]| {
        verdict("cdevents", events, &[event], body.to_string().as_bytes())
    };
    // NC-RECV-082
    let line = said("handling CDEvent: cd.change.merged.v1");
    assert_eq!(verdict_of(&good, &[]), line);
    assert_eq!(verdict_of(&good, &["CD.change.merged.v1"]), line);
    assert!(verdict_of(&good, &["other"]).is_err());
    for (pointer, value) in [
        ("/context/version", ""),
        ("/context/id", ""),
        ("/context/type", "dev.other.change.merged.0.2.0"),
        ("/context/type", "dev.cdevents.change.merged"),
        ("/context/timestamp", "yesterday"),
        ("/subject/id", ""),
        ("/subject/content", "text"),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value.into();
        assert!(verdict_of(&bad, &[]).is_err(), "{pointer} {value}");
    }
    assert!(verdict("cdevents", &[], &[event], b"[]").is_err());
}
