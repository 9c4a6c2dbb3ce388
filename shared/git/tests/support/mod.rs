//! Shared by the test files.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::collections::BTreeMap;
use std::time::Duration;

use flux_errors::chain;
use flux_git::{
    AuthOptions, EntryKind, FetchOptions, Fetched, GitUrl, Reference, Remote, RemoteOptions,
    Snapshot,
};
use flux_http::SecretData;

pub(crate) const MINUTE: Duration = Duration::from_mins(1);

/// A remote with the Secret's entries, credentials over plain HTTP allowed as in source-controller.
pub(crate) fn remote_with(
    url: &str,
    entries: &[(&str, &str)],
    change: impl FnOnce(&mut RemoteOptions),
) -> Remote {
    let url = GitUrl::parse(url).unwrap();
    let secret = SecretData::new(
        "apps",
        "creds",
        entries.iter().map(|(key, value)| (*key, value.as_bytes())),
    );
    let auth = AuthOptions::new(&url, Some(&secret)).unwrap();
    let mut options = RemoteOptions {
        credentials_over_http: true,
        ..RemoteOptions::default()
    };
    change(&mut options);
    Remote::new(url, auth, options).unwrap()
}

pub(crate) fn remote(url: &str) -> Remote {
    remote_with(url, &[], |_| {})
}

/// `branch=main tag=v1`: the fields of a reference.
pub(crate) fn reference(text: &str) -> Reference {
    let mut reference = Reference::default();
    for field in text.split_whitespace() {
        let (key, value) = field.split_once('=').unwrap();
        let value = Some(value.replace('%', " "));
        match key {
            "branch" => reference.branch = value,
            "tag" => reference.tag = value,
            "semver" => reference.semver = value,
            "name" => reference.name = value,
            "commit" => reference.commit = value,
            other => panic!("{other}"),
        }
    }
    reference
}

pub(crate) async fn fetch_with(
    remote: &Remote,
    wanted: &str,
    options: &FetchOptions,
) -> Result<Fetched, String> {
    remote
        .fetch(&reference(wanted), options, MINUTE)
        .await
        .map_err(|error| chain(&error))
}

/// The snapshot, which must exist.
pub(crate) async fn fetch(remote: &Remote, wanted: &str) -> Result<Box<Snapshot>, String> {
    match fetch_with(remote, wanted, &FetchOptions::default()).await? {
        Fetched::Snapshot(snapshot) => Ok(snapshot),
        other => Err(format!("{other:?}")),
    }
}

/// The files as path → kind and content.
pub(crate) fn files(snapshot: &Snapshot) -> BTreeMap<String, String> {
    let reader = snapshot.reader().unwrap();
    let mut files = BTreeMap::new();
    for entry in snapshot.entries() {
        let kind = match entry.kind() {
            EntryKind::File => "",
            EntryKind::Executable => "x ",
            EntryKind::Symlink => "-> ",
            EntryKind::Submodule => "submodule",
        };
        let content = reader.read(entry).unwrap();
        assert_eq!(content.len() as u64, reader.size(entry).unwrap());
        files.insert(
            String::from_utf8_lossy(entry.path()).into_owned(),
            format!("{kind}{}", String::from_utf8_lossy(&content)),
        );
    }
    files
}
