//! The address and the credentials of a repository, with the flags for remotes.

use flux_api::source::GitRepository;
use flux_git::{AuthOptions, GitUrl};
use flux_http::Proxy;
use flux_identity::Identities;
use flux_runtime::Run;

use super::failure::StepError;
use crate::secrets::Secrets;

/// Flags for remotes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// Key exchange algorithms of SSH; if empty, the library's defaults (SC-PROC-013).
    pub(crate) kex_algorithms: Vec<String>,
    /// Host key algorithms of SSH; if empty, those of the known hosts (SC-PROC-014).
    pub(crate) host_key_algorithms: Vec<String>,
}

/// The address of a repository and its credentials.
pub(super) struct Remote {
    pub(super) url: GitUrl,
    pub(super) auth: AuthOptions,
    pub(super) proxy: Proxy,
    pub(super) settings: Settings,
}

/// Reads proxy, URL and credentials, in this order (SC-GIT-021 to SC-GIT-025).
pub(super) async fn read(
    run: &Run<GitRepository>,
    secrets: &Secrets,
    identities: &Identities,
    settings: &Settings,
) -> Result<Remote, StepError> {
    let object = &**run.object();
    let access = flux_repository::access(object, object, secrets, identities).await?;
    Ok(Remote {
        url: access.url,
        auth: access.auth,
        proxy: access.proxy,
        settings: settings.clone(),
    })
}
