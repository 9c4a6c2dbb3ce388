//! Git's wire protocol as bytes: packets, advertisements, requests and responses. No connection is made here.

mod advertisement;
mod answer;
mod packet;
mod request;

pub(crate) use advertisement::{Advertisement, Listed, References, read_references};
pub(crate) use answer::{PackStream, read_some};
pub(crate) use packet::Packets;
pub(crate) use request::{FLUSH, Fetch, list};

#[cfg(test)]
mod tests;
