//! Assigns occurrences to Kubernetes events: repeats are counted, floods aggregated, spam dropped (RT-EVT-016,
//! RT-EVT-017), with the limits of Kubernetes' own event recorder.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::time::Duration;

use jiff::Timestamp;

/// How many different messages of similar events within [`WINDOW`] are written before they are aggregated.
const MAX_SIMILAR: usize = 10;
/// How long similar events are counted together.
const WINDOW: Duration = Duration::from_mins(10);
/// How many events of one object may occur in a burst.
const BURST: f64 = 25.0;
/// Seconds after which one more is allowed.
const REFILL: f64 = 300.0;
/// How many objects and events are remembered; beyond that, the oldest are dropped.
const REMEMBERED: usize = 4_096;
/// The prefix of the message of aggregated events.
const COMBINED: &str = "(combined from similar events): ";

/// What identifies an occurrence, apart from its time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sort {
    /// The object, by UID and version of its kind.
    pub(super) object: String,
    pub(super) warning: bool,
    pub(super) reason: &'static str,
}

/// What to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict<Id> {
    /// A new event with this message.
    Create(String),
    /// One more occurrence of an event that was written before.
    Count { id: Id, count: i32, message: String },
    /// Nothing: the object has exceeded its rate.
    Drop,
}

/// The events that were written before. `Id` names a written event.
///
/// They are remembered by digests: the texts of thousands of events would take megabytes.
pub(super) struct Correlator<Id> {
    digests: Digests,
    /// The different messages of each sort, and when the last occurred.
    similar: Memory<Digest, (Vec<Digest>, Timestamp)>,
    budget: Memory<Digest, (f64, Timestamp)>,
    /// By sort and message.
    written: Memory<Digest, (Id, i32)>,
}

/// A digest that is valid in this process only.
type Digest = [u64; 2];

#[derive(Default)]
struct Digests([RandomState; 2]);

impl Digests {
    fn of(&self, value: impl Hash) -> Digest {
        self.0.each_ref().map(|state| state.hash_one(&value))
    }
}

impl<Id: Clone> Correlator<Id> {
    pub(super) fn new() -> Self {
        Self {
            digests: Digests::default(),
            similar: Memory::new(),
            budget: Memory::new(),
            written: Memory::new(),
        }
    }

    /// Decides what to write for an occurrence of `sort` with `message` at `now`.
    pub(super) fn judge(&mut self, sort: &Sort, message: String, now: Timestamp) -> Verdict<Id> {
        let similar = self.digests.of(sort);
        let (messages, last) = self.similar.entry(similar, || (Vec::new(), now));
        if now.duration_since(*last).unsigned_abs() > WINDOW {
            messages.clear();
        }
        *last = now;
        let digest = self.digests.of(&message);
        // Beyond one more than the limit enough is known.
        if messages.len() <= MAX_SIMILAR && !messages.contains(&digest) {
            messages.push(digest);
        }
        let collapsed = messages.len() > MAX_SIMILAR;
        let message = if collapsed {
            format!("{COMBINED}{message}")
        } else {
            message
        };

        let object = self.digests.of(&sort.object);
        let (tokens, since) = self.budget.entry(object, || (BURST, now));
        let gained = now.duration_since(*since).as_secs_f64().max(0.0) / REFILL;
        (*tokens, *since) = ((*tokens + gained).min(BURST), now);
        if *tokens < 1.0 {
            return Verdict::Drop;
        }
        *tokens -= 1.0;

        let key = self.key(sort, &message);
        match self.written.get_mut(&key) {
            Some((id, count)) => {
                *count += 1;
                Verdict::Count {
                    id: id.clone(),
                    count: *count,
                    message,
                }
            }
            None => Verdict::Create(message),
        }
    }

    /// Records that the event `id` was created for an occurrence with `message`.
    pub(super) fn wrote(&mut self, sort: &Sort, message: &str, id: Id) {
        let key = self.key(sort, message);
        self.written.remove(&key);
        self.written.entry(key, || (id, 1));
    }

    /// Forgets the event that [`Verdict::Count`] named: the server no longer has it.
    pub(super) fn lost(&mut self, sort: &Sort, message: &str) {
        self.written.remove(&self.key(sort, message));
    }

    /// The key of a written event: those that are aggregated are one, whatever their message.
    fn key(&self, sort: &Sort, message: &str) -> Digest {
        let is_combined = message.starts_with(COMBINED);
        let text = if is_combined { COMBINED } else { message };
        self.digests.of((sort, text))
    }
}

/// A map of bounded size: when it is full, the older half is dropped.
struct Memory<K, V> {
    recent: HashMap<K, V>,
    older: HashMap<K, V>,
}

impl<K: Eq + Hash + Clone, V> Memory<K, V> {
    fn new() -> Self {
        Self {
            recent: HashMap::new(),
            older: HashMap::new(),
        }
    }

    fn refresh(&mut self, key: &K) {
        if let Some((key, value)) = self.older.remove_entry(key) {
            self.recent.insert(key, value);
        }
        if self.recent.len() > REMEMBERED / 2 {
            self.older = std::mem::take(&mut self.recent);
            if let Some((key, value)) = self.older.remove_entry(key) {
                self.recent.insert(key, value);
            }
        }
    }

    fn entry(&mut self, key: K, new: impl FnOnce() -> V) -> &mut V {
        self.refresh(&key);
        self.recent.entry(key).or_insert_with(new)
    }

    fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.refresh(key);
        self.recent.get_mut(key)
    }

    fn remove(&mut self, key: &K) {
        self.recent.remove(key);
        self.older.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sort() -> Sort {
        Sort {
            object: "u".into(),
            warning: false,
            reason: "R",
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn repeated_events_are_counted() {
        // RT-EVT-016
        let mut correlator = Correlator::new();
        assert_eq!(
            correlator.judge(&sort(), "m".into(), at(0)),
            Verdict::Create("m".into())
        );
        correlator.wrote(&sort(), "m", 7);
        assert_eq!(
            correlator.judge(&sort(), "m".into(), at(1)),
            Verdict::Count {
                id: 7,
                count: 2,
                message: "m".into()
            }
        );
        correlator.lost(&sort(), "m");
        assert_eq!(
            correlator.judge(&sort(), "m".into(), at(2)),
            Verdict::Create("m".into())
        );
    }

    #[test]
    fn similar_events_are_aggregated() {
        // RT-EVT-016
        let mut correlator = Correlator::new();
        for n in 0..10 {
            let message = format!("m{n}");
            assert_eq!(
                correlator.judge(&sort(), message.clone(), at(n)),
                Verdict::Create(message.clone())
            );
            correlator.wrote(&sort(), &message, 1);
        }
        let first = Verdict::Create("(combined from similar events): m10".to_owned());
        assert_eq!(correlator.judge(&sort(), "m10".into(), at(10)), first);
        correlator.wrote(&sort(), "(combined from similar events): m10", 2);
        let next = Verdict::Count {
            id: 2,
            count: 2,
            message: "(combined from similar events): m11".into(),
        };
        assert_eq!(correlator.judge(&sort(), "m11".into(), at(11)), next);
        assert_eq!(
            correlator.judge(&sort(), "m12".into(), at(11 + 601)),
            Verdict::Create("m12".into()),
            "the window is over"
        );
    }

    #[test]
    fn events_beyond_the_rate_limit_are_dropped() {
        // RT-EVT-017
        let mut correlator = Correlator::new();
        for _ in 0..25 {
            assert_ne!(correlator.judge(&sort(), "m".into(), at(0)), Verdict::Drop);
            correlator.wrote(&sort(), "m", 1);
        }
        assert_eq!(
            correlator.judge(&sort(), "m".into(), at(299)),
            Verdict::Drop
        );
        assert_ne!(
            correlator.judge(&sort(), "m".into(), at(301)),
            Verdict::Drop
        );
    }

    #[test]
    fn the_number_of_tracked_events_is_bounded() {
        let mut memory = Memory::new();
        for n in 0..100_000 {
            *memory.entry(n, || 0) += 1;
        }
        assert!(memory.recent.len() + memory.older.len() <= REMEMBERED + 2);
        assert_eq!(memory.get_mut(&99_999), Some(&mut 1));
    }
}
