//! Tests of leader election.

use std::sync::{Arc, Mutex};

use super::*;
use crate::logging::tests::logged;

fn election() -> Election {
    Election {
        namespace: "flux-system".into(),
        name: "x".into(),
        identity: "pod_1".into(),
        lease: Duration::from_secs(35),
        renew_deadline: Duration::from_secs(30),
        retry: Duration::from_secs(5),
        release: true,
    }
}

fn held(holder: &str) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(holder.to_owned()),
        lease_transitions: Some(3),
        acquire_time: Some(MicroTime(Timestamp::UNIX_EPOCH)),
        ..LeaseSpec::default()
    }
}

#[test]
fn lease_names_match_upstream() {
    // RT-LED-002, SC-PROC-044, KC-PROC-047
    assert_eq!(
        lease_name("kustomize-controller", ""),
        "kustomize-controller-leader-election"
    );
    // RT-LED-003: printf %s 'sharding.fluxcd.io/key=shard1' | sha256sum
    let sharded = lease_name("kustomize-controller", "sharding.fluxcd.io/key=shard1");
    assert_eq!(sharded, "kustomize-controller-leader-election-73fdc1be");
}

#[test]
fn lease_renew_and_retry_times_must_be_consistent() {
    // KC-PROC-018
    let said = |lease: u64, deadline: u64, retry: u64| {
        let election = Election {
            lease: Duration::from_secs(lease),
            renew_deadline: Duration::from_secs(deadline),
            retry: Duration::from_secs(retry),
            ..election()
        };
        election.check().err().map(|error| error.to_string())
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(said(35, 30, 5), None);
    assert_eq!(
        said(30, 30, 5),
        some("leaseDuration must be greater than renewDeadline")
    );
    let hasty = some("renewDeadline must be greater than retryPeriod*JitterFactor");
    assert_eq!(said(35, 30, 25), hasty);
    assert_eq!(said(35, 0, 0), hasty);
    assert_eq!(
        said(35, 30, 0),
        some("retryPeriod must be greater than zero")
    );
}

#[test]
fn a_lease_is_acquired_if_free_ours_or_expired() {
    // RT-LED-004, RT-LED-005
    let now = Timestamp::from_second(100).unwrap();
    let claim = |current: Option<&LeaseSpec>, expired| election().claim(current, expired, now);
    assert_eq!(claim(Some(&held("other")), false), Claim::Theirs);
    let transitions = |claim: Claim| match claim {
        Claim::Write(spec) => {
            assert_eq!(spec.lease_duration_seconds, Some(35));
            assert_eq!(spec.holder_identity.as_deref(), Some("pod_1"));
            (spec.lease_transitions, spec.acquire_time.map(|time| time.0))
        }
        Claim::Theirs => panic!("not claimed"),
    };
    assert_eq!(transitions(claim(None, false)), (Some(0), Some(now)));
    assert_eq!(
        transitions(claim(Some(&held("pod_1")), false)),
        (Some(3), Some(Timestamp::UNIX_EPOCH))
    );
    assert_eq!(
        transitions(claim(Some(&held("other")), true)),
        (Some(4), Some(now))
    );
    assert_eq!(
        transitions(claim(Some(&held("")), false)),
        (Some(4), Some(now))
    );
}

/// A client of an API server that has no Lease, accepts the first one, and then answers as `renewals` say; further
/// renewals hang.
fn api(renewals: Vec<u16>) -> Client {
    let renewals = std::sync::Arc::new(std::sync::Mutex::new(renewals.into_iter()));
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let renewals = renewals.clone();
        async move {
            let method = request.method().clone();
            let body = request.into_body().collect_bytes().await.unwrap();
            let code = match method {
                http::Method::GET => 404,
                http::Method::PUT => {
                    let next = renewals.lock().unwrap().next();
                    match next {
                        Some(code) => code,
                        None => std::future::pending().await,
                    }
                }
                _ => 201,
            };
            let body = if code >= 400 {
                let status = serde_json::json!({
                    "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
                    "reason": if code == 404 { "NotFound" } else { "" }, "message": "no",
                });
                status.to_string().into_bytes()
            } else {
                body.to_vec()
            };
            let answer = http::Response::builder().status(code);
            Ok::<_, std::convert::Infallible>(answer.body(kube::client::Body::from(body)).unwrap())
        }
    });
    Client::new(service, "default")
}

/// How long a leader leads whose renewals are answered like this.
async fn term(election: Election, renewals: Vec<u16>) -> Duration {
    let client = api(renewals);
    let recorder = Recorder::new(client.clone(), "c", "p".into(), None).unwrap();
    let metrics = Metrics::new().unwrap();
    let stop = CancellationToken::new();
    let leadership = election.acquire(client, recorder, metrics, &stop).await;
    let started = Instant::now();
    assert!(!leadership.unwrap().renew(&stop).await);
    started.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_leader_with_a_hanging_api_server_stops_before_its_lease_expires() {
    // RT-LED-008
    let deadline = election().renew_deadline;
    assert_eq!(term(election(), vec![]).await, deadline);
    // Neither refusals nor an attempt that begins just before it extend it.
    assert_eq!(term(election(), vec![500; 100]).await, deadline);
    let odd = Election {
        retry: Duration::from_secs(7),
        ..election()
    };
    assert_eq!(term(odd.clone(), vec![500, 500, 500]).await, deadline);
    // It counts from the last renewal.
    assert_eq!(
        term(odd.clone(), vec![200, 200]).await,
        odd.retry * 2 + deadline
    );
}

/// An API server with one Lease, which records its requests and answers.
#[derive(Clone, Default)]
struct Store(Arc<Mutex<Stored>>);

#[derive(Default)]
struct Stored {
    lease: Option<Lease>,
    version: u64,
    asked: Vec<String>,
}

impl Store {
    /// As when a user writes an annotation.
    fn touch(&self) {
        self.0.lock().unwrap().version += 1;
    }

    fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap().asked.clone()
    }

    fn client(&self) -> Client {
        let store = self.clone();
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let store = store.clone();
            async move {
                if !request.uri().path().contains("/leases") {
                    return std::future::pending().await; // an event
                }
                let method = request.method().clone();
                let body = request.into_body().collect_bytes().await.unwrap();
                let (code, answer) = store.answer(&method, serde_json::from_slice(&body).ok());
                let mut response = http::Response::new(kube::client::Body::from(answer));
                *response.status_mut() = http::StatusCode::from_u16(code).unwrap();
                Ok::<_, std::convert::Infallible>(response)
            }
        });
        Client::new(service, "default")
    }

    fn answer(&self, method: &http::Method, written: Option<Lease>) -> (u16, Vec<u8>) {
        let mut stored = self.0.lock().unwrap();
        let version = |lease: &Lease| lease.metadata.resource_version.clone();
        let is_current =
            |lease: &Lease| version(lease).is_none_or(|known| known == stored.version.to_string());
        let (code, reason) = match &written {
            None if stored.lease.is_none() => (404, "NotFound"),
            Some(lease) if !is_current(lease) => (409, "Conflict"),
            _ => (200, ""),
        };
        stored.asked.push(format!("{method} {code}"));
        if let (200, Some(lease)) = (code, written) {
            stored.version += 1;
            stored.lease = Some(lease);
        }
        let version = stored.version.to_string();
        let answer = match &mut stored.lease {
            Some(lease) if code == 200 => {
                lease.metadata.resource_version = Some(version);
                serde_json::to_value(lease)
            }
            _ => Ok(serde_json::json!({
                "kind": "Status", "status": "Failure", "message": "no", "reason": reason, "code": code,
            })),
        };
        (code, answer.unwrap().to_string().into_bytes())
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_modified_by_others_is_read_again() {
    // RT-LED-005
    let store = Store::default();
    let client = store.client();
    let recorder = Recorder::new(client.clone(), "c", "p".into(), None).unwrap();
    let metrics = Metrics::new().unwrap();
    let stop = CancellationToken::new();
    let leadership = election().acquire(client, recorder, metrics, &stop).await;
    store.touch();
    let over = CancellationToken::new();
    let later = over.clone();
    tokio::spawn(async move {
        tokio::time::sleep(election().retry * 7 / 2).await;
        later.cancel();
    });
    assert!(leadership.unwrap().renew(&over).await);
    assert_eq!(
        store.asked(),
        [
            "GET 404", "POST 200", "PUT 409", "GET 200", "PUT 200", "PUT 200"
        ]
    );
}

#[test]
fn an_invalid_namespace_is_logged_and_nothing_leads() {
    let lines = logged("info", "json", || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let leadership = runtime.block_on(async {
            let client = api(vec![]);
            let recorder = Recorder::new(client.clone(), "c", "p".into(), None).unwrap();
            let election = Election {
                namespace: "a/b".into(),
                ..election()
            };
            let stop = CancellationToken::new();
            election
                .acquire(client, recorder, Metrics::new().unwrap(), &stop)
                .await
        });
        assert!(leadership.is_none());
    });
    let text = "unable to use the namespace of the Lease";
    let line = lines.iter().find(|line| line.contains(text));
    assert!(line.is_some_and(|line| line.contains("a/b")), "{lines:?}");
}

#[test]
fn the_duration_in_the_lease_is_rounded_up() {
    // RT-LED-005
    let seconds = |lease| {
        Election {
            lease,
            ..election()
        }
        .lease_seconds()
    };
    assert_eq!(seconds(Duration::from_secs(35)), 35);
    assert_eq!(seconds(Duration::from_millis(34_001)), 35);
    assert_eq!(seconds(Duration::MAX), i32::MAX);
}

#[tokio::test(start_paused = true)]
async fn a_contender_honours_the_duration_in_the_lease() {
    // RT-LED-008: the holder's Lease is valid for 60 s, the contender's for 35 s.
    let lease = |spec| Lease {
        metadata: ObjectMeta {
            resource_version: Some("1".into()),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
    };
    let theirs = lease(LeaseSpec {
        lease_duration_seconds: Some(60),
        ..held("other")
    });
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let theirs = serde_json::to_vec(&theirs).unwrap();
        async move {
            let body = match *request.method() {
                http::Method::GET => theirs,
                _ => request.into_body().collect_bytes().await.unwrap().to_vec(),
            };
            Ok::<_, std::convert::Infallible>(http::Response::new(kube::client::Body::from(body)))
        }
    });
    let client = Client::new(service, "default");
    let recorder = Recorder::new(client.clone(), "c", "p".into(), None).unwrap();
    let metrics = Metrics::new().unwrap();
    let started = Instant::now();
    let stop = CancellationToken::new();
    assert!(
        election()
            .acquire(client, recorder, metrics, &stop)
            .await
            .is_some()
    );
    let waited = started.elapsed();
    let slack = election().retry.mul_f64(2.2);
    assert!(
        waited > Duration::from_mins(1) && waited <= Duration::from_mins(1) + slack,
        "{waited:?}"
    );
}
