//! Versions of charts, and the texts of errors.

use super::*;

const DIGEST: &str = "sha256:0cc9a8446c95009ef382f5eade883a67c257f77d50f84e78ecef2aac9428d1e5";

// HC-CHART-026, HC-CHART-030
#[test]
fn a_digest_becomes_build_metadata() {
    for (version, revision, want) in [
        ("1.2.3", format!("1.2.3@{DIGEST}"), "1.2.3+0cc9a8446c95"),
        ("1.2.3+old", format!("1.2.3@{DIGEST}"), "1.2.3+0cc9a8446c95"),
        ("v1.2.3", format!("1.2.3@{DIGEST}"), "1.2.3+0cc9a8446c95"),
        ("1.2.3", format!("v1.2.3@{DIGEST}"), "1.2.3+0cc9a8446c95"),
        (
            "1.2.3+b1",
            format!("1.2.3_b1@{DIGEST}"),
            "1.2.3+0cc9a8446c95",
        ),
        ("1.2.3", DIGEST.to_owned(), "1.2.3+0cc9a8446c95"),
        // FR-H-068: they are compared as versions, build metadata and a `v` apart
        (
            "104.1.1+up57.0.3",
            format!("104.1.1_up57.0.3@{DIGEST}"),
            "104.1.1+0cc9a8446c95",
        ),
        (
            "104.1.1+up58",
            format!("104.1.1_up57@{DIGEST}"),
            "104.1.1+0cc9a8446c95",
        ),
        ("v1.19.1", format!("1.19.1@{DIGEST}"), "1.19.1+0cc9a8446c95"),
    ] {
        let (got, digest) = mutated(version, &revision).unwrap();
        assert_eq!((&*got, &*digest), (want, DIGEST), "{version} {revision}");
    }
}

#[test]
fn versions_and_revisions_have_to_agree() {
    let said = |version: &str, revision: &str| mutated(version, revision).unwrap_err().to_string();
    // HC-CHART-027
    assert_eq!(
        said("1.2.3", &format!("1.2.4@{DIGEST}")),
        "artifact revision 1.2.4 does not match chart version 1.2.3"
    );
    assert_eq!(
        said("1.2.3", "1.2.3"),
        "artifact revision 1.2.3 does not match chart version 1.2.3"
    );
    // FR-H-068
    assert_eq!(
        said("v0.5.0-rc.1", &format!("0.5.0@{DIGEST}")),
        "artifact revision 0.5.0 does not match chart version v0.5.0-rc.1"
    );
    // HC-CHART-028
    for revision in ["sha256:0cc9a8446c9", "latest", "a:b:c"] {
        assert_eq!(
            said("1.2.3", revision),
            format!("invalid artifact revision {revision}")
        );
    }
    // HC-CHART-029
    assert_eq!(said("latest", DIGEST), "invalid chart version latest");
}

// HC-CHART-028, HC-CHART-030
#[test]
fn a_tag_that_is_no_version_is_kept_with_its_digest() {
    let revision = format!("latest@{DIGEST}");
    let (version, digest) = mutated("1.2.3", &revision).unwrap();
    assert_eq!((&*version, digest), ("1.2.3+0cc9a8446c95", revision));
}

// HC-CHART-026
#[test]
fn only_some_sources_identify_a_chart_by_digest() {
    for (kind, revision, want) in [
        (SourceKind::OCIRepository, "1.0.0", true),
        (SourceKind::ExternalArtifact, "1.0.0", false),
        (SourceKind::ExternalArtifact, DIGEST, true),
        (SourceKind::HelmChart, DIGEST, false),
    ] {
        assert_eq!(has_digest(kind, revision), want, "{kind:?} {revision}");
    }
}

#[test]
fn errors_of_downloads_have_upstreams_texts() {
    let said = |error: FetchError| {
        let error = fetch_error(Arc::new(error), "http://source/chart.tgz", "sha256:1");
        chain(&error)
    };
    // HC-CHART-022
    assert!(matches!(
        fetch_error(Arc::new(FetchError::NotFound), "u", "d"),
        ChartError::NotFound(_)
    ));
    // HC-CHART-023
    let status = FetchError::Status {
        url: "http://other".to_owned(),
        status: reqwest::StatusCode::SERVICE_UNAVAILABLE,
    };
    assert_eq!(
        said(status),
        "failed to download chart from 'http://source/chart.tgz' (status: 503 Service Unavailable)"
    );
    // HC-CHART-024
    assert_eq!(
        said(DigestMismatch::Empty.into()),
        "failed to parse digest '': invalid checksum digest format"
    );
}
