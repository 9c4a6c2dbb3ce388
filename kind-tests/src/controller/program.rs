//! The binaries of the controllers and their images, found or built.

use std::collections::HashMap;
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock};

use crate::cache;
use crate::failure::{Doing as _, Failure, Result};
use crate::image::Image;

/// The binary of the package: from the folder `FLUX_TEST_BINARIES`, otherwise built with the profile of this test.
///
/// It is linked statically, as in releases, so that the same file runs in an image from scratch.
pub fn program(package: &str) -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("FLUX_TEST_BINARIES").filter(|value| !value.is_empty()) {
        let path = PathBuf::from(folder).join(package);
        return if path.is_file() {
            Ok(path)
        } else {
            Err(Failure::new(format!("FLUX_TEST_BINARIES has no {package}")))
        };
    }
    let mut built = built()?;
    if let Some(path) = built.get(package) {
        return Ok(path.clone());
    }
    let path = build(package)?;
    built.insert(package.to_owned(), path.clone());
    Ok(path)
}

/// The built binaries, by package.
fn built() -> Result<MutexGuard<'static, HashMap<String, PathBuf>>> {
    static BUILT: OnceLock<Mutex<HashMap<String, PathBuf>>> = OnceLock::new();
    BUILT
        .get_or_init(Mutex::default)
        .lock()
        .map_err(|_| Failure::new("an earlier build failed"))
}

/// The Dockerfile of the controllers.
pub(super) fn dockerfile() -> Result<String> {
    let path = cache::workspace().join("Dockerfile");
    std::fs::read_to_string(&path).doing(format!("read {}", path.display()))
}

/// The image of the package: the Dockerfile's last stage with [`program`] as binary, as a tar file.
pub fn image(package: &str, reference: &str) -> Result<PathBuf> {
    let program = program(package)?;
    let image = Image::from_dockerfile(reference, &dockerfile()?, |source| {
        match source.rsplit('/').next() {
            Some("controller") => Ok(program.clone()),
            Some("ca-certificates.crt") => Ok(PathBuf::from("/etc/ssl/certs/ca-certificates.crt")),
            _ => Err(Failure::new(format!(
                "the Dockerfile copies {source}, which the harness does not support"
            ))),
        }
    })?;
    let tar = program.with_extension("image.tar");
    image.write(&tar)?;
    Ok(tar)
}

/// Builds the binaries of these packages in one cargo run, so that [`program`] finds them built. `progress` gets the number
/// of compiled units and of all (none if all are built), and the last line of cargo's.
///
/// They are built with the features of the whole workspace, so that a program started by `cargo run` without `--package`
/// has already compiled their dependencies. They are not linked statically: cargo passes such flags only to a single
/// package, and that is built with its own features.
///
/// # Errors
/// If they do not compile, with the end of what cargo printed.
pub fn build_together(packages: &[&str], progress: &dyn Fn(Compiled, &str)) -> Result {
    if std::env::var_os("FLUX_TEST_BINARIES").is_some() {
        return Ok(());
    }
    let (folder, profile) = target_folder()?;
    let mut cargo = cargo_command(&folder);
    cargo.args(["build", "--profile", &profile]);
    for package in packages {
        cargo.args(["--bin", package]);
    }
    // Otherwise cargo only counts on a terminal.
    cargo.env("CARGO_TERM_PROGRESS_WHEN", "always");
    cargo.env("CARGO_TERM_PROGRESS_WIDTH", "100");
    cargo.env("CARGO_TERM_COLOR", "never");
    cargo.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = cargo.spawn().doing("run cargo")?;
    let output = child.stderr.take().into_iter();
    let mut printed = Vec::new();
    let mut line = Vec::new();
    // Cargo ends what it will overwrite with a carriage return.
    for byte in output.flat_map(|output| BufReader::new(output).bytes().map_while(Result::ok)) {
        if byte != b'\n' && byte != b'\r' {
            line.push(byte);
            continue;
        }
        let text = String::from_utf8_lossy(&line).trim().to_owned();
        line.clear();
        if let Some(compiled) = Compiled::read(&text) {
            progress(compiled, &text);
        } else if !text.is_empty() {
            printed.push(text);
        }
    }
    let status = child.wait().doing("run cargo")?;
    let end = printed[printed.len().saturating_sub(40)..].join("\n");
    crate::ensure!(status.success(), "the controllers do not build:\n{end}");
    let mut built = built()?;
    for package in packages {
        built.insert((*package).to_owned(), folder.join(package));
    }
    Ok(())
}

/// How far a build is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// What is compiled.
    pub done: usize,
    /// What there is to compile.
    pub of: usize,
}

impl Compiled {
    /// From cargo's `Building [==>   ] 12/345: name, name`.
    fn read(line: &str) -> Option<Self> {
        let (_, rest) = line.strip_prefix("Building [")?.split_once("] ")?;
        let (done, of) = rest.split(':').next()?.trim().split_once('/')?;
        Some(Self {
            done: done.parse().ok()?,
            of: of.parse().ok()?,
        })
    }
}

fn build(package: &str) -> Result<PathBuf> {
    build_with(package, &[])
}

/// Builds the binary of the package like [`program`], with additional arguments for rustc.
pub fn build_with(package: &str, arguments: &[&str]) -> Result<PathBuf> {
    let (mut cargo, program) = cargo(package)?;
    let output = cargo.args(arguments).output().doing("run cargo")?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(format!("cannot build {package}:\n{why}")));
    }
    Ok(program)
}

/// The command that builds the package's binary, and the path of the result.
fn cargo(package: &str) -> Result<(Command, PathBuf)> {
    let (folder, profile) = target_folder()?;
    let mut command = cargo_command(&folder);
    command.args(["rustc", "--profile", &profile]);
    command.args(["--package", package, "--bin", package]);
    // As the Dockerfile builds it.
    command.args(["--", "-C", "target-feature=+crt-static"]);
    command.args(["-C", "link-arg=-Wl,-z,pack-relative-relocs"]);
    Ok((command, folder.join(package)))
}

/// The folder that this program's own build puts binaries into, and the profile of that build.
fn target_folder() -> Result<(PathBuf, String)> {
    let own = std::env::current_exe()?;
    // target/<profile>/deps/<test>-<hash>, or target/<profile>/<bin>
    let folder = own
        .parent()
        .filter(|folder| !folder.ends_with("deps"))
        .or_else(|| own.parent()?.parent());
    let folder = folder.ok_or_else(|| Failure::new("this program is not in a target folder"))?;
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    Ok((folder.to_owned(), profile.to_owned()))
}

/// cargo in the workspace, for builds whose results go to `folder`.
fn cargo_command(folder: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(cache::workspace()).stdin(Stdio::null());
    // The variables that cargo sets for this program would look like changes to build scripts that watch them (such as
    // ring's), and everything that depends on them would be rebuilt, now and in the next build.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
        }) {
            command.env_remove(name);
        }
    }
    if let Some(target) = folder.parent() {
        command.env("CARGO_TARGET_DIR", target);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::Compiled;

    #[test]
    fn progress_is_read_of_cargo_s_bar() {
        let read =
            Compiled::read("Building [=====>        ] 123/456: flux-git, kube-client(build)...");
        assert_eq!(read, Some(Compiled { done: 123, of: 456 }));
        assert_eq!(Compiled::read("Compiling flux-git v0.1.0"), None);
        assert_eq!(Compiled::read("Building [=> ] and more"), None);
    }
}
