//! Responses that a real API server rarely gives.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use flux_cluster::Cluster;
use flux_errors::chain;
use flux_helm::action::{ApplyMethod, Draft, InstallOptions, UninstallOptions, WaitStrategy};
use flux_helm::{Release, Status, encode, secret_labels, secret_name};
use flux_release::{
    FIELD_MANAGER, HelmLog, LogLevel, Options, PerformError, Performed, Releaser, StepError, now,
};
use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// A server with or without a ConfigMap that answers writes of it with scripted responses.
#[derive(Clone, Default)]
struct Server {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The ConfigMap, if it exists.
    map: Option<Value>,
    /// Whether the ConfigMap cannot be read.
    is_hidden: bool,
    /// The record, if it exists.
    record: Option<Value>,
    /// The next responses, one for each change of the ConfigMap; after them all changes succeed.
    answers: VecDeque<(u16, Value)>,
    /// The requested changes, `PATCH fieldManager=...`.
    asked: Vec<String>,
}

fn refusal(code: u16, reason: &str, message: &str) -> (u16, Value) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": message,
    });
    (code, status)
}

impl Server {
    fn answer(&self, request: &Request<Body>) -> (u16, Value) {
        let mut state = self.state.lock().unwrap();
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let list = |kind: &str, items: Vec<&Value>| json!({"kind": kind, "apiVersion": "v1", "metadata": {}, "items": items});
        match (method, path.rsplit('/').next().unwrap_or_default()) {
            (Method::GET, "version") => (200, json!({"major": "1", "minor": "36"})),
            (Method::GET, "v1") => {
                let map = json!({"name": "configmaps", "singularName": "configmap", "namespaced": true, "kind": "ConfigMap", "verbs": []});
                let kinds =
                    json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": [map]});
                (200, kinds)
            }
            (Method::GET, "secrets") => (200, list("SecretList", state.record.iter().collect())),
            (Method::GET, "map") if state.is_hidden => {
                refusal(403, "Forbidden", "configmaps \"map\" is forbidden")
            }
            (Method::GET, "map") => match &state.map {
                Some(map) => (200, map.clone()),
                None => refusal(404, "NotFound", "configmaps \"map\" not found"),
            },
            (_, name) if name == "secrets" || name.starts_with("sh.helm") => (
                200,
                json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": name}}),
            ),
            (method, "map" | "configmaps") => {
                let query = request.uri().query().unwrap_or_default();
                state
                    .asked
                    .push(format!("{method} {}", query.trim_matches('&')));
                let map =
                    json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "map"}});
                state.answers.pop_front().unwrap_or((200, map))
            }
            (method, _) => refusal(500, "InternalError", &format!("{method} {path}")),
        }
    }

    fn releaser(&self) -> Releaser {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (code, body) = server.answer(&request);
            let answer = Response::builder()
                .status(code)
                .body(Body::from(body.to_string().into_bytes()))
                .unwrap();
            std::future::ready(Ok::<_, Infallible>(answer))
        });
        let cluster = Cluster::new(Client::new(service, "apps"), FIELD_MANAGER);
        let options = Options {
            wait: WaitStrategy::HookOnly,
            ..Options::default()
        };
        Releaser::new(cluster, "apps", options)
    }

    async fn install(&self, method: ApplyMethod) -> Performed {
        let mut options = InstallOptions::new("web", "apps");
        options.apply_method = method;
        let releaser = self.releaser();
        let install = releaser.install(options).await;
        let install = install.unwrap_or_else(|error| panic!("{}", chain(&error)));
        let draft = Draft {
            manifest: MANIFEST.to_owned(),
            ..Draft::default()
        };
        let action = install.start(draft, now());
        releaser
            .perform(action, &mut |_| {}, std::future::pending())
            .await
    }

    async fn uninstall(&self) -> Performed {
        let mut record = Release {
            name: "web".to_owned(),
            namespace: "apps".to_owned(),
            revision: 1,
            manifest: MANIFEST.to_owned(),
            ..Release::default()
        };
        record.set_status(Status::Deployed, "");
        let value = oracle::base64(encode(&record).unwrap());
        self.state.lock().unwrap().record = Some(json!({
            "metadata": {"name": secret_name("web", 1), "labels": secret_labels(&record)},
            "data": {"release": value},
        }));
        let releaser = self.releaser();
        let action = releaser.uninstall("web", UninstallOptions::default()).await;
        let action = action.unwrap_or_else(|error| panic!("{}", chain(&error)));
        releaser
            .perform(action, &mut |_| {}, std::future::pending())
            .await
    }
}

const MANIFEST: &str = "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: map\n";

/// The ConfigMap as created by the release.
fn map() -> Value {
    json!({
        "kind": "ConfigMap", "apiVersion": "v1",
        "metadata": {
            "name": "map", "namespace": "apps", "uid": "u",
            "labels": {"app.kubernetes.io/managed-by": "Helm"},
            "annotations": {"meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": "apps"},
        },
    })
}

fn text(error: &PerformError) -> String {
    chain(error)
}

fn conflict(message: &str) -> (u16, Value) {
    refusal(409, "Conflict", message)
}

const QUOTA: &str = "Operation cannot be fulfilled on resourcequotas \"q\": the object has been modified; please apply your changes to the latest version and try again";

// HE-KUBE-001
#[tokio::test]
async fn transient_creation_failures_are_retried() {
    let strict = "PATCH fieldManager=helm-controller&fieldValidation=Strict";
    let post = "POST fieldManager=helm-controller";
    let quota =
        format!("conflict occurred while applying object apps/map /v1, Kind=ConfigMap: {QUOTA}");
    let many = vec![conflict(QUOTA); 9];
    for (method, answers, asked, result) in [
        // HE-KUBE-004, HE-KUBE-015
        (ApplyMethod::ServerSide, vec![], vec![strict], Ok(())),
        // HE-KUBE-012
        (
            ApplyMethod::ServerSide,
            vec![conflict(QUOTA); 4],
            vec![strict; 5],
            Ok(()),
        ),
        (
            ApplyMethod::ServerSide,
            many.clone(),
            vec![strict; 5],
            Err(quota.as_str()),
        ),
        // HE-KUBE-011
        (
            ApplyMethod::ServerSide,
            vec![conflict("Apply failed with 1 conflict: x")],
            vec![strict],
            Err(
                "conflict occurred while applying object apps/map /v1, Kind=ConfigMap: Apply failed with 1 conflict: x",
            ),
        ),
        (
            ApplyMethod::ServerSide,
            vec![refusal(403, "Forbidden", "exceeded quota: q")],
            vec![strict],
            Err(
                "server-side apply failed for object apps/map /v1, Kind=ConfigMap: exceeded quota: q",
            ),
        ),
        (
            ApplyMethod::ServerSide,
            vec![refusal(415, "UnsupportedMediaType", "not that")],
            vec![strict],
            Err("server-side apply not available on the server: not that"),
        ),
        // HE-KUBE-005
        (
            ApplyMethod::ClientSide,
            vec![conflict("again"); 2],
            vec![post; 3],
            Ok(()),
        ),
        (
            ApplyMethod::ClientSide,
            vec![refusal(403, "Forbidden", "no")],
            vec![post],
            Err("no"),
        ),
    ] {
        let server = Server::default();
        server.state.lock().unwrap().answers = answers.clone().into();
        let performed = server.install(method).await;
        let ended = performed.result.as_ref().map_err(text).copied();
        assert_eq!(ended, result.map_err(ToOwned::to_owned), "{answers:?}");
        let state = server.state.lock().unwrap();
        assert_eq!(state.asked, asked, "{answers:?}");
        let status = performed.release.status();
        assert_eq!(
            status == Status::Deployed,
            performed.result.is_ok(),
            "{answers:?}"
        );
    }
}

// HE-KUBE-019 HE-ACT-032 HE-ACT-038
#[tokio::test]
async fn transient_deletion_failures_are_retried() {
    let foreign = {
        let mut map = map();
        map["metadata"]["annotations"]["meta.helm.sh/release-name"] = json!("other");
        map
    };
    for (live, answers, asked, result) in [
        (Some(map()), vec![], 1, Ok(())),
        (Some(map()), vec![conflict("again"); 4], 5, Ok(())),
        (
            Some(map()),
            vec![conflict("again"); 9],
            5,
            Err("failed to delete release: web: again"),
        ),
        (
            Some(map()),
            vec![refusal(404, "NotFound", "gone")],
            1,
            Ok(()),
        ),
        (
            Some(map()),
            vec![refusal(403, "Forbidden", "no")],
            1,
            Err("failed to delete release: web: no"),
        ),
        (None, vec![], 0, Ok(())),
        (Some(foreign), vec![], 0, Ok(())),
    ] {
        let server = Server::default();
        {
            let mut state = server.state.lock().unwrap();
            (state.map, state.answers) = (live.clone(), answers.clone().into());
        }
        let performed = server.uninstall().await;
        let ended = performed.result.as_ref().map_err(text).copied();
        assert_eq!(
            ended,
            result.map_err(ToOwned::to_owned),
            "{live:?} {answers:?}"
        );
        let state = server.state.lock().unwrap();
        assert_eq!(state.asked.len(), asked, "{live:?} {answers:?}");
        assert!(
            state.asked.iter().all(|asked| asked.starts_with("DELETE")),
            "{:?}",
            state.asked
        );
    }
}

// HE-ACT-041 HC-UNI-015
#[tokio::test]
async fn objects_whose_owner_is_unknown_are_not_deleted() {
    let server = Server::default();
    {
        let mut state = server.state.lock().unwrap();
        (state.map, state.is_hidden) = (Some(map()), true);
    }
    let performed = server.uninstall().await;
    assert!(performed.result.is_ok(), "{:?}", performed.result);
    assert_eq!(
        performed.info,
        "1 resource(s) were not deleted because their ownership could not be verified:\n[ConfigMap] map: configmaps \"map\" is forbidden\n"
    );
    assert_eq!(server.state.lock().unwrap().asked, [""; 0]);
}

// HC-EVT-011
#[tokio::test]
async fn the_steps_of_an_action_are_logged_as_helm_does() {
    #[derive(Default)]
    struct Lines(Mutex<Vec<String>>);
    impl HelmLog for Lines {
        fn line(&self, level: LogLevel, message: &str, attributes: &[(&str, Value)]) {
            let attributes: serde_json::Map<String, Value> = attributes
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.clone()))
                .collect();
            let line = format!("{level:?} {message}: {}", Value::Object(attributes));
            self.0.lock().unwrap().push(line);
        }
    }
    let server = Server::default();
    let log = Arc::new(Lines::default());
    let options = Options {
        wait: WaitStrategy::HookOnly,
        log: log.clone(),
        ..Options::default()
    };
    let releaser = Releaser::new(server.releaser().cluster().clone(), "apps", options);
    let install = releaser.install(InstallOptions::new("web", "apps")).await;
    let draft = Draft {
        manifest: MANIFEST.to_owned(),
        ..Draft::default()
    };
    let action = install.unwrap().start(draft, now());
    let never = std::future::pending();
    let performed = releaser.perform(action, &mut |_| {}, never).await;
    assert!(performed.result.is_ok(), "{:?}", performed.result);
    assert_eq!(
        *log.0.lock().unwrap(),
        [
            r#"Debug creating resource(s): {"resources":1}"#,
            r#"Debug using server-side apply for resource creation: {"dryRun":false,"fieldValidationDirective":"Strict","forceConflicts":false}"#,
            r#"Debug Created resource via patch: {"gvk":"/v1, Kind=ConfigMap","name":"map","namespace":"apps"}"#,
        ]
    );
}

// HE-KUBE-011
#[tokio::test]
async fn failures_are_distinguished_by_type() {
    type Check = fn(&StepError) -> bool;
    let cases: [(ApplyMethod, (u16, Value), Check); 4] = [
        (
            ApplyMethod::ServerSide,
            conflict("other"),
            |step| matches!(step, StepError::ApplyConflict { source, .. } if source.reason == "Conflict"),
        ),
        (
            ApplyMethod::ServerSide,
            refusal(415, "UnsupportedMediaType", "not that"),
            |step| matches!(step, StepError::ApplyUnsupported(source) if source.code == 415),
        ),
        (
            ApplyMethod::ServerSide,
            refusal(403, "Forbidden", "no"),
            |step| matches!(step, StepError::Apply { source, .. } if source.is_forbidden()),
        ),
        (
            ApplyMethod::ClientSide,
            refusal(403, "Forbidden", "no"),
            |step| matches!(step, StepError::Request(source) if source.is_forbidden()),
        ),
    ];
    for (method, answer, is_expected) in cases {
        let server = Server::default();
        server.state.lock().unwrap().answers = [answer].into();
        let error = server.install(method).await.result.unwrap_err();
        let PerformError::Failed { message, steps } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(*message, chain(&error));
        assert!(
            matches!(steps.as_slice(), [step] if is_expected(step)),
            "{steps:?}"
        );
    }
}
