//! The sources' spans that this process has sent, so that the spans of what was made of a revision get them as parents.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// How many traces are remembered.
const MANY: usize = 4096;

pub(super) type TraceId = [u8; 16];
pub(super) type SpanId = [u8; 8];

/// The span of the source in each trace. Clones of one share what is remembered.
#[derive(Clone, Default)]
pub(crate) struct Traces(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    roots: HashMap<TraceId, SpanId>,
    order: VecDeque<TraceId>,
}

impl Traces {
    /// The span that others of the trace belong to, if it is known.
    pub(super) fn root(&self, trace: &TraceId) -> Option<SpanId> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.roots.get(trace).copied()
    }

    /// Notes the span of a source; the first of a trace counts.
    pub(super) fn note_root(&self, trace: TraceId, span: SpanId) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.roots.contains_key(&trace) {
            return;
        }
        state.roots.insert(trace, span);
        state.order.push_back(trace);
        if state.order.len() > MANY
            && let Some(oldest) = state.order.pop_front()
        {
            state.roots.remove(&oldest);
        }
    }
}
