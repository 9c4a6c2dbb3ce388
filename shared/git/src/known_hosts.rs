//! OpenSSH's `known_hosts`: the keys that a host may present.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Algorithm, Certificate, EcdsaCurve, HashAlg, PublicKey};

/// The maximum size of a `known_hosts` file in bytes.
const MAX_SIZE: usize = 1 << 20;

/// A parsed `known_hosts` (SC-GIT-124): hashed names, wildcards, negation, `[host]:port`, `@cert-authority`, `@revoked`.
#[derive(Debug, Clone, Default)]
pub struct KnownHosts {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    marker: Marker,
    hosts: Hosts,
    key: PublicKey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marker {
    None,
    CertAuthority,
    Revoked,
}

#[derive(Debug, Clone)]
enum Hosts {
    Hashed { salt: Vec<u8>, hash: Vec<u8> },
    Patterns(Vec<Pattern>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    negated: bool,
    host: String,
    port: u16,
}

/// A line that is not an entry, comment or blank.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("knownhosts: {reason} (line {line})")]
pub struct KnownHostsError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// Why a host key is rejected. The texts are those of Go's `knownhosts` (SC-GIT-124).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostKeyError {
    /// The host is unknown.
    #[error("knownhosts: key is unknown")]
    Unknown,
    /// The host is known by another key.
    #[error("knownhosts: key mismatch")]
    Mismatch,
    /// The key is revoked.
    #[error("knownhosts: key is revoked")]
    Revoked,
    /// The certificate is not valid for this host and time.
    #[error("ssh: host certificate is not valid for this host")]
    Certificate,
}

impl KnownHosts {
    /// Parses the file's bytes. Keys of unsupported kinds are skipped, as in OpenSSH.
    pub fn parse(bytes: &[u8]) -> Result<Self, KnownHostsError> {
        if bytes.len() > MAX_SIZE {
            return Err(KnownHostsError {
                line: 0,
                reason: "more than one MiB",
            });
        }
        let mut entries = Vec::new();
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let error = |reason| KnownHostsError {
                line: index + 1,
                reason,
            };
            // Comments may be in any encoding; hosts and keys are ASCII, so the replacement does not affect them.
            let line = String::from_utf8_lossy(line);
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            entries.extend(Entry::parse(line).map_err(error)?);
        }
        Ok(Self { entries })
    }

    /// Checks a host's bare key.
    pub fn check(&self, host: &str, port: u16, key: &PublicKey) -> Result<(), HostKeyError> {
        if self.is_revoked(key) {
            return Err(HostKeyError::Revoked);
        }
        let mut known = false;
        for entry in self.of_host(host, port) {
            known = true;
            if entry.marker == Marker::None && entry.key.key_data() == key.key_data() {
                return Ok(());
            }
        }
        Err(if known {
            HostKeyError::Mismatch
        } else {
            HostKeyError::Unknown
        })
    }

    /// Checks a host's certificate at a time (seconds since 1970): it is signed by a `@cert-authority` of the host,
    /// names the host, is valid at that time, and neither it nor its authority is revoked.
    pub fn check_certificate(
        &self,
        host: &str,
        port: u16,
        certificate: &Certificate,
        now: u64,
    ) -> Result<(), HostKeyError> {
        let authority = certificate.signature_key();
        let revoked = |entry: &Entry| {
            entry.marker == Marker::Revoked
                && (entry.key.key_data() == authority
                    || entry.key.key_data() == certificate.public_key())
        };
        if self.entries.iter().any(revoked) {
            return Err(HostKeyError::Revoked);
        }
        let trusted = self.of_host(host, port).any(|entry| {
            entry.marker == Marker::CertAuthority && entry.key.key_data() == authority
        });
        if !trusted {
            return Err(HostKeyError::Unknown);
        }
        let principals = certificate.valid_principals();
        let named = principals.is_empty()
            || principals
                .iter()
                .any(|name| name.eq_ignore_ascii_case(host));
        let fingerprint = authority.fingerprint(HashAlg::Sha256);
        let valid = certificate.cert_type() == CertType::Host
            && certificate.critical_options().is_empty()
            && named
            && certificate.validate_at(now, [&fingerprint]).is_ok();
        if valid {
            Ok(())
        } else {
            Err(HostKeyError::Certificate)
        }
    }

    /// The host key algorithms to offer (RT-GIT-014, SC-GIT-125): those of the keys known for the host, or of all keys
    /// if none is known, so that the rejection states the cause. An RSA key implies its SHA-2 signatures first and
    /// SHA-1 last.
    pub fn algorithms(&self, host: &str, port: u16) -> Vec<Algorithm> {
        let mut found = Vec::new();
        let plain = |entry: &&Entry| entry.marker == Marker::None;
        let mut of_host: Vec<&Entry> = self.of_host(host, port).filter(plain).collect();
        if of_host.is_empty() {
            of_host = self.entries.iter().filter(plain).collect();
        }
        for entry in of_host {
            for algorithm in signing_algorithms(&entry.key.algorithm()) {
                if !found.contains(&algorithm) {
                    found.push(algorithm);
                }
            }
        }
        found
    }

    /// Whether to request certificates: a `@cert-authority` is known for the host.
    pub fn has_authority(&self, host: &str, port: u16) -> bool {
        self.of_host(host, port)
            .any(|entry| entry.marker == Marker::CertAuthority)
    }

    fn is_revoked(&self, key: &PublicKey) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.marker == Marker::Revoked && entry.key.key_data() == key.key_data())
    }

    fn of_host<'a>(&'a self, host: &'a str, port: u16) -> impl Iterator<Item = &'a Entry> {
        let of_host = move |entry: &&Entry| {
            entry.marker != Marker::Revoked && entry.hosts.matches(host, port)
        };
        self.entries.iter().filter(of_host)
    }
}

/// The signature algorithms of a kind of key, best first.
fn signing_algorithms(kind: &Algorithm) -> Vec<Algorithm> {
    match kind {
        Algorithm::Rsa { .. } => vec![
            Algorithm::Rsa {
                hash: Some(HashAlg::Sha512),
            },
            Algorithm::Rsa {
                hash: Some(HashAlg::Sha256),
            },
            Algorithm::Rsa { hash: None },
        ],
        other => vec![other.clone()],
    }
}

/// All supported algorithms of host certificates; SHA-1 is not among them.
pub(crate) fn certificate_algorithms() -> Vec<Algorithm> {
    vec![
        Algorithm::Ed25519,
        Algorithm::Ecdsa {
            curve: EcdsaCurve::NistP256,
        },
        Algorithm::Ecdsa {
            curve: EcdsaCurve::NistP384,
        },
        Algorithm::Ecdsa {
            curve: EcdsaCurve::NistP521,
        },
        Algorithm::Rsa {
            hash: Some(HashAlg::Sha512),
        },
        Algorithm::Rsa {
            hash: Some(HashAlg::Sha256),
        },
    ]
}

impl Entry {
    /// Parses one line; `None` for a key of an unsupported kind.
    fn parse(line: &str) -> Result<Option<Self>, &'static str> {
        let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
        let mut next = words.next();
        let marker = match next {
            Some("@cert-authority") => Marker::CertAuthority,
            Some("@revoked") => Marker::Revoked,
            Some(word) if word.starts_with('@') => return Err("unknown marker"),
            _ => Marker::None,
        };
        if marker != Marker::None {
            next = words.next();
        }
        let pattern = next.ok_or("missing host pattern")?;
        let kind = words.next().ok_or("missing key type pattern")?;
        let blob = words.next().ok_or("missing key")?;
        let hosts = Hosts::parse(pattern)?;
        let blob = BASE64.decode(blob).map_err(|_| "the key is not base64")?;
        match PublicKey::from_bytes(&blob) {
            Ok(key) if matches!(key.algorithm(), Algorithm::Other(_)) => Ok(None),
            Ok(key) => Ok(Some(Self { marker, hosts, key })),
            Err(_) if supported(kind) => Err("the key is malformed"),
            Err(_) => Ok(None),
        }
    }
}

fn supported(kind: &str) -> bool {
    matches!(
        kind,
        "ssh-ed25519"
            | "ssh-rsa"
            | "ecdsa-sha2-nistp256"
            | "ecdsa-sha2-nistp384"
            | "ecdsa-sha2-nistp521"
    )
}

impl Hosts {
    fn parse(text: &str) -> Result<Self, &'static str> {
        if let Some(hashed) = text.strip_prefix('|') {
            let parts: Vec<&str> = hashed.split('|').collect();
            let [kind, salt, hash] = parts[..] else {
                return Err("a hashed host needs three parts");
            };
            if kind != "1" {
                return Err("the hash type of a hashed host must be '1'");
            }
            let decode = |part: &str| {
                BASE64
                    .decode(part)
                    .map_err(|_| "a hashed host is not base64")
            };
            return Ok(Self::Hashed {
                salt: decode(salt)?,
                hash: decode(hash)?,
            });
        }
        let patterns = text
            .split(',')
            .filter(|pattern| !pattern.is_empty())
            .map(Pattern::parse);
        Ok(Self::Patterns(patterns.collect::<Result<_, _>>()?))
    }

    fn matches(&self, host: &str, port: u16) -> bool {
        let host = host.to_lowercase();
        match self {
            Self::Hashed { salt, hash } => {
                let names = if port != 22 {
                    vec![format!("[{host}]:{port}")]
                } else if host.contains(':') {
                    vec![host.clone(), format!("[{host}]")]
                } else {
                    vec![host]
                };
                names.iter().any(|name| {
                    Hmac::<sha1::Sha1>::new_from_slice(salt).is_ok_and(|mut mac| {
                        mac.update(name.as_bytes());
                        mac.verify_slice(hash).is_ok()
                    })
                })
            }
            Self::Patterns(patterns) => {
                let mut matched = false;
                for pattern in patterns {
                    if pattern.port == port && wildcard(pattern.host.as_bytes(), host.as_bytes()) {
                        if pattern.negated {
                            return false;
                        }
                        matched = true;
                    }
                }
                matched
            }
        }
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (negated, text) = match text.strip_prefix('!') {
            Some("") => return Err("negation without following hostname"),
            Some(text) => (true, text),
            None => (false, text),
        };
        let port = |port: &str| port.parse::<u16>().map_err(|_| "the port is not a number");
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            match rest.split_once(']') {
                Some((host, "")) => (host, 22),
                Some((host, rest)) => (
                    host,
                    port(
                        rest.strip_prefix(':')
                            .ok_or("missing port in host pattern")?,
                    )?,
                ),
                None => return Err("missing ']' in host pattern"),
            }
        } else {
            match text.split_once(':') {
                // More than one colon: a bare IPv6 address.
                Some((host, rest)) if !rest.contains(':') => (host, port(rest)?),
                _ => (text, 22),
            }
        };
        Ok(Self {
            negated,
            host: host.to_lowercase(),
            port,
        })
    }
}

/// `*` for any run of characters, `?` for one.
fn wildcard(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&byte) if byte == b'?' || text.get(t) == Some(&byte) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, tried)) => {
                    star = Some((at, tried + 1));
                    p = at + 1;
                    t = tried + 1;
                }
                None => return false,
            },
        }
    }
    pattern
        .get(p..)
        .is_some_and(|rest| rest.iter().all(|&byte| byte == b'*'))
}

#[cfg(test)]
mod tests;
