//! The cluster's version and a chart's demands on it.

use flux_helm::{Chart, File, KubeVersion, RenderOptions, Values, render};
use oracle::{Answer, Oracle};
use serde_json::json;

const RANGES: [&str; 18] = [
    ">=1.20-0",
    ">=1.20",
    ">= 1.20.0",
    "^1.33.0-0",
    "~1.33",
    "1.33.x",
    "*",
    "",
    ">1.33",
    "<1.33.4",
    "1.32 - 1.34",
    ">=1.20, <1.33",
    "<1.10 || >=1.33",
    ">=1.20.0-alpha",
    "=1.33.4",
    "none",
    "!=1.33.4",
    "v1.33.4-gke.1",
];
const VERSIONS: [&str; 8] = [
    "v1.33.4",
    "v1.33.4-gke.1",
    "v1.33.4+k3s1",
    "v1.33.4-gke.1+x",
    "1.33.4",
    "v1.9.0",
    "v1.34.0-rc.1",
    "v1.33",
];

#[test]
fn charts_refuse_the_versions_that_helm_refuses() {
    // HE-OBJ-016
    let Some(mut go) = Oracle::start("helm-actions") else {
        return;
    };
    for range in RANGES {
        let chart = Chart::from_files(vec![File::new(
            "Chart.yaml",
            format!("apiVersion: v2\nname: web\nversion: 1.0.0\nkubeVersion: {range:?}\n"),
        )])
        .unwrap();
        for version in VERSIONS {
            let mut options = RenderOptions::new("rel", "apps");
            // As a server tells it.
            options.capabilities.kube_version = KubeVersion {
                version: version.to_owned(),
                major: "1".to_owned(),
                minor: "33".to_owned(),
                ..KubeVersion::default()
            };
            let ours = render(&chart, &Values::new(), &options);
            let theirs = go.ask(&json!({"mode": "range", "range": range, "version": version}));
            let takes = range.is_empty() || theirs == Answer::Output(json!(true));
            match ours {
                Ok(_) => assert!(takes, "{range} takes {version}"),
                Err(error) => {
                    assert!(!takes, "{range} refuses {version}: {error}");
                    assert_eq!(
                        error.to_string(),
                        format!(
                            "chart requires kubeVersion: {range} which is incompatible with Kubernetes {version}"
                        )
                    );
                }
            }
        }
    }
}
