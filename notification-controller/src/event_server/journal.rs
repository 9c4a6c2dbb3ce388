//! The events that were accepted and are not sent yet, on the pod's own volume: a process that was killed loses none of
//! them. The file is bounded; what does not fit is sent, but not remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::LOGGER;
use crate::event::Event;

/// The environment variable that names the folder of the journal.
const FOLDER: &str = "NOTIFICATION_JOURNAL";
/// The bytes of all pending events at most.
const LARGEST: usize = 8 << 20;
/// The bytes of the file from which on what is done is removed from it.
const COMPACTED: usize = 2 << 20;
/// The seconds after which a pending event is no news.
const OLDEST: i64 = 3600;

/// The pending events.
pub(crate) struct Journal {
    state: Mutex<State>,
    path: PathBuf,
    /// Keeps other processes away.
    _lock: File,
}

struct State {
    /// `None` once the file could not be written.
    file: Option<File>,
    /// The bytes in the file.
    written: usize,
    /// The bytes of the pending events.
    size: usize,
    next: u64,
    pending: BTreeMap<u64, Pending>,
}

struct Pending {
    at: i64,
    event: String,
    /// The Alerts that are served.
    settled: BTreeSet<String>,
}

impl Pending {
    fn lines(&self, id: u64) -> String {
        let event: Value = serde_json::from_str(&self.event).unwrap_or_default();
        let mut lines = format!("{}\n", json!({"id": id, "at": self.at, "event": event}));
        for alert in &self.settled {
            lines.push_str(&settled_line(id, alert));
        }
        lines
    }
}

fn settled_line(id: u64, alert: &str) -> String {
    format!("{}\n", json!({"id": id, "alert": alert}))
}

/// An accepted event in the journal, or outside of it if there is no journal.
pub(crate) struct Entry {
    journal: Option<Arc<Journal>>,
    id: u64,
}

impl Entry {
    /// Whether an Alert was served before the process ended.
    pub(super) fn is_settled(&self, alert: &str) -> bool {
        self.journal.as_ref().is_some_and(|journal| {
            let state = journal.state();
            let pending = state.pending.get(&self.id);
            pending.is_some_and(|pending| pending.settled.contains(alert))
        })
    }

    /// Notes that an Alert is served: its event is sent, or given up.
    pub(super) fn settle(&self, alert: &str) {
        if let Some(journal) = &self.journal {
            let mut state = journal.state();
            if let Some(pending) = state.pending.get_mut(&self.id) {
                pending.settled.insert(alert.to_owned());
                state.append(&settled_line(self.id, alert));
            }
        }
    }

    /// Notes that all Alerts are served.
    pub(super) fn finish(self) {
        if let Some(journal) = &self.journal {
            let mut state = journal.state();
            if let Some(pending) = state.pending.remove(&self.id) {
                state.size -= pending.event.len();
                state.append(&format!("{}\n", json!({"id": self.id})));
                state.compact(&journal.path);
            }
        }
    }
}

/// What another process has left in a journal.
type Left = Vec<(Event, Entry)>;

impl Journal {
    /// The journal in the folder that the environment names; without, in the pod's folder for temporary files, and outside
    /// of a pod nowhere. Failures are logged: events are sent without a journal, too.
    pub(crate) fn of_process() -> (Option<Arc<Self>>, Left) {
        let named = std::env::var_os(FOLDER).filter(|folder| !folder.is_empty());
        let in_pod = || {
            let inside = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
            inside.then(|| {
                std::env::temp_dir()
                    .join("flux-notification-journal")
                    .into()
            })
        };
        let Some(folder) = named.or_else(in_pod) else {
            return (None, Vec::new());
        };
        match Self::open(Path::new(&folder)) {
            Ok((journal, left)) => (Some(journal), left),
            Err(error) => {
                let error = error.to_string();
                tracing::info!(
                    logger = LOGGER,
                    error,
                    "pending events are not kept on disk"
                );
                (None, Vec::new())
            }
        }
    }

    /// Opens the journal in a folder, with what another process has left in it.
    ///
    /// # Errors
    /// The folder cannot be written, or another process uses it.
    fn open(folder: &Path) -> io::Result<(Arc<Self>, Left)> {
        fs::create_dir_all(folder)?;
        let lock = File::create(folder.join("lock"))?;
        lock.try_lock()
            .map_err(|_| io::Error::other("another process uses the folder"))?;
        let path = folder.join("events");
        let text = match fs::read(&path) {
            Ok(bytes) if bytes.len() <= 2 * LARGEST + COMPACTED => {
                String::from_utf8_lossy(&bytes).into_owned()
            }
            Ok(_) => String::new(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let pending = read(&text, Timestamp::now().as_second());
        let mut state = State {
            file: None,
            written: 0,
            size: pending.values().map(|pending| pending.event.len()).sum(),
            next: pending.keys().next_back().map_or(0, |id| id + 1),
            pending,
        };
        state.rewrite(&path)?;
        let events: Vec<(u64, Event)> = state
            .pending
            .iter()
            .filter_map(|(id, pending)| Some((*id, Event::decode(pending.event.as_bytes()).ok()?)))
            .collect();
        let journal = Arc::new(Self {
            state: Mutex::new(state),
            path,
            _lock: lock,
        });
        let left = events.into_iter().map(|(id, event)| {
            let journal = Some(journal.clone());
            (event, Entry { journal, id })
        });
        let left = left.collect();
        Ok((journal, left))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an event that was accepted.
    pub(super) fn accept(journal: Option<&Arc<Self>>, event: &Event) -> Entry {
        let Some(journal) = journal else {
            return Entry {
                journal: None,
                id: 0,
            };
        };
        let mut state = journal.state();
        let pending = Pending {
            at: Timestamp::now().as_second(),
            event: event.to_json(),
            settled: BTreeSet::new(),
        };
        if state.file.is_none() || state.size + pending.event.len() > LARGEST {
            return Entry {
                journal: None,
                id: 0,
            };
        }
        let id = state.next;
        state.next += 1;
        state.size += pending.event.len();
        state.append(&pending.lines(id));
        state.pending.insert(id, pending);
        Entry {
            journal: Some(journal.clone()),
            id,
        }
    }
}

impl State {
    fn append(&mut self, lines: &str) {
        self.written += lines.len();
        let written = self
            .file
            .as_mut()
            .map(|file| file.write_all(lines.as_bytes()));
        if let Some(Err(error)) = written {
            let error = error.to_string();
            tracing::error!(
                logger = LOGGER,
                error,
                "pending events are no longer kept on disk"
            );
            self.file = None;
        }
    }

    /// Removes what is done from the file, if it has grown.
    fn compact(&mut self, path: &Path) {
        if self.file.is_some()
            && self.written > COMPACTED + 2 * self.size
            && let Err(error) = self.rewrite(path)
        {
            let error = error.to_string();
            tracing::error!(
                logger = LOGGER,
                error,
                "pending events are no longer kept on disk"
            );
            self.file = None;
        }
    }

    fn rewrite(&mut self, path: &Path) -> io::Result<()> {
        let lines: String = self
            .pending
            .iter()
            .map(|(id, pending)| pending.lines(*id))
            .collect();
        let fresh = path.with_extension("new");
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&fresh)?;
        file.write_all(lines.as_bytes())?;
        fs::rename(&fresh, path)?;
        self.written = lines.len();
        self.file = Some(file);
        Ok(())
    }
}

/// The pending events of a file. A line that was not written to its end is left out.
fn read(text: &str, now: i64) -> BTreeMap<u64, Pending> {
    let mut pending: BTreeMap<u64, Pending> = BTreeMap::new();
    for line in text.lines() {
        let Ok(line) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let Some(id) = line["id"].as_u64() else {
            continue;
        };
        if line["event"].is_object() {
            let at = line["at"].as_i64().unwrap_or_default();
            let made = Pending {
                at,
                event: line["event"].to_string(),
                settled: BTreeSet::new(),
            };
            if now - at <= OLDEST {
                pending.insert(id, made);
            }
        } else if let Some(alert) = line["alert"].as_str() {
            if let Some(pending) = pending.get_mut(&id) {
                pending.settled.insert(alert.to_owned());
            }
        } else {
            pending.remove(&id);
        }
    }
    pending
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(message: &str) -> Event {
        Event {
            message: message.to_owned(),
            ..Event::default()
        }
    }

    fn messages(left: &[(Event, Entry)]) -> Vec<&str> {
        left.iter().map(|(event, _)| &*event.message).collect()
    }

    fn folder() -> PathBuf {
        let id = uuid::Uuid::new_v4();
        std::env::temp_dir().join(format!("journal-{id}"))
    }

    #[test]
    fn what_is_pending_survives_the_process() {
        // NC-EVT-057
        let folder = folder();
        let (journal, left) = Journal::open(&folder).unwrap();
        assert!(left.is_empty());
        let one = Journal::accept(Some(&journal), &event("one"));
        let two = Journal::accept(Some(&journal), &event("two"));
        let three = Journal::accept(Some(&journal), &event("three"));
        two.settle("ns/first");
        one.finish();
        assert!(Journal::open(&folder).is_err(), "two processes at once");
        drop((two, three));
        drop(journal);
        let (journal, left) = Journal::open(&folder).unwrap();
        assert_eq!(messages(&left), ["two", "three"]);
        assert!(left[0].1.is_settled("ns/first") && !left[0].1.is_settled("ns/second"));
        // New ones have numbers of their own.
        let four = Journal::accept(Some(&journal), &event("four"));
        for (_, entry) in left {
            entry.finish();
        }
        drop(four);
        drop(journal);
        // What a crash has left in the middle of a line is skipped.
        let path = folder.join("events");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{text}{{\"id\":99,\"at\":1,\"eve")).unwrap();
        let (journal, left) = Journal::open(&folder).unwrap();
        assert_eq!(messages(&left), ["four"]);
        drop((journal, left));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_file_and_the_memory_have_a_bound() {
        let folder = folder();
        let (journal, _) = Journal::open(&folder).unwrap();
        let long = "m".repeat(1 << 20);
        for _ in 0..40 {
            Journal::accept(Some(&journal), &event(&long)).finish();
        }
        let length = fs::metadata(folder.join("events")).unwrap().len();
        assert!(length < 6 << 20, "{length}");
        let mut kept = Vec::new();
        for _ in 0..20 {
            kept.push(Journal::accept(Some(&journal), &event(&long)));
        }
        let journaled = kept.iter().filter(|entry| entry.journal.is_some()).count();
        assert!((6..8).contains(&journaled), "{journaled}");
        kept.into_iter().for_each(Entry::finish);
        assert!(journal.state().pending.is_empty() && journal.state().size == 0);
        drop(journal);
        fs::remove_dir_all(&folder).unwrap();
        // An old event is no news.
        let lines = concat!(
            "{\"id\":1,\"at\":100,\"event\":{}}\n{\"id\":2,\"at\":3701,\"event\":{}}\n",
            "{\"id\":3,\"at\":3701,\"event\":{}}\n{\"id\":3}\nnonsense\n"
        );
        assert_eq!(read(lines, 3701).into_keys().collect::<Vec<_>>(), [2]);
    }
}
