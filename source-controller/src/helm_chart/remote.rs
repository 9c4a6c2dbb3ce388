//! Builds a chart of a Helm repository.

use std::time::Duration;

use flux_api::source::HelmChart;
use flux_chart::{MAX_CHART_BYTES, Metadata};
use flux_golang::path;
use flux_runtime::Run;

use super::build::{Archive, Build, Wanted};
use super::failure::{
    DownloadFault, MetadataFault, PackError, PullError, ReferenceError, StepError, ValuesError,
    VerificationError,
};
use super::repository::{Downloader, Found, Repositories};
use crate::helm::indexes::Full;
use crate::signatures::{self, Artifact as Signed, Material, SignatureFault, Trust};

/// Reads the material that the spec of a chart trusts (SC-HCHART-096). Only charts of registries are verified.
pub(super) async fn verifier(
    run: &Run<HelmChart>,
    repositories: &Repositories,
    downloader: &Downloader,
) -> Result<Option<Material>, StepError> {
    let object = run.object().clone();
    let (Some(verify), Downloader::Oci(_)) = (&object.spec.verify, downloader) else {
        return Ok(None);
    };
    let trust = Trust::of_chart(verify, run.name());
    let material = Material::read(&trust, run.namespace(), &repositories.secrets).await;
    let material = material.map_err(|source| StepError::Verifier {
        provider: signatures::provider(&verify.provider, verify.secret_ref.is_some()),
        source: Box::new(source),
    })?;
    Ok(Some(material))
}

/// The chart that a spec names.
pub(super) struct Reference<'s> {
    pub(super) name: &'s str,
    pub(super) version: &'s str,
    /// Whether its signature has to be verified.
    pub(super) verify: bool,
    /// What it is verified with.
    pub(super) material: Option<Material>,
    /// How long that may take.
    pub(super) limit: Duration,
}

/// Builds the chart, unless the stored one is current (SC-HCHART-030 to SC-HCHART-032).
pub(super) async fn build(
    repositories: &Repositories,
    downloader: &Downloader,
    reference: &Reference<'_>,
    wanted: Wanted,
    full: &mut Option<Full>,
) -> Result<Build, StepError> {
    check_name(reference.name)?;
    let asked = (reference.name, reference.version);
    let found = repositories.find(downloader, asked, None, full).await?;
    let is_verified = reference.verify && verify(repositories, &found, reference).await?;

    let version = wanted.version(found.version()).map_err(StepError::from)?;
    let name = found.name().to_owned();
    let is_packaged = wanted.changes_archives();
    let current = {
        let (wanted, name, version) = (wanted.clone(), name.clone(), version.clone());
        let current = move || wanted.current(&name, &version, is_packaged);
        tokio::task::spawn_blocking(current).await?
    };
    if let Some(build) = current {
        return Ok(Build {
            is_verified,
            ..build
        });
    }

    let claim = repositories.budget.claim();
    let file = format!("{}-{}.tgz", path::base(name.as_str()), found.version());
    let limit = if is_packaged {
        MAX_CHART_BYTES // what the loader reads; the limit of archives is for those that are kept as they are
    } else {
        u64::try_from(wanted.limits.chart).unwrap_or_default()
    };
    let downloaded = repositories.download(downloader, &found, limit, &claim);
    let downloaded = Box::pin(downloaded).await;
    let bytes = downloaded.map_err(|error| match error {
        // SC-HCHART-091
        DownloadFault::TooLarge(_) if !is_packaged => {
            PullError::Metadata(MetadataFault::TooLarge {
                name: file.clone(),
                limit: wanted.limits.chart,
            })
        }
        error => PullError::Download(error),
    })?;
    let archive = Archive {
        bytes,
        _claim: claim,
    };
    let build = Build {
        name,
        version,
        values_files: Vec::new(),
        resolved: 0,
        is_packaged,
        is_verified,
        archive: None,
    };
    tokio::task::spawn_blocking(move || finish(&wanted, build, archive, &file)).await?
}

/// Checks the downloaded archive, or packs it anew.
fn finish(
    wanted: &Wanted,
    mut build: Build,
    archive: Archive,
    file: &str,
) -> Result<Build, StepError> {
    if !build.is_packaged {
        let size = archive.bytes.len() as u64;
        let checked = wanted.check_size(file, size).map_err(PullError::Metadata);
        checked?;
        let metadata = Metadata::from_archive(&*archive.bytes, wanted.limits.file);
        let metadata = metadata.map_err(|error| PullError::Metadata(error.into()))?;
        metadata.validated().map_err(PullError::Invalid)?;
        build.archive = Some(archive);
        return Ok(build);
    }
    let loaded = wanted.load(&archive.bytes).map_err(PackError::Downloaded);
    let (mut chart, claim) = loaded?;
    chart.metadata.version.clone_from(&build.version);
    let merged = chart.merge_values_files(&wanted.values_files, wanted.ignore_missing, &claim);
    let merged = merged.map_err(ValuesError::OfChart)?;
    let replaced = chart.replace_values(merged.values, &claim);
    if replaced.map_err(ValuesError::Files)? {
        build.values_files = merged.files;
    }
    build.archive = Some(wanted.package(&chart)?);
    Ok(build)
}

/// Whether the name is one that a remote chart may have (SC-HCHART-020).
fn check_name(name: &str) -> Result<(), ReferenceError> {
    if name.is_empty() {
        return Err(ReferenceError::NoName);
    }
    // Upstream's `^([-a-z0-9]+/?\.?)+$`, in which each part has letters, and may end in a slash, a period, or both.
    let mut has_part = false;
    let mut separators = "";
    for character in name.chars() {
        match (character, separators) {
            ('-' | 'a'..='z' | '0'..='9', _) => (has_part, separators) = (true, ""),
            ('/', "") if has_part => separators = "/",
            ('.', "" | "/") if has_part => separators = ".",
            _ => return Err(ReferenceError::Name(name.to_owned())),
        }
    }
    Ok(())
}

/// Verifies the signature of a chart; `false` if the policy lets it pass without one (SC-HCHART-095).
async fn verify(
    repositories: &Repositories,
    found: &Found,
    reference: &Reference<'_>,
) -> Result<bool, VerificationError> {
    let (chart, digest) = Box::pin(found.resolved()).await?;
    let Some(material) = &reference.material else {
        return Err(VerificationError::NotImplemented);
    };
    let name = chart.client.repository().at(digest.clone()).to_string();
    let artifact = Signed {
        client: &chart.client,
        budget: &repositories.budget,
        digest,
        reference: &name,
    };
    let verified = tokio::time::timeout(reference.limit, material.verify(&artifact));
    let verified = Box::pin(verified).await;
    let verified = verified.unwrap_or(Err(SignatureFault::Timeout));
    verified.map_err(|source| VerificationError::Signature {
        reference: chart.reference(found.version()),
        source: Box::new(source),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // SC-HCHART-020
    #[test]
    fn names_of_remote_charts() {
        for name in [
            "web",
            "web-1",
            "org/web",
            "org/sub/web",
            "a.b",
            "a/.b",
            "a.",
            "a/",
            "-",
        ] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in [
            "Web", "a_b", "/a", ".a", "a//b", "a..b", "a./b", "a b", "../a", "a+b",
        ] {
            let error = check_name(name).unwrap_err().to_string();
            assert_eq!(
                error,
                format!(
                    "invalid chart name '{name}': a valid name must be lower case letters and numbers and MAY be separated with dashes (-), slashes (/) or periods (.)"
                )
            );
        }
        let error = check_name("").unwrap_err().to_string();
        assert_eq!(error, "no name set for remote chart reference");
    }
}
