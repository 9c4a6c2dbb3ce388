//! ArtifactGenerators on a real API server: each file has a topic.

mod cli;
mod composition;
mod consumers;
mod drift;
mod hostile;
mod killed;
mod lifecycle;
mod monorepo;
mod namespaces;
mod ownership;
mod process;
mod shape;
mod world;
