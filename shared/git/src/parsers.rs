//! Every parser of what a peer sends, as a function of bytes: for tests with damaged input, and for the fuzz targets.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Cursor, Read as _, Seek as _};
use std::num::NonZeroU32;
use std::sync::Arc;

use flux_budget::Budget;
use gix::hash::ObjectId;
use gix::objs::TreeRefIter;
use sha1::{Digest as _, Sha1};

use crate::auth::AuthOptions;
use crate::known_hosts::KnownHosts;
use crate::object::{Commit, Tag};
use crate::protocol::Conversation;
use crate::remote::{Remote, RemoteOptions};
use crate::revision::Hash;
use crate::session::{Limits, Session};
use crate::snapshot::{Entry, EntryKind, Snapshot};
use crate::store::Store;
use crate::url::GitUrl;
use crate::wire::{
    Advertisement, Fetch, PackStream, Packets, Report, SideBand, list, read_references,
};
use crate::{pack, submodules, transport, tree_edit, tree_path};

mod made;

/// The memory budget of one input, in bytes.
const BUDGET: u64 = 8 << 20;
/// The largest object of a pack, in bytes.
const MAX_OBJECT: usize = 1 << 20;
/// The number of commits of history that fetches ask for.
const ONE: Option<NonZeroU32> = NonZeroU32::new(1);

thread_local! {
    static PARSERS: RefCell<Parsers> = RefCell::new(Parsers::new());
}

/// Runs one parser on `input`, as the fuzz targets do.
///
/// # Panics
/// The parser panics, or keeps memory.
pub fn run(parse: fn(&mut Parsers, &[u8]), input: &[u8]) {
    PARSERS.with_borrow_mut(|parsers| {
        parse(parsers, input);
        assert_eq!(parsers.memory(), 0);
    });
}

/// The environment that the parsers need. A parser panics if its result is inconsistent.
pub struct Parsers {
    session: Arc<Session>,
    budget: Budget,
    file: File,
    runtime: tokio::runtime::Runtime,
}

impl Default for Parsers {
    fn default() -> Self {
        Self::new()
    }
}

#[allow(
    clippy::unused_self,
    reason = "the table of parsers wants one signature"
)]
impl Parsers {
    /// An environment with a small budget of memory.
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime without drivers can be built");
        let session = Session::detached(runtime.handle().clone(), Limits::default());
        Self {
            session: Arc::new(session),
            budget: Budget::new(BUDGET),
            file: tempfile::tempfile().expect("the temporary folder is writable"),
            runtime,
        }
    }

    /// The claimed bytes: zero after each input.
    pub fn memory(&self) -> u64 {
        self.budget.used()
    }

    /// Packet lines.
    pub fn packets(&mut self, input: &[u8]) {
        let mut packets = Packets::new(input);
        while let Ok(Some(_)) = packets.next() {}
    }

    /// A server's first message.
    pub fn advertisement(&mut self, input: &[u8]) {
        let claim = Arc::new(self.budget.claim());
        if let Ok(server) = Advertisement::read(&mut Packets::new(input), &claim) {
            let _ = (server.has("agent"), list(&server, &["refs/heads/"]));
            let fetch = Fetch {
                wants: &[ObjectId::null(gix::hash::Kind::Sha1)],
                depth: ONE,
            };
            let _ = fetch.encode(&server);
        }
    }

    /// The response to `ls-refs`.
    pub fn references(&mut self, input: &[u8]) {
        let claim = Arc::new(self.budget.claim());
        let found = read_references(&mut Packets::new(input), &["refs/tags/"], &claim);
        for listed in found.iter().flat_map(|found| found.iter()) {
            assert!(listed.name.starts_with("refs/tags/"));
        }
    }

    /// The response to a fetch in protocol version 2.
    pub fn answer_v2(&mut self, input: &[u8]) {
        if let Ok(mut stream) = PackStream::v2(Packets::new(input)) {
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    }

    /// The response to a fetch in protocol versions 0 and 1, with and without side band.
    pub fn answer_v0(&mut self, input: &[u8]) {
        for side_band in [true, false] {
            if let Ok(mut stream) = PackStream::v0(Packets::new(input), side_band) {
                let _ = std::io::copy(&mut stream, &mut std::io::sink());
            }
        }
    }

    /// The response to a push, with and without side band.
    pub fn report(&mut self, input: &[u8]) {
        let wanted = |name: &str| name.starts_with("refs/");
        let mut band = SideBand::new(input);
        let reports = [
            Report::read(&mut band, wanted),
            Report::read(&mut &*input, wanted),
        ];
        band.drain();
        assert!(!band.said().contains(char::is_control));
        for report in reports.into_iter().flatten() {
            let reasons = report
                .statuses
                .iter()
                .filter_map(|(_, status)| status.as_ref().err());
            for reason in reasons.chain(&report.unpack) {
                assert!(!reason.contains(char::is_control));
            }
        }
    }

    /// All that a server sends in one conversation: its first message, its references and a pack.
    pub fn conversation(&mut self, input: &[u8]) {
        let claim = Arc::new(self.budget.claim());
        let channel = transport::in_memory(Cursor::new(input.to_vec()));
        let Ok(mut talk) = Conversation::greet(&self.session, &claim, channel) else {
            return;
        };
        let Ok(listed) = talk.list(&["refs/heads/"]) else {
            return;
        };
        let Some(first) = listed.first() else { return };
        assert!(first.name.starts_with("refs/heads/"));
        let store = Store::create(None, MAX_OBJECT, &claim).expect("the folder is writable");
        let commit = first.commit();
        if talk.fetch(&[first.target], ONE, &store).is_ok()
            && let Ok((commit, tree)) = store.objects().map_or_else(
                |fault| panic!("{fault}"),
                |objects| objects.commit(&commit, "refs/heads/main"),
            )
        {
            self.checked_snapshot(commit, store, tree);
        }
    }

    /// What a proxy sends before the connection of SSH through it begins: the response to `CONNECT`, and SOCKS 5.
    pub fn connect(&mut self, input: &[u8]) {
        let after = self.runtime.block_on(transport::through_proxies(input));
        for rest in after.into_iter().flatten() {
            assert!(input.ends_with(rest));
        }
    }

    /// A pack; its checksum is corrected, so that the damage is detected later.
    pub fn pack(&mut self, input: &[u8]) {
        let mut input = input.to_vec();
        let body = input.len().saturating_sub(20);
        input.truncate(body);
        input.extend(Sha1::digest(&input));
        let Some(received) = self.received(&input) else {
            return;
        };
        let claim = Arc::new(self.budget.claim());
        let received = Arc::new(received);
        let mut decoder = pack::Decoder::new(&claim, None);
        for id in received.ids() {
            let (kind, size) = received.header(&id).expect("it is listed");
            let content = match decoder.find(&received, &id) {
                Err(crate::Fault::Memory { .. }) => continue,
                found => found.expect("it was read").expect("it is listed"),
            };
            assert_eq!(content.len() as u64, size);
            let mut hash = Sha1::new();
            hash.update(format!("{kind} {size}\0"));
            hash.update(&content[..]);
            assert_eq!(hash.finalize()[..], *id.as_slice());
            let mut again = Vec::new();
            let stream = pack::Stream::open(&received, &mut decoder, &id).expect("it was read");
            stream
                .expect("it is listed")
                .read_to_end(&mut again)
                .expect("it was read");
            assert!(again == content[..]);
        }
    }

    fn received(&mut self, input: &[u8]) -> Option<pack::Pack> {
        self.file.set_len(0).expect("the file is writable");
        self.file.rewind().expect("the file is writable");
        let claim = Arc::new(self.budget.claim());
        let file = self.file.try_clone().expect("descriptors are left");
        pack::receive(&mut &input[..], file, MAX_OBJECT, &self.session, &claim).ok()
    }

    /// A pack of an object and a delta of it made from the input.
    pub fn delta(&mut self, input: &[u8]) {
        self.pack(&made::delta(input));
    }

    /// A repository whose objects refer to one another, and its work tree.
    pub fn snapshot(&mut self, input: &[u8]) {
        let (pack, commit) = made::repository(input);
        let claim = Arc::new(self.budget.claim());
        let store = Store::create(None, MAX_OBJECT, &claim).expect("the folder is writable");
        let received = store.receive(&mut &pack[..], &self.session);
        received.unwrap_or_else(|fault| panic!("{fault}"));
        let objects = store.objects().unwrap_or_else(|fault| panic!("{fault}"));
        if let Ok((commit, tree)) = objects.commit(&commit, "refs/heads/main") {
            self.checked_snapshot(commit, store, tree);
        }
    }

    /// Reads a work tree, and checks that no path in it leads out of it.
    fn checked_snapshot(&self, commit: Commit, store: Store, tree: ObjectId) {
        let url = GitUrl::parse("https://h/r.git").expect("it is a URL");
        let auth = AuthOptions::new(&url, None).expect("no credentials are needed");
        let options = RemoteOptions {
            claim: Arc::new(self.budget.claim()),
            ..RemoteOptions::default()
        };
        let remote = Remote::new(url, auth, options).expect("no credentials are sent");
        let Ok(snapshot) = Snapshot::build(&remote, &self.session, commit, store, tree, &[], false)
        else {
            return;
        };
        let Ok(reader) = snapshot.reader() else {
            return;
        };
        let mut before: Option<&Entry> = None;
        for entry in snapshot.entries() {
            let mut parts = entry.path().split(|byte| *byte == b'/');
            assert!(parts.all(|part| tree_path::refusal(part).is_none()));
            assert!(before.is_none_or(|before| before.path() < entry.path()));
            let inside = before.is_some_and(|before| {
                let rest = entry.path().strip_prefix(before.path());
                rest.is_some_and(|rest| rest.starts_with(b"/"))
            });
            assert!(!inside, "a file is also a folder");
            before = Some(entry);
            if let Ok(content) = reader.read(entry) {
                let mut again = Vec::new();
                let stream = reader.open(entry).map(|mut stream| {
                    let left = stream.remaining();
                    stream.read_to_end(&mut again).expect("it was read");
                    left
                });
                if let Ok(left) = stream {
                    assert!(again == content[..] && left == content.len() as u64);
                }
                if entry.kind() == EntryKind::File && entry.path().ends_with(b".gitmodules") {
                    let _ = submodules::parse(&String::from_utf8_lossy(&content));
                }
                let path = String::from_utf8_lossy(entry.path()).into_owned();
                let _ = snapshot.exists(&path);
            }
        }
    }

    /// A tree object.
    pub fn tree(&mut self, input: &[u8]) {
        let _ = tree_edit::find(input, b"a");
        for entry in TreeRefIter::from_bytes(input, gix::hash::Kind::Sha1).flatten() {
            let _ = (
                tree_path::refusal(entry.filename),
                tree_path::is_modules_file(entry.filename),
                entry.mode.kind(),
            );
        }
    }

    /// A commit object.
    pub fn commit(&mut self, input: &[u8]) {
        let commit = Commit::parse(Hash::new(""), "refs/heads/main", input);
        assert!(commit.encoded.len() <= input.len());
        let _ = (commit.revision(), commit.short_message());
        let _ = gix::objs::CommitRefIter::from_bytes(input, gix::hash::Kind::Sha1).tree_id();
    }

    /// A tag object.
    pub fn tag(&mut self, input: &[u8]) {
        let tag = Tag::parse(Hash::new(""), input);
        assert!(tag.encoded.len() <= input.len());
        let _ = tag.to_string();
    }

    /// `known_hosts`.
    pub fn known_hosts(&mut self, input: &[u8]) {
        if let Ok(known) = KnownHosts::parse(input) {
            let _ = (known.algorithms("a.x", 22), known.has_authority("h", 2222));
        }
    }

    /// The address of a repository.
    pub fn url(&mut self, input: &[u8]) {
        let text = String::from_utf8_lossy(input);
        if let Ok(url) = GitUrl::parse(&text) {
            let _ = (url.to_string(), url.without_user());
            if let Ok(joined) = url.join("../x") {
                assert_eq!(joined.transport(), url.transport());
            }
        }
    }

    /// `.gitmodules`.
    pub fn modules(&mut self, input: &[u8]) {
        let _ = submodules::parse(&String::from_utf8_lossy(input));
    }
}
