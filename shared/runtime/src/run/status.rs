//! The status as the server has it and as the run drafts it, and the requests between the two.

use std::time::Duration;

use flux_objects::{Error, Objects};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Map, Value, json};

use super::{Kind, Run};
use crate::patch;

/// How often a status patch is tried when others write at the same time (RT-CON-016).
const PATCH_TRIES: u32 = 5;

/// The status as the API server has it.
pub(super) struct Server {
    pub(super) resource_version: String,
    pub(super) status: Value,
    pub(super) conditions: Vec<Condition>,
}

impl Server {
    pub(super) fn of<K: Kind>(object: &K) -> Result<Self, serde_json::Error> {
        let status = object
            .status()
            .map(serde_json::to_value)
            .transpose()?
            .unwrap_or_else(|| json!({}));
        let conditions = status
            .get("conditions")
            .cloned()
            .map(serde_json::from_value)
            .transpose()?
            .unwrap_or_default();
        Ok(Self {
            resource_version: object.resource_version().unwrap_or_default(),
            status,
            conditions,
        })
    }
}

/// Why the status could not be written.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The API server refused or did not answer.
    #[error("failed to update status")]
    Api(#[source] Error),
    /// Others kept writing at the same time.
    #[error("failed to update status: {PATCH_TRIES} tries met a conflict")]
    Conflict,
    /// The object would be larger than the API server, or its store, takes (KC-PRUNE-023).
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
    /// The status does not read back as what it is. A defect of the API types.
    #[error("failed to read back the status")]
    Encoding(#[from] serde_json::Error),
}

/// Whether a request was refused for the size of what it would have stored. etcd's own limit comes without a code.
fn is_too_large(error: &Error) -> bool {
    let Error::Request(kube::Error::Api(status)) = error else {
        return false;
    };
    status.code == 413
        || ["request is too large", "larger than max"]
            .iter()
            .any(|text| status.message.contains(text))
}

impl<K: Kind> Run<K> {
    fn objects(&self) -> Result<Objects<K>, Error> {
        let client = self.context.client.clone();
        Ok(Objects::in_namespace(client, self.namespace())?)
    }

    fn drafted(&self) -> Result<Value, StatusError> {
        let mut status = match serde_json::to_value(&self.status)? {
            Value::Object(status) => status,
            _ => Map::new(),
        };
        let mut field = |name: &str, value: Option<Value>| match value {
            Some(value) => drop(status.insert(name.to_owned(), value)),
            None => drop(status.remove(name)),
        };
        let conditions = self.conditions.sorted(&self.server.conditions);
        field(
            "conditions",
            (!conditions.is_empty())
                .then(|| serde_json::to_value(conditions))
                .transpose()?,
        );
        field(
            "observedGeneration",
            self.observed_generation.map(Value::from),
        );
        field(
            "lastHandledReconcileAt",
            self.handled.clone().map(Value::from),
        );
        Ok(Value::Object(status))
    }

    /// Writes what differs between the draft and the server's status, if anything does (RT-CON-016..020). Others'
    /// conditions are kept; a conflict is met by reading the object again.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached or refuses what is written. The draft stays as it is.
    pub async fn patch(&mut self) -> Result<(), StatusError> {
        let objects = self.objects().map_err(StatusError::Api)?;
        for attempt in 0..PATCH_TRIES {
            let drafted = self.drafted()?;
            let Some(change) = patch::diff(&self.server.status, &drafted) else {
                return Ok(());
            };
            let body = json!({"metadata": {"resourceVersion": self.server.resource_version}, "status": change});
            let params = PatchParams {
                field_manager: Some(self.context.status_manager.to_owned()),
                ..PatchParams::default()
            };
            match objects
                .patch_status(self.name(), &params, &Patch::Merge(&body))
                .await
            {
                Ok(object) => {
                    self.server = Server::of(&object)?;
                    self.context.cache.note(object);
                    return Ok(());
                }
                Err(error) if error.code() == Some(409) => {
                    // 100 ms, then growing, spread so that two writers do not meet again (RT-CON-016)
                    let spread = rand::random_range(1.0..1.5);
                    tokio::time::sleep(
                        Duration::from_millis(100).mul_f64(f64::from(attempt) * spread),
                    )
                    .await;
                    let live = match objects.get(self.name()).await {
                        Ok(live) => live,
                        Err(error) if error.is_not_found() => return Ok(()),
                        Err(error) => return Err(StatusError::Api(error)),
                    };
                    if live.meta().uid != self.object.meta().uid {
                        return Ok(()); // the object of this run is gone
                    }
                    self.server = Server::of(&live)?;
                    self.conditions
                        .rebase(self.context.settings.owned, &self.server.conditions);
                }
                Err(error) if error.is_not_found() => return Ok(()), // RT-CON-020
                Err(source) if is_too_large(&source) => {
                    let bytes = drafted.to_string().len();
                    return Err(StatusError::TooLarge { bytes, source });
                }
                Err(error) => return Err(StatusError::Api(error)),
            }
        }
        Err(StatusError::Conflict)
    }

    /// Takes back what the draft says beside conditions, so that at least these can be written.
    pub(crate) fn withdraw(&mut self) -> Result<(), StatusError> {
        let status = &self.server.status;
        self.status = serde_json::from_value(status.clone())?;
        self.observed_generation = status.get("observedGeneration").and_then(Value::as_i64);
        Ok(())
    }

    /// Adds or takes away the finalizer.
    pub(crate) async fn set_finalizer(&self, present: bool) -> Result<(), Error> {
        let finalizer = self.settings().finalizer;
        let mut finalizers: Vec<String> = self.object.finalizers().to_vec();
        finalizers.retain(|name| name != finalizer);
        if present {
            finalizers.push(finalizer.to_owned());
        }
        let body = json!({"metadata": {"finalizers": finalizers, "resourceVersion": self.server.resource_version}});
        let manager = self.context.status_manager.to_owned();
        let params = PatchParams {
            field_manager: Some(manager),
            ..PatchParams::default()
        };
        match self
            .objects()?
            .patch(self.name(), &params, &Patch::Merge(&body))
            .await
        {
            Ok(object) => {
                if present {
                    self.context.cache.note(object);
                }
                Ok(())
            }
            Err(error) if error.is_not_found() && !present => Ok(()),
            Err(error) => Err(error),
        }
    }
}
