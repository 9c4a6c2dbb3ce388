//! Watches, and the objects that they reported last: a reflector and its store.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use futures::{StreamExt, TryStreamExt};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use tokio::sync::watch as signal;
use tokio_util::sync::CancellationToken;

use crate::outcome::chain;
use crate::queue::Key;

/// A change of one object, as a watch reports it.
#[derive(Clone, Debug)]
pub enum Change<K> {
    /// It was created. `initial` if the first list had it.
    Added {
        /// The object.
        new: Arc<K>,
        /// Whether it existed before the watch began.
        initial: bool,
    },
    /// It was changed.
    Updated {
        /// Its previous state.
        old: Arc<K>,
        /// Its new state.
        new: Arc<K>,
    },
    /// It was deleted.
    Deleted {
        /// Its last known state.
        old: Arc<K>,
    },
}

impl<K> Change<K> {
    /// The object as last seen.
    pub fn object(&self) -> &Arc<K> {
        match self {
            Self::Added { new, .. } | Self::Updated { new, .. } => new,
            Self::Deleted { old } => old,
        }
    }
}

type Listener<K> = Arc<dyn Fn(&Change<K>) + Send + Sync>;
type Observer<K> = Box<dyn Fn(&Key, Option<&K>) + Send + Sync>;

/// The store of one kind: its objects as the API server last reported them, without their managed fields. Clones share
/// them.
///
/// What this process writes is stored at once ([`Cache::upsert`]), and an older state that arrives late is ignored: a
/// reconcile sees its own writes.
pub struct Cache<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    objects: RwLock<Objects<K>>,
    listeners: RwLock<Vec<Listener<K>>>,
    synced: signal::Sender<bool>,
}

struct Objects<K> {
    by_key: HashMap<Key, Held<K>>,
    observers: Vec<Observer<K>>,
    /// Writes an object as it is held, in a [compact](Cache::compact) cache.
    write: Option<Write<K>>,
}

type Write<K> = fn(&K) -> Option<Box<[u8]>>;

/// An object in a store.
enum Held<K> {
    Object(Arc<K>),
    /// Its JSON.
    Text(Box<[u8]>),
}

impl<K: Watched> Held<K> {
    fn object(&self) -> Option<Arc<K>> {
        match self {
            Self::Object(object) => Some(object.clone()),
            // `text` has read it before.
            Self::Text(text) => serde_json::from_slice(text).ok().map(Arc::new),
        }
    }
}

/// The JSON of an object, if it gives the same object again.
fn text<K: Watched + Serialize + PartialEq>(object: &K) -> Option<Box<[u8]>> {
    let text = serde_json::to_vec(object).ok()?;
    let again: K = serde_json::from_slice(&text).ok()?;
    (again == *object).then(|| text.into())
}

impl<K> Default for Objects<K> {
    fn default() -> Self {
        Self {
            by_key: HashMap::new(),
            observers: Vec::new(),
            write: None,
        }
    }
}

impl<K: Watched> Objects<K> {
    fn insert(&mut self, key: Key, object: Arc<K>) {
        for observer in &self.observers {
            observer(&key, Some(&object));
        }
        let text = self.write.and_then(|write| write(&object));
        let held = text.map_or(Held::Object(object), Held::Text);
        self.by_key.insert(key, held);
    }

    fn remove(&mut self, key: &Key) -> Option<Arc<K>> {
        let removed = self.by_key.remove(key)?;
        for observer in &self.observers {
            observer(key, None);
        }
        removed.object()
    }
}

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self {
            shared: Arc::new(Shared {
                objects: RwLock::default(),
                listeners: RwLock::default(),
                synced: signal::channel(false).0,
            }),
        }
    }
}

/// What can be watched: a typed kind, or the metadata of any kind.
pub trait Watched:
    Resource<DynamicType: Clone>
    + Clone
    + std::fmt::Debug
    + serde::de::DeserializeOwned
    + Send
    + Sync
    + 'static
{
}
impl<K> Watched for K where
    K: Resource<DynamicType: Clone>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

impl<K: Watched> Cache<K> {
    /// A cache that holds its objects as JSON, in a third of the memory, and parses them when they are asked for: for kinds
    /// of which there are thousands, each looked at seldom.
    pub fn compact() -> Self
    where
        K: Serialize + PartialEq,
    {
        let cache = Self::default();
        cache.objects_mut().write = Some(text::<K>);
        cache
    }

    /// The object, if it exists.
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.objects().by_key.get(key).and_then(Held::object)
    }

    /// Whether the object exists.
    pub fn has(&self, key: &Key) -> bool {
        self.objects().by_key.contains_key(key)
    }

    /// Every object, in no particular order.
    pub fn all(&self) -> Vec<Arc<K>> {
        let objects = self.objects();
        objects.by_key.values().filter_map(Held::object).collect()
    }

    fn objects(&self) -> RwLockReadGuard<'_, Objects<K>> {
        let objects = self.shared.objects.read();
        objects.unwrap_or_else(PoisonError::into_inner)
    }

    fn objects_mut(&self) -> RwLockWriteGuard<'_, Objects<K>> {
        let objects = self.shared.objects.write();
        objects.unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `observer` for every object in the store, and then for each that is stored, or removed (`None`), in exactly that
    /// order: for what is derived from the objects and must not miss or confuse states. It is called while the store is
    /// locked, so it must not use the cache.
    pub fn observe(&self, observer: impl Fn(&Key, Option<&K>) + Send + Sync + 'static) {
        let mut objects = self.objects_mut();
        for (key, held) in &objects.by_key {
            observer(key, held.object().as_deref());
        }
        objects.observers.push(Box::new(observer));
    }

    /// Calls `listener` for every later change. It is called within the watch, so it should only store or enqueue.
    pub fn subscribe(&self, listener: impl Fn(&Change<K>) + Send + Sync + 'static) {
        self.shared
            .listeners
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::new(listener));
    }

    /// Returns once the initial list is stored.
    pub async fn synced(&self) {
        // The sender lives as long as the cache does.
        let _ = self
            .shared
            .synced
            .subscribe()
            .wait_for(|synced| *synced)
            .await;
    }

    /// Stores an object that a write returned, unless a newer state is stored already. Returns the object.
    pub fn upsert(&self, object: K) -> Arc<K> {
        self.put(object, false)
    }

    /// Fills the store from `api` until `stop`. Interrupted watches are resumed with back-off.
    pub async fn run(&self, api: Api<K>, config: watcher::Config, stop: CancellationToken) {
        let mut events = watcher(api, config).default_backoff().boxed();
        let mut listed: Option<HashSet<Key>> = None;
        loop {
            let event = tokio::select! {
                // First, since requests end with errors when the process is about to end.
                biased;
                () = stop.cancelled() => return,
                event = events.try_next() => event,
            };
            match event {
                Ok(Some(watcher::Event::Init)) => listed = Some(HashSet::new()),
                Ok(Some(watcher::Event::InitApply(object))) => {
                    if let Some(listed) = &mut listed {
                        listed.insert(Key::of(&object));
                    }
                    let initial = !*self.shared.synced.borrow();
                    self.put(object, initial);
                }
                Ok(Some(watcher::Event::InitDone)) => {
                    if let Some(listed) = listed.take() {
                        self.retain(&listed);
                    }
                    self.shared.synced.send_replace(true);
                }
                Ok(Some(watcher::Event::Apply(object))) => {
                    self.put(object, false);
                }
                Ok(Some(watcher::Event::Delete(object))) => self.drop(&Key::of(&object)),
                Ok(None) => return,
                Err(error) => tracing::error!(
                    logger = "controller-runtime.source",
                    error = interruption(&error),
                    "watch interrupted, listing again"
                ),
            }
        }
    }

    fn put(&self, mut object: K, initial: bool) -> Arc<K> {
        object.meta_mut().managed_fields = None;
        let key = Key::of(&object);
        let new = Arc::new(object);
        let old = {
            let mut objects = self.objects_mut();
            let old = objects.by_key.get(&key).and_then(Held::object);
            if let Some(old) = &old
                && !is_newer(&*new, &**old)
            {
                return new;
            }
            objects.insert(key, new.clone());
            old
        };
        let stored = new.clone();
        self.tell(&match old {
            None => Change::Added { new, initial },
            Some(old) => Change::Updated { old, new },
        });
        stored
    }

    fn drop(&self, key: &Key) {
        let old = self.objects_mut().remove(key);
        if let Some(old) = old {
            self.tell(&Change::Deleted { old });
        }
    }

    fn retain(&self, listed: &HashSet<Key>) {
        let gone: Vec<Key> = {
            let objects = self.objects();
            let keys = objects.by_key.keys();
            keys.filter(|key| !listed.contains(key)).cloned().collect()
        };
        for key in gone {
            self.drop(&key);
        }
    }

    fn tell(&self, change: &Change<K>) {
        let listeners = self
            .shared
            .listeners
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for listener in listeners {
            listener(change);
        }
    }
}

/// What interrupted a watch, without the values of a response that cannot be decoded: kube's own text repeats the text
/// of its source.
fn interruption(error: &watcher::Error) -> String {
    use watcher::Error as E;
    let (step, cause) = match error {
        E::InitialListFailed(error) => ("failed to list", chain(error)),
        E::WatchStartFailed(error) => ("failed to start the watch", chain(error)),
        E::WatchFailed(error) => ("the watch failed", chain(error)),
        E::WatchError(status) => ("the watch failed", status.message.clone()),
        E::NoResourceVersion => return error.to_string(),
    };
    format!("{step}: {cause}")
}

/// Whether `new` is a different and later state than `old`. Versions of one object compare as numbers (KEP-5504); if
/// they are not numbers the later arrival wins, as does a recreated object.
fn is_newer<K: Resource>(new: &K, old: &K) -> bool {
    if new.meta().uid != old.meta().uid {
        return true;
    }
    let version = |object: &K| {
        object
            .resource_version()
            .and_then(|version| version.parse::<u128>().ok())
    };
    match (version(new), version(old)) {
        (Some(new), Some(old)) => new > old,
        _ => new.resource_version() != old.resource_version(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn object(version: &str, uid: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.namespace = Some("ns".into());
        object.metadata.name = Some("a".into());
        object.metadata.uid = Some(uid.into());
        object.metadata.resource_version = Some(version.into());
        object.metadata.managed_fields = Some(vec![]);
        object
    }

    /// The changes that `run` reports when the server lists these names, ends the watch, and lists those.
    async fn told_after_a_relist(
        first: &'static [&'static str],
        second: &'static [&'static str],
    ) -> Vec<String> {
        let lists = Arc::new(Mutex::new(vec![second, first]));
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let lists = lists.clone();
            async move {
                let is_watch = request.uri().query().unwrap_or_default().contains("watch=");
                let ended = r#"{"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "status": "Failure",
                    "message": "too old", "reason": "Expired", "code": 410}}"#;
                let body = if is_watch {
                    format!("{}\n", ended.replace('\n', ""))
                } else {
                    let next = lists.lock().unwrap().pop();
                    let Some(names) = next else {
                        return std::future::pending().await;
                    };
                    let items: Vec<_> = names
                        .iter()
                        .map(|name| serde_json::json!({"metadata": {"name": name, "namespace": "ns", "uid": name, "resourceVersion": "7"}}))
                        .collect();
                    serde_json::json!({"apiVersion": "v1", "kind": "ConfigMapList", "metadata": {"resourceVersion": "7"}, "items": items}).to_string()
                };
                Ok::<_, std::convert::Infallible>(http::Response::new(kube::client::Body::from(
                    body.into_bytes(),
                )))
            }
        });
        let cache: Cache<ConfigMap> = Cache::default();
        let (sender, mut changes) = tokio::sync::mpsc::unbounded_channel();
        cache.subscribe(move |change: &Change<ConfigMap>| {
            let what = match change {
                Change::Added { .. } => "added",
                Change::Updated { .. } => "updated",
                Change::Deleted { .. } => "deleted",
            };
            sender
                .send(format!("{what} {}", change.object().name_any()))
                .unwrap();
        });
        let stop = CancellationToken::new();
        let running = cache.run(
            Api::all(kube::Client::new(service, "ns")),
            watcher::Config::default(),
            stop,
        );
        let mut told = Vec::new();
        let tell = async {
            while let Some(change) = changes.recv().await {
                told.push(change);
            }
        };
        // The third list is never answered.
        let _ = tokio::time::timeout(std::time::Duration::from_mins(10), async {
            tokio::join!(running, tell)
        })
        .await;
        told.sort();
        told
    }

    #[tokio::test(start_paused = true)]
    async fn objects_missing_after_a_relist_are_reported_as_deleted() {
        // RT-WAT-004
        assert_eq!(
            told_after_a_relist(&["a", "b"], &["b", "c"]).await,
            ["added a", "added b", "added c", "deleted a"]
        );
        assert_eq!(
            told_after_a_relist(&["a"], &[]).await,
            ["added a", "deleted a"]
        );
        assert_eq!(told_after_a_relist(&["a"], &["a"]).await, ["added a"]);
    }

    #[test]
    fn observers_see_what_is_stored() {
        let cache = Cache::default();
        cache.put(object("8", "u"), true);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        cache.observe(move |_, object: Option<&ConfigMap>| {
            log.lock()
                .unwrap()
                .push(object.and_then(ResourceExt::resource_version));
        });
        cache.put(object("10", "u"), false);
        cache.put(object("9", "u"), false);
        cache.retain(&HashSet::new());
        cache.retain(&HashSet::new());
        let version = |text: &str| Some(text.to_owned());
        assert_eq!(*seen.lock().unwrap(), [version("8"), version("10"), None]);
    }

    #[test]
    fn a_compact_cache_holds_texts_and_gives_the_same_objects() {
        let cache = Cache::compact();
        let mut first = object("8", "u");
        first.data = Some([("a".to_owned(), "b".to_owned())].into());
        cache.put(first.clone(), true);
        first.metadata.managed_fields = None;
        let key = Key::of(&first);
        let is_text = |held: &Held<ConfigMap>| matches!(held, Held::Text(_));
        assert!(cache.objects().by_key.values().all(is_text));
        assert_eq!(cache.get(&key).as_deref(), Some(&first));
        assert_eq!(cache.all(), [Arc::new(first.clone())]);
        assert!(cache.has(&key) && !cache.has(&Key::new("ns", "other")));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        cache.subscribe(move |change: &Change<ConfigMap>| log.lock().unwrap().push(change.clone()));
        cache.put(object("7", "u"), false);
        cache.put(object("9", "u"), false);
        cache.drop(&key);
        let seen = seen.lock().unwrap();
        let [Change::Updated { old, new }, Change::Deleted { old: last }] = seen.as_slice() else {
            panic!("{seen:?}")
        };
        assert_eq!((&**old, new), (&first, last));
        assert!(!cache.has(&key));
    }

    #[test]
    fn stale_states_are_ignored() {
        let cache = Cache::default();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        cache.subscribe(move |change: &Change<ConfigMap>| {
            log.lock().unwrap().push((
                matches!(change, Change::Added { .. }),
                change.object().resource_version(),
            ));
        });
        cache.put(object("8", "u"), true);
        cache.upsert(object("10", "u"));
        // HC-ACT-013: a run sees what the run before it has written
        cache.put(object("9", "u"), false);
        cache.put(object("10", "u"), false);
        assert_eq!(
            cache
                .get(&Key::new("ns", "a"))
                .unwrap()
                .resource_version()
                .as_deref(),
            Some("10")
        );
        cache.put(object("3", "recreated"), false);
        cache.retain(&HashSet::new());
        let versions: Vec<_> = seen
            .lock()
            .unwrap()
            .iter()
            .map(|(added, version)| (*added, version.clone().unwrap()))
            .collect();
        assert_eq!(
            versions,
            [
                (true, "8".into()),
                (false, "10".into()),
                (false, "3".into()),
                (false, "3".into())
            ]
        );
        assert!(cache.all().is_empty());
    }
}
