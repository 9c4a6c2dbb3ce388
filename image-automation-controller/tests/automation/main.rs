//! ImageUpdateAutomations on a real API server, with real Git servers: each file has a topic.

#[path = "../../../source-controller/tests/support/clouds.rs"]
mod cloud_settings;

mod admission;
mod checkouts;
mod cli;
mod commits;
mod credentials;
mod failures;
mod forge;
mod kills;
mod lifecycle;
mod process;
mod pushes;
mod races;
mod triggers;
mod world;
