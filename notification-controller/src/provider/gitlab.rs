//! GitLab: commit statuses, and comments on merge requests (NC-GITLAB and NC-GITLABMERGEREQUESTCOMMENT rows).

use http::Method;
use serde_json::json;
use tokio::time::Instant;

use super::Job;
use super::address::{parse_git, segment};
use super::comment::{self, Thread};
use super::send::{Exchange, SendError, Sender};
use super::settings::{ConfigError, Settings};
use super::status::{StatusJob, Texts, commit, list};
use super::text::{is_in_progress, name_and_description};
use crate::event::{ERROR, Event, INFO};

/// How often a request that changes nothing is sent again (NC-GITLAB-006).
const RETRIES: u32 = 5;

/// A project, and the token for its API.
struct Project {
    api: String,
    id: String,
    token: String,
}

impl Project {
    /// The project at the address of a Provider (NC-GITLAB-001, NC-GITLAB-002).
    fn of(settings: &Settings) -> Result<Self, ConfigError> {
        let token = settings.token_or_password();
        if token.is_empty() {
            return Err(ConfigError::invalid("gitlab token cannot be empty"));
        }
        let address = parse_git(&settings.address);
        Ok(Self {
            api: format!("{}/api/v4/", address.host),
            id: segment(&address.id).replace('.', "%2E"),
            token,
        })
    }

    fn request(&self, method: Method, path: &str) -> Exchange {
        let address = format!("{}projects/{}/{path}", self.api, self.id);
        Exchange::new(method, address).header("Private-Token", &self.token)
    }
}

/// The status of a commit (NC-GITLAB-003 to NC-GITLAB-005).
pub(super) fn status(
    settings: &Settings,
    event: &Event,
) -> Result<Result<Option<StatusJob>, SendError>, ConfigError> {
    let project = Project::of(settings)?;
    if is_in_progress(event) {
        return Ok(Ok(None));
    }
    Ok(status_of(&project, settings, event).map(Some))
}

fn status_of(
    project: &Project,
    settings: &Settings,
    event: &Event,
) -> Result<StatusJob, SendError> {
    let commit = commit(event)?.to_owned();
    let state = match &*event.severity {
        INFO => "success",
        ERROR => "failed",
        _ => return Err(SendError::other("can't convert to gitlab state")),
    };
    let (_, description) = name_and_description(event);
    let name = settings.status_id.clone();
    let body = json!({"state": state, "name": name, "description": description});
    let query: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    let path = format!("repository/commits/{commit}/statuses?name={query}");
    Ok(StatusJob {
        list: project.request(Method::GET, &path),
        create: project
            .request(Method::POST, &format!("statuses/{commit}"))
            .json(&body),
        is_set: Box::new(move |reply| {
            Ok(list(reply)?.iter().any(|status| {
                status["sha"] == *commit
                    && status["status"] == state
                    && status["description"] == *description
                    && status["name"] == *name
            }))
        }),
        texts: Texts {
            list: "unable to list commit status: ",
            create: "",
            by_status: false,
            may_be_absent: false,
        },
        retries: [RETRIES, 0],
    })
}

/// A comment on a merge request (NC-GITLABMERGEREQUESTCOMMENT rows).
pub(super) async fn comment(
    settings: &Settings,
    event: &Event,
    sender: &Sender,
    deadline: Instant,
) -> Result<Job, ConfigError> {
    if settings.uid.is_empty() {
        return Err(ConfigError::invalid("provider UID cannot be empty"));
    }
    let project = Project::of(settings)?;
    let request = Exchange::new(Method::GET, format!("{}user", project.api))
        .header("Private-Token", &project.token);
    let what = "failed to get authenticated user info";
    let own = comment::field(sender, &request, what, "username", deadline).await?;
    Ok(comment::job(settings, event, own, |number| {
        thread(&project, number)
    }))
}

/// The notes of a merge request.
fn thread(project: &Project, number: u64) -> Thread {
    let notes = format!("merge_requests/{number}/notes");
    let query = "order_by=created_at&per_page=100&sort=asc";
    Thread {
        key: "flux-mr-comment-key",
        list: project.request(Method::GET, &format!("{notes}?{query}")),
        author: "/author/username",
        update: project.request(Method::PUT, &notes),
        create: project.request(Method::POST, &notes),
        texts: [
            "failed to list merge request notes: ",
            "failed to update merge request note: ",
            "failed to create merge request note: ",
        ],
    }
}
