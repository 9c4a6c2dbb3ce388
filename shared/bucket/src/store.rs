//! A bucket or container, whatever its protocol.

use std::path::Path;

use flux_budget::Claim;

use crate::azure::Azure;
use crate::download::{Downloaded, Room};
use crate::error::Error;
use crate::google::Google;
use crate::key;
use crate::s3::S3;

/// A bucket of an object store.
#[derive(Debug)]
pub enum Store {
    /// Of S3, or of a server that speaks its protocol.
    S3(S3),
    /// A container of Azure Blob Storage.
    Azure(Azure),
    /// Of Google Cloud Storage.
    Google(Google),
}

/// An object in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// Its ETag: for S3 without quotes, for Azure with them, as the header of a download has it (SC-BKT-038, SC-BKT-061).
    pub etag: String,
    /// Its size in bytes.
    pub size: u64,
}

/// One page of a list.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) entries: Vec<Entry>,
    /// What the next page is asked for with.
    pub(crate) next: Option<String>,
}

impl Store {
    /// Whether the bucket exists (SC-BKT-026).
    ///
    /// # Errors
    /// The server was not reached or refused.
    pub async fn exists(&self) -> Result<bool, Error> {
        match self {
            Self::S3(client) => client.exists().await,
            Self::Azure(client) => client.exists().await,
            Self::Google(client) => client.exists().await,
        }
    }

    /// The objects whose key begins with `prefix`, page by page.
    pub fn list<'s>(&'s self, prefix: &'s str) -> Pages<'s> {
        Pages {
            store: self,
            prefix,
            next: Next::First,
        }
    }

    /// Writes the content of an object to `file`, and returns its ETag. An object that
    /// there is no `room` for is refused.
    ///
    /// # Errors
    /// The object is missing ([`Error::is_missing_object`]) or too large, or the server was not reached or refused.
    pub async fn download(&self, key: &str, file: &Path, room: &Room) -> Result<Downloaded, Error> {
        key::path(key)?;
        match self {
            Self::S3(client) => client.download(key, file, room).await,
            Self::Azure(client) => client.download(key, file, room).await,
            Self::Google(client) => client.download(key, file, room).await,
        }
    }

    /// The path of an object's file: its key without empty segments (SC-BKT-034).
    ///
    /// # Errors
    /// No file can have such a path.
    pub fn path(key: &str) -> Result<String, Error> {
        Ok(key::path(key)?)
    }
}

/// A list that is being read.
#[derive(Debug)]
pub struct Pages<'s> {
    store: &'s Store,
    prefix: &'s str,
    next: Next,
}

#[derive(Debug)]
enum Next {
    First,
    At(String),
    End,
}

impl Pages<'_> {
    /// The next page, which may be empty; `None` after the last. The memory for reading it is taken through `claim`, and given
    /// back when it is read.
    ///
    /// # Errors
    /// The server was not reached or refused, or its response is invalid.
    pub async fn next(&mut self, claim: &Claim) -> Result<Option<Vec<Entry>>, Error> {
        let at = match &self.next {
            Next::First => None,
            Next::At(at) => Some(at.as_str()),
            Next::End => return Ok(None),
        };
        let page = match self.store {
            Store::S3(client) => client.page(self.prefix, at, claim).await,
            Store::Azure(client) => client.page(self.prefix, at, claim).await,
            Store::Google(client) => client.page(self.prefix, at, claim).await,
        };
        let page = page?;
        if page.next.is_some() && page.next.as_deref() == at {
            return Err(Error::Response("the list repeats a page".to_owned()));
        }
        self.next = page.next.map_or(Next::End, Next::At);
        Ok(Some(page.entries))
    }
}
