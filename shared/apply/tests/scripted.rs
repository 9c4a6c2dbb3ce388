//! Responses that a real API server gives rarely or never.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flux_apply::{
    Memory, Options, PruneOptions, Watched, apply_in_stages, delete_all, inventory, parse,
};
use flux_cluster::{
    Cluster, Confidential, Live, ObjectId, Resource, Target, Uid, WaitOptions, wait_until_current,
};
use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// A response: a status code, a body, and a `Retry-After` in seconds.
type Answer = (u16, String, Option<u64>);

/// The server's response to a request; `None` if it never answers.
type Script = dyn FnMut(&Method, &str) -> Option<Answer> + Send;

/// A cluster whose server follows a script, and the requests that it received, `PATCH /api/v1/...`; that of a watch with its
/// query.
fn cluster(
    script: impl FnMut(&Method, &str) -> Option<Answer> + Send + 'static,
) -> (Cluster, Arc<Mutex<Vec<String>>>) {
    let script: Arc<Mutex<Box<Script>>> = Arc::new(Mutex::new(Box::new(script)));
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let log = asked.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (method, uri) = (request.method().clone(), request.uri());
        let watched = uri.query().filter(|query| query.contains("watch=true"));
        let path = match watched {
            Some(query) => format!("{}?{query}", uri.path()),
            None => uri.path().to_owned(),
        };
        log.lock().unwrap().push(format!("{method} {path}"));
        let answer = script.lock().unwrap()(&method, &path);
        async move {
            let Some((code, body, retry_after)) = answer else {
                return std::future::pending().await;
            };
            let mut response = Response::builder().status(code);
            if let Some(seconds) = retry_after {
                response = response.header("Retry-After", seconds);
            }
            Ok::<_, Infallible>(response.body(Body::from(body.into_bytes())).unwrap())
        }
    });
    (Cluster::new(Client::new(service, "default"), "test"), asked)
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "a script answers, or not at all: each arm gives an option"
)]
fn answer(code: u16, body: &Value) -> Option<Answer> {
    Some((code, body.to_string(), None))
}

fn refusal(code: u16, reason: &str, message: &str) -> Option<Answer> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message});
    answer(code, &status)
}

fn kinds() -> Option<Answer> {
    let kind = |plural: &str, kind: &str| json!({"name": plural, "singularName": "", "namespaced": true, "kind": kind, "verbs": []});
    let resources = [kind("configmaps", "ConfigMap"), kind("secrets", "Secret")];
    answer(
        200,
        &json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": resources}),
    )
}

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "n"}, "data": {"k": "v"}})
}

/// The stored object.
fn live(name: &str, version: u64) -> Value {
    let mut object = config_map(name);
    object["metadata"]["uid"] = json!(format!("uid-{version}"));
    object["metadata"]["resourceVersion"] = json!(version.to_string());
    object
}

/// A Job of this resource version, complete or running.
fn job(version: u64, is_complete: bool) -> Value {
    let condition = json!({"type": "Complete", "status": "True"});
    let conditions = Some(condition).filter(|_| is_complete).into_iter();
    json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "j", "namespace": "n", "uid": "u", "resourceVersion": version.to_string()},
        "status": {"startTime": "2026-01-01T00:00:00Z", "conditions": conditions.collect::<Vec<Value>>()}})
}

/// Waits for a Job that has been `stored` so, on a server that answers a watch with `watched` and a list with the complete
/// Job; the requests for it.
async fn wait_for_job(stored: Value, watched: Value) -> Vec<String> {
    let (server, asked) = cluster(move |_, path| match path {
        "/apis/batch/v1" => answer(
            200,
            &json!({"kind": "APIResourceList", "groupVersion": "batch/v1", "resources": [
            {"name": "jobs", "singularName": "", "namespaced": true, "kind": "Job", "verbs": []}]}),
        ),
        "/apis/batch/v1/namespaces/n/jobs" => answer(
            200,
            &json!({"kind": "JobList", "apiVersion": "batch/v1", "metadata": {"resourceVersion": "9"}, "items": [job(9, true)]}),
        ),
        path if path.contains("watch=true") => Some((200, format!("{watched}\n"), None)),
        _ => answer(404, &json!({})),
    });
    let id = ObjectId {
        group: "batch".into(),
        kind: "Job".into(),
        namespace: "n".into(),
        name: "j".into(),
    };
    let target = Target {
        stored: Some(Arc::new(stored)),
        ..Target::of(&id, "v1")
    };
    let options = WaitOptions {
        timeout: Duration::from_mins(1),
        ..WaitOptions::default()
    };
    wait_until_current(&server, &[target], &options)
        .await
        .unwrap();
    let asked = asked.lock().unwrap();
    let for_it = asked.iter().filter(|request| request.contains("/jobs"));
    for_it.cloned().collect()
}

#[tokio::test(start_paused = true)]
async fn a_stored_object_is_watched_from_its_version_on() {
    const LIST: &str = "GET /apis/batch/v1/namespaces/n/jobs";
    let event = |kind: &str, object: Value| json!({"type": kind, "object": object});
    let completed = wait_for_job(job(7, false), event("MODIFIED", job(8, true))).await;
    assert_eq!(completed.len(), 1, "{completed:?}");
    let watch = completed[0].split_once('?').unwrap();
    assert_eq!(watch.0, LIST);
    for part in ["resourceVersion=7", "fieldSelector=metadata.name%3Dj"] {
        assert!(watch.1.contains(part), "{completed:?}");
    }
    // The version is too old for a watch.
    let expired = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired", "message": "m"});
    let listed = wait_for_job(job(7, false), event("ERROR", expired)).await;
    assert_eq!(listed[1..], [LIST]);
    // What a write returns may be current only because its controller has not looked at it yet.
    let listed = wait_for_job(job(7, true), event("MODIFIED", job(8, false))).await;
    assert_eq!(listed, [LIST]);
}

// KC-API-010
#[tokio::test(start_paused = true)]
async fn an_unresponsive_server_ends_the_run_without_further_requests() {
    let (silent, asked) = cluster(|_, path| if path == "/api/v1" { kinds() } else { None });
    let run = silent.within(Duration::from_secs(30));
    let started = tokio::time::Instant::now();
    let objects = parse::objects((0..20).map(|number| config_map(&format!("c{number}"))));
    let options = Options {
        concurrency: 2,
        ..Options::default()
    };
    let failed = apply_in_stages(&run, &objects, &options, &mut Memory::default()).await;
    let failed = failed.unwrap_err().to_string();
    let late = "the API server has not answered within 30s: context deadline exceeded";
    assert_eq!(failed, format!("ConfigMap/n/c0 dry-run failed: {late}\n"));
    assert_eq!(started.elapsed(), Duration::from_secs(30));
    let sent = asked.lock().unwrap().len();

    let id = ObjectId {
        kind: "ConfigMap".into(),
        namespace: "n".into(),
        name: "c".into(),
        ..ObjectId::default()
    };
    let tracked = inventory::Tracked {
        id: id.clone(),
        version: "v1".into(),
    };
    let pruned = delete_all(&run, &[tracked], &PruneOptions::default()).await;
    let error = pruned.error.map(|error| error.to_string());
    let want = format!("delete failed, errors: ConfigMap/n/c query failed: {late};");
    assert_eq!(error, Some(want));
    assert_eq!(asked.lock().unwrap().len(), sent, "it was asked again");

    // The next run has its whole time limit.
    let next = silent.within(Duration::from_secs(40));
    let options = WaitOptions {
        timeout: Duration::from_secs(35),
        ..WaitOptions::default()
    };
    let target = Target {
        version: None,
        ..Target::of(&id, "")
    };
    let waited = wait_until_current(&next, &[target], &options).await;
    assert_eq!(
        waited.unwrap_err().to_string(),
        "timeout waiting for: [can't determine status for ConfigMap/n/c]"
    );
    assert_eq!(started.elapsed(), Duration::from_secs(65));
}

// KC-HEALTH-006
#[tokio::test(start_paused = true)]
async fn an_unresponsive_api_group_does_not_delay_other_objects() {
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "n", "uid": "u", "resourceVersion": "1"},
        "status": {"conditions": [{"type": "Failed", "status": "True", "reason": "r", "message": "m"}]}});
    let (half, _) = cluster(move |_, path| match path {
        "/apis/batch" | "/apis/batch/v1" => answer(
            200,
            &json!({"kind": "APIResourceList", "groupVersion": "batch/v1", "resources": [
            {"name": "jobs", "singularName": "", "namespaced": true, "kind": "Job", "verbs": []}]}),
        ),
        "/apis/batch/v1/namespaces/n/jobs" => answer(
            200,
            &json!({"kind": "JobList", "apiVersion": "batch/v1", "metadata": {"resourceVersion": "1"}, "items": [job]}),
        ),
        _ => None,
    });
    let target = |group: &str, kind: &str, name: &str| {
        let id = ObjectId {
            group: group.into(),
            kind: kind.into(),
            namespace: "n".into(),
            name: name.into(),
        };
        Target::of(&id, "v1")
    };
    let targets = [
        target("silent.example.com", "A", "a"),
        target("batch", "Job", "j"),
    ];
    let options = WaitOptions {
        timeout: Duration::from_mins(1),
        fail_fast: true,
        ..WaitOptions::default()
    };
    let error = wait_until_current(&half, &targets, &options).await;
    assert_eq!(
        error.unwrap_err().to_string(),
        "failed early due to stalled resources: [Job/n/j status: 'Failed']"
    );
}

// KC-HEALTH-006
#[tokio::test(start_paused = true)]
async fn an_object_that_goes_while_its_watch_is_interrupted_is_noticed() {
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "n", "uid": "u", "resourceVersion": "1"}});
    let list = |items: &[&Value]| {
        let metadata = json!({"resourceVersion": "1"});
        answer(
            200,
            &json!({"kind": "JobList", "apiVersion": "batch/v1", "metadata": metadata, "items": items}),
        )
    };
    let expired = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old"});
    let mut requests = 0;
    let (server, asked) = cluster(move |_, path| match path {
        "/apis/batch" | "/apis/batch/v1" => answer(
            200,
            &json!({"kind": "APIResourceList", "groupVersion": "batch/v1", "resources": [
            {"name": "jobs", "singularName": "", "namespaced": true, "kind": "Job", "verbs": []}]}),
        ),
        _ => {
            requests += 1;
            match requests {
                1 => list(&[&job]),
                // The watch ends with an error after which all is listed again.
                2 => answer(200, &json!({"type": "ERROR", "object": expired})),
                3 => list(&[]),
                _ => None,
            }
        }
    });
    let id = ObjectId {
        group: "batch".into(),
        kind: "Job".into(),
        namespace: "n".into(),
        name: "j".into(),
    };
    let options = WaitOptions {
        timeout: Duration::from_mins(1),
        ..WaitOptions::default()
    };
    let error = wait_until_current(&server, &[Target::of(&id, "v1")], &options).await;
    assert_eq!(
        error.unwrap_err().to_string(),
        "timeout waiting for: [Job/n/j status: 'NotFound']",
        "{:#?}",
        asked.lock().unwrap()
    );
}

#[tokio::test]
async fn a_name_stays_in_its_segment_of_the_path() {
    let (server, asked) = cluster(|_, path| match path {
        "/api/v1" => kinds(),
        _ => answer(200, &live("a", 1)),
    });
    let id = ObjectId {
        kind: "ConfigMap".into(),
        namespace: "n".into(),
        name: "a?b".into(),
        ..ObjectId::default()
    };
    let resource = server.resource_of(&id, "v1").await.unwrap();
    asked.lock().unwrap().clear();
    server.get(&resource, &id).await.unwrap();
    server.delete_exactly(&resource, &id, "u").await.unwrap();
    let patch = vec![json!({"op": "remove", "path": "/data"})];
    server.json_patch(&resource, &id, patch).await.unwrap();
    let asked = asked.lock().unwrap();
    let path = "/api/v1/namespaces/n/configmaps/a%3Fb";
    assert_eq!(
        *asked,
        ["GET", "DELETE", "PATCH"].map(|verb| format!("{verb} {path}"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_always_asks_for_a_later_request_gets_ten_more() {
    let (busy, asked) = cluster(|_, path| match path {
        "/api/v1" => kinds(),
        _ => Some((429, "too many".to_owned(), Some(1))),
    });
    let objects = parse::objects([config_map("c")]);
    let (options, mut memory) = (Options::default(), Memory::default());
    let failed = apply_in_stages(&busy, &objects, &options, &mut memory).await;
    let failed = failed.unwrap_err().to_string();
    let text = "(TooManyRequests): the server has received too many requests and has asked us to try again later";
    assert!(failed.contains(text), "{failed}");
    let asked = asked.lock().unwrap();
    let again = asked.iter().filter(|line| **line == asked[1]);
    assert_eq!(again.count(), 11, "{asked:#?}");
}

#[tokio::test]
async fn an_answer_that_is_not_the_expected_json_is_not_quoted() {
    let list = json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": "hunter2"});
    let (server, _) = cluster(move |_, _| answer(200, &list));
    let objects = parse::objects([config_map("c")]);
    let (options, mut memory) = (Options::default(), Memory::default());
    let failed = apply_in_stages(&server, &objects, &options, &mut memory).await;
    let failed = failed.unwrap_err().to_string();
    let text = "the server's answer is not the expected JSON (line 1, column ";
    assert!(
        failed.contains(text) && !failed.contains("hunter2"),
        "{failed}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_is_retried_only_if_the_server_asks_for_it() {
    let mut patches = 0;
    let (busy, asked) = cluster(move |method, path| match (method, path) {
        (_, "/api/v1") => kinds(),
        (&Method::PATCH, _) => {
            patches += 1;
            match patches {
                1 => Some((429, "too many".to_owned(), Some(1))),
                2 => Some((503, "not now".to_owned(), None)),
                _ => answer(200, &live("c", 1)),
            }
        }
        _ => refusal(404, "NotFound", "configmaps \"c\" not found"),
    });
    let apply = async || {
        let objects = parse::objects([config_map("c")]);
        apply_in_stages(&busy, &objects, &Options::default(), &mut Memory::default()).await
    };
    assert_eq!(
        apply().await.unwrap_err().to_string(),
        "ConfigMap/n/c dry-run failed (ServiceUnavailable): the server is currently unable to handle the request (patch configmaps c)\n"
    );
    let patches = |asked: &[String]| {
        asked
            .iter()
            .filter(|line| line.starts_with("PATCH"))
            .count()
    };
    assert_eq!(patches(&asked.lock().unwrap()), 2);
    assert!(apply().await.is_ok());
}

/// A server with an immutable ConfigMap `c`, whose creation is refused with `refused`.
fn immutable(
    mut creation: impl FnMut(usize) -> Option<Answer> + Send + 'static,
) -> (Cluster, Arc<Mutex<Vec<String>>>) {
    let (mut exists, mut creations) = (true, 0);
    cluster(move |method, path| match (method, path) {
        (_, "/api/v1") => kinds(),
        (&Method::GET, path) if path.ends_with("/c") && exists => answer(200, &live("c", 1)),
        (&Method::GET, path) if path.ends_with("/c") => {
            refusal(404, "NotFound", "configmaps \"c\" not found")
        }
        (&Method::GET, _) => answer(
            200,
            &json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": "2"}, "items": []}),
        ),
        (&Method::DELETE, _) => {
            exists = false;
            answer(200, &json!({"kind": "Status", "status": "Success"}))
        }
        (&Method::POST, _) if exists => {
            refusal(409, "AlreadyExists", "configmaps \"c\" already exists")
        }
        (&Method::POST, _) => {
            exists = true;
            answer(201, &live("c", 3))
        }
        (&Method::PATCH, _) if exists => refusal(422, "Invalid", "field is immutable"),
        _ => {
            creations += 1;
            let answer = creation(creations);
            exists = answer.as_ref().is_some_and(|(code, ..)| *code < 300);
            answer
        }
    })
}

async fn force(cluster: &Cluster, memory: &mut Memory) -> String {
    let options = Options {
        force: true,
        ..Options::default()
    };
    let objects = parse::objects([config_map("c")]);
    match apply_in_stages(cluster, &objects, &options, memory).await {
        Ok(changes) => changes.to_string(),
        Err(error) => error.to_string(),
    }
}

// KC-SSA-030
#[tokio::test(start_paused = true)]
async fn recreation_is_retried_on_transient_errors() {
    let (server, asked) = immutable(|number| match number {
        1 => refusal(
            403,
            "Forbidden",
            "configmaps \"c\" is forbidden: exceeded quota: q",
        ),
        2 => Some((503, "not now".to_owned(), None)),
        3 => None,
        _ => answer(201, &live("c", 3)),
    });
    let run = server.within(Duration::from_secs(5));
    assert_eq!(
        force(&run, &mut Memory::default()).await,
        "ConfigMap/n/c created"
    );
    let asked = asked.lock().unwrap();
    let deletions = asked
        .iter()
        .filter(|line| line.starts_with("DELETE"))
        .count();
    assert_eq!(deletions, 1, "{asked:#?}");
}

// KC-SSA-030
#[tokio::test(start_paused = true)]
async fn an_object_whose_replacement_is_refused_is_restored_and_not_deleted_again() {
    let (server, asked) = immutable(|_| refusal(403, "Forbidden", "denied by policy"));
    let mut memory = Memory::default();
    assert_eq!(
        force(&server, &mut memory).await,
        "ConfigMap/n/c immutable field detected, failed to recreate object, its previous content was restored: denied by policy\n"
    );
    memory.forget();
    assert_eq!(
        force(&server, &mut memory).await,
        "ConfigMap/n/c dry-run failed (Invalid): field is immutable\n"
    );
    let asked = asked.lock().unwrap();
    let deletions = asked
        .iter()
        .filter(|line| line.starts_with("DELETE"))
        .count();
    assert_eq!(deletions, 1, "{asked:#?}");
}

// KC-SSA-032
#[tokio::test(start_paused = true)]
async fn a_deletion_that_is_refused_is_reported_and_not_waited_for() {
    let (server, asked) = cluster(|method, path| match (method, path) {
        (_, "/api/v1") => kinds(),
        (&Method::GET, _) => answer(200, &live("c", 1)),
        (&Method::POST, _) => refusal(409, "AlreadyExists", "configmaps \"c\" already exists"),
        (&Method::DELETE, _) => refusal(403, "Forbidden", "no deletions"),
        _ => refusal(422, "Invalid", "field is immutable"),
    });
    assert_eq!(
        force(&server, &mut Memory::default()).await,
        "ConfigMap/n/c immutable field detected, failed to delete object: no deletions\n"
    );
    let asked = asked.lock().unwrap();
    assert!(
        asked.last().is_some_and(|line| line.starts_with("DELETE")),
        "{asked:#?}"
    );
}

// KC-SSA-009
#[tokio::test(start_paused = true)]
async fn discovery_is_retried_until_a_new_kind_is_listed() {
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "things.example.com"},
        "spec": {"group": "example.com", "names": {"kind": "Thing", "plural": "things"}, "versions": [{"name": "v2", "served": true}]}});
    let mut established = definition.clone();
    established["metadata"]["uid"] = json!("u");
    established["metadata"]["resourceVersion"] = json!("1");
    established["status"] = json!({"conditions": [{"type": "Established", "status": "True"}, {"type": "NamesAccepted", "status": "True"}]});
    let object = json!({"apiVersion": "example.com/v2", "kind": "Thing", "metadata": {"name": "t", "namespace": "n"}});
    let mut made = object.clone();
    made["metadata"]["uid"] = json!("v");
    let list = |group_version: &str, plural: &str, kind: &str, namespaced: bool| {
        json!({"kind": "APIResourceList", "groupVersion": group_version, "resources": [
            {"name": plural, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": []}]})
    };
    let mut looks = 0;
    let (server, _) = cluster(move |method, path| match (method, path) {
        (_, "/apis/apiextensions.k8s.io/v1") => answer(
            200,
            &list(
                "apiextensions.k8s.io/v1",
                "customresourcedefinitions",
                "CustomResourceDefinition",
                false,
            ),
        ),
        (_, "/apis/example.com/v2") => {
            looks += 1;
            if looks < 4 {
                return Some((404, "404 page not found".to_owned(), None));
            }
            answer(200, &list("example.com/v2", "things", "Thing", true))
        }
        (&Method::PATCH, path) if path.contains("customresourcedefinitions") => {
            answer(200, &established)
        }
        (&Method::PATCH, _) => answer(200, &made),
        (&Method::GET, path) if path.ends_with("/customresourcedefinitions") => answer(
            200,
            &json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": [established]}),
        ),
        _ => refusal(404, "NotFound", "not found"),
    });
    let objects = parse::objects([definition, object]);
    let (options, mut memory) = (Options::default(), Memory::default());
    let changes = apply_in_stages(&server, &objects, &options, &mut memory).await;
    let changes = changes.map(|changes| changes.to_string());
    let want = "CustomResourceDefinition/things.example.com configured\nThing/n/t created";
    assert_eq!(
        changes.map_err(|error| error.to_string()).as_deref(),
        Ok(want)
    );
}

/// The definition of the kind `Thing` of a group.
fn definition(group: &str, annotations: &Value) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("things.{group}"), "annotations": annotations},
        "spec": {"group": group, "names": {"kind": "Thing", "plural": "things"}, "versions": [{"name": "v1", "served": true}]}})
}

// KC-SSA-009
#[tokio::test(start_paused = true)]
async fn only_kinds_of_definitions_that_were_applied_are_looked_for() {
    let ignored = json!({"ssa": "Ignore"});
    let definitions = [
        definition("a.example", &json!({})),
        definition("ignored.example", &ignored),
        definition("b.example", &json!({})),
    ];
    let stored = definitions.clone().map(|mut definition| {
        definition["metadata"]["uid"] = json!("u");
        definition["metadata"]["resourceVersion"] = json!("1");
        definition["status"] = json!({"conditions": [{"type": "Established", "status": "True"}, {"type": "NamesAccepted", "status": "True"}]});
        definition
    });
    let list = |group_version: &str, plural: &str, kind: &str, namespaced: bool| {
        json!({"kind": "APIResourceList", "groupVersion": group_version, "resources": [
            {"name": plural, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": []}]})
    };
    let (server, asked) = cluster(move |method, path| {
        if path == "/apis/apiextensions.k8s.io/v1" {
            let kind = "CustomResourceDefinition";
            let version = "apiextensions.k8s.io/v1";
            return answer(
                200,
                &list(version, "customresourcedefinitions", kind, false),
            );
        }
        if let Some(version) = path
            .strip_prefix("/apis/")
            .filter(|path| path.ends_with(".example/v1"))
        {
            return answer(200, &list(version, "things", "Thing", true));
        }
        if method == Method::GET && path.ends_with("/customresourcedefinitions") {
            let list = json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": stored});
            return answer(200, &list);
        }
        let named = stored
            .iter()
            .find(|stored| path.ends_with(stored["metadata"]["name"].as_str().unwrap()));
        named.map_or_else(
            || refusal(404, "NotFound", "not found"),
            |stored| answer(200, stored),
        )
    });
    let looks = |group: &str| {
        let look = format!("GET /apis/{group}.example/v1");
        let asked = asked.lock().unwrap();
        asked.iter().filter(|line| **line == look).count()
    };
    let options = Options {
        exclusions: vec![("ssa".into(), "Ignore".into())],
        known_by: Some("team=a".into()),
        ..Options::default()
    };
    let mut memory = Memory::default();
    let [a, ignored, b] = definitions;
    let objects = parse::objects([a.clone(), ignored]);
    apply_in_stages(&server, &objects, &options, &mut memory)
        .await
        .unwrap();
    assert_eq!((looks("a"), looks("ignored")), (1, 0));

    // That kind is known, and its definition has not changed.
    let objects = parse::objects([a, b]);
    apply_in_stages(&server, &objects, &options, &mut memory)
        .await
        .unwrap();
    assert_eq!((looks("a"), looks("b")), (1, 1));
}

// KC-SUB-009 KC-PRUNE-008
#[tokio::test]
async fn secret_values_in_a_refused_deletion_are_masked() {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n", "uid": "u"},
        "data": {"token": "TUFSS0VELW93bi03N2Fi"}});
    let (server, _) = cluster(move |method, path| match (method, path) {
        (_, "/api/v1") => kinds(),
        (&Method::GET, _) => answer(200, &secret),
        _ => refusal(
            403,
            "Forbidden",
            "denied: MARKED-own-77ab, TUFSS0VELW93bi03N2Fi, MARKED-variable",
        ),
    });
    let mut confidential = Confidential::default();
    confidential.add(b"MARKED-variable");
    let server = server.masking(confidential);
    let id = ObjectId {
        kind: "Secret".into(),
        namespace: "n".into(),
        name: "s".into(),
        ..ObjectId::default()
    };
    let tracked = inventory::Tracked {
        id,
        version: "v1".into(),
    };
    let pruned = delete_all(&server, &[tracked], &PruneOptions::default()).await;
    assert_eq!(
        pruned.error.map(|error| error.to_string()).as_deref(),
        Some("delete failed, errors: Secret/n/s delete failed: denied: *****, *****, *****;")
    );
}

/// A server with these ConfigMaps. A dry run of others shows that they would be created, unless it is refused.
fn stored(objects: Vec<Value>, refuses: bool) -> (Cluster, Arc<Mutex<Vec<String>>>) {
    cluster(move |method, path| {
        if path == "/api/v1" {
            return kinds();
        }
        if method == Method::GET && path.ends_with("/configmaps") {
            let list =
                json!({"kind": "List", "metadata": {"resourceVersion": "9"}, "items": objects});
            return answer(200, &list);
        }
        let name = path.rsplit('/').next().unwrap_or_default();
        let found = objects
            .iter()
            .find(|object| object["metadata"]["name"] == name);
        match (method, found) {
            (&Method::PATCH, _) if refuses => refusal(403, "Forbidden", "no"),
            (_, Some(object)) => answer(200, object),
            (&Method::PATCH, None) => answer(201, &config_map(name)),
            _ => refusal(404, "NotFound", "not found"),
        }
    })
}

// KC-SSA-014, KC-SSA-015, KC-SSA-018
#[tokio::test]
async fn an_object_that_was_not_applied_before_is_read_only_if_it_exists() {
    let mut ignored = live("ignored", 2);
    ignored["metadata"]["annotations"] = json!({"ssa": "Ignore"});
    for (name, refuses, wanted, requests) in [
        ("absent", false, "ConfigMap/n/absent created", "PATCH PATCH"),
        ("same", false, "ConfigMap/n/same unchanged", "PATCH GET"),
        ("ignored", false, "ConfigMap/n/ignored skipped", "PATCH GET"),
        (
            "absent",
            true,
            "ConfigMap/n/absent dry-run failed (Forbidden): no",
            "PATCH GET",
        ),
        // What annotations keep from being applied is not tried.
        ("ignored", true, "ConfigMap/n/ignored skipped", "PATCH GET"),
    ] {
        let objects = vec![live("same", 1), ignored.clone()];
        let (server, asked) = stored(objects, refuses);
        let objects = parse::objects([config_map(name)]);
        let options = Options {
            exclusions: vec![("ssa".into(), "Ignore".into())],
            new: objects.iter().map(|object| object.id().clone()).collect(),
            ..Options::default()
        };
        let mut memory = Memory::default();
        let applied = apply_in_stages(&server, &objects, &options, &mut memory).await;
        let told = match applied {
            Ok(changes) => changes.to_string(),
            Err(failed) => failed.error.to_string(),
        };
        assert_eq!(told, wanted);
        let asked = asked.lock().unwrap();
        let about = asked.iter().filter(|line| line.ends_with(name));
        let verbs = about.filter_map(|line| line.split(' ').next());
        assert_eq!(verbs.collect::<Vec<_>>().join(" "), requests, "{told}");
    }
    // One that is only created if it is absent is read first.
    let (server, asked) = stored(vec![live("same", 1)], true);
    let mut only_new = config_map("same");
    only_new["metadata"]["annotations"] = json!({"ssa": "IfNotPresent"});
    let objects = parse::objects([only_new]);
    let options = Options {
        if_not_present: vec![("ssa".into(), "IfNotPresent".into())],
        new: objects.iter().map(|object| object.id().clone()).collect(),
        ..Options::default()
    };
    let mut memory = Memory::default();
    let applied = apply_in_stages(&server, &objects, &options, &mut memory).await;
    assert_eq!(applied.unwrap().to_string(), "ConfigMap/n/same skipped");
    assert!(
        !asked
            .lock()
            .unwrap()
            .iter()
            .any(|line| line.starts_with("PATCH"))
    );
}

/// Knows these states, or that the kind is not watched.
#[derive(Debug)]
struct Knows(Option<Vec<Live>>);

impl Watched for Knows {
    fn states(&self, resource: &Resource, objects: &[Uid]) -> Option<Vec<Option<Live>>> {
        assert_eq!(resource.plural, "configmaps");
        let known = self.0.as_ref()?;
        let state = |uid: &Uid| known.iter().find(|live| live.uid == *uid).copied();
        Some(objects.iter().map(state).collect())
    }
}

// KC-SSA-014
#[tokio::test]
async fn only_objects_that_a_watch_does_not_know_to_be_untouched_are_listed() {
    let state = |name: &str, version: u64| {
        let mut object = live(name, 1);
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        Live::of(&flux_cluster::Object::new(object).unwrap()).unwrap()
    };
    // The uid is the same for all that `live` makes of version 1.
    for (knows, requests) in [
        (Some(vec![state("a", 1)]), ""),
        (
            Some(vec![state("a", 2)]),
            "GET /api/v1/namespaces/n/configmaps",
        ),
        (Some(Vec::new()), "GET /api/v1/namespaces/n/configmaps"),
        (None, "GET /api/v1/namespaces/n/configmaps"),
    ] {
        let (server, asked) = stored(vec![live("a", 1)], false);
        let objects = parse::objects([config_map("a")]);
        let options = Options {
            known_by: Some("team=a".into()),
            watched: Some(Arc::new(Knows(knows))),
            ..Options::default()
        };
        let mut memory = Memory::default();
        for _ in 0..2 {
            asked.lock().unwrap().clear();
            let applied = apply_in_stages(&server, &objects, &options, &mut memory).await;
            assert_eq!(applied.unwrap().to_string(), "ConfigMap/n/a unchanged");
        }
        assert_eq!(asked.lock().unwrap().join(" "), requests);
    }
}

#[tokio::test]
async fn objects_that_are_no_longer_wanted_are_forgotten() {
    let (server, _) = stored(vec![live("a", 1), live("b", 2)], false);
    let options = Options::default();
    let mut memory = Memory::default();
    let mut remembers = async |names: &[&str]| {
        let objects = parse::objects(names.iter().map(|name| config_map(name)));
        let applied = apply_in_stages(&server, &objects, &options, &mut memory).await;
        applied.map(|_| memory.bytes()).unwrap()
    };
    let one = remembers(&["a"]).await;
    assert!(remembers(&["a", "b"]).await > one);
    assert_eq!(remembers(&["b"]).await, one);
    assert_eq!(remembers(&[]).await, 0);
}

#[tokio::test]
async fn drift_is_what_differs_from_the_state_that_was_compared() {
    let (server, _) = stored(vec![live("a", 5)], false);
    let objects = parse::objects([config_map("a")]);
    let mut memory = Memory::default();
    apply_in_stages(&server, &objects, &Options::default(), &mut memory)
        .await
        .unwrap();
    let state = |version: &str| {
        let mut object = live("a", 5);
        object["metadata"]["resourceVersion"] = json!(version);
        Live::of(&flux_cluster::Object::new(object).unwrap()).unwrap()
    };
    let uid = Uid::of("uid-5");
    let drifted = |uid, now: Option<&Live>| memory.drifted(uid, now).map(ToString::to_string);
    let a = Some("ConfigMap/n/a".to_owned());
    assert_eq!(drifted(uid, Some(&state("5"))), None);
    assert_eq!(drifted(uid, Some(&state("6"))), a);
    assert_eq!(drifted(uid, None), a);
    // The event of a write before the one that was seen comes late.
    assert_eq!(drifted(uid, Some(&state("4"))), None);
    assert_eq!(drifted(Uid::of("other"), None), None);
}

#[tokio::test]
async fn kinds_without_a_status_are_not_waited_for_unless_there_are_rules_for_them() {
    let (server, _) = stored(vec![live("a", 1)], false);
    let objects = parse::objects([config_map("a")]);
    let mut memory = Memory::default();
    let target = || vec![Target::of(objects[0].id(), "v1")];
    assert_eq!(
        memory.to_wait_for(target(), |_| false),
        target(),
        "it was not seen"
    );
    apply_in_stages(&server, &objects, &Options::default(), &mut memory)
        .await
        .unwrap();
    assert_eq!(memory.not_known_current(target()), target());
    // KC-HEALTH-031
    assert_eq!(memory.to_wait_for(target(), |_| true), target());
    assert_eq!(memory.not_known_current(target()), target());
    // KC-HEALTH-019
    assert_eq!(memory.to_wait_for(target(), |_| false), []);
    assert_eq!(memory.not_known_current(target()), []);
}
