//! Creates and updates the objects of a release, and prunes objects that are no longer in it.

use flux_cluster::managers::{Cleanup, FieldManager, Operation};
use flux_cluster::{Cluster, RequestError, Resource, Rules};
use flux_errors::chain;
use flux_helm::action::{
    ApplyMethod, ApplySettings, Identity, Object, Owner, ResourcePolicy, Update, plan,
};
use flux_helm::patch::create_patch;
use serde_json::json;

use crate::convert::{id_of, named, request_of, value_of};
use crate::create::{Answers, Creation, create, refused, server_side};
use crate::delete::delete_live;
use crate::error::StepError;
use crate::kinds::Kinds;
use crate::log::{Lines, LogLevel};

/// How a release's objects are created and updated.
pub(crate) struct Change<'r> {
    pub(crate) cluster: &'r Cluster,
    pub(crate) kinds: &'r Kinds,
    pub(crate) owner: Owner<'r>,
    pub(crate) settings: ApplySettings,
    /// Whether objects are replaced completely, client-side (HE-KUBE-014).
    pub(crate) replace: bool,
    /// The rules by which an object is ready; a ready object need not be waited for.
    pub(crate) rules: Rules,
    pub(crate) log: Lines<'r>,
}

/// The changes made so far.
#[derive(Default)]
pub(crate) struct Done {
    /// Objects that did not exist.
    pub(crate) created: Vec<Object>,
    /// What the responses show.
    pub(crate) answers: Answers,
}

impl Change<'_> {
    /// Creates and updates the objects in order, then prunes. `done` records the changes even if something fails
    /// (HE-KUBE-007).
    pub(crate) async fn update(
        &self,
        base: &[Object],
        target: &[Object],
        adopted: &[Identity<'_>],
        done: &mut Done,
    ) -> Result<(), StepError> {
        self.announce(target.len());
        let plan = plan(base, target, adopted);
        let mut errors = Vec::new();
        for update in &plan.updates {
            let object = update.target;
            match self.live(object).await {
                Ok(live) => match self.change(update, &live).await {
                    Ok(live) => done.answers.add(live, self.rules),
                    Err(error) => errors.push(error),
                },
                Err(error) if error.is_not_found() => {
                    done.created.push(object.clone());
                    let live = self.create(object).await?;
                    done.answers.add(live, self.rules);
                }
                Err(error) => return Err(StepError::GetForUpdate(error)),
            }
        }
        if errors.is_empty() {
            // HE-KUBE-018
            for object in &plan.prune {
                errors.extend(self.prune(object).await.err());
            }
        }
        StepError::of_several(errors, " && ")
    }

    /// Logs how objects are updated.
    fn announce(&self, count: usize) {
        self.creation().announce();
        let strict = ("fieldValidationDirective", json!("Strict"));
        let settings = &self.settings;
        match settings.method {
            ApplyMethod::ServerSide => self.log.debug(
                "using server-side apply for resource update",
                &[
                    ("forceConflicts", json!(settings.force_conflicts)),
                    ("dryRun", json!(false)),
                    strict,
                    (
                        "upgradeClientSideFieldManager",
                        json!(settings.migrate_managers),
                    ),
                ],
            ),
            ApplyMethod::ClientSide if self.replace => self
                .log
                .debug("using resource replace update strategy", &[strict]),
            ApplyMethod::ClientSide => self.log.debug(
                "using client-side apply for resource update",
                &[(
                    "threeWayMergeForUnstructured",
                    json!(settings.three_way_for_custom),
                )],
            ),
        }
        let message = "checking resources for changes";
        self.log.debug(message, &[("resources", json!(count))]);
    }

    fn creation(&self) -> Creation<'_> {
        Creation {
            method: self.settings.method,
            force: self.settings.force_conflicts,
            rules: self.rules,
            log: self.log,
        }
    }

    /// The object on the cluster: only its metadata if the server computes the change, the whole object otherwise.
    async fn live(&self, object: &Object) -> Result<flux_cluster::Object, RequestError> {
        let resource = (self.kinds.resource(object))
            .map_err(|error| RequestError::local(error.to_string()))?;
        match self.settings.method {
            ApplyMethod::ServerSide => self.cluster.get_metadata(resource, &id_of(object)).await,
            ApplyMethod::ClientSide => self.cluster.get(resource, &id_of(object)).await,
        }
    }

    async fn create(&self, object: &Object) -> Result<flux_cluster::Object, StepError> {
        let made = create(self.cluster, self.kinds, object, self.creation()).await;
        let made = made.map_err(|error| StepError::Create(Box::new(error)))?;
        self.log
            .about(LogLevel::Debug, "created a new resource", object);
        Ok(made)
    }

    async fn change(
        &self,
        update: &Update<'_>,
        live: &flux_cluster::Object,
    ) -> Result<flux_cluster::Object, StepError> {
        let object = update.target;
        let resource = self.kinds.resource(object)?;
        match self.settings.method {
            ApplyMethod::ServerSide => {
                if self.settings.migrate_managers {
                    self.migrate(resource, object, live).await?;
                }
                let force = self.settings.force_conflicts;
                let applied = server_side(self.cluster, resource, object, force).await;
                let applied = applied.map_err(|error| refused(object, error));
                match &applied {
                    Ok(_) => self.log.applied("Patched resource", object, None),
                    Err(error) => {
                        let message = "Error patching resource";
                        self.log.applied(message, object, Some(&chain(error)));
                    }
                }
                applied
            }
            ApplyMethod::ClientSide if self.replace => {
                let replaced = self.replace(resource, object, live).await;
                replaced.map_err(StepError::Replace)
            }
            ApplyMethod::ClientSide => self.patch(resource, update, live).await,
        }
    }

    /// Converts the ownership of fields of this manager from `Update` to `Apply` (HE-KUBE-013).
    async fn migrate(
        &self,
        resource: &Resource,
        object: &Object,
        live: &flux_cluster::Object,
    ) -> Result<(), StepError> {
        let manager = self.cluster.field_manager();
        let cleanup = Cleanup {
            managers: vec![FieldManager {
                prefix: manager.to_owned(),
                exact: false,
                operation: Operation::Update,
            }],
            ..Cleanup::default()
        };
        let mut seen = Some(live.clone());
        let mut tries = 0;
        loop {
            let live = match seen.take() {
                Some(live) => live,
                None => (self.cluster.get_metadata(resource, &id_of(object)).await).map_err(
                    |source| StepError::GetForMigration {
                        object: named(object),
                        source,
                    },
                )?,
            };
            let patch = cleanup.patch(&live, manager);
            if patch.is_empty() {
                return Ok(());
            }
            match self.cluster.patch_managers(resource, &live, patch).await {
                Ok(_) => return Ok(()),
                Err(error) if error.reason == "Conflict" && tries < crate::create::TRIES => {
                    tries += 1;
                    tokio::time::sleep(crate::create::PAUSE).await;
                }
                Err(source) => {
                    let object = named(object);
                    return Err(StepError::Migrate { object, source });
                }
            }
        }
    }

    async fn replace(
        &self,
        resource: &Resource,
        object: &Object,
        live: &flux_cluster::Object,
    ) -> Result<flux_cluster::Object, RequestError> {
        let mut request = request_of(object)?;
        if request.resource_version().is_empty()
            && let Some(metadata) = request.fields_mut().get_mut("metadata")
        {
            metadata["resourceVersion"] = live.resource_version().into();
        }
        self.cluster.replace(resource, &request).await
    }

    async fn patch(
        &self,
        resource: &Resource,
        update: &Update<'_>,
        live: &flux_cluster::Object,
    ) -> Result<flux_cluster::Object, StepError> {
        let (object, now) = (update.target, value_of(live));
        let old = update.original.map_or(&now, |original| &original.value);
        let three_way = self.settings.three_way_for_custom;
        let patch =
            create_patch(old, &object.value, &now, three_way).map_err(StepError::CreatePatch)?;
        if patch.is_empty() {
            return Ok(live.clone()); // HE-KUBE-010
        }
        let (media_type, id) = (patch.kind.content_type(), id_of(object));
        let sent = self.cluster.patch(resource, &id, media_type, patch.body);
        sent.await.map_err(|source| StepError::Patch {
            name: object.name.clone(),
            kind: object.kind.clone(),
            source,
        })
    }

    /// Deletes an object that is no longer in the release, if it can be read, is not annotated to be kept, and is not
    /// owned by another release by now (HE-KUBE-016, HE-KUBE-017, HE-ACT-038).
    async fn prune(&self, object: &Object) -> Result<(), StepError> {
        let resource = self.kinds.resource(object)?;
        self.log.about(LogLevel::Debug, "deleting resource", object);
        let live = match self.cluster.get_metadata(resource, &id_of(object)).await {
            Ok(live) => live,
            Err(error) => {
                tracing::debug!(%object, %error, "unable to get object");
                self.log
                    .about(LogLevel::Debug, "unable to get object", object);
                return Ok(());
            }
        };
        let value = value_of(&live);
        if ResourcePolicy::keeps(&value) {
            tracing::debug!(%object, "skipping delete due to annotation");
            self.log
                .about(LogLevel::Debug, "skipping delete due to annotation", object);
            return Ok(());
        }
        if self.owner.is_anothers(&value) {
            tracing::warn!(%object, "skipping delete of resource owned by another release");
            return Ok(());
        }
        let deleted = delete_live(self.cluster, self.kinds, object, &live).await;
        deleted.map_err(|error| StepError::Prune {
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            kind: object.kind.clone(),
            source: Box::new(error),
        })
    }
}
