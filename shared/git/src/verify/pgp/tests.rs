//! Keys with self-signatures that no tool would write: GnuPG generates the key material, the test signs it again.

use ::pgp::composed::{ArmorOptions, DetachedSignature, SignedPublicKey, SignedSecretKey};
use ::pgp::crypto::hash::HashAlgorithm;
use ::pgp::packet::{
    KeyFlags, Notation, Signature, SignatureConfig, SignatureType, Subpacket, SubpacketData,
};
use ::pgp::types::{Password, SigningKey, Tag, Timestamp};
use git_servers::{PgpKey, gpg_available};

use super::*;

const PAYLOAD: &[u8] = b"tree x\n\nmessage\n";
/// The time of all signatures, in seconds since 1970: long after GnuPG generated the keys.
const SIGNED: u32 = 4_000_000_000;

/// Who signs the payload.
#[derive(Clone, Copy, PartialEq)]
enum Signer {
    Primary,
    Subkey,
}

/// Who makes the back signature that the binding of a signing subkey embeds.
#[derive(Clone, Copy, PartialEq)]
enum Back {
    Missing,
    BySubkey,
    /// By the wrong key.
    ByPrimary,
}

/// A notation, and whether it is critical.
#[derive(Clone, Copy, PartialEq)]
enum Note {
    Critical,
    Optional,
}

/// Which signature carries the notation.
#[derive(Clone, Copy, PartialEq)]
enum On {
    Signature,
    Certification,
    Binding,
    Back,
}

/// The differences from a valid key. Flags are those of the user id and of the subkey.
struct Case {
    what: &'static str,
    signer: Signer,
    primary_signs: Option<bool>,
    subkey_signs: Option<bool>,
    back: Back,
    note: Option<(On, Note)>,
    counts: bool,
}

const GOOD: Case = Case {
    what: "a good key",
    signer: Signer::Primary,
    primary_signs: Some(true),
    subkey_signs: Some(true),
    back: Back::BySubkey,
    note: None,
    counts: true,
};

const BY_SUBKEY: Case = Case {
    what: "a good subkey of a key that only certifies",
    signer: Signer::Subkey,
    primary_signs: Some(false),
    ..GOOD
};

fn cases() -> Vec<Case> {
    let mut cases = vec![
        GOOD,
        BY_SUBKEY,
        Case {
            what: "a key without the signing flag",
            primary_signs: Some(false),
            counts: false,
            ..GOOD
        },
        Case {
            what: "a key without flags",
            primary_signs: None,
            counts: false,
            ..GOOD
        },
        Case {
            what: "a subkey without the signing flag",
            subkey_signs: Some(false),
            counts: false,
            ..BY_SUBKEY
        },
        Case {
            what: "a subkey without flags",
            subkey_signs: None,
            counts: false,
            ..BY_SUBKEY
        },
        Case {
            what: "a subkey without its back-signature",
            back: Back::Missing,
            counts: false,
            ..BY_SUBKEY
        },
        Case {
            what: "a subkey whose back-signature the primary key made",
            back: Back::ByPrimary,
            counts: false,
            ..BY_SUBKEY
        },
    ];
    for (on, what) in [
        (On::Signature, "on the signature"),
        (On::Certification, "on the user id's"),
        (On::Binding, "on the subkey's binding"),
        (On::Back, "on the back-signature"),
    ] {
        for note in [Note::Critical, Note::Optional] {
            cases.push(Case {
                what,
                note: Some((on, note)),
                counts: note == Note::Optional,
                ..BY_SUBKEY
            });
        }
    }
    cases
}

impl Case {
    /// The configuration of a signature: time, signer, and further subpackets.
    fn config(&self, typ: SignatureType, by: &impl SigningKey, on: On) -> SignatureConfig {
        let mut config = SignatureConfig::v4(typ, by.algorithm(), HashAlgorithm::Sha256);
        let mut subpackets = vec![
            Subpacket::regular(SubpacketData::SignatureCreationTime(Timestamp::from_secs(
                SIGNED,
            ))),
            Subpacket::regular(SubpacketData::IssuerFingerprint(by.fingerprint())),
        ];
        if let Some((place, note)) = self.note
            && place == on
        {
            let notation = SubpacketData::Notation(Notation {
                readable: true,
                name: "policy@example.com".into(),
                value: "strict".into(),
            });
            subpackets.push(match note {
                Note::Critical => Subpacket::critical(notation),
                Note::Optional => Subpacket::regular(notation),
            });
        }
        config.hashed_subpackets = subpackets.into_iter().map(Result::unwrap).collect();
        config
    }

    /// The key's ring.
    fn ring(&self, key: &SignedSecretKey) -> String {
        let mut public = key.to_public_key();
        let password = Password::empty();
        let flags = |signs: Option<bool>| {
            signs.map(|signs| {
                let mut flags = KeyFlags::default();
                flags.set_certify(true);
                flags.set_sign(signs);
                Subpacket::regular(SubpacketData::KeyFlags(flags)).unwrap()
            })
        };

        let primary = &key.primary_key;
        let mut config = self.config(SignatureType::CertPositive, primary, On::Certification);
        config.hashed_subpackets.extend(flags(self.primary_signs));
        let user = &mut public.details.users[0];
        let vouching = config
            .sign_certification(
                primary,
                primary.public_key(),
                &password,
                Tag::UserId,
                &user.id,
            )
            .unwrap();
        user.signatures = vec![vouching];

        let subkey = &key.secret_subkeys[0].key;
        let mut config = self.config(SignatureType::SubkeyBinding, primary, On::Binding);
        config.hashed_subpackets.extend(flags(self.subkey_signs));
        config
            .hashed_subpackets
            .extend(self.back_signature(key).map(|back| {
                Subpacket::regular(SubpacketData::EmbeddedSignature(Box::new(back))).unwrap()
            }));
        let binding = config
            .sign_subkey_binding(
                primary,
                primary.public_key(),
                &password,
                subkey.public_key(),
            )
            .unwrap();
        public.public_subkeys[0].signatures = vec![binding];
        armored(&public)
    }

    fn back_signature(&self, key: &SignedSecretKey) -> Option<Signature> {
        let (primary, subkey) = (&key.primary_key, &key.secret_subkeys[0].key);
        let (typ, password) = (SignatureType::KeyBinding, Password::empty());
        let made = match self.back {
            Back::Missing => return None,
            Back::BySubkey => self.config(typ, subkey, On::Back).sign_primary_key_binding(
                subkey,
                subkey.public_key(),
                &password,
                primary.public_key(),
            ),
            Back::ByPrimary => self
                .config(typ, primary, On::Back)
                .sign_primary_key_binding(
                    primary,
                    subkey.public_key(),
                    &password,
                    primary.public_key(),
                ),
        };
        Some(made.unwrap())
    }

    /// The signature of the payload.
    fn signature(&self, key: &SignedSecretKey) -> String {
        let (typ, password) = (SignatureType::Binary, Password::empty());
        let signature = match self.signer {
            Signer::Primary => {
                let by = &key.primary_key;
                self.config(typ, by, On::Signature)
                    .sign(by, &password, PAYLOAD)
            }
            Signer::Subkey => {
                let by = &key.secret_subkeys[0].key;
                self.config(typ, by, On::Signature)
                    .sign(by, &password, PAYLOAD)
            }
        };
        let signature = DetachedSignature::new(signature.unwrap());
        signature
            .to_armored_string(ArmorOptions::default())
            .unwrap()
    }
}

fn armored(key: &SignedPublicKey) -> String {
    key.to_armored_string(ArmorOptions::default()).unwrap()
}

#[test]
fn a_signature_counts_if_its_key_may_sign_and_every_critical_notation_is_known() {
    // SC-VER-012
    if !gpg_available() {
        println!("skipped: gpg is not installed");
        return;
    }
    let gnupg = PgpKey::generate("ed25519", "never");
    gnupg.add_signing_subkey("ed25519", "never");
    let exported = gnupg.gpg(&["--armor", "--passphrase", "", "--export-secret-keys"]);
    let (key, _) = SignedSecretKey::from_string(&exported).unwrap();
    for case in cases() {
        let found = verify(
            &case.signature(&key),
            PAYLOAD,
            &[case.ring(&key)],
            u64::from(SIGNED) + 1,
        );
        let note = match case.note {
            Some((_, Note::Critical)) => "a critical notation ",
            Some((_, Note::Optional)) => "a notation ",
            None => "",
        };
        let want = if case.counts {
            Ok(gnupg.key_id().to_owned())
        } else {
            Err(SignatureError::NoMatchingPgpKey)
        };
        assert_eq!(found, want, "{note}{}", case.what);
    }
}
