//! Actions, driven step by step on a cluster that is not there, beside Helm's own with the same failures.

use std::collections::BTreeMap;

use flux_helm::{
    Chart, File, Release, RenderOptions, Time, Values,
    action::{
        Action, ActionError, ApplyMethod, ApplyMethodChoice, Draft, History, HookStep, Identity,
        Install, InstallOptions, Object, Owner, Rollback, RollbackOptions, Scope, Step, Test,
        TestOptions, Uninstall, UninstallOptions, Upgrade, UpgradeOptions, check_name, deletion,
        objects, plan, unclaimed,
    },
    load_values, render, reuse_values,
};
use oracle::{Answer, Oracle};
use serde_json::{Value, json};

const NAMESPACE: &str = "apps";

const MAPS: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n";
const KEPT: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept, annotations: {helm.sh/resource-policy: ' Keep '}}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: odd, annotations: {helm.sh/resource-policy: other}}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: s}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: n}\n";

fn hook(kind: &str, name: &str, annotations: &str) -> String {
    let api = if kind == "Job" { "batch/v1" } else { "v1" };
    let api = if kind == "CustomResourceDefinition" {
        "apiextensions.k8s.io/v1"
    } else {
        api
    };
    format!(
        "---\napiVersion: {api}\nkind: {kind}\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\n"
    )
}

/// Hooks of every event, of several weights and policies.
fn hooks() -> String {
    let mut text = String::new();
    for event in ["install", "upgrade", "rollback", "delete"] {
        text += &hook(
            "Job",
            &format!("pre-{event}-second"),
            &format!(
                "helm.sh/hook: 'pre-{event}', helm.sh/hook-weight: '2', helm.sh/hook-delete-policy: 'hook-failed'"
            ),
        );
        text += &hook(
            "Job",
            &format!("pre-{event}-first"),
            &format!(
                "helm.sh/hook: 'pre-{event}', helm.sh/hook-weight: '-1', helm.sh/hook-delete-policy: 'hook-succeeded,before-hook-creation'"
            ),
        );
        text += &hook(
            "Pod",
            &format!("post-{event}-b"),
            &format!(
                "helm.sh/hook: 'post-{event}', helm.sh/hook-output-log-policy: 'hook-succeeded,hook-failed'"
            ),
        );
        text += &hook(
            "ConfigMap",
            &format!("post-{event}-a"),
            &format!(
                "helm.sh/hook: 'post-{event},post-{event}', helm.sh/hook-delete-policy: 'hook-succeeded,hook-failed'"
            ),
        );
    }
    text += &hook(
        "CustomResourceDefinition",
        "crd",
        "helm.sh/hook: 'pre-install,pre-upgrade', helm.sh/hook-weight: '9', helm.sh/hook-delete-policy: 'before-hook-creation,hook-succeeded'",
    );
    text += &hook(
        "Pod",
        "test-b",
        "helm.sh/hook: test, helm.sh/hook-delete-policy: 'hook-succeeded'",
    );
    text += &hook("Pod", "test-a", "helm.sh/hook: test-success");
    text
}

/// A record in JSON.
fn record(version: i64, status: &str, manifest: &str, method: &str) -> Value {
    let (_, hooks) = rendered(&format!("{manifest}{}", hooks()), true);
    json!({
        "name": "web", "namespace": NAMESPACE, "version": version, "manifest": manifest, "apply_method": method,
        "config": {"old": version}, "hooks": hooks,
        "chart": {"metadata": {"name": "web", "version": "0.9.0", "apiVersion": "v2"}, "templates": [], "files": []},
        "info": {"first_deployed": "2020-01-01T00:00:00Z", "last_deployed": "2020-01-02T00:00:00Z", "status": status,
            "description": format!("was {status}"), "notes": format!("notes {version}")},
    })
}

fn chart(template: &str) -> Chart {
    Chart::from_files(vec![
        File::new("Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n"),
        File::new("templates/all.yaml", template.to_owned()),
        File::new("templates/NOTES.txt", "revision {{ .Release.Revision }}"),
    ])
    .unwrap()
}

fn rendered(template: &str, upgrade: bool) -> (Draft, Value) {
    let config = load_values(b"given: true").unwrap();
    render_chart(&chart(template), config, 1, upgrade)
}

fn render_chart(chart: &Chart, config: Values, revision: i64, upgrade: bool) -> (Draft, Value) {
    let mut options = RenderOptions::new("web", NAMESPACE);
    options.revision = revision;
    options.is_upgrade = upgrade;
    let rendered = render(chart, &config, &options).unwrap();
    let hooks = serde_json::to_value(&rendered.hooks).unwrap();
    (Draft::new(chart, config, rendered), hooks)
}

/// What the chart of a request renders to for an upgrade.
fn upgraded(request: &Value, upgrade: &Upgrade) -> Draft {
    let template = request["template"].as_str().unwrap_or_default();
    let mut chart = chart(template);
    let read = |value: &Value| load_values(value.to_string().as_bytes()).unwrap();
    let mut config = match &request["values"] {
        Value::Null => load_values(b"given: true").unwrap(),
        values => read(values),
    };
    if !request["chartValues"].is_null() {
        chart.values = Some(read(&request["chartValues"]));
    }
    if flag(request, "reuseValues") {
        config = reuse_values(upgrade.base(), &mut chart, &config);
    }
    render_chart(&chart, config, upgrade.revision(), true).0
}

/// What plays the cluster and Helm's storage, and notes what is asked of it.
struct Caller<'r> {
    request: &'r Value,
    fail: &'r [usize],
    events: Vec<Value>,
    base: Vec<Object>,
    target: Vec<Object>,
    adopted: Vec<usize>,
    deleted: String,
    info: String,
}

fn scope(api_version: &str, kind: &str) -> Option<Scope> {
    match (api_version, kind) {
        ("v1", "ConfigMap" | "Secret" | "Service" | "ServiceAccount" | "Pod")
        | ("apps/v1", "Deployment")
        | ("batch/v1", "Job" | "CronJob")
        | ("batch/v1beta1", "CronJob")
        | ("networking.k8s.io/v1", "Ingress")
        | ("example.com/v1", "Widget") => Some(Scope::Namespaced),
        ("v1", "Namespace")
        | ("rbac.authorization.k8s.io/v1", "ClusterRole")
        | ("apiextensions.k8s.io/v1", "CustomResourceDefinition") => Some(Scope::Cluster),
        _ => None,
    }
}

/// Where an object lives.
fn path(object: &Object) -> String {
    let api = match object.api_version.as_str() {
        "v1" => "/api/v1".to_owned(),
        group => format!("/apis/{group}"),
    };
    let namespace = match object.namespace.as_str() {
        "" => String::new(),
        namespace => format!("/namespaces/{namespace}"),
    };
    let kind = object.kind.to_lowercase();
    let plural = if kind.ends_with('s') { "es" } else { "s" };
    format!("{api}{namespace}/{kind}{plural}/{}", object.name)
}

fn names(objects: &[Object]) -> String {
    let names: Vec<_> = objects.iter().map(|o| o.name.as_str()).collect();
    names.join(" ")
}

fn flag(request: &Value, name: &str) -> bool {
    request[name].as_bool().unwrap_or_default()
}

impl Caller<'_> {
    fn note(&mut self, event: Value) -> Result<(), String> {
        let at = self.events.len();
        self.events.push(event);
        if self.fail.contains(&at) {
            return Err(format!("event {at} failed"));
        }
        Ok(())
    }

    fn say(&mut self, event: &str, objects: &str) -> Result<(), String> {
        self.note(json!({"event": event, "objects": objects}))
    }

    fn record(&mut self, event: &str, record: &Release) -> Result<(), String> {
        let info = record.info.clone().unwrap_or_default();
        let hooks: Vec<_> = record
            .hooks
            .iter()
            .map(|hook| {
                json!({"name": hook.name, "phase": hook.last_run.phase, "started": !hook.last_run.started_at.is_zero(),
                    "ended": !hook.last_run.completed_at.is_zero(), "policies": hook.delete_policies})
            })
            .collect();
        let record_json: Value = serde_json::to_value(record).unwrap();
        self.note(json!({
            "event": event, "version": record.revision, "status": record.status().as_str(), "description": info.description,
            "deleted": !info.deleted.is_zero(), "hooks": hooks, "labels": record.labels, "method": record.apply_method,
            "notes": info.notes, "first": info.first_deployed.to_string(), "manifest": record.manifest,
            "namespace": record.namespace, "config": record_json["config"],
        }))
    }

    fn build(manifest: &str) -> Result<Vec<Object>, String> {
        objects(manifest, NAMESPACE, &scope).map_err(|e| e.to_string())
    }

    fn check_existing(&mut self) -> Result<(), String> {
        let owner = Owner {
            name: "web",
            namespace: NAMESPACE,
        };
        self.adopted.clear();
        let claimed = unclaimed(&self.base, &self.target).map_err(|e| e.to_string())?;
        for object in claimed {
            let live = &self.request["live"][path(object)];
            if live.is_null() {
                continue;
            }
            if !flag(self.request, "takeOwnership") {
                let live = flux_yaml::sigs::from_str(live.to_string()).unwrap();
                owner.check(object, &live).map_err(|e| e.to_string())?;
            }
            self.adopted
                .extend(self.target.iter().position(|o| o == object));
        }
        Ok(())
    }

    fn hook(&mut self, step: HookStep, hook: &flux_helm::Hook) -> Result<(), String> {
        let built = Self::build(&hook.manifest);
        match step {
            HookStep::Build => built.map(drop),
            HookStep::Delete => {
                let built = built.map_err(|e| {
                    let path = &hook.path;
                    format!("unable to build kubernetes object for deleting hook {path}: {e}")
                })?;
                self.say("delete", &names(&built))?;
                self.say("gone", &names(&built))
            }
            HookStep::Create => self.say("create", &names(&built?)),
            HookStep::Watch => self.say("watch", &names(&built?)),
            HookStep::Logs => {
                let selector = match hook.kind.as_str() {
                    "Job" => "job-name=",
                    _ => "metadata.name=",
                };
                self.say("logs", &format!("{selector}{}", hook.name))
            }
        }
    }

    fn perform(&mut self, step: Step<'_>, own: i64) -> Result<(), String> {
        let all = names(&self.target);
        match step {
            Step::Build(record) => {
                let mut built = Self::build(&record.manifest)?;
                if record.revision != own {
                    self.base = built;
                    return Ok(());
                }
                let owner = Owner {
                    name: &record.name,
                    namespace: &record.namespace,
                };
                for object in &mut built {
                    owner.stamp(object);
                }
                self.target = built;
                Ok(())
            }
            Step::CheckExisting => self.check_existing(),
            Step::CreateNamespace => self.say("create", NAMESPACE),
            Step::CreateRecord(record) => self.record("create record", record),
            Step::UpdateRecord(record) => self.record("update record", record),
            Step::DeleteRecord(revision) => {
                let key = flux_helm::secret_name("web", revision);
                self.note(json!({"event": "delete record", "key": key}))
            }
            Step::Hook(step, hook) => self.hook(step, hook),
            Step::Apply if self.request["action"] == "install" && self.adopted.is_empty() => {
                match all.as_str() {
                    "" => Ok(()),
                    all => self.say("create", all),
                }
            }
            Step::Apply => self.say("update", &all),
            Step::Wait => self.say("wait", &all),
            Step::CleanUp => self.say("delete", &all),
            Step::DeleteObjects => self.delete_objects(),
            Step::WaitDeleted => {
                let deleted = self.deleted.clone();
                self.say("gone", &deleted)
            }
            Step::Done(_) => Ok(()),
        }
    }

    fn delete_objects(&mut self) -> Result<(), String> {
        let manifest = self.request["history"][0]["manifest"]
            .as_str()
            .unwrap_or_default();
        let deletion = deletion(manifest).map_err(|e| e.to_string())?;
        let built = Self::build(&deletion.manifest)?;
        self.deleted = names(&built);
        if !built.is_empty() {
            self.say("delete", &names(&built))?;
        }
        self.info = deletion.info();
        Ok(())
    }
}

fn method(request: &Value) -> ApplyMethodChoice {
    match request["serverSide"].as_str() {
        Some("true") => ApplyMethodChoice::Fixed(ApplyMethod::ServerSide),
        Some("false") => ApplyMethodChoice::Fixed(ApplyMethod::ClientSide),
        _ => ApplyMethodChoice::Auto,
    }
}

fn strings(value: &Value) -> Vec<String> {
    let items = value.as_array().cloned().unwrap_or_default();
    items
        .iter()
        .map(|v| v.as_str().unwrap().to_owned())
        .collect()
}

fn labels(value: &Value) -> BTreeMap<String, String> {
    serde_json::from_value(value.clone()).unwrap_or_default()
}

/// Begins what a request asks for.
fn begin(request: &Value, now: Time) -> Result<Action, ActionError> {
    let history = request["history"].as_array().cloned().unwrap_or_default();
    let history = History::new(history.into_iter().map(|record| {
        let mut record: Release = serde_json::from_value(record).unwrap();
        record.labels = labels(&request["historyLabels"][record.revision.to_string()]);
        record
    }));
    let name = request["name"].as_str().unwrap();
    let template = request["template"].as_str().unwrap_or_default();
    let disable_hooks = flag(request, "disableHooks");
    let max_history = usize::try_from(request["maxHistory"].as_u64().unwrap_or_default()).unwrap();
    let cleanup_on_fail = flag(request, "cleanupOnFail");
    match request["action"].as_str().unwrap() {
        "install" => {
            let mut options = InstallOptions::new(name, NAMESPACE);
            options.replace = flag(request, "replace");
            options.create_namespace = flag(request, "createNamespace");
            options.disable_hooks = disable_hooks;
            options.labels = labels(&request["labels"]);
            if let ApplyMethodChoice::Fixed(method) = method(request) {
                options.apply_method = method;
            }
            let install = Install::check(&history, options)?;
            Ok(install.start(rendered(template, false).0, now))
        }
        "upgrade" => {
            let options = UpgradeOptions {
                disable_hooks,
                apply_method: method(request),
                labels: labels(&request["labels"]),
                cleanup_on_fail,
                max_history,
            };
            let upgrade = Upgrade::check(&history, name, options)?;
            let draft = upgraded(request, &upgrade);
            Ok(upgrade.start(draft, now))
        }
        "rollback" => {
            let options = RollbackOptions {
                revision: request["revision"].as_i64().unwrap_or_default(),
                disable_hooks,
                apply_method: method(request),
                cleanup_on_fail,
                max_history,
            };
            Rollback::start(&history, name, &options, now)
        }
        "uninstall" => {
            let options = UninstallOptions {
                keep_history: flag(request, "keepHistory"),
                disable_hooks,
            };
            Uninstall::start(&history, name, options, now)
        }
        _ => {
            let options = TestOptions {
                include: strings(&request["include"]),
                exclude: strings(&request["exclude"]),
            };
            Test::start(&history, name, &options)
        }
    }
}

/// What our side does for a request: events and an error.
fn ours(request: &Value, fail: &[usize]) -> Value {
    let now = Time::parse("2026-01-01T00:00:00Z").unwrap();
    let mut action = match begin(request, now) {
        Ok(action) => action,
        Err(error) => {
            let source = std::error::Error::source(&error);
            let cause = source.map(|s| format!(": {s}")).unwrap_or_default();
            return json!({"events": [], "error": format!("{error}{cause}"), "info": ""});
        }
    };
    let mut caller = Caller {
        request,
        fail,
        events: Vec::new(),
        base: Vec::new(),
        target: Vec::new(),
        adopted: Vec::new(),
        deleted: String::new(),
        info: String::new(),
    };
    let own = action.release().revision;
    let mut outcome = Ok(());
    loop {
        let step = action.next(now, outcome);
        if let Step::Done(result) = step {
            let error = result.err().unwrap_or_default().to_owned();
            return json!({"events": caller.events, "error": error, "info": caller.info});
        }
        outcome = caller.perform(step, own);
    }
}

/// Takes out what the two sides cannot have in common: the time of an installation, and the causes that ours names when
/// objects cannot be deleted.
fn comparable(request: &Value, mut told: Value) -> Value {
    if request["action"] == "install" {
        for event in told["events"].as_array_mut().unwrap() {
            if let Some(event) = event.as_object_mut() {
                event.remove("first");
            }
        }
    }
    // Helm's record lacks the tests that are left out while the others run.
    let names = |list: &str| strings(&request[list]);
    let (include, exclude) = (names("include"), names("exclude"));
    for event in told["events"].as_array_mut().unwrap() {
        if let Some(hooks) = event["hooks"].as_array_mut() {
            hooks.retain(|hook| {
                let name = hook["name"].as_str().unwrap_or_default().to_owned();
                !exclude.contains(&name) && (include.is_empty() || include.contains(&name))
            });
        }
    }
    let error = told["error"].as_str().unwrap_or_default().to_owned();
    let deleting = "failed to delete release: web";
    if error.starts_with(deleting) {
        told["error"] = json!(deleting);
    }
    if !error.is_empty() {
        told["info"] = json!("");
    }
    told
}

fn cases() -> Vec<Value> {
    let all = format!("{MAPS}{}", hooks());
    let one = |status: &str| json!([record(1, status, MAPS, "ssa")]);
    let mine = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": NAMESPACE,
        "labels": {"app.kubernetes.io/managed-by": "Helm"},
        "annotations": {"meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": NAMESPACE}}});
    let mut other = mine.clone();
    other["metadata"]["annotations"]["meta.helm.sh/release-name"] = json!("\"else\"");
    other["metadata"]["labels"] = json!({});
    let a = "/api/v1/namespaces/apps/configmaps/a";
    let newer = |second: &str| {
        json!([
            record(2, second, MAPS, ""),
            record(1, "deployed", MAPS, "csa")
        ])
    };
    let three = json!([
        record(3, "failed", KEPT, "ssa"),
        record(2, "deployed", MAPS, "csa"),
        record(1, "superseded", KEPT, "ssa")
    ]);
    let mut valued = record(1, "deployed", MAPS, "ssa");
    valued["chart"]["values"] =
        json!({"a": {"old": 1, "both": "chart"}, "drop": 1, "gone": {"x": 1}, "n": null});
    valued["config"] = json!({"a": {"both": "user", "null": null}, "gone": null, "kept": [1]});
    let valued = json!([valued]);
    let mut cases = vec![
        // HE-ACT-011 HE-ACT-012 HE-HOOK-004..007 HE-HOOK-009 HE-HOOK-011..014 HE-HOOK-017 HE-REL-017
        json!({"action": "install", "template": all}),
        json!({"action": "install", "template": all, "disableHooks": true, "serverSide": "false", "labels": {"team": "x"}}),
        // HE-ACT-010
        json!({"action": "install", "template": MAPS, "createNamespace": true}),
        json!({"action": "install", "template": "# nothing\n"}),
        json!({"action": "install", "template": MAPS, "labels": {"owner": "x"}}),
        // HE-ACT-003 HE-ACT-004
        json!({"action": "install", "template": MAPS, "replace": true, "history": one("uninstalled")}),
        json!({"action": "install", "template": MAPS, "replace": true, "history": one("failed")}),
        json!({"action": "install", "template": MAPS, "replace": true, "history": one("deployed")}),
        json!({"action": "install", "template": MAPS, "history": one("uninstalled")}),
        // HE-ACT-008 HE-ACT-009
        json!({"action": "install", "template": all, "live": {a: mine}}),
        json!({"action": "install", "template": all, "live": {a: other}}),
        json!({"action": "install", "template": all, "live": {a: other}, "takeOwnership": true}),
        // HE-ACT-006 HE-KUBE-003
        json!({"action": "install", "template": "apiVersion: x/v1\nkind: Nope\nmetadata: {name: n, namespace: q}\n"}),
        json!({"action": "install", "template": "apiVersion: v1\nkind: Pod\nmetadata: {name: n, generateName: n-}\n"}),
        // HE-HOOK-007
        json!({"action": "install", "template": format!("{MAPS}{}", hook("Odd", "odd", "helm.sh/hook: pre-install"))}),
        json!({"action": "install", "template": format!("{MAPS}{}", hook("Odd", "odd", "helm.sh/hook: post-install, helm.sh/hook-delete-policy: hook-failed"))}),
        // HE-ACT-014..016 HE-ACT-021..024 HE-REL-015
        json!({"action": "upgrade", "template": all, "history": one("deployed"), "serverSide": "auto"}),
        json!({"action": "upgrade", "template": all, "history": one("deployed"), "serverSide": "auto", "cleanupOnFail": true,
            "historyLabels": {"1": {"a": "1", "b": "2"}}, "labels": {"b": "null", "c": "3"}}),
        json!({"action": "upgrade", "template": all, "history": newer("failed"), "serverSide": "auto", "historyLabels": {"1": {"old": "1"}, "2": {"new": "2"}}}),
        json!({"action": "upgrade", "template": MAPS, "history": newer("uninstalled"), "serverSide": "true", "maxHistory": 2}),
        json!({"action": "upgrade", "template": MAPS, "history": three, "serverSide": "auto", "maxHistory": 1, "disableHooks": true}),
        json!({"action": "upgrade", "template": MAPS, "history": three, "serverSide": "false", "maxHistory": 2}),
        json!({"action": "upgrade", "template": MAPS, "history": three, "serverSide": "auto", "maxHistory": 9}),
        json!({"action": "upgrade", "template": MAPS, "serverSide": "auto"}),
        json!({"action": "upgrade", "template": "", "history": one("superseded"), "serverSide": "auto"}),
        // HE-VAL-018 HE-ACT-020
        json!({"action": "upgrade", "template": "kind: ConfigMap\napiVersion: v1\nmetadata: {name: v}\ndata:\n{{ toYaml .Values | indent 2 }}\n",
            "history": valued, "serverSide": "auto", "reuseValues": true,
            "values": {"a": {"new": 1}, "drop": null}, "chartValues": {"fresh": true, "a": {"default": 1}}}),
        json!({"action": "upgrade", "template": "kind: ConfigMap\napiVersion: v1\nmetadata: {name: v}\ndata:\n{{ toYaml .Values | indent 2 }}\n",
            "history": valued, "serverSide": "auto", "values": {"a": {"new": 1}}, "chartValues": {"fresh": true, "a": {"default": 1}}}),
        // HE-ACT-017 HE-ACT-019
        json!({"action": "upgrade", "template": "apiVersion: x/v1\nkind: Nope\n", "history": one("deployed"), "serverSide": "auto"}),
        json!({"action": "upgrade", "template": MAPS, "history": [record(1, "deployed", "apiVersion: x/v1\nkind: Nope\n", "ssa")], "serverSide": "auto"}),
        json!({"action": "upgrade", "template": MAPS, "history": [record(1, "deployed", KEPT, "ssa")], "live": {a: other}, "serverSide": "auto"}),
        json!({"action": "upgrade", "template": MAPS, "history": [record(1, "deployed", KEPT, "ssa")], "live": {a: mine}, "serverSide": "auto"}),
        // HE-ACT-025..029
        json!({"action": "rollback", "history": three, "serverSide": "auto"}),
        json!({"action": "rollback", "history": three, "serverSide": "auto", "revision": 1, "cleanupOnFail": true, "historyLabels": {"1": {"old": "1"}, "3": {"new": "2"}}}),
        json!({"action": "rollback", "history": three, "serverSide": "true", "disableHooks": true, "maxHistory": 2}),
        json!({"action": "rollback", "history": three, "serverSide": "auto", "revision": 9}),
        json!({"action": "rollback", "history": three, "serverSide": "auto", "revision": -1}),
        json!({"action": "rollback", "history": one("deployed"), "serverSide": "auto"}),
        json!({"action": "rollback", "serverSide": "auto"}),
        json!({"action": "rollback", "history": [record(2, "deployed", MAPS, ""), record(1, "deployed", "apiVersion: x/v1\nkind: Nope\n", "")], "serverSide": "auto"}),
        // HE-ACT-030..032 HE-ACT-035..037
        json!({"action": "uninstall", "history": three}),
        json!({"action": "uninstall", "history": three, "keepHistory": true}),
        json!({"action": "uninstall", "history": [record(2, "deployed", KEPT, ""), record(1, "deployed", MAPS, "")], "keepHistory": true, "disableHooks": true}),
        json!({"action": "uninstall", "history": one("uninstalled")}),
        json!({"action": "uninstall", "history": one("uninstalled"), "keepHistory": true}),
        json!({"action": "uninstall", "history": [record(1, "deployed", "", "")], "disableHooks": true}),
        json!({"action": "uninstall"}),
        // HE-ACT-039
        json!({"action": "test", "history": three}),
        json!({"action": "test", "history": three, "include": ["test-b", "no"]}),
        json!({"action": "test", "history": three, "exclude": ["test-a"]}),
        json!({"action": "test"}),
    ];
    for status in [
        "unknown",
        "superseded",
        "uninstalling",
        "pending-install",
        "pending-upgrade",
        "pending-rollback",
    ] {
        cases.push(json!({"action": "upgrade", "template": MAPS, "history": one(status), "serverSide": "auto"}));
        cases.push(
            json!({"action": "install", "template": MAPS, "replace": true, "history": one(status)}),
        );
    }
    // HE-ACT-002
    let long = "x".repeat(54);
    for name in [
        "",
        "Upper",
        "a_b",
        "-a",
        "a-",
        "a.b",
        "a..b",
        "é",
        &long,
        &long[1..],
    ] {
        for action in ["install", "upgrade", "rollback", "uninstall", "test"] {
            cases.push(
                json!({"action": action, "name": name, "template": "", "serverSide": "auto"}),
            );
        }
    }
    for case in &mut cases {
        if case["name"].is_null() {
            case["name"] = json!("web");
        }
        case["mode"] = json!("action");
    }
    cases
}

#[test]
fn actions_do_and_record_what_helm_does_whatever_fails() {
    // HE-ACT-002..004 HE-ACT-006..012 HE-ACT-014..017 HE-ACT-019 HE-ACT-021..032 HE-ACT-035..037 HE-ACT-039
    // HE-HOOK-004..007 HE-HOOK-009 HE-HOOK-011..017 HE-REL-015 HE-REL-017
    let Some(mut go) = Oracle::start("helm-actions") else {
        return;
    };
    let mut questions = Vec::new();
    for case in cases() {
        let events = ours(&case, &[])["events"].as_array().unwrap().len();
        let mut failures = vec![vec![]];
        failures.extend((0..events).map(|i| vec![i]));
        // A failure may lead to other steps, which may fail as well.
        failures.extend((0..events).flat_map(|i| [vec![i, i + 1], vec![i, i + 2], vec![i, i + 3]]));
        for fail in failures {
            let mut question = case.clone();
            question["fail"] = json!(fail);
            questions.push((question, fail));
        }
    }
    let asked: Vec<_> = questions
        .iter()
        .map(|(question, _)| question.clone())
        .collect();
    for ((question, fail), answer) in questions.iter().zip(go.ask_all(&asked)) {
        let Answer::Output(theirs) = answer else {
            panic!("{question:#}: {answer:?}");
        };
        let ours = plain_numbers(comparable(question, ours(question, fail)));
        let mut theirs = plain_numbers(comparable(question, theirs));
        // Helm writes the nulls of the new values into the old record (docs/differences.md, HE-VAL-018).
        for event in theirs["events"].as_array_mut().unwrap() {
            if event["event"] == "update record"
                && event["version"] == json!(1.0)
                && let Some(config) = event["config"].as_object_mut()
            {
                config.remove("drop");
            }
        }
        let mut told = question.clone();
        told.as_object_mut().unwrap().remove("history");
        let brief = |told: &Value| {
            let mut told = told.clone();
            for event in told["events"].as_array_mut().unwrap() {
                if let Some(event) = event.as_object_mut() {
                    event.remove("manifest");
                }
            }
            format!("{told:#}")
        };
        assert!(
            ours == theirs,
            "{told:#}\nours: {}\ntheirs: {}",
            brief(&ours),
            brief(&theirs)
        );
    }
    println!("{} runs compared", questions.len());
}

#[test]
fn an_action_that_is_interrupted_fails() {
    // HE-ACT-013
    let now = Time::parse("2026-01-01T00:00:00Z").unwrap();
    let install = json!({"action": "install", "name": "web", "template": MAPS});
    let upgrade = json!({"action": "upgrade", "name": "web", "template": MAPS, "history": [record(1, "deployed", MAPS, "ssa")]});
    for (request, description) in [
        (install, "Release \"web\" failed: context deadline exceeded"),
        (upgrade, "Upgrade \"web\" failed: context deadline exceeded"),
    ] {
        let mut action = begin(&request, now).unwrap();
        while action.next(now, Ok(())) != Step::Wait {}
        action.interrupt(now, "context deadline exceeded");
        let Step::UpdateRecord(record) = action.next(now, Ok(())) else {
            panic!("nothing is recorded");
        };
        assert_eq!(record.status().as_str(), "failed");
        assert_eq!(record.info.as_ref().unwrap().description, description);
        assert_eq!(
            action.next(now, Ok(())),
            Step::Done(Err("context deadline exceeded"))
        );
    }
}

#[test]
fn objects_are_applied_as_the_records_say() {
    // HE-ACT-024 HE-ACT-028 HE-KUBE-013 HE-KUBE-014 HE-KUBE-015
    let now = Time::zero();
    let settings = |request: Value, adopted, own| {
        let settings = begin(&request, now).unwrap().apply_settings(adopted, own);
        (
            settings.method == ApplyMethod::ServerSide,
            settings.force_conflicts,
            settings.migrate_managers,
            settings.three_way_for_custom,
        )
    };
    let install = |side: &str| json!({"action": "install", "name": "web", "template": MAPS, "serverSide": side});
    let upgrade = |old: &str, side: &str| json!({"action": "upgrade", "name": "web", "template": MAPS, "serverSide": side, "history": [record(1, "deployed", MAPS, old)]});
    for (request, adopted, own, want) in [
        (install("true"), false, false, (true, false, false, false)),
        (install("true"), true, true, (true, true, true, false)),
        (install("false"), true, true, (false, false, false, true)),
        (install("false"), true, false, (false, false, false, false)),
        (
            upgrade("ssa", "auto"),
            false,
            false,
            (true, true, false, false),
        ),
        (
            upgrade("csa", "auto"),
            true,
            true,
            (false, false, false, false),
        ),
        (
            upgrade("", "auto"),
            false,
            false,
            (false, false, false, false),
        ),
        (upgrade("", "true"), false, false, (true, true, true, false)),
        (
            upgrade("ssa", "false"),
            false,
            false,
            (false, false, false, false),
        ),
    ] {
        assert_eq!(settings(request.clone(), adopted, own), want, "{request}");
    }
    let history = json!([
        record(2, "deployed", MAPS, "csa"),
        record(1, "superseded", MAPS, "ssa")
    ]);
    let rollback = json!({"action": "rollback", "name": "web", "history": history});
    assert_eq!(settings(rollback, false, false), (true, true, true, false));
}

#[test]
fn names_are_checked() {
    // HE-ACT-002
    for good in ["a", "0", "a-b", "a.b-c.d0"] {
        assert_eq!(check_name(good), Ok(()), "{good}");
    }
}

const MANIFESTS: &[&str] = &[
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {a: 1}}\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a, annotations: [a]}\n",
    "apiVersion: v1\nkind: Pod\nmetadata: text\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {a: null}}\n",
    "apiVersion: 1\nkind: Pod\n",
    "apiVersion: v1\nkind: 5\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a, creationTimestamp: 5}\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a, finalizers: x, generation: x, ownerReferences: {}}\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {uid: 5, generation: x}\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {generation: x, ownerReferences: {}}\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {ownerReferences: {}}\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {managedFields: x, finalizers: [x]}\n",
    "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Pod, metadata: {name: 5, labels: {a: 1}}}]\n",
    "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1}]\n",
    "apiVersion: v1\nkind: List\nitems: [5]\n",
    "",
    "---\n# Source: a\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {n: \"1\"}\n---\n# only a comment\n---\nnull\n",
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: else}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: a, namespace: wrong}\n",
    "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: s}}\n- {apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: r}}\n",
    "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: List\n  items: [{apiVersion: v1, kind: Pod, metadata: {name: inner}}]\n- {apiVersion: v1, kind: Pod, metadata: {name: outer}}\n",
    "apiVersion: v1\nkind: List\nitems: []\n",
    "apiVersion: v1\nkind: List\nitems: null\n",
    "apiVersion: v1\nkind: List\nitems: text\n",
    "apiVersion: v1\nkind: ConfigMapList\nitems: [{metadata: {name: a}}]\n",
    "apiVersion: v1\nkind: List\nitems: [{metadata: {name: a}}]\n",
    "apiVersion: v1\nkind: List\nitems: [{apiVersion: x/v1, kind: Nope}, {apiVersion: v1, kind: Pod}, {apiVersion: y/v1, kind: Nope}]\n",
    "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\nitems: [{metadata: {name: a}}]\n",
    "apiVersion: v1\nmetadata: {name: a}\nx: '<&>'\n",
    "[1]\n",
    "text\n",
    "apiVersion: x/v1\nkind: Nope\nmetadata: {name: '\"n\"', namespace: q}\n---\napiVersion: x/v1\nkind: Nope\nmetadata: {name: '\"n\"', namespace: q}\n",
    "apiVersion: x/v1\nkind: Nope\nmetadata: {name: n}\n---\nkind: Nope\n---\napiVersion: v1\nkind: Pod\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\na: [\n---\napiVersion: x/v1\nkind: Nope\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n--- text\napiVersion: v1\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {a: 1.0, b: 1.5, c: 10000000000000000000, d: 1e3, e: -0, f: 12345678901}\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {generateName: a-, labels: null}\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: 5, namespace: null}\n",
];

#[test]
fn objects_of_a_manifest_are_read_as_helm_reads_them() {
    // HE-KUBE-002 HE-KUBE-003 HE-ACT-006
    let Some(mut go) = Oracle::start("helm-actions") else {
        return;
    };
    let questions: Vec<_> = MANIFESTS
        .iter()
        .map(|manifest| json!({"mode": "objects", "manifest": manifest, "namespace": NAMESPACE}))
        .collect();
    for (manifest, answer) in MANIFESTS.iter().zip(go.ask_all(&questions)) {
        let ours = match objects(manifest, NAMESPACE, &scope) {
            Ok(objects) => Answer::Output(
                objects
                    .iter()
                    .map(|o| json!({"namespace": o.namespace, "name": o.name, "object": as_json(&o.value)}))
                    .collect(),
            ),
            Err(error) => Answer::Error(error.to_string()),
        };
        let (ours, theirs) = (plain(ours), plain(answer));
        assert_eq!(ours, theirs, "{manifest}");
    }
}

fn plain(answer: Answer) -> Answer {
    match answer {
        Answer::Output(value) => Answer::Output(plain_numbers(value)),
        error => error,
    }
}

/// Numbers by what they are worth: JSON text has several ways to write one.
fn plain_numbers(value: Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.into_iter().map(plain_numbers).collect(),
        Value::Object(entries) => entries
            .into_iter()
            .map(|(key, value)| (key, plain_numbers(value)))
            .collect(),
        other => other,
    }
}

fn as_json(value: &flux_yaml::Value) -> Value {
    let config: Values = [("v".to_owned(), value.clone())].into_iter().collect();
    let release = Release {
        config,
        ..Release::default()
    };
    serde_json::to_value(release).unwrap()["config"]["v"].take()
}

/// The requests of an update by server-side apply or replacement, as ours would make them from its plan.
fn requests(question: &Value) -> Vec<Value> {
    let manifest =
        |name: &str| objects(question[name].as_str().unwrap(), NAMESPACE, &scope).unwrap();
    let (base, target) = (manifest("base"), manifest("target"));
    let plan = plan(&base, &target, &[] as &[Identity<'_>]);
    let live = |object: &Object| !question["live"][path(object)].is_null();
    let mut requests = Vec::new();
    let mut ask = |method: &str, path: String| requests.push(json!([method, path]));
    for update in &plan.updates {
        let at = path(update.target);
        ask("GET", at.clone());
        if live(update.target) {
            if update.original.is_none() {
                ask("GET", at.clone());
            }
            if flag(question, "force") {
                // Helm reads the version to replace.
                ask("GET", at.clone());
                ask("PUT", at);
                continue;
            }
            ask("PATCH", at);
        } else if flag(question, "serverSide") {
            ask("PATCH", at);
        } else {
            ask("POST", at.rsplit_once('/').unwrap().0.to_owned());
        }
    }
    for object in plan.prune {
        ask("GET", path(object));
        let found = &question["live"][path(object)];
        if found.is_null() {
            continue;
        }
        let found = flux_yaml::sigs::from_str(found.to_string()).unwrap();
        if !flux_helm::action::ResourcePolicy::keeps(&found) {
            ask("DELETE", path(object));
        }
    }
    requests
}

#[test]
fn what_is_created_changed_and_pruned_is_what_helm_creates_changes_and_prunes() {
    // HE-KUBE-005 HE-KUBE-007 HE-KUBE-008 HE-KUBE-014 HE-KUBE-016 HE-KUBE-017 HE-KUBE-020
    let Some(mut go) = Oracle::start("helm-actions") else {
        return;
    };
    let map = |name: &str, more: &str| {
        format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}{more}}}\n")
    };
    let at = |name: &str| format!("/api/v1/namespaces/apps/configmaps/{name}");
    let live = |name: &str, annotations: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": NAMESPACE, "annotations": annotations}});
    let beta = "---\napiVersion: batch/v1beta1\nkind: CronJob\nmetadata: {name: c}\n";
    let stable = "---\napiVersion: batch/v1\nkind: CronJob\nmetadata: {name: c}\n";
    let deployment = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n";
    let cases = [
        (
            map("a", ""),
            map("a", ""),
            json!({at("a"): live("a", json!({}))}),
        ),
        (
            map("a", ""),
            map("b", ""),
            json!({at("a"): live("a", json!({}))}),
        ),
        (
            map("a", "") + &map("gone", ""),
            map("b", "") + &map("a", ""),
            json!({at("a"): live("a", json!({})), at("b"): live("b", json!({}))}),
        ),
        (
            map("a", ""),
            String::new(),
            json!({at("a"): live("a", json!({"helm.sh/resource-policy": "keep"}))}),
        ),
        (
            map("a", ""),
            String::new(),
            json!({at("a"): live("a", json!({"helm.sh/resource-policy": "Keep"}))}),
        ),
        (
            map("a", ", annotations: {helm.sh/resource-policy: keep}"),
            String::new(),
            json!({at("a"): live("a", json!({}))}),
        ),
        (
            map("a", ""),
            map("a", ", namespace: other"),
            json!({at("a"): live("a", json!({}))}),
        ),
        (
            beta.to_owned(),
            stable.to_owned(),
            json!({"/apis/batch/v1/namespaces/apps/cronjobs/c": {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c", "namespace": NAMESPACE}}}),
        ),
        (
            map("a", ""),
            deployment.to_owned(),
            json!({at("a"): live("a", json!({}))}),
        ),
    ];
    for (base, target, live) in cases {
        for (server_side, force) in [(true, false), (false, true)] {
            let question = json!({"mode": "update", "base": base, "target": target, "namespace": NAMESPACE, "live": live,
                "serverSide": server_side, "conflicts": server_side, "force": force});
            let Answer::Output(theirs) = go.ask(&question) else {
                panic!("{question:#}");
            };
            assert_eq!(theirs["error"], "", "{question:#}");
            let theirs: Vec<_> = theirs["requests"]
                .as_array()
                .unwrap()
                .iter()
                // Where something is not found, Helm looks for the namespace.
                .filter(|request| request["path"] != "/api/v1/namespaces/apps")
                .map(|request| json!([request["method"], request["path"]]))
                .collect();
            assert_eq!(requests(&question), theirs, "{question:#}");
        }
    }
}
