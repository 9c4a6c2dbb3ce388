//! Counts the requests that the API server has served, from its audit log.

use std::fs;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::failure::{Doing, Failure, Result};

/// One request to the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The user.
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or the HTTP method of non-resources.
    pub verb: String,
    /// The resource, with its subresource after a slash; empty for non-resources.
    pub resource: String,
    /// The path and query.
    pub uri: String,
    /// The status code of the response.
    pub code: u64,
    /// When it was received.
    pub came: jiff::Timestamp,
    /// When it was answered; for a watch, when it began.
    pub answered: jiff::Timestamp,
}

/// The requests of one user since a point in time.
pub struct Counter {
    cluster: Cluster,
    user: String,
    from: u64,
}

impl Counter {
    /// Counts the requests of `user` from now on (the name given to [`Cluster::kubeconfig_for`]).
    pub fn start(cluster: &Cluster, user: &str) -> Result<Self> {
        let log = log_of(cluster)?;
        let from = fs::metadata(&log).map_or(0, |found| found.len());
        Ok(Self {
            cluster: cluster.clone(),
            user: user.to_owned(),
            from,
        })
    }

    /// The requests so far. Watches count when they begin, all others when they end.
    pub fn requests(&self) -> Result<Vec<Request>> {
        let log = fs::read(log_of(&self.cluster)?).doing("read the audit log")?;
        let new = log
            .get(self.from as usize..)
            .ok_or_else(|| Failure::new("the audit log was rotated"))?;
        let mut requests = Vec::new();
        for line in new.split(|byte| *byte == b'\n') {
            // The last line may be incomplete.
            let Ok(entry) = serde_json::from_slice::<Value>(line) else {
                continue;
            };
            requests.extend(read(&entry).filter(|request| request.user == self.user));
        }
        Ok(requests)
    }
}

fn log_of(cluster: &Cluster) -> Result<std::path::PathBuf> {
    cluster
        .audit_log()
        .ok_or_else(|| Failure::new("this cluster's requests cannot be counted: it is not local"))
}

fn read(entry: &Value) -> Option<Request> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let verb = text(&entry["verb"]);
    let counted_at = if verb == "watch" {
        "ResponseStarted"
    } else {
        "ResponseComplete"
    };
    if entry["stage"] != counted_at {
        return None;
    }
    let mut resource = text(&entry["objectRef"]["resource"]);
    if let Some(subresource) = entry["objectRef"]["subresource"].as_str() {
        resource = format!("{resource}/{subresource}");
    }
    let time = |key: &str| entry[key].as_str()?.parse().ok();
    Some(Request {
        came: time("requestReceivedTimestamp")?,
        answered: time("stageTimestamp")?,
        user: text(&entry["user"]["username"]),
        verb,
        resource,
        uri: text(&entry["requestURI"]),
        code: entry["responseStatus"]["code"].as_u64().unwrap_or_default(),
    })
}
