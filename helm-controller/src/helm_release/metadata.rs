//! What the events of a HelmRelease say about the release besides their message (HC-EVT-012, HC-EVT-013).

use std::collections::BTreeMap;

use flux_api::helm::ReleaseSnapshot;

/// The metadata of an event, by key without the kind's group.
pub(super) type Metadata = BTreeMap<&'static str, String>;

/// The metadata of an event about a release; empty parts are left out.
pub(super) fn metadata(
    chart_version: &str,
    config_digest: &str,
    app_version: &str,
    oci_digest: &str,
) -> Metadata {
    let parts = [
        ("revision", chart_version),
        ("token", config_digest),
        ("app-version", app_version),
        ("oci-digest", oci_digest),
    ];
    parts
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| (key, value.to_owned()))
        .collect()
}

/// That of the release of a snapshot.
pub(super) fn of_snapshot(snapshot: &ReleaseSnapshot) -> Metadata {
    with_token(snapshot, &snapshot.config_digest)
}

/// That of the release of a snapshot, with the digest of other values.
pub(super) fn with_token(snapshot: &ReleaseSnapshot, config_digest: &str) -> Metadata {
    metadata(
        &snapshot.chart_version,
        config_digest,
        snapshot.app_version.as_deref().unwrap_or_default(),
        snapshot.oci_digest.as_deref().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    // HC-EVT-012
    #[test]
    fn empty_parts_are_left_out() {
        let all = metadata("1.0.0", "sha256:a", "v2", "sha256:b");
        assert_eq!(
            all.into_iter().collect::<Vec<_>>(),
            [
                ("app-version", "v2".to_owned()),
                ("oci-digest", "sha256:b".to_owned()),
                ("revision", "1.0.0".to_owned()),
                ("token", "sha256:a".to_owned()),
            ]
        );
        assert!(metadata("", "", "", "").is_empty());
    }
}
