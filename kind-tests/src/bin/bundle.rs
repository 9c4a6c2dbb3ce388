//! Writes the files of a release: `cargo xbundle FOLDER REGISTRY [CONTROLLER=DIGEST ...]`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use kind_tests::bundle::{self, Release};
use kind_tests::{Failure, Result};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(registry)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: bundle FOLDER REGISTRY [CONTROLLER=DIGEST ...]");
        return ExitCode::from(2);
    };
    match write(&PathBuf::from(folder), &registry, arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bundle: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(folder: &Path, registry: &str, digests: impl Iterator<Item = String>) -> Result {
    let mut release = Release {
        registry: registry.trim_end_matches('/').to_owned(),
        ..Release::default()
    };
    for digest in digests {
        let Some((name, digest)) = digest.split_once('=') else {
            return Err(Failure::new(format!("{digest} is not CONTROLLER=DIGEST")));
        };
        release.digests.insert(name.to_owned(), digest.to_owned());
    }
    for (path, content) in bundle::release(&release)? {
        let path = folder.join(path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&path, content)?;
        println!("{}", path.display());
    }
    Ok(())
}
