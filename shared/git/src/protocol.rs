//! Git's wire protocol on gix's plumbing: one conversation lists references and, if wanted, fetches objects.

use std::num::NonZeroU32;
use std::sync::Arc;

use gix::bstr::ByteSlice as _;
use gix::hash::ObjectId;
use gix::odb::pack;
use gix::progress::Discard;
use gix::protocol::fetch::negotiate::{self, Action, Round, one_round};
use gix::protocol::fetch::{Arguments, Context, Negotiate, Options, Response, Shallow, Tags};
use gix::protocol::handshake::Ref;
use gix::protocol::ls_refs::RefPrefixes;
use gix::protocol::{Handshake, LsRefsCommand};
use gix_transport::client::Capabilities;
use gix_transport::client::blocking_io::Transport;
use gix_transport::{Protocol, Service};

use crate::error::Fault;
use crate::remote::Remote;
use crate::session::Session;
use crate::store::Store;

/// One reference of the remote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) name: String,
    /// What it points to: a tag object for an annotated tag.
    pub(crate) target: ObjectId,
    /// What an annotated tag points to in the end.
    pub(crate) peeled: Option<ObjectId>,
}

impl Listed {
    /// The commit in the end.
    pub(crate) fn commit(&self) -> ObjectId {
        self.peeled.unwrap_or(self.target)
    }
}

/// A conversation with the remote.
pub(crate) struct Conversation<'a> {
    session: &'a Session,
    transport: Box<dyn Transport>,
    handshake: Handshake,
}

fn agent() -> (&'static str, Option<String>) {
    (
        "agent",
        Some(concat!("git/flux-", env!("CARGO_PKG_VERSION")).to_owned()),
    )
}

impl<'a> Conversation<'a> {
    /// Connects and learns what the server can do.
    pub(crate) fn begin(remote: &Remote, session: &'a Arc<Session>) -> Result<Self, Fault> {
        session.check()?;
        let mut transport = crate::transport::connect(remote, session)?;
        // Credentials are sent by the transport; nothing is ever asked of a helper program.
        let handshake = gix::protocol::handshake(
            &mut transport,
            Service::UploadPack,
            |_| Ok(None),
            Vec::new(),
            &mut Discard,
        );
        let mut handshake = handshake.map_err(|error| fault(session, &error))?;
        let format = handshake.capabilities.capability("object-format");
        if let Some(format) = format.and_then(|format| format.value().map(ToString::to_string))
            && format != "sha1"
        {
            return Err(Fault::ObjectFormat(format));
        }
        if handshake.server_protocol_version != Protocol::V2 {
            // gix would send `deepen-relative` with every want, and `deepen 1` would mean one more than nothing: everything.
            // Thin packs are for those who have something already; not every host that offers them can make them (SC-GIT-057).
            for unwanted in ["deepen-relative", "thin-pack"] {
                handshake.capabilities = without(&handshake.capabilities, unwanted);
            }
        }
        Ok(Self {
            session,
            transport,
            handshake,
        })
    }

    /// Lists the references whose names begin with one of `prefixes`; a server of protocol version 2 sends no others.
    pub(crate) fn list(&mut self, prefixes: &[&str]) -> Result<Vec<Listed>, Fault> {
        let refs = if let Some(refs) = &self.handshake.refs {
            refs.clone()
        } else {
            let mut wanted = RefPrefixes::new();
            wanted.extend(prefixes.iter().map(|prefix| (*prefix).into()));
            let command = LsRefsCommand::new(Some(wanted), &self.handshake.capabilities, agent());
            command
                .invoke_blocking(&mut self.transport, &mut Discard, false)
                .map_err(|error| fault(self.session, &error))?
        };
        let listed = refs.into_iter().filter_map(|reference| {
            let (name, target, peeled) = match reference {
                Ref::Peeled {
                    full_ref_name,
                    tag,
                    object,
                } => (full_ref_name, tag, Some(object)),
                Ref::Direct {
                    full_ref_name,
                    object,
                } => (full_ref_name, object, None),
                Ref::Symbolic {
                    full_ref_name,
                    tag,
                    object,
                    ..
                } => (full_ref_name, tag.unwrap_or(object), tag.map(|_| object)),
                Ref::Unborn { .. } => return None,
            };
            let name = name.to_str_lossy().into_owned();
            // An empty repository of old servers has one made-up entry.
            (name != "capabilities^{}" && !target.is_null()).then_some(Listed {
                name,
                target,
                peeled,
            })
        });
        let wanted = |listed: &Listed| {
            prefixes.is_empty() || prefixes.iter().any(|p| listed.name.starts_with(p))
        };
        Ok(listed.filter(wanted).collect())
    }

    /// Whether the server speaks protocol version 2, in which any object may be asked for.
    pub(crate) fn is_v2(&self) -> bool {
        self.handshake.server_protocol_version == Protocol::V2
    }

    /// Fetches these objects and what they need into `store`, with `depth` commits of history or all of it.
    pub(crate) fn fetch(
        mut self,
        wants: &[ObjectId],
        depth: Option<NonZeroU32>,
        store: &Store,
    ) -> Result<(), Fault> {
        let mut negotiate = WantAll { wants };
        let shallow = depth.map_or(Shallow::NoChange, Shallow::DepthAtRemote);
        let session = self.session;
        let pack_folder = store.pack_folder();
        let mut failure = None;
        let fetched = gix::protocol::fetch(
            &mut negotiate,
            |pack, progress, interrupt| {
                let options = pack::bundle::write::Options {
                    // More threads would take more memory than they save time.
                    thread_limit: Some(2),
                    alloc_limit_bytes: Some(session.limits.object),
                    ..pack::bundle::write::Options::default()
                };
                let written = pack::Bundle::write_to_directory(
                    pack,
                    Some(&pack_folder),
                    progress,
                    interrupt,
                    None::<gix::objs::find::Never>,
                    gix::hash::Kind::Sha1,
                    options,
                );
                match written {
                    Ok(_) => Ok(true),
                    Err(error) => {
                        failure = Some(describe(&error));
                        Err(error)
                    }
                }
            },
            Discard,
            session.interrupt(),
            Context {
                handshake: &mut self.handshake,
                transport: &mut self.transport,
                user_agent: agent(),
                trace_packetlines: false,
            },
            Options {
                shallow_file: store.shallow_file(),
                shallow: &shallow,
                tags: Tags::None,
                reject_shallow_remote: false,
            },
        );
        let received = fetched.map_err(|error| fault(session, &error))?;
        if let Some(failure) = failure {
            return Err(Fault::Protocol(failure));
        }
        if received.is_none() {
            return Err(Fault::Protocol("the server sent no objects".to_owned()));
        }
        session.check()
    }
}

impl Drop for Conversation<'_> {
    fn drop(&mut self) {
        if self.is_v2() && self.session.check().is_ok() {
            // A server that waits for the next command is told that there is none; if it has gone, so much the better.
            let _ = gix::protocol::indicate_end_of_interaction(&mut self.transport, false);
        }
    }
}

/// Asks for everything wanted, and has nothing to offer: the store is empty.
struct WantAll<'a> {
    wants: &'a [ObjectId],
}

impl Negotiate for WantAll<'_> {
    fn mark_complete_and_common_ref(&mut self) -> gix::Result<Action> {
        Ok(Action::MustNegotiate {
            remote_ref_target_known: Vec::new(),
        })
    }

    fn add_wants(&mut self, arguments: &mut Arguments, _known: &[bool]) -> bool {
        for want in self.wants {
            arguments.want(want);
        }
        !self.wants.is_empty()
    }

    fn one_round(
        &mut self,
        _state: &mut one_round::State,
        _arguments: &mut Arguments,
        _previous: Option<&Response>,
    ) -> gix::Result<(negotiate::Round, bool)> {
        Ok((
            Round {
                haves_sent: 0,
                in_vain: 0,
                haves_to_send: 0,
                previous_response_had_at_least_one_in_common: false,
            },
            true,
        ))
    }
}

/// The capabilities but one.
fn without(capabilities: &Capabilities, name: &str) -> Capabilities {
    let mut line = vec![0];
    for capability in capabilities
        .iter()
        .filter(|capability| capability.name() != name)
    {
        if line.len() > 1 {
            line.push(b' ');
        }
        line.extend_from_slice(capability.name());
        if let Some(value) = capability.value() {
            line.push(b'=');
            line.extend_from_slice(value);
        }
    }
    // Without any capability left there is nothing to take out either.
    Capabilities::from_bytes(&line)
        .map_or_else(|_| capabilities.clone(), |(capabilities, _)| capabilities)
}

/// What the transport met, else what gix says.
fn fault(session: &Session, error: &gix::Error) -> Fault {
    if let Some(fault) = session.take_fault() {
        return fault;
    }
    if session.check().is_err() {
        return Fault::Cancelled;
    }
    let text = describe(error);
    if text.contains("A hash sized 64 hexadecimal characters") {
        // Servers of the old protocol list references before their capabilities could be looked at.
        return Fault::ObjectFormat("sha256".to_owned());
    }
    if text.contains("too large to fit in memory") {
        let limit = session.limits.object as u64;
        return Fault::TooLarge {
            limit,
            unit: "bytes in one object",
        };
    }
    if says_not_found(&text) {
        Fault::RepositoryNotFound(String::new())
    } else {
        Fault::Protocol(text)
    }
}

/// gix's error with its causes, each said once.
fn describe(error: &gix::Error) -> String {
    error
        .iter_errors()
        .map(ToString::to_string)
        .fold(String::new(), |text, next| {
            if text.contains(&next) {
                text
            } else if text.is_empty() {
                next
            } else {
                format!("{text}: {next}")
            }
        })
}

/// Whether a server's words mean that it has no such repository; the phrases are those of the well-known hosts.
pub(crate) fn says_not_found(text: &str) -> bool {
    [
        "ERROR: Repository not found.",
        "repository does not exist.",
        "does not appear to be a git repository",
        "fatal: no such repository:",
        "ERR access denied or repository not exported:",
        "ERR Repository not found",
        "The project you were looking for could not be found",
        "Repository does not exist",
        "no such repository",
    ]
    .iter()
    .any(|phrase| text.contains(phrase))
}
