//! The commit statuses that this process has set last, so that a service is not asked for what is known (FR-N-029).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

use super::recent::Recent;
use super::send::Exchange;

type Hash = [u8; 32];

/// Statuses that were set, by what they are of. Clones of one share what is remembered.
#[derive(Clone, Default)]
pub(crate) struct Posted {
    last: Arc<Mutex<Recent<Hash, Hash>>>,
    /// Whose statuses they are: the same commit has one of each Provider and object.
    of: String,
}

impl Posted {
    /// The statuses of one Provider with this identity.
    pub(crate) fn of(&self, provider: &str, status: &str) -> Self {
        Self {
            last: self.last.clone(),
            of: format!("{provider}\n{status}"),
        }
    }

    fn last(&self) -> MutexGuard<'_, Recent<Hash, Hash>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a request sets, and to what.
    fn hashes(&self, request: &Exchange) -> (Hash, Hash) {
        let key = format!("{}\n{}", self.of, request.address);
        (
            Sha256::digest(key).into(),
            Sha256::digest(&request.body).into(),
        )
    }

    /// Whether a request would set what was set last.
    pub(super) fn is_last(&self, request: &Exchange) -> bool {
        let (key, value) = self.hashes(request);
        self.last().get(&key) == Some(&value)
    }

    /// Notes what a request has set.
    pub(super) fn note(&self, request: &Exchange) {
        let (key, value) = self.hashes(request);
        self.last().insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use serde_json::json;

    use super::super::recent::MANY;
    use super::*;

    #[test]
    fn the_last_status_of_each_provider_is_known() {
        // FR-N-029
        let all = Posted::default();
        let (one, two) = (all.of("uid-1", "a"), all.of("uid-2", "a"));
        let post = |commit: &str, state: &str| {
            Exchange::new(Method::POST, format!("https://h/{commit}"))
                .json(&json!({"state": state}))
        };
        assert!(!one.is_last(&post("c1", "success")));
        one.note(&post("c1", "success"));
        assert!(one.is_last(&post("c1", "success")));
        for other in [post("c1", "failure"), post("c2", "success")] {
            assert!(!one.is_last(&other));
        }
        assert!(!two.is_last(&post("c1", "success")));
        one.note(&post("c1", "failure"));
        assert!(!one.is_last(&post("c1", "success")));
        for number in 0..=MANY {
            one.note(&post(&format!("c{number}"), "success"));
        }
        assert!(all.last().len() <= MANY);
    }
}
