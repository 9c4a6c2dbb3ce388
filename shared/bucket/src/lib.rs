//! Reads object stores: S3 and what speaks its protocol, Azure Blob Storage, Google Cloud Storage.
//!
//! ```no_run
//! use flux_bucket::{ClientOptions, Room, S3, S3Credentials, S3Options, Store};
//! use flux_budget::Claim;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let options = S3Options {
//!     endpoint: "s3.example.com".to_owned(),
//!     bucket: "configurations".to_owned(),
//!     secure: true,
//!     region: String::new(), // looked up
//!     credentials: S3Credentials::Anonymous,
//!     http: ClientOptions::default(),
//! };
//! let store = Store::S3(S3::new(options)?);
//! assert!(store.exists().await?);
//! let claim = Claim::unlimited();
//! let room = Room::new(1 << 30);
//! let mut pages = store.list("apps/");
//! while let Some(page) = pages.next(&claim).await? {
//!     for object in page {
//!         store.download(&object.key, "file".as_ref(), &room).await?;
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! - [`Store`] is a bucket or container: whether it exists, its objects page by page, the content of one.
//! - [`S3`], [`Azure`] and [`Google`] are the three protocols, with their credentials.
//! - [`Ldap`] gets credentials for S3 from a token service with a user name and a password.
//!
//! The clients are small and use `flux-http`: one request has one place where it is signed, repeated, limited and worded. The
//! crate `object_store` was considered. It lists without the addressing rules that users of S3 look-alikes rely on, has no STS
//! by LDAP, takes no client certificates and no client of the caller's own, and its errors quote URLs with signatures.
//!
//! Not part of this crate: who may use which credentials, and cloud identities (`flux-identity`): the caller passes access
//! keys, or a function that gets a token.

#![forbid(unsafe_code)]

mod azure;
mod download;
mod error;
mod google;
mod key;
mod s3;
mod store;
mod token;
mod transport;
mod xml;

pub use azure::{Azure, AzureCredentials, AzureOptions, account_of, with_sas};
pub use download::{Downloaded, Room};
pub use error::{Error, SasError, StatusError};
pub use flux_http::ClientOptions;
pub use google::{EMULATOR, Google, GoogleCredentials, GoogleOptions};
pub use key::KeyError;
pub use s3::{Ldap, S3, S3Credentials, S3Options};
pub use store::{Entry, Pages, Store};
pub use token::{BoxError, TokenSource};
