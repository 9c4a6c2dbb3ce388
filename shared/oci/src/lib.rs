//! Reads OCI registries, as the distribution specification and go-containerregistry do: tags, manifests, blobs and
//! referrers of one repository.
//!
//! ```
//! use flux_oci::{Client, Keychain, Options, Repository};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let repository = Repository::parse("ghcr.io/stefanprodan/manifests/podinfo")?;
//! let mut keychain = Keychain::default();
//! keychain.add_config(br#"{"auths": {"ghcr.io": {"username": "flux", "password": "s3cret"}}}"#)?;
//! let options = Options { credentials: keychain.credentials(&repository), ..Options::default() };
//!
//! let client = Client::new(repository.clone(), options)?;
//! let digest = client.resolve(&repository.tag("latest")?).await?;
//! let image = client.image(&digest).await?;
//! if let Some(layer) = image.manifest.layers.first() {
//!     let mut blob = client.blob(layer).await?;
//!     while let Some(piece) = blob.next().await? {
//!         println!("{} bytes", piece.len()); // the whole is only valid once `next` has returned `None`
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! - [`Repository`] and [`Reference`] are names by go-containerregistry's rules; [`Digest`] is a SHA-256.
//! - [`Keychain`] finds the [`Credentials`] of a repository in docker configurations.
//! - [`Client`] signs in as the registry demands (Basic, or a token of its token service), follows redirects without
//!   credentials, retries what is transient, and checks the digest and size of everything that has one.
//!
//! Every response has a limit, and what is held in memory is claimed. Errors hold no credentials: what a
//! registry repeats of them is masked, and nothing is shown of what other servers say. How long all of it may take, which tag is wanted, and what layers and signatures mean is up to the caller.

#![forbid(unsafe_code)]

mod auth;
mod blob;
mod client;
mod credentials;
mod digest;
mod error;
mod list;
mod manifest;
mod name;
#[cfg(feature = "fuzzing")]
pub mod parsers;
mod redirect;
mod tags;
mod transport;

pub use blob::{Blob, BlobError};
pub use client::{Client, Options};
pub use credentials::{Credentials, Keychain, KeychainError};
pub use digest::{Digest, DigestError};
pub use error::{Error, StatusError};
pub use manifest::{
    Descriptor, Image, Index, MAX_MANIFEST, Manifest, ManifestContent, Platform, Referrer,
    media_types,
};
pub use name::{DOCKER_HUB, NameError, Reference, Repository};
pub use tags::PageSizes;
