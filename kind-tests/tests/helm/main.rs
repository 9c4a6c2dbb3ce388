//! Releases on a real API server (`shared/release`), compared with the real helm commands on the same cluster.

mod applying;
mod bench;
mod definitions;
mod deleting;
mod drift;
mod hooks;
mod limits;
mod lookups;
mod records;
mod requests;
mod shutdown;
mod waiting;
