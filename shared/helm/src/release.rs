//! The release record: what Helm remembers of an installed chart, and how it is stored.

mod digest;
mod json;
mod secret;

use std::collections::BTreeMap;

use bytes::Bytes;
pub use digest::{DigestAlgorithm, InvalidDigest, config_digest, is_snapshot_of, snapshot_digest};
use flux_chart::{Lock, Metadata};
use flux_yaml::{Map, Value};
pub use json::to_go_json;
pub use secret::{
    MAX_RECORD_BYTES, RecordError, SECRET_TYPE, SYSTEM_LABELS, decode, encode, secret_labels,
    secret_name,
};
use serde::{Deserialize, Serialize};

use crate::hook::{Hook, is_zero, null_default};
use crate::rendered::Rendered;
use crate::{Chart, File, Time};

/// A release of a chart, one revision (HE-REL-001).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Release {
    /// The release's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// How it fares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<Info>,
    /// What was released.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chart: Option<ReleaseChart>,
    /// The user's values.
    #[serde(skip_serializing_if = "Map::is_empty", with = "flux_chart::yaml::map")]
    pub config: Map,
    /// The rendered manifests.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub manifest: String,
    /// The rendered hooks.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub hooks: Vec<Hook>,
    /// The revision.
    #[serde(rename = "version", skip_serializing_if = "is_zero")]
    pub revision: i64,
    /// Where it is installed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// `ssa` or `csa`; empty means client-side (HE-REL-014).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub apply_method: String,
    /// The labels of its Secret that are not Helm's own. Not part of the record.
    #[serde(skip)]
    pub labels: BTreeMap<String, String>,
}

impl Release {
    /// How it fares; [`Status::Unknown`] where the record does not say.
    pub fn status(&self) -> Status {
        let status = self.info.as_ref().and_then(|info| info.status);
        status.unwrap_or(Status::Unknown)
    }

    /// Sets the status and what happened last.
    pub fn set_status(&mut self, status: Status, description: impl Into<String>) {
        let info = self.info.get_or_insert_default();
        info.status = Some(status);
        info.description = description.into();
    }
}

/// How a release fares (HE-REL-002).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Info {
    /// When its first revision was made.
    #[serde(skip_serializing_if = "Time::is_zero")]
    pub first_deployed: Time,
    /// When this revision was made.
    #[serde(skip_serializing_if = "Time::is_zero")]
    pub last_deployed: Time,
    /// When it was uninstalled.
    #[serde(skip_serializing_if = "Time::is_zero")]
    pub deleted: Time,
    /// What happened last.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Its state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// The rendered NOTES.txt.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub notes: String,
    /// Unused by what Helm stores; kept as it is.
    #[serde(
        skip_serializing_if = "Value::is_null",
        serialize_with = "flux_chart::yaml::serialize_value",
        deserialize_with = "flux_chart::yaml::deserialize_value"
    )]
    pub resources: Value,
}

/// The state of a release (HE-REL-010).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Nobody knows.
    Unknown,
    /// It is what runs.
    Deployed,
    /// It was uninstalled, its history kept.
    Uninstalled,
    /// A later revision runs.
    Superseded,
    /// It could not be made.
    Failed,
    /// It is being uninstalled.
    Uninstalling,
    /// It is being installed.
    PendingInstall,
    /// It is being upgraded to.
    PendingUpgrade,
    /// It is being rolled back to.
    PendingRollback,
}

impl Status {
    /// The word in records and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Deployed => "deployed",
            Self::Uninstalled => "uninstalled",
            Self::Superseded => "superseded",
            Self::Failed => "failed",
            Self::Uninstalling => "uninstalling",
            Self::PendingInstall => "pending-install",
            Self::PendingUpgrade => "pending-upgrade",
            Self::PendingRollback => "pending-rollback",
        }
    }

    /// Whether an action is under way, or was when its process ended.
    pub const fn is_pending(self) -> bool {
        matches!(
            self,
            Self::PendingInstall | Self::PendingUpgrade | Self::PendingRollback
        )
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The chart of a release, subcharts left out (HE-REL-003, HE-REL-005).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReleaseChart {
    /// Chart.yaml.
    pub metadata: Option<Metadata>,
    /// Chart.lock.
    pub lock: Option<Lock>,
    /// The files below templates/.
    #[serde(with = "files")]
    pub templates: Vec<File>,
    /// The defaults, with what was imported from subcharts.
    #[serde(with = "flux_chart::yaml::optional_map")]
    pub values: Option<Map>,
    /// values.schema.json.
    #[serde(with = "base64_option")]
    pub schema: Option<Bytes>,
    /// When the schema was last changed.
    #[serde(rename = "schemamodtime")]
    pub schema_mod_time: Time,
    /// All other files.
    #[serde(with = "files")]
    pub files: Vec<File>,
    /// When Chart.yaml was last changed.
    #[serde(rename = "modtime", skip_serializing_if = "Time::is_zero")]
    pub mod_time: Time,
}

impl ReleaseChart {
    /// What a release remembers of a chart after a render.
    pub fn new(chart: &Chart, rendered: &Rendered) -> Self {
        Self {
            metadata: Some(rendered.metadata.clone()),
            lock: chart.lock.clone(),
            templates: chart.templates.clone(),
            values: rendered.values(),
            schema: chart.schema.clone(),
            schema_mod_time: chart.schema_mod_time,
            files: chart.files.clone(),
            mod_time: chart.mod_time,
        }
    }
}

/// `[]byte`: base64, `null` for nil.
mod base64_option {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    #[allow(clippy::ref_option)] // serde's signature
    pub(super) fn serialize<S: Serializer>(
        data: &Option<Bytes>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match data {
            None => serializer.serialize_none(),
            Some(data) => serializer.serialize_str(&STANDARD.encode(data)),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Bytes>, D::Error> {
        let text = Option::<std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.map(|text| STANDARD.decode(text.as_bytes()).map(Bytes::from))
            .transpose()
            .map_err(D::Error::custom)
    }
}

/// A list of files, `null` for none (HE-REL-004).
mod files {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::{File, Time};

    #[derive(Serialize, Deserialize)]
    struct Entry {
        #[serde(default)]
        name: String,
        #[serde(default, with = "super::base64_option")]
        data: Option<Bytes>,
        #[serde(rename = "modtime", default, skip_serializing_if = "Time::is_zero")]
        mod_time: Time,
    }

    pub(super) fn serialize<S: Serializer>(
        files: &[File],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        if files.is_empty() {
            return serializer.serialize_none();
        }
        serializer.collect_seq(files.iter().map(|file| Entry {
            name: file.name.clone(),
            data: Some(file.data.clone()),
            mod_time: file.mod_time,
        }))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<File>, D::Error> {
        let entries = Option::<Vec<Option<Entry>>>::deserialize(deserializer)?;
        let entries = entries.into_iter().flatten().flatten();
        Ok(entries
            .map(|entry| File {
                name: entry.name,
                data: entry.data.unwrap_or_default(),
                mod_time: entry.mod_time,
            })
            .collect())
    }
}
