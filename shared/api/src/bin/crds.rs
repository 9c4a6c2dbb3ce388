//! Writes the CustomResourceDefinitions of every kind into `manifests/crds/`; with `--check` it says which files are
//! stale and fails.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let check = match arguments
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [] => false,
        ["--check"] => true,
        _ => {
            eprintln!("usage: cargo xcrds [--check]");
            return ExitCode::from(2);
        }
    };
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests/crds");
    let mut stale = Vec::new();
    let definitions = flux_api::definitions();
    let list = flux_api::kustomization(&definitions);
    let files = definitions
        .iter()
        .map(|definition| (definition.file_name.as_str(), definition.to_yaml()));
    for (name, text) in files.chain([("kustomization.yaml", list)]) {
        let path = folder.join(name);
        if fs::read_to_string(&path).is_ok_and(|present| present == text) {
            continue;
        }
        if check {
            stale.push(name.to_owned());
        } else if let Err(error) = fs::create_dir_all(&folder).and_then(|()| fs::write(&path, text))
        {
            eprintln!("cannot write {}: {error}", path.display());
            return ExitCode::FAILURE;
        } else {
            println!("wrote manifests/crds/{name}");
        }
    }
    if stale.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("out of date: {}; run `cargo xcrds`", stale.join(", "));
    ExitCode::FAILURE
}
