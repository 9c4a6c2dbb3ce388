//! Container images, built without a container engine.
//!
//! An [`Image`] is the last stage of a controller's Dockerfile: files from scratch, a user, an entry point. It is
//! written as an OCI layout in a tar file, for `ctr images import` and `kind load image-archive`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::failure::{Doing, Failure, Result};

/// An image with a single layer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Its name and tag.
    pub reference: String,
    /// Files: their path on this machine, and in the image.
    pub files: Vec<(PathBuf, String)>,
    /// The user, as `UID:GID`.
    pub user: String,
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// The program with its first arguments.
    pub entrypoint: Vec<String>,
}

impl Image {
    /// Parses the last stage of a Dockerfile; `find` returns the local file for one copied from an earlier stage.
    ///
    /// Only the instructions of such a stage are supported (`FROM scratch`, `COPY --from=STAGE SOURCE TARGET`, `ENV NAME=VALUE`,
    /// `USER`, `ENTRYPOINT`, `LABEL`); others are errors rather than ignored.
    pub fn from_dockerfile(
        reference: &str,
        dockerfile: &str,
        find: impl Fn(&str) -> Result<PathBuf>,
    ) -> Result<Self> {
        let mut image = Self {
            reference: reference.to_owned(),
            ..Self::default()
        };
        for line in last_stage(dockerfile) {
            let (instruction, rest) = line.split_once(' ').unwrap_or((line, ""));
            let words: Vec<&str> = rest.split_whitespace().collect();
            match (instruction, words.as_slice()) {
                ("FROM", ["scratch"]) | ("LABEL", _) => {}
                ("COPY", [from, source, target]) if from.starts_with("--from=") => {
                    let name = source.rsplit('/').next().unwrap_or(source);
                    let target = if target.ends_with('/') {
                        format!("{target}{name}")
                    } else {
                        (*target).to_owned()
                    };
                    image.files.push((find(source)?, target));
                }
                ("ENV", variables) => image.env.extend(environment(line, variables)?),
                ("USER", [user]) => (*user).clone_into(&mut image.user),
                ("ENTRYPOINT", _) => {
                    image.entrypoint = serde_json::from_str(rest).doing("read ENTRYPOINT")?;
                }
                _ => return Err(Failure::new(format!("the harness cannot build {line:?}"))),
            }
        }
        if image.files.is_empty() || image.entrypoint.is_empty() {
            return Err(Failure::new(format!(
                "the Dockerfile of {reference} has no last stage with files and ENTRYPOINT"
            )));
        }
        Ok(image)
    }

    /// The environment variables that the last stage of a Dockerfile sets.
    pub fn environment(dockerfile: &str) -> Result<Vec<(String, String)>> {
        let mut found = Vec::new();
        for line in last_stage(dockerfile) {
            if let Some(rest) = line.strip_prefix("ENV ") {
                let variables: Vec<&str> = rest.split_whitespace().collect();
                found.extend(environment(line, &variables)?);
            }
        }
        Ok(found)
    }

    /// Writes the image as a tar file.
    pub fn write(&self, path: &Path) -> Result {
        let layer = self.layer()?;
        let layer_digest = digest(&layer);
        let mut env = vec!["PATH=/usr/local/bin:/usr/bin:/bin".to_owned()];
        let own = self
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        env.extend(own);
        let config = serde_json::to_vec(&json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {"Entrypoint": self.entrypoint, "User": self.user, "Env": env},
            "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
        }))?;
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
        }))?;
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
        let tag = self.reference.rsplit(':').next().unwrap_or_default();
        entry["annotations"] = json!({
            "io.containerd.image.name": self.reference,
            "org.opencontainers.image.ref.name": tag,
        });
        entry["platform"] = json!({"architecture": architecture(), "os": "linux"});
        let index = serde_json::to_vec(&json!({"schemaVersion": 2, "manifests": [entry]}))?;

        let file = File::create(path).doing(format!("create {}", path.display()))?;
        let mut tar = tar::Builder::new(file);
        add(
            &mut tar,
            "oci-layout",
            br#"{"imageLayoutVersion":"1.0.0"}"#,
            0o644,
        )?;
        add(&mut tar, "index.json", &index, 0o644)?;
        for blob in [&layer, &config, &manifest] {
            add(
                &mut tar,
                &digest(blob).replace("sha256:", "blobs/sha256/"),
                blob,
                0o644,
            )?;
        }
        tar.finish()?;
        Ok(())
    }

    fn layer(&self) -> Result<Vec<u8>> {
        let mut tar = tar::Builder::new(Vec::new());
        for (source, target) in &self.files {
            let content = fs::read(source).doing(format!("read {}", source.display()))?;
            add(&mut tar, target.trim_start_matches('/'), &content, 0o755)?;
        }
        Ok(tar.into_inner()?)
    }
}

/// The instructions of the last stage of a Dockerfile.
fn last_stage(dockerfile: &str) -> Vec<&str> {
    let lines: Vec<&str> = dockerfile.lines().map(str::trim).collect();
    let last = lines.iter().rposition(|line| line.starts_with("FROM "));
    let stage = last
        .and_then(|start| lines.get(start..))
        .unwrap_or_default();
    let is_instruction = |line: &&&str| !line.is_empty() && !line.starts_with('#');
    stage.iter().filter(is_instruction).copied().collect()
}

/// The variables of an `ENV` instruction, which are not quoted and refer to no others.
fn environment(line: &str, variables: &[&str]) -> Result<Vec<(String, String)>> {
    let variable = |text: &&str| {
        let (name, value) = text.split_once('=')?;
        let is_plain = !text.contains(['"', '\'', '$', '\\']);
        is_plain.then(|| (name.to_owned(), value.to_owned()))
    };
    let found: Option<Vec<_>> = variables.iter().map(variable).collect();
    found.ok_or_else(|| Failure::new(format!("the harness cannot build {line:?}")))
}

fn add(
    tar: &mut tar::Builder<impl std::io::Write>,
    name: &str,
    content: &[u8],
    mode: u32,
) -> Result {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    tar.append_data(&mut header, name, content)
        .doing(format!("add {name} to the image"))
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(content), "size": content.len()})
}

fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCKERFILE: &str = r#"
FROM rust:1 AS build
RUN cargo build

FROM scratch
# The roots.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/target/release/app /usr/local/bin/app
ENV A=b C=d=e
USER 65534:65534
ENTRYPOINT ["/usr/local/bin/app"]
"#;

    #[allow(clippy::unnecessary_wraps)] // as a caller's own would
    fn find(source: &str) -> Result<PathBuf> {
        Ok(PathBuf::from("/host").join(source.rsplit('/').next().unwrap_or_default()))
    }

    #[test]
    fn the_last_stage_of_a_dockerfile_becomes_an_image() {
        let image = Image::from_dockerfile("app:1", DOCKERFILE, find).unwrap();
        let expected = Image {
            reference: "app:1".into(),
            files: vec![
                (
                    "/host/ca-certificates.crt".into(),
                    "/etc/ssl/certs/ca-certificates.crt".into(),
                ),
                ("/host/app".into(), "/usr/local/bin/app".into()),
            ],
            user: "65534:65534".into(),
            env: vec![("A".into(), "b".into()), ("C".into(), "d=e".into())],
            entrypoint: vec!["/usr/local/bin/app".into()],
        };
        assert_eq!(image, expected);
        assert_eq!(Image::environment(DOCKERFILE).unwrap(), expected.env);
    }

    #[test]
    fn unsupported_dockerfile_instructions_are_refused() {
        for line in [
            "RUN true",
            "COPY a b",
            "ENV A \"b\"",
            "ENV A=$B",
            "ENTRYPOINT /bin/app",
        ] {
            let dockerfile = format!("{DOCKERFILE}{line}\n");
            assert!(
                Image::from_dockerfile("app:1", &dockerfile, find).is_err(),
                "{line}"
            );
        }
        assert!(Image::from_dockerfile("app:1", "FROM scratch\nUSER 1:1\n", find).is_err());
    }

    #[test]
    fn the_tar_file_is_an_oci_layout_whose_digests_are_right() {
        let folder = std::env::temp_dir().join(format!("flux-image-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let program = folder.join("app");
        fs::write(&program, "#!").unwrap();
        let image =
            Image::from_dockerfile("localhost/app:1", DOCKERFILE, |_| Ok(program.clone())).unwrap();
        let path = folder.join("image.tar");
        image.write(&path).unwrap();

        let mut names = Vec::new();
        let mut archive = tar::Archive::new(File::open(&path).unwrap());
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().to_string_lossy().into_owned();
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
            if let Some(hex) = name.strip_prefix("blobs/sha256/") {
                assert_eq!(format!("sha256:{hex}"), digest(&content));
            }
            names.push(name);
        }
        assert_eq!(&names[..2], ["oci-layout", "index.json"]);
        assert_eq!(names.len(), 5);
        fs::remove_dir_all(folder).unwrap();
    }
}
