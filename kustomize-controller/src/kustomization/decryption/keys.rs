//! The keys and credentials that an object brings along in a Secret (KC-SOPS-031 to KC-SOPS-043).

use std::fmt;
use std::sync::Arc;

use flux_api::kustomize::Decryption as Spec;
use flux_cloud::{aws, azure, gcp};
use flux_golang::path;
use flux_http::Secret;
use flux_references::ReadError;
use flux_runtime::queue::Key;
use flux_sops::{AgeImportError, Keyring, OpenPgpImportError};
use flux_yaml::Value;

use super::{Decryption, digest, environment};

const OPENPGP: &str = ".asc";
const AGE: &str = ".agekey";
const TRANSIT_TOKEN: &str = "sops.vault-token";
const AWS: &str = "sops.aws-kms";
const AZURE: &str = "sops.azure-kv";
const GCP: &str = "sops.gcp-kms";

/// Why the keys of an object could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    /// A Secret does not exist; the text is the API's own.
    #[error(transparent)]
    NotFound(ReadError),
    #[error("cannot get sops decryption Secret '{secret}'")]
    Read {
        secret: Key,
        #[source]
        source: ReadError,
    },
    #[error("cannot get sops SOPS age decryption Secret '{secret}'")]
    ReadAge {
        secret: Key,
        #[source]
        source: ReadError,
    },
    #[error("failed to import '{key}' data from sops decryption Secret '{secret}'")]
    Import {
        key: String,
        secret: Key,
        #[source]
        source: ImportError,
    },
    #[error("failed to import '{key}' data from sops SOPS age decryption Secret '{secret}'")]
    ImportAge {
        key: String,
        secret: Key,
        #[source]
        source: ImportError,
    },
}

/// Why an entry of a Secret could not be used. No variant holds a part of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    #[error(transparent)]
    Age(#[from] AgeImportError),
    #[error(transparent)]
    OpenPgp(#[from] OpenPgpImportError),
    #[error("failed to unmarshal AWS credentials file: {0}")]
    Aws(String),
    #[error("failed to unmarshal Azure authentication file: {0}")]
    AzureFile(String),
    #[error(
        "invalid data: requires a 'clientId' field, a combination of 'tenantId', 'clientId' and 'clientSecret', or 'tenantId', \
         'clientId' and 'clientCertificate'"
    )]
    AzureFields,
    #[error(transparent)]
    Azure(#[from] azure::Error),
    #[error(transparent)]
    Gcp(#[from] gcp::Error),
}

/// The keys and credentials of one object. `Debug` shows none.
pub(crate) struct Keys {
    pub(super) ring: Arc<Keyring>,
    pub(super) transit_token: Option<Secret>,
    pub(super) aws: Option<aws::Credentials>,
    pub(super) azure: Option<azure::Credential>,
    pub(super) gcp: Option<gcp::ServiceAccountKey>,
    /// The ServiceAccount that the object names for cloud identities.
    pub(super) account: Option<String>,
    /// Compares them without keeping them.
    pub(crate) digest: String,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("ring", &self.ring)
            .finish_non_exhaustive()
    }
}

impl Keys {
    pub(super) async fn read(
        process: &Decryption,
        namespace: &str,
        spec: &Spec,
    ) -> Result<Self, KeysError> {
        let account = spec.service_account_name.clone();
        let mut import = Import::default();
        let own = spec.secret_ref.as_ref().map(|secret| &secret.name);
        let entries = match (own, &process.age_secret) {
            (Some(name), _) => {
                let secret = Key::new(namespace, name.as_str());
                let entries = read(process, &secret).await;
                let entries = entries.map_err(|source| match source {
                    source if source.is_not_found() => KeysError::NotFound(source),
                    source => KeysError::Read {
                        secret: secret.clone(),
                        source,
                    },
                })?;
                for (key, value) in &entries {
                    let added = import.add(key, value);
                    added.map_err(|source| KeysError::Import {
                        key: key.clone(),
                        secret: secret.clone(),
                        source,
                    })?;
                }
                entries
            }
            // Only where the object names no Secret, and only age identities (KC-SOPS-035).
            (None, Some(secret)) => {
                let entries = read(process, secret).await;
                let mut entries = entries.map_err(|source| match source {
                    source if source.is_not_found() => KeysError::NotFound(source),
                    source => KeysError::ReadAge {
                        secret: secret.clone(),
                        source,
                    },
                })?;
                entries.retain(|(key, _)| path::ext(key.as_str()) == AGE);
                for (key, value) in &entries {
                    let added = import.add(key, value);
                    added.map_err(|source| KeysError::ImportAge {
                        key: key.clone(),
                        secret: secret.clone(),
                        source,
                    })?;
                }
                entries
            }
            (None, None) => Vec::new(),
        };
        if !import.ring.has_age() {
            let note = environment::add_age(&mut import.ring, &process.environment).await;
            import.ring.set_age_note(note);
        }
        let parts: Vec<(&str, &[u8])> = entries
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_slice()))
            .collect();
        Ok(Self {
            ring: Arc::new(import.ring),
            transit_token: import.transit_token,
            aws: import.aws,
            azure: import.azure,
            gcp: import.gcp,
            account,
            digest: digest(&parts),
        })
    }
}

async fn read(process: &Decryption, secret: &Key) -> Result<Vec<(String, Vec<u8>)>, ReadError> {
    let secret = process.configs.secrets.get(secret).await?;
    let data = secret.data.iter().flatten();
    Ok(data
        .map(|(key, value)| (key.clone(), value.0.clone()))
        .collect())
}

/// What the entries read so far hold.
#[derive(Default)]
struct Import {
    ring: Keyring,
    transit_token: Option<Secret>,
    aws: Option<aws::Credentials>,
    azure: Option<azure::Credential>,
    gcp: Option<gcp::ServiceAccountKey>,
}

impl Import {
    /// Adds an entry by the end of its name, or by its name; others are ignored (KC-SOPS-032).
    fn add(&mut self, key: &str, value: &[u8]) -> Result<(), ImportError> {
        match (path::ext(key), key) {
            (OPENPGP, _) => self.ring.add_openpgp(value)?,
            (AGE, _) => self.ring.add_age(&String::from_utf8_lossy(value))?,
            (_, TRANSIT_TOKEN) => {
                let token = String::from_utf8_lossy(value);
                let token = Secret::new(token.trim());
                self.transit_token = Some(token).filter(|token| !token.is_empty());
            }
            (_, AWS) => self.aws = Some(aws_credentials(value)?),
            (_, AZURE) => self.azure = Some(azure_credential(value)?),
            (_, GCP) => {
                let end = value.iter().rposition(|byte| *byte != b'\n');
                let value = &value[..end.map_or(0, |at| at + 1)];
                let start = value.iter().position(|byte| *byte != b'\n');
                let key = gcp::ServiceAccountKey::parse(&value[start.unwrap_or(0)..])?;
                self.gcp = Some(key);
            }
            _ => {}
        }
        Ok(())
    }
}

/// A map of text fields; what is absent is empty.
fn fields(value: &Value) -> Option<impl Fn(&str) -> Result<String, String> + '_> {
    if !matches!(value, Value::Map(_) | Value::Null) {
        return None;
    }
    Some(|name: &str| match value.get(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(format!("the field '{name}' is no text")),
    })
}

/// Static credentials of AWS (KC-SOPS-041).
fn aws_credentials(yaml: &[u8]) -> Result<aws::Credentials, ImportError> {
    let value = flux_yaml::sigs::from_str(yaml);
    let value = value.map_err(|error| ImportError::Aws(error.without_text().to_string()))?;
    let field = fields(&value).ok_or_else(|| ImportError::Aws("it is no map".to_owned()))?;
    let token = field("aws_session_token").map_err(ImportError::Aws)?;
    Ok(aws::Credentials {
        access_key_id: field("aws_access_key_id").map_err(ImportError::Aws)?,
        secret_access_key: Secret::new(field("aws_secret_access_key").map_err(ImportError::Aws)?),
        session_token: (!token.is_empty()).then(|| Secret::new(token)),
        expires: None,
    })
}

/// Credentials of Azure, in the order in which upstream looks for them (KC-SOPS-042).
fn azure_credential(file: &[u8]) -> Result<azure::Credential, ImportError> {
    let text = unicode(file);
    let value = flux_yaml::sigs::from_str(&text);
    let value = value.map_err(|error| ImportError::AzureFile(error.without_text().to_string()))?;
    let get = fields(&value).ok_or_else(|| ImportError::AzureFile("it is no map".to_owned()))?;
    let field = |name| get(name).map_err(ImportError::AzureFile);
    let is_set = |text: &String| !text.is_empty();
    let authority = Some(field("authorityHost")?).filter(is_set);
    let (tenant, client) = (field("tenantId")?, field("clientId")?);
    if is_set(&tenant) && is_set(&client) {
        let secret = field("clientSecret")?;
        if is_set(&secret) {
            return Ok(azure::Credential::ClientSecret {
                tenant,
                client,
                secret: Secret::new(secret),
                authority,
            });
        }
        let certificate = field("clientCertificate")?;
        if is_set(&certificate) {
            let password = Some(field("clientCertificatePassword")?).filter(is_set);
            let send_chain = value
                .get("clientCertificateSendChain")
                .and_then(Value::as_bool);
            let certificate = azure::Certificate::new(
                &Secret::new(certificate),
                password.map(Secret::new).as_ref(),
                send_chain.unwrap_or_default(),
            )?;
            return Ok(azure::Credential::ClientCertificate {
                tenant,
                client,
                certificate: Box::new(certificate),
                authority,
            });
        }
    }
    let (tenant, app, password) = (field("tenant")?, field("appId")?, field("password")?);
    if is_set(&tenant) && is_set(&app) && is_set(&password) {
        return Ok(azure::Credential::ClientSecret {
            tenant,
            client: app,
            secret: Secret::new(password),
            authority,
        });
    }
    if is_set(&client) {
        let client = Some(client);
        return Ok(azure::Credential::ManagedIdentity { client });
    }
    Err(ImportError::AzureFields)
}

/// Text in UTF-8, or in UTF-16 with a byte order mark, without the mark.
fn unicode(file: &[u8]) -> String {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        char::decode_utf16(units)
            .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect()
    };
    match file {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        text => String::from_utf8_lossy(text).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_by_their_name() {
        // KC-SOPS-032
        let mut import = Import::default();
        for (key, value) in [
            ("sops.vault-token", " token \n"),
            (
                "sops.aws-kms",
                "aws_access_key_id: AKID\naws_secret_access_key: s\naws_session_token: t\n",
            ),
            ("other", "anything"),
            ("vault-token", "anything"),
        ] {
            import.add(key, value.as_bytes()).unwrap();
        }
        // KC-SOPS-037
        assert_eq!(import.transit_token.unwrap().expose(), b"token");
        // KC-SOPS-041
        let aws = import.aws.unwrap();
        assert_eq!(aws.access_key_id, "AKID");
        assert_eq!(aws.session_token.unwrap().expose(), b"t");
        assert!(import.azure.is_none() && import.gcp.is_none() && !import.ring.has_age());
    }

    #[test]
    fn errors_of_entries_do_not_quote_them() {
        // KC-SOPS-031, KC-SOPS-033
        let error = |key: &str, value: &str| {
            let error = Import::default().add(key, value.as_bytes()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hidden"), "{error}");
            error.to_string()
        };
        assert_eq!(
            error("a.agekey", "hidden"),
            "failed to parse and add to age identities: unknown identity type"
        );
        assert!(
            error("a.agekey", "AGE-SECRET-KEY-1HIDDEN hidden").contains("malformed secret key")
        );
        assert!(
            error("a.asc", "hidden")
                .starts_with("failed to import armored key data into GnuPG keyring")
        );
        assert!(
            error("sops.aws-kms", "- hidden")
                .starts_with("failed to unmarshal AWS credentials file")
        );
        assert!(error("sops.aws-kms", "aws_access_key_id: [hidden]").contains("aws_access_key_id"));
        assert!(
            error("sops.azure-kv", "hidden: [")
                .starts_with("failed to unmarshal Azure authentication file")
        );
        assert!(
            error("sops.azure-kv", "tenantId: hidden")
                .starts_with("invalid data: requires a 'clientId' field, ")
        );
        error(
            "sops.gcp-kms",
            "{\"type\": \"service_account\", \"private_key\": \"hidden\"}",
        );
        error("sops.gcp-kms", "hidden");
    }

    #[test]
    fn azure_credentials_are_found_in_upstreams_order() {
        // KC-SOPS-042
        let read = |text: &str| match azure_credential(text.as_bytes()) {
            Ok(azure::Credential::ClientSecret {
                tenant,
                client,
                secret,
                authority,
            }) => format!(
                "secret {tenant} {client} {} {}",
                secret.expose_text(),
                authority.unwrap_or_default()
            ),
            Ok(azure::Credential::ManagedIdentity { client }) => {
                format!("managed {}", client.unwrap_or_default())
            }
            Ok(azure::Credential::ClientCertificate { .. }) => "certificate".to_owned(),
            Err(error) => error.to_string(),
        };
        let all = "tenantId: t\nclientId: c\nclientSecret: s\nappId: a\ntenant: u\npassword: p\n";
        assert_eq!(read(all), "secret t c s ");
        assert_eq!(
            read(&format!("{all}authorityHost: https://login.example\n")),
            "secret t c s https://login.example"
        );
        assert_eq!(
            read("{\"appId\": \"a\", \"tenant\": \"u\", \"password\": \"p\", \"clientId\": \"c\"}"),
            "secret u a p "
        );
        assert_eq!(read("clientId: c\ntenantId: t\n"), "managed c");
        assert!(read("tenantId: t\nclientId: c\nclientCertificate: none\n").contains("PEM"));
        let utf16: Vec<u8> = "\u{feff}clientId: c\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        assert!(matches!(
            azure_credential(&utf16),
            Ok(azure::Credential::ManagedIdentity { .. })
        ));
        let utf16: Vec<u8> = "\u{feff}clientId: c\n"
            .encode_utf16()
            .flat_map(u16::to_be_bytes)
            .collect();
        assert!(matches!(
            azure_credential(&utf16),
            Ok(azure::Credential::ManagedIdentity { .. })
        ));
    }
}
