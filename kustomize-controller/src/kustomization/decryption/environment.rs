//! The age identities of the process, for objects that bring none (KC-SOPS-034).

use flux_cloud::Environment;
use flux_sops::Keyring;
use tokio::io::AsyncReadExt as _;

/// The bytes of a file with keys that are read.
const MAX_FILE: u64 = 1 << 20;

/// Adds the identities that the process's environment names to a ring without any. Returns what errors of keys that are not
/// found end in: where none was, and what went wrong.
///
/// Programs that variables name (`SOPS_AGE_KEY_CMD`, `SOPS_AGE_SSH_PRIVATE_KEY_CMD`) are not run.
pub(super) async fn add_age(ring: &mut Keyring, environment: &Environment) -> String {
    let mut notes = Notes::default();
    match environment.lookup("SOPS_AGE_SSH_PRIVATE_KEY_FILE") {
        Some(path) => notes.ssh(ring, &path, read(&path).await),
        None => notes.unused("SOPS_AGE_SSH_PRIVATE_KEY_FILE"),
    }
    notes.program(environment, "SOPS_AGE_SSH_PRIVATE_KEY_CMD");
    let home = environment.get("HOME");
    if let Some(home) = &home {
        for name in ["id_ed25519", "id_rsa"] {
            let path = format!("{home}/.ssh/{name}");
            match read(&path).await {
                Err(error) if is_absent(&error) => notes.unused(path),
                found => notes.ssh(ring, &path, found),
            }
        }
    }
    match environment.lookup("SOPS_AGE_KEY") {
        Some(text) => notes.identities(ring.add_age_words(&text), "SOPS_AGE_KEY"),
        None => notes.unused("SOPS_AGE_KEY"),
    }
    match environment.lookup("SOPS_AGE_KEY_FILE") {
        Some(path) => match read(&path).await {
            Ok(text) => notes.identities(ring.add_age(&text), "SOPS_AGE_KEY_FILE"),
            Err(error) => notes.error(format!(
                "failed to open SOPS_AGE_KEY_FILE file: open {path}: {}",
                flux_http::system_text(&error)
            )),
        },
        None => notes.unused("SOPS_AGE_KEY_FILE"),
    }
    notes.program(environment, "SOPS_AGE_KEY_CMD");
    let config = environment.get("XDG_CONFIG_HOME");
    let config = config.or_else(|| home.map(|home| format!("{home}/.config")));
    if let Some(config) = config {
        let path = format!("{config}/sops/age/keys.txt");
        match read(&path).await {
            Ok(text) => notes.identities(ring.add_age(&text), &path),
            Err(error) if is_absent(&error) => {
                if !ring.has_age() {
                    notes.unused(path);
                }
            }
            Err(error) => notes.error(format!(
                "failed to open file: open {path}: {}",
                flux_http::system_text(&error)
            )),
        }
    } else if !ring.has_age() {
        notes.error(
            "user config directory could not be determined: neither $XDG_CONFIG_HOME nor $HOME are defined"
                .to_owned(),
        );
    }
    notes.text()
}

fn is_absent(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound
}

async fn read(path: &str) -> std::io::Result<String> {
    let file = tokio::fs::File::open(path).await?;
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text).await?;
    Ok(text)
}

/// Where no identity was, and what could not be read.
#[derive(Default)]
struct Notes {
    errors: Vec<String>,
    unused: Vec<String>,
}

impl Notes {
    fn unused(&mut self, place: impl Into<String>) {
        self.unused.push(place.into());
    }

    fn error(&mut self, text: String) {
        self.errors.push(text);
    }

    fn identities(&mut self, added: Result<(), flux_sops::AgeImportError>, place: &str) {
        if let Err(error) = added {
            self.error(format!("failed to parse '{place}' age identities: {error}"));
        }
    }

    fn ssh(&mut self, ring: &mut Keyring, path: &str, read: std::io::Result<String>) {
        match read {
            Err(error) => self.error(format!(
                "failed to open file: open {path}: {}",
                flux_http::system_text(&error)
            )),
            Ok(text) => {
                if let Err(error) = ring.add_ssh(&text) {
                    self.error(format!("malformed SSH identity in \"{path}\": {error}"));
                }
            }
        }
    }

    fn program(&mut self, environment: &Environment, variable: &str) {
        match environment.lookup(variable) {
            None => self.unused(variable),
            Some(_) => self.error(format!(
                "failed to execute the command of {variable}: this controller runs no programs"
            )),
        }
    }

    /// What errors of age keys end in.
    fn text(&self) -> String {
        let mut text = String::new();
        if !self.errors.is_empty() {
            text = format!(
                ". Errors while loading age identities: {}",
                self.errors.join("; ")
            );
        }
        let places = match self.unused.as_slice() {
            [] => return text,
            [one] => format!(" '{one}'"),
            [one, two] => format!("s '{one}' and '{two}'"),
            [others @ .., last] => format!("s '{}', and '{last}'", others.join("', '")),
        };
        format!("{text}. Did not find keys in location{places}.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the tests of age.
    const IDENTITY: &str =
        "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";

    async fn add(values: &[(&str, &str)]) -> (bool, String) {
        let mut ring = Keyring::default();
        let environment = Environment::of_values(values.iter().copied());
        let note = add_age(&mut ring, &environment).await;
        (ring.has_age(), note)
    }

    #[tokio::test]
    async fn identities_are_looked_for_where_sops_does() {
        // KC-SOPS-034
        let (found, note) = add(&[("HOME", "/nowhere")]).await;
        assert!(!found);
        assert_eq!(
            note,
            ". Did not find keys in locations 'SOPS_AGE_SSH_PRIVATE_KEY_FILE', 'SOPS_AGE_SSH_PRIVATE_KEY_CMD', \
             '/nowhere/.ssh/id_ed25519', '/nowhere/.ssh/id_rsa', 'SOPS_AGE_KEY', 'SOPS_AGE_KEY_FILE', 'SOPS_AGE_KEY_CMD', and \
             '/nowhere/.config/sops/age/keys.txt'."
        );
        let folder = std::env::temp_dir().join(format!("sops-environment-{}", std::process::id()));
        let keys = folder.join("sops/age/keys.txt");
        std::fs::create_dir_all(folder.join("sops/age")).unwrap();
        std::fs::write(&keys, format!("# a comment\n{IDENTITY}\n")).unwrap();
        let (folder, keys) = (folder.display().to_string(), keys.display().to_string());
        let two = format!("{IDENTITY} {IDENTITY}");
        for values in [
            ("SOPS_AGE_KEY", two.as_str()),
            ("SOPS_AGE_KEY_FILE", &keys),
            ("XDG_CONFIG_HOME", &folder),
        ] {
            assert!(add(&[values]).await.0, "{}", values.0);
        }
        for (values, error) in [
            (
                ("SOPS_AGE_KEY", "hidden"),
                "failed to parse 'SOPS_AGE_KEY' age identities: ",
            ),
            (
                ("SOPS_AGE_KEY_FILE", "/nowhere"),
                "failed to open SOPS_AGE_KEY_FILE file: open /nowhere: ",
            ),
            (
                ("SOPS_AGE_KEY_CMD", "hidden"),
                "failed to execute the command of SOPS_AGE_KEY_CMD: ",
            ),
            (
                ("SOPS_AGE_SSH_PRIVATE_KEY_FILE", &keys),
                "malformed SSH identity in ",
            ),
        ] {
            let (found, note) = add(&[values]).await;
            assert!(
                !found && note.contains(error) && !note.contains("hidden"),
                "{note}"
            );
            assert!(!note.contains(IDENTITY), "{note}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
