//! Which events are duplicates: one of each key passes in an interval (NC-EVT-023 to NC-EVT-026).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::event::Event;

/// The most keys that are remembered; the one that was seen first is forgotten for another.
const MAX_KEYS: usize = 100_000;

/// The hash of what makes an event the same as another.
pub(crate) type Key = [u8; 32];

/// The key of an event: its object, its message, and its revisions and token (NC-EVT-023, NC-EVT-024). Unless `exact`,
/// what varies in the message from one failure to the next does not count (FR-N-030).
pub(crate) fn key(event: &Event, exact: bool) -> Key {
    let object = &event.involved_object;
    let message = if exact {
        event.message.clone()
    } else {
        constant(&event.message)
    };
    let mut parts = vec![
        "event".to_owned(),
        format!("name={}", object.name),
        format!("namespace={}", object.namespace),
        format!("kind={}", object.kind),
        format!("message={message}"),
    ];
    for key in ["originRevision", "revision", "token"] {
        if let Some(value) = event.of_group(key) {
            parts.push(format!("{key}={value}"));
        }
    }
    Sha256::digest(parts.join("/")).into()
}

/// A message with `#` in place of identifiers, times and durations.
fn constant(message: &str) -> String {
    let is_part = |char: char| char.is_ascii_alphanumeric() || "-_:.+".contains(char);
    let mut constant = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|char| !is_part(char)).unwrap_or(rest.len());
        if word == 0 {
            constant.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (found, after) = rest.split_at(word);
        let trimmed = found.trim_end_matches(['.', ':', '-', '+']);
        if varies(trimmed) {
            constant.push('#');
            constant.push_str(&found[trimmed.len()..]);
        } else {
            constant.push_str(found);
        }
        rest = after;
    }
    constant
}

/// Whether a word is an identifier, a time or a duration.
fn varies(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let is_hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let uuid = word.len() == 36 && word.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && {
        word.split('-').all(is_hex)
    };
    let long_hex = word.len() >= 16 && digits > 0 && is_hex(word);
    let pointer = word
        .strip_prefix("0x")
        .is_some_and(|rest| !rest.is_empty() && is_hex(rest));
    let time = word.parse::<jiff::Timestamp>().is_ok();
    let units = ["ns", "us", "ms", "s", "m", "h"];
    let duration = word.starts_with(|char: char| char.is_ascii_digit())
        && units.iter().any(|unit| word.ends_with(unit))
        && word
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b".nusmh".contains(&byte));
    uuid || long_hex || pointer || time || duration
}

/// Whether an event passes, and how long its window still is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Whether it passes.
    pub(crate) passes: bool,
    /// When the next one passes.
    pub(crate) reset: Duration,
}

/// The events that were seen lately.
pub(crate) struct Limiter {
    interval: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    buckets: HashMap<Key, Bucket>,
    swept: Option<Instant>,
}

struct Bucket {
    /// When the key was first seen: windows are aligned to it (NC-EVT-025).
    first: Instant,
    /// The window in which an event last passed.
    window: u128,
    last: Instant,
}

impl Limiter {
    /// One event per key and `interval`, which is a second if it is zero (NC-PROC-006).
    pub(crate) fn new(interval: Duration) -> Self {
        let interval = if interval.is_zero() {
            Duration::from_secs(1)
        } else {
            interval
        };
        Self {
            interval,
            state: Mutex::default(),
        }
    }

    /// Takes the one token of the key's window, if it is still there.
    pub(crate) fn take(&self, key: Key, now: Instant) -> Verdict {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.sweep(self.interval, now);
        if state.buckets.len() >= MAX_KEYS && !state.buckets.contains_key(&key) {
            let oldest = state.buckets.iter().min_by_key(|(_, bucket)| bucket.last);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                state.buckets.remove(&oldest);
            }
        }
        let mut passes = false;
        let bucket = state.buckets.entry(key).or_insert_with(|| {
            passes = true;
            Bucket {
                first: now,
                window: 0,
                last: now,
            }
        });
        bucket.last = now;
        let elapsed = now.saturating_duration_since(bucket.first);
        let window = elapsed.as_nanos() / self.interval.as_nanos();
        if window > bucket.window {
            bucket.window = window;
            passes = true;
        }
        let into = elapsed.as_nanos() % self.interval.as_nanos();
        let left = self.interval.as_nanos() - into;
        Verdict {
            passes,
            reset: Duration::from_nanos(u64::try_from(left).unwrap_or(u64::MAX)),
        }
    }
}

impl State {
    /// Forgets, once in an interval, what was not seen for two (NC-EVT-026).
    fn sweep(&mut self, interval: Duration, now: Instant) {
        let swept = *self.swept.get_or_insert(now);
        if now.saturating_duration_since(swept) < interval {
            return;
        }
        self.swept = Some(now);
        self.buckets
            .retain(|_, bucket| now.saturating_duration_since(bucket.last) <= 2 * interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain_key(event: &Event) -> Key {
        key(event, true)
    }

    #[test]
    fn what_varies_in_messages_may_be_left_out_of_the_key() {
        // FR-N-030
        for (message, want) in [
            (
                "api error: RequestID: 804c9f1e-0b1a-4c5e-9d7a-1f2e3d4c5b6a, after 2.08s.",
                "api error: RequestID: #, after #.",
            ),
            (
                "at 2026-08-01T10:00:00Z (0xc000123) of 0123456789abcdef0123",
                "at # (#) of #",
            ),
            (
                "port 8080, app-1.2.3 in v1: 17 é",
                "port 8080, app-1.2.3 in v1: 17 é",
            ),
            ("deadbeefdeadbeef 3m20s 300ms", "deadbeefdeadbeef # #"),
        ] {
            assert_eq!(constant(message), want);
        }
        let of = |message: &str| event(&[("message", message)]);
        let (one, two) = (of("RequestID: 0xab"), of("RequestID: 0xcd"));
        assert_eq!(key(&one, false), key(&two, false));
        assert_ne!(key(&one, true), key(&two, true));
    }

    fn event(changes: &[(&str, &str)]) -> Event {
        let mut event = Event::decode(
            br#"{"involvedObject":{"kind":"K","namespace":"ns","name":"n","apiVersion":"g.io/v1"},"message":"m"}"#,
        )
        .unwrap();
        for (field, value) in changes {
            let value = (*value).to_owned();
            match *field {
                "name" => event.involved_object.name = value,
                "namespace" => event.involved_object.namespace = value,
                "kind" => event.involved_object.kind = value,
                "uid" => event.involved_object.uid = value,
                "message" => event.message = value,
                "severity" => event.severity = value,
                "reason" => event.reason = value,
                "controller" => event.reporting_controller = value,
                "timestamp" => event.timestamp = Some(5),
                key => {
                    event.metadata.insert(key.to_owned(), value);
                }
            }
        }
        event
    }

    #[test]
    fn object_message_revisions_and_token_make_the_key() {
        // NC-EVT-023
        let plain = plain_key(&event(&[]));
        assert_eq!(
            hex::encode(plain),
            hex::encode(Sha256::digest("event/name=n/namespace=ns/kind=K/message=m"))
        );
        let all = event(&[
            ("g.io/token", "t"),
            ("g.io/revision", "r"),
            ("g.io/originRevision", "o"),
        ]);
        assert_eq!(
            hex::encode(plain_key(&all)),
            hex::encode(Sha256::digest(
                "event/name=n/namespace=ns/kind=K/message=m/originRevision=o/revision=r/token=t"
            ))
        );
        for field in ["name", "namespace", "kind", "message"] {
            assert_ne!(plain_key(&event(&[(field, "x")])), plain, "{field}");
        }
        // NC-EVT-024
        for field in [
            "severity",
            "reason",
            "uid",
            "controller",
            "timestamp",
            "g.io/other",
            "event.toolkit.fluxcd.io/revision",
            "other.io/revision",
        ] {
            assert_eq!(plain_key(&event(&[(field, "x")])), plain, "{field}");
        }
        // FR-N-035
        assert_ne!(
            plain_key(&event(&[("g.io/revision", "1")])),
            plain_key(&event(&[("g.io/revision", "2")]))
        );
    }

    #[test]
    fn windows_are_fixed_and_aligned_to_the_first_event() {
        // NC-EVT-025
        let minute = Duration::from_mins(1);
        let limiter = Limiter::new(5 * minute);
        let start = Instant::now();
        let take = |minutes: u32| limiter.take([1; 32], start + minutes * minute);
        let verdict = |passes, reset: u32| Verdict {
            passes,
            reset: reset * minute,
        };
        assert_eq!(take(0), verdict(true, 5));
        assert_eq!(take(1), verdict(false, 4));
        assert_eq!(take(4), verdict(false, 1));
        assert_eq!(take(7), verdict(true, 3));
        // A sliding window would not let this one pass.
        assert_eq!(take(10), verdict(true, 5));
        assert_eq!(take(14), verdict(false, 1));
        assert!(limiter.take([2; 32], start + 14 * minute).passes);
        // NC-PROC-006
        let second = Limiter::new(Duration::ZERO);
        assert_eq!(second.take([1; 32], start).reset, Duration::from_secs(1));
    }

    #[test]
    fn idle_keys_are_forgotten() {
        // NC-EVT-026
        let interval = Duration::from_secs(10);
        let limiter = Limiter::new(interval);
        let start = Instant::now();
        limiter.take([1; 32], start);
        let known = |at: u32| {
            limiter.take([2; 32], start + at * Duration::from_secs(1));
            limiter.state.lock().unwrap().buckets.contains_key(&[1; 32])
        };
        assert!(known(20));
        assert!(!known(31));
    }
}
