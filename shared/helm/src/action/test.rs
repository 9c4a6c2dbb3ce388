//! The action of running the test hooks of a release.

use super::course::{Kind, OnError};
use super::{Action, ActionError, History, check_name};
use crate::{Hook, HookEvent};

/// Which test hooks run.
#[derive(Clone, Debug, Default)]
pub struct TestOptions {
    /// Names of the hooks to run; all if empty.
    pub include: Vec<String>,
    /// Names of the hooks to skip.
    pub exclude: Vec<String>,
}

/// The test action.
pub struct Test;

impl Test {
    /// Starts the tests of the newest record (HE-ACT-039). The results are stored in its hooks; skipped ones are moved to
    /// the front.
    ///
    /// # Errors
    /// The name is invalid, or there is no record.
    pub fn start(
        history: &History,
        name: &str,
        options: &TestOptions,
    ) -> Result<Action, ActionError> {
        check_name(name).map_err(|_| ActionError::TestName(name.to_owned()))?;
        let mut release = history.last().ok_or(ActionError::NotFound)?.clone();
        let named = |list: &[String], hook: &Hook| list.contains(&hook.name);
        let hooks = std::mem::take(&mut release.hooks);
        let (mut skipped, mut hooks): (Vec<_>, Vec<_>) = hooks
            .into_iter()
            .partition(|hook| named(&options.exclude, hook));
        if !options.include.is_empty() {
            let (included, left): (Vec<_>, Vec<_>) = hooks
                .into_iter()
                .partition(|hook| named(&options.include, hook));
            hooks = included;
            skipped.extend(left);
        }
        let mut action = Action::new(Kind::Test, release, None);
        let skip = skipped.len();
        skipped.append(&mut hooks);
        action.release.hooks = skipped;
        action.skip_hooks(skip);
        action.hooks(HookEvent::Test, OnError::End(""));
        Ok(action)
    }
}
