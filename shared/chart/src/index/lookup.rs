//! Chooses a version of a chart.

use flux_semver::{ConstraintError, Constraints, Version};

use super::{Index, IndexedVersion};

/// Why an index has no version of a chart that fits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// There is no such chart.
    #[error("no chart name found")]
    NoChart,
    /// The chart has no valid version.
    #[error("no chart version found")]
    NoVersion,
    /// The constraint is not one.
    #[error(transparent)]
    Constraint(#[from] ConstraintError),
    /// No version is in the range.
    #[error("no '{name}' chart with version matching '{wanted}' found")]
    NoMatch {
        /// The chart.
        name: String,
        /// The range.
        wanted: String,
    },
}

impl Index {
    /// The version of a chart that `wanted` selects: the one that is written like that, else the highest in that range; of
    /// equally high ones the newest. Without `wanted`, the highest version that is no pre-release.
    ///
    /// # Errors
    /// [`LookupError`]
    pub fn find(&self, name: &str, wanted: &str) -> Result<&IndexedVersion, LookupError> {
        let versions = self.versions(name).ok_or(LookupError::NoChart)?;
        if versions.is_empty() {
            return Err(LookupError::NoVersion);
        }
        if !wanted.is_empty()
            && let Some(exact) = versions.iter().find(|found| *found.version == *wanted)
        {
            return Ok(exact);
        }
        let range = Constraints::parse(if wanted.is_empty() { "*" } else { wanted })?;
        let matching = versions.iter().filter_map(|found| {
            // SC-HCHART-024: three parts are required, a `v` is allowed.
            let text = found.version.strip_prefix('v').unwrap_or(&found.version);
            let version = Version::parse_strict(text).ok()?;
            range.check(&version).then_some((version, found))
        });
        let order = |(a, x): &(Version, &IndexedVersion), (b, y): &(Version, &IndexedVersion)| {
            let created = x.created.instant().cmp(&y.created.instant());
            a.compare(b).then(created)
        };
        let highest = matching.max_by(order).map(|(_, found)| found);
        highest.ok_or_else(|| LookupError::NoMatch {
            name: name.to_owned(),
            wanted: wanted.to_owned(),
        })
    }
}
