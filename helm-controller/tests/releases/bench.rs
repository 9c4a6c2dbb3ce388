//! helm-controller alone, with charts published by the test.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::read::GzDecoder;
use kind_tests::controller::Settings;
use kind_tests::{
    ArtifactServer, Cluster, Controller, EventSink, Failure, HELM_CHART, HELM_RELEASE, Kind,
    Namespace, OCI_REPOSITORY, Result, SECRET,
};
use serde_json::{Value, json};

/// A ConfigMap whose content comes from the values.
pub(crate) const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}-map}\ndata:\n  version: {{ .Chart.Version | quote }}\n  text: {{ .Values.text | quote }}\n";

/// A Job that never ends: its pods fit no node.
pub(crate) const STUCK: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: stuck}\nspec:\n  replicas: 1\n  selector: {matchLabels: {app: stuck}}\n  template:\n    metadata: {labels: {app: stuck}}\n    spec:\n      nodeSelector: {no: such-node}\n      containers: [{name: c, image: example.com/c}]\n";

/// The controller in a namespace of its own. The fields drop in this order: the controller ends before the namespace is deleted.
pub(crate) struct Bench {
    pub(crate) helm: Controller,
    pub(crate) events: EventSink,
    pub(crate) artifacts: ArtifactServer,
    pub(crate) namespace: Namespace,
}

impl Bench {
    pub(crate) async fn start(topic: &str) -> Result<Self> {
        Self::with(topic, Settings::default()).await
    }

    pub(crate) async fn with(topic: &str, settings: Settings) -> Result<Self> {
        Self::prepared(topic, |_, _| Ok(settings)).await
    }

    /// With the HelmRelease `web` of a chart that has [`MAP`], which is installed.
    pub(crate) async fn installed(topic: &str, spec: Value) -> Result<Self> {
        let bench = Self::start(topic).await?;
        bench
            .publish("1.0.0", &[("templates/map.yaml", MAP)])
            .await?;
        bench.release(spec).await?;
        bench.says("True", "InstallSucceeded", "").await?;
        Ok(bench)
    }

    /// With settings that name the namespace or the artifact server.
    pub(crate) async fn prepared(
        topic: &str,
        settings: impl FnOnce(&Namespace, &ArtifactServer) -> Result<Settings>,
    ) -> Result<Self> {
        let namespace = Namespace::create(&Cluster::shared().await?, topic).await?;
        let events = EventSink::start().await?;
        let artifacts = ArtifactServer::start().await?;
        let settings = settings(&namespace, &artifacts)?
            .flag(format!("--events-addr={}", events.url()))
            .default_flag("--requeue-dependency=1s")
            .default_flag("--min-retry-delay=100ms");
        let helm = Controller::start("helm-controller", &namespace, settings).await?;
        Ok(Self {
            helm,
            events,
            artifacts,
            namespace,
        })
    }

    /// The artifact of a chart `web` of this version; each template has a path and a text.
    pub(crate) fn chart(&self, version: &str, templates: &[(&str, &str)]) -> Result<Value> {
        let metadata =
            format!("apiVersion: v2\nname: web\nversion: {version}\nappVersion: \"{version}\"\n");
        let mut files = vec![
            ("web/Chart.yaml".to_owned(), metadata),
            ("web/values.yaml".to_owned(), "text: default\n".to_owned()),
        ];
        for (path, text) in templates {
            files.push((format!("web/{path}"), (*text).to_owned()));
        }
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .collect();
        let name = format!("web-{version}-{}", hash_of(&files));
        self.artifacts.put(&name, version, &files)
    }

    /// Publishes a chart as the HelmChart `web`.
    pub(crate) async fn publish(&self, version: &str, templates: &[(&str, &str)]) -> Result {
        let artifact = self.chart(version, templates)?;
        self.serve(HELM_CHART, "web", &artifact).await
    }

    /// Publishes a chart as the OCIRepository `web`, under a tag that is its version. Returns the digest.
    pub(crate) async fn push(&self, version: &str, templates: &[(&str, &str)]) -> Result<String> {
        let mut artifact = self.chart(version, templates)?;
        let digest = artifact["digest"].as_str().unwrap_or_default().to_owned();
        artifact["revision"] = format!("{version}@{digest}").into();
        self.serve(OCI_REPOSITORY, "web", &artifact).await?;
        Ok(digest)
    }

    /// Sets the artifact of a source, which is created if necessary, and marks it as reconciled.
    pub(crate) async fn serve(&self, kind: Kind, name: &str, artifact: &Value) -> Result {
        if self.namespace.get(kind, name).await?.is_none() {
            let spec = match kind.1 {
                "OCIRepository" => json!({"interval": "1h", "url": "oci://127.0.0.1/web"}),
                _ => json!({"interval": "1h", "chart": "web",
                    "sourceRef": {"kind": "HelmRepository", "name": "repo"}}),
            };
            let source = json!({"apiVersion": kind.0, "kind": kind.1, "metadata": {"name": name}, "spec": spec});
            self.namespace.apply(&source.to_string()).await?;
        }
        self.serve_existing(kind, name, artifact).await
    }

    /// Sets the artifact of a source that exists.
    pub(crate) async fn serve_existing(&self, kind: Kind, name: &str, artifact: &Value) -> Result {
        let source = self.namespace.get(kind, name).await?.unwrap_or_default();
        let status = json!({"artifact": artifact,
            "observedGeneration": source["metadata"]["generation"]});
        self.namespace.set_status(kind, name, status).await?;
        Ok(())
    }

    /// Applies the HelmRelease `web` of the HelmChart `web`, with more lines of its spec.
    pub(crate) async fn release(&self, spec: Value) -> Result {
        self.release_named("web", spec).await
    }

    pub(crate) async fn release_named(&self, name: &str, spec: Value) -> Result {
        let mut all = json!({"interval": "1h", "timeout": "20s",
            "chartRef": {"kind": "HelmChart", "name": "web"}});
        merge(&mut all, spec);
        let release = json!({"apiVersion": HELM_RELEASE.0, "kind": HELM_RELEASE.1,
            "metadata": {"name": name}, "spec": all});
        self.namespace.apply(&release.to_string()).await?;
        Ok(())
    }

    /// Waits until Ready of the HelmRelease `web` has this status, reason and text.
    pub(crate) async fn says(&self, status: &str, reason: &str, text: &str) -> Result<Value> {
        self.named_says("web", status, reason, text).await
    }

    pub(crate) async fn named_says(
        &self,
        name: &str,
        status: &str,
        reason: &str,
        text: &str,
    ) -> Result<Value> {
        let goal = format!("is {status} for {reason}: {text}");
        // Between two steps Ready may be True already.
        let settled = |object: &Value| {
            status != "True" || kind_tests::condition(object, "Reconciling").is_none()
        };
        let says = |object: &Value| has(object, "Ready", status, reason, text) && settled(object);
        self.namespace.wait(HELM_RELEASE, name, &goal, says).await
    }

    /// Waits until the HelmRelease `web` has a condition with this status, reason and text.
    pub(crate) async fn condition(
        &self,
        kind: &str,
        status: &str,
        reason: &str,
        text: &str,
    ) -> Result<Value> {
        let goal = format!("has {kind}={status} for {reason}: {text}");
        let says = |object: &Value| has(object, kind, status, reason, text);
        self.namespace.wait(HELM_RELEASE, "web", &goal, says).await
    }

    /// Requests a reconcile of the HelmRelease `web` and waits for its end.
    pub(crate) async fn run(&self) -> Result<Value> {
        let at = self
            .namespace
            .request_reconcile(HELM_RELEASE, "web")
            .await?;
        let done = |object: &Value| object["status"]["lastHandledReconcileAt"] == at;
        self.namespace
            .wait(HELM_RELEASE, "web", "handles the request", done)
            .await
    }

    /// The HelmRelease `web`.
    pub(crate) async fn get(&self) -> Result<Value> {
        let found = self.namespace.get(HELM_RELEASE, "web").await?;
        found.ok_or_else(|| Failure::new("there is no HelmRelease"))
    }

    /// The revisions of the release `web` with their statuses, from the labels of their Secrets.
    pub(crate) async fn revisions(&self) -> Result<Vec<(i64, String)>> {
        let mut found = Vec::new();
        for name in self.namespace.names(SECRET).await? {
            let Some(revision) = name.strip_prefix("sh.helm.release.v1.web.v") else {
                continue;
            };
            let secret = self.namespace.get(SECRET, &name).await?.unwrap_or_default();
            let status = secret["metadata"]["labels"]["status"].as_str();
            found.push((revision.parse()?, status.unwrap_or_default().to_owned()));
        }
        found.sort();
        Ok(found)
    }

    /// The record of a revision of the release `web`: base64 of compressed JSON in the Secret's data, which is base64 itself.
    pub(crate) async fn record(&self, revision: u32) -> Result<Value> {
        let name = format!("sh.helm.release.v1.web.v{revision}");
        let secret = self.namespace.get(SECRET, &name).await?.unwrap_or_default();
        let data = secret["data"]["release"].as_str().unwrap_or_default();
        let packed = BASE64_STANDARD.decode(BASE64_STANDARD.decode(data)?)?;
        Ok(serde_json::from_reader(GzDecoder::new(&*packed))?)
    }

    /// Stores a record as another client does: without compression (HC-REL-004).
    pub(crate) async fn put_record(&self, record: &Value) -> Result {
        let (revision, status) = (&record["version"], &record["info"]["status"]);
        let data = BASE64_STANDARD.encode(BASE64_STANDARD.encode(record.to_string()));
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1",
            "metadata": {"name": format!("sh.helm.release.v1.web.v{revision}"), "labels": {"name": "web", "owner": "helm",
                "status": status, "version": revision.to_string()}}, "data": {"release": data}});
        self.namespace.apply(&secret.to_string()).await?;
        Ok(())
    }

    /// Binds a role with these rules to a ServiceAccount of the namespace.
    pub(crate) async fn account(&self, name: &str, rules: &Value) -> Result {
        let group = "rbac.authorization.k8s.io";
        let version = format!("{group}/v1");
        for object in [
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}),
            json!({"apiVersion": version, "kind": "Role", "metadata": {"name": name}, "rules": rules}),
            json!({"apiVersion": version, "kind": "RoleBinding", "metadata": {"name": name},
                "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": self.namespace.name()}]}),
        ] {
            self.namespace.apply(&object.to_string()).await?;
        }
        Ok(())
    }

    /// Waits until the revisions are these.
    pub(crate) async fn wait_revisions(&self, wanted: &[(i64, &str)]) -> Result {
        let wanted: Vec<(i64, String)> = wanted
            .iter()
            .map(|(revision, status)| (*revision, (*status).to_owned()))
            .collect();
        let poll = async {
            loop {
                if self.revisions().await? == wanted {
                    return Ok::<_, Failure>(());
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        self.namespace.wait_for("the revisions", poll).await?
    }

    /// The text in the release's ConfigMap.
    pub(crate) async fn text(&self) -> Result<String> {
        let map = self
            .namespace
            .get(kind_tests::CONFIG_MAP, "web-map")
            .await?;
        let map = map.unwrap_or_default();
        Ok(map["data"]["text"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits for an event with this reason whose message contains the text.
    pub(crate) async fn event(&self, reason: &str, text: &str) -> Result<Value> {
        let goal = format!("for {reason}: {text}");
        let wanted = |event: &Value| {
            event["reason"] == reason
                && event["message"]
                    .as_str()
                    .is_some_and(|message| message.contains(text))
        };
        self.events.wait(&goal, wanted).await
    }
}

/// Status and body of a response from a server on loopback.
pub(crate) async fn get(address: &str, path: &str) -> Result<(u16, String)> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned());
    Ok((status.unwrap_or_default(), body.unwrap_or_default()))
}

/// Repeats `look`, at what cannot be watched, until it returns a value.
pub(crate) async fn until<T>(
    goal: &str,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let poll = async {
        loop {
            if let Some(found) = look().await? {
                return Ok::<_, Failure>(found);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let found = tokio::time::timeout(kind_tests::deadline(), poll).await;
    found.map_err(|_| Failure::new(format!("waited in vain until {goal}")))?
}

/// Whether an object has a condition with this status, reason and text.
pub(crate) fn has(object: &Value, kind: &str, status: &str, reason: &str, text: &str) -> bool {
    kind_tests::condition(object, kind).is_some_and(|condition| {
        condition["status"] == status
            && condition["reason"] == reason
            && condition["message"]
                .as_str()
                .is_some_and(|message| message.contains(text))
    })
}

/// The versions, statuses and actions of the history.
pub(crate) fn history(object: &Value) -> Vec<String> {
    let history = object["status"]["history"].as_array();
    let each = history.into_iter().flatten().map(|snapshot| {
        let text = |key: &str| snapshot[key].as_str().unwrap_or_default().to_owned();
        format!(
            "{} {} {}",
            snapshot["version"],
            text("status"),
            text("action")
        )
    });
    each.collect()
}

pub(crate) fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                if value.is_null() {
                    into.remove(&key);
                } else {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (into, from) => *into = from,
    }
}

/// A number that differs for other files.
fn hash_of(files: &[(&str, &str)]) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    files.hash(&mut hasher);
    hasher.finish()
}

/// Text that does not compress.
pub(crate) fn noise(bytes: usize) -> String {
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        // Letters and digits: no template and no YAML has a meaning for them.
        let letters = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
        let place = (state >> 33) as usize % letters.len();
        char::from(letters[place])
    };
    (0..bytes).map(|_| next()).collect()
}
