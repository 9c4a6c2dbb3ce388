//! What can go wrong on the way to a cluster, in the words that conditions show.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use flux_api::meta::GoDuration;
use flux_errors::chain;

use crate::ChangeSet;
use crate::confidential::Confidential;
use crate::ignore::IgnoreError;
use crate::object::ObjectId;

/// A request that the API server refused, or that did not reach it.
#[derive(Debug)]
pub struct RequestError {
    /// HTTP status; 0 where there was no answer.
    pub code: u16,
    /// The machine-readable reason, such as `Invalid`; empty where there is none.
    pub reason: String,
    /// The server's own text.
    pub message: String,
    /// Whether another manager's fields are in the way.
    pub is_manager_conflict: bool,
}

impl RequestError {
    /// An error of the client rather than of the server.
    pub(crate) fn local(message: impl Into<String>) -> Self {
        Self {
            code: 0,
            reason: String::new(),
            message: message.into(),
            is_manager_conflict: false,
        }
    }

    /// The server has not answered within the time that one request may take.
    pub(crate) fn timed_out(limit: Duration) -> Self {
        Self::local(format!(
            "the API server has not answered within {}: context deadline exceeded",
            GoDuration::from(limit)
        ))
    }

    /// The answer ended before all of it was there, or has no end.
    pub(crate) fn unreadable(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::local(format!(
            "reading the server's answer failed: {}",
            chain(error)
        ))
    }

    /// Whether the same request may be answered differently later: there was no answer, the server is overloaded, or it has
    /// failed.
    pub(crate) fn is_transient(&self) -> bool {
        self.code == 0 || self.code == 429 || self.code >= 500
    }

    /// Whether the server has no such path, and so perhaps no such kind (any more).
    pub(crate) fn is_missing_path(&self) -> bool {
        self.is_not_found()
            && self
                .message
                .starts_with("the server could not find the requested resource")
    }

    /// Whether the object, or its kind, does not exist.
    pub fn is_not_found(&self) -> bool {
        self.code == 404
    }

    /// Whether the caller may not do this.
    pub fn is_forbidden(&self) -> bool {
        self.code == 403
    }

    /// Whether recreating the object may help (KC-SSA-029): the error is a conflict, calls the object invalid, or speaks of
    /// an immutable field.
    pub fn is_immutable(&self) -> bool {
        let speaks_of = |before: &str, after: &str| {
            self.message.match_indices(before).any(|(index, found)| {
                let rest = &self.message[index + found.len()..];
                let mut rest = rest.chars();
                rest.next().is_some_and(char::is_whitespace) && rest.as_str().starts_with(after)
            })
        };
        matches!(self.reason.as_str(), "Conflict" | "Invalid")
            || speaks_of("is", "immutable")
            || speaks_of("immutable", "field")
    }
}

impl Display for RequestError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RequestError {}

impl From<kube::Error> for RequestError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::from(*status),
            other => Self::local(flux_objects::words(&other).unwrap_or_else(|| chain(&other))),
        }
    }
}

impl From<flux_objects::Error> for RequestError {
    fn from(error: flux_objects::Error) -> Self {
        match error {
            flux_objects::Error::Invalid(error) => error.into(),
            flux_objects::Error::Request(error) => error.into(),
        }
    }
}

impl From<kube::core::Status> for RequestError {
    fn from(status: kube::core::Status) -> Self {
        let mut causes = status.details.iter().flat_map(|details| &details.causes);
        let is_manager_conflict = causes.any(|cause| cause.reason == "FieldManagerConflict");
        Self {
            code: status.code,
            reason: status.reason,
            message: status.message,
            is_manager_conflict,
        }
    }
}

/// Which step failed for an object. The texts are those that upstream puts into conditions (KC-SSA-031, KC-SSA-032).
#[derive(Debug)]
pub enum StepError {
    /// The dry run of applying it.
    DryRun(RequestError),
    /// Applying it.
    Apply(RequestError),
    /// Removing what other managers left behind.
    Cleanup(RequestError),
    /// Writing another API version into its managed fields.
    Migrate {
        /// The version.
        api_version: String,
        /// Why not.
        error: RequestError,
    },
    /// Deleting it to make it again.
    Recreate(RequestError),
    /// Waiting until it is gone to make it again.
    Gone(RequestError),
    /// Making it again after it was deleted (KC-SSA-030).
    Remake {
        /// Why the server refused the new object.
        error: RequestError,
        /// What became of the object as it was.
        previous: Previous,
    },
}

/// What became of an object that was deleted to be made again, where the server refused the new one.
#[derive(Debug)]
pub enum Previous {
    /// It was made again as it was before.
    Restored,
    /// It could not be read, so there was nothing to restore.
    Unknown,
    /// The server refused it too.
    Refused(RequestError),
}

impl StepError {
    /// Masks confidential values in what the server said about an object (KC-SUB-009).
    pub(crate) fn mask(&mut self, confidential: &Confidential, id: &ObjectId) {
        let mask = |error: &mut RequestError| confidential.mask(&mut error.message, id);
        match self {
            Self::DryRun(error)
            | Self::Apply(error)
            | Self::Cleanup(error)
            | Self::Migrate { error, .. }
            | Self::Recreate(error)
            | Self::Gone(error) => mask(error),
            Self::Remake { error, previous } => {
                mask(error);
                if let Previous::Refused(error) = previous {
                    mask(error);
                }
            }
        }
    }
}

/// A run that ended before all objects were applied.
#[derive(Debug)]
pub enum ApplyError {
    /// A step failed for one object.
    Object {
        /// The object.
        id: ObjectId,
        /// The step, and why it failed.
        step: StepError,
    },
    /// Objects of a stage did not become ready.
    Wait(crate::wait::WaitError),
    /// An ignore rule cannot be used.
    Ignore(IgnoreError),
}

impl ApplyError {
    /// Whether this object was deleted to be recreated, and restored because the server refused the new one.
    pub(crate) fn is_restored(&self, object: &ObjectId) -> bool {
        let Self::Object {
            id,
            step: StepError::Remake { previous, .. },
        } = self
        else {
            return false;
        };
        id == object && matches!(previous, Previous::Restored)
    }
}

impl Display for ApplyError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (id, step) = match self {
            Self::Object { id, step } => (id, step),
            Self::Wait(error) => return error.fmt(f),
            Self::Ignore(error) => return f.write_str(&chain(error)),
        };
        match step {
            StepError::DryRun(error) => dry_run(f, id, error),
            StepError::Apply(error) => write!(f, "{id} apply failed: {error}"),
            StepError::Cleanup(error) => {
                write!(f, "{id} metadata.managedFields cleanup failed: {error}")
            }
            StepError::Migrate { api_version, error } => write!(
                f,
                "{id} failed to migrate API version: failed to migrate managed fields API version to {api_version}: {error}"
            ),
            StepError::Recreate(error) => {
                write!(
                    f,
                    "{id} immutable field detected, failed to delete object: {error}"
                )
            }
            StepError::Gone(error) => {
                write!(
                    f,
                    "{id} immutable field detected, failed to wait for object to be deleted: {error}"
                )
            }
            StepError::Remake { error, previous } => {
                write!(
                    f,
                    "{id} immutable field detected, failed to recreate object, "
                )?;
                match previous {
                    Previous::Restored => write!(f, "its previous content was restored: {error}"),
                    Previous::Unknown => write!(
                        f,
                        "the next run creates it as soon as the server accepts it: {error}"
                    ),
                    Previous::Refused(again) => write!(
                        f,
                        "the next run creates it as soon as the server accepts it: {error}; restoring its previous content failed too: {again}"
                    ),
                }
            }
        }
    }
}

fn dry_run(f: &mut Formatter<'_>, id: &ObjectId, error: &RequestError) -> fmt::Result {
    if error.is_not_found() {
        let what = if id.namespace.is_empty() {
            "namespace not specified"
        } else {
            "not found"
        };
        return write!(f, "{id} {what}: {error}");
    }
    let reason = if error.is_manager_conflict {
        "FieldManagerConflict"
    } else {
        &error.reason
    };
    if reason.is_empty() {
        return write!(f, "{id} dry-run failed: {error}");
    }
    write!(f, "{id} dry-run failed ({reason}): {error}")
}

impl std::error::Error for ApplyError {}

/// A run that failed, with what it had done until then (KC-SSA-033).
#[derive(Debug)]
pub struct Failed {
    /// Why.
    pub error: ApplyError,
    /// The objects of the stages that were applied.
    pub applied: ChangeSet,
}

/// Formats as the error, a line break, and the lines of what was changed.
impl Display for Failed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.error)?;
        match self.applied.changed_lines() {
            lines if lines.is_empty() => Ok(()),
            lines => writeln!(f, "{lines}"),
        }
    }
}

impl std::error::Error for Failed {}

#[cfg(test)]
mod tests {
    use super::{ApplyError, Failed, RequestError, StepError};
    use crate::{Action, Change, ChangeSet, ObjectId};

    fn refused(code: u16, reason: &str, message: &str) -> RequestError {
        RequestError {
            code,
            reason: reason.into(),
            message: message.into(),
            is_manager_conflict: false,
        }
    }

    fn id(text: &str) -> ObjectId {
        ObjectId::from_inventory_id(text).unwrap()
    }

    // KC-SSA-029
    #[test]
    fn immutable_is_known_by_reason_or_by_words() {
        for (reason, message, immutable) in [
            ("Invalid", "spec.selector: whatever", true),
            ("Conflict", "", true),
            ("Forbidden", "no", false),
            ("", "admission webhook denied: field is immutable", true),
            ("", "this is\timmutable", true),
            ("BadRequest", "an immutable field was changed", true),
            ("BadRequest", "immutablefield", false),
            ("BadRequest", "immutable", false),
        ] {
            assert_eq!(
                refused(422, reason, message).is_immutable(),
                immutable,
                "{reason} {message}"
            );
        }
    }

    // RT-SSA-017 KC-SSA-031 KC-SSA-032
    #[test]
    fn errors_have_upstreams_words() {
        let mut conflict = refused(409, "Conflict", "c");
        conflict.is_manager_conflict = true;
        let web = "apps_web_apps_Deployment";
        for (object, step, want) in [
            (
                web,
                StepError::DryRun(refused(422, "Invalid", "bad")),
                "Deployment/apps/web dry-run failed (Invalid): bad",
            ),
            (
                web,
                StepError::DryRun(refused(0, "", "no matches")),
                "Deployment/apps/web dry-run failed: no matches",
            ),
            (
                web,
                StepError::DryRun(conflict),
                "Deployment/apps/web dry-run failed (FieldManagerConflict): c",
            ),
            (
                web,
                StepError::DryRun(refused(404, "NotFound", "namespaces \"apps\" not found")),
                "Deployment/apps/web not found: namespaces \"apps\" not found",
            ),
            (
                "_web_apps_Deployment",
                StepError::DryRun(refused(
                    404,
                    "",
                    "the server could not find the requested resource",
                )),
                "Deployment/web namespace not specified: the server could not find the requested resource",
            ),
            (
                web,
                StepError::Apply(refused(500, "", "e")),
                "Deployment/apps/web apply failed: e",
            ),
            (
                web,
                StepError::Cleanup(refused(500, "", "e")),
                "Deployment/apps/web metadata.managedFields cleanup failed: e",
            ),
            (
                web,
                StepError::Recreate(refused(500, "", "e")),
                "Deployment/apps/web immutable field detected, failed to delete object: e",
            ),
            (
                web,
                StepError::Gone(refused(500, "", "e")),
                "Deployment/apps/web immutable field detected, failed to wait for object to be deleted: e",
            ),
        ] {
            assert_eq!(
                ApplyError::Object {
                    id: id(object),
                    step
                }
                .to_string(),
                want
            );
        }
    }

    // KC-SSA-033
    #[test]
    fn a_failed_run_tells_what_it_had_done() {
        let error = || ApplyError::Object {
            id: id("a_b__Secret"),
            step: StepError::Apply(refused(500, "", "e")),
        };
        let change = |text, action| Change {
            id: id(text),
            version: "v1".into(),
            action,
        };
        let changes = vec![
            change("_apps__Namespace", Action::Created),
            change("_b__Namespace", Action::Unchanged),
        ];
        let failed = Failed {
            error: error(),
            applied: ChangeSet { changes },
        };
        assert_eq!(
            failed.to_string(),
            "Secret/a/b apply failed: e\nNamespace/apps created\n"
        );
        let failed = Failed {
            error: error(),
            applied: ChangeSet::default(),
        };
        assert_eq!(failed.to_string(), "Secret/a/b apply failed: e\n");
    }
}
