//! Real object stores on loopback, for tests: SeaweedFS for S3, which checks signatures, Azurite for Azure Blob Storage, and
//! fake-gcs-server for Google Cloud Storage; and a [`Front`] for each of them that adds TLS, failures and a record of the requests.
//!
//! ```no_run
//! use object_stores::{Front, Seaweed};
//!
//! # async fn example() {
//! let Some(store) = Seaweed::start() else { return };
//! store.make_bucket("app").await;
//! store.put("app", "deploy/web.yaml", "kind: Service\n").await;
//! let front = Front::to(store.address()).start();
//! assert!(front.requests().is_empty()); // what the test puts there goes past the front
//! # }
//! ```
//!
//! The programs are installed by the script `install` in this folder, which `.ci/run` calls. Where they are missing, a start
//! says so and returns nothing. A fixture that cannot be set up panics: this crate is for tests only.

mod azurite;
mod front;
mod google;
mod program;
mod seaweed;

pub use azurite::Azurite;
pub use front::{Answer, Front, FrontBuilder, Request};
pub use google::FakeGoogle;
pub use seaweed::{ACCESS_KEY, SECRET_KEY, Seaweed};
