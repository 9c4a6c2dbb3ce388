//! The open watches of a wait.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::{self, BoxStream, FuturesUnordered, SelectAll, Stream, StreamExt as _};
use kube::ResourceExt as _;
use kube::api::{Api, DynamicObject, TypeMeta, WatchEvent, WatchParams};
use kube::runtime::utils::Backoff;
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::Value;

use super::expressions::CustomRules;
use super::options::{Rules, Target, WaitError, WaitOptions};
use super::rules::is_current_value;
use super::state::{Board, News};
use crate::cluster::Cluster;
use crate::confidential::Confidential;
use crate::discovery::Resource;
use crate::error::RequestError;
use crate::object::ObjectId;

/// How often objects are assessed again without news: some rules depend on time, a kind may appear, and objects that
/// may not be watched have to be read.
pub(super) const TICK: Duration = Duration::from_secs(5);

/// Up to this many objects of a kind in a namespace are watched one by one, more by one watch on all of them.
const ONE_BY_ONE: usize = 2;

/// A request for the resource of a kind, with the objects of that kind.
type Lookup<'w> = BoxFuture<'w, (Vec<Target>, Result<Resource, RequestError>)>;

/// What [`Watches::next`] returns.
pub(super) enum Next {
    /// News of an object.
    News(News),
    /// The resource of these objects, all of one kind, or the error of its discovery.
    Kind(Vec<Target>, Result<Resource, RequestError>),
}

/// The pauses before a watch is opened again, each twice as long as the one before, up to a [`TICK`]: upstream polls
/// that often, and so notices as soon that a server is back.
struct Pauses {
    next: Duration,
}

/// The first pause.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

impl Default for Pauses {
    fn default() -> Self {
        Self { next: FIRST_PAUSE }
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.next;
        self.next = (pause * 2).min(TICK);
        Some(pause)
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        *self = Self::default();
    }
}

/// The objects of one kind in one namespace, to be watched.
#[derive(Clone)]
struct Watched {
    api: Api<DynamicObject>,
    types: TypeMeta,
    rules: Rules,
    custom: CustomRules,
    confidential: Arc<Confidential>,
}

impl Watched {
    fn is_current(&self, id: &ObjectId, object: &Value) -> bool {
        is_current_value((self.rules, &self.custom), id, object)
    }
}

/// The watches of one wait.
pub(super) struct Watches<'w> {
    cluster: &'w Cluster,
    options: &'w WaitOptions,
    /// Objects whose kind is still unknown.
    missing: Vec<Target>,
    /// Requests for the kinds of objects, in flight.
    lookups: FuturesUnordered<Lookup<'w>>,
    /// Owners whose pods are watched.
    with_pods: BTreeSet<ObjectId>,
    /// Objects that the identity may not watch.
    unwatchable: BTreeSet<ObjectId>,
    /// The version in which each object is watched.
    versions: BTreeMap<ObjectId, Resource>,
    streams: SelectAll<BoxStream<'static, News>>,
}

impl<'w> Watches<'w> {
    pub(super) fn new(cluster: &'w Cluster, targets: &[Target], options: &'w WaitOptions) -> Self {
        Self {
            cluster,
            options,
            missing: targets.to_vec(),
            lookups: FuturesUnordered::new(),
            with_pods: BTreeSet::new(),
            unwatchable: BTreeSet::new(),
            versions: BTreeMap::new(),
            streams: SelectAll::new(),
        }
    }

    /// The next news or kind; pending if nothing is watched or looked up.
    pub(super) async fn next(&mut self) -> Next {
        let Self {
            lookups, streams, ..
        } = self;
        tokio::select! {
            Some((targets, resource)) = lookups.next() => Next::Kind(targets, resource),
            Some(news) = streams.next() => Next::News(news),
            else => std::future::pending().await,
        }
    }

    /// Looks up the kinds of the objects that are not watched yet, each separately: an API group that does not answer
    /// delays no other. A kind that the cluster does not have may appear later, with its CRD (KC-HEALTH-006).
    pub(super) fn look_up_missing(&mut self) {
        let mut kinds: BTreeMap<(String, Option<String>, String), Vec<Target>> = BTreeMap::new();
        for target in std::mem::take(&mut self.missing) {
            let id = &target.id;
            let kind = (id.group.clone(), target.version.clone(), id.kind.clone());
            kinds.entry(kind).or_default().push(target);
        }
        for targets in kinds.into_values() {
            let cluster = self.cluster;
            let lookup = async move {
                let found = match targets.first() {
                    Some(target) => resource_of(cluster, target).await,
                    None => Err(RequestError::local("no object of the kind")),
                };
                (targets, found)
            };
            self.lookups.push(lookup.boxed());
        }
    }

    /// Opens the watches of objects of one kind.
    pub(super) fn open(
        &mut self,
        targets: Vec<Target>,
        resource: Result<Resource, RequestError>,
        board: &mut Board<'_>,
    ) -> Result<(), WaitError> {
        let resource = match resource {
            Ok(resource) => resource,
            Err(error) => {
                for target in &targets {
                    board.take(self.unreadable(&target.id, &error));
                }
                self.missing.extend(targets);
                return Ok(());
            }
        };
        let mut namespaces: BTreeMap<String, Vec<Target>> = BTreeMap::new();
        for target in targets {
            if resource.namespaced && target.id.namespace.is_empty() {
                return Err(WaitError::NoNamespace {
                    resource: resource_name(&resource),
                    name: target.id.name,
                });
            }
            if let Err(error) = Cluster::named(&resource, &target.id) {
                // A request for it can never be made.
                board.take(self.unreadable(&target.id, &error));
                continue;
            }
            let namespace = if resource.namespaced {
                target.id.namespace.clone()
            } else {
                String::new()
            };
            namespaces.entry(namespace).or_default().push(target);
        }
        for (namespace, targets) in namespaces {
            self.watch(&resource, &namespace, targets);
        }
        Ok(())
    }

    /// Watches objects of one kind and namespace.
    fn watch(&mut self, resource: &Resource, namespace: &str, targets: Vec<Target>) {
        let versions = targets.iter().map(|target| &target.id);
        self.versions
            .extend(versions.map(|id| (id.clone(), resource.clone())));
        let Ok(api) = self.cluster.api(resource, namespace) else {
            return;
        };
        let kind = Watched {
            api,
            types: types_of(resource),
            rules: self.options.rules,
            custom: self.options.custom.clone(),
            confidential: self.cluster.confidential().clone(),
        };
        if targets.len() <= ONE_BY_ONE && !self.options.by_kind {
            for target in targets {
                let name = format!("metadata.name={}", field_value(&target.id.name));
                let config = watcher::Config::default().fields(&name);
                let stream = match target.stored {
                    Some(stored) if !kind.is_current(&target.id, &stored) => {
                        changes(kind.clone(), config, name, target.id, &stored)
                    }
                    _ => objects(kind.clone(), config, vec![target.id]),
                };
                self.streams.push(stream);
            }
        } else {
            let ids = targets.into_iter().map(|target| target.id).collect();
            let config = watcher::Config::default();
            let config = match &self.options.selector {
                Some(selector) => config.labels(selector),
                None => config,
            };
            self.streams.push(objects(kind, config, ids));
        }
    }

    /// Marks an object to be read every [`TICK`], since it may not be watched. Returns whether it was not marked
    /// before.
    pub(super) fn read_instead(&mut self, id: &ObjectId) -> bool {
        self.unwatchable.insert(id.clone())
    }

    /// Reads the objects that may not be watched.
    pub(super) async fn read_unwatchable(&mut self, board: &mut Board<'_>) {
        for id in &self.unwatchable {
            let Some(resource) = self.versions.get(id) else {
                continue;
            };
            board.take(match self.cluster.get(resource, id).await {
                Ok(object) => News::Seen(id.clone(), object.into_value()),
                Err(error) if error.is_not_found() => News::Gone(id.clone()),
                Err(error) => self.unreadable(id, &error),
            });
        }
    }

    fn unreadable(&self, id: &ObjectId, error: &RequestError) -> News {
        unreadable(self.cluster.confidential(), id, error)
    }

    /// Watches the pods of owners that are in progress: a failed pod fails its owner.
    pub(super) async fn watch_pods(&mut self, owners: Vec<(ObjectId, Value)>) {
        for (owner, selector) in owners {
            if !self.with_pods.insert(owner.clone()) {
                continue;
            }
            let pod = ObjectId {
                kind: "Pod".to_owned(),
                namespace: owner.namespace.clone(),
                ..ObjectId::default()
            };
            let Ok(resource) = self.cluster.resource_of(&pod, "v1").await else {
                continue;
            };
            let Some(labels) = selector_text(&selector) else {
                continue;
            };
            let Ok(api) = self.cluster.api(&resource, &owner.namespace) else {
                continue;
            };
            self.streams.push(pods(
                api,
                watcher::Config::default().labels(&labels),
                owner,
                types_of(&resource),
            ));
        }
    }
}

/// The kind with its group, as upstream's errors write it.
fn resource_name(resource: &Resource) -> String {
    if resource.group.is_empty() {
        resource.kind.clone()
    } else {
        format!("{}.{}", resource.kind, resource.group)
    }
}

/// News of these objects, all of one kind and namespace.
///
/// If all of them are current when they are listed, the watch, which costs a connection, begins a [`TICK`] later, from
/// the listed state: usually all other objects are current by then.
fn objects(kind: Watched, config: watcher::Config, ids: Vec<ObjectId>) -> BoxStream<'static, News> {
    let events = watcher(kind.api.clone(), config).backoff(Pauses::default());
    news(kind, ids, events)
}

/// News of one object that is not current, from its stored state on. Once the watch ends, for whatever reason, the object is
/// listed and watched like others.
fn changes(
    kind: Watched,
    config: watcher::Config,
    field: String,
    id: ObjectId,
    stored: &Arc<Value>,
) -> BoxStream<'static, News> {
    let mut object = Value::clone(stored);
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    let version = object.pointer("/metadata/resourceVersion");
    let version = version.and_then(Value::as_str).unwrap_or_default();
    let (api, version) = (kind.api.clone(), version.to_owned());
    let first = async move {
        let params = WatchParams::default().fields(&field);
        match api.watch(&params, &version).await {
            Ok(events) => events.boxed(),
            Err(_) => stream::empty().boxed(),
        }
    };
    let first = stream::once(first).flatten();
    let first = first.take_while(|event| {
        let ends = matches!(event, Ok(WatchEvent::Error(_)) | Err(_));
        std::future::ready(!ends)
    });
    let first = first.filter_map(async |event| match event {
        Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
            Some(Ok(watcher::Event::Apply(object)))
        }
        Ok(WatchEvent::Deleted(object)) => Some(Ok(watcher::Event::Delete(object))),
        Ok(WatchEvent::Bookmark(_) | WatchEvent::Error(_)) | Err(_) => None,
    });
    let then = watcher(kind.api.clone(), config).backoff(Pauses::default());
    let seen = News::Seen(id.clone(), object);
    let news = news(kind, vec![id], first.chain(then));
    stream::once(std::future::ready(seen)).chain(news).boxed()
}

/// What events say of these objects.
fn news(
    kind: Watched,
    ids: Vec<ObjectId>,
    events: impl Stream<Item = watcher::Result<watcher::Event<DynamicObject>>> + Send + 'static,
) -> BoxStream<'static, News> {
    let ids: BTreeMap<String, ObjectId> = ids.into_iter().map(|id| (id.name.clone(), id)).collect();
    let mut listed = BTreeSet::new();
    let mut current = 0;
    let news = move |event: watcher::Result<watcher::Event<DynamicObject>>| {
        let listed_all = matches!(event, Ok(watcher::Event::InitDone));
        let news = match event {
            Ok(watcher::Event::Init) => {
                listed.clear();
                current = 0;
                Vec::new()
            }
            Ok(watcher::Event::InitApply(object)) => {
                listed.insert(object.name_any());
                let id = ids.get(&object.name_any());
                let value = id.map(|_| value_of(object, &kind.types));
                if let (Some(id), Some(value)) = (id, &value)
                    && kind.is_current(id, value)
                {
                    current += 1;
                }
                id.cloned()
                    .zip(value)
                    .map(|(id, value)| News::Seen(id, value))
                    .into_iter()
                    .collect()
            }
            Ok(watcher::Event::InitDone) => ids
                .iter()
                .filter(|(name, _)| !listed.contains(*name))
                .map(|(_, id)| News::Gone(id.clone()))
                .collect(),
            Ok(watcher::Event::Apply(object)) => ids
                .get(&object.name_any())
                .map(|id| News::Seen(id.clone(), value_of(object, &kind.types)))
                .into_iter()
                .collect(),
            Ok(watcher::Event::Delete(object)) => ids
                .get(&object.name_any())
                .map(|id| News::Gone(id.clone()))
                .into_iter()
                .collect(),
            Err(error) => {
                let error = error_of(error);
                let news = |id: &ObjectId| {
                    if error.is_forbidden() {
                        News::Unwatchable(id.clone())
                    } else {
                        unreadable(&kind.confidential, id, &error)
                    }
                };
                ids.values().map(news).collect::<Vec<News>>()
            }
        };
        (news, listed_all && current == ids.len())
    };
    events
        .map(news)
        .flat_map(|(news, rests)| stream::iter(news).chain(pause(rests)))
        .boxed()
}

/// The news that an object cannot be read, and why, without confidential values: a proxy or an aggregated API server
/// may quote them.
fn unreadable(confidential: &Confidential, id: &ObjectId, error: &RequestError) -> News {
    let mut message = error.to_string();
    confidential.mask(&mut message, id);
    News::Unreadable(id.clone(), message)
}

/// An empty stream; with `rests` it ends only after one [`TICK`].
fn pause(rests: bool) -> impl Stream<Item = News> {
    let pause = async move {
        if rests {
            tokio::time::sleep(TICK).await;
        }
        stream::empty()
    };
    stream::once(pause).flatten()
}

/// News of the pods of an owner.
fn pods(
    api: Api<DynamicObject>,
    config: watcher::Config,
    owner: ObjectId,
    types: TypeMeta,
) -> BoxStream<'static, News> {
    let news = move |event: watcher::Result<watcher::Event<DynamicObject>>| {
        let owner = owner.clone();
        match event {
            Ok(watcher::Event::InitApply(pod) | watcher::Event::Apply(pod)) => News::Pod {
                owner,
                name: pod.name_any(),
                pod: Some(value_of(pod, &types)),
            },
            Ok(watcher::Event::Delete(pod)) => News::Pod {
                owner,
                name: pod.name_any(),
                pod: None,
            },
            _ => News::Nothing,
        }
    };
    watcher(api, config)
        .backoff(Pauses::default())
        .map(news)
        .boxed()
}

fn types_of(resource: &Resource) -> TypeMeta {
    TypeMeta {
        api_version: resource.api_version(),
        kind: resource.kind.clone(),
    }
}

/// The object as JSON. Items of a list have no kind of their own, without which their rules would not be found.
fn value_of(mut object: DynamicObject, types: &TypeMeta) -> Value {
    object.metadata.managed_fields = None;
    object.types.get_or_insert_with(|| types.clone());
    serde_json::to_value(object).unwrap_or_default()
}

fn error_of(error: watcher::Error) -> RequestError {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => error.into(),
        watcher::Error::WatchError(status) => kube::Error::Api(status).into(),
        watcher::Error::NoResourceVersion => {
            RequestError::local("the server gave no resource version")
        }
    }
}

/// A value, escaped for a field selector.
fn field_value(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '\\' | ',' | '=') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

/// A `spec.selector` as a selector parameter; `None` if it is empty or invalid.
pub(super) fn selector_text(selector: &Value) -> Option<String> {
    let mut parts = Vec::new();
    for (key, value) in selector
        .get("matchLabels")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        parts.push(format!("{key}={}", value.as_str()?));
    }
    for expression in selector
        .get("matchExpressions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let key = expression["key"].as_str()?;
        let values: Vec<&str> = expression["values"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let values = values.join(",");
        parts.push(match expression["operator"].as_str()? {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => return None,
        });
    }
    (!parts.is_empty()).then(|| parts.join(","))
}

async fn resource_of(cluster: &Cluster, target: &Target) -> Result<Resource, RequestError> {
    match &target.version {
        Some(version) => cluster.resource_of(&target.id, version).await,
        None => cluster.preferred_resource_of(&target.id).await,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{field_value, selector_text};

    #[test]
    fn names_are_escaped_in_field_selectors() {
        assert_eq!(field_value("web"), "web");
        assert_eq!(
            field_value("a,metadata.name=b\\"),
            "a\\,metadata.name\\=b\\\\"
        );
    }

    #[test]
    fn label_selectors_are_formatted() {
        let selector = json!({
            "matchLabels": { "app": "db" },
            "matchExpressions": [
                { "key": "tier", "operator": "In", "values": ["a", "b"] },
                { "key": "old", "operator": "DoesNotExist" },
            ],
        });
        assert_eq!(
            selector_text(&selector).unwrap(),
            "app=db,tier in (a,b),!old"
        );
        assert_eq!(
            selector_text(&json!({})),
            None,
            "an empty selector would select every pod"
        );
    }
}
