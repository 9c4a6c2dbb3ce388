//! The message of a commit: a Go template over what was changed (IA-MSG).

mod data;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use flux_gotemplate::{
    CallError, Environment, Error as TemplateError, Functions, Limits, Session, Templates, Time,
    with_stack,
};
use flux_runtime::queue::Key;
use flux_setters::Changes;

/// The message without a template (IA-MSG-001).
const DEFAULT: &str = "Update from image update automation";
/// The name of the template in errors.
const NAME: &str = "commit message";

/// Functions of Sprig that are not available, since their results depend on when and where they run (IA-MSG-013).
const REMOVED: [&str; 17] = [
    "date",
    "date_in_zone",
    "date_modify",
    "dateInZone",
    "dateModify",
    "now",
    "htmlDate",
    "htmlDateInZone",
    "randAlphaNum",
    "randAlpha",
    "randAscii",
    "randNumeric",
    "randBytes",
    "uuidv4",
    "env",
    "expandenv",
    "getHostByName",
];

/// What a message may cost. A commit message of a megabyte is longer than any that a person or a forge reads.
const LIMITS: Limits = Limits {
    steps: 5_000_000,
    output: 1 << 20,
    allocation: 64 << 20,
    depth: 1_000,
    stack: 8 << 20,
};
/// The stack of the thread that executes a template.
const STACK_BYTES: usize = 16 << 20;

/// Why there is no message.
#[derive(Debug, thiserror::Error)]
pub(super) enum MessageError {
    /// The template does not parse (IA-MSG-018).
    #[error("unable to create commit message template from spec")]
    Parse(#[source] TemplateError),
    /// It fails (IA-MSG-018, IA-MSG-023).
    #[error("failed to run template from spec")]
    Run(#[source] TemplateError),
    /// It uses a field that is gone (IA-MSG-020, IA-MSG-021).
    #[error(transparent)]
    Removed(RemovedField),
    /// The system could not create a thread.
    #[error("failed to run template from spec")]
    Thread(#[source] std::io::Error),
}

/// A field that templates may no longer use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "template uses removed '{field}' field. Please use {instead} instead. See: https://fluxcd.io/flux/components/image/imageupdateautomations/#message-template"
)]
pub(super) struct RemovedField {
    field: &'static str,
    instead: &'static str,
}

/// The fields that are gone, by the end of the error that their use is.
const GONE: [(&str, RemovedField); 2] = [
    (
        "can't evaluate field Updated in type source.TemplateData",
        RemovedField {
            field: ".Updated",
            instead: "'.Changed'",
        },
    ),
    (
        "can't evaluate field ImageResult in type update.Result",
        RemovedField {
            field: ".Changed.ImageResult",
            instead: "'.Changed.FileChanges' or '.Changed.Objects'",
        },
    ),
];

/// What a message is made of.
#[derive(Clone, Debug)]
pub(super) struct Data {
    /// The automation.
    pub(super) automation: Key,
    /// The changes.
    pub(super) changes: Changes,
    /// `messageTemplateValues`; absent and empty are the same.
    pub(super) values: BTreeMap<String, String>,
}

/// The message, unmodified: it is neither trimmed nor escaped (IA-MSG-024, IA-MSG-025, IA-GIT-073). Runs on a thread of its
/// own and blocks.
///
/// # Errors
/// The template is not valid, or fails.
pub(super) fn render(template: &str, data: &Data) -> Result<String, MessageError> {
    if template.is_empty() {
        return Ok(DEFAULT.to_owned());
    }
    let mut templates = Templates::new(NAME, functions());
    templates
        .parse(NAME, template.as_bytes())
        .map_err(MessageError::Parse)?;
    let execute = || {
        let mut session = Session::new(Machine, LIMITS);
        templates.execute(&mut session, NAME, data::root(data))
    };
    let message = with_stack(STACK_BYTES, execute).map_err(MessageError::Thread)?;
    let message = message.map_err(|error| match removed_field(&error) {
        Some(field) => MessageError::Removed(field),
        None => MessageError::Run(error),
    })?;
    Ok(String::from_utf8_lossy(&message).into_owned())
}

/// The field that is gone and that this error is about. An action that is not executed is not noticed (IA-MSG-022).
fn removed_field(error: &TemplateError) -> Option<RemovedField> {
    let text = error.to_string();
    let found = GONE.iter().find(|(pattern, _)| text.contains(pattern));
    found.map(|(_, field)| *field)
}

/// The functions of templates (IA-MSG-013 to IA-MSG-017).
fn functions() -> Arc<Functions> {
    static FUNCTIONS: OnceLock<Arc<Functions>> = OnceLock::new();
    let functions = FUNCTIONS.get_or_init(|| {
        let mut functions = flux_sprig::functions();
        flux_sprig::add_cryptography(&mut functions);
        for name in REMOVED {
            functions.remove(name);
        }
        Arc::new(functions)
    });
    functions.clone()
}

/// Time and randomness of this machine, which a few of the functions need: `ago`, `shuffle`, `genCA`.
struct Machine;

impl Environment for Machine {
    fn now(&self) -> Time {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default();
        let seconds = i64::try_from(now.as_secs()).unwrap_or_default();
        Time::unix(seconds, now.subsec_nanos())
    }

    fn random(&self, buffer: &mut [u8]) -> Result<(), CallError> {
        rand::fill(buffer);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
