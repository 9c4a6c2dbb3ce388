//! What all requests for credentials have in common.

use std::time::Duration;

use clouds::Clouds;
use flux_cloud::{CallError, TIMEOUT, aws, gcp};
use flux_http::Proxy;

use crate::{SUBJECT, client, token, trusting};

const ROLE: &str = "arn:aws:iam::123456789012:role/puller";
const STS: aws::Sts<'_> = aws::Sts {
    region: "eu-west-1",
    endpoint: None,
};
const HOST: &str = "sts.eu-west-1.amazonaws.com";

async fn exchange(clouds: &Clouds) -> Result<aws::Credentials, aws::Error> {
    let token = token(aws::AUDIENCE);
    let client = client(clouds, &[]);
    aws::assume_role_with_web_identity(&client, &STS, ROLE, "session", &token).await
}

// RT-WID-019, SC-AUTH-073
#[tokio::test]
async fn requests_go_through_the_proxy_and_time_out() {
    assert_eq!(TIMEOUT, Duration::from_secs(10));
    let clouds = Clouds::start();
    clouds.trust(ROLE, aws::AUDIENCE, SUBJECT);
    exchange(&clouds).await.unwrap();
    assert_eq!(clouds.proxy().destinations(), [format!("{HOST}:443")]);
    // The key of the cache tells proxies apart.
    let own = client(&clouds, &[]);
    let none = trusting(&clouds, &Proxy::None);
    assert!(none.proxy_key().is_empty() && own.proxy_key() != none.proxy_key());
}

#[tokio::test]
async fn a_busy_service_is_asked_again_and_a_refusal_is_final() {
    let clouds = Clouds::start();
    clouds.trust(ROLE, aws::AUDIENCE, SUBJECT);
    clouds.answer(HOST, 503, "");
    clouds.answer(HOST, 429, "");
    exchange(&clouds).await.unwrap();
    assert_eq!(clouds.to(HOST).len(), 3);
    clouds.clear_requests();
    clouds.answer(HOST, 403, "");
    assert!(exchange(&clouds).await.is_err());
    assert_eq!(clouds.to(HOST).len(), 1);
}

#[tokio::test]
async fn no_redirect_is_followed_and_no_answer_is_shown() {
    let clouds = Clouds::start();
    clouds.answer(HOST, 307, "");
    let refused = exchange(&clouds).await.unwrap_err();
    let aws::Error::Operation { cause, .. } = &refused else {
        panic!("{refused}");
    };
    assert_eq!(cause.status().map(|status| status.as_u16()), Some(307));

    let token = token("audience");
    let federation = gcp::Federation {
        audience: "audience",
        token: &token,
        email: None,
    };
    let client = client(&clouds, &[]);
    // A refusal that repeats the token, and a response that is not what it should be.
    let repeated = format!(
        r#"{{"error": "e", "error_description": "{}"}}"#,
        token.expose_text()
    );
    for (status, body, said) in [
        (400, repeated.as_str(), "400 Bad Request"),
        (
            200,
            r#"{"access_token": s3cret}"#,
            "the answer is not what the API documents (line 1, column 18)",
        ),
        (
            200,
            r#"{"access_token": ""}"#,
            "the answer has no access_token",
        ),
    ] {
        clouds.answer("sts.googleapis.com", status, body);
        let error = gcp::federated_token(&client, &federation)
            .await
            .unwrap_err();
        let text = flux_errors::chain(&error).to_string();
        assert!(text.ends_with(said), "{text}");
        let all = format!("{text} {error:?}");
        assert!(
            !all.contains("s3cret") && !all.contains(&*token.expose_text()),
            "{all}"
        );
        assert!(matches!(
            error,
            gcp::Error::Exchange(CallError::Refused { .. } | CallError::Answer { .. })
        ));
    }
}
