//! Receivers: each gets a path that webhooks are received at, derived from its Secret (NC-RECV-020 to NC-RECV-045).

mod checks;
mod failure;
mod reason;

use flux_api::meta::GoDuration;
use flux_api::notification::Receiver;
use flux_references::{ObjectRef, Reader};
use flux_runtime::policy::{AtOnce, Start, SuspendedStatus, Suspension, SuspensionNotice};
use flux_runtime::queue::Key;
use flux_runtime::{Failure, Outcome, Reconciler, Run, Settings};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use sha2::{Digest, Sha256};

use self::failure::StepError;
use self::reason::ReceiverReason;

/// The name of this controller: field manager, event source, Lease.
pub(crate) const FIELD_MANAGER: &str = "notification-controller";

/// What the paths of webhooks begin with.
pub(crate) const HOOK: &str = "/hook/";

/// How often a Receiver is reconciled where it says nothing (NC-RECV-004).
const INTERVAL: GoDuration = GoDuration::from_seconds(600);

/// How the frame treats Receivers.
pub(crate) const SETTINGS: Settings = Settings {
    start: Start::ByReconciler,
    at_once: AtOnce::Limited,
    suspension: Suspension {
        message: "Reconciliation is suspended for this object",
        status: SuspendedStatus::ObservedIfReady,
        notice: SuspensionNotice::Logged,
    },
    ..Settings::new("receiver")
};

/// Reconciles Receivers.
pub(crate) struct Receivers {
    /// Reads the Secrets with tokens.
    pub(crate) secrets: Reader<Secret>,
}

/// The Secret that a Receiver refers to (NC-RECV-021).
pub(crate) fn references(receiver: &Receiver) -> Vec<ObjectRef> {
    let own = receiver.namespace().unwrap_or_default();
    let secret = receiver.spec.secret_ref.iter();
    secret
        .map(|secret| ObjectRef::new("Secret", Key::new(&*own, &*secret.name)))
        .collect()
}

/// The path of a Receiver (NC-RECV-035, NC-RECV-036).
pub(crate) fn webhook_path(token: &[u8], name: &str, namespace: &str) -> String {
    let mut hash = Sha256::new();
    for part in [token, name.as_bytes(), namespace.as_bytes()] {
        hash.update(part);
    }
    format!("{HOOK}{}", hex::encode(hash.finalize()))
}

impl Reconciler for Receivers {
    type Kind = Receiver;

    fn suspended(&self, receiver: &Receiver) -> bool {
        receiver.spec.suspend
    }

    async fn reconcile(&self, run: &mut Run<Receiver>) -> Result<Outcome, Failure> {
        let receiver = run.object().clone();
        checks::check(&receiver.spec).map_err(StepError::Terminal)?;
        run.progress("Reconciliation in progress").await?;

        let token = match self.token(&receiver).await {
            Ok(token) => token,
            Err(error) => {
                run.status.webhook_path = None; // NC-RECV-032
                // NC-RECV-041: the event has a reason of its own
                run.warn(
                    ReceiverReason::Failed,
                    flux_errors::chain(&error),
                    &[].into(),
                );
                return Err(error.into());
            }
        };
        let path = webhook_path(&token, run.name(), run.namespace());
        let message = format!("Receiver initialized for path: {path}");
        if run.status.webhook_path.as_ref() != Some(&path) {
            tracing::info!("{message}");
            run.status.webhook_path = Some(path);
        }

        let interval = receiver.spec.interval.unwrap_or(INTERVAL);
        let finished = format!("Reconciliation finished, next run in {interval}");
        tracing::info!("{finished}");
        run.event(ReceiverReason::Succeeded, finished, &[].into());
        let reason = ReceiverReason::Succeeded;
        Ok(Outcome::ready(reason, message, interval.to_std()))
    }

    async fn finalize(&self, _: &mut Run<Receiver>) -> Result<(), Failure> {
        Ok(())
    }
}

impl Receivers {
    /// The token of a Receiver; empty if it refers to no Secret (NC-RECV-032, NC-RECV-033).
    async fn token(&self, receiver: &Receiver) -> Result<Vec<u8>, StepError> {
        let Some(reference) = &receiver.spec.secret_ref else {
            return Ok(Vec::new());
        };
        let namespace = receiver.namespace().unwrap_or_default();
        let name = format!("{namespace}/{}", reference.name);
        let key = Key::new(&*namespace, &*reference.name);
        let secret = self.secrets.get(&key).await;
        let secret = secret.map_err(|error| StepError::Secret {
            name: name.clone(),
            error: flux_errors::chain(&error),
        })?;
        let token = secret.data.as_ref().and_then(|data| data.get("token"));
        let token = token.ok_or(StepError::NoToken(name))?;
        Ok(token.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_hashes_of_token_name_and_namespace() {
        // NC-RECV-035: printf 'tokennamens' | sha256sum
        let hash = |text: &[u8]| hex::encode(Sha256::digest(text));
        assert_eq!(
            webhook_path(b"token", "name", "ns"),
            format!("/hook/{}", hash(b"tokennamens"))
        );
        // FR-N-049
        assert_eq!(
            webhook_path(b"\xff\n", "n", "s"),
            format!("/hook/{}", hash(b"\xff\nns"))
        );
        // NC-RECV-036
        assert_eq!(
            webhook_path(b"", "n", "s"),
            format!("/hook/{}", hash(b"ns"))
        );
    }
}
