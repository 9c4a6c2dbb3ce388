//! Creates objects that do not exist yet.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use flux_cluster::{Cluster, ObjectId, RequestError, Resource, Rules, is_current};
use flux_errors::chain;
use flux_helm::action::{ApplyMethod, Object};
use futures::stream::{self, StreamExt as _};
use serde_json::{Value, json};

use crate::PARALLEL;
use crate::convert::{named, request_of};
use crate::error::StepError;
use crate::kinds::Kinds;
use crate::log::Lines;

/// How often a request is attempted whose failure may be transient.
pub(crate) const TRIES: u32 = 5;
/// The pause between attempts.
pub(crate) const PAUSE: Duration = Duration::from_millis(10);

/// How objects are created.
#[derive(Clone, Copy)]
pub(crate) struct Creation<'l> {
    pub(crate) method: ApplyMethod,
    pub(crate) force: bool,
    /// The rules by which an object is ready; a ready object need not be waited for.
    pub(crate) rules: Rules,
    pub(crate) log: Lines<'l>,
}

impl Creation<'_> {
    /// Logs how objects are created.
    pub(crate) fn announce(self) {
        match self.method {
            ApplyMethod::ServerSide => self.log.debug(
                "using server-side apply for resource creation",
                &[
                    ("forceConflicts", json!(self.force)),
                    ("dryRun", json!(false)),
                    ("fieldValidationDirective", json!("Strict")),
                ],
            ),
            ApplyMethod::ClientSide => {
                let message = "using client-side apply for resource creation";
                self.log.debug(message, &[]);
            }
        }
    }
}

/// How many objects that are not ready are kept: those of a large release are listed by one request for each kind.
const STORED: usize = 16;

/// What the responses to the writes of an action show of its objects.
#[derive(Default)]
pub(crate) struct Answers {
    /// Objects that are ready.
    pub(crate) ready: BTreeSet<ObjectId>,
    /// The first of the others, as they are stored: what is waited for is watched from there on.
    pub(crate) stored: HashMap<ObjectId, Arc<Value>>,
}

impl Answers {
    pub(crate) fn add(&mut self, live: flux_cluster::Object, rules: Rules) {
        let id = live.id().clone();
        if is_current(&live, rules) {
            self.ready.insert(id);
        } else if self.stored.len() < STORED {
            self.stored.insert(id, Arc::new(live.into_value()));
        }
    }
}

/// Creates objects: consecutive ones of one kind concurrently when applied server-side, the next kind after all of
/// them. A failure does not keep the others from being created (HE-KUBE-006).
pub(crate) async fn create_all(
    cluster: &Cluster,
    kinds: &Kinds,
    objects: &[Object],
    how: Creation<'_>,
) -> Result<Answers, StepError> {
    let count = [("resources", json!(objects.len()))];
    how.log.debug("creating resource(s)", &count);
    how.announce();
    if objects.is_empty() {
        return Err(StepError::NothingToCreate);
    }
    let parallel = match how.method {
        ApplyMethod::ServerSide => PARALLEL,
        ApplyMethod::ClientSide => 1, // HE-KUBE-005
    };
    let (mut answers, mut errors) = (Answers::default(), Vec::new());
    for row in objects.chunk_by(|left, right| left.kind == right.kind) {
        let creations: Vec<_> = row
            .iter()
            .map(|object| create(cluster, kinds, object, how))
            .collect();
        let done: Vec<_> = stream::iter(creations).buffered(parallel).collect().await;
        for end in done {
            match end {
                Ok(live) => answers.add(live, how.rules),
                Err(error) => errors.push(error),
            }
        }
    }
    StepError::of_several(errors, "\n")?;
    Ok(answers)
}

/// Creates an object. Returns the stored one.
pub(crate) async fn create(
    cluster: &Cluster,
    kinds: &Kinds,
    object: &Object,
    how: Creation<'_>,
) -> Result<flux_cluster::Object, StepError> {
    let resource = kinds.resource(object)?;
    match how.method {
        ApplyMethod::ServerSide => {
            let apply = || server_side(cluster, resource, object, how.force);
            let made = retried(is_quota_conflict, apply).await;
            let made = made.map_err(|error| refused(object, error));
            match &made {
                Ok(_) => how.log.applied("Created resource via patch", object, None),
                Err(error) => {
                    let message = "Error creating resource via patch";
                    how.log.applied(message, object, Some(&chain(error)));
                }
            }
            made
        }
        ApplyMethod::ClientSide => {
            let request = request_of(object)?;
            let post = || cluster.create(resource, &request);
            let made = retried(|error| error.reason == "Conflict", post).await;
            made.map_err(StepError::from)
        }
    }
}

/// Applies an object server-side.
pub(crate) async fn server_side(
    cluster: &Cluster,
    resource: &Resource,
    object: &Object,
    force: bool,
) -> Result<flux_cluster::Object, RequestError> {
    let request = request_of(object)?;
    cluster.apply_strictly(resource, &request, force).await
}

/// Why applying an object failed (HE-KUBE-011).
pub(crate) fn refused(object: &Object, source: RequestError) -> StepError {
    let object = named(object);
    match (source.code, source.reason.as_str()) {
        (415, _) => StepError::ApplyUnsupported(source),
        (_, "Conflict") => StepError::ApplyConflict { object, source },
        _ => StepError::Apply { object, source },
    }
}

/// Whether concurrent requests have updated the same quota (HE-KUBE-012).
fn is_quota_conflict(error: &RequestError) -> bool {
    error.reason == "Conflict"
        && error
            .message
            .contains("Operation cannot be fulfilled on resourcequotas")
        && error.message.contains("the object has been modified")
}

/// Retries a request whose failure may be transient.
pub(crate) async fn retried<T, F: Future<Output = Result<T, RequestError>>>(
    passes: impl Fn(&RequestError) -> bool,
    mut request: impl FnMut() -> F,
) -> Result<T, RequestError> {
    let mut tries = 1;
    loop {
        match request().await {
            Err(error) if tries < TRIES && passes(&error) => {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use flux_cluster::RequestError;
    use flux_errors::chain;
    use flux_helm::action::{Scope, objects};

    use super::{TRIES, is_quota_conflict, refused, retried};

    // HE-KUBE-011
    #[test]
    fn an_error_names_the_refused_object() {
        let manifest = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n";
        let built = objects(manifest, "ns", &|_, _| Some(Scope::Namespaced)).unwrap();
        for (code, reason, want) in [
            (
                409,
                "Conflict",
                "conflict occurred while applying object ns/web apps/v1, Kind=Deployment: why",
            ),
            (
                422,
                "Invalid",
                "server-side apply failed for object ns/web apps/v1, Kind=Deployment: why",
            ),
            (
                415,
                "UnsupportedMediaType",
                "server-side apply not available on the server: why",
            ),
        ] {
            let refused = refused(&built[0], RequestError::refusal(code, reason, "why"));
            assert_eq!(chain(&refused), want);
        }
    }

    const QUOTA: &str = "Operation cannot be fulfilled on resourcequotas \"q\": the object has been modified; please apply your changes to the latest version and try again";

    // HE-KUBE-012
    #[tokio::test]
    async fn only_quota_conflicts_are_retried() {
        for (reason, message, fails, tries, well) in [
            ("Conflict", QUOTA, 0, 1, true),
            ("Conflict", QUOTA, 4, 5, true),
            ("Conflict", QUOTA, 9, TRIES, false),
            ("Conflict", "Apply failed with 1 conflict", 9, 1, false),
            ("Forbidden", QUOTA, 9, 1, false),
            ("Forbidden", "exceeded quota: q", 9, 1, false),
        ] {
            let tried = Cell::new(0);
            let done = retried(is_quota_conflict, || async {
                tried.set(tried.get() + 1);
                if tried.get() <= fails {
                    return Err(RequestError::refusal(409, reason, message));
                }
                Ok(())
            });
            assert_eq!(done.await.is_ok(), well, "{message}");
            assert_eq!(tried.get(), tries, "{message}");
        }
    }
}
