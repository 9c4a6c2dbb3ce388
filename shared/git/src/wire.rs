//! Git's wire protocol as bytes: packets, advertisements, requests and responses. No connection is made here.

mod advertisement;
mod answer;
mod packet;
mod report;
mod request;
mod update;

pub(crate) use advertisement::{Advertisement, Listed, References, read_references};
pub(crate) use answer::{PackStream, read_some};
pub(crate) use packet::Packets;
pub(crate) use report::{Report, SideBand};
pub(crate) use request::{FLUSH, Fetch, list};
pub(crate) use update::{Command, Update};

#[cfg(test)]
mod tests;
