//! Watches of a scripted server.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::body::Body;
use futures::stream::{self, StreamExt as _};
use http::{Request, Response};
use serde_json::{Value, json};

use super::table::tests::seen;
use super::*;

/// What the server does with a request. After the last of them it never answers.
enum Answer {
    /// A list of objects with these uids and versions.
    List(&'static [(&'static str, &'static str)]),
    /// A watch with these events, which stays open.
    Open(Vec<Value>),
    /// A watch that ends behind these events.
    Cut(Vec<Value>),
    Refused(u16),
}

fn object(uid: &str, version: &str) -> Value {
    json!({"metadata": {"uid": uid, "resourceVersion": version, "labels": seen(uid, version, "app").labels}})
}

fn event(kind: &str, uid: &str, version: &str) -> Value {
    json!({"type": kind, "object": object(uid, version)})
}

/// A cluster whose server answers in this order, and what it was asked.
fn server(answers: impl IntoIterator<Item = Answer>) -> (Cluster, Arc<Mutex<Vec<&'static str>>>) {
    let answers = Mutex::new(answers.into_iter().collect::<VecDeque<_>>());
    let asked = Arc::<Mutex<Vec<&'static str>>>::default();
    let log = asked.clone();
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        let query = request.uri().query().unwrap_or_default();
        let is_watch = query.contains("watch=");
        assert!(query.contains("labelSelector=kustomize.toolkit.fluxcd.io%2Fname"));
        let what = if is_watch { "watch" } else { "list" };
        log.lock().unwrap().push(what);
        let answer = answers.lock().unwrap().pop_front();
        async move {
            let lines = |events: Vec<Value>| {
                let lines = events.into_iter().map(|event| Ok(format!("{event}\n")));
                stream::iter(lines.collect::<Vec<Result<String, Infallible>>>())
            };
            let (code, body) = match answer {
                None => return std::future::pending().await,
                Some(Answer::List(objects)) => {
                    let items: Vec<Value> = objects
                        .iter()
                        .map(|(uid, version)| object(uid, version))
                        .collect();
                    let list = json!({"metadata": {"resourceVersion": "9"}, "items": items});
                    (200, Body::from(list.to_string()))
                }
                Some(Answer::Open(events)) => {
                    let open = lines(events).chain(stream::pending());
                    (200, Body::from_stream(open))
                }
                Some(Answer::Cut(events)) => (200, Body::from_stream(lines(events))),
                Some(Answer::Refused(code)) => {
                    let status = json!({"kind": "Status", "code": code, "message": "no", "reason": "No", "status": "Failure"});
                    (code, Body::from(status.to_string()))
                }
            };
            Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
        }
    });
    let client = kube::Client::new(service, "default");
    (Cluster::new(client, "test"), asked)
}

/// Drift is what has not the version 1.
struct First;

impl Known for First {
    fn drift(&self, _: &Key, uid: Uid, now: Option<&Live>) -> Drift {
        let first = now.is_some_and(|now| now.resource_version() == Some(1));
        if first {
            Drift::None
        } else {
            Drift::Of(flux_cluster::ObjectId {
                name: format!("{uid:?}"),
                ..flux_cluster::ObjectId::default()
            })
        }
    }
}

struct Bench {
    watches: Watches,
    asked: Arc<Mutex<Vec<&'static str>>>,
    enqueued: Arc<Mutex<Vec<Key>>>,
    _stop: tokio_util::sync::DropGuard,
}

impl Bench {
    fn new(at_once: bool, answers: impl IntoIterator<Item = Answer>) -> Self {
        let (cluster, asked) = server(answers);
        let watches = Watches::with(cluster, Budget::new(1 << 20), at_once);
        let stop = CancellationToken::new();
        let enqueued = Arc::<Mutex<Vec<Key>>>::default();
        let queue = enqueued.clone();
        let enqueue = move |key| queue.lock().unwrap().push(key);
        tokio::spawn(watches.clone().run(First, enqueue, stop.clone()));
        Self {
            watches,
            asked,
            enqueued,
            _stop: stop.drop_guard(),
        }
    }

    /// What a run that has no new work is told of objects with these uids.
    fn states(&self, uids: &[&str]) -> Option<Vec<Option<Live>>> {
        self.states_for(uids, false)
    }

    fn states_for(&self, uids: &[&str], eager: bool) -> Option<Vec<Option<Live>>> {
        let look = Look {
            owner: Key::new("flux", "app"),
            interval: Duration::from_mins(1),
            own: true,
            eager,
        };
        let uids: Vec<Uid> = uids.iter().map(|uid| Uid::of(uid)).collect();
        self.watches.look(look)?.states(&config_maps(), &uids)
    }

    fn asked(&self) -> String {
        std::mem::take(&mut *self.asked.lock().unwrap()).join(" ")
    }
}

/// Lets everything happen that needs no time.
async fn run_what_is_ready() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

fn config_maps() -> Resource {
    Resource {
        group: String::new(),
        version: "v1".into(),
        kind: "ConfigMap".into(),
        plural: "configmaps".into(),
        namespaced: true,
    }
}

fn live(uid: &str, version: &str) -> Live {
    seen(uid, version, "app").live
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_looked_at_often_is_watched_until_it_no_longer_is() {
    let changes = vec![
        event("MODIFIED", "a", "2"),
        event("ADDED", "b", "3"),
        event("DELETED", "c", "4"),
        json!({"type": "BOOKMARK", "object": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"resourceVersion": "5"}}}),
    ];
    let answers = [
        Answer::List(&[("a", "1"), ("c", "1")]),
        Answer::Open(changes),
    ];
    let bench = Bench::new(false, answers);
    assert_eq!(bench.states(&["a"]), None);
    run_what_is_ready().await;
    assert_eq!(bench.asked(), "");
    tokio::time::advance(OFTEN).await;
    assert_eq!(bench.states(&["a"]), None);
    run_what_is_ready().await;
    assert_eq!(bench.asked(), "", "it is looked at too seldom");

    assert_eq!(bench.states(&["a"]), None);
    run_what_is_ready().await;
    assert_eq!(bench.asked(), "list watch");
    let states = bench.states(&["a", "b", "c"]);
    assert_eq!(
        states,
        Some(vec![Some(live("a", "2")), Some(live("b", "3")), None])
    );
    assert_eq!(*bench.enqueued.lock().unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_no_run_asks_for_is_not_watched_anew() {
    let answers = [Answer::List(&[]), Answer::Cut(Vec::new())];
    let bench = Bench::new(false, answers);
    for _ in 0..2 {
        bench.states(&["a"]);
    }
    let begun = |bench: &Bench| bench.watches.0.kinds().len();
    assert_eq!(begun(&bench), 1);
    // The task begins late.
    tokio::time::advance(KEPT + Duration::from_secs(1)).await;
    run_what_is_ready().await;
    assert_eq!((&*bench.asked(), begun(&bench)), ("list", 0));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_was_cut_is_not_trusted_until_it_is_listed_again() {
    let answers = [
        Answer::List(&[("a", "1")]),
        Answer::Cut(Vec::new()),
        Answer::Refused(500),
        Answer::List(&[("a", "7")]),
        Answer::Open(vec![
            json!({"type": "ERROR", "object": {"code": 410, "message": "too old", "reason": "Expired", "status": "Failure"}}),
        ]),
        Answer::List(&[("a", "8")]),
        Answer::Open(Vec::new()),
    ];
    let bench = Bench::new(false, answers);
    for _ in 0..2 {
        bench.states(&["a"]);
    }
    run_what_is_ready().await;
    assert_eq!(bench.asked(), "list watch");
    assert_eq!(bench.states(&["a"]), None);
    tokio::time::advance(Duration::from_secs(1)).await;
    run_what_is_ready().await;
    assert_eq!((bench.asked(), bench.states(&["a"])), ("list".into(), None));
    tokio::time::advance(Duration::from_secs(2)).await;
    run_what_is_ready().await;
    assert_eq!(bench.asked(), "list watch list watch");
    assert_eq!(bench.states(&["a"]), Some(vec![Some(live("a", "8"))]));
    // Nothing comes, not even a bookmark.
    tokio::time::advance(Duration::from_secs(151)).await;
    run_what_is_ready().await;
    assert_eq!(bench.states(&["a"]), None);
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_cannot_be_watched_is_tried_again_later() {
    for (code, pause) in [(403, 60 * 60), (405, 60 * 60), (404, 10)] {
        for answers in [
            vec![Answer::Refused(code)],
            vec![Answer::List(&[("a", "1")]), Answer::Refused(code)],
        ] {
            let count = answers.len();
            let bench = Bench::new(false, answers);
            for _ in 0..3 {
                bench.states(&["a"]);
                run_what_is_ready().await;
            }
            assert_eq!(bench.asked.lock().unwrap().len(), count, "{code}");
            assert_eq!(bench.states(&["a"]), None);
            tokio::time::advance(Duration::from_secs(pause)).await;
            for _ in 0..2 {
                assert_eq!(bench.states(&["a"]), None);
                run_what_is_ready().await;
            }
            assert_eq!(bench.asked.lock().unwrap().len(), count + 1, "{code}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn kinds_and_memory_are_bounded() {
    const MANY: [(&str, &str); 1] = [("a", "1")];
    let bench = Bench::new(true, [Answer::List(&MANY), Answer::Open(Vec::new())]);
    bench.states(&["a"]);
    run_what_is_ready().await;
    assert_eq!(bench.states(&["a"]), Some(vec![Some(live("a", "1"))]));
    let shared = &bench.watches.0;
    let claim = shared.budgets[1].claim();
    let rest = shared.budgets[1].limit() - shared.budgets[1].used();
    claim.take(rest).unwrap();
    let full = Bench::new(true, [Answer::List(&MANY)]);
    let claim = full.watches.0.budgets[1].claim();
    claim.take(full.watches.0.budgets[1].limit()).unwrap();
    full.states(&["a"]);
    run_what_is_ready().await;
    assert_eq!(full.asked(), "list");
    assert!(matches!(
        full.watches.0.kinds().get(&config_maps()),
        Some(State::Refused(_))
    ));

    for number in 0..2 * KINDS {
        let plural = format!("kind{number}s");
        let resource = Resource {
            plural,
            ..config_maps()
        };
        assert!(shared.kind(&resource, KEPT).is_none());
    }
    let is_followed = |state: &&State| matches!(state, State::Followed(_));
    assert_eq!(shared.kinds().values().filter(is_followed).count(), KINDS);
}

#[tokio::test(start_paused = true)]
async fn drift_is_passed_on_where_that_is_wanted() {
    let answers = || {
        [
            Answer::List(&[("a", "1"), ("b", "2")]),
            Answer::Open(vec![
                event("MODIFIED", "a", "3"),
                event("DELETED", "b", "4"),
            ]),
        ]
    };
    let look = |own| Look {
        owner: Key::new("flux", "tenant"),
        interval: Duration::from_mins(1),
        own,
        eager: false,
    };
    for at_once in [true, false] {
        let bench = Bench::new(at_once, answers());
        // As a tenant nothing is known, but its kinds are followed.
        let tenant = bench.watches.look(look(false));
        assert_eq!(tenant.is_some(), at_once);
        if let Some(tenant) = tenant {
            tenant.states(&config_maps(), &[]);
            run_what_is_ready().await;
            assert_eq!(tenant.states(&config_maps(), &[]), None);
            assert!(bench.states(&["a"]).is_some());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let expected = if at_once { 2 } else { 0 };
        assert_eq!(bench.enqueued.lock().unwrap().len(), expected);
    }
}
