//! The verification of an artifact by a trust policy, as notation-go does it and source-controller sums it up.

use std::fmt;
use std::sync::Arc;

use flux_golang::strconv::quote;
use jiff::Timestamp;
use serde_json::Value;

use super::certificates::check_stamping_chain;
use super::distinguished::{Distinguished, is_subset};
use super::policy::{Action, Policy, PolicyError, Statement};
use super::revocation::{Network, Request, Responses, Status, check};
use super::signer::{Envelope, MAX_BYTES, SigningScheme};
use super::{cose, jws};
use crate::fingerprint::Fingerprint;
use crate::pem;
use crate::text::cut;
use crate::tsp::Token;
use crate::x509::Certificate;

/// The number of signatures of an artifact that are examined (SC-VER-053).
const MAX_SIGNATURES: usize = 3;
/// The maximum number of trusted certificates.
const MAX_TRUSTED: usize = 1024;
const PLUGIN: &str = "io.cncf.notary.verificationPlugin";
const PLUGIN_VERSION: &str = "io.cncf.notary.verificationPluginMinVersion";

/// What is verified of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Whether the envelope is whole.
    Integrity,
    /// Whether a trusted authority vouches for a trusted identity.
    Authenticity,
    /// Whether the certificates were valid when the signature was made.
    AuthenticTimestamp,
    /// Whether the signature is still valid.
    Expiry,
    /// Whether the certificates are revoked.
    Revocation,
}

impl Check {
    /// Its name in trust policies.
    pub fn name(self) -> &'static str {
        match self {
            Self::Integrity => "integrity",
            Self::Authenticity => "authenticity",
            Self::AuthenticTimestamp => "authenticTimestamp",
            Self::Expiry => "expiry",
            Self::Revocation => "revocation",
        }
    }
}

/// A check that failed, but is tolerated by the level of the policy: worth a log line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The check.
    pub check: Check,
    /// Why it failed.
    pub why: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.check.name();
        write!(
            f,
            "verification check for type '{name}' failed: {}",
            self.why
        )
    }
}

/// How a verification ended that did not fail (SC-VER-054).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A signature is good, but for what the level tolerates.
    Verified(Vec<Failure>),
    /// The level is `skip`, or tolerates that the signer is not trusted: the artifact is used, but is not verified.
    Ignored(Vec<Failure>),
    /// These requests have to be sent first; then verify again with their responses.
    Needs(Vec<Request>),
}

/// Why an artifact is not verified. The texts are notation-go's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No statement of the policy is for the artifact.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// There are no signatures (SC-VER-057).
    #[error("no signature is associated with {}, make sure the artifact was signed successfully", quote(.0))]
    NotSigned(String),
    /// Three signatures were examined, and none is good (SC-VER-053).
    #[error(
        "signature evaluation stopped. The configured limit of {MAX_SIGNATURES} signatures to verify per artifact exceeded"
    )]
    TooManySignatures,
    /// No signature is good; why, for each.
    #[error("signature verification failed\n{}", .0.join("\n"))]
    Failed(Vec<String>),
}

/// What is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// The repository with the digest: `registry.example.com/app@sha256:…`.
    pub reference: String,
    /// The media type of the manifest.
    pub media_type: String,
    /// The digest of the manifest.
    pub digest: String,
    /// The size of the manifest in bytes.
    pub size: u64,
}

/// A signature among the referrers of the artifact (artifact type `application/vnd.cncf.notary.signature`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The digest of the signature's manifest, for messages.
    pub digest: String,
    /// The media type of the envelope: `application/jose+json` or `application/cose`.
    pub media_type: String,
    /// The envelope. The caller has checked its digest.
    pub envelope: Vec<u8>,
}

/// Verifies artifacts by a trust policy and a set of trusted certificates.
#[derive(Debug)]
pub struct Verifier {
    policy: Policy,
    trusted: Result<Vec<Arc<Certificate>>, String>,
    fingerprint: String,
}

impl Verifier {
    /// The certificates are files, PEM or DER; of a PEM file the first block counts. They serve each trust store of the
    /// policy (SC-VER-051). A file that cannot be read fails the check of authenticity, as upstream.
    pub fn new<'a>(policy: Policy, certificates: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut trusted = Ok(Vec::new());
        let mut fingerprint =
            Fingerprint::new("notation").with("policy", policy.canonical().as_bytes());
        for (count, file) in certificates.into_iter().enumerate() {
            let block = std::str::from_utf8(file).ok().and_then(pem::decode);
            let der = block.map_or_else(|| file.to_vec(), |(block, _)| block.bytes);
            fingerprint = fingerprint.with("certificate", &der);
            if let Ok(known) = &mut trusted {
                match read(&der) {
                    _ if count >= MAX_TRUSTED => trusted = Err("too many certificates".to_owned()),
                    Ok(mut more) => known.append(&mut more),
                    Err(why) => trusted = Err(why),
                }
            }
        }
        Self {
            policy,
            trusted,
            fingerprint: fingerprint.finish(),
        }
    }

    /// The fingerprint of the policy and the certificates (SC-VER-060).
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Whether the policy wants the artifact not to be verified, so that its signatures need not be fetched.
    ///
    /// # Errors
    /// No statement is for the artifact.
    pub fn skips(&self, reference: &str) -> Result<bool, PolicyError> {
        Ok(self.policy.statement(reference)?.skips())
    }

    /// Verifies an artifact with the signatures found for it, at a time. Start without responses; where the outcome is
    /// [`Outcome::Needs`], send the requests and verify again with what came back.
    ///
    /// # Errors
    /// No signature is good, or none was found.
    pub fn verify(
        &self,
        artifact: &Artifact,
        signatures: &[Signature],
        responses: &Responses,
        now: Timestamp,
    ) -> Result<Outcome, Error> {
        let statement = self.policy.statement(&artifact.reference)?;
        if statement.skips() {
            return Ok(Outcome::Ignored(Vec::new()));
        }
        let network = Network::new(responses);
        let mut why = Vec::new();
        for signature in signatures.iter().take(MAX_SIGNATURES) {
            let mut run = Run {
                statement,
                trusted: &self.trusted,
                now: now.as_second(),
                network: &network,
                tolerated: Vec::new(),
                pending: false,
            };
            let result = run.verify(artifact, signature);
            if run.pending {
                return Ok(Outcome::Needs(network.into_missing()));
            }
            match result {
                Ok(()) => {
                    let mut tolerated = run.tolerated.iter();
                    let ignored = tolerated.any(|one| one.check == Check::Authenticity);
                    return Ok(if ignored {
                        Outcome::Ignored(run.tolerated)
                    } else {
                        Outcome::Verified(run.tolerated)
                    });
                }
                Err(error) => why.push(format!(
                    "failed to verify signature with digest {}, {}",
                    signature.digest,
                    cut(&error)
                )),
            }
        }
        if signatures.is_empty() {
            return Err(Error::NotSigned(artifact.reference.clone()));
        }
        if signatures.len() >= MAX_SIGNATURES {
            return Err(Error::TooManySignatures);
        }
        Err(Error::Failed(why))
    }
}

/// Certificates one after the other.
fn read(ders: &[u8]) -> Result<Vec<Arc<Certificate>>, String> {
    let mut rest = flux_der::Reader::new(ders);
    let mut found = Vec::new();
    loop {
        let malformed = "x509: malformed certificate".to_owned();
        let one = rest.any().ok_or(malformed)?;
        found.push(Certificate::parse(one.whole).map_err(|why| why.to_string())?);
        if rest.is_empty() || found.len() == MAX_TRUSTED {
            return Ok(found);
        }
    }
}

/// The verification of one signature.
struct Run<'a> {
    statement: &'a Statement,
    trusted: &'a Result<Vec<Arc<Certificate>>, String>,
    now: i64,
    network: &'a Network<'a>,
    tolerated: Vec<Failure>,
    /// Whether the result depends on a response that is missing.
    pending: bool,
}

impl Run<'_> {
    fn verify(&mut self, artifact: &Artifact, signature: &Signature) -> Result<(), String> {
        let envelope = open(signature)?;
        check_plugin(&envelope)?;
        let authentic = self.authenticity(&envelope);
        self.enforce(Check::Authenticity, authentic)?;
        let expired = self.expiry(&envelope);
        self.enforce(Check::Expiry, expired)?;
        let stamped = self.authentic_timestamp(&envelope);
        self.enforce(Check::AuthenticTimestamp, stamped)?;
        if self.statement.action(Check::Revocation) != Action::Skip {
            let revoked = self.revocation(&envelope);
            self.enforce(Check::Revocation, revoked)?;
        }
        check_target(&envelope.payload, artifact)
    }

    /// Takes the result of a check: what is enforced ends the verification.
    fn enforce(&mut self, check: Check, result: Result<(), String>) -> Result<(), String> {
        match result {
            Ok(()) => Ok(()),
            Err(why) if self.statement.action(check) == Action::Enforce => Err(why),
            Err(why) => {
                let why = cut(&why);
                self.tolerated.push(Failure { check, why });
                Ok(())
            }
        }
    }

    /// The certificates of the stores of one kind: all that there are, if the policy names such a store.
    fn store(&self, kind: &str) -> Result<&[Arc<Certificate>], String> {
        let stores = &self.statement.stores;
        let of_kind = |store: &String| {
            let kinds = store.split_once(':');
            kinds.is_some_and(|(known, _)| known == kind)
        };
        match self.trusted {
            _ if !stores.iter().any(of_kind) => Ok(&[]),
            Ok(trusted) => Ok(trusted),
            Err(why) => Err(format!(
                "failed to parse certificate of a store '{kind}': {why}"
            )),
        }
    }

    fn authenticity(&self, envelope: &Envelope) -> Result<(), String> {
        let trusted = self.store(match envelope.scheme {
            SigningScheme::X509 => "ca",
            SigningScheme::Authority => "signingAuthority",
        })?;
        if trusted.is_empty() {
            return Err("no trusted certificates are found to verify authenticity".to_owned());
        }
        if !envelope
            .certificates
            .iter()
            .any(|one| trusted.contains(one))
        {
            return Err(
                "the signature's certificate chain does not contain any trusted certificate"
                    .to_owned(),
            );
        }
        self.identity(envelope)
    }

    fn identity(&self, envelope: &Envelope) -> Result<(), String> {
        let identities = &self.statement.identities;
        if identities.iter().any(|one| one == "*") {
            return Ok(());
        }
        let number = self.statement.number;
        let mut trusted = Vec::new();
        for identity in identities {
            if let Some(("x509.subject", value)) = identity.split_once(':') {
                trusted.push(Distinguished::parse(value)?);
            }
        }
        if trusted.is_empty() {
            return Err(format!(
                "no x509 trusted identities are configured in the trust policy statement {number}"
            ));
        }
        let subject = envelope.certificates.first();
        let subject = subject.map(|leaf| leaf.subject_text()).unwrap_or_default();
        let subject = Distinguished::parse(&subject).map_err(|why| {
            let why = quote(why);
            format!("error while parsing the certificate subject from the digital signature. error : {why}")
        })?;
        if trusted.iter().any(|one| is_subset(one, &subject)) {
            return Ok(());
        }
        Err(format!(
            "signing certificate from the digital signature does not match the {} X.509 trusted identities defined in the trust policy statement {number}",
            trusted.len()
        ))
    }

    fn expiry(&self, envelope: &Envelope) -> Result<(), String> {
        match envelope.expiry {
            Some(expiry) if self.now >= expiry => Err(format!(
                "digital signature has expired on {}",
                quote(crate::time::rfc1123z(expiry))
            )),
            _ => Ok(()),
        }
    }

    fn authentic_timestamp(&mut self, envelope: &Envelope) -> Result<(), String> {
        let chain = &envelope.certificates;
        if envelope.scheme == SigningScheme::Authority {
            let at = envelope.signed_at.unwrap_or_default();
            let invalid = |one: &&Arc<Certificate>| at < one.not_before || at > one.not_after;
            return match chain.iter().find(invalid) {
                None => Ok(()),
                Some(certificate) => Err(format!(
                    "certificate {} was not valid when the digital signature was produced at {}",
                    quote(certificate.subject_text()),
                    quote(crate::time::rfc1123z(at))
                )),
            };
        }
        let stores = &self.statement.stores;
        let enabled = stores.iter().any(|store| store.starts_with("tsa:"));
        let expired = chain.iter().any(|one| self.now > one.not_after);
        if enabled && (expired || !self.statement.stamps_after_expiry()) {
            return self.timestamp(envelope);
        }
        for certificate in chain {
            let name = quote(certificate.subject_text());
            if self.now < certificate.not_before {
                return Err(format!(
                    "verification time is before certificate {name} validity period, it will be valid from {}",
                    quote(crate::time::rfc1123z(certificate.not_before))
                ));
            }
            if self.now > certificate.not_after {
                return Err(format!(
                    "verification time is after certificate {name} validity period, it was expired at {}",
                    quote(crate::time::rfc1123z(certificate.not_after))
                ));
            }
        }
        Ok(())
    }

    /// Whether a trusted authority stamped the signature while the certificates were valid.
    fn timestamp(&mut self, envelope: &Envelope) -> Result<(), String> {
        if envelope.timestamp.is_empty() {
            return Err(
                "no timestamp countersignature was found in the signature envelope".to_owned(),
            );
        }
        let token = Token::parse(&envelope.timestamp)
            .ok_or("failed to parse timestamp countersignature with error: malformed token")?;
        let stamp = token.stamp_of(&envelope.signature).ok_or(
            "failed to get timestamp from timestamp countersignature with error: invalid TSTInfo: mismatched message",
        )?;
        let trusted = self
            .store("tsa")
            .map_err(|why| format!("failed to load tsa trust store with error: {why}"))?;
        if trusted.is_empty() {
            return Err("no trusted TSA certificate found in trust store".to_owned());
        }
        let chain = token.verify_notation(trusted).map_err(|why| {
            format!("failed to verify the timestamp countersignature with error: {why}")
        })?;
        check_stamping_chain(&chain).map_err(|why| {
            format!("failed to validate the timestamping certificate chain with error: {why}")
        })?;
        for certificate in &envelope.certificates {
            let name = quote(certificate.subject_text());
            if stamp.time - stamp.accuracy < certificate.not_before {
                return Err(format!(
                    "timestamp can be before certificate {name} validity period, it will be valid from {}",
                    quote(crate::time::rfc1123z(certificate.not_before))
                ));
            }
            if stamp.time.saturating_add(stamp.accuracy) > certificate.not_after {
                return Err(format!(
                    "timestamp can be after certificate {name} validity period, it was expired at {}",
                    quote(crate::time::rfc1123z(certificate.not_after))
                ));
            }
        }
        self.revoked(&chain, None, "timestamping certificate")
    }

    fn revocation(&mut self, envelope: &Envelope) -> Result<(), String> {
        let vouched = envelope.scheme == SigningScheme::Authority;
        let signed_at = envelope.signed_at.filter(|_| vouched);
        self.revoked(&envelope.certificates, signed_at, "signing certificate")
    }

    fn revoked(
        &mut self,
        chain: &[Arc<Certificate>],
        signed_at: Option<i64>,
        what: &str,
    ) -> Result<(), String> {
        let (status, subject) = check(chain, signed_at, self.now, self.network);
        let subject = quote(subject);
        match status {
            Status::Good => Ok(()),
            Status::Revoked => Err(format!("{what} with subject {subject} is revoked")),
            Status::Unknown => Err(format!(
                "{what} with subject {subject} revocation status is unknown"
            )),
            Status::Pending => {
                self.pending = true;
                Ok(())
            }
        }
    }
}

/// Reads an envelope and verifies its signature and its certificate chain.
fn open(signature: &Signature) -> Result<Envelope, String> {
    if signature.envelope.len() > MAX_BYTES {
        return Err("unable to parse the digital signature, error : more than 1 MiB".to_owned());
    }
    let envelope = match &*signature.media_type {
        "application/jose+json" => jws::open(&signature.envelope),
        "application/cose" => cose::open(&signature.envelope),
        other => Err(format!(
            "unable to parse the digital signature, error : signature envelope format with media type {} is not supported",
            quote(other)
        )),
    }?;
    envelope.validate()?;
    Ok(envelope)
}

/// A signature that needs a plugin cannot be verified: plugins do not exist here.
fn check_plugin(envelope: &Envelope) -> Result<(), String> {
    let named = |name: &str| envelope.attributes.iter().find(|one| one.name == name);
    let Some(plugin) = named(PLUGIN) else {
        return Ok(());
    };
    if !plugin.critical {
        return Err(format!("{PLUGIN} is not a critical Extended attribute"));
    }
    let Some(text) = &plugin.text else {
        return Err(format!("{PLUGIN} from extended attribute is not a string"));
    };
    if text.trim().is_empty() {
        return Err(format!(
            "{PLUGIN} from extended attribute is an empty string"
        ));
    }
    if named(PLUGIN_VERSION).is_some_and(|version| !version.critical) {
        return Err(format!(
            "error while getting plugin minimum version, error: {PLUGIN_VERSION} is not a critical Extended attribute"
        ));
    }
    Err("plugin unsupported due to nil verifier.pluginManager".to_owned())
}

/// Whether the payload is of this artifact.
fn check_target(payload: &[u8], artifact: &Artifact) -> Result<(), String> {
    let payload: Value = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
    let target = payload.get("targetArtifact").unwrap_or(&Value::Null);
    let text = |name: &str| target.get(name).and_then(Value::as_str);
    let same = text("mediaType") == Some(&artifact.media_type)
        && text("digest") == Some(&artifact.digest)
        && target.get("size").and_then(Value::as_u64) == Some(artifact.size);
    if same {
        Ok(())
    } else {
        Err("content descriptor mismatch".to_owned())
    }
}
