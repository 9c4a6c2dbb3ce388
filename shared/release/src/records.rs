//! The records of releases, stored in Secrets.

use std::collections::BTreeMap;

use flux_api::helm::ReleaseSnapshot;
use flux_cluster::{Cluster, ObjectId, RequestError, Resource};
use flux_errors::chain;
use flux_helm::{Release, SECRET_TYPE, SYSTEM_LABELS, decode, encode, secret_labels, secret_name};
use flux_objects::Objects;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams};

use crate::error::{RecordsError, VerifyError};
use crate::snapshot::verify_record;

/// The size limit in bytes of the encoded records of one release together.
pub const MAX_HISTORY_BYTES: usize = 256 * 1024 * 1024;

/// How many records one response has: each may have a mebibyte.
const PAGE: u32 = 20;

/// The key of the record in the Secret.
const KEY: &str = "release";

/// The records of all releases in a storage namespace (HC-REL-001..006).
#[derive(Clone)]
pub struct Records {
    cluster: Cluster,
    namespace: String,
}

/// The newest record of a release, without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newest {
    /// The revision.
    pub revision: i64,
    /// The resource version of its Secret: the record is unchanged as long as this is.
    pub resource_version: String,
}

impl Records {
    /// The records in a namespace, read and written with the cluster's identity (HC-REL-013).
    pub fn new(cluster: &Cluster, namespace: &str) -> Self {
        Self {
            cluster: cluster.clone(),
            namespace: namespace.to_owned(),
        }
    }

    /// The records of a release, oldest first; records that cannot be decoded are skipped. Empty for a name that no
    /// release can have.
    ///
    /// # Errors
    /// The server's, the name cannot be a label, or the records exceed [`MAX_HISTORY_BYTES`].
    pub async fn history(&self, release: &str) -> Result<Vec<Release>, RecordsError> {
        check_label(release)?;
        if flux_helm::action::check_name(release).is_err() {
            return Ok(Vec::new());
        }
        let selector = format!("name={release},owner=helm");
        let mut params = ListParams::default().labels(&selector).limit(PAGE);
        let (mut records, mut bytes) = (Vec::new(), 0);
        loop {
            let page = async { self.secrets()?.list(&params).await }.await;
            let page = page.map_err(|error| RecordsError::Query(error.into()))?;
            for secret in page.items {
                bytes += value_of(&secret).len();
                if bytes > MAX_HISTORY_BYTES {
                    return Err(RecordsError::TooMuch {
                        release: release.to_owned(),
                        limit: MAX_HISTORY_BYTES,
                    });
                }
                match decode(value_of(&secret)) {
                    Ok(record) => records.push(labelled(record, secret.metadata)),
                    Err(error) => {
                        let key = secret.metadata.name.unwrap_or_default();
                        let error = chain(&error);
                        tracing::debug!(key, error, "failed to decode release");
                    }
                }
            }
            match page.metadata.continue_ {
                Some(token) if !token.is_empty() => params = params.continue_token(&token),
                _ => break,
            }
        }
        records.sort_by_key(|record| record.revision);
        Ok(records)
    }

    /// The newest record of a release by the names of the Secrets, from their metadata only. `None` without any, and for a
    /// name that no release can have.
    ///
    /// # Errors
    /// The server's, or the name cannot be a label.
    pub async fn newest(&self, release: &str) -> Result<Option<Newest>, RecordsError> {
        check_label(release)?;
        if flux_helm::action::check_name(release).is_err() {
            return Ok(None);
        }
        let selector = format!("name={release},owner=helm");
        let (cluster, secrets) = (&self.cluster, secrets());
        let found = cluster.list_metadata(&secrets, Some(&self.namespace), &selector);
        let found = found.await.map_err(RecordsError::Query)?;
        let prefix = secret_name(release, 0);
        let prefix = prefix.trim_end_matches('0');
        let found = found.iter().filter_map(|secret| {
            let revision = secret.name().strip_prefix(prefix)?.parse().ok()?;
            Some(Newest {
                revision,
                resource_version: secret.resource_version().to_owned(),
            })
        });
        Ok(found.max_by_key(|newest| newest.revision))
    }

    /// Whether a record that was the newest one still is, and is unchanged: by its metadata, and by the name of the record
    /// that Helm would store next. Two requests for single objects are answered by the store itself; for a list that is as
    /// recent the server waits until its cache has caught up, and it looks at every Secret of the namespace.
    /// `false` also where the server refuses: [`Records::newest`] then says why.
    ///
    /// # Errors
    /// The server does not answer, or cannot for the moment.
    pub async fn is_newest(&self, release: &str, newest: &Newest) -> Result<bool, RecordsError> {
        let resource = secrets();
        let of = async |revision: i64| {
            let id = ObjectId {
                kind: resource.kind.clone(),
                namespace: self.namespace.clone(),
                name: secret_name(release, revision),
                ..ObjectId::default()
            };
            match self.cluster.get_metadata(&resource, &id).await {
                Ok(secret) => Ok(Some(secret.resource_version().to_owned())),
                Err(error) if error.is_not_found() => Ok(None),
                Err(error) if error.is_transient() => Err(RecordsError::Query(error)),
                // No version that a record has.
                Err(_) => Ok(Some(String::new())),
            }
        };
        let (this, next) = tokio::try_join!(of(newest.revision), of(newest.revision + 1))?;
        Ok(next.is_none() && this.is_some_and(|version| version == newest.resource_version))
    }

    /// The newest record of a release. Only this one is read, unless it cannot be decoded or its Secret has the name of
    /// another revision: then it is the newest of all that can (HC-REL-006).
    ///
    /// # Errors
    /// The server's, or the records exceed [`MAX_HISTORY_BYTES`].
    pub async fn last(&self, release: &str) -> Result<Option<Release>, RecordsError> {
        match self.newest(release).await? {
            Some(newest) => self.read(release, &newest).await,
            None => Ok(self.history(release).await?.pop()),
        }
    }

    /// As [`Records::last`], if [`Records::newest`] was called already.
    ///
    /// # Errors
    /// As [`Records::last`].
    pub async fn read(
        &self,
        release: &str,
        newest: &Newest,
    ) -> Result<Option<Release>, RecordsError> {
        match self.get(release, newest.revision).await {
            Ok(Some(record)) if record.revision == newest.revision => Ok(Some(record)),
            Ok(_) | Err(RecordsError::Decode { .. }) => Ok(self.history(release).await?.pop()),
            Err(error) => Err(error),
        }
    }

    /// The record that a snapshot was taken from (HC-ACT-057).
    ///
    /// # Errors
    /// There is no such record, it is another one, or it cannot be read.
    pub async fn verified(&self, snapshot: &ReleaseSnapshot) -> Result<Release, VerifyError> {
        let record = self.get(&snapshot.name, snapshot.version.into()).await?;
        let record = record.ok_or(VerifyError::Disappeared)?;
        verify_record(snapshot, &record)?;
        Ok(record)
    }

    /// The record of a revision, if there is one.
    ///
    /// # Errors
    /// The server's, or the record cannot be decoded.
    pub async fn get(&self, release: &str, revision: i64) -> Result<Option<Release>, RecordsError> {
        let key = secret_name(release, revision);
        let secret = match async { self.secrets()?.get_opt(&key).await }.await {
            Ok(Some(secret)) => secret,
            Ok(None) => return Ok(None),
            Err(error) => {
                let source = error.into();
                return Err(RecordsError::Get { key, source });
            }
        };
        match decode(value_of(&secret)) {
            Ok(record) => Ok(Some(labelled(record, secret.metadata))),
            Err(source) => Err(RecordsError::Decode { key, source }),
        }
    }

    /// Stores a new record. `None` if the server stores something else than was sent.
    ///
    /// # Errors
    /// A record of this revision exists, or the server does not store the new one.
    pub async fn create(&self, record: &Release) -> Result<Option<Newest>, RecordsError> {
        let secret = secret_of(record, "create", "createdAt")?;
        let made = async { self.secrets()?.create(&self.params(), &secret).await }.await;
        made.map(|stored| as_sent(record, &secret, stored))
            .map_err(|error| {
                let error = RequestError::from(error);
                match error.reason.as_str() {
                    "AlreadyExists" => RecordsError::Exists,
                    _ => RecordsError::Create(error),
                }
            })
    }

    /// Overwrites the stored record of this revision, regardless of its last writer (HC-REL-005). `None` if the server
    /// stores something else than was sent.
    ///
    /// # Errors
    /// The server's, also if there is no such record.
    pub async fn update(&self, record: &Release) -> Result<Option<Newest>, RecordsError> {
        let secret = secret_of(record, "update", "modifiedAt")?;
        let key = secret_name(&record.name, record.revision);
        let made = async { self.secrets()?.replace(&key, &self.params(), &secret).await }.await;
        made.map(|stored| as_sent(record, &secret, stored))
            .map_err(|error| RecordsError::Update(error.into()))
    }

    /// Deletes the record of a revision; succeeds if it is gone.
    ///
    /// # Errors
    /// The server's.
    pub async fn delete(&self, release: &str, revision: i64) -> Result<(), RecordsError> {
        let key = secret_name(release, revision);
        let deleted = async { self.secrets()?.delete(&key, &DeleteParams::default()).await }.await;
        match deleted.map_err(RequestError::from) {
            Err(error) if !error.is_not_found() => Err(RecordsError::Delete(error)),
            _ => Ok(()),
        }
    }

    fn secrets(&self) -> Result<Objects<Secret>, flux_objects::Error> {
        Ok(Objects::in_namespace(
            self.cluster.client().clone(),
            &self.namespace,
        )?)
    }

    fn params(&self) -> PostParams {
        PostParams {
            dry_run: false,
            field_manager: Some(self.cluster.field_manager().to_owned()),
        }
    }
}

/// Checks that the name of a release can be the value of a label (HC-REL-007).
fn check_label(release: &str) -> Result<(), RecordsError> {
    let is_edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = release.as_bytes();
    let is_inside = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    if is_edge(bytes.first()) && is_edge(bytes.last()) && bytes.iter().all(is_inside) {
        Ok(())
    } else {
        Err(RecordsError::Label(release.to_owned()))
    }
}

/// The kind of the Secrets; it needs no discovery.
fn secrets() -> Resource {
    Resource {
        group: String::new(),
        version: "v1".to_owned(),
        kind: "Secret".to_owned(),
        plural: "secrets".to_owned(),
        namespaced: true,
    }
}

fn secret_of(record: &Release, verb: &'static str, stamp: &str) -> Result<Secret, RecordsError> {
    let value = encode(record).map_err(|source| RecordsError::Encode {
        verb,
        release: record.name.clone(),
        source,
    })?;
    let mut labels = secret_labels(record);
    let seconds = jiff::Timestamp::now().as_second();
    labels.insert(stamp.to_owned(), seconds.to_string());
    let data = BTreeMap::from([(KEY.to_owned(), ByteString(value.into_bytes()))]);
    Ok(Secret {
        metadata: ObjectMeta {
            name: Some(secret_name(&record.name, record.revision)),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        type_: Some(SECRET_TYPE.to_owned()),
        data: Some(data),
        ..Secret::default()
    })
}

/// A record as it is stored, if that is what was sent.
fn as_sent(record: &Release, sent: &Secret, stored: Secret) -> Option<Newest> {
    let is_same = value_of(sent) == value_of(&stored);
    let resource_version = stored.metadata.resource_version?;
    is_same.then_some(Newest {
        revision: record.revision,
        resource_version,
    })
}

fn value_of(secret: &Secret) -> &[u8] {
    let value = secret.data.as_ref().and_then(|data| data.get(KEY));
    value.map_or(&[], |value| value.0.as_slice())
}

/// The record with the labels of its Secret that are not Helm's own.
fn labelled(mut record: Release, metadata: ObjectMeta) -> Release {
    record.labels = metadata.labels.unwrap_or_default();
    record
        .labels
        .retain(|key, _| !SYSTEM_LABELS.contains(&key.as_str()));
    record
}
