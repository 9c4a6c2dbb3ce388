//! The objects of a bucket by their ETags, of which its revision is made.

use std::collections::BTreeMap;

use flux_artifact::{Algorithm, Digest};
use flux_budget::{Claim, Exhausted};

/// What an object takes in memory, besides its key and its ETag.
const OBJECT_BYTES: u64 = 160;

/// Each object's ETag and size by its key.
#[derive(Debug)]
pub(super) struct Index {
    objects: BTreeMap<String, Object>,
    claim: Claim,
}

/// What is known of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) etag: String,
    pub(super) size: u64,
}

impl Index {
    /// An empty index that takes its memory through `claim`.
    pub(super) fn new(claim: Claim) -> Self {
        Self {
            objects: BTreeMap::new(),
            claim,
        }
    }

    /// Adds an object, or replaces it.
    pub(super) fn add(&mut self, key: String, object: Object) -> Result<(), Exhausted> {
        let bytes = (key.len() + object.etag.len()) as u64;
        self.claim.take(bytes + OBJECT_BYTES)?;
        self.objects.insert(key, object);
        Ok(())
    }

    /// Removes an object that is gone.
    pub(super) fn remove(&mut self, key: &str) {
        self.objects.remove(key);
    }

    /// The object of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Object> {
        self.objects.get(key)
    }

    /// Every object, by key.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Object)> {
        self.objects.iter()
    }

    /// How many objects there are.
    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    /// The bytes that the index takes.
    pub(super) fn bytes(&self) -> u64 {
        self.claim.held()
    }

    /// The claim of the index.
    pub(super) fn claim(&self) -> &Claim {
        &self.claim
    }

    /// The digest over a line of key and ETag for each object, sorted by key (SC-BKT-030).
    pub(super) fn digest(&self, algorithm: Algorithm) -> Digest {
        let mut hasher = algorithm.hasher();
        for (key, object) in &self.objects {
            for part in [key.as_str(), " ", &object.etag, "\n"] {
                hasher.update(part.as_bytes());
            }
        }
        hasher.finish()
    }

    /// Whether a revision is that of these objects, by its own algorithm (SC-BKT-031).
    pub(super) fn is_at(&self, revision: &str) -> bool {
        let digest: Option<Digest> = revision.parse().ok();
        digest.is_some_and(|digest| self.digest(digest.algorithm()) == digest)
    }
}

#[cfg(test)]
mod tests {
    use flux_budget::Budget;

    use super::*;

    fn index(objects: &[(&str, &str)]) -> Index {
        let mut index = Index::new(Claim::unlimited());
        for (key, etag) in objects {
            let object = Object {
                etag: (*etag).to_owned(),
                size: 0,
            };
            index.add((*key).to_owned(), object).unwrap();
        }
        index
    }

    // SC-BKT-030: what `printf 'a 2\nb/c 1\n' | sha256sum` prints
    #[test]
    fn the_digest_is_that_of_the_sorted_lines() {
        let objects = index(&[("b/c", "1"), ("a", "2")]);
        assert_eq!(
            objects.digest(Algorithm::Sha256),
            Algorithm::Sha256.digest(b"a 2\nb/c 1\n")
        );
        assert_eq!(
            index(&[]).digest(Algorithm::Sha256).to_string(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    // SC-BKT-031: a revision of another algorithm is compared by it
    #[test]
    fn a_revision_is_compared_by_its_own_algorithm() {
        let objects = index(&[("a", "1")]);
        for algorithm in Algorithm::ALL {
            assert!(objects.is_at(&objects.digest(algorithm).to_string()));
        }
        assert!(!objects.is_at(&index(&[("a", "2")]).digest(Algorithm::Sha256).to_string()));
        assert!(!objects.is_at("") && !objects.is_at("sha256:0"));
    }

    #[test]
    fn the_index_takes_its_memory_from_the_budget() {
        let budget = Budget::new(1000);
        let mut index = Index::new(budget.claim());
        let object = Object {
            etag: "1".to_owned(),
            size: 0,
        };
        let added = (0..).map(|number| index.add(number.to_string(), object.clone()));
        assert_eq!(added.take_while(Result::is_ok).count(), 6);
    }
}
