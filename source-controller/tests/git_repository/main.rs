//! GitRepositories on a real API server, from real Git servers: each file has a topic.

#[path = "../support/clouds.rs"]
mod cloud_settings;
#[path = "../support/mod.rs"]
mod support;

mod admission;
mod clouds;
mod content;
mod failures;
mod forged;
mod github_app;
mod hostile;
mod includes;
mod lifecycle;
mod no_op;
mod proxies;
mod references;
mod signatures;
mod ssh;
mod storage;
mod storage_failures;
mod tls;
