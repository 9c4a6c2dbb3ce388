//! Commit statuses on Azure DevOps (NC-AZUREDEVOPS rows).

use http::Method;
use serde_json::json;
use uuid::Uuid;

use super::address::{parse_git, segment};
use super::send::{Exchange, SendError};
use super::settings::{ConfigError, Settings};
use super::status::{StatusJob, Texts, commit};
use super::text::{is_in_progress, name_and_description};
use crate::event::{ERROR, Event, INFO};

/// The version of the API that is spoken.
const ACCEPT: &str = "application/json;api-version=6.0";

/// The host of addresses for SSH, as the host of the API.
const SSH: &str = "https://ssh.dev.azure.com";

/// The status of a commit (NC-AZUREDEVOPS-005 to NC-AZUREDEVOPS-007).
pub(super) fn status(
    settings: &Settings,
    event: &Event,
) -> Result<Result<Option<StatusJob>, SendError>, ConfigError> {
    let token = settings.cloud_or_own_token();
    let address = parse_git(&settings.address);
    // NC-AZUREDEVOPS-001
    let parts: Vec<&str> = address.id.split('/').collect();
    let (host, [organization, project, name]) = match *parts {
        // NC-AZUREDEVOPS-008
        ["v3", organization, project, name] if address.host == SSH => {
            ("https://dev.azure.com", [organization, project, name])
        }
        [organization, project, _, name] => (&*address.host, [organization, project, name]),
        _ => {
            let id = flux_golang::strconv::quote(&address.id);
            return Err(ConfigError::invalid(format!("invalid repository id {id}")));
        }
    };
    if is_in_progress(event) {
        return Ok(Ok(None));
    }
    let repository = format!(
        "{host}/{}/{}/_apis/git/repositories/{}",
        segment(organization),
        segment(project),
        segment(name)
    );
    // NC-AZUREDEVOPS-002, NC-AZUREDEVOPS-004
    let request = |method, path: &str| {
        Exchange::new(method, format!("{repository}/{path}"))
            .basic("", &token)
            .header("Accept", ACCEPT)
            .header("X-TFS-FedAuthRedirect", "Suppress")
            .header("X-TFS-Session", Uuid::new_v4().to_string())
    };
    Ok(status_of(request, settings, event).map(Some))
}

fn status_of(
    request: impl Fn(Method, &str) -> Exchange,
    settings: &Settings,
    event: &Event,
) -> Result<StatusJob, SendError> {
    let commit = commit(event)?;
    let state = match &*event.severity {
        INFO => "succeeded",
        ERROR => "error",
        _ => return Err(SendError::other("can't convert to azure devops state")),
    };
    let genre = match event.metadata.get("summary") {
        Some(summary) => format!("fluxcd:{summary}"),
        None => "fluxcd".to_owned(),
    };
    let (_, description) = name_and_description(event);
    let name = settings.status_id.clone();
    let body = json!({
        "state": state,
        "description": description,
        "context": {"genre": genre, "name": name},
    });
    let statuses = format!("commits/{commit}/statuses");
    Ok(StatusJob {
        list: request(Method::GET, &statuses),
        is_set: Box::new(move |reply| {
            let answer: serde_json::Value = serde_json::from_slice(&reply.body)
                .map_err(|_| SendError::other("the answer is not JSON"))?;
            let statuses = answer["value"].as_array();
            let newest = statuses.into_iter().flatten().find(|status| {
                status["context"]["name"] == *name && status["context"]["genre"] == *genre
            });
            Ok(newest.is_some_and(|newest| {
                newest["state"] == state && newest["description"] == *description
            }))
        }),
        create: request(Method::POST, &statuses).json(&body),
        texts: Texts {
            list: "could not list commit statuses: ",
            create: "could not create commit status: ",
            by_status: false,
            may_be_absent: false,
        },
        retries: [0, 0],
    })
}
