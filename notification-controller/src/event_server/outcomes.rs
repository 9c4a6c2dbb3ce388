//! What became of the events, by Alert (FR-N-031): Alerts have no status that could say so.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use flux_api::notification::Alert;
use flux_runtime::queue::Key;
use flux_runtime::watch::Cache;
use prometheus::{IntCounterVec, Opts, Registry};

/// What became of an event for an Alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The service has taken it.
    Sent,
    /// It is not sent: the reason is an event of the Alert.
    Failed,
    /// The lists of the Alert leave it out.
    Excluded,
    /// The service is not told of such events.
    Skipped,
}

impl Outcome {
    fn label(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Excluded => "excluded",
            Self::Skipped => "skipped",
        }
    }

    const ALL: [Self; 4] = [Self::Sent, Self::Failed, Self::Excluded, Self::Skipped];
}

/// The Providers that an Alert was counted with.
type Counted = HashMap<Key, HashSet<String>>;

/// Counts what became of events. The series of an Alert end with it. Clones count together.
#[derive(Clone)]
pub(crate) struct Outcomes {
    family: IntCounterVec,
    counted: Arc<Mutex<Counted>>,
}

impl Outcomes {
    /// Registers the family.
    ///
    /// # Errors
    /// It is registered already.
    pub(crate) fn new(registry: &Registry, alerts: &Cache<Alert>) -> prometheus::Result<Self> {
        let options = Opts::new(
            "gotk_alert_events_total",
            "The number of events of an Alert by what became of them.",
        );
        let family = IntCounterVec::new(options, &["namespace", "name", "provider", "result"])?;
        registry.register(Box::new(family.clone()))?;
        let counted: Arc<Mutex<Counted>> = Arc::default();
        let outcomes = Self { family, counted };
        let known = outcomes.clone();
        alerts.observe(move |key, alert| {
            if alert.is_none() {
                known.forget(key);
            }
        });
        Ok(outcomes)
    }

    /// Ends the series of an Alert.
    fn forget(&self, key: &Key) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        for provider in counted.remove(key).unwrap_or_default() {
            for outcome in Outcome::ALL {
                let labels = [&*key.namespace, &*key.name, &*provider, outcome.label()];
                let _ = self.family.remove_label_values(&labels); // it may not have been counted
            }
        }
    }

    /// Counts one event.
    pub(super) fn count(&self, alert: &Alert, outcome: Outcome) {
        let (key, provider) = (Key::of(alert), &alert.spec.provider_ref.name);
        let labels = [&*key.namespace, &*key.name, &**provider, outcome.label()];
        self.family.with_label_values(&labels).inc();
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.entry(key).or_default().insert(provider.clone());
    }
}

#[cfg(test)]
mod tests {
    use flux_api::meta::LocalObjectReference;
    use flux_api::notification::AlertSpec;

    use super::*;

    #[test]
    fn the_series_of_an_alert_end_with_it() {
        // FR-N-031
        let registry = Registry::new();
        let alerts = Cache::default();
        let outcomes = Outcomes::new(&registry, &alerts).unwrap();
        let spec = AlertSpec {
            provider_ref: LocalObjectReference {
                name: "chat".to_owned(),
            },
            ..AlertSpec::default()
        };
        let mut alert = Alert::new("all", spec);
        alert.metadata.namespace = Some("apps".to_owned());
        alert.metadata.resource_version = Some("1".to_owned());
        alerts.upsert(alert.clone());
        outcomes.count(&alert, Outcome::Sent);
        outcomes.count(&alert, Outcome::Sent);
        outcomes.count(&alert, Outcome::Excluded);
        let page = || {
            let text = prometheus::TextEncoder::new();
            text.encode_to_string(&registry.gather()).unwrap()
        };
        let line = "gotk_alert_events_total{name=\"all\",namespace=\"apps\",provider=\"chat\",result=\"sent\"} 2";
        assert!(page().contains(line), "{}", page());
        outcomes.forget(&Key::new("apps", "all"));
        assert!(!page().contains("result="), "{}", page());
    }
}
