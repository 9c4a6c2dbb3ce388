//! What the statuses of all kinds share, for code that treats every kind alike.

use kube::core::object::HasStatus;

use super::{Condition, ConditionStatus};

/// The fields that the statuses of Flux kinds share.
///
/// A kind may lack `observedGeneration` or `lastHandledReconcileAt` (ExternalArtifact has neither, ArtifactGenerator not
/// the first): then the getter says so and the setter does nothing.
pub trait FluxStatus {
    /// `status.conditions`.
    fn conditions(&self) -> &[Condition];

    /// `status.conditions`, to be changed.
    fn conditions_mut(&mut self) -> &mut Vec<Condition>;

    /// The last generation that was reconciled. Of a kind without that field it is the generation for which Ready was
    /// computed (SW-GEN-023).
    fn observed_generation(&self) -> Option<i64>;

    /// Sets `status.observedGeneration`, if the kind has it.
    fn set_observed_generation(&mut self, generation: Option<i64>);

    /// The last value of the annotation `reconcile.fluxcd.io/requestedAt` that was acted on.
    fn last_handled_reconcile_at(&self) -> Option<&str>;

    /// Sets `status.lastHandledReconcileAt`, if the kind has it.
    fn set_last_handled_reconcile_at(&mut self, request: Option<String>);

    /// The condition of this type.
    fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions()
            .iter()
            .find(|condition| condition.type_ == kind)
    }
}

/// Objects with a [`FluxStatus`].
pub trait FluxObject {
    /// The condition of this type; `None` also where there is no status.
    fn condition(&self, kind: &str) -> Option<&Condition>;

    /// Whether the condition Ready is True, for whatever generation.
    fn is_ready(&self) -> bool {
        self.condition("Ready")
            .is_some_and(|ready| ready.status == ConditionStatus::True)
    }
}

impl<K: HasStatus<Status: FluxStatus>> FluxObject for K {
    fn condition(&self, kind: &str) -> Option<&Condition> {
        self.status()?.condition(kind)
    }
}

/// Implements [`FluxStatus`] for a status with all of its fields, or for one without those that are named.
macro_rules! flux_status {
    ($status:ty) => {
        flux_status!(@impl $status, observed, handled);
    };
    ($status:ty, without observed_generation) => {
        flux_status!(@impl $status, none, handled);
    };
    ($status:ty, without observed_generation, last_handled_reconcile_at) => {
        flux_status!(@impl $status, none, none);
    };
    (@impl $status:ty, $observed:ident, $handled:ident) => {
        impl $crate::meta::FluxStatus for $status {
            fn conditions(&self) -> &[$crate::meta::Condition] {
                &self.conditions
            }

            fn conditions_mut(&mut self) -> &mut Vec<$crate::meta::Condition> {
                &mut self.conditions
            }

            flux_status!(@observed $observed);
            flux_status!(@handled $handled);
        }
    };
    (@observed observed) => {
        fn observed_generation(&self) -> Option<i64> {
            self.observed_generation
        }

        fn set_observed_generation(&mut self, generation: Option<i64>) {
            self.observed_generation = generation;
        }
    };
    (@observed none) => {
        fn observed_generation(&self) -> Option<i64> {
            $crate::meta::FluxStatus::condition(self, "Ready")?.observed_generation
        }

        fn set_observed_generation(&mut self, _: Option<i64>) {}
    };
    (@handled handled) => {
        fn last_handled_reconcile_at(&self) -> Option<&str> {
            self.last_handled_reconcile_at.as_deref()
        }

        fn set_last_handled_reconcile_at(&mut self, request: Option<String>) {
            self.last_handled_reconcile_at = request;
        }
    };
    (@handled none) => {
        fn last_handled_reconcile_at(&self) -> Option<&str> {
            None
        }

        fn set_last_handled_reconcile_at(&mut self, _: Option<String>) {}
    };
}

pub(crate) use flux_status;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::extensions::ArtifactGenerator;
    use crate::source::{ExternalArtifact, GitRepository};

    fn ready(status: &str) -> serde_json::Value {
        json!({"type": "Ready", "status": status, "reason": "R", "message": "m", "observedGeneration": 3,
            "lastTransitionTime": "2026-01-01T00:00:00Z"})
    }

    fn object<K: serde::de::DeserializeOwned>(status: &serde_json::Value) -> K {
        serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": {}, "status": status}))
            .unwrap()
    }

    #[test]
    fn an_object_is_ready_where_ready_is_true() {
        for (status, want) in [
            (json!({"conditions": [ready("True")]}), true),
            (json!({"conditions": [ready("False")]}), false),
            (json!({"conditions": [ready("odd")]}), false),
            (json!({}), false),
            (json!(null), false),
        ] {
            let repository: GitRepository = object(&status);
            assert_eq!(repository.is_ready(), want, "{status}");
            let artifact: ExternalArtifact = object(&status);
            assert_eq!(artifact.is_ready(), want, "{status}");
        }
    }

    #[test]
    fn kinds_without_observed_generation_go_by_ready() {
        // SW-GEN-023
        let generator: ArtifactGenerator =
            object(&json!({"conditions": [ready("True")], "lastHandledReconcileAt": "now"}));
        let mut status = generator.status.unwrap();
        assert_eq!(status.observed_generation(), Some(3));
        assert_eq!(status.last_handled_reconcile_at(), Some("now"));
        status.set_observed_generation(Some(9));
        status.conditions_mut().clear();
        assert_eq!(status.observed_generation(), None);

        let repository: GitRepository =
            object(&json!({"conditions": [ready("True")], "observedGeneration": 2}));
        let mut status = repository.status.unwrap();
        assert_eq!(status.observed_generation(), Some(2));
        status.set_observed_generation(Some(3));
        status.set_last_handled_reconcile_at(Some("now".to_owned()));
        assert_eq!(status.observed_generation(), Some(3));
        assert_eq!(status.last_handled_reconcile_at(), Some("now"));
    }
}
