//! The Secrets that sources refer to.

pub(crate) use flux_references::{ReferredError, SecretReadError, Secrets, log_legacy_keys};
