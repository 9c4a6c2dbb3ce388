//! Alerts and Providers, which are static: ready as soon as they exist.

use flux_api::notification::{Alert, Provider};
use flux_runtime::metrics::Metrics;
use flux_runtime::queue::Key;
use flux_runtime::static_kind::{StaticFinalizer, StaticKind};

/// Alerts: the finalizer of older versions is removed (NC-ALERT-020 to NC-ALERT-023).
pub(crate) struct Alerts;

impl StaticKind for Alerts {
    type Kind = Alert;

    const FINALIZER: StaticFinalizer = StaticFinalizer::Removed {
        reason: "Migration",
    };

    fn suspended(&self, alert: &Alert) -> bool {
        alert.spec.suspend
    }
}

/// Providers: each has a finalizer, so that the metrics of its tokens end with it (NC-PROV-015 to NC-PROV-017).
pub(crate) struct Providers {
    /// Where the tokens of Providers are counted.
    pub(crate) metrics: Metrics,
}

impl StaticKind for Providers {
    type Kind = Provider;

    const FINALIZER: StaticFinalizer = StaticFinalizer::Kept;

    fn suspended(&self, provider: &Provider) -> bool {
        provider.spec.suspend
    }

    fn forget(&self, key: &Key) {
        self.metrics.forget("Provider", &key.name, &key.namespace);
    }
}
