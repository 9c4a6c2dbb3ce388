//! Shared by the test files.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::collections::BTreeMap;
use std::time::Duration;

use flux_errors::chain;
use flux_git::{
    AuthOptions, Change, Checkout, CheckoutOptions, Commit, EntryKind, FetchOptions, Fetched,
    GitUrl, NewCommit, Person, PushOptions, Pushed, Reference, Remote, RemoteOptions, Snapshot,
    SwitchBranch, WorkingCopy,
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

/// The working copy, which must not be unchanged or empty.
pub(crate) async fn check_out_with(
    remote: &Remote,
    wanted: &str,
    options: &CheckoutOptions,
) -> Result<Box<WorkingCopy>, String> {
    match remote.checkout(&reference(wanted), options, MINUTE).await {
        Ok(Checkout::WorkingCopy(copy)) => Ok(copy),
        Ok(other) => Err(format!("{other:?}")),
        Err(error) => Err(chain(&error)),
    }
}

/// A shallow checkout.
pub(crate) fn shallow() -> CheckoutOptions {
    CheckoutOptions {
        shallow: true,
        ..CheckoutOptions::default()
    }
}

/// A shallow checkout that switches to a branch.
pub(crate) fn switching(name: &str, use_remote: bool) -> CheckoutOptions {
    CheckoutOptions {
        switch: Some(SwitchBranch {
            name: name.to_owned(),
            use_remote,
        }),
        ..shallow()
    }
}

pub(crate) async fn check_out(remote: &Remote, wanted: &str) -> Box<WorkingCopy> {
    check_out_with(remote, wanted, &shallow()).await.unwrap()
}

/// What a commit of the tests says besides its files.
pub(crate) fn details(message: &str) -> NewCommit {
    NewCommit {
        author: Person {
            name: "Flux".to_owned(),
            email: "flux@example.com".to_owned(),
            seconds: 1_700_000_000,
            offset: 0,
        },
        committer: None,
        message: message.to_owned(),
    }
}

pub(crate) fn changes(files: &[(&str, &str)]) -> Vec<Change> {
    files
        .iter()
        .map(|(path, content)| Change {
            path: path.as_bytes().to_vec(),
            content: content.as_bytes().to_vec(),
        })
        .collect()
}

/// Commits one file, which must differ.
pub(crate) fn commit(copy: &mut WorkingCopy, path: &str, content: &str) -> Commit {
    let subject: String = content.chars().take(20).collect();
    let message = format!("write {subject} to {path}");
    copy.commit_files(changes(&[(path, content)]), &details(&message), None)
        .unwrap()
        .unwrap()
}

/// Pushes the current branch.
pub(crate) async fn push(copy: &mut WorkingCopy) -> Result<Vec<Pushed>, String> {
    push_with(copy, &PushOptions::default()).await
}

pub(crate) async fn push_with(
    copy: &mut WorkingCopy,
    options: &PushOptions,
) -> Result<Vec<Pushed>, String> {
    copy.push(options, MINUTE)
        .await
        .map_err(|error| chain(&error))
}
