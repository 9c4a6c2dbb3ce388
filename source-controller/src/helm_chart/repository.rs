//! The repositories that charts come from: the source of a HelmChart, or those of dependencies.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use flux_api::meta::Artifact;
use flux_api::source::{HelmRepository, HelmRepositorySpec, HelmRepositoryType};
use flux_artifact::Storage;
use flux_budget::{Budget, Claim};
use flux_chart::index::{Index, IndexedVersion};
use flux_identity::Identities;
use flux_publish::Owner;
use flux_runtime::queue::Key;
use flux_runtime::watch::Cache;
use kube::ResourceExt as _;
use tokio::sync::OnceCell;

use super::failure::{DownloadFault, ExternalError, FindError, StepError, VerificationError};
use crate::helm::fetch::{self, Wanted};
use crate::helm::http::{self, Clients, DownloadError, HttpRepository};
use crate::helm::indexes::{Full, Indexes, Origin};
use crate::helm::oci::{OciChart, OciRepository, PullError, SCHEME};
use crate::helm::{access, timeout};
use crate::secrets::Secrets;

/// What all repositories need.
#[derive(Clone)]
pub(crate) struct Repositories {
    pub(crate) secrets: Secrets,
    pub(crate) identities: Identities,
    pub(crate) clients: Clients,
    pub(crate) indexes: Indexes,
    pub(crate) storage: Arc<Storage>,
    pub(crate) budget: Budget,
    /// The most bytes of an index.
    pub(crate) max_index: u64,
    /// The HelmRepositories, whose settings count for dependencies with their URL.
    pub(crate) known: Cache<HelmRepository>,
}

/// A repository that charts are downloaded from.
pub(super) enum Downloader {
    /// One that is read over HTTP.
    Http(Box<Http>),
    /// One in a registry.
    Oci(Box<OciRepository>),
}

/// A repository that is read over HTTP.
pub(super) struct Http {
    repository: HttpRepository,
    /// The stored index.
    artifact: Option<Artifact>,
    /// The object that reading the index is counted for.
    counted: Key,
    index: OnceLock<Arc<Index>>,
}

/// A version of a chart.
pub(super) enum Found {
    /// Of an index.
    Http(IndexedVersion),
    /// Of a registry, with the digest of its manifest once that is known.
    Oci {
        chart: Box<OciChart>,
        name: String,
        version: String,
        digest: OnceCell<flux_oci::Digest>,
    },
}

impl Found {
    /// The name of the chart, which in a registry may begin with folders.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Http(found) => &found.name,
            Self::Oci { name, .. } => name,
        }
    }

    /// The version as the repository has it.
    pub(super) fn version(&self) -> &str {
        match self {
            Self::Http(found) => &found.version,
            Self::Oci { version, .. } => version,
        }
    }

    /// The chart in a registry with the digest of its manifest, which is resolved once (SC-VER-041, SC-VER-059).
    pub(super) async fn resolved(
        &self,
    ) -> Result<(&OciChart, &flux_oci::Digest), VerificationError> {
        let Self::Oci {
            chart,
            version,
            digest,
            ..
        } = self
        else {
            return Err(VerificationError::NotImplemented);
        };
        let resolved = digest.get_or_try_init(|| chart.resolve(version)).await;
        let digest = resolved.map_err(|source| VerificationError::Resolve {
            reference: chart.reference(version),
            source,
        })?;
        Ok((chart, digest))
    }
}

impl Repositories {
    /// The repository of a HelmRepository, whose index is `artifact` (SC-HCHART-021).
    pub(super) async fn source(
        &self,
        object: &HelmRepository,
        artifact: Option<&Artifact>,
    ) -> Result<Downloader, StepError> {
        let namespace = object.namespace().unwrap_or_default();
        let is_oci = object.spec.type_ == Some(HelmRepositoryType::Oci);
        let counted = Key::new(&namespace, object.name_any());
        self.open(object, &namespace, is_oci, artifact, counted)
            .await
    }

    /// The repository of a dependency: with the settings and the index of a HelmRepository in `chart`'s namespace that has
    /// the same URL, else anonymous (SC-HCHART-063). Of several the first by name counts.
    pub(super) async fn dependency(&self, url: &str, chart: &Key) -> Result<Downloader, StepError> {
        let mut same: Vec<_> = self.known.all();
        same.retain(|object| {
            object.namespace().as_deref() == Some(&*chart.namespace)
                && flux_chart::normalize_url(&object.spec.url).is_ok_and(|own| own == url)
        });
        same.sort_by_key(|object| object.name_any());
        let spec = HelmRepositorySpec {
            url: url.to_owned(),
            ..HelmRepositorySpec::default()
        };
        let anonymous = Arc::new(HelmRepository::new("", spec));
        let object = same.first();
        let recorded = object.and_then(|object| {
            let artifact = object.status.as_ref()?.artifact.clone()?;
            let owner = Owner::of(&**object);
            owner.owns(&artifact.path).then_some(artifact)
        });
        let artifact = match recorded {
            None => None,
            Some(artifact) => {
                let (storage, path) = (self.storage.clone(), artifact.path.clone());
                let exists = move || storage.exists(&path).unwrap_or_default();
                let exists = tokio::task::spawn_blocking(exists).await?;
                exists.then_some(artifact)
            }
        };
        let is_oci = url.starts_with(SCHEME);
        let (opened, namespace) = (object.unwrap_or(&anonymous), &*chart.namespace);
        self.open(opened, namespace, is_oci, artifact.as_ref(), chart.clone())
            .await
    }

    async fn open(
        &self,
        object: &HelmRepository,
        namespace: &str,
        is_oci: bool,
        artifact: Option<&Artifact>,
        counted: Key,
    ) -> Result<Downloader, StepError> {
        let spec = &object.spec;
        let mut url = http::parse(&spec.url)?;
        url.trim_path();
        let access = access::read(spec, namespace, &self.secrets).await?;
        if !is_oci {
            HttpRepository::check_scheme(&url)?;
            let (clients, limit) = (&self.clients, timeout(spec));
            let pass = spec.pass_credentials;
            let repository = HttpRepository::new(clients, url, access, pass, limit);
            let repository = repository.map_err(StepError::Client);
            return Ok(Downloader::Http(Box::new(Http {
                repository: repository?,
                artifact: artifact.cloned(),
                counted,
                index: OnceLock::new(),
            })));
        }
        if url.scheme != SCHEME.as_bytes() {
            url.end_path();
            let shown = flux_http::shown_text(&String::from_utf8_lossy(&url.text()));
            return Err(StepError::OciUrl(shown));
        }
        let host = String::from_utf8_lossy(&url.host).into_owned();
        let credentials = access.registry(object, &host, &self.identities).await?;
        Ok(Downloader::Oci(Box::new(OciRepository {
            url,
            insecure: spec.insecure,
            credentials,
            tls: access.tls.unwrap_or_default(),
            timeout: timeout(spec),
        })))
    }

    /// The version of a chart that `wanted` selects. `full` is set if the cache of indexes has no room (SC-HREPO-039).
    pub(super) async fn find(
        &self,
        downloader: &Downloader,
        (name, wanted): (&str, &str),
        folder: Option<&Path>,
        full: &mut Option<Full>,
    ) -> Result<Found, FindError> {
        match downloader {
            Downloader::Http(http) => {
                let index = if let Some(index) = http.index.get() {
                    index.clone()
                } else {
                    let index = Box::pin(self.index(http, folder, full)).await?;
                    http.index.get_or_init(|| index).clone()
                };
                Ok(Found::Http(index.find(name, wanted)?.clone()))
            }
            Downloader::Oci(repository) => {
                let chart = repository.chart(name, &self.budget);
                let chart = chart.map_err(ExternalError::Client)?;
                let version = Box::pin(chart.find(wanted)).await;
                Ok(Found::Oci {
                    version: version.map_err(ExternalError::Registry)?,
                    name: name.to_owned(),
                    chart: Box::new(chart),
                    digest: OnceCell::new(),
                })
            }
        }
    }

    /// The stored index, or else the one of the repository, downloaded into `folder` (SC-HCHART-034, SC-HCHART-063).
    async fn index(
        &self,
        http: &Http,
        folder: Option<&Path>,
        full: &mut Option<Full>,
    ) -> Result<Arc<Index>, ExternalError> {
        if let Some(artifact) = &http.artifact {
            let found = self
                .indexes
                .get(artifact, &self.storage, &http.counted)
                .await;
            let (index, room) = found.map_err(ExternalError::Index)?;
            *full = room.err();
            return Ok(index);
        }
        let file = match folder {
            Some(folder) => tempfile::NamedTempFile::new_in(folder),
            None => tempfile::NamedTempFile::new(),
        };
        let file = file.map_err(|error| ExternalError::Fetch(fetch::FetchError::Folder(error)))?;
        let wanted = Wanted {
            max: self.max_index,
            canonical: self.storage.algorithm(),
            last: None,
        };
        let fetched = fetch::index(&http.repository, &wanted, file.path()).await;
        let fetched = fetched.map_err(ExternalError::Fetch)?;
        let index = self.indexes.load(Origin::File(fetched.file)).await;
        Ok(Arc::new(index.map_err(ExternalError::Index)?))
    }

    /// Downloads a version, of at most `limit` bytes, whose memory is taken through `claim`.
    pub(super) async fn download(
        &self,
        downloader: &Downloader,
        found: &Found,
        limit: u64,
        claim: &Claim,
    ) -> Result<Bytes, DownloadFault> {
        match (downloader, found) {
            (Downloader::Http(http), Found::Http(version)) => {
                let reference = version.urls.first();
                let reference =
                    reference.ok_or_else(|| DownloadFault::NoUrl(version.name.to_string()))?;
                let url = http.repository.chart_url(reference);
                let url = url.map_err(DownloadFault::Http)?;
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                let downloaded = http.repository.download(&url, limit, claim).await;
                downloaded.map_err(|error| match error {
                    DownloadError::TooLarge(limit) => DownloadFault::TooLarge(limit as u64),
                    error => DownloadFault::Http(error),
                })
            }
            (_, Found::Oci { version, .. }) => {
                let resolved = Box::pin(found.resolved()).await;
                let (chart, digest) = resolved.map_err(|error| match error {
                    VerificationError::Resolve { source, .. } => DownloadFault::Oci(source),
                    _ => DownloadFault::NoUrl(found.name().to_owned()),
                })?;
                let pulled = Box::pin(chart.pull(version, digest, limit, claim)).await;
                pulled.map_err(|error| match error {
                    PullError::TooLarge(_) => DownloadFault::TooLarge(limit),
                    error => DownloadFault::Oci(error),
                })
            }
            (Downloader::Oci(_), Found::Http(version)) => {
                Err(DownloadFault::NoUrl(version.name.to_string()))
            }
        }
    }
}
