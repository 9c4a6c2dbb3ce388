//! Build statuses on Bitbucket Server (NC-BITBUCKETSERVER rows).

use flux_golang::url::Url;
use http::Method;
use serde_json::json;
use sha1::{Digest, Sha1};

use super::address::{segment, text};
use super::send::{Exchange, SendError};
use super::settings::{ConfigError, Settings};
use super::status::{StatusJob, Texts, commit};
use super::text::{is_in_progress, name_and_description};
use crate::event::{ERROR, Event, INFO};

/// How often each request is sent again (NC-BITBUCKETSERVER-009).
const RETRIES: u32 = 4;

/// The address of the builds of a repository, up to the commit (NC-BITBUCKETSERVER-001, NC-BITBUCKETSERVER-003).
fn commits(address: &str) -> Result<String, ConfigError> {
    let refuse = |why: String| ConfigError::invalid(format!("could not parse git address: {why}"));
    let url = Url::parse(address.as_bytes()).map_err(refuse)?;
    let scheme = text(&url.scheme);
    if !matches!(&*scheme, "http" | "https") {
        return Err(refuse(format!(
            "unsupported scheme type in address: {scheme}. Must be http or https"
        )));
    }
    let path = text(&url.path);
    let path = path.strip_suffix(".git").unwrap_or(&path);
    let Some((context, id)) = path.rsplit_once("/scm/") else {
        let why = "supplied provider address is not http(s) git clone url";
        return Err(refuse(why.to_owned()));
    };
    let parts: Vec<&str> = id.split('/').collect();
    let [project, name] = *parts else {
        let id = flux_golang::strconv::quote(id);
        return Err(refuse(format!("invalid repository id {id}")));
    };
    Ok(format!(
        "{scheme}://{}{context}/rest/api/latest/projects/{}/repos/{}/commits",
        text(&url.host),
        segment(project),
        segment(name)
    ))
}

/// The status of a commit (NC-BITBUCKETSERVER-005 to NC-BITBUCKETSERVER-008).
pub(super) fn status(
    settings: &Settings,
    event: &Event,
) -> Result<Result<Option<StatusJob>, SendError>, ConfigError> {
    let commits = commits(&settings.address)?;
    let token = settings.header_token();
    // NC-BITBUCKETSERVER-002
    if token.is_empty() && (settings.username.is_empty() || settings.password.is_empty()) {
        let text = "invalid credentials, expected to be one of username/password or API Token";
        return Err(ConfigError::invalid(text));
    }
    let request = |method, address: String| {
        let request = Exchange::new(method, address)
            .header("x-atlassian-token", "no-check")
            .header("x-requested-with", "XMLHttpRequest");
        if token.is_empty() {
            request.basic(&settings.username, &settings.password.expose_text())
        } else {
            request.bearer(&token)
        }
    };
    if is_in_progress(event) {
        return Ok(Ok(None));
    }
    Ok(status_of(&commits, request, settings, event).map(Some))
}

fn status_of(
    commits: &str,
    request: impl Fn(Method, String) -> Exchange,
    settings: &Settings,
    event: &Event,
) -> Result<StatusJob, SendError> {
    let commit = commit(event).map_err(|error| match error {
        SendError::Other(text) if text.starts_with("failed to extract") => {
            SendError::other(format!("could not parse revision: {text}"))
        }
        other => other,
    })?;
    let state = match &*event.severity {
        INFO => "SUCCESSFUL",
        ERROR => "FAILED",
        _ => {
            return Err(SendError::other(
                "couldn't convert to bitbucket server state: bitbucket server state generated on info or error events only",
            ));
        }
    };
    let (name, description) = name_and_description(event);
    // FR-N-016
    let name = if settings.status_is_custom {
        settings.status_id.clone()
    } else {
        name
    };
    let name = format!("{name} [{description}]");
    let key = hex::encode(Sha1::digest(&settings.status_id));
    let builds = format!("{commits}/{commit}/builds");
    let body = json!({
        "description": description,
        "key": key,
        "name": name,
        "state": state,
        "url": settings.address,
    });
    Ok(StatusJob {
        list: request(Method::GET, format!("{builds}?key={key}")),
        is_set: Box::new(move |reply| {
            let status: serde_json::Value = serde_json::from_slice(&reply.body).map_err(|_| {
                SendError::other(
                    "could not unmarshal json response body for duplicate commit status: it is not JSON",
                )
            })?;
            Ok(status["key"] == *key
                && status["state"] == state
                && status["description"] == *description
                && status["name"] == *name)
        }),
        create: request(Method::POST, builds).json(&body),
        texts: Texts {
            list: "could not get existing commit status: failed api call to check duplicate commit status: ",
            create: "could not post build status: could not post build commit status: ",
            by_status: true,
            may_be_absent: true,
        },
        retries: [RETRIES, RETRIES],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clone_urls_lead_to_the_builds_of_a_repository() {
        // NC-BITBUCKETSERVER-001, NC-BITBUCKETSERVER-003
        for (address, want) in [
            (
                "https://h:7990/scm/proj/repo.git",
                Ok("https://h:7990/rest/api/latest/projects/proj/repos/repo/commits"),
            ),
            (
                "http://h/context/scm/proj/repo",
                Ok("http://h/context/rest/api/latest/projects/proj/repos/repo/commits"),
            ),
            (
                "https://h/scm/x/scm/proj/repo.git",
                Ok("https://h/scm/x/rest/api/latest/projects/proj/repos/repo/commits"),
            ),
            (
                "ssh://git@h/proj/repo.git",
                Err(
                    "could not parse git address: unsupported scheme type in address: ssh. Must be http or https",
                ),
            ),
            (
                "https://h/proj/repo.git",
                Err(
                    "could not parse git address: supplied provider address is not http(s) git clone url",
                ),
            ),
            (
                "https://h/scm/proj/sub/repo",
                Err("could not parse git address: invalid repository id \"proj/sub/repo\""),
            ),
        ] {
            let have = commits(address).map_err(|error| error.to_string());
            assert_eq!(have.as_deref().map_err(|error| &**error), want, "{address}");
        }
    }
}
