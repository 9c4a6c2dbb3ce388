//! Sending an event to a service: one module per type of Provider, each of which makes requests out of settings and an
//! event, and one sender for all of them.

mod address;
mod alertmanager;
mod azure_devops;
mod bitbucket;
mod bitbucket_server;
mod comment;
mod datadog;
mod discord;
mod event_hub;
mod forward;
mod gitea;
mod github;
mod gitlab;
mod google_chat;
mod grafana;
mod incident_io;
mod lark;
mod mask;
mod mastodon;
mod matrix;
mod nats;
mod opsgenie;
mod otel;
mod pagerduty;
mod posted;
mod pub_sub;
mod recent;
mod rocket;
mod send;
mod sentry;
mod settings;
mod slack;
mod status;
mod teams;
mod telegram;
mod text;
mod webex;
mod zoom;
mod zulip;

use flux_api::notification::ProviderType as T;
use tokio::time::Instant;

pub(crate) use self::mask::Mask;
pub(crate) use self::otel::Traces;
pub(crate) use self::posted::Posted;
pub(crate) use self::send::{SendError, Sender};
pub(crate) use self::settings::{ConfigError, Secrets, Settings};
use crate::event::Event;

/// Whether Providers of this type set the status of commits (NC-EVT-048).
pub(crate) fn sets_commit_statuses(kind: &T) -> bool {
    matches!(
        kind,
        T::Github | T::Gitlab | T::Gitea | T::BitbucketServer | T::Bitbucket | T::AzureDevops
    )
}

/// Whether Providers of this type comment on pull requests (NC-EVT-048).
pub(crate) fn comments(kind: &T) -> bool {
    matches!(
        kind,
        T::GithubPullRequestComment | T::GitlabMergeRequestComment | T::GiteaPullRequestComment
    )
}

/// Whether Providers of this type forward events as they are (NC-EVT-043).
pub(crate) fn forwards(kind: &T) -> bool {
    matches!(kind, T::Generic | T::GenericHmac)
}

/// What is to be sent for an event.
#[derive(Debug)]
pub(crate) enum Job {
    /// Nothing: the service is not told of such events.
    Nothing,
    /// These requests, in this order; the first that fails ends it.
    Calls(Vec<send::Call>),
    /// The status of a commit, unless it is set already.
    Status(status::StatusJob),
    /// A message of a subject.
    Publication(nats::Publication),
    /// A comment on a pull request, which replaces an earlier one.
    Comment(comment::CommentJob),
    /// The event cannot be sent.
    Fails(SendError),
}

/// Makes requests out of settings and an event.
///
/// # Errors
/// The settings are incomplete, or the service does not answer what has to be known first.
pub(crate) async fn prepare(
    settings: &Settings,
    event: &Event,
    sender: &Sender,
    deadline: Instant,
) -> Result<Job, ConfigError> {
    // NC-PROV-075
    if sets_commit_statuses(&settings.kind) && settings.status_id.is_empty() {
        return Err(ConfigError::invalid("commit status cannot be empty"));
    }
    let calls = match &settings.kind {
        T::Slack => slack::calls(settings, event)?,
        T::Discord => discord::calls(settings, event)?,
        T::MsTeams => teams::calls(settings, event)?,
        T::Rocket => rocket::calls(settings, event)?,
        T::Generic => forward::plain(settings, event)?,
        T::GenericHmac => forward::signed(settings, event)?,
        T::GoogleChat => google_chat::calls(settings, event)?,
        T::Webex => webex::calls(settings, event)?,
        T::Telegram => telegram::calls(settings, event)?,
        T::Lark => lark::calls(settings, event)?,
        T::Matrix => matrix::calls(settings, event)?,
        T::Opsgenie => opsgenie::calls(settings, event)?,
        T::Alertmanager => alertmanager::calls(settings, event)?,
        T::Grafana => grafana::calls(settings, event)?,
        T::Pagerduty => pagerduty::calls(settings, event)?,
        T::Datadog => datadog::calls(settings, event)?,
        T::Zulip => zulip::calls(settings, event)?,
        T::Zoom => zoom::calls(settings, event)?,
        T::IncidentIo => incident_io::calls(settings, event)?,
        T::Mastodon => mastodon::calls(settings, event)?,
        T::Sentry => sentry::calls(settings, event)?,
        T::Otel => otel::calls(settings, event, sender.traces())?,
        T::GooglePubSub => pub_sub::calls(settings, event)?,
        T::AzureEventHub => event_hub::calls(settings, event)?,
        T::GithubDispatch => github::dispatch(settings, event)?,
        T::Github => return Ok(settled(github::status(settings, event)?)),
        T::Gitlab => return Ok(settled(gitlab::status(settings, event)?)),
        T::Gitea => {
            gitea::reach(settings, sender, deadline).await?;
            return Ok(settled(gitea::status(settings, event)?));
        }
        T::BitbucketServer => return Ok(settled(bitbucket_server::status(settings, event)?)),
        T::Bitbucket => return Ok(settled(bitbucket::status(settings, event)?)),
        T::AzureDevops => return Ok(settled(azure_devops::status(settings, event)?)),
        T::GithubPullRequestComment => {
            return github::comment(settings, event, sender, deadline).await;
        }
        T::GitlabMergeRequestComment => {
            return gitlab::comment(settings, event, sender, deadline).await;
        }
        T::GiteaPullRequestComment => {
            return gitea::comment(settings, event, sender, deadline).await;
        }
        T::Nats => return Ok(Job::Publication(nats::publication(settings, event)?)),
        // NC-PROV-081
        other @ T::Other(_) => return Err(ConfigError::Unsupported(other.to_string())),
    };
    Ok(if calls.is_empty() {
        Job::Nothing
    } else {
        Job::Calls(calls)
    })
}

fn settled(job: Result<Option<status::StatusJob>, SendError>) -> Job {
    match job {
        Ok(Some(job)) => Job::Status(job),
        Ok(None) => Job::Nothing,
        Err(error) => Job::Fails(error),
    }
}

impl Job {
    /// Sends what is to be sent, until `deadline` at the latest.
    ///
    /// # Errors
    /// What the service or the network said. The text may hold secrets: it goes through a [`Mask`].
    pub(crate) async fn run(self, sender: &Sender, deadline: Instant) -> Result<(), SendError> {
        match self {
            Self::Nothing => Ok(()),
            Self::Calls(calls) => {
                for call in calls {
                    sender.send(&call, deadline).await?;
                }
                Ok(())
            }
            Self::Publication(publication) => publication.run(deadline).await,
            Self::Status(job) => job.run(sender, deadline).await,
            Self::Comment(job) => job.run(sender, deadline).await,
            Self::Fails(error) => Err(error),
        }
    }
}

#[cfg(test)]
pub(crate) use self::tests::service;

#[cfg(test)]
mod tests;
