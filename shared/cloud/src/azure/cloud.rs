//! The clouds of Azure: public, those of governments and China, and air-gapped ones that a file describes.

use serde::Deserialize;

use super::Error;
use crate::client::CloudClient;
use crate::environment::Environment;
use crate::file;

/// The variable with the path of the file (RT-WID-013).
const FILE: &str = "AZURE_ENVIRONMENT_FILEPATH";
/// The authority of the public cloud.
const PUBLIC_AUTHORITY: &str = "https://login.microsoftonline.com/";

/// What is used of the file that describes an air-gapped cloud (RT-WID-013).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct CloudFile {
    #[serde(rename = "containerRegistryDNSSuffix")]
    pub(super) registry_suffix: String,
    pub(super) resource_manager_endpoint: String,
    pub(super) token_audience: String,
}

impl CloudFile {
    /// Reads the file that the environment names; `None` if it names none.
    pub(super) async fn read(environment: &Environment) -> Result<Option<Self>, Error> {
        let Some(path) = environment.lookup(FILE) else {
            return Ok(None);
        };
        if path.is_empty() {
            return Err(Error::EnvironmentFileUnset);
        }
        let content = file::read("the Azure environment file", &path).await;
        let content = content.map_err(|(what, path, source)| Error::File { what, path, source })?;
        let parsed = serde_json::from_slice(&content);
        parsed.map(Some).map_err(|error| Error::EnvironmentFile {
            line: error.line(),
            column: error.column(),
        })
    }

    /// Checks that both values of the resource manager are there.
    pub(super) fn checked(self) -> Result<Self, Error> {
        if self.resource_manager_endpoint.is_empty() || self.token_audience.is_empty() {
            return Err(Error::EnvironmentFileEndpoints);
        }
        Ok(self)
    }
}

/// The authority that tokens are requested from, with a slash at its end: `AZURE_AUTHORITY_HOST` or the public one.
pub(super) fn authority(environment: &Environment) -> String {
    let host = environment.get("AZURE_AUTHORITY_HOST");
    host.unwrap_or_else(|| PUBLIC_AUTHORITY.to_owned())
}

/// The address of the resource manager, without a slash at its end, and the audience of its tokens.
///
/// # Errors
/// The environment file cannot be used.
pub async fn resource_manager(client: &CloudClient) -> Result<(String, String), Error> {
    let environment = client.environment();
    if let Some(file) = CloudFile::read(environment).await? {
        let file = file.checked()?;
        let endpoint = file.resource_manager_endpoint.trim_end_matches('/');
        return Ok((endpoint.to_owned(), file.token_audience));
    }
    let authority = authority(environment);
    let (endpoint, audience) = if authority.contains("chinacloudapi.cn") {
        (
            "https://management.chinacloudapi.cn",
            "https://management.core.chinacloudapi.cn/",
        )
    } else if authority.contains("microsoftonline.us") {
        (
            "https://management.usgovcloudapi.net",
            "https://management.core.usgovcloudapi.net/",
        )
    } else {
        (
            "https://management.azure.com",
            "https://management.core.windows.net/",
        )
    };
    Ok((endpoint.to_owned(), audience.to_owned()))
}

/// The scope of tokens for the resource manager.
///
/// # Errors
/// As [`resource_manager`].
pub async fn resource_manager_scope(client: &CloudClient) -> Result<String, Error> {
    let (_, audience) = resource_manager(client).await?;
    Ok(format!("{audience}/.default"))
}
