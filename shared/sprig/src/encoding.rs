//! Base64, base32, checksums and JSON.

use flux_golang::encoding;
use flux_gotemplate::{CallError, Context, Functions, Str, Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

pub(super) fn register(f: &mut Functions) {
    f.add("b64enc", |s: Str| encoding::base64(&s));
    // If decoding fails, the text of the error is the result.
    f.add("b64dec", |s: Str| {
        encoding::decode_base64(&s).map_or_else(Str::from, Str::from)
    });
    f.add("b32enc", |s: Str| encoding::base32(&s));
    f.add("b32dec", |s: Str| {
        encoding::decode_base32(&s).map_or_else(Str::from, Str::from)
    });
    f.add("sha1sum", |s: Str| encoding::hex(&Sha1::digest(&*s)));
    f.add("sha256sum", |s: Str| encoding::hex(&Sha256::digest(&*s)));
    f.add("sha512sum", |s: Str| encoding::hex(&Sha512::digest(&*s)));
    f.add("adler32sum", |s: Str| adler32(&s).to_string());
    f.add("toJson", |c: &mut Context<'_>, v: Value| {
        c.charge_document(&v)?;
        Ok::<_, CallError>(json::marshal(&v).map_or_else(|_| Str::default(), Str::from))
    });
    f.add("mustToJson", |c: &mut Context<'_>, v: Value| {
        c.charge_document(&v)?;
        to_json(json::marshal(&v))
    });
    f.add("toPrettyJson", |c: &mut Context<'_>, v: Value| {
        c.charge_document(&v)?;
        Ok::<_, CallError>(json::marshal_indent(&v).map_or_else(|_| Str::default(), Str::from))
    });
    f.add("mustToPrettyJson", |c: &mut Context<'_>, v: Value| {
        c.charge_document(&v)?;
        to_json(json::marshal_indent(&v))
    });
    f.add("toRawJson", |c: &mut Context<'_>, v: Value| {
        c.charge_document(&v)?;
        to_json(json::marshal_raw(&v))
    });
    f.alias("mustToRawJson", "toRawJson");
    f.add("fromJson", |s: Str| json::unmarshal(&s).unwrap_or_default());
    f.add("mustFromJson", |s: Str| {
        json::unmarshal(&s).map_err(|e| CallError::new(e.to_string()))
    });
}

fn to_json(encoded: Result<Vec<u8>, json::JsonError>) -> Result<Str, CallError> {
    encoded
        .map(Str::from)
        .map_err(|e| CallError::new(e.to_string()))
}

fn adler32(bytes: &[u8]) -> u32 {
    const BASE: u32 = 65_521;
    let (mut a, mut b) = (1u32, 0u32);
    // The sums cannot overflow within this many bytes.
    for part in bytes.chunks(5_552) {
        for byte in part {
            a += u32::from(*byte);
            b += a;
        }
        a %= BASE;
        b %= BASE;
    }
    b << 16 | a
}
