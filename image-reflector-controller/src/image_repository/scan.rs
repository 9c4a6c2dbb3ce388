//! Lists the tags of an image, leaves out what is excluded, and stores the rest.

use std::sync::Arc;
use std::time::Instant;

use flux_api::image::ScanResult;
use flux_budget::Claim;
use flux_golang::regexp::Regex;
use flux_registry::RegistryFault;
use flux_runtime::queue::Key;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::failure::ScanError;
use crate::selection::Clock;
use crate::store::Store;
use crate::tags::Tags;

/// How many of the tags are in the status (IR-REPO-029).
const LATEST: usize = 10;
/// The most bytes of an exclusion once it is compiled.
const MAX_EXCLUSION: usize = 256 << 10;

/// What the registry listed in the last scan, and what came of it: if it lists the same again, nothing has to be sorted,
/// compared or written.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    listed: [u8; 32],
    result: ScanResult,
}

/// All tags that the registry lists, in its order.
pub(super) async fn list(client: &flux_oci::Client, claim: &Claim) -> Result<Tags, ScanError> {
    let mut tags = Tags::default();
    let listed = client.each_tag(|tag| tags.push(&tag, claim)).await;
    listed.map_err(|error| ScanError::Registry(RegistryFault::Registry(error)))?;
    Ok(tags)
}

/// What a list of tags becomes.
pub(super) struct Storing {
    /// The list.
    pub(super) listed: Tags,
    /// The expressions for tags that are left out.
    pub(super) exclusions: Vec<String>,
    /// The name of the image.
    pub(super) canonical: String,
    /// The object.
    pub(super) key: Key,
    /// The scan before.
    pub(super) seen: Option<Seen>,
    /// The store.
    pub(super) store: Store,
    /// The memory.
    pub(super) claim: Arc<Claim>,
    /// When it has to be done.
    pub(super) deadline: Instant,
}

impl Storing {
    /// Stores the tags, and returns what the status says of them. Blocks.
    ///
    /// # Errors
    /// [`ScanError`].
    pub(super) fn run(self) -> Result<Seen, ScanError> {
        let listed = self.fingerprint();
        let same = self.seen.as_ref().filter(|seen| seen.listed == listed);
        if let Some(seen) = same
            && self.is_stored(seen.result.revision.as_deref())
        {
            let mut seen = seen.clone();
            seen.result.scan_time = Some(Timestamp::now().into());
            return Ok(seen);
        }
        let tags = self.kept()?;
        let revision = self.store.revision(&tags);
        if Instant::now() >= self.deadline {
            return Err(ScanError::Registry(RegistryFault::Timeout)); // IR-DB-004
        }
        if !self.is_stored(Some(&revision)) {
            let written = self.store.write(&self.key, &tags);
            written.map_err(|source| ScanError::Store {
                canonical: self.canonical.clone(),
                source,
            })?;
        }
        Ok(Seen {
            listed,
            result: ScanResult {
                latest_tags: tags.iter().take(LATEST).map(str::to_owned).collect(),
                revision: Some(revision),
                scan_time: Some(Timestamp::now().into()),
                tag_count: i32::try_from(tags.len()).unwrap_or(i32::MAX),
            },
        })
    }

    /// The digest of what the result depends on.
    fn fingerprint(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(self.listed.lines());
        for pattern in &self.exclusions {
            hasher.update(pattern.len().to_be_bytes());
            hasher.update(pattern);
        }
        hasher.finalize().into()
    }

    /// Whether the store has exactly these tags. Tags that it cannot read are written anew.
    fn is_stored(&self, revision: Option<&str>) -> bool {
        let before = self.claim.held();
        let stored = self.store.read(&self.key, &self.claim);
        self.claim
            .give_back(self.claim.held().saturating_sub(before));
        match stored {
            Ok(Some(stored)) => Some(&*stored.revision) == revision,
            _ => false,
        }
    }

    /// The tags that no expression matches, sorted (IR-REPO-085 to IR-REPO-087).
    fn kept(&self) -> Result<Tags, ScanError> {
        let compile = |pattern: &String| {
            let regex = Regex::compile_within(pattern.as_bytes(), MAX_EXCLUSION);
            regex.map_err(|source| ScanError::Exclusion {
                pattern: pattern.clone(),
                source,
            })
        };
        let exclusions: Vec<Regex> = self
            .exclusions
            .iter()
            .map(compile)
            .collect::<Result<_, _>>()?;
        let clock = Clock::new(self.deadline);
        let keep = |tag: &&str| {
            clock.goes_on() && !exclusions.iter().any(|exclusion| exclusion.is_match(tag))
        };
        let kept = self.listed.sorted(keep, &self.claim)?;
        if clock.has_ended() {
            return Err(ScanError::Registry(RegistryFault::Timeout));
        }
        Ok(kept)
    }
}

impl Seen {
    /// What the status says of the scan.
    pub(super) fn result(&self) -> &ScanResult {
        &self.result
    }
}

#[cfg(test)]
mod tests;
