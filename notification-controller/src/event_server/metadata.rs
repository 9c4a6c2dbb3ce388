//! The metadata of events: what is kept of an event, and how it is combined with that of an Alert.

use std::collections::BTreeMap;

use flux_api::notification::AlertSpec;

use crate::event::{EVENT_PREFIX, Event};

/// Keeps what belongs to events or to the object's group, without checksums and digests (NC-EVT-020 to NC-EVT-022).
pub(super) fn clean(event: &mut Event) {
    let group = format!("{}/", event.group());
    let excluded = [format!("{group}checksum"), format!("{group}digest")];
    event.metadata.retain(|key, _| {
        (key.starts_with(EVENT_PREFIX) || key.starts_with(&group))
            && !excluded.iter().any(|other| other.eq_ignore_ascii_case(key))
    });
}

/// Removes what only the duplicate check needs (NC-EVT-030).
pub(super) fn drop_internal(event: &mut Event) {
    let token = format!("{}/token", event.group());
    event.metadata.remove(&token);
}

/// Keys that several sources set, each with the names of these sources (NC-EVT-035).
pub(super) type Conflicts = BTreeMap<String, Vec<&'static str>>;

/// Combines the sources of metadata, each with more weight than the one before it: the annotations of the object, the
/// Alert's metadata, its summary, and what the controller adds (NC-EVT-033, NC-EVT-065).
pub(super) fn combine(event: &mut Event, alert: &AlertSpec) -> Conflicts {
    let group = format!("{}/", event.group());
    let with_prefix = |prefix: &str| {
        let stripped = event.metadata.iter().filter_map(|(key, value)| {
            let key = key.strip_prefix(prefix)?;
            Some((key.to_owned(), value.clone()))
        });
        stripped.collect::<Vec<_>>()
    };
    let own = alert.event_metadata.iter();
    let summary = alert.summary.iter().filter(|text| !text.is_empty());
    let sources = [
        ("involved object annotations", with_prefix(EVENT_PREFIX)),
        (
            "Alert object .spec.eventMetadata",
            own.map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        ),
        (
            "Alert object .spec.summary",
            summary
                .map(|text| ("summary".to_owned(), text.clone()))
                .collect(),
        ),
        ("involved object controller metadata", with_prefix(&group)),
    ];
    let mut combined = BTreeMap::new();
    let mut set_by = Conflicts::new();
    for (source, entries) in sources {
        for (key, value) in entries {
            set_by.entry(key.clone()).or_default().push(source);
            combined.insert(key, value);
        }
    }
    if !combined.is_empty() {
        event.metadata = combined;
    }
    set_by.retain(|_, sources| sources.len() > 1);
    set_by
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(metadata: &[(&str, &str)]) -> Event {
        let mut event = Event::default();
        event.involved_object.api_version = "kustomize.toolkit.fluxcd.io/v1".to_owned();
        event.metadata = map(metadata);
        event
    }

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        let entries = entries.iter();
        entries
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn only_keys_of_events_and_of_the_group_are_kept() {
        let mut event = event(&[
            // NC-EVT-007
            ("event.toolkit.fluxcd.io/a", "1"),
            ("kustomize.toolkit.fluxcd.io/revision", "2"),
            // NC-EVT-022
            ("kustomize.toolkit.fluxcd.io/aa/bb", "3"),
            ("kustomize.toolkit.fluxcd.io/token", "t"),
            // NC-EVT-020
            ("source.toolkit.fluxcd.io/x", "no"),
            ("plain", "no"),
            // NC-EVT-021
            ("kustomize.toolkit.fluxcd.io/Checksum", "no"),
            ("kustomize.toolkit.fluxcd.io/digest", "no"),
        ]);
        clean(&mut event);
        assert_eq!(event.metadata.len(), 4, "{:?}", event.metadata);
        assert!(event.metadata.values().all(|value| value != "no"));
        // NC-EVT-030
        drop_internal(&mut event);
        assert_eq!(event.of_group("token"), None);
        assert_eq!(event.metadata.len(), 3);
    }

    #[test]
    fn without_a_version_only_keys_of_events_are_kept() {
        // NC-EVT-006
        let mut event = event(&[
            ("event.toolkit.fluxcd.io/a", "1"),
            ("kustomize.toolkit.fluxcd.io/revision", "2"),
        ]);
        event.involved_object.api_version = "v1".to_owned();
        clean(&mut event);
        assert_eq!(event.metadata, map(&[("event.toolkit.fluxcd.io/a", "1")]));
    }

    #[test]
    fn sources_are_combined_by_precedence_and_conflicts_named() {
        let mut event = event(&[
            ("event.toolkit.fluxcd.io/a", "object"),
            ("event.toolkit.fluxcd.io/b", "object"),
            ("event.toolkit.fluxcd.io/summary", "object"),
            ("event.toolkit.fluxcd.io/revision", "object"),
            ("kustomize.toolkit.fluxcd.io/revision", "controller"),
            ("kustomize.toolkit.fluxcd.io/commit_status", "update"),
        ]);
        let alert = AlertSpec {
            event_metadata: map(&[("a", "alert"), ("c", "alert"), ("summary", "alert")]),
            summary: Some("text".to_owned()),
            ..AlertSpec::default()
        };
        let conflicts = combine(&mut event, &alert);
        // NC-EVT-033, NC-EVT-034, NC-EVT-038
        assert_eq!(
            event.metadata,
            map(&[
                ("a", "alert"),
                ("b", "object"),
                ("c", "alert"),
                ("commit_status", "update"),
                ("revision", "controller"),
                ("summary", "text"),
            ])
        );
        // NC-EVT-035, NC-EVT-036
        let want: Conflicts = [
            (
                "a".to_owned(),
                vec![
                    "involved object annotations",
                    "Alert object .spec.eventMetadata",
                ],
            ),
            (
                "revision".to_owned(),
                vec![
                    "involved object annotations",
                    "involved object controller metadata",
                ],
            ),
            (
                "summary".to_owned(),
                vec![
                    "involved object annotations",
                    "Alert object .spec.eventMetadata",
                    "Alert object .spec.summary",
                ],
            ),
        ]
        .into();
        assert_eq!(conflicts, want);
    }

    #[test]
    fn an_alert_without_summary_has_three_sources() {
        // NC-EVT-065
        let mut event = event(&[
            ("event.toolkit.fluxcd.io/k", "1"),
            ("kustomize.toolkit.fluxcd.io/k", "3"),
        ]);
        let alert = AlertSpec {
            event_metadata: map(&[("k", "2")]),
            ..AlertSpec::default()
        };
        let conflicts = combine(&mut event, &alert);
        assert_eq!(event.metadata, map(&[("k", "3")]));
        assert_eq!(conflicts["k"].len(), 3);
        let mut nothing = Event::default();
        assert!(combine(&mut nothing, &AlertSpec::default()).is_empty());
        assert!(nothing.metadata.is_empty());
    }
}
