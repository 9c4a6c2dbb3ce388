//! The token services of AWS, Azure and Google Cloud on loopback, for tests, with their key services and what they know of
//! Kubernetes clusters.
//!
//! No such service can be run for real: each is one company's. What stands in for them here checks every field of each
//! request against the published format (signatures are computed again, trust policies look at audience and subject of
//! tokens) and refuses with the service's own errors. Clients reach it by the services' real names through its
//! [`proxy`](Clouds::proxy), with an [`authority`](Clouds::authority) that they are told to trust; metadata servers have
//! no TLS and are at [`metadata`](Clouds::metadata).

#![forbid(unsafe_code)]

mod aws;
mod azure;
mod clusters;
mod google;
mod jwt;
mod metadata;
mod server;
mod signature;

pub use clusters::Cluster;
pub use jwt::{claims, token};
pub use server::{Clouds, ECR_PASSWORD, HOSTS, Request, Trust};
