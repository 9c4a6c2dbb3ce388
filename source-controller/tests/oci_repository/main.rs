//! OCIRepositories on a real API server, from a real registry: each file has a topic.

#[path = "../support/clouds.rs"]
mod cloud_settings;
#[path = "../support/signing.rs"]
mod signing;
#[path = "../support/mod.rs"]
mod support;

mod admission;
mod clients;
mod clouds;
mod content;
mod credentials;
mod failures;
mod hostile;
mod revocation;
mod signatures;
mod versions;
mod world;
