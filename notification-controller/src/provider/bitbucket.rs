//! Commit statuses on Bitbucket (NC-BITBUCKET rows).

use http::Method;
use serde_json::json;
use sha1::{Digest, Sha1};

use super::address::{owner_and_name, parse_git, segment};
use super::send::{Exchange, SendError};
use super::settings::{ConfigError, Settings};
use super::status::{StatusJob, Texts, commit};
use super::text::{is_in_progress, name_and_description};
use crate::event::{ERROR, Event, INFO};

/// The API (NC-BITBUCKET-002).
const API: &str = "https://api.bitbucket.org/2.0";

/// A repository, and the credentials for the API.
struct Repository {
    api: String,
    path: String,
    username: String,
    password: String,
}

impl Repository {
    fn of(settings: &Settings, api: &str) -> Result<Self, ConfigError> {
        let token = settings.header_token();
        if token.is_empty() {
            return Err(ConfigError::invalid("bitbucket token cannot be empty"));
        }
        let parts: Vec<&str> = token.split(':').collect();
        let [username, password] = *parts else {
            let text = "invalid token format, expected to be <user>:<password>";
            return Err(ConfigError::invalid(text));
        };
        let address = parse_git(&settings.address);
        let Some((owner, name)) = owner_and_name(&address.id) else {
            let id = flux_golang::strconv::quote(&address.id);
            return Err(ConfigError::invalid(format!("invalid repository id {id}")));
        };
        Ok(Self {
            api: api.trim_end_matches('/').to_owned(),
            path: format!("repositories/{}/{}", segment(owner), segment(name)),
            username: username.to_owned(),
            password: password.to_owned(),
        })
    }

    fn request(&self, method: Method, path: &str) -> Exchange {
        let address = format!("{}/{}/{path}", self.api, self.path);
        Exchange::new(method, address).basic(&self.username, &self.password)
    }
}

/// The status of a commit (NC-BITBUCKET-003 to NC-BITBUCKET-005).
pub(super) fn status(
    settings: &Settings,
    event: &Event,
) -> Result<Result<Option<StatusJob>, SendError>, ConfigError> {
    // NC-PROC-025
    let api = std::env::var("BITBUCKET_API_BASE_URL").ok();
    let api = api.as_deref().filter(|api| !api.is_empty());
    status_at(api.unwrap_or(API), settings, event)
}

/// The same at another API.
pub(super) fn status_at(
    api: &str,
    settings: &Settings,
    event: &Event,
) -> Result<Result<Option<StatusJob>, SendError>, ConfigError> {
    let repository = Repository::of(settings, api)?;
    if is_in_progress(event) {
        return Ok(Ok(None));
    }
    Ok(status_of(&repository, settings, event).map(Some))
}

fn status_of(
    repository: &Repository,
    settings: &Settings,
    event: &Event,
) -> Result<StatusJob, SendError> {
    let commit = commit(event)?;
    let state = match &*event.severity {
        INFO => "SUCCESSFUL",
        ERROR => "FAILED",
        _ => return Err(SendError::other("can't convert to bitbucket state")),
    };
    let (name, description) = name_and_description(event);
    // FR-N-016: a name that the user chose is what is shown
    let name = if settings.status_is_custom {
        settings.status_id.clone()
    } else {
        name
    };
    // Keys have at most 40 characters.
    let key = hex::encode(Sha1::digest(&settings.status_id));
    let body = json!({
        "key": key,
        "url": "https://bitbucket.org",
        "state": state,
        "name": name,
        "description": description,
    });
    let statuses = format!("commit/{commit}/statuses/build");
    Ok(StatusJob {
        list: repository.request(Method::GET, &format!("{statuses}/{key}")),
        is_set: Box::new(move |reply| {
            let status: serde_json::Value = serde_json::from_slice(&reply.body)
                .map_err(|_| SendError::other("the answer is not JSON"))?;
            Ok(status["state"] == state && status["description"] == *description)
        }),
        create: repository.request(Method::POST, &statuses).json(&body),
        texts: Texts {
            list: "could not get commit status: ",
            create: "",
            by_status: false,
            may_be_absent: true,
        },
        retries: [0, 0],
    })
}
