//! What all X.509 certificates have: the fields of RFC 5280, 4.1, read as leniently as in Go's `crypto/x509`. Version 1,
//! serial numbers of any length and unique identifiers are accepted; what keys, algorithms and extensions mean is up to
//! the caller.

use crate::{BOOLEAN, Element, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, constructed, context};

/// The maximum number of extensions of a certificate or another signed structure.
const MAX_EXTENSIONS: usize = 64;

/// Why bytes are not a certificate, in the words of Go where it has some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Malformed {}

/// An extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extension<'a> {
    /// The content of its identifier.
    pub oid: &'a [u8],
    /// Whether a reader that does not understand it must refuse the structure.
    pub critical: bool,
    /// The content of its octet string.
    pub value: &'a [u8],
}

/// The fields of a certificate, borrowed from its bytes.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    /// The signed part.
    pub signed: Element<'a>,
    /// The algorithm of the signature; that in the signed part is the same.
    pub algorithm: Element<'a>,
    /// The signature.
    pub signature: &'a [u8],
    /// From one to three.
    pub version: u8,
    /// The digits of the serial number, which is not negative.
    pub serial: &'a [u8],
    /// The name of the issuer.
    pub issuer: Element<'a>,
    /// Seconds since 1970.
    pub not_before: i64,
    /// Seconds since 1970.
    pub not_after: i64,
    /// The name of the subject.
    pub subject: Element<'a>,
    /// The `SubjectPublicKeyInfo`.
    pub key_info: Element<'a>,
    /// Each at most once; none in a certificate of an earlier version than three.
    pub extensions: Vec<Extension<'a>>,
}

impl<'a> Fields<'a> {
    /// Reads one certificate from DER.
    ///
    /// # Errors
    /// The bytes are no certificate, or more than one.
    pub fn read(der: &'a [u8]) -> Result<Self, Malformed> {
        let malformed = Malformed("x509: malformed certificate");
        let trailing = Malformed("x509: trailing data");
        let mut outer = Reader::new(der);
        let mut certificate = outer.sequence().ok_or(malformed)?;
        if !outer.is_empty() {
            return Err(trailing);
        }
        let signed = certificate.element(SEQUENCE).ok_or(malformed)?;
        let algorithm = certificate.element(SEQUENCE).ok_or(malformed)?;
        let signature = certificate.bits().ok_or(malformed)?;
        if !certificate.is_empty() {
            return Err(trailing);
        }
        let mut fields = Reader::new(signed.content);
        let version = version(&mut fields).ok_or(Malformed("x509: invalid version"))?;
        let serial = fields.expect(INTEGER).ok_or(malformed)?;
        if serial.first().is_none_or(|first| first & 0x80 != 0) {
            return Err(Malformed("x509: negative serial number"));
        }
        if fields.element(SEQUENCE).map(|inner| inner.whole) != Some(algorithm.whole) {
            return Err(Malformed(
                "x509: inner and outer signature algorithm identifiers don't match",
            ));
        }
        let issuer = fields.element(SEQUENCE).ok_or(malformed)?;
        let mut validity = fields.sequence().ok_or(malformed)?;
        let (not_before, not_after) = time(&mut validity)
            .zip(time(&mut validity))
            .filter(|_| validity.is_empty())
            .ok_or(Malformed("x509: malformed validity"))?;
        let subject = fields.element(SEQUENCE).ok_or(malformed)?;
        let key_info = fields.element(SEQUENCE).ok_or(malformed)?;
        let mut found = Self {
            signed,
            algorithm,
            signature,
            version,
            serial,
            issuer,
            not_before,
            not_after,
            subject,
            key_info,
            extensions: Vec::new(),
        };
        if version > 1 {
            for unique_identifier in [context(1), context(2)] {
                fields.optional(unique_identifier).ok_or(malformed)?;
            }
        }
        if version == 3
            && let Some(list) = fields.optional(constructed(3)).ok_or(malformed)?
        {
            found.extensions = extensions(list)?;
        }
        Ok(found)
    }
}

/// The extensions of a certificate or of another signed structure.
///
/// # Errors
/// They are malformed, one occurs twice, or there are more than 64.
pub fn extensions(list: &[u8]) -> Result<Vec<Extension<'_>>, Malformed> {
    let malformed = Malformed("x509: malformed extensions");
    let mut outer = Reader::new(list);
    let mut list = outer.sequence().ok_or(malformed)?;
    let mut found: Vec<Extension<'_>> = Vec::new();
    while !list.is_empty() {
        let extension = extension(&mut list).ok_or(Malformed("x509: malformed extension"))?;
        if found.iter().any(|one| one.oid == extension.oid) {
            return Err(Malformed("x509: certificate contains duplicate extension"));
        }
        if found.len() == MAX_EXTENSIONS {
            return Err(malformed);
        }
        found.push(extension);
    }
    if outer.is_empty() {
        Ok(found)
    } else {
        Err(malformed)
    }
}

fn extension<'a>(list: &mut Reader<'a>) -> Option<Extension<'a>> {
    let mut fields = list.sequence()?;
    let oid = fields.expect(OID)?;
    let critical = match fields.optional(BOOLEAN)? {
        None | Some([0]) => false,
        Some([0xff]) => true,
        Some(_) => return None,
    };
    let value = fields.expect(OCTET_STRING)?;
    fields.is_empty().then_some(Extension {
        oid,
        critical,
        value,
    })
}

/// The version, from one to three.
fn version(fields: &mut Reader<'_>) -> Option<u8> {
    match fields.optional(constructed(0))? {
        None => Some(1),
        Some(content) => match Reader::new(content).expect(INTEGER)? {
            [version @ 0..=2] => Some(version + 1),
            _ => None,
        },
    }
}

/// The value of the extension `basicConstraints`: whether the certificate is an authority, and how many authorities may
/// be below it. `None` if it is malformed.
pub fn basic_constraints(value: &[u8]) -> Option<(bool, Option<u64>)> {
    let mut fields = Reader::new(value).sequence()?;
    let authority = match fields.optional(BOOLEAN)? {
        None | Some([0]) => false,
        Some([0xff]) => true,
        Some(_) => return None,
    };
    let limit = match fields.optional(INTEGER)? {
        None => None,
        Some(content) => Some(crate::small(content)?),
    };
    Some((authority, limit))
}

/// A time in seconds since 1970. Seconds may be omitted, as in certificates of old tools.
fn time(reader: &mut Reader<'_>) -> Option<i64> {
    let Element { tag, content, .. } = reader.any()?;
    // RFC 5280, 4.1.2.5.2: no fractions
    if content.contains(&b'.') {
        return None;
    }
    crate::time(tag, content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BIT_STRING, GENERALIZED_TIME, UTC_TIME, encode};

    #[test]
    fn times_of_certificates_are_read() {
        let read = |tag: u8, text: &[u8]| time(&mut Reader::new(&encode(tag, text)));
        assert_eq!(read(UTC_TIME, b"700101000000Z"), Some(0));
        assert_eq!(read(UTC_TIME, b"231114221320Z"), Some(1_700_000_000));
        // Two digits of a year are of 1950 to 2049 (RFC 5280, 4.1.2.5.1).
        assert_eq!(read(UTC_TIME, b"500101000000Z"), Some(-631_152_000));
        assert_eq!(read(UTC_TIME, b"490101000000Z"), Some(2_493_072_000));
        assert_eq!(read(UTC_TIME, b"2311142213Z"), Some(1_699_999_980));
        assert_eq!(
            read(GENERALIZED_TIME, b"20231114221320Z"),
            Some(1_700_000_000)
        );
        assert_eq!(
            read(GENERALIZED_TIME, b"20000301000000Z"),
            Some(951_868_800)
        );
        assert_eq!(
            read(GENERALIZED_TIME, b"40960101000000Z"),
            Some(67_090_118_400)
        );
        assert_eq!(
            read(GENERALIZED_TIME, b"19500101000000Z"),
            Some(-631_152_000)
        );
        for (tag, text) in [
            (UTC_TIME, &b"231114221320"[..]),
            (UTC_TIME, b"231314221320Z"),
            (UTC_TIME, b"23111422132xZ"),
            (GENERALIZED_TIME, b"202311142213Z"),
            (INTEGER, b"x"),
        ] {
            assert_eq!(read(tag, text), None, "{text:?}");
        }
    }

    #[test]
    fn extensions_occur_once() {
        let extension = |oid: u8, critical: Option<u8>| {
            let critical = critical.map(|byte| encode(BOOLEAN, &[byte]));
            let fields = [
                encode(OID, &[0x55, 0x1d, oid]),
                critical.unwrap_or_default(),
                encode(OCTET_STRING, &[1]),
            ];
            encode(SEQUENCE, &fields.concat())
        };
        let list = |extensions: &[Vec<u8>]| encode(SEQUENCE, &extensions.concat());
        let two = list(&[
            extension(1, Some(0xff)),
            extension(2, Some(0)),
            extension(3, None),
        ]);
        let two = extensions(&two).unwrap();
        assert_eq!(two[0].oid, [0x55, 0x1d, 1]);
        assert_eq!(two[0].value, [1]);
        let critical: Vec<bool> = two.iter().map(|one| one.critical).collect();
        assert_eq!(critical, [true, false, false]);
        for (malformed, why) in [
            (
                list(&[extension(1, None), extension(1, None)]),
                "duplicate extension",
            ),
            (list(&[extension(1, Some(1))]), "malformed extension"),
            (encode(BIT_STRING, &[0]), "malformed extensions"),
            ([list(&[]), vec![0]].concat(), "malformed extensions"),
            (
                list(&(0..65).map(|oid| extension(oid, None)).collect::<Vec<_>>()),
                "malformed extensions",
            ),
        ] {
            let found = extensions(&malformed).unwrap_err();
            assert!(found.0.ends_with(why), "{found} {why}");
        }
    }
}
