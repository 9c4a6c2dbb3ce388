//! Which files an operation leaves out.

use super::OperationError;
use crate::artifact_generator::doublestar::{Doublestar, PatternError};
use crate::artifact_generator::steps::{Steps, TooSlow};

/// The patterns of an operation's `exclude`.
pub(super) struct Excludes(Vec<Exclude>);

struct Exclude {
    pattern: Doublestar,
    /// Whether the pattern is also for the names of files at any depth (SW-GEN-171).
    names: bool,
}

impl Excludes {
    /// Compiles the patterns; all of them are checked before anything is copied (SW-GEN-133).
    pub(super) fn compile(patterns: &[String]) -> Result<Self, OperationError> {
        let compile = |text: &String| {
            let pattern = Doublestar::compile(text).map_err(|error| match error {
                PatternError::Syntax => OperationError::Exclude(text.clone()),
                PatternError::TooManyAlternatives(_) => {
                    OperationError::ExcludeTooMany(text.clone(), error)
                }
            })?;
            let names = !text.contains('/');
            Ok::<_, OperationError>(Exclude { pattern, names })
        };
        Ok(Self(
            patterns.iter().map(compile).collect::<Result<_, _>>()?,
        ))
    }

    /// Whether `path` is left out: by its path from the root of the source, or from the folder `base` (SW-GEN-170,
    /// SW-GEN-173).
    pub(super) fn has(&self, path: &str, base: &str, steps: &Steps) -> Result<bool, TooSlow> {
        if self.matches(path, steps)? {
            return Ok(true);
        }
        let below = path.strip_prefix(base);
        match below.and_then(|below| below.strip_prefix('/')) {
            Some(below) if !base.is_empty() => self.matches(below, steps),
            _ => Ok(false),
        }
    }

    fn matches(&self, path: &str, steps: &Steps) -> Result<bool, TooSlow> {
        let name = path.rsplit('/').next().unwrap_or(path);
        for exclude in &self.0 {
            if exclude.pattern.matches(path, steps)?
                || exclude.names && name != path && exclude.pattern.matches(name, steps)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
