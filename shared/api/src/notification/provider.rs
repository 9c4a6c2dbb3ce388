//! `Provider`: a service that notifications are sent to.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::meta::{GoDuration, LocalObjectReference, string_enum};
use crate::schema::{INTERVAL, TIMEOUT};

/// A service that notifications are sent to.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "notification.toolkit.fluxcd.io",
    version = "v1",
    kind = "Provider",
    plural = "providers",
    category = "all",
    category = "fluxcd",
    category = "fluxcd-notifications",
    namespaced,
    derive = "Default",
    derive = "PartialEq",
    schema = "disabled",
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default, extend("x-kubernetes-validations" = [{
    "rule": "self.type == 'github' || self.type == 'gitlab' || self.type == 'gitea' || self.type == 'bitbucketserver' || self.type == 'bitbucket' || self.type == 'azuredevops' || !has(self.commitStatusExpr)",
    "message": "spec.commitStatusExpr is only supported for the 'github', 'gitlab', 'gitea', 'bitbucketserver', 'bitbucket', 'azuredevops' provider types",
}]))]
pub struct ProviderSpec {
    /// Address of the service; overridden by the Secret's key `address`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub address: Option<String>,
    /// Secret with the CA certificate and client certificate for the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<LocalObjectReference>,
    /// Channel, room or topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub channel: Option<String>,
    /// CEL expression for the name of the commit status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit_status_expr: Option<String>,
    /// Deprecated, without effect. Upstream's v1 drops it (NC-COMPAT-021).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = INTERVAL))]
    pub interval: Option<GoDuration>,
    /// Address of a proxy. Deprecated: use `proxySecretRef`. Upstream's v1 drops it (NC-COMPAT-021).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), regex(pattern = "^(http|https)://.*$"))]
    pub proxy: Option<String>,
    /// Secret with the address and credentials of a proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_secret_ref: Option<LocalObjectReference>,
    /// Secret with the address, token, headers and other credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
    /// ServiceAccount whose cloud identity is used instead of the controller's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Send nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// How long sending may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = TIMEOUT))]
    pub timeout: Option<GoDuration>,
    /// The service.
    #[serde(rename = "type")]
    pub type_: ProviderType,
    /// Name to post under.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub username: Option<String>,
}

string_enum! {
    /// A service that notifications can be sent to.
    ProviderType {
        /// Slack.
        Slack = "slack",
        /// Discord.
        Discord = "discord",
        /// Microsoft Teams.
        MsTeams = "msteams",
        /// Rocket.Chat.
        Rocket = "rocket",
        /// An HTTP endpoint that receives the event as JSON.
        Generic = "generic",
        /// As generic, with an HMAC signature in a header.
        GenericHmac = "generic-hmac",
        /// Commit statuses on GitHub.
        Github = "github",
        /// Commit statuses on GitLab.
        Gitlab = "gitlab",
        /// Commit statuses on Gitea.
        Gitea = "gitea",
        /// Comments on Gitea pull requests.
        GiteaPullRequestComment = "giteapullrequestcomment",
        /// Commit statuses on Bitbucket Server.
        BitbucketServer = "bitbucketserver",
        /// Commit statuses on Bitbucket.
        Bitbucket = "bitbucket",
        /// Commit statuses on Azure DevOps.
        AzureDevops = "azuredevops",
        /// Google Chat.
        GoogleChat = "googlechat",
        /// Google Pub/Sub.
        GooglePubSub = "googlepubsub",
        /// Webex.
        Webex = "webex",
        /// Sentry.
        Sentry = "sentry",
        /// Azure Event Hubs.
        AzureEventHub = "azureeventhub",
        /// Telegram.
        Telegram = "telegram",
        /// Lark.
        Lark = "lark",
        /// Matrix.
        Matrix = "matrix",
        /// Opsgenie.
        Opsgenie = "opsgenie",
        /// Prometheus Alertmanager.
        Alertmanager = "alertmanager",
        /// Grafana annotations.
        Grafana = "grafana",
        /// Repository dispatch events on GitHub.
        GithubDispatch = "githubdispatch",
        /// Comments on GitHub pull requests.
        GithubPullRequestComment = "githubpullrequestcomment",
        /// Comments on GitLab merge requests.
        GitlabMergeRequestComment = "gitlabmergerequestcomment",
        /// PagerDuty.
        Pagerduty = "pagerduty",
        /// Datadog.
        Datadog = "datadog",
        /// NATS.
        Nats = "nats",
        /// Zulip.
        Zulip = "zulip",
        /// Spans to an OpenTelemetry collector.
        Otel = "otel",
        /// Zoom.
        Zoom = "zoom",
        /// incident.io.
        IncidentIo = "incident.io",
        /// Mastodon.
        Mastodon = "mastodon",
    }
}
