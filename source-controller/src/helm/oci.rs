//! A Helm repository in an OCI registry.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flux_budget::{Budget, Claim};
use flux_golang::path;
use flux_golang::url::Url;
use flux_http::TlsSettings;
use flux_oci::{
    BlobError, Client, Credentials, Descriptor, Digest, Manifest, Options, Repository, media_types,
};
use flux_registry::{RegistryFault, within};
use flux_semver::{ConstraintError, Constraints, Version};

use super::http::is_tls;

/// The scheme of the URL.
pub(crate) const SCHEME: &str = "oci";
/// What Helm's client in upstream says it is (SC-HCHART-033).
const USER_AGENT: &str = "flux/v2/helm/v4/oras/v2";
/// The media types of a chart's parts (SC-HCHART-024).
const CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";
const CHART: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
const LEGACY_CHART: &str = "application/tar+gzip";
/// The fewest parts of a chart that Helm knows: its configuration and its archive, or one of them with the manifest.
const MIN_PARTS: usize = 2;
/// How many manifests of an index are looked at for a chart.
const MAX_CHILDREN: usize = 32;

/// A repository of charts, each a repository of the registry.
pub(crate) struct OciRepository {
    pub(crate) url: Url,
    pub(crate) insecure: bool,
    pub(crate) credentials: Credentials,
    pub(crate) tls: TlsSettings,
    /// The time limit of each request.
    pub(crate) timeout: Duration,
}

/// A chart of such a repository.
pub(crate) struct OciChart {
    pub(crate) client: Client,
    /// Its URL without a tag.
    pub(crate) url: String,
    name: String,
    timeout: Duration,
}

/// Why no version of a chart is found. Printed with its source, joined by `: `, the text is source-controller's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VersionError {
    #[error("could not get tags for {name}: could not fetch tags for {url}")]
    Tags {
        /// Quoted.
        name: String,
        /// Quoted.
        url: String,
        #[source]
        source: Box<RegistryFault>,
    },
    #[error(
        "could not get tags for {name}: unable to locate any tags in provided repository: {url}"
    )]
    NoTags { name: String, url: String },
    #[error(transparent)]
    Constraint(ConstraintError),
    #[error("could not locate a version matching provided version string {0}")]
    NoMatch(String),
}

/// Why a chart cannot be pulled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PullError {
    #[error("failed to get '{reference}'")]
    Registry {
        reference: String,
        #[source]
        source: RegistryFault,
    },
    #[error("failed to get '{reference}'")]
    Layout {
        reference: String,
        #[source]
        source: LayoutError,
    },
    /// The chart has so many bytes.
    #[error("the chart has {0} bytes")]
    TooLarge(u64),
}

/// Why a manifest is not that of a chart. The texts are Helm's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LayoutError {
    #[error(
        "manifest does not contain minimum number of descriptors ({MIN_PARTS}), descriptors found: {0}"
    )]
    Parts(usize),
    #[error("could not load config with mediatype {CONFIG}")]
    NoConfig,
    #[error("manifest does not contain a layer with mediatype {CHART}")]
    NoLayer,
    #[error("the index has no chart, or more than one")]
    Index,
    #[error("the manifest is not valid JSON")]
    Json,
}

/// Whether a registry does not accept the credentials, or has no trusted certificate (SC-HCHART-029).
pub(crate) fn is_authentication(error: &flux_oci::Error) -> bool {
    match error {
        flux_oci::Error::Request(error) => is_tls(error),
        flux_oci::Error::Schemes { https, http } => {
            is_authentication(https) || is_authentication(http)
        }
        error => error.status() == Some(401),
    }
}

impl OciRepository {
    /// The chart `name`; nothing is sent yet.
    pub(crate) fn chart(&self, name: &str, budget: &Budget) -> Result<OciChart, flux_oci::Error> {
        let (host, below) = (text(&self.url.host), text(&self.url.path));
        let path = path::join(below.as_str(), name);
        let repository = Repository::in_registry(&host, path.trim_start_matches('/'))?;
        let repository = if self.insecure {
            repository.plain_http()
        } else {
            repository
        };
        let options = Options {
            credentials: self.credentials.clone(),
            tls: self.tls.clone(),
            user_agent: USER_AGENT.to_owned(),
            claim: Arc::new(budget.claim()),
            ..Options::default()
        };
        Ok(OciChart {
            client: Client::new(repository, options)?,
            url: format!("{SCHEME}://{host}/{}", path.trim_start_matches('/')),
            name: name.to_owned(),
            timeout: self.timeout,
        })
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A version of three parts, with or without a `v`.
fn concrete(text: &str) -> Option<Version> {
    Version::parse_strict(text.strip_prefix('v').unwrap_or(text)).ok()
}

impl OciChart {
    /// The version that `wanted` selects. A concrete one is taken as it is, without asking the registry (SC-HCHART-024).
    pub(crate) async fn find(&self, wanted: &str) -> Result<String, VersionError> {
        if concrete(wanted).is_some() {
            return Ok(wanted.to_owned());
        }
        let quoted = |text: &str| flux_golang::strconv::quote(text.as_bytes());
        let tags = Box::pin(within(self.timeout, &self.client, self.client.tags())).await;
        let tags = tags.map_err(|source| VersionError::Tags {
            name: quoted(&self.name),
            url: quoted(&self.url),
            source: source.into(),
        })?;
        let versions = versions(&tags);
        if versions.is_empty() {
            return Err(VersionError::NoTags {
                name: quoted(&self.name),
                url: self.url.clone(),
            });
        }
        select(&versions, wanted)
    }

    /// The digest that the tag of a version has now: what is verified and pulled (SC-VER-059).
    pub(crate) async fn resolve(&self, version: &str) -> Result<Digest, PullError> {
        let failed = |source| PullError::Registry {
            reference: self.reference(version),
            source,
        };
        let tag = self.client.repository().tag(&tag(version));
        let tag = tag.map_err(|error| failed(RegistryFault::Registry(error.into())))?;
        let resolved = Box::pin(within(
            self.timeout,
            &self.client,
            self.client.resolve(&tag),
        ))
        .await;
        resolved.map_err(failed)
    }

    /// The URL with the tag of a version, for messages.
    pub(crate) fn reference(&self, version: &str) -> String {
        format!("{}:{version}", self.url)
    }

    /// Pulls the chart with this digest, of at most `limit` bytes (SC-HCHART-024, SC-HCHART-027).
    pub(crate) async fn pull(
        &self,
        version: &str,
        digest: &Digest,
        limit: u64,
        claim: &Claim,
    ) -> Result<Bytes, PullError> {
        let failed = |source| PullError::Registry {
            reference: self.reference(version),
            source,
        };
        let layout = |source| PullError::Layout {
            reference: self.reference(version),
            source,
        };
        let manifest = Box::pin(self.manifest(digest)).await;
        let manifest = manifest.map_err(failed)?.map_err(layout)?;
        let layer = layer(&manifest).map_err(layout)?;
        let size = u64::try_from(layer.size).unwrap_or_default();
        if size > limit {
            return Err(PullError::TooLarge(size));
        }
        let read = async {
            let blob = self.client.blob(layer).await?;
            blob.read(limit, claim).await.map_err(|error| match error {
                BlobError::Memory(exhausted) => flux_oci::Error::Memory(exhausted),
                error => error.into(),
            })
        };
        Box::pin(within(self.timeout, &self.client, read))
            .await
            .map_err(failed)
    }

    /// The manifest of this digest, or of an index the only one of a chart (FR-H-067).
    async fn manifest(
        &self,
        digest: &Digest,
    ) -> Result<Result<Manifest, LayoutError>, RegistryFault> {
        let read = async |digest: &Digest| {
            let reference = self.client.repository().at(digest.clone());
            let read = self.client.manifest(&reference);
            Box::pin(within(self.timeout, &self.client, read)).await
        };
        let content = Box::pin(read(digest)).await?;
        if !content.is_index() {
            return Ok(content.manifest().map_err(|_| LayoutError::Json));
        }
        let Ok(index) = content.index() else {
            return Ok(Err(LayoutError::Json));
        };
        let mut charts = Vec::new();
        for child in index.manifests.iter().take(MAX_CHILDREN) {
            if child.media_type != media_types::OCI_MANIFEST {
                continue;
            }
            let manifest = Box::pin(read(&child.digest)).await?.manifest();
            charts.extend(manifest.ok().filter(|manifest| layer(manifest).is_ok()));
        }
        match (charts.pop(), charts.is_empty()) {
            (Some(chart), true) => Ok(Ok(chart)),
            _ => Ok(Err(LayoutError::Index)),
        }
    }
}

/// The tag of a version (SC-HCHART-025).
fn tag(version: &str) -> String {
    version.replace('+', "_")
}

/// The tags that are versions, the highest first, as Helm lists them.
fn versions(tags: &[String]) -> Vec<Version> {
    let versions = tags.iter();
    let versions = versions.filter_map(|tag| Version::parse_strict(&tag.replace('_', "+")).ok());
    let mut versions: Vec<_> = versions.collect();
    versions.sort_by(|a, b| b.cmp(a));
    versions
}

/// The version that is written like `wanted`, else the highest in that range (SC-HCHART-024).
fn select(versions: &[Version], wanted: &str) -> Result<String, VersionError> {
    let exact = versions.iter().find(|version| version.original() == wanted);
    if let Some(exact) = exact {
        return Ok(exact.original().to_owned());
    }
    let range = if wanted.is_empty() { "*" } else { wanted };
    let range = Constraints::parse(range).map_err(VersionError::Constraint)?;
    let found = versions.iter().find(|version| range.check(version));
    let found = found.ok_or_else(|| VersionError::NoMatch(wanted.to_owned()))?;
    Ok(found.original().to_owned())
}

/// The layer with the chart. Its order among the layers does not matter (FR-H-064).
fn layer(manifest: &Manifest) -> Result<&Descriptor, LayoutError> {
    let config = manifest.config.as_ref();
    let has_config = config.is_some_and(|config| config.media_type == CONFIG);
    let mut charts = manifest
        .layers
        .iter()
        .filter(|layer| [CHART, LEGACY_CHART].contains(&layer.media_type.as_str()));
    let chart = charts.next_back();
    let parts = 1 + usize::from(has_config) + usize::from(chart.is_some());
    if parts < MIN_PARTS {
        return Err(LayoutError::Parts(parts));
    }
    if !has_config {
        return Err(LayoutError::NoConfig);
    }
    chart.ok_or(LayoutError::NoLayer)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    // SC-HCHART-024, SC-HCHART-025
    #[rstest]
    #[case(&["1.0.0", "1.10.0", "1.2.0", "2.0.0-rc.1", "latest", "v3.0.0", "1.0"], "*", Ok("1.10.0"))]
    #[case(&["1.0.0", "1.10.0"], "", Ok("1.10.0"))]
    #[case(&["1.0.0", "1.2.0"], "1.0.x", Ok("1.0.0"))]
    #[case(&["1.0.0", "2.0.0-rc.1"], ">=1.0.0-0", Ok("2.0.0-rc.1"))]
    #[case(&["6.3.5_a1", "6.3.4"], ">=6", Ok("6.3.5+a1"))]
    #[case(&["1.0.0"], ">=2", Err("could not locate a version matching provided version string >=2"))]
    fn selected_versions(
        #[case] tags: &[&str],
        #[case] wanted: &str,
        #[case] expected: Result<&str, &str>,
    ) {
        let tags: Vec<_> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let found = select(&versions(&tags), wanted);
        let found = found.map_err(|error| error.to_string());
        assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned));
    }

    // SC-HCHART-024
    #[test]
    fn concrete_versions_have_three_parts() {
        for (text, is_concrete) in [
            ("1.0.0", true),
            ("v1.0.0", true),
            ("1.0.0-rc.1+a", true),
            ("1.0", false),
            ("1.0.x", false),
            ("*", false),
            ("", false),
        ] {
            assert_eq!(concrete(text).is_some(), is_concrete, "{text}");
        }
        // SC-HCHART-025, SC-HCHART-097
        assert_eq!(tag("1.0.0+build"), "1.0.0_build");
    }

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const PROVENANCE: &str = "application/vnd.cncf.helm.chart.provenance.v1.prov";

    // FR-H-064
    #[rstest]
    #[case(CONFIG, &[CHART], Ok(CHART))]
    #[case(CONFIG, &[PROVENANCE, CHART], Ok(CHART))]
    #[case(CONFIG, &[LEGACY_CHART], Ok(LEGACY_CHART))]
    #[case("any", &[CHART], Err("could not load config with mediatype application/vnd.cncf.helm.config.v1+json"))]
    #[case(CONFIG, &["any"], Err("manifest does not contain a layer with mediatype application/vnd.cncf.helm.chart.content.v1.tar+gzip"))]
    #[case("any", &["any"], Err("manifest does not contain minimum number of descriptors (2), descriptors found: 1"))]
    fn layers_of_charts(
        #[case] config: &str,
        #[case] layers: &[&str],
        #[case] expected: Result<&str, &str>,
    ) {
        let descriptor = |media_type: &str| serde_json::json!({"mediaType": media_type, "digest": format!("sha256:{HEX}"), "size": 0});
        let layers: Vec<_> = layers.iter().map(|layer| descriptor(layer)).collect();
        let manifest = serde_json::json!({"config": descriptor(config), "layers": layers});
        let manifest = serde_json::from_value(manifest).unwrap();
        let found = layer(&manifest).map(|layer| layer.media_type.as_str());
        let found = found.map_err(|error| error.to_string());
        assert_eq!(found, expected.map_err(str::to_owned));
    }
}
