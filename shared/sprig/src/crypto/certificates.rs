//! X.509 certificates: `genCA`, `genSelfSignedCert`, `genSignedCert`, `buildCustomCert`.

use std::any::Any;
use std::net::IpAddr;

use flux_golang::encoding;
use flux_golang::time::Civil;
use flux_gotemplate::{
    CallError, Context, Function, Functions, Kind, Object, Str, Type, TypeInfo, Value, fmt, types,
};
use sha2::{Digest, Sha256};

use super::drbg::Drbg;
use super::keys::PrivateKey;
use super::{der, pem};

static CERTIFICATE: TypeInfo = TypeInfo::object("sprig.certificate", Kind::Struct);

/// The result of these functions.
struct Certificate {
    cert: Str,
    key: Str,
}

impl Object for Certificate {
    fn go_type(&self) -> Type {
        &CERTIFICATE
    }

    fn fields(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("Cert", self.cert.clone().into()),
            ("Key", self.key.clone().into()),
        ]
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

pub(super) fn register(f: &mut Functions) {
    f.add("buildCustomCert", |cert: Str, key: Str| custom(&cert, &key));
    let names: [Type; 4] = [
        &types::STRING,
        &types::ANY_SLICE,
        &types::ANY_SLICE,
        &types::INT,
    ];
    let authority: [Type; 2] = [&types::STRING, &types::INT];
    let ca: Type = &CERTIFICATE;
    let key: Type = &types::STRING;
    for (name, kind, params) in [
        ("genCA", Issue::Authority, authority.to_vec()),
        ("genSelfSignedCert", Issue::SelfSigned, names.to_vec()),
        ("genSignedCert", Issue::Signed, [&names[..], &[ca]].concat()),
    ] {
        let with_key = [&params[..], &[key]].concat();
        f.insert(
            name,
            Function::new(params, false, move |c, args| issue(c, kind, args, false)),
        );
        f.insert(
            &format!("{name}WithKey"),
            Function::new(with_key, false, move |c, args| issue(c, kind, args, true)),
        );
    }
}

/// How a certificate is signed, and its use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Issue {
    Authority,
    SelfSigned,
    Signed,
}

/// The content of a certificate.
struct Subject {
    common_name: Str,
    addresses: Vec<IpAddr>,
    hosts: Vec<Str>,
    days: i64,
    authority: bool,
}

/// The parts of a signer's certificate that are copied into the certificates it signs.
struct Signer {
    name: Vec<u8>,
    key_id: Option<Vec<u8>>,
    key: PrivateKey,
}

fn issue(
    c: &mut Context<'_>,
    kind: Issue,
    args: &mut Vec<Value>,
    with_key: bool,
) -> Result<Value, CallError> {
    let given = if with_key { args.pop() } else { None };
    let key = if let Some(text) = given {
        let text = text.as_str().cloned().unwrap_or_default();
        PrivateKey::from_pem(&text)
            .map_err(|e| CallError::new(format!("parsing private key: {e}")))?
    } else {
        c.spend(500_000)?;
        PrivateKey::rsa(&mut Drbg::new(c)?, 2048)?
    };
    let signer = match kind {
        Issue::Signed => Some(signer(args.pop())?),
        _ => None,
    };
    let mut args = args.drain(..);
    let common_name = match args.next() {
        Some(Value::Str(name)) => name,
        _ => Str::default(),
    };
    let (addresses, hosts) = if kind == Issue::Authority {
        (Vec::new(), Vec::new())
    } else {
        let ips = args.next().unwrap_or_default();
        let hosts = args.next().unwrap_or_default();
        (parse_addresses(&ips)?, parse_hosts(&hosts)?)
    };
    let days = match args.next() {
        Some(Value::Int(_, days)) => days,
        _ => 0,
    };
    drop(args);
    let subject = Subject {
        common_name,
        addresses,
        hosts,
        days,
        authority: kind == Issue::Authority,
    };
    let der = create(c, &subject, &key, signer.as_ref())?;
    Ok(Value::object(Certificate {
        cert: pem::encode("CERTIFICATE", &der).into(),
        key: key.pem()?.into(),
    }))
}

fn signer(ca: Option<Value>) -> Result<Signer, CallError> {
    let ca = ca.unwrap_or_default();
    let ca = ca.downcast::<Certificate>().ok_or("not a certificate")?;
    let (_, block) = pem::decode(&ca.cert).ok_or("unable to decode certificate")?;
    let (name, key_id) = parse_signer(&block)
        .map_err(|e| format!("error parsing certificate: decodedSignerCert.Bytes: x509: {e}"))?;
    let key = PrivateKey::from_pem(&ca.key)
        .map_err(|e| CallError::new(format!("error parsing private key: {e}")))?;
    Ok(Signer { name, key_id, key })
}

/// The subject and the key identifier of a certificate.
fn parse_signer(mut block: &[u8]) -> Result<(Vec<u8>, Option<Vec<u8>>), &'static str> {
    let take = |input: &mut &[u8], what| {
        der::take_tag(input, der::SEQUENCE)
            .map(<[u8]>::to_vec)
            .ok_or(what)
    };
    let certificate = take(&mut block, "malformed certificate")?;
    let mut certificate = &certificate[..];
    let fields = take(&mut certificate, "malformed tbs certificate")?;
    let mut fields = &fields[..];
    let version = version(&mut fields)?;
    let serial = der::take_tag(&mut fields, der::INTEGER).ok_or("malformed serial number")?;
    match serial.first() {
        None => return Err("malformed serial number"),
        Some(first) if first & 0x80 != 0 => return Err("negative serial number"),
        Some(_) => {}
    }
    let algorithm = take(&mut fields, "malformed signature algorithm identifier")?;
    if take(&mut certificate, "malformed algorithm identifier")? != algorithm {
        return Err("inner and outer signature algorithm identifiers don't match");
    }
    take(&mut fields, "malformed issuer")?;
    take(&mut fields, "malformed validity")?;
    let subject = match der::take(&mut fields) {
        Some((der::SEQUENCE, _, subject)) => subject.to_vec(),
        _ => return Err("malformed issuer"),
    };
    let key = take(&mut fields, "malformed spki")?;
    let mut key = &key[..];
    take(&mut key, "malformed public key algorithm identifier")?;
    der::take_tag(&mut key, der::BIT_STRING).ok_or("malformed subjectPublicKey")?;
    let key_id = if version == 2 { key_id(fields) } else { None };
    der::take_tag(&mut certificate, der::BIT_STRING).ok_or("malformed signature")?;
    if !block.is_empty() {
        return Err("trailing data");
    }
    Ok((subject, key_id))
}

/// The version, counted from 0; 0 if it is absent.
fn version(fields: &mut &[u8]) -> Result<u8, &'static str> {
    const MALFORMED: &str = "malformed version";
    let Some(mut explicit) = der::take_tag(fields, 0xa0) else {
        return Ok(0);
    };
    match der::take_tag(&mut explicit, der::INTEGER) {
        Some(&[version @ 0..=2]) => Ok(version),
        Some([first, ..]) if first & 0x80 == 0 => Err("invalid version"),
        _ => Err(MALFORMED),
    }
}

fn key_id(mut fields: &[u8]) -> Option<Vec<u8>> {
    while let Some((tag, content, _)) = der::take(&mut fields) {
        if tag != 0xa3 {
            continue;
        }
        let mut content = content;
        let mut extensions = der::take_tag(&mut content, der::SEQUENCE)?;
        while let Some(mut extension) = der::take_tag(&mut extensions, der::SEQUENCE) {
            if der::take_tag(&mut extension, der::OID)? == OID_SUBJECT_KEY_ID {
                let mut value = der::take_tag(&mut extension, der::OCTET_STRING)?;
                return der::take_tag(&mut value, der::OCTET_STRING).map(<[u8]>::to_vec);
            }
        }
    }
    None
}

fn parse_addresses(ips: &Value) -> Result<Vec<IpAddr>, CallError> {
    let items = ips.as_items().unwrap_or_default();
    items
        .iter()
        .map(|ip| match ip {
            Value::Str(text) => text
                .as_utf8()
                .and_then(|t| t.parse().ok())
                .ok_or_else(|| CallError::new(format!("error parsing ip: {text}"))),
            other => Err(CallError::new(format!(
                "error parsing ip: {} is not a string",
                fmt::text(other)
            ))),
        })
        .collect()
}

fn parse_hosts(hosts: &Value) -> Result<Vec<Str>, CallError> {
    let items = hosts.as_items().unwrap_or_default();
    items
        .iter()
        .map(|host| {
            host.as_str().cloned().ok_or_else(|| {
                CallError::new(format!(
                    "error processing alternate dns name: {} is not a string",
                    fmt::text(host)
                ))
            })
        })
        .collect()
}

const OID_COMMON_NAME: &[u8] = &[0x55, 4, 3];
const OID_SUBJECT_KEY_ID: &[u8] = &[0x55, 0x1d, 14];
const OID_KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
const OID_ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 17];
const OID_BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
const OID_AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1d, 35];
const OID_EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];
const OID_SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
const OID_CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];

fn create(
    c: &mut Context<'_>,
    subject: &Subject,
    key: &PrivateKey,
    signer: Option<&Signer>,
) -> Result<Vec<u8>, CallError> {
    let mut serial = [0; 16];
    c.environment().random(&mut serial)?;
    let now = c.now().unix_seconds();
    let end = now.saturating_add(subject.days.saturating_mul(86_400));
    let own_name = name(&subject.common_name);
    let signing_key = signer.map_or(key, |s| &s.key);
    let issuer = signer.map_or(&own_name, |s| &s.name);
    let algorithm = signing_key.signature_algorithm();
    let extensions = extensions(subject, key, &own_name, signer)?;
    let content = der::sequence(&[
        &der::element(0xa0, &der::unsigned(&[2])),
        &der::unsigned(&serial),
        &algorithm,
        issuer,
        &der::sequence(&[&time(now), &time(end)]),
        &own_name,
        &key.public_info()?,
        &der::element(0xa3, &der::element(der::SEQUENCE, &extensions)),
    ]);
    let signature = signing_key.sign(&content)?;
    Ok(der::sequence(&[
        &content,
        &algorithm,
        &der::bits(&signature),
    ]))
}

/// A name with only a common name, or an empty one.
fn name(common_name: &Str) -> Vec<u8> {
    if common_name.is_empty() {
        return der::sequence(&[]);
    }
    let printable = |b: &u8| b.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(b);
    let tag = if common_name.iter().all(printable) {
        der::PRINTABLE_STRING
    } else {
        der::UTF8_STRING
    };
    let attribute = der::sequence(&[
        &der::element(der::OID, OID_COMMON_NAME),
        &der::element(tag, common_name),
    ]);
    der::sequence(&[&der::element(der::SET, &attribute)])
}

fn time(seconds: i64) -> Vec<u8> {
    let t = Civil::of_seconds(seconds);
    let rest = format!(
        "{:02}{:02}{:02}{:02}{:02}Z",
        t.month, t.day, t.hour, t.minute, t.second
    );
    if (1950..2050).contains(&t.year) {
        der::element(
            der::UTC_TIME,
            format!("{:02}{rest}", t.year % 100).as_bytes(),
        )
    } else {
        der::element(
            der::GENERALIZED_TIME,
            format!("{:04}{rest}", t.year).as_bytes(),
        )
    }
}

fn extension(oid: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let flag: &[u8] = if critical { &[1, 1, 0xff] } else { &[] };
    der::sequence(&[
        &der::element(der::OID, oid),
        flag,
        &der::element(der::OCTET_STRING, value),
    ])
}

/// The extensions in the order in which Go writes them.
fn extensions(
    subject: &Subject,
    key: &PrivateKey,
    own_name: &[u8],
    signer: Option<&Signer>,
) -> Result<Vec<u8>, CallError> {
    // Digital signature and key encipherment, for authorities also certificate signing; the first byte is the number of
    // unused bits.
    let usage: &[u8] = if subject.authority {
        &[2, 0xa4]
    } else {
        &[5, 0xa0]
    };
    let purposes = der::sequence(&[
        &der::element(der::OID, OID_SERVER_AUTH),
        &der::element(der::OID, OID_CLIENT_AUTH),
    ]);
    let constraints: &[u8] = if subject.authority {
        &[1, 1, 0xff]
    } else {
        &[]
    };
    let mut out = [
        extension(OID_KEY_USAGE, true, &der::element(der::BIT_STRING, usage)),
        extension(OID_EXTENDED_KEY_USAGE, false, &purposes),
        extension(OID_BASIC_CONSTRAINTS, true, &der::sequence(&[constraints])),
    ]
    .concat();
    if subject.authority {
        // RFC 7093: the first 160 bits of the SHA-256 of the key.
        let digest = Sha256::digest(key.public_bits()?);
        let id = der::element(der::OCTET_STRING, digest.get(..20).unwrap_or_default());
        out.extend(extension(OID_SUBJECT_KEY_ID, false, &id));
    }
    if let Some(signer) = signer.filter(|s| s.name != own_name)
        && let Some(id) = &signer.key_id
    {
        let id = der::sequence(&[&der::element(0x80, id)]);
        out.extend(extension(OID_AUTHORITY_KEY_ID, false, &id));
    }
    let hosts = subject.hosts.iter().map(|h| der::element(0x82, h));
    let addresses = subject.addresses.iter().map(|ip| match ip {
        IpAddr::V4(ip) => der::element(0x87, &ip.octets()),
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => der::element(0x87, &ip.octets()),
            None => der::element(0x87, &ip.octets()),
        },
    });
    let names: Vec<u8> = hosts.chain(addresses).flatten().collect();
    if !names.is_empty() {
        let critical = subject.common_name.is_empty();
        let names = der::element(der::SEQUENCE, &names);
        out.extend(extension(OID_ALTERNATIVE_NAMES, critical, &names));
    }
    Ok(out)
}

fn custom(cert: &[u8], key: &[u8]) -> Result<Value, CallError> {
    let cert = encoding::decode_base64(cert)
        .map_err(|_| CallError::new("unable to decode base64 certificate"))?;
    let key = encoding::decode_base64(key)
        .map_err(|_| CallError::new("unable to decode base64 private key"))?;
    let (_, block) = pem::decode(&cert).ok_or("unable to decode certificate")?;
    parse_signer(&block)
        .map_err(|e| format!("error parsing certificate: decodedCert.Bytes: x509: {e}"))?;
    PrivateKey::from_pem(&key)
        .map_err(|e| CallError::new(format!("error parsing private key: {e}")))?;
    Ok(Value::object(Certificate {
        cert: cert.into(),
        key: key.into(),
    }))
}
