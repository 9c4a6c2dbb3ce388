//! Buckets on a real API server, of real object stores: each file has a topic.

#[path = "../support/clouds.rs"]
mod cloud_settings;
#[path = "../support/mod.rs"]
mod support;

mod admission;
mod azure;
mod clouds;
mod content;
mod credentials;
mod external_artifacts;
mod failures;
mod google;
mod hostile;
mod lifecycle;
mod transport;
mod world;
