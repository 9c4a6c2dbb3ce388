//! `lookup` in templates, with objects from the cluster.

use std::sync::Arc;
use std::time::Duration;

use flux_cluster::{Cluster, ObjectId, RequestError, Resource};
use flux_errors::chain;
use flux_helm::{Lookup, ParsedChart, RenderError, RenderOptions, Rendered, Values};
use flux_yaml::{Value, json};
use kube::api::ListParams;
use tokio::runtime::Handle;

use crate::convert::value_of;
use crate::error::LookupError;
use crate::kinds::group_and_version;
use crate::schemas::SchemaDocuments;

/// The size limit in bytes of the objects of one lookup.
pub const MAX_LOOKUP_BYTES: usize = 64 * 1024 * 1024;

/// How long one lookup may take.
const TIMEOUT: Duration = Duration::from_mins(1);

/// How many objects one response to a list request has.
const PAGE: u32 = 250;

/// Renders a chart whose templates may look up objects on a cluster, and whose schemas may refer to `documents`, on a
/// thread of its own.
///
/// # Errors
/// As [`ParsedChart::render`], except for [`RenderError::Needs`]: a document that cannot be fetched fails the schema
/// that refers to it.
pub async fn render(
    cluster: &Cluster,
    chart: ParsedChart,
    values: Values,
    mut options: RenderOptions,
    documents: &SchemaDocuments,
) -> Result<Rendered, RenderError> {
    options.lookup = Arc::new(ClusterLookup::new(cluster.clone()));
    documents.render(chart, values, options).await
}

/// Looks up objects on a cluster, with the identity of its client (HE-ENG-014, HE-ENG-015). It blocks until the
/// response, so templates that use it must be rendered on a thread that may block, as [`render`] does.
pub struct ClusterLookup {
    cluster: Cluster,
    runtime: Handle,
}

impl ClusterLookup {
    /// Must be called on the runtime that sends the requests.
    pub fn new(cluster: Cluster) -> Self {
        Self {
            cluster,
            runtime: Handle::current(),
        }
    }

    async fn find(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Value, LookupError> {
        let unknown = |source| LookupError::Kind {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            source,
        };
        let not_served = || unknown(RequestError::local(NOT_SERVED));
        let Some((group, version)) = group_and_version(api_version) else {
            return Err(not_served());
        };
        let discovery = self.cluster.discovery();
        let resource = discovery.find(group, version, kind).await;
        let Some(resource) = resource.map_err(unknown)? else {
            let served = discovery.serves(group, version).await;
            return match (served.map_err(unknown)?, name) {
                (false, _) => Err(not_served()),
                (true, "") => Ok(self.versions().await?),
                (true, _) => Ok(Value::map()),
            };
        };
        let found = if name.is_empty() {
            self.list(&resource, namespace).await
        } else {
            let id = ObjectId {
                group: resource.group.clone(),
                kind: resource.kind.clone(),
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            };
            let found = self.cluster.get(&resource, &id).await;
            found.map(|live| value_of(&live))
        };
        match found {
            Err(error) if error.is_not_found() => Ok(Value::map()),
            found => Ok(found?),
        }
    }

    /// Upstream's result for a list of a kind that the cluster does not have: it requests a list without a resource,
    /// and gets the versions of the core group.
    async fn versions(&self) -> Result<Value, RequestError> {
        let versions = self.cluster.client().list_core_api_versions().await?;
        let text = serde_json::to_string(&versions).unwrap_or_default();
        let mut list = json::from_str(text).unwrap_or_default();
        if let Value::Map(map) = &mut list {
            map.shift_remove("apiVersion");
            map.insert("items".to_owned(), Value::Seq(Vec::new()));
        }
        Ok(list)
    }

    /// All objects of a kind as one list, read in pages.
    async fn list(&self, resource: &Resource, namespace: &str) -> Result<Value, RequestError> {
        let namespace = (resource.namespaced && !namespace.is_empty()).then_some(namespace);
        let mut params = ListParams::default().limit(PAGE);
        let (mut list, mut items, mut bytes) = (None, Vec::new(), 0);
        loop {
            let text = self.cluster.list_text(resource, namespace, &params).await?;
            bytes += text.len();
            if bytes > MAX_LOOKUP_BYTES {
                let kind = &resource.kind;
                return Err(RequestError::local(format!(
                    "the list of {kind} has more than {MAX_LOOKUP_BYTES} bytes: look up single objects"
                )));
            }
            let mut page = json::from_str(text).map_err(|_| {
                RequestError::local("the server's answer to a lookup is not the JSON of a list")
            })?;
            page.kubernetes_numbers();
            items.extend(taken_items(&mut page, resource));
            let token = next_page(&mut page);
            list.get_or_insert(page);
            match token {
                Some(token) => params = params.continue_token(&token),
                None => break,
            }
        }
        let mut list = list.unwrap_or_else(Value::map);
        if let Value::Map(map) = &mut list {
            map.insert("items".to_owned(), Value::Seq(items));
        }
        Ok(list)
    }
}

/// The error of client-go for a version that the cluster does not serve.
const NOT_SERVED: &str = "the server could not find the requested resource";

impl Lookup for ClusterLookup {
    fn lookup(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Value, String> {
        let found = self.find(api_version, kind, namespace, name);
        self.runtime
            .block_on(async {
                let timely = tokio::time::timeout(TIMEOUT, found).await;
                timely.unwrap_or(Err(LookupError::TimedOut))
            })
            .map_err(|error| chain(&error))
    }
}

/// The items of a page, each with `apiVersion` and `kind` as in client-go.
fn taken_items(page: &mut Value, resource: &Resource) -> Vec<Value> {
    let items = page.as_map_mut().and_then(|map| map.get_mut("items"));
    let Some(Value::Seq(mut items)) = items.map(std::mem::take) else {
        return Vec::new();
    };
    for item in &mut items {
        if let Value::Map(item) = item {
            for (key, value) in [
                ("apiVersion", resource.api_version()),
                ("kind", resource.kind.clone()),
            ] {
                item.entry(key.to_owned()).or_insert(Value::String(value));
            }
        }
    }
    items
}

/// The token of the next page, which is removed from the list.
fn next_page(page: &mut Value) -> Option<String> {
    let metadata = page.as_map_mut()?.get_mut("metadata")?.as_map_mut()?;
    metadata.shift_remove("remainingItemCount");
    let token = metadata.shift_remove("continue")?;
    token
        .as_str()
        .filter(|token| !token.is_empty())
        .map(ToOwned::to_owned)
}
