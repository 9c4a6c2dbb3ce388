//! Build metadata of chart versions.

use flux_semver::{Version, VersionError};

/// Why a version cannot have build metadata. Printed with its source, joined by `: `, the text is source-controller's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildMetadataError {
    /// The version is not a semantic version.
    #[error("failed to parse version from chart metadata as SemVer")]
    Version(#[source] VersionError),
    /// The metadata has other characters than it may.
    #[error("failed to set SemVer metadata on chart version")]
    Metadata(#[source] VersionError),
}

/// The version with this build metadata in place of its own (SC-HCHART-031, SC-HCHART-043).
///
/// ```
/// assert_eq!(flux_chart::with_build_metadata("6.0.0+build", "3").unwrap(), "6.0.0+3");
/// ```
///
/// # Errors
/// [`BuildMetadataError`]
pub fn with_build_metadata(version: &str, metadata: &str) -> Result<String, BuildMetadataError> {
    let parsed = Version::parse(version).map_err(BuildMetadataError::Version)?;
    let changed = parsed
        .set_metadata(metadata)
        .map_err(BuildMetadataError::Metadata)?;
    Ok(changed.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    // SC-HCHART-031, SC-HCHART-043, SC-HCHART-044
    #[test]
    fn metadata_replaces_that_of_the_version() {
        for (version, metadata, want) in [
            ("6.1.0", "8e5c6a8b2d1f.4", Some("6.1.0+8e5c6a8b2d1f.4")),
            ("6.1.0+old", "4", Some("6.1.0+4")),
            ("v1.2", "4", Some("1.2.0+4")),
            ("1.0.0-rc.1", "4", Some("1.0.0-rc.1+4")),
            ("latest", "4", None),
            ("1.0.0", "main/a_b", None),
        ] {
            assert_eq!(with_build_metadata(version, metadata).ok().as_deref(), want);
        }
        let error = with_build_metadata("latest", "4").unwrap_err();
        assert!(matches!(error, BuildMetadataError::Version(_)));
        let error = with_build_metadata("1.0.0", "_").unwrap_err();
        assert!(matches!(error, BuildMetadataError::Metadata(_)));
    }
}
