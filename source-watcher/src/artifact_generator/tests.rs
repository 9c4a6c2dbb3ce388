//! Intervals and the time of steps.

use flux_api::extensions::ArtifactGeneratorSpec;

use super::*;

fn every(text: Option<&str>) -> Duration {
    let mut object = ArtifactGenerator::new("gen", ArtifactGeneratorSpec::default());
    let pair = text.map(|text| (annotation("reconcileEvery"), text.to_owned()));
    object.metadata.annotations = Some(pair.into_iter().collect());
    interval(&object)
}

// SW-GEN-213, SW-GEN-020
#[test]
fn an_annotation_sets_the_interval() {
    assert_eq!(every(None), Duration::from_hours(1));
    assert_eq!(every(Some("1m30s")), Duration::from_secs(90));
    for ignored in ["", "x", "0s", "-1m", "5"] {
        assert_eq!(every(Some(ignored)), Duration::from_hours(1), "{ignored}");
    }
}

// SW-PROC-006
#[test]
fn steps_end_before_the_run_does() {
    assert_eq!(time_left(Duration::from_mins(10)), Duration::from_secs(599));
    assert_eq!(
        time_left(Duration::from_secs(1)),
        Duration::from_millis(950)
    );
}
