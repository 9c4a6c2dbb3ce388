//! What is built, and what is kept instead of building it.

use std::sync::Arc;

use bytes::Bytes;
use flux_artifact::Storage;
use flux_budget::{Budget, Claim};
use flux_chart::{Chart, Metadata, loaded_size};
use flux_golang::path;

use super::failure::{ArchiveFault, MetadataFault, PackError};
use super::reason::ChartReason;

/// The only values file that does not change a chart (SC-HCHART-031).
const VALUES: &str = "values.yaml";
/// How many times the content of a chart is in memory while it is packed: as files, and as an archive.
const COPIES: u64 = 2;

/// The limits of the flags (SC-HCHART-091, SC-HCHART-092).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The most bytes of an archive.
    pub(crate) chart: i64,
    /// The most bytes of a file of a chart.
    pub(crate) file: i64,
}

/// What a build depends on besides the source.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) values_files: Vec<String>,
    pub(super) ignore_missing: bool,
    /// The build metadata of the version; empty to keep the chart's own.
    pub(super) metadata: String,
    /// Whether the stored chart does not count.
    pub(super) force: bool,
    /// The stored chart.
    pub(super) stored: Option<Stored>,
    pub(super) limits: Limits,
    pub(super) storage: Arc<Storage>,
    pub(super) budget: Budget,
}

/// The chart in the storage.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) path: String,
    /// The values files that it was built with, if the status says so.
    pub(super) values_files: Vec<String>,
}

/// A chart that was built, or found in the storage.
#[derive(Debug)]
pub(super) struct Build {
    pub(super) name: String,
    /// The version, with build metadata.
    pub(super) version: String,
    /// The values files that were merged.
    pub(super) values_files: Vec<String>,
    /// How many dependencies were added.
    pub(super) resolved: usize,
    /// Whether it was packed anew, not only pulled.
    pub(super) is_packaged: bool,
    /// Whether its signature was verified.
    pub(super) is_verified: bool,
    /// The archive; `None` if the stored one is current.
    pub(super) archive: Option<Archive>,
}

/// An archive in memory.
#[derive(Debug)]
pub(super) struct Archive {
    pub(super) bytes: Bytes,
    /// Its memory.
    pub(super) _claim: Claim,
}

impl Build {
    /// What happened, for conditions and events (SC-HCHART-081).
    pub(super) fn summary(&self) -> String {
        let action = if self.is_packaged {
            "packaged"
        } else {
            "pulled"
        };
        let mut summary = format!(
            "{action} '{}' chart with version '{}'",
            self.name, self.version
        );
        if !self.values_files.is_empty() {
            let files = self.values_files.join(" ");
            summary = format!("{summary} and merged values files [{files}]");
        }
        summary
    }

    /// The reason of its conditions and events (SC-HCHART-086, SC-HCHART-087).
    pub(super) fn reason(&self) -> ChartReason {
        if self.is_packaged {
            ChartReason::ChartPackageSucceeded
        } else {
            ChartReason::ChartPullSucceeded
        }
    }
}

/// The values files, unless they are only the chart's own default (SC-HCHART-031).
pub(super) fn own_values_files(files: &[String]) -> &[String] {
    match files {
        [only] if path::clean(only.as_str()) == VALUES => &[],
        files => files,
    }
}

impl Wanted {
    /// Whether a chart has to be packed that is an archive already.
    pub(super) fn changes_archives(&self) -> bool {
        !self.own_values_files().is_empty() || !self.metadata.is_empty()
    }

    /// The values files that change the chart.
    pub(super) fn own_values_files(&self) -> &[String] {
        own_values_files(&self.values_files)
    }

    /// The version with the wanted build metadata.
    pub(super) fn version(&self, version: &str) -> Result<String, flux_chart::BuildMetadataError> {
        if self.metadata.is_empty() {
            return Ok(version.to_owned());
        }
        flux_chart::with_build_metadata(version, &self.metadata)
    }

    /// The stored chart, if it has this name and version, and nothing else asks for a new one (SC-HCHART-032,
    /// SC-HCHART-045). Blocks.
    pub(super) fn current(&self, name: &str, version: &str, is_packaged: bool) -> Option<Build> {
        let stored = self.stored.as_ref().filter(|_| !self.force)?;
        let metadata = self.stored_metadata(&stored.path)?;
        // The name of a chart in a registry may begin with folders, which its metadata lacks.
        if metadata.name != path::base(name) || metadata.version != version {
            return None;
        }
        let values_files = if stored.values_files.is_empty() {
            self.own_values_files().to_vec()
        } else {
            stored.values_files.clone()
        };
        Some(Build {
            name: name.to_owned(),
            version: version.to_owned(),
            values_files,
            resolved: 0,
            is_packaged,
            is_verified: false,
            archive: None,
        })
    }

    /// The metadata of the stored chart, if it is intact.
    fn stored_metadata(&self, path: &str) -> Option<Metadata> {
        let file = self.storage.read(path).ok()?;
        let size = file.metadata().ok()?.len();
        self.check_size(path, size).ok()?;
        let metadata = Metadata::from_archive(file, self.limits.file).ok()?;
        metadata.validated().ok()
    }

    /// Checks the size of an archive (SC-HCHART-091).
    pub(super) fn check_size(&self, path: &str, size: u64) -> Result<(), MetadataFault> {
        let limit = self.limits.chart;
        if i64::try_from(size).unwrap_or(i64::MAX) > limit {
            let name = path::base(path).to_owned();
            return Err(MetadataFault::TooLarge { name, limit });
        }
        Ok(())
    }

    /// Loads an archive, with the memory that it needs. Blocks.
    pub(super) fn load(&self, archive: &[u8]) -> Result<(Chart, Claim), ArchiveFault> {
        let claim = self.budget.claim();
        claim.take(COPIES * loaded_size(archive, self.budget.limit()))?;
        Ok((Chart::from_archive(archive)?, claim))
    }

    /// Packs a chart. Blocks.
    pub(super) fn package(&self, chart: &Chart) -> Result<Archive, PackError> {
        let claim = self.budget.claim();
        claim.take(chart.size() as u64)?;
        let bytes = chart.package().map_err(PackError::Package)?;
        claim.give_back((chart.size() as u64).saturating_sub(bytes.len() as u64));
        Ok(Archive {
            bytes: bytes.into(),
            _claim: claim,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(values_files: &[&str], is_packaged: bool) -> Build {
        Build {
            name: "web".to_owned(),
            version: "1.0.0".to_owned(),
            values_files: values_files.iter().map(|file| (*file).to_owned()).collect(),
            resolved: 0,
            is_packaged,
            is_verified: false,
            archive: None,
        }
    }

    // SC-HCHART-081, SC-HCHART-086
    #[test]
    fn summaries_of_builds() {
        for (files, is_packaged, summary, reason) in [
            (
                &[][..],
                false,
                "pulled 'web' chart with version '1.0.0'",
                ChartReason::ChartPullSucceeded,
            ),
            (
                &["a", "b"],
                true,
                "packaged 'web' chart with version '1.0.0' and merged values files [a b]",
                ChartReason::ChartPackageSucceeded,
            ),
        ] {
            let build = build(files, is_packaged);
            assert_eq!(build.summary(), summary);
            assert_eq!(build.reason(), reason);
        }
    }

    // SC-HCHART-031
    #[test]
    fn the_default_values_file_alone_changes_nothing() {
        for (files, count) in [
            (&["values.yaml"][..], 0),
            (&["./values.yaml"], 0),
            (&["values.yaml", "b.yaml"], 2),
            (&["b.yaml"], 1),
            (&[], 0),
        ] {
            let files: Vec<_> = files.iter().map(|file| (*file).to_owned()).collect();
            assert_eq!(own_values_files(&files).len(), count, "{files:?}");
        }
    }
}
