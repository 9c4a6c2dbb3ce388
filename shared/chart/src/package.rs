//! Packs charts into archives, as `helm package` does.

use std::io::{self, Write};

use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use crate::load::LoadError;
use crate::{Chart, File, Time, subchart_path};

/// The extra field of the gzip header by which Helm's archives are known (SC-HCHART-075).
const EXTRA: &[u8] = b"rr\x28\x00aHR0cHM6Ly95b3V0dS5iZS96OVV6MWljandyTQo=";
/// The comment in the gzip header.
const COMMENT: &str = "Helm";
/// The operating system of the gzip header, as Go writes it: unknown.
const UNKNOWN_SYSTEM: u8 = 255;
/// The permissions of every file.
const MODE: u32 = 0o644;

/// Why a chart cannot be packed. Printed with its source, joined by `: `, the text is Helm's.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// Chart.yaml is invalid.
    #[error("chart validation")]
    Invalid(#[source] LoadError),
    /// The schema is not JSON.
    #[error("invalid JSON in values.schema.json")]
    Schema,
    /// Chart.yaml or Chart.lock cannot be written as YAML.
    #[error("{0}")]
    Yaml(String),
    /// The archive cannot be written.
    #[error("failed to write the archive")]
    Write(#[from] io::Error),
}

impl Chart {
    /// The chart as an archive (`.tgz`), with its subcharts unpacked in `charts/` (SC-HCHART-075). Chart.yaml and Chart.lock
    /// are written anew.
    ///
    /// Files without a modification time, which are those of folders, get 1970-01-01, so that the same chart always gives the
    /// same bytes; Helm stamps the time of packaging (SC-HCHART-076).
    ///
    /// # Errors
    /// The metadata or the schema is invalid.
    pub fn package(&self) -> Result<Vec<u8>, PackageError> {
        let valid = self.metadata.clone().validated();
        valid.map_err(PackageError::Invalid)?;
        let gzip = GzBuilder::new()
            .extra(EXTRA)
            .comment(COMMENT)
            .operating_system(UNKNOWN_SYSTEM)
            .write(Vec::new(), Compression::default());
        let mut archive = Builder::new(gzip);
        self.pack(&mut archive, self.name())?;
        Ok(archive.into_inner()?.finish()?)
    }

    fn pack<W: Write>(&self, archive: &mut Builder<W>, base: &str) -> Result<(), PackageError> {
        let is_v1 = self.metadata.api_version == "v1";
        let mut metadata = self.metadata.clone();
        if is_v1 {
            metadata.dependencies = None; // they stay in requirements.yaml (SC-HCHART-077)
        }
        let chart = File {
            mod_time: self.mod_time,
            ..File::new("Chart.yaml", yaml(&metadata)?)
        };
        add(archive, base, &chart)?;
        if let Some(lock) = self.lock.as_ref().filter(|_| !is_v1) {
            let file = File {
                mod_time: lock.generated,
                ..File::new("Chart.lock", yaml(lock)?)
            };
            add(archive, base, &file)?;
        }
        for file in self.raw.iter().filter(|file| file.name == "values.yaml") {
            add(archive, base, file)?;
        }
        if let Some(schema) = &self.schema {
            if serde_json::from_slice::<serde::de::IgnoredAny>(schema).is_err() {
                return Err(PackageError::Schema);
            }
            let file = File {
                mod_time: self.schema_mod_time,
                ..File::new("values.schema.json", schema.clone())
            };
            add(archive, base, &file)?;
        }
        for file in self.templates.iter().chain(&self.files) {
            add(archive, base, file)?;
        }
        for subchart in &self.dependencies {
            subchart.pack(archive, &subchart_path(base, subchart.name()))?;
        }
        Ok(())
    }
}

/// As `sigs.k8s.io/yaml` writes it.
fn yaml<T: serde::Serialize>(value: &T) -> Result<String, PackageError> {
    let json = serde_json::to_string(value).map_err(|error| PackageError::Yaml(error.to_string()));
    flux_yaml::sigs::json_to_yaml(json?).map_err(|error| PackageError::Yaml(error.to_string()))
}

fn add<W: Write>(archive: &mut Builder<W>, base: &str, file: &File) -> Result<(), PackageError> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(MODE);
    header.set_size(file.data.len() as u64);
    header.set_mtime(seconds(file.mod_time));
    let path = format!("{base}/{}", file.name);
    Ok(archive.append_data(&mut header, path, &*file.data)?)
}

/// Seconds since 1970; zero for an unknown time.
fn seconds(time: Time) -> u64 {
    u64::try_from(time.instant().as_second()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
