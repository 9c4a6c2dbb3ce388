//! The objects of a release are created and changed, and those it has no more are pruned.

use std::collections::BTreeSet;

use flux_apply::managers::{Cleanup, FieldManager, Operation};
use flux_apply::{Cluster, ObjectId, RequestError, Resource, Rules};
use flux_helm::action::{
    ApplyMethod, ApplySettings, Identity, Object, Owner, ResourcePolicy, Update, plan,
};
use flux_helm::patch::create_patch;

use crate::build::Kinds;
use crate::create::{Creation, Settled, create, refused, server_side, settled};
use crate::delete::delete_live;
use crate::live::{id_of, local, named, request_of, value_of};

/// How a release's objects are brought about.
pub(crate) struct Change<'r> {
    pub(crate) cluster: &'r Cluster,
    pub(crate) kinds: &'r Kinds,
    pub(crate) owner: Owner<'r>,
    pub(crate) settings: ApplySettings,
    /// Whether objects are replaced as a whole, client-side (HE-KUBE-014).
    pub(crate) replace: bool,
    /// When one needs not be waited for.
    pub(crate) rules: Rules,
}

/// What was done so far.
#[derive(Default)]
pub(crate) struct Done {
    /// Objects that were not there.
    pub(crate) created: Vec<Object>,
    /// Objects that are as they should be already.
    pub(crate) settled: BTreeSet<ObjectId>,
}

impl Change<'_> {
    /// Creates and changes the objects in their order, then prunes. `done` tells what was done, even where something fails
    /// (HE-KUBE-007).
    pub(crate) async fn update(
        &self,
        base: &[Object],
        target: &[Object],
        adopted: &[Identity<'_>],
        done: &mut Done,
    ) -> Result<(), String> {
        let plan = plan(base, target, adopted);
        let mut errors = Vec::new();
        for update in &plan.updates {
            let object = update.target;
            match self.live(object).await {
                Ok(live) => match self.change(update, &live).await {
                    Ok(settled) => done.settled.extend(settled),
                    Err(error) => errors.push(error),
                },
                Err(error) if error.is_not_found() => {
                    done.created.push(object.clone());
                    done.settled.extend(self.create(object).await?);
                }
                Err(error) => {
                    return Err(format!(
                        "could not get information about the resource: {error}"
                    ));
                }
            }
        }
        if errors.is_empty() {
            // HE-KUBE-018
            for object in &plan.prune {
                errors.extend(self.prune(object).await.err());
            }
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors.join(" && "))
        }
    }

    /// The object as it lives: its metadata where the server makes the change, all of it where we do.
    async fn live(&self, object: &Object) -> Result<flux_apply::Object, RequestError> {
        let resource = self.kinds.resource(object).map_err(|error| local(&error))?;
        match self.settings.method {
            ApplyMethod::ServerSide => self.cluster.get_metadata(resource, &id_of(object)).await,
            ApplyMethod::ClientSide => self.cluster.get(resource, &id_of(object)).await,
        }
    }

    async fn create(&self, object: &Object) -> Result<Settled, String> {
        let how = Creation {
            method: self.settings.method,
            force: self.settings.force_conflicts,
            rules: self.rules,
        };
        let made = create(self.cluster, self.kinds, object, how).await;
        made.map_err(|error| format!("failed to create resource: {error}"))
    }

    async fn change(
        &self,
        update: &Update<'_>,
        live: &flux_apply::Object,
    ) -> Result<Settled, String> {
        let object = update.target;
        let resource = self.kinds.resource(object)?;
        let now = match self.settings.method {
            ApplyMethod::ServerSide => {
                if self.settings.migrate_managers {
                    self.migrate(resource, object, live).await?;
                }
                let force = self.settings.force_conflicts;
                let applied = server_side(self.cluster, resource, object, force).await;
                applied.map_err(|error| refused(object, &error))
            }
            ApplyMethod::ClientSide if self.replace => {
                let replaced = self.replace(resource, object, live).await;
                replaced.map_err(|error| format!("failed to replace object: {error}"))
            }
            ApplyMethod::ClientSide => self.patch(resource, update, live).await,
        };
        now.map(|now| settled(&now, self.rules))
    }

    /// What this manager wrote by `Update` counts as applied from now on (HE-KUBE-013).
    async fn migrate(
        &self,
        resource: &Resource,
        object: &Object,
        live: &flux_apply::Object,
    ) -> Result<(), String> {
        let manager = self.cluster.field_manager();
        let cleanup = Cleanup {
            managers: vec![FieldManager {
                prefix: manager.to_owned(),
                operation: Operation::Update,
            }],
            ..Cleanup::default()
        };
        let mut seen = Some(live.clone());
        let mut tries = 0;
        loop {
            let live = match seen.take() {
                Some(live) => live,
                None => (self.cluster.get_metadata(resource, &id_of(object)).await)
                    .map_err(|error| format!("failed to get object {}: {error}", named(object)))?,
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
                Err(error) => {
                    return Err(format!(
                        "failed to patch object to upgrade CSA field manager {}: {error}",
                        named(object)
                    ));
                }
            }
        }
    }

    async fn replace(
        &self,
        resource: &Resource,
        object: &Object,
        live: &flux_apply::Object,
    ) -> Result<flux_apply::Object, RequestError> {
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
        live: &flux_apply::Object,
    ) -> Result<flux_apply::Object, String> {
        let (object, now) = (update.target, value_of(live));
        let old = update.original.map_or(&now, |original| &original.value);
        let three_way = self.settings.three_way_for_custom;
        let patch = create_patch(old, &object.value, &now, three_way)
            .map_err(|error| format!("failed to create patch: {error}"))?;
        if patch.is_empty() {
            return Ok(live.clone()); // HE-KUBE-010
        }
        let (media_type, id) = (patch.kind.content_type(), id_of(object));
        let sent = self.cluster.patch(resource, &id, media_type, patch.body);
        sent.await.map_err(|error| {
            let (name, kind) = (&object.name, &object.kind);
            format!("cannot patch {name:?} with kind {kind}: {error}")
        })
    }

    /// Deletes an object that the release has no more, if it can be read, does not say that it stays, and is not another
    /// release's by now (HE-KUBE-016, HE-KUBE-017, HE-ACT-038).
    async fn prune(&self, object: &Object) -> Result<(), String> {
        let resource = self.kinds.resource(object)?;
        let live = match self.cluster.get_metadata(resource, &id_of(object)).await {
            Ok(live) => live,
            Err(error) => {
                tracing::debug!(%object, %error, "unable to get object");
                return Ok(());
            }
        };
        let value = value_of(&live);
        if ResourcePolicy::keeps(&value) {
            tracing::debug!(%object, "skipping delete due to annotation");
            return Ok(());
        }
        if self.owner.is_anothers(&value) {
            tracing::warn!(%object, "skipping delete of resource owned by another release");
            return Ok(());
        }
        let deleted = delete_live(self.cluster, self.kinds, object, &live).await;
        deleted.map_err(|error| {
            let Object {
                namespace,
                name,
                kind,
                ..
            } = object;
            format!(
                "failed to delete resource namespace={namespace}, name={name}, kind={kind}: {error}"
            )
        })
    }
}
