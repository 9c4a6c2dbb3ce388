//! The sources' spans that this process has sent, so that the spans of what was made of a revision get them as parents.

use std::sync::{Arc, Mutex, PoisonError};

use crate::provider::recent::Recent;

pub(super) type TraceId = [u8; 16];
pub(super) type SpanId = [u8; 8];

/// The span of the source in each of the last traces. Clones of one share what is remembered.
#[derive(Clone, Default)]
pub(crate) struct Traces(Arc<Mutex<Recent<TraceId, SpanId>>>);

impl Traces {
    /// The span that others of the trace belong to, if it is known.
    pub(super) fn root(&self, trace: &TraceId) -> Option<SpanId> {
        let roots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        roots.get(trace).copied()
    }

    /// Notes the span of a source; the first of a trace counts.
    pub(super) fn note_root(&self, trace: TraceId, span: SpanId) {
        let mut roots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if roots.get(&trace).is_none() {
            roots.insert(trace, span);
        }
    }
}
