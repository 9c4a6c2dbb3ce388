//! Command line programs built from their Go modules, cached by version.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::cache::{self, Fingerprint};
use crate::failure::{Doing, Failure, Result};

/// A program in a Go module.
pub(crate) struct GoProgram {
    /// Its name, and that of its folder in the cache.
    pub name: &'static str,
    pub cache: &'static str,
    pub module: &'static str,
    pub version: &'static str,
    /// The package of its `main`, relative to the module.
    pub package: &'static str,
    /// Additional linker arguments.
    pub link: &'static str,
    /// Build tags, for a program that needs cgo and so a C compiler.
    pub cgo_tags: Option<&'static str>,
    /// Folders of the module that the program reads at run time, kept beside it.
    pub data: &'static [&'static str],
    /// Adds what the module lacks for a build; it may change the module, which is a copy.
    pub complete: Option<fn(&Path) -> Result>,
}

impl GoProgram {
    /// The program, built if it is not cached (two to six minutes).
    pub(crate) fn build(&self) -> Result<PathBuf> {
        let go_version = go_command(Path::new("."), &["env", "GOVERSION", "GOARCH"], false)?;
        let key = Fingerprint::default()
            .with(self.version)
            .with(go_version)
            .key();
        let folder = cache::folder_of(&cache::folder()?.join(self.cache), &key, |folder| {
            self.build_into(folder)
        })?;
        Ok(folder.join(self.name))
    }

    fn build_into(&self, folder: &Path) -> Result {
        let Self { name, version, .. } = self;
        eprintln!("kind-tests: building the {name} command {version} (once; two to six minutes)");
        let wanted = format!("{}@{version}", self.module);
        let download = go_command(folder, &["mod", "download", "-json", &wanted], false)?;
        let download: Value = serde_json::from_str(&download)?;
        let module = download["Dir"].as_str().ok_or_else(|| {
            Failure::new(format!("go mod download returned no folder for {wanted}"))
        })?;

        for data in self.data {
            cache::copy_folder(&Path::new(module).join(data), &folder.join(data))?;
        }
        let source = folder.join("source");
        if let Some(complete) = self.complete {
            cache::copy_folder(Path::new(module), &source)?;
            complete(&source)?;
            self.compile(&source, &folder.join(name))?;
            return fs::remove_dir_all(&source).doing("remove the copied module");
        }
        self.compile(Path::new(module), &folder.join(name))
    }

    fn compile(&self, source: &Path, output: &Path) -> Result {
        let link = format!("-s -w {}", self.link);
        let output = output.to_string_lossy();
        let tags = self.cgo_tags.unwrap_or_default();
        go_command(
            source,
            &[
                "build",
                "-buildvcs=false",
                "-trimpath",
                "-tags",
                tags,
                "-ldflags",
                &link,
                "-o",
                &output,
                self.package,
            ],
            self.cgo_tags.is_some(),
        )?;
        Ok(())
    }
}

/// A go command in this folder, with an environment of its own.
pub(crate) fn go(folder: &Path, arguments: &[&str], cgo: bool) -> Command {
    let mut command = Command::new("go");
    command.args(arguments).current_dir(folder);
    command.env("CGO_ENABLED", if cgo { "1" } else { "0" });
    command.env("GOFLAGS", "").stdin(Stdio::null());
    command
}

/// Its standard output.
pub(crate) fn go_command(folder: &Path, arguments: &[&str], cgo: bool) -> Result<String> {
    let output = go(folder, arguments, cgo)
        .output()
        .doing("run go (the real commands are built with it)")?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(format!(
            "go {} failed:\n{why}",
            arguments.join(" ")
        )));
    }
    Ok(String::from_utf8(output.stdout)?)
}
