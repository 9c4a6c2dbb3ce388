//! Gitea: commit statuses, and comments on pull requests (NC-GITEA and NC-GITEAPULLREQUESTCOMMENT rows).

use http::Method;
use serde_json::json;
use tokio::time::Instant;

use super::Job;
use super::address::{owner_and_name, parse_git, segment};
use super::comment::{self, Thread};
use super::send::{Exchange, SendError, Sender};
use super::settings::{ConfigError, Settings};
use super::status::{StatusJob, Texts, commit, list};
use super::text::name_and_description;
use crate::event::{ERROR, Event, INFO};

/// A repository, and the token for its API.
struct Repository {
    api: String,
    path: String,
    token: String,
}

impl Repository {
    /// The repository at the address of a Provider (NC-GITEA-001).
    fn of(settings: &Settings) -> Result<Self, ConfigError> {
        let token = settings.token_or_password();
        if token.is_empty() {
            return Err(ConfigError::invalid("gitea token cannot be empty"));
        }
        let address = parse_git(&settings.address);
        let Some((owner, name)) = owner_and_name(&address.id) else {
            let id = flux_golang::strconv::quote(&address.id);
            return Err(ConfigError::invalid(format!("invalid repository id {id}")));
        };
        Ok(Self {
            api: format!("{}/api/v1/", address.host),
            path: format!("repos/{}/{}", segment(owner), segment(name)),
            token,
        })
    }

    fn of_api(&self, path: &str) -> Exchange {
        self.authorized(Exchange::new(Method::GET, format!("{}{path}", self.api)))
    }

    fn request(&self, method: Method, path: &str) -> Exchange {
        let address = format!("{}{}/{path}", self.api, self.path);
        self.authorized(Exchange::new(method, address))
    }

    fn authorized(&self, request: Exchange) -> Exchange {
        request
            .header("Authorization", format!("token {}", self.token))
            .header("Accept", "application/json")
    }
}

/// Finds out whether the server is there (NC-GITEA-002).
pub(super) async fn reach(
    settings: &Settings,
    sender: &Sender,
    deadline: Instant,
) -> Result<(), ConfigError> {
    let repository = Repository::of(settings)?;
    let what = "failed creating Gitea client";
    let request = repository.of_api("version");
    comment::field(sender, &request, what, "version", deadline).await?;
    Ok(())
}

/// The status of a commit (NC-GITEA-003 to NC-GITEA-005).
pub(super) fn status(
    settings: &Settings,
    event: &Event,
) -> Result<Result<Option<StatusJob>, SendError>, ConfigError> {
    let repository = Repository::of(settings)?;
    Ok(status_of(&repository, settings, event).map(Some))
}

fn status_of(
    repository: &Repository,
    settings: &Settings,
    event: &Event,
) -> Result<StatusJob, SendError> {
    let commit = commit(event)?;
    let state = match (&*event.reason, &*event.severity) {
        // FR-N-017: what is not ready is not a success
        ("Progressing", _) | ("DependencyNotReady" | "HealthCheckCanceled", INFO) => "pending",
        (_, INFO) => "success",
        (_, ERROR) => "failure",
        _ => return Err(SendError::other("can't convert to gitea state")),
    };
    let (_, description) = name_and_description(event);
    let context = settings.status_id.clone();
    let body = json!({
        "state": state, "target_url": "", "description": description, "context": context,
    });
    let path = format!("commits/{commit}/statuses?limit=50&page=1");
    Ok(StatusJob {
        list: repository.request(Method::GET, &path),
        is_set: Box::new(move |reply| {
            let statuses = list(reply)?;
            let newest = statuses.iter().find(|status| status["context"] == *context);
            Ok(newest.is_some_and(|newest| {
                newest["status"] == state && newest["description"] == *description
            }))
        }),
        create: repository
            .request(Method::POST, &format!("statuses/{commit}"))
            .json(&body),
        texts: Texts {
            list: "could not list commit statuses: ",
            create: "",
            by_status: false,
            may_be_absent: false,
        },
        retries: [0, 0],
    })
}

/// A comment on a pull request (NC-GITEAPULLREQUESTCOMMENT-001).
pub(super) async fn comment(
    settings: &Settings,
    event: &Event,
    sender: &Sender,
    deadline: Instant,
) -> Result<Job, ConfigError> {
    if settings.uid.is_empty() {
        return Err(ConfigError::invalid("provider UID cannot be empty"));
    }
    reach(settings, sender, deadline).await?;
    let repository = Repository::of(settings)?;
    let what = "failed to get authenticated user info";
    let request = repository.of_api("user");
    let own = comment::field(sender, &request, what, "login", deadline).await?;
    Ok(comment::job(settings, event, own, |number| {
        thread(&repository, number)
    }))
}

/// The comments of a pull request.
fn thread(repository: &Repository, number: u64) -> Thread {
    let comments = format!("issues/{number}/comments");
    let query = "page=1&limit=100";
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
