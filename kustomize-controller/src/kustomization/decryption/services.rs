//! The services that have keys: each is asked for one data key at a time (KC-SOPS-037 to KC-SOPS-047).

use std::collections::BTreeMap;

use flux_api::kustomize::Kustomization;
use flux_errors::chain;
use flux_http::Proxy;
use flux_identity::Identity;
use flux_sops::{DataKey, MasterKey};
use tokio::sync::Mutex;

use super::keys::Keys;
use super::{Decryption, aws, azure, gcp, transit};

/// The most bytes of a response that are read.
pub(super) const MAX_RESPONSE: usize = 1 << 20;

/// Why a service gave no data key: the text that users see.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) text: String,
    /// Whether it would be the same for any other data key: no credentials, or no connection.
    pub(super) lasting: bool,
}

impl Failure {
    /// A failure that is about this data key only.
    pub(super) fn once(text: impl Into<String>) -> Self {
        let (text, lasting) = (text.into(), false);
        Self { text, lasting }
    }

    /// A failure of the service as a whole.
    pub(super) fn lasting(text: impl Into<String>) -> Self {
        let (text, lasting) = (text.into(), true);
        Self { text, lasting }
    }
}

/// The services, with the credentials of one object.
pub(super) struct Services<'d> {
    pub(super) process: &'d Decryption,
    pub(super) object: &'d Kustomization,
    pub(super) keys: &'d Keys,
    /// Services that failed in this run: they are not asked again for the next file.
    failed: Mutex<BTreeMap<String, String>>,
    /// The tokens of transit servers that the run has logged in to, by address (KC-SOPS-040).
    pub(super) logins: Mutex<BTreeMap<String, flux_http::Secret>>,
}

impl<'d> Services<'d> {
    pub(super) fn new(process: &'d Decryption, object: &'d Kustomization, keys: &'d Keys) -> Self {
        Self {
            process,
            object,
            keys,
            failed: Mutex::default(),
            logins: Mutex::default(),
        }
    }

    /// Asks the service that has a key. The error is for users.
    pub(super) async fn decrypt(&self, key: &MasterKey) -> Result<DataKey, String> {
        let place = place(key);
        if let Some(text) = self.failed.lock().await.get(&place) {
            return Err(text.clone());
        }
        let asked = match key {
            MasterKey::AwsKms {
                arn,
                role,
                context,
                encrypted,
                ..
            } => aws::decrypt(self, arn, role, context, encrypted).await,
            MasterKey::GcpKms {
                resource,
                encrypted,
            } => gcp::decrypt(self, resource, encrypted).await,
            MasterKey::AzureKeyVault {
                vault,
                name,
                version,
                encrypted,
            } => azure::decrypt(self, key, [vault, name, version], encrypted).await,
            MasterKey::Transit {
                address,
                engine,
                name,
                encrypted,
            } => transit::decrypt(self, address, engine, name, encrypted).await,
            MasterKey::HuaweiKms { .. } => Err(Failure::once(
                "keys of Huawei Cloud KMS are not supported by this controller",
            )),
            MasterKey::Age { .. } | MasterKey::OpenPgp { .. } => {
                Err(Failure::once("no service has this key"))
            }
        };
        match asked {
            Ok(data_key) => Ok(DataKey::new(data_key)),
            Err(Failure { text, lasting }) => {
                if lasting {
                    self.failed.lock().await.insert(place, text.clone());
                }
                Err(text)
            }
        }
    }

    /// As whom the object acts at a cloud (KC-SOPS-044); `operation` is what tokens are counted as (KC-PROC-055).
    pub(super) fn identity(
        &self,
        operation: &'static str,
    ) -> Result<Identity<'_, Kustomization>, Failure> {
        let account = self.keys.account.as_deref();
        let identity = self
            .process
            .identities
            .of(self.object, account, &Proxy::Environment);
        let identity = identity.map_err(|error| Failure::lasting(chain(&error)))?;
        Ok(identity.counted_as(operation))
    }
}

/// What fails as a whole, if it does: a region with a role, a vault, a server, a cloud.
fn place(key: &MasterKey) -> String {
    match key {
        MasterKey::AwsKms { arn, role, .. } => {
            let region = arn.split(':').nth(3).unwrap_or_default();
            format!("aws {region} {role}")
        }
        MasterKey::GcpKms { .. } => "gcp".to_owned(),
        MasterKey::AzureKeyVault { vault, .. } => format!("azure {vault}"),
        MasterKey::Transit { address, .. } => format!("transit {address}"),
        other => other.to_string(),
    }
}
