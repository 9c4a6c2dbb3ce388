//! `kustomize build` from the command line:
//! `cargo run --release -p flux-kustomize --example build [--order none|legacy] [--load-restrictor none|rootOnly] DIR`
//!
//! The tree's root is that of the disk, and only holds what the build needs: missing files are read and the build is
//! repeated, so that bases outside of DIR work.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

use flux_kustomize::{Build, Error, LoadRestriction, Options, Order, Remotes, build};
use flux_tree::{Entry, Tree, TreePath};

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Vec<String>) -> Result<(), String> {
    let mut options = Options::default();
    let mut dir = None;
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let (name, inline) = match arg.split_once('=') {
            Some((name, value)) if name.starts_with("--") => {
                (name.to_owned(), Some(value.to_owned()))
            }
            _ => (arg.clone(), None),
        };
        let mut value = || inline.clone().or_else(|| args.next()).unwrap_or_default();
        match name.as_str() {
            "--order" => {
                options.order = match value().as_str() {
                    "none" => Order::None,
                    "legacy" => Order::Legacy,
                    other => return Err(format!("unknown order '{other}'")),
                }
            }
            "--load-restrictor" => {
                options.load = match value().as_str() {
                    "none" | "LoadRestrictionsNone" => LoadRestriction::None,
                    "rootOnly" | "LoadRestrictionsRootOnly" => LoadRestriction::RootOnly,
                    other => return Err(format!("unknown load restrictor '{other}'")),
                }
            }
            _ if name.starts_with('-') => return Err(format!("unknown flag '{name}'")),
            _ => dir = Some(PathBuf::from(arg)),
        }
    }
    let dir = dir.unwrap_or_else(|| PathBuf::from("."));
    let dir = fs::canonicalize(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let target = tree_path(&dir)?;
    let mut tree = Tree::new();
    add(&mut tree, &dir)?;
    loop {
        match build(&tree, &target, &options, &Remotes::new()) {
            Ok(Build::Done(output)) => {
                for warning in &output.warnings {
                    eprintln!("{warning}");
                }
                print!("{}", output.resources.to_yaml());
                return Ok(());
            }
            Ok(Build::Needs(bases)) => {
                return Err(format!("remote bases are not fetched here: {bases:?}"));
            }
            Err(Error::Missing { path, message }) => {
                let wanted = Path::new("/").join(path.as_str());
                if tree.get(&path).is_some() || !wanted.exists() {
                    return Err(message);
                }
                add(&mut tree, &wanted)?;
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn tree_path(path: &Path) -> Result<TreePath, String> {
    let text = path.to_str().ok_or("paths have to be UTF-8")?;
    TreePath::new(text.trim_start_matches('/')).map_err(|error| error.to_string())
}

/// Adds a file, or a folder with everything below it. Links are followed.
fn add(tree: &mut Tree, path: &Path) -> Result<(), String> {
    let fail = |error: io::Error| format!("{}: {error}", path.display());
    let at = tree_path(path)?;
    let metadata = fs::metadata(path).map_err(fail)?;
    if metadata.is_file() {
        let content = fs::read(path).map_err(fail)?;
        return tree
            .insert_file(at, content, false)
            .map_err(|error| error.to_string());
    }
    if !metadata.is_dir() {
        return Ok(());
    }
    tree.insert(at, Entry::Directory)
        .map_err(|error| error.to_string())?;
    for entry in fs::read_dir(path).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if entry.file_name() != ".git" {
            add(tree, &entry.path())?;
        }
    }
    Ok(())
}
