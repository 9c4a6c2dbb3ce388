//! Adds the dependencies that a chart folder lacks, one after the other (SC-HCHART-066).

use std::collections::HashMap;
use std::path::Path;

use flux_budget::Claim;
use flux_chart::{Chart, Dependency, MAX_CHART_BYTES, Missing, loaded_size};
use flux_runtime::queue::Key;

use super::build::Wanted;
use super::failure::{DependencyError, LocalFault, RemoteFault, SourceFault, StepError};
use super::files::Files;
use super::repository::{Downloader, Repositories};

/// What dependencies are added with.
pub(super) struct Adding<'a> {
    pub(super) repositories: &'a Repositories,
    pub(super) wanted: &'a Wanted,
    /// The path of the chart in the source.
    pub(super) parent: &'a str,
    /// The object.
    pub(super) object: Key,
    /// A folder for indexes.
    pub(super) folder: &'a Path,
}

impl Adding<'_> {
    /// Adds all of them, in their order, and returns the files and the chart.
    pub(super) async fn all(
        &self,
        missing: Vec<Missing>,
        mut files: Files,
        mut chart: Chart,
    ) -> Result<(Files, Chart), StepError> {
        let mut downloaders = HashMap::new();
        let mut claims = Vec::new();
        for Missing { name, dependency } in missing {
            let subchart = if dependency.is_local() {
                let subchart;
                (files, subchart) = self.local(name, dependency.clone(), files).await?;
                subchart
            } else {
                let added = self.remote(&dependency, &mut downloaders);
                let added = Box::pin(added).await;
                let (subchart, claim) =
                    added.map_err(|source| DependencyError::Remote { name, source })?;
                claims.push(claim);
                subchart
            };
            chart.add_dependency(subchart, &dependency);
        }
        files.hold(claims);
        Ok((files, chart))
    }

    /// A chart of the same source (SC-HCHART-061).
    async fn local(
        &self,
        name: String,
        dependency: Dependency,
        mut files: Files,
    ) -> Result<(Files, Chart), StepError> {
        let (parent, limit) = (self.parent.to_owned(), self.wanted.limits.file);
        let load = move || {
            let loaded = load_local(&dependency, &parent, &mut files, limit);
            let chart = loaded.map_err(|source| DependencyError::Local { name, source })?;
            Ok((files, chart))
        };
        tokio::task::spawn_blocking(load).await?
    }

    /// A chart of a repository (SC-HCHART-062, SC-HCHART-063).
    async fn remote(
        &self,
        dependency: &Dependency,
        downloaders: &mut HashMap<String, Downloader>,
    ) -> Result<(Chart, Claim), RemoteFault> {
        let url = dependency.repository_url()?;
        if !downloaders.contains_key(&url) {
            let opened = self.repositories.dependency(&url, &self.object).await;
            let opened = opened.map_err(|source| RemoteFault::Repository {
                url: flux_http::shown_text(&url),
                source: Box::new(source),
            })?;
            downloaders.insert(url.clone(), opened);
        }
        let Some(downloader) = downloaders.get(&url) else {
            return Err(flux_chart::RepositoryUrlError::Scheme(url).into());
        };
        let wanted = (&*dependency.name, &*dependency.version);
        let (folder, mut full) = (Some(self.folder), None);
        let found = self
            .repositories
            .find(downloader, wanted, folder, &mut full);
        let found = Box::pin(found).await;
        let found = found.map_err(|source| RemoteFault::Version {
            name: dependency.name.clone(),
            version: dependency.version.clone(),
            repository: flux_http::shown_text(&dependency.repository),
            source,
        })?;
        let version = || found.version().to_owned();
        let (claim, limit) = (self.wanted.budget.claim(), self.wanted.budget.limit());
        let downloaded = self
            .repositories
            .download(downloader, &found, MAX_CHART_BYTES, &claim);
        let archive = Box::pin(downloaded).await;
        let archive = archive.map_err(|source| RemoteFault::Download {
            version: version(),
            source,
        })?;
        let load = move || {
            claim.take(loaded_size(&archive, limit))?;
            Ok((Chart::from_archive(&archive)?, claim))
        };
        let loaded = tokio::task::spawn_blocking(load).await;
        let loaded = loaded.unwrap_or_else(|error| Err(error.into()));
        loaded.map_err(|source| RemoteFault::Load {
            version: version(),
            source,
        })
    }
}

fn load_local(
    dependency: &Dependency,
    parent: &str,
    files: &mut Files,
    limit: i64,
) -> Result<Chart, LocalFault> {
    let path = dependency.local_path(parent)?;
    files.load(&path)?;
    files.claim_chart(&path).map_err(SourceFault::from)?;
    Ok(dependency.load_local(files.loaded(), &path, limit)?)
}
