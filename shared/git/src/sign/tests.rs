//! Tests of signing keys, with keys made by the real tools.

use flux_errors::chain;
use git_servers::{PgpKey, SshKey};
use rstest::rstest;

use super::*;

fn read(kind: &str, entries: &[(&str, &str)]) -> Result<SigningKey, String> {
    let entries = entries.iter().map(|(key, value)| (*key, value.as_bytes()));
    let secret = SecretData::new("apps", "key", entries);
    SigningKey::from_secret(kind, "key", &secret).map_err(|error| chain(&error))
}

fn refused(kind: &str, entries: &[(&str, &str)]) -> String {
    read(kind, entries).unwrap_err()
}

#[test]
fn incomplete_secrets_are_refused() {
    // IA-GIT-092, IA-GIT-093, IA-GIT-094
    for kind in ["", "gpg"] {
        assert_eq!(
            refused(kind, &[("identity", "x")]),
            "signing key secret 'key' does not contain a 'git.asc' key"
        );
    }
    assert_eq!(
        refused("ssh", &[("git.asc", "x")]),
        "signing key secret 'key' does not contain an 'identity' key"
    );
    assert_eq!(refused("x509", &[]), "unknown signing key type \"x509\"");
}

#[test]
fn pgp_key_rings_have_exactly_one_key() {
    // IA-GIT-095
    let (one, two) = (
        PgpKey::generate("ed25519", "never"),
        PgpKey::generate("ed25519", "never"),
    );
    assert!(read("gpg", &[("git.asc", &one.private())]).is_ok());
    two.gpg(&["--import", &{
        let file = two.home().join("other");
        std::fs::write(&file, one.private()).unwrap();
        file.display().to_string()
    }]);
    let both = two.gpg(&["--passphrase", "", "--armor", "--export-secret-keys"]);
    assert_eq!(
        refused("gpg", &[("git.asc", &both)]),
        "multiple entities read from secret 'key', could not determine which signing key to use"
    );
    let unreadable = "could not read signing key from secret 'key': openpgp: ";
    for text in [
        "",
        "S3CRET",
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nUzNDUkVU\n",
    ] {
        let error = refused("gpg", &[("git.asc", text)]);
        assert!(error.starts_with(unreadable), "{error}");
        assert!(
            !error.contains("S3CRET") && !error.contains("UzNDUkVU"),
            "{error}"
        );
    }
    // FR-N-104
    assert_eq!(
        refused("", &[("git.asc", &one.public())]),
        format!("{unreadable}invalid argument: signing key doesn't have a private key")
    );
}

#[test]
fn locked_pgp_keys_need_their_passphrase() {
    // IA-GIT-096
    let key = PgpKey::locked("ed25519", "p4ssphrase");
    let private = key.private();
    assert_eq!(
        refused("gpg", &[("git.asc", &private)]),
        "can not use passphrase protected signing key without 'passphrase' field present in secret key"
    );
    assert_eq!(
        refused(
            "gpg",
            &[("git.asc", &private), ("passphrase", "wr0ngphrase")]
        ),
        "could not decrypt private key of the signing key present in secret key: \
         openpgp: invalid data: private key checksum failure"
    );
    let good = read(
        "gpg",
        &[("git.asc", &private), ("passphrase", "p4ssphrase")],
    )
    .unwrap();
    assert_eq!(format!("{good:?}"), "SigningKey(openpgp)");
    assert!(good.sign(b"payload").is_ok());
}

#[test]
fn expired_pgp_keys_do_not_sign() {
    let key = PgpKey::generate_at("ed25519", "1d", Some("20200101T000000"));
    let key = read("gpg", &[("git.asc", &key.private())]).unwrap();
    let error = key.sign(b"payload").unwrap_err().to_string();
    assert_eq!(error, "openpgp: invalid argument: no valid signing keys");
}

#[test]
fn locked_ssh_keys_need_their_passphrase() {
    // IA-GIT-098
    for arguments in [
        &["-t", "ed25519"][..],
        &["-t", "rsa", "-b", "2048", "-m", "PEM"],
        &["-t", "ecdsa", "-m", "PKCS8"],
    ] {
        let key = SshKey::generate(arguments, "p4ssphrase").private();
        assert_eq!(
            refused("ssh", &[("identity", &key)]),
            "can not use passphrase protected signing key without 'password' field present in secret key"
        );
        assert_eq!(
            refused("ssh", &[("identity", &key), ("password", "wr0ngphrase")]),
            "could not parse SSH signing key from secret 'key': \
             could not parse SSH signing key: x509: decryption password incorrect"
        );
        let good = read("ssh", &[("identity", &key), ("password", "p4ssphrase")]).unwrap();
        assert_eq!(format!("{good:?}"), "SigningKey(ssh)");
    }
}

#[test]
fn weak_and_unreadable_ssh_keys_are_refused() {
    // IA-GIT-099
    let short = SshKey::generate(&["-t", "rsa", "-b", "1024"], "").private();
    assert_eq!(
        refused("ssh", &[("identity", &short)]),
        "could not parse SSH signing key from secret 'key': RSA key size 1024 bits is below the \
         minimum supported by NewSSHSigner; must be at least 2048"
    );
    let error = refused("ssh", &[("identity", "S3CRET")]);
    assert!(
        error.starts_with(
            "could not parse SSH signing key from secret 'key': could not parse SSH signing key: ssh: "
        ),
        "{error}"
    );
    assert!(!error.contains("S3CRET"), "{error}");
}

#[rstest]
#[case(&["-t", "ed25519"])]
#[case(&["-t", "ecdsa", "-b", "256"])]
#[case(&["-t", "ecdsa", "-b", "384"])]
#[case(&["-t", "ecdsa", "-b", "521"])]
#[case(&["-t", "rsa", "-b", "2048"])]
fn ssh_signatures_are_of_the_namespace_git(#[case] arguments: &[&str]) {
    // IA-GIT-099, IA-GIT-100
    let key = SshKey::generate(arguments, "");
    let signer = read("ssh", &[("identity", &key.private())]).unwrap();
    let signature = signer.sign(b"payload").unwrap();
    let parsed = russh::keys::ssh_key::SshSig::from_pem(&signature).unwrap();
    assert_eq!(parsed.namespace(), "git");
    assert_eq!(parsed.hash_alg(), russh::keys::HashAlg::Sha512);
}

/// The sample key of RFC 9580, appendix A.4: version 6, without user id.
const VERSION_6: &str = "-----BEGIN PGP PRIVATE KEY BLOCK-----

xUsGY4d/4xsAAAAg+U2nu0jWCmHlZ3BqZYfQMxmZu52JGggkLq2EVD34laMAGXKB
exK+cH6NX1hs5hNhIB00TrJmosgv3mg1ditlsLfCsQYfGwoAAABCBYJjh3/jAwsJ
BwUVCg4IDAIWAAKbAwIeCSIhBssYbE8GCaaX5NUt+mxyKwwfHifBilZwj2Ul7Ce6
2azJBScJAgcCAAAAAK0oIBA+LX0ifsDm185Ecds2v8lwgyU2kCcUmKfvBXbAf6rh
RYWzuQOwEn7E/aLwIwRaLsdry0+VcallHhSu4RN6HWaEQsiPlR4zxP/TP7mhfVEe
7XWPxtnMUMtf15OyA51YBMdLBmOHf+MZAAAAIIaTJINn+eUBXbki+PSAld2nhJh/
LVmFsS+60WyvXkQ1AE1gCk95TUR3XFeibg/u/tVY6a//1q0NWC1X+yui3O24wpsG
GBsKAAAALAWCY4d/4wKbDCIhBssYbE8GCaaX5NUt+mxyKwwfHifBilZwj2Ul7Ce6
2azJAAAAAAQBIKbpGG2dWTX8j+VjFM21J0hqWlEg+bdiojWnKfA5AQpWUWtnNwDE
M0g12vYxoWM8Y81W+bHBw805I8kWVkXU6vFOi+HWvv/ira7ofJu16NnoUkhclkUr
k0mXubZvyl4GBg==
-----END PGP PRIVATE KEY BLOCK-----
";

#[test]
fn keys_of_version_6_sign() {
    let signer = read("gpg", &[("git.asc", VERSION_6)]).unwrap();
    let signature = signer.sign(b"payload").unwrap();
    let ring = [VERSION_6.to_owned()];
    let verified = crate::verify::pgp::verify(&signature, b"payload", &ring, u64::from(u32::MAX));
    assert_eq!(verified.as_deref(), Ok("CB186C4F0609A697"));
}
