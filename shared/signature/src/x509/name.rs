//! Distinguished names as Go's `pkix.Name` prints them.

use flux_der::{BMP_STRING, OID, Reader, SET, dotted};

/// `Name.String`: the attributes that Go knows in its order, reversed as in RFC 2253, after the others.
pub(crate) fn distinguished(name: &[u8]) -> String {
    // What Go's Name has a field for, in the order of `ToRDNSequence`.
    const KNOWN: [(&str, &str); 9] = [
        ("2.5.4.6", "C"),
        ("2.5.4.8", "ST"),
        ("2.5.4.7", "L"),
        ("2.5.4.9", "STREET"),
        ("2.5.4.17", "POSTALCODE"),
        ("2.5.4.10", "O"),
        ("2.5.4.11", "OU"),
        ("2.5.4.3", "CN"),
        ("2.5.4.5", "SERIALNUMBER"),
    ];
    let attributes = attributes(name);
    let mut parts: Vec<String> = Vec::new();
    // Others come first, as they are in the certificate.
    for attribute in &attributes {
        if !KNOWN.iter().any(|(known, _)| *known == attribute.oid) {
            let encoded = hex::encode(attribute.encoded);
            parts.push(format!("{}=#{encoded}", attribute.oid));
        }
    }
    for (known, label) in KNOWN {
        let values = attributes.iter().filter(|one| one.oid == known);
        let values: Vec<&str> = values.map(|one| &*one.text).collect();
        // Go keeps all values of most attributes, and the last of the common name and the serial number.
        let values = match label {
            "CN" | "SERIALNUMBER" => values.last().copied().into_iter().collect(),
            _ => values,
        };
        let values: Vec<String> = values
            .into_iter()
            .filter(|text| !(text.is_empty() && matches!(label, "CN" | "SERIALNUMBER")))
            .map(|text| format!("{label}={}", escaped(text)))
            .collect();
        if !values.is_empty() {
            parts.push(values.join("+"));
        }
    }
    parts.reverse();
    parts.join(",")
}

struct Attribute<'a> {
    oid: String,
    text: String,
    encoded: &'a [u8],
}

/// A name's attributes, in order.
fn attributes(name: &[u8]) -> Vec<Attribute<'_>> {
    let mut found = Vec::new();
    let Some(mut sets) = Reader::new(name).sequence() else {
        return found;
    };
    while let Some(set) = sets.expect(SET) {
        let mut set = Reader::new(set);
        while let Some(mut pair) = set.sequence() {
            if let (Some(oid), Some(value)) = (pair.expect(OID), pair.any()) {
                let text = if value.tag == BMP_STRING {
                    let units = value.content.chunks_exact(2);
                    let units: Vec<u16> = units
                        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
                        .collect();
                    String::from_utf16_lossy(&units)
                } else {
                    String::from_utf8_lossy(value.content).into_owned()
                };
                found.push(Attribute {
                    oid: dotted(oid),
                    text,
                    encoded: value.whole,
                });
            }
        }
    }
    found
}

/// A value as in RFC 2253.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let last = text.chars().count().saturating_sub(1);
    for (at, c) in text.chars().enumerate() {
        let escape = match c {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => true,
            ' ' => at == 0 || at == last,
            '#' => at == 0,
            _ => false,
        };
        if escape {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use flux_der::{SEQUENCE, UTF8_STRING, encode};

    use super::*;

    fn name(attributes: &[(&[u8], &str)]) -> Vec<u8> {
        let one = |(oid, text): &(&[u8], &str)| {
            let pair = [encode(OID, oid), encode(UTF8_STRING, text.as_bytes())].concat();
            encode(SET, &encode(SEQUENCE, &pair))
        };
        let sets: Vec<Vec<u8>> = attributes.iter().map(one).collect();
        encode(SEQUENCE, &sets.concat())
    }

    #[test]
    fn names_are_printed_as_by_go() {
        let (country, organisation, common, unit) = (
            &[0x55, 4, 6][..],
            &[0x55, 4, 10][..],
            &[0x55, 4, 3][..],
            &[0x55, 4, 11][..],
        );
        for (attributes, want) in [
            (vec![], ""),
            (vec![(common, "a"), (country, "US")], "CN=a,C=US"),
            (
                vec![(unit, "x"), (unit, "y"), (organisation, "o")],
                "OU=x+OU=y,O=o",
            ),
            (vec![(common, "a"), (common, "b")], "CN=b"),
            (vec![(common, " a,b# ")], r"CN=\ a\,b#\ "),
            (
                vec![(&[0x2a, 3][..], "z"), (common, "a")],
                "CN=a,1.2.3=#0c017a",
            ),
        ] {
            assert_eq!(distinguished(&name(&attributes)), want);
        }
    }
}
