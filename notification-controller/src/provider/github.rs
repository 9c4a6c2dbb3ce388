//! GitHub: commit statuses, dispatch events, and comments on pull requests (NC-GITHUB, NC-GITHUBDISPATCH and
//! NC-GITHUBPULLREQUESTCOMMENT rows).

use http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Job;
use super::address::{owner_and_name, parse_git, segment};
use super::comment::{self, Thread};
use super::send::{Call, Exchange, SendError, Sender, Style};
use super::settings::{ConfigError, Settings};
use super::status::{StatusJob, Texts, commit, list};
use super::text::{is_in_progress, name_and_description};
use crate::event::{ERROR, Event, INFO};

/// A repository, and the token for its API.
struct Repository {
    /// The API, with a slash at its end.
    api: String,
    /// `repos/<owner>/<name>`.
    path: String,
    token: String,
}

impl Repository {
    /// The repository at the address of a Provider (NC-GITHUB-001, NC-GITHUB-002).
    fn of(settings: &Settings) -> Result<Self, ConfigError> {
        let token = settings.token_or_password();
        if token.is_empty() {
            let text = "github token or github app details must be specified";
            return Err(ConfigError::invalid(text));
        }
        let address = parse_git(&settings.address);
        let Some((owner, name)) = owner_and_name(&address.id) else {
            let text = format!("invalid repository id: '{}'", address.id);
            return Err(ConfigError::invalid(text));
        };
        Ok(Self {
            api: api(&address.host),
            path: format!("repos/{}/{}", segment(owner), segment(name)),
            token,
        })
    }

    fn request(&self, method: Method, path: &str) -> Exchange {
        let address = format!("{}{}/{path}", self.api, self.path);
        self.authorized(Exchange::new(method, address))
    }

    /// With the headers of every request (NC-GITHUB-006).
    fn authorized(&self, request: Exchange) -> Exchange {
        request
            .bearer(&self.token)
            .header("Accept", "application/vnd.github.v3+json")
            .header("X-Github-Api-Version", "2022-11-28")
    }
}

/// The address of the API of a host (NC-GITHUB-005).
fn api(host: &str) -> String {
    if host == "https://github.com" || host == "http://github.com" {
        return "https://api.github.com/".to_owned();
    }
    let name = host.split_once("://").map_or(host, |(_, name)| name);
    if name.starts_with("api.") || name.contains(".api.") {
        format!("{host}/")
    } else {
        format!("{host}/api/v3/")
    }
}

/// The status of a commit; nothing while work goes on (NC-GITHUB-007 to NC-GITHUB-011).
pub(super) fn status(
    settings: &Settings,
    event: &Event,
) -> Result<Result<Option<StatusJob>, SendError>, ConfigError> {
    let repository = Repository::of(settings)?;
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
        INFO => "success",
        ERROR => "failure",
        _ => return Err(SendError::other("can't convert to github state")),
    };
    let (_, description) = name_and_description(event);
    let context = settings.status_id.clone();
    let body = json!({"state": state, "context": context, "description": description});
    let list_path = format!("commits/{commit}/statuses?per_page=50");
    Ok(StatusJob {
        list: repository.request(Method::GET, &list_path),
        is_set: Box::new(move |reply| {
            let statuses = list(reply)?;
            let newest = statuses.iter().find(|status| status["context"] == *context);
            Ok(newest.is_some_and(|newest| {
                newest["state"] == state && newest["description"] == *description
            }))
        }),
        create: repository
            .request(Method::POST, &format!("statuses/{commit}"))
            .json(&body),
        texts: Texts {
            list: "could not list commit statuses: ",
            create: "could not create commit status: ",
            by_status: false,
            may_be_absent: false,
        },
        retries: [0, 0],
    })
}

/// A dispatch event (NC-GITHUBDISPATCH-001).
pub(super) fn dispatch(settings: &Settings, event: &Event) -> Result<Vec<Call>, ConfigError> {
    let repository = Repository::of(settings)?;
    let object = &event.involved_object;
    let payload: Value = serde_json::from_str(&event.to_json()).unwrap_or_default();
    let body = json!({
        "event_type": format!("{}/{}.{}", object.kind, object.name, object.namespace),
        "client_payload": payload,
    });
    let request = repository.request(Method::POST, "dispatches").json(&body);
    let mut call = Call::of(request).context("could not send github repository dispatch webhook: ");
    call.style = Style::Once;
    Ok(vec![call])
}

/// A comment on a pull request (NC-GITHUBPULLREQUESTCOMMENT-003, NC-GITHUBPULLREQUESTCOMMENT-004).
pub(super) async fn comment(
    settings: &Settings,
    event: &Event,
    sender: &Sender,
    deadline: Instant,
) -> Result<Job, ConfigError> {
    if settings.uid.is_empty() {
        return Err(ConfigError::invalid("provider UID cannot be empty"));
    }
    let repository = Repository::of(settings)?;
    let own = match &settings.github_app {
        Some(app) if settings.token_is_of_app() => {
            let app = flux_cloud::GitHubApp::new(app.clone())?;
            format!("{}[bot]", app.slug(sender.client()).await?)
        }
        _ => {
            let address = format!("{}user", repository.api);
            let request = repository.authorized(Exchange::new(Method::GET, address));
            let what = "failed to get authenticated user info";
            comment::field(sender, &request, what, "login", deadline).await?
        }
    };
    Ok(comment::job(settings, event, own, |number| {
        thread(&repository, number)
    }))
}

/// The comments of a pull request.
fn thread(repository: &Repository, number: u64) -> Thread {
    let comments = format!("issues/{number}/comments");
    let query = "direction=asc&per_page=100&sort=created";
    Thread {
        key: "flux-pr-comment-key",
        list: repository.request(Method::GET, &format!("{comments}?{query}")),
        author: "/user/login",
        update: repository.request(Method::PATCH, "issues/comments"),
        create: repository.request(Method::POST, &comments),
        texts: [
            "failed to list pull request comments: ",
            "failed to update pull request comment: ",
            "failed to create pull request comment: ",
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_follows_from_the_host() {
        // NC-GITHUB-005, FR-N-020
        for (host, want) in [
            ("https://github.com", "https://api.github.com/"),
            ("https://ghe.example.com", "https://ghe.example.com/api/v3/"),
            (
                "https://ghe.example.com:8443",
                "https://ghe.example.com:8443/api/v3/",
            ),
            ("https://api.example.com", "https://api.example.com/"),
            ("https://x.api.ghe.com", "https://x.api.ghe.com/"),
        ] {
            assert_eq!(api(host), want);
        }
    }
}
