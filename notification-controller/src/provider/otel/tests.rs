//! Spans, decoded.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::provider::settings::tests::settings;
use crate::provider::tests::event;

/// A field of a message.
#[derive(Debug)]
enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..).step_by(7) {
        let (first, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            break;
        }
    }
    number
}

/// The fields of a message by number.
fn decode(mut bytes: &[u8]) -> BTreeMap<u64, Vec<Field>> {
    let mut fields: BTreeMap<u64, Vec<Field>> = BTreeMap::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut bytes)),
            1 => {
                let (number, rest) = bytes.split_at(8);
                bytes = rest;
                Field::Number(u64::from_le_bytes(number.try_into().unwrap()))
            }
            _ => {
                let length = varint(&mut bytes);
                let (inner, rest) = bytes.split_at(usize::try_from(length).unwrap());
                bytes = rest;
                Field::Bytes(inner.to_vec())
            }
        };
        fields.entry(tag >> 3).or_default().push(field);
    }
    fields
}

fn bytes(fields: &BTreeMap<u64, Vec<Field>>, number: u64) -> Vec<u8> {
    match fields.get(&number).map(Vec::as_slice) {
        Some([Field::Bytes(bytes), ..]) => bytes.clone(),
        other => panic!("{number}: {other:?}"),
    }
}

fn number(fields: &BTreeMap<u64, Vec<Field>>, number: u64) -> u64 {
    match fields.get(&number).map(Vec::as_slice) {
        Some([Field::Number(value)]) => *value,
        other => panic!("{number}: {other:?}"),
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// The attributes in field `at`.
fn attributes(fields: &BTreeMap<u64, Vec<Field>>, at: u64) -> BTreeMap<String, String> {
    let listed = fields.get(&at).into_iter().flatten();
    listed
        .map(|field| {
            let Field::Bytes(field) = field else { panic!() };
            let pair = decode(field);
            let value = decode(&bytes(&pair, 2));
            (text(bytes(&pair, 1)), text(bytes(&value, 1)))
        })
        .collect()
}

fn of(address: &str, secret: &[(&str, &[u8])], event: &Event) -> Vec<Call> {
    let settings = settings("otel", &json!({"address": address}), secret);
    let settings = settings.with_alert("ns", "alert", "a-uid");
    calls(&settings, event, &Traces::default()).unwrap()
}

fn header<'c>(call: &'c Call, name: &str) -> &'c str {
    let mut headers = call.request.headers.iter();
    let value = headers.find(|(known, _)| known.eq_ignore_ascii_case(name));
    value.map_or("", |(_, value)| std::str::from_utf8(value).unwrap())
}

#[test]
fn an_event_is_a_span_of_its_alerts_service() {
    let call = of("http://collector:4318", &[], &event("error")).remove(0);
    // NC-OTEL-001
    assert_eq!(call.request.address, "http://collector:4318/v1/traces");
    assert_eq!(header(&call, "content-type"), "application/x-protobuf");
    let export = decode(&call.request.body);
    let of_resource = decode(&bytes(&export, 1));
    // NC-OTEL-002
    let resource = attributes(&decode(&bytes(&of_resource, 1)), 1);
    let pair = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    let want = [
        ("service.name", "ns/alert"),
        ("service.namespace", "ns"),
        ("service.instance.id", "a-uid"),
    ];
    assert_eq!(resource, want.map(pair).into());
    let spans = decode(&bytes(&of_resource, 2));
    assert_eq!(text(bytes(&decode(&bytes(&spans, 1)), 1)), TRACER);
    let span = decode(&bytes(&spans, 2));
    // NC-OTEL-003
    let revision = "main@sha1:7152fed34dd6149a7c75a276c510da27cb6f82b0";
    let hash = Sha256::digest(format!("a-uid:{revision}"));
    assert_eq!(bytes(&span, 1), hash[..16]);
    // NC-OTEL-004
    assert_eq!(bytes(&span, 2).len(), 8);
    assert!(!span.contains_key(&4));
    assert_eq!(text(bytes(&span, 5)), "Kustomization: apps/web");
    assert_eq!(number(&span, 7), 1_666_941_979_000_000_000);
    assert!(number(&span, 8) > number(&span, 7));
    // NC-OTEL-005
    let want = [
        ("object.uid", "u-1"),
        ("object.kind", "Kustomization"),
        ("object.name", "web"),
        ("object.namespace", "apps"),
        ("revision", revision),
        ("summary", "S"),
    ];
    assert_eq!(attributes(&span, 9), want.map(pair).into());
    let status = decode(&bytes(&span, 15));
    assert_eq!(text(bytes(&status, 2)), "applied <a>\nsecond line");
    assert_eq!(number(&status, 3), 2);

    let good = of("http://h/own/path", &[], &event("info")).remove(0);
    assert_eq!(good.request.address, "http://h/own/path");
    let export = decode(&good.request.body);
    let spans = decode(&bytes(&decode(&bytes(&export, 1)), 2));
    let status = decode(&bytes(&decode(&bytes(&spans, 2)), 15));
    assert_eq!(number(&status, 3), 1);
    assert!(!status.contains_key(&2));
}

#[test]
fn a_trace_is_of_an_alert_and_a_revision() {
    let trace = |metadata: &[(&str, &str)]| {
        let metadata = metadata.iter();
        let event = Event {
            metadata: metadata
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            ..event("info")
        };
        let settings = settings("otel", &json!({}), &[]).with_alert("ns", "alert", "a-uid");
        trace_id(&settings, revision(&event).as_deref())
    };
    let hash = |text: &str| Sha256::digest(format!("a-uid:{text}"))[..16].to_vec();
    // NC-OTEL-003
    let chart = [
        ("app-version", "1.2"),
        ("oci-digest", "sha256:x"),
        ("revision", "r"),
    ];
    assert_eq!(trace(&chart).to_vec(), hash("1.2@sha256:x"));
    assert_eq!(
        trace(&[("app-version", "1.2"), ("revision", "r")]).to_vec(),
        hash("r")
    );
    assert_eq!(trace(&[]).to_vec(), hash("unknown"));
}

#[test]
fn the_span_of_a_source_is_the_parent_of_what_follows() {
    let settings = settings("otel", &json!({"address": "https://h"}), &[]);
    let settings = settings.with_alert("ns", "alert", "a-uid");
    let traces = Traces::default();
    // The span, and its parent.
    let sent = |kind: &str, metadata: &[(&str, &str)]| {
        let mut event = event("info");
        kind.clone_into(&mut event.involved_object.kind);
        event.metadata = metadata
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let call = calls(&settings, &event, &traces).unwrap().remove(0);
        let of_resource = decode(&bytes(&decode(&call.request.body), 1));
        let span = decode(&bytes(&decode(&bytes(&of_resource, 2)), 2));
        let parent = span.contains_key(&4).then(|| bytes(&span, 4));
        (bytes(&span, 2), parent)
    };
    let revision = [("revision", "main@sha1:1")];
    // NC-OTEL-004: nothing has a parent that was not sent
    assert_eq!(sent("Kustomization", &revision).1, None);
    let (root, parent) = sent("GitRepository", &revision);
    assert_eq!(parent, None);
    // The first one stays.
    assert_eq!(sent("Bucket", &revision).1, None);
    assert_eq!(sent("Kustomization", &revision).1, Some(root));
    assert_eq!(sent("Kustomization", &[("revision", "other")]).1, None);
    let (root, _) = sent("OCIRepository", &[("revision", "1.2@sha256:x")]);
    let chart = [("app-version", "1.2"), ("oci-digest", "sha256:x")];
    assert_eq!(sent("HelmRelease", &chart).1, Some(root));
    // Without a revision.
    sent("HelmChart", &[]);
    assert_eq!(sent("HelmRelease", &[]).1, None);
}

#[test]
fn credentials_are_sent_with_headers_only() {
    let event = event("info");
    let sent = |secret: &[(&str, &[u8])]| {
        let call = of("https://h", secret, &event).remove(0);
        header(&call, "authorization").to_owned()
    };
    // NC-OTEL-007
    assert_eq!(sent(&[("headers", b"X: y"), ("token", b"t")]), "Bearer t");
    let basic: [(&str, &[u8]); 3] = [("headers", b"X: y"), ("username", b"u"), ("password", b"p")];
    assert_eq!(sent(&basic), "Basic dTpw");
    assert_eq!(
        sent(&[("headers", b"Authorization: mine"), ("token", b"t")]),
        "mine"
    );
    // NC-OTEL-008
    assert_eq!(sent(&[("token", b"t")]), "");
    // NC-OTEL-006
    let mut helm = event.clone();
    helm.involved_object.kind = "HelmRepository".to_owned();
    assert!(of("https://h", &[], &helm).is_empty());
}
