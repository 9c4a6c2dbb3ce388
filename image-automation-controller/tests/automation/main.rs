//! ImageUpdateAutomations on a real API server, with real Git servers: each file has a topic.

mod admission;
mod commits;
mod failures;
mod lifecycle;
mod pushes;
mod races;
mod triggers;
mod world;
