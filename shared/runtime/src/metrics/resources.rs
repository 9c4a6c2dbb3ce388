//! `gotk_resource_info`: the state of each object, under the name and labels that the field's dashboards and alerts know from
//! kube-state-metrics with Flux's configuration (RT-MET-006).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::Resource;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Gauge, LabelPair, Metric, MetricFamily, MetricType};
use serde::Serialize;
use serde_json::Value;

use crate::queue::Key;
use crate::watch::{Cache, Watched};

const NAME: &str = "gotk_resource_info";
const HELP: &str = "The current state of a Flux resource.";

/// The variable that turns the metric on.
const VARIABLE: &str = "FLUX_RESOURCE_METRICS";

/// Whether `FLUX_RESOURCE_METRICS` is `true`.
pub(crate) fn wanted() -> bool {
    std::env::var(VARIABLE).is_ok_and(|value| value == "true")
}

/// Where a label's value is in an object.
type Label = (&'static str, &'static [&'static str]);

const REVISION: Label = ("revision", &["status", "artifact", "revision"]);
const URL: Label = ("url", &["spec", "url"]);

/// The labels of a kind besides those that every kind has.
fn labels_of(kind: &str) -> &'static [Label] {
    match kind {
        "GitRepository" | "OCIRepository" | "HelmRepository" => &[REVISION, URL],
        "Bucket" => &[
            REVISION,
            ("endpoint", &["spec", "endpoint"]),
            ("bucket_name", &["spec", "bucketName"]),
        ],
        "HelmChart" => &[
            REVISION,
            ("chart_name", &["spec", "chart"]),
            ("chart_version", &["spec", "version"]),
        ],
        "Kustomization" => &[
            ("revision", &["status", "lastAppliedRevision"]),
            ("source_name", &["spec", "sourceRef", "name"]),
        ],
        "HelmRelease" => &[
            ("revision", &["status", "history", "0", "chartVersion"]),
            ("chart_name", &["status", "history", "0", "chartName"]),
            (
                "chart_app_version",
                &["status", "history", "0", "appVersion"],
            ),
            ("chart_ref_name", &["spec", "chartRef", "name"]),
            (
                "chart_source_name",
                &["spec", "chart", "spec", "sourceRef", "name"],
            ),
        ],
        "Receiver" => &[("webhook_path", &["status", "webhookPath"])],
        "ImageRepository" => &[("image", &["spec", "image"])],
        "ImagePolicy" => &[("source_name", &["spec", "imageRepositoryRef", "name"])],
        "ImageUpdateAutomation" => &[("source_name", &["spec", "sourceRef", "name"])],
        _ => &[],
    }
}

/// The labels of each object, by kind and name.
type Series = BTreeMap<(String, Key), Vec<LabelPair>>;

/// The family's series. Clones share them.
#[derive(Clone)]
pub(super) struct Resources {
    series: Arc<Mutex<Series>>,
    description: Desc,
}

impl Resources {
    pub(super) fn new() -> prometheus::Result<Self> {
        let description = Desc::new(NAME.into(), HELP.into(), Vec::new(), HashMap::new())?;
        Ok(Self {
            series: Arc::default(),
            description,
        })
    }

    /// Follows the objects in `cache`.
    pub(super) fn follow<K>(&self, cache: &Cache<K>)
    where
        K: Watched + Resource<DynamicType = ()> + Serialize,
    {
        let this = self.clone();
        cache.observe(move |key, object| {
            let kind = K::kind(&()).into_owned();
            let labels = object
                .and_then(|object| serde_json::to_value(object).ok())
                .map(|object| labels(&object, &kind, &K::group(&()), &K::version(&())));
            let entry = (kind, key.clone());
            let mut series = this.series();
            match labels {
                Some(labels) => drop(series.insert(entry, labels)),
                None => drop(series.remove(&entry)),
            }
        });
    }

    fn series(&self) -> MutexGuard<'_, Series> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for Resources {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.description]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let series = self.series();
        let metrics = series.values().map(|labels| {
            let mut gauge = Gauge::default();
            gauge.set_value(1.0);
            let mut metric = Metric::from_label(labels.clone());
            metric.set_gauge(gauge);
            metric
        });
        let mut family = MetricFamily::default();
        family.set_name(NAME.to_owned());
        family.set_help(HELP.to_owned());
        family.set_field_type(MetricType::GAUGE);
        family.set_metric(metrics.collect());
        vec![family]
    }
}

fn labels(object: &Value, kind: &str, group: &str, version: &str) -> Vec<LabelPair> {
    let text = |path: &[&str]| -> Option<String> {
        let value = path.iter().try_fold(object, |value, part| match value {
            Value::Array(items) => items.get(part.parse::<usize>().ok()?),
            _ => value.get(part),
        })?;
        match value {
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => Some(without_user(text)),
            Value::Bool(value) => Some(value.to_string()),
            _ => None,
        }
    };
    let conditions = object["status"]["conditions"].as_array();
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Ready");
    let ready = ready.and_then(|condition| condition["status"].as_str());
    let all = [
        ("customresource_group", Some(group.to_owned())),
        ("customresource_kind", Some(kind.to_owned())),
        ("customresource_version", Some(version.to_owned())),
        ("name", text(&["metadata", "name"])),
        ("exported_namespace", text(&["metadata", "namespace"])),
        ("ready", ready.map(str::to_owned)),
        ("suspended", text(&["spec", "suspend"])),
    ];
    let own = labels_of(kind)
        .iter()
        .map(|(name, path)| (*name, text(path)));
    let mut pairs: Vec<LabelPair> = all
        .into_iter()
        .chain(own)
        .filter_map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value?);
            Some(pair)
        })
        .collect();
    pairs.sort_by(|a, b| a.name().cmp(b.name()));
    pairs
}

/// The text without the user and password that a URL may have.
fn without_user(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{tail}")
}

#[cfg(test)]
mod tests {
    use flux_api::kustomize::Kustomization;
    use flux_api::source::GitRepository;
    use serde_json::json;

    use super::*;
    use crate::metrics::{Metrics, Page};

    fn page(metrics: &Metrics) -> Vec<String> {
        let page = String::from_utf8(metrics.page(Page::default()).unwrap()).unwrap();
        let lines = page.lines().filter(|line| line.starts_with(NAME));
        lines.map(str::to_owned).collect()
    }

    fn kustomization(version: &str, suspend: bool) -> Kustomization {
        let object = json!({
            "metadata": {"name": "app", "namespace": "team", "uid": "u", "resourceVersion": version},
            "spec": {"interval": "1h", "prune": true, "suspend": suspend, "sourceRef": {"kind": "GitRepository", "name": "repo"}},
            "status": {"lastAppliedRevision": "main@sha1:1", "conditions": [{"type": "Ready", "status": "False",
                "reason": "BuildFailed", "message": "m", "lastTransitionTime": "2026-01-02T03:04:05Z"}]},
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn the_state_of_objects_is_published_as_kube_state_metrics_does() {
        let metrics = Metrics::with_resources(true).unwrap();
        let cache = Cache::default();
        cache.upsert(kustomization("1", false));
        metrics.publish(&cache);
        // RT-MET-006: the name and labels that dashboards of the field query
        let wanted = |suspended: bool| {
            format!(
                "gotk_resource_info{{customresource_group=\"kustomize.toolkit.fluxcd.io\",customresource_kind=\"Kustomization\",\
                 customresource_version=\"v1\",exported_namespace=\"team\",name=\"app\",ready=\"False\",\
                 revision=\"main@sha1:1\",source_name=\"repo\"{}}} 1",
                if suspended { ",suspended=\"true\"" } else { "" }
            )
        };
        assert_eq!(page(&metrics), [wanted(false)]);
        cache.upsert(kustomization("2", true));
        assert_eq!(page(&metrics), [wanted(true)]);
    }

    #[test]
    fn urls_are_published_without_their_user() {
        let metrics = Metrics::with_resources(true).unwrap();
        let cache = Cache::default();
        let object = json!({
            "metadata": {"name": "app", "namespace": "team", "uid": "u", "resourceVersion": "1"},
            "spec": {"interval": "1h", "url": "https://user:s3cret@git.example/r.git?a=b@c"},
        });
        cache.upsert(serde_json::from_value::<GitRepository>(object).unwrap());
        metrics.publish(&cache);
        let page = page(&metrics).concat();
        assert!(
            page.contains("url=\"https://git.example/r.git?a=b@c\""),
            "{page}"
        );
    }

    #[test]
    fn nothing_is_published_unless_it_is_wanted() {
        let metrics = Metrics::new().unwrap();
        let cache = Cache::default();
        cache.upsert(kustomization("1", false));
        metrics.publish(&cache);
        assert_eq!(page(&metrics), <[String; 0]>::default());
    }
}
