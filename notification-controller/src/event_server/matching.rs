//! Which Alerts an event is for (NC-ALERT-030 to NC-ALERT-045).

use std::collections::BTreeMap;

use flux_api::notification::{Alert, CrossNamespaceObjectReference};
use flux_golang::regexp::Regex;
use kube::ResourceExt as _;

use crate::event::{Event, INFO};

/// What is wrong with an Alert, for its owner: a reason and a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) reason: &'static str,
    pub(super) message: String,
    /// What only the log says.
    pub(super) error: String,
}

/// The labels of the involved object, which are read when they are needed.
pub(super) trait Labels {
    /// The labels.
    ///
    /// # Errors
    /// The object cannot be read.
    async fn labels(&self) -> Result<BTreeMap<String, String>, String>;
}

/// Whether an event is for an Alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// None of its sources is the object, or it is suspended.
    Other,
    /// Its lists leave the message out.
    Filtered,
    /// It is.
    Wanted,
}

/// Whether an event is for an Alert; what is wrong with the Alert is added to `complaints`.
pub(super) async fn is_for(
    event: &Event,
    alert: &Alert,
    labels: &impl Labels,
    complaints: &mut Vec<Complaint>,
) -> Fit {
    if alert.spec.suspend {
        return Fit::Other;
    }
    let mut matched = false;
    for source in &alert.spec.event_sources {
        if is_of_source(event, alert, source, labels, complaints).await {
            matched = true;
            break; // NC-ALERT-031
        }
    }
    if !matched {
        return Fit::Other;
    }
    let is_wanted = is_included(event, &alert.spec.inclusion_list, complaints)
        && !is_excluded(event, &alert.spec.exclusion_list, complaints);
    if is_wanted {
        Fit::Wanted
    } else {
        Fit::Filtered
    }
}

async fn is_of_source(
    event: &Event,
    alert: &Alert,
    source: &CrossNamespaceObjectReference,
    labels: &impl Labels,
    complaints: &mut Vec<Complaint>,
) -> bool {
    let object = &event.involved_object;
    let own = alert.namespace().unwrap_or_default();
    let namespace = source.namespace.as_deref().filter(|name| !name.is_empty());
    let namespace = namespace.unwrap_or(&own);
    // NC-ALERT-032
    if object.namespace != namespace || object.kind != source.kind.as_str() {
        return false;
    }
    // NC-ALERT-033
    let severity = alert.spec.event_severity.as_ref();
    let severity = severity.map_or("", |severity| severity.as_str());
    if event.severity != severity && severity != INFO {
        return false;
    }
    // NC-ALERT-034
    if source.name != "*" && source.name != object.name {
        return false;
    }
    let Some(wanted) = &source.match_labels else {
        return true;
    };
    let found = match labels.labels().await {
        Ok(found) => found,
        Err(error) => {
            // NC-ALERT-037
            complaints.push(Complaint {
                reason: "SourceFetchFailed",
                message: format!("error getting source object {}", object.shown()),
                error,
            });
            return false;
        }
    };
    if let Some(fault) = wanted.iter().find_map(|(key, value)| fault(key, value)) {
        // NC-ALERT-038
        let shown = format!("{}/{namespace}/{}", source.kind, source.name);
        complaints.push(Complaint {
            reason: "InvalidConfig",
            message: format!("error using matchLabels from event source {shown}"),
            error: fault,
        });
        return false;
    }
    wanted
        .iter()
        .all(|(key, value)| found.get(key) == Some(value))
}

/// What is wrong with a label, as Kubernetes checks it.
fn fault(key: &str, value: &str) -> Option<String> {
    let is_part = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.ends_with(|c: char| c.is_ascii_alphanumeric())
            && text.len() <= 63
    };
    let (prefix, name) = key.rsplit_once('/').unwrap_or(("", key));
    if !is_part(name) || prefix.len() > 253 || prefix.contains('/') {
        return Some(format!("invalid label key {key:?}"));
    }
    (!value.is_empty() && !is_part(value)).then(|| format!("invalid label value {value:?}"))
}

/// NC-ALERT-041, NC-ALERT-042
fn is_included(event: &Event, list: &[String], complaints: &mut Vec<Complaint>) -> bool {
    list.is_empty()
        || list
            .iter()
            .any(|expression| matches(event, expression, "inclusion", complaints))
}

/// NC-ALERT-043
fn is_excluded(event: &Event, list: &[String], complaints: &mut Vec<Complaint>) -> bool {
    list.iter()
        .any(|expression| matches(event, expression, "exclusion", complaints))
}

fn matches(event: &Event, expression: &str, list: &str, complaints: &mut Vec<Complaint>) -> bool {
    match Regex::cached(expression.as_bytes()) {
        Ok(regex) => regex.is_match(&event.message),
        Err(error) => {
            complaints.push(Complaint {
                reason: "InvalidConfig",
                message: format!("failed to compile {list} regex: {expression}"),
                error: error.to_string(),
            });
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use flux_api::notification::{AlertSpec, EventSeverity, FluxKind};

    use super::*;

    struct Fixed(Result<BTreeMap<String, String>, String>);

    impl Labels for Fixed {
        async fn labels(&self) -> Result<BTreeMap<String, String>, String> {
            self.0.clone()
        }
    }

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        let entries = entries.iter();
        entries
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn event(severity: &str, message: &str) -> Event {
        let mut event = Event::default();
        event.involved_object.kind = "Kustomization".into();
        event.involved_object.namespace = "apps".into();
        event.involved_object.name = "web".into();
        event.severity = severity.to_owned();
        event.message = message.to_owned();
        event
    }

    fn source(change: impl FnOnce(&mut CrossNamespaceObjectReference)) -> AlertSpec {
        let mut source = CrossNamespaceObjectReference {
            kind: FluxKind::Kustomization,
            name: "*".to_owned(),
            ..CrossNamespaceObjectReference::default()
        };
        change(&mut source);
        AlertSpec {
            event_severity: Some(EventSeverity::Info),
            event_sources: vec![source],
            ..AlertSpec::default()
        }
    }

    async fn verdict(event: &Event, spec: AlertSpec, labels: Fixed) -> (bool, Vec<String>) {
        let mut alert = Alert::new("alert", spec);
        alert.metadata.namespace = Some("apps".into());
        let mut complaints = Vec::new();
        let verdict = is_for(event, &alert, &labels, &mut complaints).await == Fit::Wanted;
        let told = complaints.into_iter();
        let told = told.map(|complaint| format!("{}: {}", complaint.reason, complaint.message));
        (verdict, told.collect())
    }

    async fn passes(event: &Event, spec: AlertSpec) -> bool {
        let labels = Fixed(Ok(map(&[("team", "a")])));
        let (passes, told) = verdict(event, spec, labels).await;
        assert_eq!(told, [""; 0]);
        passes
    }

    #[tokio::test]
    async fn sources_match_by_kind_namespace_and_name() {
        let info = event("info", "m");
        assert!(passes(&info, source(|_| {})).await);
        // NC-ALERT-030
        let suspended = AlertSpec {
            suspend: true,
            ..source(|_| {})
        };
        assert!(!passes(&info, suspended).await);
        // NC-ALERT-031, NC-ALERT-032
        assert!(passes(&info, source(|s| s.namespace = Some("apps".into()))).await);
        assert!(!passes(&info, source(|s| s.namespace = Some("other".into()))).await);
        assert!(!passes(&info, source(|s| s.kind = FluxKind::HelmRelease)).await);
        assert!(passes(&info, source(|s| s.api_version = Some("other/v9".into()))).await);
        // NC-ALERT-034
        assert!(passes(&info, source(|s| s.name = "web".into())).await);
        assert!(!passes(&info, source(|s| s.name = "we*".into())).await);
        // NC-ALERT-004
        assert!(!passes(&info, AlertSpec::default()).await);
        // NC-ALERT-045
        let mut twice = source(|_| {});
        twice.event_sources.push(twice.event_sources[0].clone());
        assert!(passes(&info, twice).await);
    }

    #[tokio::test]
    async fn an_alert_of_info_gets_everything_and_one_of_error_failures() {
        // NC-ALERT-033
        for (alert, severity, want) in [
            (Some("info"), "info", true),
            (Some("info"), "error", true),
            (Some("info"), "trace", true),
            (Some("error"), "error", true),
            (Some("error"), "info", false),
            (None, "info", false),
            (None, "", true),
        ] {
            let spec = AlertSpec {
                event_severity: alert.map(EventSeverity::from),
                ..source(|_| {})
            };
            assert_eq!(
                passes(&event(severity, "m"), spec).await,
                want,
                "{alert:?} {severity}"
            );
        }
    }

    #[tokio::test]
    async fn labels_are_compared_with_the_objects() {
        let info = event("info", "m");
        let labelled = |labels: &[(&str, &str)]| source(|s| s.match_labels = Some(map(labels)));
        // NC-ALERT-035, NC-ALERT-012
        assert!(passes(&info, labelled(&[("team", "a")])).await);
        assert!(!passes(&info, labelled(&[("team", "b")])).await);
        let mut named = labelled(&[("team", "b")]);
        named.event_sources[0].name = "web".into();
        assert!(!passes(&info, named).await);
        // NC-ALERT-036
        assert!(passes(&info, labelled(&[])).await);
        let gone = || Fixed(Err("not found".to_owned()));
        // NC-ALERT-037
        let fetch = "SourceFetchFailed: error getting source object Kustomization/apps/web";
        let told = verdict(&info, labelled(&[]), gone()).await;
        assert_eq!(told, (false, vec![fetch.to_owned()]));
        // NC-ALERT-038
        let invalid =
            "InvalidConfig: error using matchLabels from event source Kustomization/apps/*";
        let told = verdict(&info, labelled(&[("a", "no label!")]), Fixed(Ok(map(&[])))).await;
        assert_eq!(told, (false, vec![invalid.to_owned()]));
        // Nothing is read without need.
        let told = verdict(&info, source(|_| {}), gone()).await;
        assert_eq!(told, (true, vec![]));
    }

    #[tokio::test]
    async fn messages_are_included_and_excluded_by_expressions() {
        let lists = |inclusion: &[&str], exclusion: &[&str]| AlertSpec {
            inclusion_list: inclusion.iter().map(|text| (*text).to_owned()).collect(),
            exclusion_list: exclusion.iter().map(|text| (*text).to_owned()).collect(),
            ..source(|_| {})
        };
        let two_lines = "HelmChart 'x' is not ready\nsecond";
        for (message, inclusion, exclusion, want) in [
            // NC-ALERT-041
            ("abc", &["b"][..], &[][..], true),
            ("abc", &["x", "c"], &[], true),
            ("abc", &["x"], &[], false),
            // NC-ALERT-043
            ("abc", &["b"], &["c"], false),
            ("abc", &[], &["x", "b"], false),
            // NC-ALERT-044, FR-N-032
            ("ABC", &["abc"], &[], false),
            ("ABC", &["(?i)abc"], &[], true),
            ("a\nb", &["a.b"], &[], false),
            ("a\nb", &["(?s)a.b"], &[], true),
            (two_lines, &[], &["^HelmChart '.*' is not ready$"], true),
            (
                two_lines,
                &[],
                &["(?m)^HelmChart '.*' is not ready$"],
                false,
            ),
            ("é1", &["^\\p{L}\\pN$"], &[], true),
        ] {
            let spec = lists(inclusion, exclusion);
            assert_eq!(
                passes(&event("info", message), spec).await,
                want,
                "{message} {inclusion:?}"
            );
        }
        let labels = || Fixed(Ok(BTreeMap::new()));
        let abc = event("info", "abc");
        // NC-ALERT-042: the others still count
        for (inclusion, want) in [(&["[", "b"][..], true), (&["["], false)] {
            let told = verdict(&abc, lists(inclusion, &[]), labels()).await;
            let text = "InvalidConfig: failed to compile inclusion regex: [".to_owned();
            assert_eq!(told, (want, vec![text]));
        }
        for refused in ["a\\Z", "(?=a)", "(a)\\1"] {
            let told = verdict(&abc, lists(&[], &[refused]), labels()).await;
            let text = format!("InvalidConfig: failed to compile exclusion regex: {refused}");
            assert_eq!(told, (true, vec![text]));
        }
    }
}
