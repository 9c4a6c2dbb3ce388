//! Fetches submodules recursively (SC-GIT-071).

use std::collections::BTreeMap;

use gix::hash::ObjectId;

use crate::error::{Error, Fault};
use crate::memory::ClaimedVec;
use crate::protocol::Conversation;
use crate::remote::{Phase, Remote, SharedSession, sibling};
use crate::snapshot::{Entry, EntryKind, Walk};
use crate::store::Store;
use crate::tree_path::refusal;
use crate::url::{GitUrl, Transport};

/// The maximum nesting of submodules; deeper ones stay empty folders.
const MAX_RECURSION: usize = 10;
/// The maximum number of submodules of one commit.
const MAX_SUBMODULES: usize = 1000;
/// The maximum size of a `.gitmodules` file in bytes.
const MAX_MODULES_FILE: u64 = 4 << 20;
const MODULES_FILE: &str = ".gitmodules";

/// One entry of `.gitmodules`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Module {
    name: String,
    path: String,
    url: String,
}

/// A repository whose submodules are to be fetched.
struct Level {
    remote: Remote,
    layer: usize,
    /// Location of its work tree: empty, or ends with a slash.
    prefix: String,
    depth: usize,
}

/// Fetches the submodules of the first layer recursively, and replaces their entries by their files.
pub(crate) fn fetch(
    remote: &Remote,
    session: &SharedSession,
    layers: &mut Vec<Store>,
    entries: &mut ClaimedVec<Entry>,
) -> Result<(), Error> {
    let mut levels = vec![Level {
        remote: remote.clone(),
        layer: 0,
        prefix: String::new(),
        depth: 0,
    }];
    let mut count = 0;
    while let Some(level) = levels.pop() {
        if level.depth >= MAX_RECURSION {
            continue;
        }
        for module in modules(&level, layers, entries)? {
            count += 1;
            if count > MAX_SUBMODULES {
                return Err(Error::Modules(format!(
                    "more than {MAX_SUBMODULES} submodules"
                )));
            }
            let failed = |source: Error| Error::Submodule {
                name: module.name.clone(),
                source: Box::new(source),
            };
            session
                .check()
                .map_err(|fault| failed(Error::Modules(fault.to_string())))?;
            let at = format!("{}{}", level.prefix, module.path);
            let found = entries.iter().position(|entry| {
                entry.path() == at.as_bytes() && entry.kind() == EntryKind::Submodule
            });
            let Some(found) = found else {
                return Err(failed(Error::Modules(format!(
                    "the commit has no submodule at {:?}: entry not found",
                    module.path
                ))));
            };
            let id = entries[found].id();
            let url = level
                .remote
                .url()
                .join(&module.url)
                .map_err(|error| failed(error.into()))?;
            let child = sibling(&level.remote, url);
            check_transport(&level.remote, &child).map_err(failed)?;
            let (store, tree) = fetch_one(&child, session, id).map_err(failed)?;
            layers.push(store);
            let layer = layers.len() - 1;
            entries.swap_remove(found);
            let prefix = format!("{at}/");
            Walk {
                session,
                claim: &remote.options.claim,
                sparse: &[],
                entries,
            }
            .tree(layers, layer, prefix.as_bytes(), tree)
            .map_err(failed)?;
            levels.push(Level {
                remote: child,
                layer,
                prefix,
                depth: level.depth + 1,
            });
        }
    }
    Ok(())
}

/// SSH requires a key, which only a remote over SSH has.
fn check_transport(parent: &Remote, child: &Remote) -> Result<(), Error> {
    if child.url.transport() == Transport::Ssh && parent.auth.identity.is_empty() {
        return Err(Error::Clone {
            url: child.url.to_string(),
            source: Fault::SshSettings(format!(
                "the submodule is reached by ssh, but the credentials are for {}",
                parent.url.transport()
            )),
        });
    }
    Ok(())
}

fn fetch_one(
    remote: &Remote,
    session: &SharedSession,
    id: ObjectId,
) -> Result<(Store, ObjectId), Error> {
    let clone = remote.failing(Phase::Clone);
    remote.auth.check(&remote.url, true)?;
    let talk = Conversation::begin(remote, session).map_err(&clone)?;
    let not_found = || Error::CommitNotFound {
        commit: id.to_string(),
        source: Fault::ObjectNotFound,
    };
    let store = crate::fetch::one_commit(remote, session, talk, id)?.ok_or_else(not_found)?;
    let objects = store.objects().map_err(&clone)?;
    if objects.kind(&id) != Some(gix::objs::Kind::Commit) {
        return Err(not_found());
    }
    let (_, tree) = objects.commit(&id, "")?;
    Ok((store, tree))
}

/// The submodules listed in a level's `.gitmodules`, in order.
fn modules(level: &Level, layers: &[Store], entries: &[Entry]) -> Result<Vec<Module>, Error> {
    let path = format!("{}{MODULES_FILE}", level.prefix);
    let Some(entry) = entries.iter().find(|entry| entry.path() == path.as_bytes()) else {
        return Ok(Vec::new());
    };
    let Some(store) = layers.get(level.layer) else {
        return Ok(Vec::new());
    };
    let unreadable = |source| Error::Object {
        what: path.clone(),
        source,
    };
    let objects = store.objects().map_err(unreadable)?;
    if objects.size(&entry.id())? > MAX_MODULES_FILE {
        return Err(unreadable(Fault::TooLarge {
            limit: MAX_MODULES_FILE,
            unit: "bytes in .gitmodules",
        }));
    }
    let raw = objects.read(&entry.id(), gix::objs::Kind::Blob)?;
    parse(&String::from_utf8_lossy(&raw))
}

/// Parses `.gitmodules`. Entries without path are ignored; the last value of a key counts.
pub(crate) fn parse(text: &str) -> Result<Vec<Module>, Error> {
    let file =
        gix::config::File::try_from(text).map_err(|error| Error::Modules(error.to_string()))?;
    let mut modules: BTreeMap<String, Module> = BTreeMap::new();
    for section in file
        .sections()
        .filter(|section| section.header().name() == "submodule")
    {
        let Some(name) = section.header().subsection_name() else {
            continue;
        };
        let name = name.to_string();
        let module = modules.entry(name.clone()).or_insert_with(|| Module {
            name,
            path: String::new(),
            url: String::new(),
        });
        if let Some(path) = section.value("path") {
            module.path = path.to_string();
        }
        if let Some(url) = section.value("url") {
            module.url = url.to_string();
        }
    }
    let mut modules: Vec<Module> = modules
        .into_values()
        .filter(|module| !module.path.is_empty())
        .collect();
    for module in &mut modules {
        module.path = module.path.trim_end_matches('/').to_owned();
        let refused = module
            .path
            .split('/')
            .chain(module.name.split('/'))
            .find_map(|name| refusal(name.as_bytes()));
        if let Some(reason) = refused {
            return Err(Error::Modules(format!(
                "submodule {:?} at {:?}: {reason}",
                module.name, module.path
            )));
        }
        if module.url.is_empty() || module.url.starts_with('-') {
            return Err(Error::Modules(format!(
                "submodule {:?} has no usable URL",
                module.name
            )));
        }
        // Joining a local path with the parent's URL would fail as well; this error names the submodule.
        if module.url.starts_with('/')
            || GitUrl::parse(&module.url).is_err() && module.url.contains("://")
        {
            return Err(Error::Modules(format!(
                "submodule {:?} has no usable URL",
                module.name
            )));
        }
    }
    Ok(modules)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn submodules_are_sorted_by_name() {
        let text = "[submodule \"b\"]\n\tpath = libs/b/\n\turl = ../b.git\n[core]\n\tx = 1\n\
            [submodule \"a\"]\n\tpath = a\n\turl = https://h/a\n[submodule \"no path\"]\n\turl = x\n";
        let module = |name: &str, path: &str, url: &str| Module {
            name: name.into(),
            path: path.into(),
            url: url.into(),
        };
        assert_eq!(
            parse(text).unwrap(),
            [
                module("a", "a", "https://h/a"),
                module("b", "libs/b", "../b.git")
            ]
        );
        assert_eq!(parse("").unwrap(), []);
    }

    // SC-GIT-077
    #[rstest]
    #[case("[submodule \"a\"]\npath=../x\nurl=u:x\n")]
    #[case("[submodule \"a\"]\npath=.git/modules\nurl=u:x\n")]
    #[case("[submodule \"../../hooks\"]\npath=a\nurl=u:x\n")]
    #[case("[submodule \"a\"]\npath=a\nurl=-upload-pack=x\n")]
    #[case("[submodule \"a\"]\npath=a\nurl=/etc\n")]
    #[case("[submodule \"a\"]\npath=a\nurl=file:///etc\n")]
    #[case("[submodule \"a\"]\npath=a\n")]
    #[case("[submodule \"a\"\n")]
    fn harmful_gitmodules_are_refused(#[case] text: &str) {
        assert!(matches!(parse(text), Err(Error::Modules(_))));
    }
}
