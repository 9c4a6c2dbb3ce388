//! The steps of one action, carried out.

use flux_apply::{Cluster, Rules};
use flux_errors::chain;
use flux_helm::Release;
use flux_helm::action::{
    Action, ApplyMethod, ApplySettings, Identity, Object, Owner, Step, WaitStrategy, deletion,
    objects, target_objects,
};
use kube::api::PropagationPolicy;

use crate::build::Kinds;
use crate::create::{Creation, create_all};
use crate::delete::delete_all;
use crate::error::RecordsError;
use crate::existing::adopted;
use crate::live::id_of;
use crate::releaser::{Options, Releaser};
use crate::update::{Change, Done};
use crate::waiting::Waiting;

/// What is known in the course of one action.
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
    /// The places in `target` of objects that lived before the release did.
    adopted: Vec<usize>,
    done: Done,
    /// Objects that are deleted but not gone yet.
    going: Vec<Object>,
    pub(crate) info: String,
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
            going: Vec::new(),
            info: String::new(),
        }
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        self.releaser.cluster()
    }

    pub(crate) fn options(&self) -> &Options {
        self.releaser.options()
    }

    pub(crate) fn waiting(&self, strategy: WaitStrategy) -> Waiting<'_> {
        Waiting {
            cluster: self.releaser.cluster(),
            kinds: &self.kinds,
            strategy,
            timeout: self.options().timeout,
        }
    }

    /// When an object needs not be waited for.
    fn rules(&self) -> Rules {
        if self.options().wait_for_jobs {
            Rules::Complete
        } else {
            Rules::Running
        }
    }

    /// Does what a step asks for. `stored` hears of each record that was written; `stopped` ends a wait for objects.
    pub(crate) async fn step(
        &mut self,
        step: Step<'_>,
        stored: &mut (dyn FnMut(&Release) + Send),
        stopped: impl Future<Output = ()> + Send,
    ) -> Result<(), String> {
        let records = self.releaser.records();
        let said = |error: RecordsError| chain(&error);
        match step {
            Step::Build(record) => {
                let cluster = self.releaser.cluster();
                let read = self
                    .kinds
                    .read(cluster, |scope| target_objects(record, scope));
                self.target = read.await?;
                Ok(())
            }
            Step::BuildBase(record) => {
                let cluster = self.releaser.cluster();
                let read = self.kinds.read(cluster, |scope| {
                    objects(&record.manifest, &record.namespace, scope)
                });
                self.base = read.await?;
                Ok(())
            }
            Step::CheckExisting => self.check_existing().await,
            Step::CreateNamespace => self.create_namespace().await,
            Step::CreateRecord(record) => {
                records.create(record).await.map_err(said)?;
                stored(record);
                Ok(())
            }
            Step::UpdateRecord(record) => {
                records.update(record).await.map_err(said)?;
                stored(record);
                Ok(())
            }
            Step::DeleteRecord(revision) => {
                records.delete(&self.name, revision).await.map_err(said)
            }
            Step::Hook(step, hook) => self.hook(step, hook).await,
            Step::Apply => self.apply().await,
            Step::Wait => {
                let wait = self.waiting(self.options().wait);
                // Helm 3's way of waiting has its own rules, and is never stopped (HC-WAIT-020).
                let judged = self.options().wait == WaitStrategy::Watcher;
                let unsettled =
                    |object: &&Object| !(judged && self.done.settled.contains(&id_of(object)));
                let objects: Vec<&Object> = self.target.iter().filter(unsettled).collect();
                let ready = wait.ready(&objects, self.options().wait_for_jobs);
                tokio::select! {
                    ready = ready => ready,
                    () = stopped, if judged => Err("context canceled".to_owned()),
                }
            }
            Step::CleanUp => self.clean_up().await,
            Step::DeleteObjects(record) => self.delete_objects(record).await,
            Step::WaitDeleted if self.options().wait == WaitStrategy::HookOnly => Ok(()),
            Step::WaitDeleted => {
                let wait = self.waiting(self.options().wait);
                wait.gone(&self.going).await
            }
            Step::Done(_) => Ok(()),
        }
    }

    async fn check_existing(&mut self) -> Result<(), String> {
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
    async fn create_namespace(&mut self) -> Result<(), String> {
        let name = &self.namespace;
        let manifest = format!(
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  labels:\n    name: {name}\n  name: {name}\n"
        );
        let read = self.kinds.read(self.releaser.cluster(), |scope| {
            objects(&manifest, name, scope)
        });
        let built = read.await?;
        let method = self.settings[0].method;
        if method == ApplyMethod::ClientSide && self.lives(&built).await? {
            return Ok(());
        }
        let how = Creation {
            method,
            force: false,
            rules: self.rules(),
        };
        let made = create_all(self.cluster(), &self.kinds, &built, how).await;
        made.map(drop)
    }

    async fn lives(&self, objects: &[Object]) -> Result<bool, String> {
        for object in objects {
            let resource = self.kinds.resource(object)?;
            match self.cluster().get_metadata(resource, &id_of(object)).await {
                Ok(_) => {}
                Err(error) if error.is_not_found() => return Ok(false),
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(true)
    }

    async fn apply(&mut self) -> Result<(), String> {
        let [plain, adopting] = self.settings;
        if self.is_install && self.adopted.is_empty() {
            if self.target.is_empty() {
                return Ok(());
            }
            let how = Creation {
                method: plain.method,
                force: plain.force_conflicts,
                rules: self.rules(),
            };
            let cluster = self.releaser.cluster();
            let settled = create_all(cluster, &self.kinds, &self.target, how).await?;
            self.done.settled.extend(settled);
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
        };
        change
            .update(&self.base, &self.target, &adopted, &mut self.done)
            .await
    }

    async fn clean_up(&mut self) -> Result<(), String> {
        if self.done.created.is_empty() {
            return Ok(());
        }
        let background = PropagationPolicy::Background;
        let objects = &self.done.created;
        let deleted = delete_all(self.cluster(), &self.kinds, objects, None, &background).await;
        if deleted.errors.is_empty() {
            Ok(())
        } else {
            Err(deleted.errors.join(", "))
        }
    }

    async fn delete_objects(&mut self, record: &Release) -> Result<(), String> {
        let deletion = deletion(&record.manifest).map_err(|error| {
            let why = chain(&error);
            format!("corrupted release record. You must manually delete the resources: {why}")
        })?;
        let read = self.kinds.read(self.releaser.cluster(), |scope| {
            objects(&deletion.manifest, &record.namespace, scope)
        });
        let built = read
            .await
            .map_err(|error| format!("unable to build kubernetes objects for delete: {error}"))?;
        self.info = deletion.info();
        if built.is_empty() {
            return Ok(());
        }
        let policy = self.options().propagation.into();
        let owner = Some(Owner::of(record));
        let deleted = delete_all(self.cluster(), &self.kinds, &built, owner, &policy).await;
        if !deleted.errors.is_empty() {
            return Err(deleted.errors.join("; "));
        }
        let going = deleted.going.into_iter().cloned().collect();
        self.info.push_str(&left_alone(&deleted.foreign));
        self.going = going;
        Ok(())
    }
}

/// What newer versions of Helm say of objects that are not the release's (HE-ACT-038).
fn left_alone(foreign: &[&Object]) -> String {
    if foreign.is_empty() {
        return String::new();
    }
    let count = foreign.len();
    let mut text = format!(
        "{count} resource(s) were not deleted because they are not owned by this release:\n"
    );
    for object in foreign {
        text.push('[');
        text.push_str(&object.kind);
        text.push_str("] ");
        text.push_str(&object.name);
        text.push('\n');
    }
    text
}
