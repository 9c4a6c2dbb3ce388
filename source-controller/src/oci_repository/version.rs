//! Finds out which version of an artifact is wanted.

use std::cell::Cell;
use std::time::{Duration, Instant};

use flux_api::source::OCIRepositorySpec;
use flux_golang::regexp::Regex;
use flux_oci::{Client, Digest, Reference, Repository};
use flux_registry::{RegistryFault, within};
use flux_semver::Constraints;

use super::failure::{DigestFault, ShownUrl, StepError, TagError, UrlFault};
use super::layer_media_type;

/// The prefix of the URL.
const SCHEME: &str = "oci://";
/// The tag if the spec names no version (SC-OCI-040).
const DEFAULT_TAG: &str = "latest";
/// The most bytes of the filter of tags once it is compiled.
const MAX_FILTER: usize = 256 << 10;
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
        url: ShownUrl::new(&spec.url),
        source,
    };
    let name = spec
        .url
        .strip_prefix(SCHEME)
        .ok_or_else(|| failed(UrlFault::Scheme))?;
    if let Some((_, path)) = name.split_once('/')
        && let Some((_, tag)) = path.split_once(':')
    {
        return Err(failed(UrlFault::Tag(flux_http::shown_text(tag))));
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
    let digest = Box::pin(within(limit, client, client.resolve(&reference))).await;
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
        url: ShownUrl::new(&spec.url),
        source,
    };
    if let Some(digest) = text(reference.digest) {
        let found = repository.digest(&digest);
        return found.map_err(|error| StepError::Digest(DigestFault::Digest(error)));
    }
    let tag = if let Some(range) = text(reference.semver) {
        let tags = Box::pin(within(limit, client, client.tags())).await;
        let selection = Selection {
            tags: tags.map_err(|fault| failed(TagError::Registry(fault)))?,
            range,
            filter: text(reference.semver_filter),
            is_chart: layer_media_type(spec) == Some(CHART),
            deadline: Instant::now() + limit,
        };
        let selected = tokio::task::spawn_blocking(|| selection.select()).await?;
        selected.map_err(failed)?
    } else {
        text(reference.tag).unwrap_or_else(|| DEFAULT_TAG.to_owned())
    };
    let found = repository.tag(&tag);
    found.map_err(|error| StepError::Digest(DigestFault::Name(error)))
}

/// A choice among the tags of a repository, which may be a million: made on a thread of its own, and not for ever.
struct Selection {
    tags: Vec<String>,
    range: String,
    filter: Option<String>,
    /// Whether `_` in tags stands for `+` (SC-OCI-047).
    is_chart: bool,
    deadline: Instant,
}

impl Selection {
    /// The tag with the highest version in the range. Of tags with equal versions, that which sorts first (SC-OCI-045 to
    /// SC-OCI-047).
    fn select(mut self) -> Result<String, TagError> {
        let clock = Clock::new(self.deadline);
        if let Some(filter) = &self.filter {
            let filter = Regex::compile_within(filter.as_bytes(), MAX_FILTER);
            let filter = filter.map_err(|error| TagError::Filter(error.to_string()))?;
            self.tags
                .retain(|tag| clock.goes_on() && filter.is_match(tag));
        }
        let constraints = self.range.parse();
        let constraints: Constraints = constraints.map_err(|source| TagError::Range {
            range: self.range.clone(),
            source,
        })?;
        self.tags.sort_unstable();
        if self.is_chart {
            for tag in &mut self.tags {
                *tag = tag.replace('_', "+");
            }
        }
        let tags = self.tags.iter().map(String::as_str);
        let tags = tags.take_while(|_| clock.goes_on());
        let found = flux_semver::latest(&constraints, tags);
        if clock.has_ended() {
            return Err(TagError::Registry(RegistryFault::Timeout));
        }
        let found = found.ok_or(TagError::NoMatch(self.range))?;
        Ok(if self.is_chart {
            found.original().replace('+', "_")
        } else {
            found.original().to_owned()
        })
    }
}

/// Looks at the time once in a while.
struct Clock {
    deadline: Instant,
    steps: Cell<u32>,
    ended: Cell<bool>,
}

impl Clock {
    /// The steps between two looks.
    const STEPS: u32 = 1024;

    fn new(deadline: Instant) -> Self {
        Self {
            deadline,
            steps: Cell::new(0),
            ended: Cell::new(false),
        }
    }

    /// Whether a step may be taken.
    fn goes_on(&self) -> bool {
        let step = self.steps.get();
        self.steps.set(step.wrapping_add(1));
        if step.is_multiple_of(Self::STEPS) && Instant::now() >= self.deadline {
            self.ended.set(true);
        }
        !self.ended.get()
    }

    fn has_ended(&self) -> bool {
        self.ended.get()
    }
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
    #[case(
        "oci://https://u:s3cret@ghcr.io/app",
        Err("URL must not contain a tag; remove ':***@ghcr.io/app'")
    )]
    #[case(
        "oci://u:s3cret@ghcr.io/app",
        Err("registries must be valid RFC 3986 URI authorities: ***@ghcr.io")
    )]
    #[case(
        "oci://u:s3/cret@ghcr.io/app",
        Err(
            "repository can only contain the characters `abcdefghijklmnopqrstuvwxyz0123456789_-./`: ***@ghcr.io/app"
        )
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
        if let Err(error) = &found {
            let shown = format!("{} {error:?}", flux_runtime::outcome::chain(error));
            assert!(!shown.contains("s3") && !shown.contains("cret"), "{shown}");
        }
        let found = found.map_err(|error| match error {
            StepError::Url { source, .. } => source.to_string(),
            other => other.to_string(),
        });
        assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned));
    }

    fn selection(
        tags: Vec<String>,
        range: &str,
        filter: Option<&str>,
        is_chart: bool,
    ) -> Selection {
        Selection {
            tags,
            range: range.to_owned(),
            filter: filter.map(str::to_owned),
            is_chart,
            deadline: Instant::now() + Duration::from_mins(1),
        }
    }

    // SC-OCI-030
    #[test]
    fn choosing_a_tag_has_an_end() {
        for filter in [None, Some("^1")] {
            let mut selection = selection(vec!["1.0.0".to_owned()], "*", filter, false);
            selection.deadline = Instant::now();
            let error = selection.select().unwrap_err();
            assert_eq!(error.to_string(), "context deadline exceeded");
        }
        let large = r"\pL{40}".repeat(20);
        let error = selection(Vec::new(), "*", Some(&large), false).select();
        let error = error.unwrap_err().to_string();
        assert!(
            error.starts_with("error parsing regexp: expression too large: "),
            "{error}"
        );
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
            let selection = selection(tags, range, filter, media_type == Some(CHART));
            assert_eq!(selection.select().unwrap(), expected);
        }
    }

    // SC-OCI-045, SC-OCI-046
    #[rstest]
    #[case(">=2", None, "no match found for semver: >=2")]
    #[case("x.y", None, "semver 'x.y' parse error: ")]
    #[case("*", Some("["), "error parsing regexp: missing closing ]: `[`")]
    fn no_tag(#[case] range: &str, #[case] filter: Option<&str>, #[case] expected: &str) {
        let selection = selection(vec!["1.0.0".to_owned()], range, filter, false);
        let error = selection.select().unwrap_err();
        let text = flux_runtime::outcome::chain(&error);
        assert!(text.starts_with(expected), "{text}");
    }
}
