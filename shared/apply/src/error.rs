//! Failed runs, with the texts for conditions.

use std::fmt::{self, Display, Formatter};

use flux_cluster::{Confidential, ObjectId, RequestError, WaitError};
use flux_errors::chain;

use crate::ChangeSet;
use crate::ignore::IgnoreError;

/// The step that failed for an object. The texts are those of upstream's conditions (KC-SSA-031, KC-SSA-032).
#[derive(Debug)]
pub enum StepError {
    /// The dry run of applying it.
    DryRun(RequestError),
    /// Applying it.
    Apply(RequestError),
    /// Removing fields of other managers.
    Cleanup(RequestError),
    /// Taking over fields of other managers before the dry run (RT-SSA-026).
    Takeover(RequestError),
    /// Setting another API version in its managed fields.
    Migrate {
        /// The version.
        api_version: String,
        /// The server's error.
        error: RequestError,
    },
    /// Deleting it to recreate it.
    Recreate(RequestError),
    /// Waiting until it is gone to recreate it.
    Gone(RequestError),
    /// Recreating it after it was deleted (KC-SSA-030).
    Remake {
        /// Why the server refused the new object.
        error: RequestError,
        /// Whether the previous object was restored.
        previous: Previous,
    },
}

/// Whether an object that was deleted to be recreated was restored after the server refused its new content.
#[derive(Debug)]
pub enum Previous {
    /// It was recreated with its previous content.
    Restored,
    /// It could not be read, so there was nothing to restore.
    Unknown,
    /// The server refused it as well.
    Refused(RequestError),
}

impl StepError {
    /// Masks confidential values in the server's messages about an object (KC-SUB-009).
    pub(crate) fn mask(&mut self, confidential: &Confidential, id: &ObjectId) {
        let mask = |error: &mut RequestError| confidential.mask(&mut error.message, id);
        match self {
            Self::DryRun(error)
            | Self::Apply(error)
            | Self::Cleanup(error)
            | Self::Takeover(error)
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
        /// The object as the text names it: without names that are values of Secrets (KC-SUB-009).
        shown: Box<ObjectId>,
        /// The step with its error.
        step: StepError,
    },
    /// Objects of a stage did not become ready.
    Wait(WaitError),
    /// An ignore rule is invalid.
    Ignore(IgnoreError),
}

impl ApplyError {
    /// Whether the server refused the dry run of an object for what is in it, or for where it is.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Object { step: StepError::DryRun(error), .. } if !error.is_transient())
    }

    /// Whether this object was deleted to be recreated, and restored because the server refused the new one.
    pub(crate) fn is_restored(&self, object: &ObjectId) -> bool {
        let Self::Object {
            id,
            step: StepError::Remake { previous, .. },
            ..
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
            Self::Object { shown, step, .. } => (shown, step),
            Self::Wait(error) => return error.fmt(f),
            Self::Ignore(error) => return f.write_str(&chain(error)),
        };
        match step {
            StepError::DryRun(error) => dry_run(f, id, error),
            StepError::Apply(error) => write!(f, "{id} apply failed: {error}"),
            StepError::Cleanup(error) => {
                write!(f, "{id} metadata.managedFields cleanup failed: {error}")
            }
            StepError::Takeover(error) => {
                write!(f, "{id} metadata.managedFields takeover failed: {error}")
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

/// Upstream's text for a dry run of applying `id` that failed (KC-SSA-031, HC-DRIFT-011).
pub fn dry_run_failure(id: &ObjectId, error: &RequestError) -> String {
    struct Text<'t>(&'t ObjectId, &'t RequestError);
    impl Display for Text<'_> {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            dry_run(f, self.0, self.1)
        }
    }
    Text(id, error).to_string()
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

/// A failed run, with the changes it made before (KC-SSA-033).
#[derive(Debug)]
pub struct Failed {
    /// The error.
    pub error: ApplyError,
    /// What else the server refused.
    pub others: Vec<ApplyError>,
    /// The objects of the stages that were applied.
    pub applied: ChangeSet,
}

/// How many further refusals are shown, and how many characters of each.
const SHOWN: (usize, usize) = (20, 400);

/// Formats as the error, a line break, and the lines of the changed objects. What else was refused comes behind that, so
/// that the text begins as upstream's.
impl Display for Failed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.error)?;
        let lines = self.applied.changed_lines();
        if !lines.is_empty() {
            writeln!(f, "{lines}")?;
        }
        if self.others.is_empty() {
            return Ok(());
        }
        writeln!(f, "also refused:")?;
        let (most, longest) = SHOWN;
        for other in self.others.iter().take(most) {
            let text = other.to_string().replace('\n', " ");
            let end = text.char_indices().nth(longest).map(|(end, _)| end);
            let dots = if end.is_some() { "…" } else { "" };
            let end = end.unwrap_or(text.len());
            writeln!(f, "{}{dots}", &text[..end])?;
        }
        match self.others.len().saturating_sub(most) {
            0 => Ok(()),
            more => writeln!(f, "and {more} more"),
        }
    }
}

impl std::error::Error for Failed {}

#[cfg(test)]
mod tests {
    use flux_cluster::{Confidential, ObjectId, RequestError};

    use super::{ApplyError, Failed, Previous, StepError};
    use crate::{Action, Change, ChangeSet};

    fn id(text: &str) -> ObjectId {
        ObjectId::from_inventory_id(text).unwrap()
    }

    // KC-SUB-009
    #[test]
    fn no_step_quotes_what_the_server_quotes_of_a_secret() {
        let quotes = || RequestError::refusal(403, "Forbidden", "denied: hunter2");
        let mut confidential = Confidential::default();
        confidential.add(b"hunter2");
        let web = id("apps_web_apps_Deployment");
        for mut step in [
            StepError::DryRun(quotes()),
            StepError::Apply(quotes()),
            StepError::Cleanup(quotes()),
            StepError::Migrate {
                api_version: "apps/v1".into(),
                error: quotes(),
            },
            StepError::Recreate(quotes()),
            StepError::Gone(quotes()),
            StepError::Remake {
                error: quotes(),
                previous: Previous::Refused(quotes()),
            },
        ] {
            assert!(format!("{step:?}").contains("hunter2"));
            step.mask(&confidential, &web);
            let shown = format!("{step:?}");
            assert!(
                shown.contains("denied: ") && !shown.contains("hunter2"),
                "{shown}"
            );
        }
    }

    // RT-SSA-017 KC-SSA-031 KC-SSA-032
    #[test]
    fn error_messages_match_upstream() {
        let mut conflict = RequestError::refusal(409, "Conflict", "c");
        conflict.is_manager_conflict = true;
        let web = "apps_web_apps_Deployment";
        for (object, step, want) in [
            (
                web,
                StepError::DryRun(RequestError::refusal(422, "Invalid", "bad")),
                "Deployment/apps/web dry-run failed (Invalid): bad",
            ),
            (
                web,
                StepError::DryRun(RequestError::refusal(0, "", "no matches")),
                "Deployment/apps/web dry-run failed: no matches",
            ),
            (
                web,
                StepError::DryRun(conflict),
                "Deployment/apps/web dry-run failed (FieldManagerConflict): c",
            ),
            (
                web,
                StepError::DryRun(RequestError::refusal(
                    404,
                    "NotFound",
                    "namespaces \"apps\" not found",
                )),
                "Deployment/apps/web not found: namespaces \"apps\" not found",
            ),
            (
                "_web_apps_Deployment",
                StepError::DryRun(RequestError::refusal(
                    404,
                    "",
                    "the server could not find the requested resource",
                )),
                "Deployment/web namespace not specified: the server could not find the requested resource",
            ),
            (
                web,
                StepError::Apply(RequestError::refusal(500, "", "e")),
                "Deployment/apps/web apply failed: e",
            ),
            (
                web,
                StepError::Cleanup(RequestError::refusal(500, "", "e")),
                "Deployment/apps/web metadata.managedFields cleanup failed: e",
            ),
            (
                web,
                StepError::Takeover(RequestError::refusal(500, "", "e")),
                "Deployment/apps/web metadata.managedFields takeover failed: e",
            ),
            (
                web,
                StepError::Recreate(RequestError::refusal(500, "", "e")),
                "Deployment/apps/web immutable field detected, failed to delete object: e",
            ),
            (
                web,
                StepError::Gone(RequestError::refusal(500, "", "e")),
                "Deployment/apps/web immutable field detected, failed to wait for object to be deleted: e",
            ),
        ] {
            assert_eq!(
                ApplyError::Object {
                    id: id("_other__Secret"),
                    shown: id(object).into(),
                    step
                }
                .to_string(),
                want
            );
        }
    }

    // KC-SSA-033
    #[test]
    fn a_failed_run_lists_the_changes_made_before() {
        let error = || ApplyError::Object {
            id: id("a_b__Secret"),
            shown: id("a_b__Secret").into(),
            step: StepError::Apply(RequestError::refusal(500, "", "e")),
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
            others: Vec::new(),
            applied: ChangeSet::from(changes),
        };
        assert_eq!(
            failed.to_string(),
            "Secret/a/b apply failed: e\nNamespace/apps created\n"
        );
        let failed = Failed {
            error: error(),
            others: Vec::new(),
            applied: ChangeSet::default(),
        };
        assert_eq!(failed.to_string(), "Secret/a/b apply failed: e\n");
        // What else was refused is behind that, of bounded number and length.
        let refused = |message: &str| ApplyError::Object {
            id: ObjectId::from_inventory_id("n_c__ConfigMap").unwrap(),
            shown: ObjectId::from_inventory_id("n_c__ConfigMap")
                .unwrap()
                .into(),
            step: StepError::DryRun(RequestError::refusal(422, "Invalid", message)),
        };
        let failed = Failed {
            error: error(),
            others: (0..22).map(|_| refused(&"é\n".repeat(500))).collect(),
            applied: ChangeSet::default(),
        };
        let text = failed.to_string();
        let begin = "Secret/a/b apply failed: e\nalso refused:\nConfigMap/n/c dry-run failed (Invalid): é é ";
        assert!(text.starts_with(begin), "{text}");
        assert!(text.ends_with("…\nand 2 more\n"), "{text}");
        assert_eq!(text.lines().count(), 23);
    }
}
