//! Loads a kustomization's files: from its folder, its tree, or remotely through the caller.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;
use flux_tree::{Entry, PathError, ResolveError, Tree, TreePath};

use crate::error::{Cause, Context, Fail, Limited, Result};
use crate::meter::Meter;
use crate::options::{LoadRestriction, Options};
use crate::output::Warning;
use crate::remote::{RemoteBase, RemoteFailure, Remotes};
use crate::repository::Location;
use crate::secrecy::shown_url;

/// State shared by all loaders of a build.
pub(crate) struct Session<'b> {
    pub(crate) options: &'b Options,
    pub(crate) remotes: &'b Remotes,
    pub(crate) needs: RefCell<Vec<RemoteBase>>,
    pub(crate) warnings: RefCell<Vec<Warning>>,
    pub(crate) meter: Rc<Meter>,
    opened: Cell<usize>,
}

impl<'b> Session<'b> {
    pub(crate) fn new(options: &'b Options, remotes: &'b Remotes, meter: &Rc<Meter>) -> Self {
        Self {
            options,
            remotes,
            needs: RefCell::default(),
            warnings: RefCell::default(),
            meter: Rc::clone(meter),
            opened: Cell::new(0),
        }
    }

    fn need(&self, base: RemoteBase) -> Fail {
        let message = "something remote has not been fetched";
        let mut needs = self.needs.borrow_mut();
        if !needs.contains(&base) {
            needs.push(base);
        }
        Fail::new(Cause::Needs, message)
    }

    pub(crate) fn warn(&self, text: &str) {
        self.warnings.borrow_mut().push(Warning(text.to_owned()));
    }
}

/// A kustomization's folder, and the loader that opened it.
pub(crate) struct Loader<'b> {
    session: &'b Session<'b>,
    tree: &'b Tree,
    root: TreePath,
    root_only: bool,
    /// The repository, if this folder was opened by a repository's URL.
    cloned: Option<Location>,
    /// Whether the tree is a repository's checkout.
    in_clone: bool,
    referrer: Option<Rc<Loader<'b>>>,
    depth: usize,
}

/// The path as shown in messages.
pub(crate) fn shown(path: &TreePath) -> String {
    format!("/{}", path.as_str())
}

impl<'b> Loader<'b> {
    /// Opens the build's target.
    pub(crate) fn open(
        session: &'b Session<'b>,
        tree: &'b Tree,
        dir: &TreePath,
    ) -> Result<Rc<Self>> {
        let root = confirm_dir(tree, dir).context(|| "must build at directory".into())?;
        Ok(Rc::new(Self {
            session,
            tree,
            root,
            root_only: session.options.load == LoadRestriction::RootOnly,
            cloned: None,
            in_clone: false,
            referrer: None,
            depth: 0,
        }))
    }

    pub(crate) fn session(&self) -> &'b Session<'b> {
        self.session
    }

    pub(crate) fn meter(&self) -> &Rc<Meter> {
        &self.session.meter
    }

    pub(crate) fn root(&self) -> &TreePath {
        &self.root
    }

    /// The folder as shown in messages.
    pub(crate) fn shown_root(&self) -> String {
        shown(&self.root)
    }

    /// Opens a base or component (KZ-PATH-007, KZ-PATH-008, KZ-REM-001).
    pub(crate) fn child(self: &Rc<Self>, path: &str) -> Result<Rc<Self>> {
        if path.is_empty() {
            return Err("new root cannot be empty".into());
        }
        self.count()?;
        self.meter().steps(100)?;
        if let Ok(location) = Location::parse(path) {
            return self.child_in_repository(location);
        }
        // A URL that is not a repository's is looked up as a folder, which does not exist; its credentials are not
        // shown.
        let path = shown_url(path);
        let path = path.as_str();
        if path.starts_with('/') {
            return Err(format!("new root '{path}' cannot be absolute").into());
        }
        let joined = self.join(path, "abs")?;
        let root = confirm_dir(self.tree, &joined).context(|| "must build at directory".into())?;
        self.refuse_cycle(&root)?;
        Ok(Rc::new(Self {
            session: self.session,
            tree: self.tree,
            root,
            root_only: self.root_only,
            cloned: None,
            in_clone: self.in_clone,
            referrer: Some(Rc::clone(self)),
            depth: self.depth + 1,
        }))
    }

    fn count(&self) -> Result<()> {
        let limits = &self.session.options.limits;
        let opened = self.session.opened.get() + 1;
        self.session.opened.set(opened);
        if opened > limits.kustomizations {
            let allowed = limits.kustomizations;
            return Err(Fail::new(
                Cause::Limit(Limited::Kustomizations, allowed),
                format!("more than {allowed} kustomizations in one build"),
            ));
        }
        if self.depth >= limits.depth {
            let allowed = limits.depth;
            return Err(Fail::new(
                Cause::Limit(Limited::Depth, allowed),
                format!("more than {allowed} kustomizations inside one another"),
            ));
        }
        Ok(())
    }

    fn child_in_repository(self: &Rc<Self>, location: Location) -> Result<Rc<Self>> {
        let mut at = Some(self);
        while let Some(loader) = at {
            if let Some(previous) = &loader.cloned
                && previous.raw.starts_with(&location.raw)
            {
                return Err(format!(
                    "cycle detected: URI '{}' referenced by previous URI '{}'",
                    shown_url(&location.raw),
                    shown_url(&previous.raw)
                )
                .into());
            }
            at = loader.referrer.as_ref();
        }
        if location
            .raw
            .get(..5)
            .is_some_and(|head| head.eq_ignore_ascii_case("git::"))
        {
            self.session.warn(
                "# Warning: the 'git::' prefix of a URL is not supported and is ignored. Please remove it.",
            );
        }
        let tree = match self.session.remotes.repository(&location.repository) {
            None => {
                let base = RemoteBase::Repository(location.repository);
                return Err(self.session.need(base));
            }
            Some(Err(error)) => return Err(Fail::new(Cause::Remote, error.clone())),
            Some(Ok(tree)) => tree,
        };
        let escapes = || {
            let message = format!(
                "\"/{}\" refers to directory outside of repo \"/\"",
                location.path
            );
            Fail::new(Cause::Escapes(location.path.clone()), message)
        };
        let path = TreePath::new(&location.path).map_err(|_| escapes())?;
        let root = match tree.resolve(&path) {
            Err(ResolveError::Escapes { .. }) => return Err(escapes()),
            _ => resolve(tree, &path)?,
        };
        if !matches!(tree.get(&root), Some(Entry::Directory)) {
            return Err(format!(
                "'{}' refers to file '{}'; expecting directory",
                shown(&path),
                root.file_name()
            )
            .into());
        }
        Ok(Rc::new(Self {
            session: self.session,
            tree,
            root,
            // KZ-REM-020
            root_only: true,
            cloned: Some(location),
            in_clone: true,
            referrer: Some(Rc::clone(self)),
            depth: self.depth + 1,
        }))
    }

    fn refuse_cycle(self: &Rc<Self>, candidate: &TreePath) -> Result<()> {
        let mut at = Some(self);
        while let Some(loader) = at {
            // Paths of different trees are unrelated.
            if std::ptr::eq(loader.tree, self.tree) && loader.root.starts_with(candidate) {
                return Err(format!(
                    "cycle detected: candidate root '{}' contains visited root '{}'",
                    shown(candidate),
                    shown(&loader.root)
                )
                .into());
            }
            at = loader.referrer.as_ref();
        }
        Ok(())
    }

    fn join(&self, path: &str, operation: &str) -> Result<TreePath> {
        let joined = match path.strip_prefix('/') {
            Some(absolute) => TreePath::new(absolute),
            None => self.root.join(path),
        };
        joined.map_err(|error| self.escape(path, operation, &error))
    }

    fn escape(&self, path: &str, operation: &str, error: &PathError) -> Fail {
        let message = match error {
            PathError::Nul => error.to_string(),
            _ if self.in_clone && operation == "abs" => format!(
                "security; bases in kustomizations found in cloned git repos must be within the repo, but base '{path}' \
                 is outside '/'"
            ),
            // KC-BLD-021
            _ => format!(
                "fs-security-constraint {operation} {path}: path '{path}' is not in or below '/'"
            ),
        };
        Fail::new(Cause::Escapes(path.to_owned()), message)
    }

    /// Reads a file: a URL, or a path relative to this folder (KZ-PATH-001, KZ-PATH-014).
    pub(crate) fn load(&self, path: &str) -> Result<Bytes> {
        if is_remote(path) {
            return self.load_remote(path);
        }
        let joined = self.join(path, "read")?;
        if self.root_only {
            return self.load_restricted(&joined);
        }
        let shown = shown(&joined);
        match self.tree.file(&joined) {
            Ok(file) => Ok(file.content.clone()),
            // The tree is a part of some file system, whose other files must not be read.
            Err(ResolveError::NotFound(_)) if path.starts_with('/') => Err(Fail::new(
                Cause::Missing(joined),
                format!("fs-security-constraint read {path}: path '{path}' is not in or below '/'"),
            )),
            Err(ResolveError::NotFound(_)) => Err(Fail::new(
                Cause::Missing(joined),
                format!("open {shown}: no such file or directory"),
            )),
            Err(ResolveError::IsADirectory(_)) => {
                Err(format!("read {shown}: is a directory").into())
            }
            Err(ResolveError::Escapes { source, .. }) => Err(self.escape(&shown, "read", &source)),
            Err(ResolveError::LinkLoop(_)) => {
                Err(format!("open {shown}: too many levels of symbolic links").into())
            }
            Err(ResolveError::TargetTooLong(_)) => {
                Err(format!("open {shown}: file name too long").into())
            }
        }
    }

    fn load_restricted(&self, path: &TreePath) -> Result<Bytes> {
        let resolved = resolve(self.tree, path)?;
        let Some(Entry::File(file)) = self.tree.get(&resolved) else {
            return Err(format!("'{}' must resolve to a file", shown(path)).into());
        };
        if !resolved.starts_with(&self.root) {
            return Err(Fail::new(
                Cause::Escapes(shown(path)),
                format!(
                    "security; file '{}' is not in or below '{}'",
                    shown(path),
                    shown(&self.root)
                ),
            ));
        }
        Ok(file.content.clone())
    }

    fn load_remote(&self, url: &str) -> Result<Bytes> {
        match self.session.remotes.file(url) {
            None => Err(self.session.need(RemoteBase::File(url.to_owned()))),
            Some(Ok(content)) => Ok(content.clone()),
            Some(Err(RemoteFailure::Other(error))) => Err(Fail::new(Cause::Remote, error.clone())),
            // KZ-PATH-016
            Some(Err(RemoteFailure::Status { .. })) if Location::parse(url).is_ok() => {
                Err("URL is a git repository".into())
            }
            Some(Err(RemoteFailure::Status { code, text })) => Err(Fail::new(
                Cause::Http,
                format!("HTTP Error: status code {code} ({text})"),
            )),
        }
    }
}

fn is_remote(path: &str) -> bool {
    let scheme = path.split(':').next().unwrap_or_default();
    scheme.len() < path.len()
        && (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"))
}

/// Follows links; the target must exist.
fn resolve(tree: &Tree, path: &TreePath) -> Result<TreePath> {
    let missing = |at: &TreePath| {
        let message = format!(
            "evalsymlink failure on '{}' : lstat {}: no such file or directory",
            shown(path),
            shown(at)
        );
        Fail::new(Cause::Missing(path.clone()), message)
    };
    let resolved = tree.resolve(path).map_err(|error| match error {
        ResolveError::Escapes { .. } => Fail::new(
            Cause::Escapes(shown(path)),
            format!(
                "fs-security-constraint abs {0}: path '{0}' is not in or below '/'",
                shown(path)
            ),
        ),
        _ => missing(path),
    })?;
    if tree.get(&resolved).is_some() {
        return Ok(resolved);
    }
    // The message names the first part of the path that does not exist.
    let mut first = resolved;
    while let Some(parent) = first.parent() {
        if tree.get(&parent).is_some() {
            break;
        }
        first = parent;
    }
    Err(missing(&first))
}

fn confirm_dir(tree: &Tree, path: &TreePath) -> Result<TreePath> {
    let resolved = resolve(tree, path).context(|| "not a valid directory".into())?;
    if matches!(tree.get(&resolved), Some(Entry::Directory)) {
        return Ok(resolved);
    }
    Err(format!("'{}': file is not directory", shown(path)).into())
}
