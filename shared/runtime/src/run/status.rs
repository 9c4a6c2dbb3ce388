//! Writes the differences between the drafted status and that of the server.

use std::sync::Arc;
use std::time::Duration;

use flux_api::meta::FluxStatus;
use flux_objects::{Error, Objects};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{Context, Kind, Run};
use crate::conditions::{Conditions, listed};
use crate::{finalizer, patch};

/// How often a status patch is attempted when it conflicts with other writers (RT-CON-016).
const PATCH_TRIES: u32 = 5;

/// Why the status could not be written.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The API server refused or did not answer.
    #[error("failed to update status")]
    Api(#[source] Error),
    /// Every attempt conflicted with other writers.
    #[error("failed to update status: {PATCH_TRIES} tries met a conflict")]
    Conflict,
    /// The object would exceed the size limit of the API server or of its store (KC-PRUNE-023).
    #[error(
        "failed to update status: the object has grown too large for the API server, with {bytes} bytes of status: let it hold \
         less, or split it into several"
    )]
    TooLarge {
        /// The size of the status that was refused.
        bytes: usize,
        /// What the server said.
        #[source]
        source: Error,
    },
    /// The status does not round-trip through its type. A defect of the API types.
    #[error("failed to read back the status")]
    Encoding(#[from] serde_json::Error),
}

/// Whether a request was refused for the size of what it would have stored. etcd's own limit is reported without a
/// code.
fn is_too_large(error: &Error) -> bool {
    let Error::Request(kube::Error::Api(status)) = error else {
        return false;
    };
    status.code == 413
        || ["request is too large", "larger than max"]
            .iter()
            .any(|text| status.message.contains(text))
}

/// The merge patch from the server's status to a drafted one, which gets the conditions; `None` if they are equal
/// (RT-CON-018).
fn difference<K: Kind>(
    server: &K,
    status: &mut K::Status,
    conditions: &Conditions,
) -> Result<Option<Value>, StatusError> {
    let before = server.status();
    *status.conditions_mut() = conditions.sorted(listed(before));
    let is_equal = match before {
        Some(before) => before == status,
        None => *status == K::Status::default(),
    };
    if is_equal {
        return Ok(None);
    }
    let before = before.map_or_else(|| Ok(json!({})), serde_json::to_value)?;
    Ok(patch::diff(&before, &serde_json::to_value(status)?))
}

/// Writes the status of one object.
pub(super) struct Writer<K: Kind> {
    context: Arc<Context<K>>,
    objects: Objects<K>,
    name: String,
    uid: Option<String>,
}

impl<K: Kind> Writer<K> {
    /// Of the run's object.
    pub(super) fn new(run: &Run<K>) -> Result<Self, StatusError> {
        Ok(Self {
            context: run.context.clone(),
            objects: run.objects().map_err(StatusError::Api)?,
            name: run.name().to_owned(),
            uid: run.object.meta().uid.clone(),
        })
    }

    /// Writes the difference between a draft and the server's status, if there is any. Conditions of other writers are
    /// kept; after a conflict the object is read again. `server` is what is known of it at the end.
    pub(super) async fn write(
        &self,
        server: &mut Arc<K>,
        status: &mut K::Status,
        conditions: &mut Conditions,
    ) -> Result<(), StatusError> {
        for attempt in 0..PATCH_TRIES {
            let Some(change) = difference(&**server, status, conditions)? else {
                return Ok(());
            };
            let version = server.resource_version().unwrap_or_default();
            let body = json!({"metadata": {"resourceVersion": version}, "status": change});
            let params = PatchParams {
                field_manager: Some(self.context.status_manager.to_owned()),
                ..PatchParams::default()
            };
            let patch = Patch::Merge(&body);
            match self.objects.patch_status(&self.name, &params, &patch).await {
                Ok(object) => {
                    *server = self.context.cache.upsert(object);
                    return Ok(());
                }
                Err(error) if error.code() == Some(409) => {
                    // 100 ms, growing, with jitter so that two writers do not conflict again (RT-CON-016)
                    let spread = rand::random_range(1.0..1.5);
                    tokio::time::sleep(
                        Duration::from_millis(100).mul_f64(f64::from(attempt) * spread),
                    )
                    .await;
                    let live = match self.objects.get(&self.name).await {
                        Ok(live) => live,
                        Err(error) if error.is_not_found() => return Ok(()),
                        Err(error) => return Err(StatusError::Api(error)),
                    };
                    if live.meta().uid != self.uid {
                        return Ok(()); // the object of this run is gone
                    }
                    *server = Arc::new(live);
                    let owned = self.context.settings.conditions;
                    conditions.rebase(owned, listed(server.status()));
                }
                Err(error) if error.is_not_found() => return Ok(()), // RT-CON-020
                Err(error) => return Err(StatusError::Api(error)),
            }
        }
        Err(StatusError::Conflict)
    }
}

impl<K: Kind> Run<K> {
    fn objects(&self) -> Result<Objects<K>, Error> {
        let client = self.context.client.clone();
        Ok(Objects::in_namespace(client, self.namespace())?)
    }

    /// Puts what the frame sets besides the conditions into the draft of the status.
    pub(super) fn complete(&mut self) {
        self.status
            .set_observed_generation(self.observed_generation);
        self.status
            .set_last_handled_reconcile_at(self.handled.clone());
    }

    /// Writes the difference between the draft and the server's status, if there is any (RT-CON-016..020), in place of
    /// progress that is not written yet. Conditions of other writers are kept; after a conflict the object is read again.
    ///
    /// # Errors
    ///
    /// If the server cannot be reached or refuses the patch. The draft is kept.
    pub async fn patch(&mut self) -> Result<(), StatusError> {
        self.withdraw_progress().await;
        let writer = Writer::new(self)?;
        self.complete();
        let written = writer.write(&mut self.server, &mut self.status, &mut self.conditions);
        match written.await {
            Err(StatusError::Api(source)) if is_too_large(&source) => {
                let bytes = serde_json::to_string(&self.status)?.len();
                Err(StatusError::TooLarge { bytes, source })
            }
            other => other,
        }
    }

    /// Drafts an empty status.
    pub(crate) fn reset(&mut self) {
        self.status = K::Status::default();
        self.conditions = Conditions::new(Vec::new(), self.generation());
        self.observed_generation = None;
        self.handled = None;
    }

    /// Drops everything except the conditions from the draft, so that at least these can be written.
    pub(crate) fn withdraw(&mut self) {
        self.status = self.server.status().cloned().unwrap_or_default();
        self.observed_generation = self.status.observed_generation();
    }

    /// Adds or removes the finalizer.
    pub(crate) async fn set_finalizer(&mut self, present: bool) -> Result<(), Error> {
        self.withdraw_progress().await;
        let stored = finalizer::set(
            &self.objects()?,
            &*self.object,
            &self.server.resource_version().unwrap_or_default(),
            self.settings().finalizer,
            present,
            self.context.status_manager,
        )
        .await?;
        if let Some(object) = stored {
            // One that is being deleted may be gone already: the cache learns of it by its watch.
            self.server = if object.meta().deletion_timestamp.is_none() {
                self.context.cache.upsert(object)
            } else {
                Arc::new(object)
            };
        }
        Ok(())
    }
}
