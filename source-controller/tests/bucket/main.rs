//! Buckets on a real API server, of real object stores: each file has a topic.

#[path = "../support/mod.rs"]
mod support;

mod admission;
mod azure;
mod content;
mod credentials;
mod external_artifacts;
mod failures;
mod google;
mod hostile;
mod lifecycle;
mod transport;
mod world;
