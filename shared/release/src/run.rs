//! Performs the steps of one action.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use flux_cluster::{Cluster, Rules};
use flux_helm::Release;
use flux_helm::action::{
    Action, ApplyMethod, ApplySettings, Identity, Object, Owner, Step, WaitStrategy, deletion,
};
use kube::api::PropagationPolicy;

use crate::adopt::adopted;
use crate::convert::id_of;
use crate::create::{Creation, create_all};
use crate::delete::{Owned, delete_all, owned, unchecked};
use crate::error::StepError;
use crate::kinds::Kinds;
use crate::log::{Lines, LogLevel};
use crate::records::Newest;
use crate::releaser::{Options, Releaser};
use crate::update::{Change, Done};
use crate::waiting::Waiting;

/// The state of one action.
pub(crate) struct Run<'r> {
    pub(crate) releaser: &'r Releaser,
    pub(crate) kinds: Kinds,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) hook_method: ApplyMethod,
    pub(crate) hook_strategy: WaitStrategy,
    is_install: bool,
    /// How objects are applied, without and with any that were adopted.
    settings: [ApplySettings; 2],
    base: Vec<Object>,
    target: Vec<Object>,
    /// The indexes in `target` of objects that existed before the release.
    adopted: Vec<usize>,
    done: Done,
    /// Objects that are being deleted.
    deleting: Vec<Object>,
    /// The objects of hooks, by manifest.
    pub(crate) hooks: HashMap<String, Arc<Vec<Object>>>,
    pub(crate) info: String,
    /// The newest record that was written, if the server stores what was sent.
    pub(crate) newest: Option<Newest>,
}

impl<'r> Run<'r> {
    pub(crate) fn new(releaser: &'r Releaser, action: &Action) -> Self {
        let take = releaser.options().take_ownership;
        Self {
            releaser,
            kinds: Kinds::default(),
            name: action.release().name.clone(),
            namespace: action.release().namespace.clone(),
            hook_method: action.hook_method(),
            hook_strategy: action.hook_strategy(releaser.options().wait),
            is_install: action.is_install(),
            settings: [false, true].map(|adopted| action.apply_settings(adopted, take)),
            base: Vec::new(),
            target: Vec::new(),
            adopted: Vec::new(),
            done: Done::default(),
            deleting: Vec::new(),
            hooks: HashMap::new(),
            info: String::new(),
            newest: None,
        }
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        self.releaser.cluster()
    }

    pub(crate) fn options(&self) -> &Options {
        self.releaser.options()
    }

    pub(crate) fn log(&self) -> Lines<'r> {
        Lines(&*self.releaser.options().log)
    }

    pub(crate) fn waiting(&self, strategy: WaitStrategy) -> Waiting<'_> {
        Waiting {
            cluster: self.releaser.cluster(),
            kinds: &self.kinds,
            checks: &self.releaser.options().checks,
            strategy,
            timeout: self.options().timeout,
        }
    }

    /// The rules by which an object is ready.
    fn rules(&self) -> Rules {
        if self.options().wait_for_jobs {
            Rules::Complete
        } else {
            Rules::Running
        }
    }

    /// Performs a step. `stored` is called with each written record; `stopped` cancels the wait for objects.
    pub(crate) async fn step(
        &mut self,
        step: Step<'_>,
        stored: &mut (dyn FnMut(&Release) + Send),
        stopped: impl Future<Output = ()> + Send,
    ) -> Result<(), StepError> {
        let records = self.releaser.records();
        let cluster = self.releaser.cluster();
        match step {
            Step::Build(record) => {
                let (manifest, namespace) = (&record.manifest, &record.namespace);
                let objects = self.kinds.objects(cluster, manifest, namespace);
                self.target = objects.await?;
                for object in &mut self.target {
                    Owner::of(record).stamp(object);
                }
                Ok(())
            }
            Step::BuildBase(record) => {
                let (manifest, namespace) = (&record.manifest, &record.namespace);
                let objects = self.kinds.objects(cluster, manifest, namespace);
                self.base = objects.await?;
                Ok(())
            }
            Step::CheckExisting => self.check_existing().await,
            Step::CreateNamespace => self.create_namespace().await,
            Step::CreateRecord(record) => {
                let written = records.create(record).await?;
                self.wrote(record, written);
                stored(record);
                Ok(())
            }
            Step::UpdateRecord(record) => {
                let written = records.update(record).await?;
                self.wrote(record, written);
                stored(record);
                Ok(())
            }
            Step::DeleteRecord(revision) => Ok(records.delete(&self.name, revision).await?),
            Step::Hook(step, hook) => self.hook(step, hook).await,
            Step::Apply => self.apply().await,
            Step::Wait => {
                let wait = self.waiting(self.options().wait);
                // Waiting by the rules of Helm 3 is never cancelled (HC-WAIT-020).
                let watches = self.options().wait == WaitStrategy::Watcher;
                // Expressions decide about the objects that they are for, whatever their own status says (HC-WAIT-011).
                let checks = &self.options().checks;
                let answers = &self.done.answers;
                let unready = |object: &&Object| {
                    let id = id_of(object);
                    !watches || checks.apply_to(&id) || !answers.ready.contains(&id)
                };
                let objects: Vec<&Object> = self.target.iter().filter(unready).collect();
                let ready = wait.ready(&objects, &answers.stored, self.options().wait_for_jobs);
                tokio::select! {
                    ready = ready => ready,
                    () = stopped, if watches => Err(StepError::Cancelled),
                }
            }
            Step::CleanUp => self.clean_up().await,
            Step::DeleteObjects(record) => self.delete_objects(record).await,
            Step::WaitDeleted if self.options().wait == WaitStrategy::HookOnly => Ok(()),
            Step::WaitDeleted => {
                let wait = self.waiting(self.options().wait);
                wait.gone(&self.deleting).await
            }
            Step::Done(_) => Ok(()),
        }
    }

    fn wrote(&mut self, record: &Release, written: Option<Newest>) {
        let newest = self.newest.as_ref();
        if newest.is_none_or(|newest| newest.revision <= record.revision) {
            self.newest = written;
        }
    }

    async fn check_existing(&mut self) -> Result<(), StepError> {
        let owner = Owner {
            name: &self.name,
            namespace: &self.namespace,
        };
        let owner = (!self.options().take_ownership).then_some(owner);
        let cluster = self.cluster();
        self.adopted = adopted(cluster, &self.kinds, owner, &self.base, &self.target).await?;
        Ok(())
    }

    /// HE-ACT-010
    async fn create_namespace(&mut self) -> Result<(), StepError> {
        let name = &self.namespace;
        let manifest = format!(
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  labels:\n    name: {name}\n  name: {name}\n"
        );
        let cluster = self.releaser.cluster();
        let built = self.kinds.objects(cluster, &manifest, name).await?;
        let method = self.settings[0].method;
        if method == ApplyMethod::ClientSide && self.all_exist(&built).await? {
            return Ok(());
        }
        let how = Creation {
            method,
            force: false,
            rules: self.rules(),
            log: self.log(),
        };
        let made = create_all(self.cluster(), &self.kinds, &built, how).await;
        made.map(drop)
    }

    async fn all_exist(&self, objects: &[Object]) -> Result<bool, StepError> {
        for object in objects {
            let resource = self.kinds.resource(object)?;
            match self.cluster().get_metadata(resource, &id_of(object)).await {
                Ok(_) => {}
                Err(error) if error.is_not_found() => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    async fn apply(&mut self) -> Result<(), StepError> {
        let [plain, adopting] = self.settings;
        if self.is_install && self.adopted.is_empty() {
            if self.target.is_empty() {
                return Ok(());
            }
            let how = Creation {
                method: plain.method,
                force: plain.force_conflicts,
                rules: self.rules(),
                log: self.log(),
            };
            let cluster = self.releaser.cluster();
            let answers = create_all(cluster, &self.kinds, &self.target, how).await?;
            self.done.answers = answers;
            return Ok(());
        }
        let settings = if self.adopted.is_empty() {
            plain
        } else {
            adopting
        };
        let adopted: Vec<Identity<'_>> = self
            .adopted
            .iter()
            .filter_map(|place| self.target.get(*place))
            .map(Object::identity)
            .collect();
        let change = Change {
            cluster: self.releaser.cluster(),
            kinds: &self.kinds,
            owner: Owner {
                name: &self.name,
                namespace: &self.namespace,
            },
            settings,
            replace: self.releaser.options().force,
            rules: self.rules(),
            log: Lines(&*self.releaser.options().log),
        };
        change
            .update(&self.base, &self.target, &adopted, &mut self.done)
            .await
    }

    async fn clean_up(&mut self) -> Result<(), StepError> {
        if self.done.created.is_empty() {
            return Ok(());
        }
        let background = PropagationPolicy::Background;
        let objects = unchecked(&self.done.created);
        let (cluster, kinds) = (self.cluster(), &self.kinds);
        let deleted = delete_all(cluster, kinds, &objects, &background, self.log()).await;
        StepError::of_several(deleted.errors, ", ")
    }

    async fn delete_objects(&mut self, record: &Release) -> Result<(), StepError> {
        let deletion = deletion(&record.manifest).map_err(StepError::CorruptRecord)?;
        let cluster = self.releaser.cluster();
        let built = self
            .kinds
            .objects(cluster, &deletion.manifest, &record.namespace);
        let built = built.await;
        let built = built.map_err(|error| StepError::BuildForDeletion(Box::new(error)))?;
        self.info = deletion.info();
        if built.is_empty() {
            return Ok(());
        }
        let owned = owned(cluster, &self.kinds, &built, Owner::of(record)).await?;
        self.info.push_str(&not_deleted(&self.info, &owned));
        self.log_left(&owned);
        if owned.own.is_empty() {
            return Ok(());
        }
        let policy = self.options().propagation.into();
        let deleted = delete_all(cluster, &self.kinds, &owned.own, &policy, self.log()).await;
        StepError::of_several(deleted.errors, "; ")?;
        self.deleting = deleted.deleting.into_iter().cloned().collect();
        Ok(())
    }

    /// Logs which objects are left on the cluster (HE-ACT-041).
    fn log_left(&self, owned: &Owned<'_>) {
        for object in &owned.foreign {
            let message = "skipping delete of resource not owned by this release";
            tracing::warn!(%object, "{message}");
            self.log().about(LogLevel::Warn, message, object);
        }
        for (object, error) in &owned.unknown {
            let message = "skipping delete of resource because ownership could not be verified";
            tracing::warn!(%object, %error, "{message}");
            self.log().about(LogLevel::Warn, message, object);
        }
    }
}

/// Helm's text about objects that were left on the cluster: the release does not own them, or it is unknown whether it
/// does (HE-ACT-041, HE-ACT-042). `kept` is the text before.
fn not_deleted(kept: &str, owned: &Owned<'_>) -> String {
    let mut text = String::new();
    let begin = |text: &mut String, count: usize, why: &str| {
        if !(kept.is_empty() && text.is_empty()) {
            text.push('\n');
        }
        let _ = writeln!(text, "{count} resource(s) were not deleted because {why}:");
    };
    if !owned.foreign.is_empty() {
        let why = "they are not owned by this release";
        begin(&mut text, owned.foreign.len(), why);
        for object in &owned.foreign {
            let _ = writeln!(text, "[{}] {}", object.kind, object.name);
        }
    }
    if !owned.unknown.is_empty() {
        let why = "their ownership could not be verified";
        begin(&mut text, owned.unknown.len(), why);
        for (object, error) in &owned.unknown {
            let _ = writeln!(text, "[{}] {}: {error}", object.kind, object.name);
        }
    }
    text
}
