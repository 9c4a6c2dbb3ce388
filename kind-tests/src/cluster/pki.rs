//! The certificates of a control plane, generated without openssl.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use crate::failure::{Doing, Result};

/// The first address of the service range, that of the API server's own service.
pub(crate) const KUBERNETES_SERVICE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1));

/// The address at which a real node reaches the API server; part of every certificate, so that any control plane can
/// have a node.
pub(crate) const NODE_GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 88, 7, 1));

const CA_NAME: &str = "flux-tests";

/// A folder of PEM files: `ca`, `apiserver`, `sa` and those added by [`Pki::issue`].
#[derive(Clone, Debug)]
pub(crate) struct Pki(PathBuf);

/// A certificate with its key, as PEM.
pub(crate) struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The private key, PKCS #8.
    pub key: String,
}

impl Pki {
    /// Generates a certificate authority, the API server's certificate and the service account key in `folder`.
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let pki = Self(folder.to_path_buf());

        let ca_key = KeyPair::generate()?;
        let ca = ca_params().self_signed(&ca_key)?;
        pki.write(
            "ca",
            &Pair {
                certificate: ca.pem(),
                key: ca_key.serialize_pem(),
            },
        )?;

        let service_accounts = KeyPair::generate()?;
        fs::write(pki.path("sa.key"), service_accounts.serialize_pem())?;
        fs::write(pki.path("sa.pub"), service_accounts.public_key_pem())?;

        pki.issue("apiserver", "kube-apiserver", "", &apiserver_names()?)?;
        pki.issue(
            "kubelet-client",
            "kube-apiserver-kubelet-client",
            "system:masters",
            &[],
        )?;
        Ok(pki)
    }

    /// Opens the files that `create` has written to `folder`.
    pub(crate) fn open(folder: &Path) -> Self {
        Self(folder.to_path_buf())
    }

    /// The path of one file.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    /// The authority's certificate, PEM.
    pub(crate) fn ca(&self) -> Result<String> {
        let path = self.path("ca.crt");
        fs::read_to_string(&path).doing(format!("read {}", path.display()))
    }

    /// A client and server certificate for this user and group, signed by the authority.
    pub(crate) fn pair(&self, user: &str, group: &str, names: &[SanType]) -> Result<Pair> {
        let path = self.path("ca.key");
        let ca_key = KeyPair::from_pem(
            &fs::read_to_string(&path).doing(format!("read {}", path.display()))?,
        )?;
        let issuer = Issuer::new(ca_params(), ca_key);

        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, user);
        if !group.is_empty() {
            params
                .distinguished_name
                .push(DnType::OrganizationName, group);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        params.subject_alt_names = names.to_vec();
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?;
        Ok(Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    /// As [`Pki::pair`], written to `file.crt` and `file.key`.
    pub(crate) fn issue(&self, file: &str, user: &str, group: &str, names: &[SanType]) -> Result {
        self.write(file, &self.pair(user, group, names)?)
    }

    fn write(&self, file: &str, pair: &Pair) -> Result {
        fs::write(self.path(&format!("{file}.crt")), &pair.certificate)?;
        fs::write(self.path(&format!("{file}.key")), &pair.key)?;
        Ok(())
    }
}

/// The same each time, since an issuer is identified by its name and key.
fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, CA_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    params
}

fn apiserver_names() -> Result<Vec<SanType>> {
    let mut names = Vec::new();
    for name in [
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ] {
        names.push(SanType::DnsName(name.try_into()?));
    }
    for address in [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        KUBERNETES_SERVICE,
        NODE_GATEWAY,
    ] {
        names.push(SanType::IpAddress(address));
    }
    Ok(names)
}
