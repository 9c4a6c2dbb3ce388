//! Finds out which version of an artifact is wanted.

use std::time::Duration;

use flux_api::source::OCIRepositorySpec;
use flux_golang::regexp::Regex;
use flux_oci::{Client, Digest, Reference, Repository};
use flux_semver::Constraints;

use super::failure::{DigestFault, StepError, TagError, UrlFault};
use super::layer_media_type;
use crate::registry::within;

/// The prefix of the URL.
const SCHEME: &str = "oci://";
/// The tag if the spec names no version (SC-OCI-040).
const DEFAULT_TAG: &str = "latest";
/// The layer of a Helm chart, in whose tags `_` stands for `+` (SC-OCI-047).
const CHART: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

/// The version of an artifact.
#[derive(Clone, Debug)]
pub(super) struct Version {
    /// The tag, or the digest.
    pub(super) reference: Reference,
    /// The digest of its manifest, by which everything is read (SC-OCI-043).
    pub(super) digest: Digest,
}

impl Version {
    /// The revision as in the status (SC-OCI-041).
    pub(super) fn revision(&self) -> String {
        match &self.reference {
            Reference::Tag { tag, .. } => format!("{tag}@{}", self.digest),
            Reference::Digest { digest, .. } => digest.to_string(),
        }
    }
}

/// The repository of the URL (SC-OCI-026).
pub(super) fn repository(spec: &OCIRepositorySpec) -> Result<Repository, StepError> {
    let failed = |source| StepError::Url {
        url: flux_http::shown_text(&spec.url),
        source,
    };
    let name = spec
        .url
        .strip_prefix(SCHEME)
        .ok_or_else(|| failed(UrlFault::Scheme))?;
    if let Some((_, path)) = name.split_once('/')
        && let Some((_, tag)) = path.split_once(':')
    {
        return Err(failed(UrlFault::Tag(tag.to_owned())));
    }
    let repository = Repository::parse(name).map_err(|error| failed(UrlFault::Name(error)))?;
    Ok(if spec.insecure {
        repository.insecure()
    } else {
        repository
    })
}

/// Asks the registry for the version that the spec wants; each request may take `limit` (SC-OCI-030, SC-OCI-040).
pub(super) async fn find(
    client: &Client,
    spec: &OCIRepositorySpec,
    limit: Duration,
) -> Result<Version, StepError> {
    let reference = Box::pin(reference(client, spec, limit)).await?;
    let digest = Box::pin(within(limit, client.resolve(&reference))).await;
    let digest = digest.map_err(|fault| StepError::Digest(DigestFault::Registry(fault)))?;
    Ok(Version { reference, digest })
}

async fn reference(
    client: &Client,
    spec: &OCIRepositorySpec,
    limit: Duration,
) -> Result<Reference, StepError> {
    let repository = client.repository();
    let reference = spec.reference.clone().unwrap_or_default();
    let text = |value: Option<String>| value.filter(|text| !text.is_empty());
    let failed = |source| StepError::Tag {
        url: spec.url.clone(),
        source,
    };
    if let Some(digest) = text(reference.digest) {
        let found = repository.digest(&digest);
        return found.map_err(|error| StepError::Digest(DigestFault::Digest(error)));
    }
    let tag = if let Some(range) = text(reference.semver) {
        let tags = Box::pin(within(limit, client.tags())).await;
        let tags = tags.map_err(|fault| failed(TagError::Registry(fault)))?;
        let filter = text(reference.semver_filter);
        let selected = select(tags, &range, filter.as_deref(), layer_media_type(spec));
        selected.map_err(failed)?
    } else {
        text(reference.tag).unwrap_or_else(|| DEFAULT_TAG.to_owned())
    };
    let found = repository.tag(&tag);
    found.map_err(|error| StepError::Digest(DigestFault::Name(error)))
}

/// The tag with the highest version in the range. Of tags with equal versions, that which sorts first (SC-OCI-045 to
/// SC-OCI-047).
fn select(
    mut tags: Vec<String>,
    range: &str,
    filter: Option<&str>,
    media_type: Option<&str>,
) -> Result<String, TagError> {
    if let Some(filter) = filter {
        let filter = Regex::compile(filter.as_bytes())
            .map_err(|error| TagError::Filter(error.to_string()))?;
        tags.retain(|tag| filter.is_match(tag));
    }
    let constraints: Constraints = range.parse().map_err(|source| TagError::Range {
        range: range.to_owned(),
        source,
    })?;
    tags.sort_unstable();
    let is_chart = media_type == Some(CHART);
    if is_chart {
        for tag in &mut tags {
            *tag = tag.replace('_', "+");
        }
    }
    let found = flux_semver::latest(&constraints, tags.iter().map(String::as_str));
    let found = found.ok_or_else(|| TagError::NoMatch(range.to_owned()))?;
    Ok(if is_chart {
        found.original().replace('+', "_")
    } else {
        found.original().to_owned()
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    // SC-OCI-026
    #[rstest]
    #[case("oci://ghcr.io/org/app", Ok("ghcr.io/org/app"))]
    #[case("oci://localhost:5000/app", Ok("localhost:5000/app"))]
    // SC-OCI-048
    #[case("oci://nginx", Ok("index.docker.io/library/nginx"))]
    #[case(
        "https://ghcr.io/org/app",
        Err("URL must be in format 'oci://<domain>/<org>/<repo>'")
    )]
    #[case(
        "oci://ghcr.io/org/app:v1",
        Err("URL must not contain a tag; remove ':v1'")
    )]
    #[case("oci://", Err("a repository name must be specified"))]
    fn urls_are_repositories_without_a_tag(
        #[case] url: &str,
        #[case] expected: Result<&str, &str>,
    ) {
        let spec = OCIRepositorySpec {
            url: url.to_owned(),
            ..OCIRepositorySpec::default()
        };
        let found = repository(&spec).map(|repository| repository.to_string());
        let found = found.map_err(|error| match error {
            StepError::Url { source, .. } => source.to_string(),
            other => other.to_string(),
        });
        assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned));
    }

    // SC-OCI-045, SC-OCI-046, SC-OCI-047
    #[rstest]
    #[case(&["1.0.0", "1.2.0", "1.10.0", "2.0.0"], ">=1.0.0 <2.0.0", None, None, "1.10.0")]
    // RT-ART-021
    #[case(&["v1.0.0", "latest", "1.1", "sha256-00.sig", "1.0.0.sig"], "*", None, None, "v1.0.0")]
    #[case(&["1.0.0", "1.1.0-rc.1"], ">=1.0.0", None, None, "1.0.0")]
    #[case(&["1.0.0", "1.1.0-rc.1"], ">=1.0.0-0", None, None, "1.1.0-rc.1")]
    // FR-H-065: a tag of an image and one of a chart, in any order
    #[case(&["v1.5.1", "1.5.1", "1.5.1-fips"], ">=1.4.1", None, None, "1.5.1")]
    #[case(&["v1.5.1", "1.5.1"], ">=1.4.1", Some("^v"), None, "v1.5.1")]
    #[case(&["1.5.1-fips", "1.5.0"], ">=1.4.1-0", Some("fips$"), None, "1.5.1-fips")]
    #[case(&["6.3.5_a1", "6.3.4"], ">=6", None, Some(CHART), "6.3.5_a1")]
    #[case(&["6.3.5_a1", "6.3.4"], ">=6", None, Some("other"), "6.3.4")]
    fn the_highest_tag_in_the_range_is_selected(
        #[case] tags: &[&str],
        #[case] range: &str,
        #[case] filter: Option<&str>,
        #[case] media_type: Option<&str>,
        #[case] expected: &str,
    ) {
        let tags = || tags.iter().map(|tag| (*tag).to_owned());
        for tags in [tags().collect(), tags().rev().collect()] {
            assert_eq!(select(tags, range, filter, media_type).unwrap(), expected);
        }
    }

    // SC-OCI-045, SC-OCI-046
    #[rstest]
    #[case(">=2", None, "no match found for semver: >=2")]
    #[case("x.y", None, "semver 'x.y' parse error: ")]
    #[case("*", Some("["), "error parsing regexp: missing closing ]: `[`")]
    fn no_tag(#[case] range: &str, #[case] filter: Option<&str>, #[case] expected: &str) {
        let error = select(vec!["1.0.0".to_owned()], range, filter, None).unwrap_err();
        let text = flux_runtime::outcome::chain(&error);
        assert!(text.starts_with(expected), "{text}");
    }
}
