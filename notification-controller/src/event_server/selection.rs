//! Which events a Provider is told of, and what its commit statuses are called.

use flux_api::notification::{Alert, Provider};
use flux_cel::{Limits, Type};
use kube::ResourceExt as _;

use crate::event::Event;
use crate::expression;
use crate::provider::{comments, forwards, sets_commit_statuses};

/// Why an event is not for a service, although its Alert wants it (NC-EVT-042 to NC-EVT-045).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Skip {
    /// The Provider is suspended.
    Suspended,
    /// It only updates a commit status.
    StatusUpdate,
    /// It names no commit.
    NoCommit,
    /// It names no change request.
    NoChangeRequest,
}

impl Skip {
    /// The reason, as the log tells it.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Suspended => "the provider is suspended",
            Self::StatusUpdate => "commit status updates are for Git providers",
            Self::NoCommit => "there is no commit metadata key",
            Self::NoChangeRequest => "there is no change request metadata key",
        }
    }
}

/// Why the service of a Provider is not told of an event (NC-EVT-042 to NC-EVT-045).
pub(super) fn skip(event: &Event, provider: &Provider) -> Option<Skip> {
    let kind = &provider.spec.type_;
    let annotated = |key: &str| {
        let key = format!("{}{key}", crate::event::EVENT_PREFIX);
        event
            .metadata
            .get(&key)
            .is_some_and(|value| !value.is_empty())
    };
    let is_update = event.of_group("commit_status") == Some("update");
    if provider.spec.suspend {
        return Some(Skip::Suspended);
    }
    if is_update && !sets_commit_statuses(kind) && !forwards(kind) {
        return Some(Skip::StatusUpdate);
    }
    if sets_commit_statuses(kind) && !annotated("commit") && !is_update && !event.is_error() {
        return Some(Skip::NoCommit);
    }
    (comments(kind) && !annotated("change_request")).then_some(Skip::NoChangeRequest)
}

/// What identifies the commit statuses of a Provider, and whether its user said so (NC-PROV-070, NC-PROV-072).
pub(super) fn status_id(
    event: &Event,
    provider: &Provider,
    alert: &Alert,
) -> Result<(String, bool), String> {
    if !sets_commit_statuses(&provider.spec.type_) {
        return Ok((String::new(), false));
    }
    let expression = provider.spec.commit_status_expr.as_deref();
    if let Some(expression) = expression.filter(|expression| !expression.is_empty()) {
        let id = evaluated(expression, event, provider, alert).map_err(|error| {
            format!(
                "failed to evaluate the spec.commitStatusExpr CEL expression for the event: {error}"
            )
        })?;
        return Ok((id, true));
    }
    let uid = provider.uid().unwrap_or_default();
    let first = uid.split('-').next().unwrap_or_default();
    let object = &event.involved_object;
    let id = format!("{}/{}/{first}", object.kind, object.name).to_lowercase();
    Ok((id, false))
}

/// The value of `spec.commitStatusExpr` (NC-PROV-072 to NC-PROV-074).
fn evaluated(
    text: &str,
    event: &Event,
    provider: &Provider,
    alert: &Alert,
) -> Result<String, String> {
    let names = ["event", "alert", "provider"];
    let compiled = expression::compile(text, &names, Some(Type::String));
    let compiled = compiled.map_err(|error| format!("failed to compile expression: {error}"))?;
    let event = serde_json::from_str(&event.to_json());
    let values = [
        event,
        serde_json::to_value(alert),
        serde_json::to_value(provider),
    ];
    let mut variables = Vec::new();
    for (name, value) in names.iter().zip(&values) {
        let value = value.as_ref().map_err(ToString::to_string)?;
        variables.push((*name, expression::value(value)));
    }
    let variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| (*name, value))
        .collect();
    compiled
        .evaluate_string(expression::lookup(&variables), Limits::default())
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use flux_api::notification::{ProviderSpec, ProviderType};

    use super::*;

    fn provider(kind: &str) -> Provider {
        let spec = ProviderSpec {
            type_: ProviderType::from(kind),
            ..ProviderSpec::default()
        };
        let mut provider = Provider::new("p", spec);
        provider.metadata.uid = Some("0C9c2e41-d2f9-4f9b-9c41-bebc1984d67a".to_owned());
        provider
    }

    fn event(severity: &str, metadata: &[(&str, &str)]) -> Event {
        let mut event = Event::default();
        event.involved_object.kind = "Kustomization".into();
        event.involved_object.name = "Gitops-System".into();
        event.involved_object.api_version = "kustomize.toolkit.fluxcd.io/v1".into();
        event.severity = severity.to_owned();
        for (key, value) in metadata {
            event
                .metadata
                .insert((*key).to_owned(), (*value).to_owned());
        }
        event
    }

    const UPDATE: (&str, &str) = ("kustomize.toolkit.fluxcd.io/commit_status", "update");
    const COMMIT: (&str, &str) = ("event.toolkit.fluxcd.io/commit", "abc");
    const REQUEST: (&str, &str) = ("event.toolkit.fluxcd.io/change_request", "7");

    #[test]
    fn events_are_gated_by_the_type_of_the_provider() {
        for (kind, severity, metadata, want) in [
            // NC-EVT-043
            ("slack", "info", &[UPDATE][..], Some(Skip::StatusUpdate)),
            ("slack", "info", &[], None),
            // NC-GENERIC-006
            ("generic", "info", &[UPDATE], None),
            ("generic-hmac", "info", &[UPDATE], None),
            // NC-EVT-044, FR-N-025, FR-N-026
            ("github", "info", &[], Some(Skip::NoCommit)),
            ("github", "info", &[UPDATE], None),
            ("github", "info", &[COMMIT], None),
            ("github", "error", &[], None),
            (
                "github",
                "info",
                &[("event.toolkit.fluxcd.io/commit", "")],
                Some(Skip::NoCommit),
            ),
            ("gitlab", "info", &[], Some(Skip::NoCommit)),
            ("gitea", "info", &[], Some(Skip::NoCommit)),
            ("bitbucket", "info", &[], Some(Skip::NoCommit)),
            ("bitbucketserver", "info", &[], Some(Skip::NoCommit)),
            ("azuredevops", "info", &[], Some(Skip::NoCommit)),
            ("githubdispatch", "info", &[], None),
            // NC-EVT-045, NC-EVT-048
            (
                "githubpullrequestcomment",
                "error",
                &[],
                Some(Skip::NoChangeRequest),
            ),
            (
                "gitlabmergerequestcomment",
                "info",
                &[],
                Some(Skip::NoChangeRequest),
            ),
            ("giteapullrequestcomment", "info", &[REQUEST], None),
        ] {
            let event = event(severity, metadata);
            assert_eq!(
                skip(&event, &provider(kind)),
                want,
                "{kind} {severity} {metadata:?}"
            );
        }
        // NC-EVT-042
        let mut suspended = provider("slack");
        suspended.spec.suspend = true;
        assert_eq!(skip(&event("info", &[]), &suspended), Some(Skip::Suspended));
    }

    #[test]
    fn a_status_is_identified_by_object_and_provider() {
        // NC-PROV-070, FR-N-023
        let alert = Alert::new("a", flux_api::notification::AlertSpec::default());
        let id = status_id(&event("info", &[]), &provider("github"), &alert).unwrap();
        assert_eq!(
            id,
            ("kustomization/gitops-system/0c9c2e41".to_owned(), false)
        );
        // NC-PROV-071: the namespace of the object does not count
        let mut elsewhere = event("info", &[]);
        elsewhere.involved_object.namespace = "elsewhere".into();
        assert_eq!(
            status_id(&elsewhere, &provider("github"), &alert).unwrap(),
            id
        );
        let none = status_id(&event("info", &[]), &provider("slack"), &alert).unwrap();
        assert_eq!(none.0, "");
        let custom = |expression: &str| {
            let mut provider = provider("github");
            provider.spec.commit_status_expr = Some(expression.to_owned());
            let mut event = event("info", &[]);
            event.metadata.insert("foo".to_owned(), "Bar".to_owned());
            status_id(&event, &provider, &alert)
        };
        // NC-PROV-072, NC-PROV-073
        for (expression, want) in [
            ("'prod/' + event.metadata.foo", "prod/Bar"),
            ("string(event.metadata.foo)", "Bar"),
            (
                "provider.metadata.uid.split('-').first().value() + ''",
                "0C9c2e41",
            ),
            (
                "'%s' == '' ? '' : (alert.metadata.name + '/' + event.involvedObject.kind).lowerAscii()",
                "a/kustomization",
            ),
            ("''", ""),
        ] {
            assert_eq!(
                custom(expression),
                Ok((want.to_owned(), true)),
                "{expression}"
            );
        }
        // NC-PROV-074
        let begin = "failed to evaluate the spec.commitStatusExpr CEL expression for the event: ";
        for expression in [
            "event.metadata.foo",
            "other + 'x'",
            "'x' + event.metadata.absent",
            "1",
            "'",
        ] {
            let error = custom(expression).unwrap_err();
            assert!(error.starts_with(begin), "{expression}: {error}");
        }
    }
}
