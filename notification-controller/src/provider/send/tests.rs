//! The sender against a service that answers as services do.

use serde_json::json;

use super::*;
use crate::provider::settings::tests::settings;
use crate::provider::tests::service::{Answer, Service};

fn sender() -> Sender {
    let settings = settings("slack", &json!({}), &[]);
    Sender::new(&settings).unwrap().pausing(Duration::ZERO)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

fn answers(codes: &[u16]) -> Vec<Answer> {
    codes
        .iter()
        .map(|code| (*code, vec![], "text".to_owned()))
        .collect()
}

async fn sent(service: &Service) -> Result<(), String> {
    let call = Call::post(
        format!("{}/hook?token=s3cret", service.url),
        &json!({"a": "<"}),
    );
    let sent = sender().send(&call, soon()).await;
    sent.map_err(|error| error.to_string())
}

#[tokio::test]
async fn any_2xx_is_success() {
    // NC-HTTP-002
    for code in [200, 201, 202, 204] {
        let service = Service::start(answers(&[code])).await;
        assert_eq!(sent(&service).await, Ok(()), "{code}");
        let got = service.got();
        assert_eq!(got.len(), 1);
        // NC-HTTP-001
        assert_eq!(got[0].line, "POST /hook?token=s3cret");
        assert_eq!(got[0].header("content-type"), "application/json");
        assert_eq!(got[0].header("user-agent"), "Go-http-client/1.1");
        assert_eq!(got[0].body, "{\"a\":\"\\u003c\"}");
    }
}

#[tokio::test]
async fn refusals_quote_the_service_and_are_final() {
    // NC-HTTP-003, NC-HTTP-005
    for code in [400, 401, 404, 413, 422, 501] {
        let service = Service::start(answers(&[code])).await;
        assert_eq!(
            sent(&service).await.unwrap_err(),
            format!(
                "postMessage failed: request failed: request failed with status code {code}: text"
            )
        );
        assert_eq!(service.got().len(), 1, "{code}");
    }
}

#[tokio::test]
async fn overload_and_lost_connections_are_retried() {
    // NC-HTTP-004, FR-N-014
    for code in [429, 500, 502, 503, 0] {
        let service = Service::start(answers(&[code, code, 200])).await;
        assert_eq!(sent(&service).await, Ok(()), "{code}");
        assert_eq!(service.got().len(), 3, "{code}");
    }
    // NC-HTTP-007: the query may hold a token
    let service = Service::start(answers(&[503])).await;
    let url = format!("{}/hook?token=***", service.url);
    assert_eq!(
        sent(&service).await.unwrap_err(),
        format!(
            "postMessage failed: failed to execute request: POST {url} giving up after 5 attempt(s)"
        )
    );
    assert_eq!(service.got().len(), 5);
}

#[tokio::test]
async fn retry_after_is_obeyed_up_to_the_deadline() {
    // NC-HTTP-004, NC-HTTP-006
    let wait = |value: &str| vec![("retry-after", value.to_owned())];
    let service = Service::start(vec![
        (429, wait("0"), String::new()),
        (200, vec![], String::new()),
    ])
    .await;
    assert_eq!(sent(&service).await, Ok(()));
    let past = "Sun, 06 Nov 1994 08:49:37 GMT";
    let service = Service::start(vec![
        (503, wait(past), String::new()),
        (200, vec![], String::new()),
    ])
    .await;
    assert_eq!(sent(&service).await, Ok(()));
    let service = Service::start(vec![(429, wait("3600"), String::new())]).await;
    let call = Call::post(&service.url, &json!({}));
    let deadline = Instant::now() + Duration::from_secs(2);
    let error = sender().send(&call, deadline).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "postMessage failed: failed to execute request: context deadline exceeded"
    );
    assert_eq!(service.got().len(), 1);
}

#[tokio::test]
async fn a_service_that_hangs_is_given_up_at_the_deadline() {
    // NC-EVT-051, NC-HTTP-006, FR-N-022
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let call = Call::post(&url, &json!({}));
    let deadline = Instant::now() + Duration::from_millis(50);
    let error = sender().send(&call, deadline).await.unwrap_err();
    let text = format!(
        "postMessage failed: failed to execute request: POST {url} giving up after 1 attempt(s): context deadline exceeded"
    );
    assert_eq!(error.to_string(), text);
}

#[tokio::test]
async fn redirects_that_keep_the_method_send_the_body_again() {
    // NC-HTTP-008
    let target = Service::willing().await;
    for code in [307, 308] {
        let to = vec![("location", format!("{}/there", target.url))];
        let service = Service::start(vec![(code, to, String::new())]).await;
        assert_eq!(sent(&service).await, Ok(()));
    }
    let got = target.got();
    assert_eq!(target.lines(), ["POST /there", "POST /there"]);
    assert!(got.iter().all(|got| got.body == "{\"a\":\"\\u003c\"}"));
}

#[tokio::test]
async fn what_cannot_be_sent_is_tried_once() {
    // NC-HTTP-005
    let relative = Call::post("/path", &json!({}));
    let error = sender()
        .send(&relative, soon())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("giving up after 1 attempt(s): unsupported protocol scheme"),
        "{error}"
    );
    // NC-PROV-023
    let service = Service::willing().await;
    let call = Call::post(&service.url, &json!({})).header("Authorization", "a\nb");
    let error = sender().send(&call, soon()).await.unwrap_err().to_string();
    assert!(
        error.ends_with("net/http: invalid header field value for \"Authorization\""),
        "{error}"
    );
    assert!(service.got().is_empty());
}

#[tokio::test]
async fn slacks_api_says_no_in_a_good_response() {
    // NC-SLACK-005, FR-N-014
    for (status, body, want) in [
        (200, r#"{"ok":true,"warning":"w"}"#, Ok(())),
        (
            200,
            r#"{"ok":false,"error":"not_in_channel"}"#,
            Err("postMessage failed: request failed: Slack responded with error: not_in_channel"),
        ),
        (
            400,
            "no json",
            Err(
                "postMessage failed: request failed: unable to unmarshal response body: it is not JSON",
            ),
        ),
    ] {
        let service = Service::start(vec![(status, vec![], body.to_owned())]).await;
        let mut call = Call::post(&service.url, &json!({}));
        call.accepts = Accepts::SlackApi;
        let sent = sender()
            .send(&call, soon())
            .await
            .map_err(|error| error.to_string());
        assert_eq!(sent, want.map_err(str::to_owned));
    }
}

#[test]
fn nothing_of_a_request_shows_in_debug() {
    let call = Call::post("https://h/s3cret", &json!({"a": "s3cret"})).header("a", "s3cret");
    assert!(!format!("{call:?}").contains("s3cret"));
}
