//! Tests of the cluster's version and a chart's requirements on it.

use flux_helm::{Capabilities, Chart, Discovery, File, KubeVersion, RenderOptions, Values, render};
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
fn kube_version_constraints_match_helm() {
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
            // As a server reports it.
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

#[test]
fn a_partial_discovery_only_warns() {
    // HE-OBJ-010
    let Some(mut go) = Oracle::start("helm") else {
        return;
    };
    let texts = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
    let whole = Discovery {
        versions: texts(&["v1", "apps/v1", "metrics.k8s.io/v1beta1"]),
        kinds: vec![
            (
                "v1".to_owned(),
                texts(&["Pod", "Pod", "Eviction", "Secret"]),
            ),
            ("apps/v1".to_owned(), texts(&["Deployment", "Scale"])),
            ("metrics.k8s.io/v1beta1".to_owned(), texts(&["PodMetrics"])),
        ],
        failed: Vec::new(),
    };
    let mut partial = whole.clone();
    partial.kinds.pop();
    let why = "the server is currently unable to handle the request".to_owned();
    partial.failed = vec![("metrics.k8s.io/v1beta1".to_owned(), why)];
    for (discovery, warnings) in [(&whole, 0), (&partial, 2), (&Discovery::default(), 0)] {
        let (ours, told) = Capabilities::of_cluster(KubeVersion::default(), discovery);
        assert_eq!(told.len(), warnings, "{told:?}");
        let kinds: Vec<_> = discovery
            .kinds
            .iter()
            .map(|(version, kinds)| json!({"version": version, "kinds": kinds}))
            .collect();
        let failed: Vec<_> = discovery
            .failed
            .iter()
            .map(|(version, _)| version)
            .collect();
        let question = json!({"mode": "versions", "kinds": kinds, "failed": failed});
        let mut ours = ours.api_versions;
        ours.sort_unstable();
        assert_eq!(go.ask(&question), Answer::Output(json!(ours)));
    }
}
