//! Finds the signatures by cosign in the registry, and verifies them one after the other, each on a thread for such work.

use std::sync::Arc;

use flux_oci::Descriptor;
use flux_signature::cosign::{
    Blob, Bundle, Candidate, Error, Layer, Verified, Verifier, bundle_blob, is_bundle,
    signature_tag, signatures,
};
use jiff::Timestamp;

use super::{Artifact, SignatureFault};

/// The maximum number of bundles of an artifact that are fetched.
const MAX_BUNDLES: usize = 256;

/// Verifies the Sigstore bundles of the artifact, or the signatures in the older layout if there are no bundles
/// (SC-VER-037).
pub(super) async fn verify(
    verifier: &Arc<Verifier>,
    artifact: &Artifact<'_>,
) -> Result<(), SignatureFault> {
    let verified = match bundles(verifier, artifact).await? {
        Some(verified) => verified,
        None => layers(verifier, artifact).await?,
    };
    let digest = artifact.digest;
    if let Verified::Certificate {
        issuer, subject, ..
    } = verified
    {
        tracing::info!(%digest, issuer, ?subject, "verified signature");
    } else {
        tracing::info!(%digest, "verified signature");
    }
    Ok(())
}

/// The first bundle that verifies; `None` if there are no bundles.
async fn bundles(
    verifier: &Arc<Verifier>,
    artifact: &Artifact<'_>,
) -> Result<Option<Verified>, SignatureFault> {
    let referrers = artifact.client.referrers(artifact.digest, None).await?;
    let found = referrers.iter().filter(|one| is_bundle(&one.artifact_type));
    let mut why = Vec::new();
    for descriptor in found.take(MAX_BUNDLES) {
        let claim = artifact.budget.claim();
        let content = match artifact.manifest(&descriptor.digest).await {
            Err(error) if error.is_not_found() => continue, // the list is older than the registry's content
            other => other?,
        };
        // Upstream passes over what is not a bundle, too.
        let Ok(blob) = bundle_blob(&content.content) else {
            continue;
        };
        let (descriptor, limit) = (descriptor_of(&blob)?, blob.size);
        let json = artifact.blob(&descriptor, limit, &claim).await?;
        let (verifier, digest) = (verifier.clone(), artifact.digest.to_string());
        let verify = move || {
            let bundle = Bundle::parse(&json).ok()?;
            let candidate = Candidate::Bundles(std::slice::from_ref(&bundle));
            Some(verifier.verify(&candidate, &digest, Timestamp::now()))
        };
        match tokio::task::spawn_blocking(verify).await? {
            None => {}
            Some(Ok(verified)) => return Ok(Some(verified)),
            Some(Err(Error::NoMatchingBundles(mut errors))) => why.append(&mut errors),
            Some(Err(error)) => why.push(error),
        }
    }
    if why.is_empty() {
        return Ok(None);
    }
    Err(SignatureFault::Cosign(Error::NoMatchingBundles(why)))
}

/// The first signature in the older layout that verifies.
async fn layers(
    verifier: &Arc<Verifier>,
    artifact: &Artifact<'_>,
) -> Result<Verified, SignatureFault> {
    let digest = artifact.digest.to_string();
    let tag = artifact.client.repository().tag(&signature_tag(&digest));
    let content = match artifact
        .client
        .manifest(&tag.map_err(flux_oci::Error::Name)?)
        .await
    {
        Err(error) if error.is_not_found() => {
            return Err(SignatureFault::Cosign(Error::NoSignatures));
        }
        other => other?,
    };
    let blobs = signatures(&content.content).map_err(SignatureFault::Signatures)?;
    let mut why = Vec::new();
    for blob in blobs {
        let claim = artifact.budget.claim();
        let payload = artifact
            .blob(&descriptor_of(&blob)?, blob.size, &claim)
            .await?;
        let layer = Layer {
            payload: payload.into(),
            annotations: blob.annotations,
        };
        let (verifier, digest) = (verifier.clone(), digest.clone());
        let verify = move || {
            let candidate = Candidate::Layers(std::slice::from_ref(&layer));
            verifier.verify(&candidate, &digest, Timestamp::now())
        };
        match tokio::task::spawn_blocking(verify).await? {
            Ok(verified) => return Ok(verified),
            Err(Error::NoMatchingSignatures(mut errors)) => why.append(&mut errors),
            Err(error) => why.push(error),
        }
    }
    Err(SignatureFault::Cosign(if why.is_empty() {
        Error::NoSignatures
    } else {
        Error::NoMatchingSignatures(why)
    }))
}

/// What to ask the registry for.
fn descriptor_of(blob: &Blob) -> Result<Descriptor, flux_oci::Error> {
    Ok(Descriptor {
        media_type: blob.media_type.clone(),
        digest: blob.digest.parse()?,
        size: i64::try_from(blob.size).unwrap_or(i64::MAX),
        annotations: blob.annotations.clone(),
        platform: None,
        artifact_type: String::new(),
    })
}
