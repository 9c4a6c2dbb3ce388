//! Builds a chart of a GitRepository or Bucket.

use std::path::Path;

use flux_api::meta::Artifact;
use flux_api::source::HelmChartSourceKind;
use flux_chart::{
    Chart, MergedValues, Metadata, SourceValues, ValuesFileError, merge_source_values,
};
use flux_runtime::queue::Key;
use flux_tree::TreePath;

use super::build::{Archive, Build, Wanted};
use super::dependencies;
use super::failure::{
    MetadataFault, PackError, ReferenceError, SourceFault, StepError, ValuesError,
};
use super::files::Files;
use super::repository::Repositories;

/// How many characters of a revision are part of a version (SC-HCHART-043).
const REVISION: usize = 12;

/// What a chart is built from.
pub(super) struct Input<'a> {
    pub(super) artifact: &'a Artifact,
    /// The path of the chart in the source, as the spec has it.
    pub(super) chart: &'a str,
    /// The object, whose namespace has the repositories of dependencies.
    pub(super) object: Key,
    /// A folder for the files of this run.
    pub(super) folder: &'a Path,
}

/// The build metadata of a revision (SC-HCHART-043).
pub(super) fn revision_metadata(kind: &HelmChartSourceKind, revision: &str) -> String {
    let hash = match kind {
        HelmChartSourceKind::GitRepository => {
            let hash = revision.rsplit_once('@').map_or(revision, |(_, hash)| hash);
            let hash = hash.rsplit_once(':').map_or(hash, |(_, hash)| hash);
            hash.rsplit_once('/').map_or(hash, |(_, hash)| hash)
        }
        _ => revision.split_once(':').map_or(revision, |(_, hash)| hash),
    };
    hash.chars().take(REVISION).collect()
}

/// A chart folder whose dependencies may be missing.
struct Loaded {
    files: Files,
    chart: Chart,
    path: TreePath,
    build: Build,
}

/// What became of a chart before its dependencies.
enum Begun {
    Done(Build),
    Loaded(Box<Loaded>),
}

/// Builds the chart, unless the stored one is current (SC-HCHART-040 to SC-HCHART-049).
pub(super) async fn build(
    repositories: &Repositories,
    input: &Input<'_>,
    wanted: Wanted,
) -> Result<Build, StepError> {
    let begin = {
        let (wanted, folder) = (wanted.clone(), input.folder.to_owned());
        let (artifact, chart) = (input.artifact.path.clone(), input.chart.to_owned());
        move || {
            let archive = wanted.storage.read(&artifact).map_err(StepError::Open)?;
            let files = Files::unpack(archive, &folder, &wanted.budget)?;
            begin(&wanted, files, &chart)
        }
    };
    let mut loaded = match tokio::task::spawn_blocking(begin).await?? {
        Begun::Done(build) => return Ok(build),
        Begun::Loaded(loaded) => *loaded,
    };
    let missing = match loaded.files.is_folder(&loaded.path) {
        Some(true) => loaded.chart.missing_dependencies(),
        _ => Vec::new(), // of an archive they are not added (SC-HCHART-049)
    };
    loaded.build.resolved = missing.len();
    if !missing.is_empty() {
        let adding = dependencies::Adding {
            repositories,
            wanted: &wanted,
            parent: input.chart,
            object: input.object.clone(),
            folder: input.folder,
        };
        let added = adding.all(missing, loaded.files, loaded.chart);
        (loaded.files, loaded.chart) = Box::pin(added).await?;
    }
    let package = move || {
        let archive = wanted.package(&loaded.chart)?;
        drop(loaded.files);
        Ok(Build {
            archive: Some(archive),
            ..loaded.build
        })
    };
    tokio::task::spawn_blocking(package).await?
}

/// Everything that needs no repository.
fn begin(wanted: &Wanted, mut files: Files, chart: &str) -> Result<Begun, StepError> {
    if chart.is_empty() {
        return Err(ReferenceError::NoPath.into());
    }
    if chart.starts_with('/') {
        return Err(ReferenceError::Absolute.into());
    }
    let path = TreePath::root().join_clamped(chart);
    let path = path.map_err(|_| missing(chart))?;
    let is_folder = files
        .is_folder(&path)
        .ok_or_else(|| missing(path.as_str()))?;
    let metadata = metadata(wanted, &mut files, &path, is_folder)?;
    let metadata = metadata.validated().map_err(ReferenceError::Invalid)?;
    let version = wanted.version(&metadata.version)?;

    let is_packaged = is_folder || wanted.changes_archives();
    if let Some(build) = wanted.current(&metadata.name, &version, is_packaged) {
        return Ok(Begun::Done(build));
    }
    let mut build = Build {
        name: metadata.name,
        version,
        values_files: Vec::new(),
        resolved: 0,
        is_packaged,
        is_verified: false,
        archive: None,
    };
    if !is_packaged {
        // SC-HCHART-046
        build.archive = Some(copy(wanted, &mut files, &path)?);
        return Ok(Begun::Done(build));
    }
    let merged = values(wanted, &mut files)?;
    let mut chart = load(wanted, &mut files, &path)?;
    chart.metadata.version.clone_from(&build.version);
    if let Some(merged) = merged
        && chart
            .replace_values(merged.values, files.claim())
            .map_err(ValuesError::Files)?
    {
        build.values_files = merged.files;
    }
    Ok(Begun::Loaded(Box::new(Loaded {
        files,
        chart,
        path,
        build,
    })))
}

fn missing(path: &str) -> ReferenceError {
    let fault = flux_chart::MetadataError::NotFound(format!("/{path}"));
    MetadataFault::Metadata(fault).into()
}

/// The metadata of the chart, for which no other file is loaded.
fn metadata(
    wanted: &Wanted,
    files: &mut Files,
    path: &TreePath,
    is_folder: bool,
) -> Result<Metadata, StepError> {
    let limit = wanted.limits.file;
    let read = if is_folder {
        for file in ["Chart.yaml", "requirements.yaml"] {
            let file = path.join(file).map_err(|_| missing(path.as_str()))?;
            files.load(&file).map_err(StepError::ReadSource)?;
        }
        Metadata::from_tree(files.loaded(), path, limit)
    } else {
        let size = files.size(path);
        let size = size.map_err(|error| StepError::ReadSource(SourceFault::Read(error)))?;
        let checked = wanted.check_size(path.as_str(), size.unwrap_or_default());
        checked.map_err(ReferenceError::Metadata)?;
        let tree = files.load(path).map_err(StepError::ReadSource)?;
        let archive = tree.read(path).map_err(|_| missing(path.as_str()))?;
        Metadata::from_archive(&**archive, limit)
    };
    let read = read.map_err(|error| ReferenceError::Metadata(error.into()));
    Ok(read?)
}

/// The archive as it is in the source.
fn copy(wanted: &Wanted, files: &mut Files, path: &TreePath) -> Result<Archive, StepError> {
    let tree = files.load(path).map_err(StepError::ReadSource)?;
    let bytes = tree.read(path).map_err(|_| missing(path.as_str()))?.clone();
    let claim = wanted.budget.claim();
    let claimed = claim.take(bytes.len() as u64);
    claimed.map_err(|error| StepError::ReadSource(error.into()))?;
    Ok(Archive {
        bytes,
        _claim: claim,
    })
}

/// The merged values files, which are anywhere in the source; `None` if the spec has none (SC-HCHART-047).
fn values(wanted: &Wanted, files: &mut Files) -> Result<Option<MergedValues>, StepError> {
    if wanted.own_values_files().is_empty() {
        return Ok(None);
    }
    let mut found = Vec::new();
    for reference in &wanted.values_files {
        let path = TreePath::root().join_clamped(reference).ok();
        let shown = path.as_ref().map_or(reference.as_str(), TreePath::as_str);
        let shown = format!("/{shown}");
        let content = match path.map(|path| (files.is_folder(&path), path)) {
            Some((Some(false), path)) => {
                let tree = files.load(&path).map_err(|source| ValuesError::Read {
                    path: reference.clone(),
                    source,
                })?;
                tree.read(&path).ok().cloned()
            }
            Some((Some(true), _)) => {
                let error = ValuesFileError::MissingInSource {
                    path: shown,
                    reference: reference.clone(),
                };
                return Err(ValuesError::Files(error).into());
            }
            _ => None,
        };
        found.push(SourceValues {
            reference: reference.clone(),
            path: shown,
            content,
        });
    }
    let merged = merge_source_values(found, wanted.ignore_missing, files.claim());
    Ok(Some(merged.map_err(ValuesError::Files)?))
}

/// The chart with all its files.
fn load(wanted: &Wanted, files: &mut Files, path: &TreePath) -> Result<Chart, StepError> {
    files.load(path).map_err(|fault| match fault {
        SourceFault::Memory(exhausted) => PackError::Memory(exhausted).into(),
        fault @ SourceFault::Read(_) => StepError::ReadSource(fault),
    })?;
    files.claim_chart(path).map_err(PackError::Memory)?;
    let tree = files.loaded();
    let chart = Chart::from_source_path(tree, path, wanted.limits.file);
    Ok(chart.map_err(PackError::Load)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    // SC-HCHART-043
    #[test]
    fn revisions_become_build_metadata() {
        use HelmChartSourceKind::{Bucket, GitRepository};
        let sha1 = "8e5c6a8b2d1f0123456789abcdef0123456789ab";
        for (kind, revision, want) in [
            (GitRepository, format!("main@sha1:{sha1}"), "8e5c6a8b2d1f"),
            (GitRepository, format!("sha1:{sha1}"), "8e5c6a8b2d1f"),
            (
                GitRepository,
                format!("refs/x@y@sha1:{sha1}"),
                "8e5c6a8b2d1f",
            ),
            (GitRepository, format!("main/{sha1}"), "8e5c6a8b2d1f"),
            (Bucket, format!("sha256:{sha1}"), "8e5c6a8b2d1f"),
            (Bucket, sha1.to_owned(), "8e5c6a8b2d1f"),
            (Bucket, "short".to_owned(), "short"),
        ] {
            assert_eq!(revision_metadata(&kind, &revision), want, "{revision}");
        }
    }
}
