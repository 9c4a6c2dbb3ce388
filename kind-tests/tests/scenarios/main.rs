//! From a Git commit to objects on a cluster, from the user's point of view. Each scenario has its own controllers and
//! namespace on the shared cluster.

mod annotations;
mod api_server;
mod bad_input;
mod bucket;
mod cli;
mod definitions;
mod downloads;
mod events;
mod expressions;
mod failures;
mod force;
mod gates;
mod health;
mod idle;
mod images;
mod impersonation;
mod killed;
mod leadership;
mod lifecycle;
mod limits;
mod oci;
mod odd_names;
mod ordering;
mod outage;
mod permissions;
mod progress;
mod pruning;
mod remote;
mod rollout;
mod secrets;
mod spec;
mod takeover;
mod transports;
mod variables;
mod watched;

/// A ConfigMap of this name with this value of the key `v`.
fn config_map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  v: \"{value}\"\n")
}
