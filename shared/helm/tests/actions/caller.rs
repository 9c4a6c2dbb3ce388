//! A fake of the cluster and of Helm's storage.

use std::collections::BTreeMap;

use flux_helm::action::{
    Action, ActionError, ApplyMethod, ApplyMethodChoice, Failed, History, HookStep, Install,
    InstallOptions, Object, Owner, Rollback, RollbackOptions, Step, Test, TestOptions, Uninstall,
    UninstallOptions, Upgrade, UpgradeOptions, deletion, objects, target_objects, unclaimed,
};
use flux_helm::{Release, Time};
use serde_json::{Value, json};

use super::{NAMESPACE, flag, names, path, rendered, scope, upgraded};

/// A fake of the cluster and of Helm's storage that records the requests to it.
pub(crate) struct Caller<'r> {
    request: &'r Value,
    fail: &'r [usize],
    events: Vec<Value>,
    base: Vec<Object>,
    target: Vec<Object>,
    adopted: Vec<usize>,
    deleted: String,
    info: String,
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

    fn perform(&mut self, step: Step<'_>) -> Result<(), String> {
        let all = names(&self.target);
        match step {
            Step::Build(record) => {
                self.target = target_objects(record, &scope).map_err(|e| e.to_string())?;
                Ok(())
            }
            Step::BuildBase(record) => {
                self.base = Self::build(&record.manifest)?;
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
            Step::DeleteObjects(_) => self.delete_objects(),
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

pub(crate) fn method(request: &Value) -> ApplyMethodChoice {
    match request["serverSide"].as_str() {
        Some("true") => ApplyMethodChoice::Fixed(ApplyMethod::ServerSide),
        Some("false") => ApplyMethodChoice::Fixed(ApplyMethod::ClientSide),
        _ => ApplyMethodChoice::Auto,
    }
}

pub(crate) fn strings(value: &Value) -> Vec<String> {
    let items = value.as_array().cloned().unwrap_or_default();
    items
        .iter()
        .map(|v| v.as_str().unwrap().to_owned())
        .collect()
}

pub(crate) fn labels(value: &Value) -> BTreeMap<String, String> {
    serde_json::from_value(value.clone()).unwrap_or_default()
}

/// Starts the action of a request.
pub(crate) fn begin(request: &Value, now: Time) -> Result<Action, ActionError> {
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

/// The events and the error of this crate's action for a request.
pub(crate) fn ours(request: &Value, fail: &[usize]) -> Value {
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
    let mut outcome = Ok(());
    loop {
        let step = action.next(now, outcome);
        if let Step::Done(result) = step {
            let error = result.err().map(ToString::to_string).unwrap_or_default();
            return json!({"events": caller.events, "error": error, "info": caller.info});
        }
        outcome = caller.perform(step).map_err(Failed::new);
    }
}

/// Removes the parts in which the two sides cannot agree: the time of an installation, and the causes that only this crate
/// reports when objects cannot be deleted.
pub(crate) fn comparable(request: &Value, mut told: Value) -> Value {
    if request["action"] == "install" {
        for event in told["events"].as_array_mut().unwrap() {
            if let Some(event) = event.as_object_mut() {
                event.remove("first");
            }
        }
    }
    // Helm's record lacks the skipped tests while the others run.
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
