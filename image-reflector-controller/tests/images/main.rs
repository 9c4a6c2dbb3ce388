//! ImageRepositories and ImagePolicies on a real API server, from real registries: each file has a topic.

#[path = "../../../source-controller/tests/support/clouds.rs"]
mod cloud_settings;

mod cli;
mod clouds;
mod credentials;
mod digests;
mod failures;
mod hostile;
mod lifecycle;
mod policies;
mod process;
mod scanning;
mod storage;
mod versions;
mod world;
