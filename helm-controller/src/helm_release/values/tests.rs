//! References with what they refer to, and what messages must not show of them.

use flux_cluster::ObjectId;

use super::*;

fn reference(key: Option<&str>, path: Option<&str>) -> ValuesReference {
    ValuesReference {
        kind: ValuesKind::Secret,
        name: "s".to_owned(),
        values_key: key.map(str::to_owned),
        target_path: path.map(str::to_owned),
        ..ValuesReference::default()
    }
}

// HC-VAL-005
#[test]
fn values_are_under_a_default_key() {
    let entries = vec![
        ("values.yaml".to_owned(), b"a: 1".to_vec()),
        ("other".to_owned(), b"b: 2".to_vec()),
    ];
    let read = Read::entries(entries);
    for (key, want) in [(None, "a: 1"), (Some(""), "a: 1"), (Some("other"), "b: 2")] {
        let found = source("apps", &reference(key, None), Some(&read));
        let SourceData::Found(data) = found.data else {
            panic!("{key:?} was not found")
        };
        assert_eq!(&*data, want.as_bytes());
        assert_eq!(found.object, "apps/s");
    }
    let missing = source("apps", &reference(Some("none"), None), Some(&read));
    assert!(matches!(missing.data, SourceData::NoKey));
    let gone = Read::Missing("secrets \"s\" not found".to_owned());
    let gone = source("apps", &reference(None, Some("a.b")), Some(&gone));
    assert!(matches!(gone.data, SourceData::NoObject(_)));
    assert_eq!(gone.target_path.as_deref(), Some("a.b"));
}

#[test]
fn references_to_one_key_share_its_data_and_are_bounded_together() {
    let entries = vec![("values.yaml".to_owned(), vec![b' '; 1 << 20])];
    let read = Read::entries(entries);
    let one = || source("apps", &reference(None, None), Some(&read));
    let (SourceData::Found(first), SourceData::Found(second)) = (one().data, one().data) else {
        panic!("the key was not found")
    };
    assert!(Arc::ptr_eq(&first, &second));
    let many = |count: usize| (0..count).map(|_| one()).collect::<Vec<_>>();
    check_size(&many(MAX_VALUES >> 20)).unwrap();
    let error = check_size(&many((MAX_VALUES >> 20) + 1)).unwrap_err();
    let text = format!("the values of all references take more than {MAX_VALUES} bytes");
    assert_eq!(error.to_string(), text);
}

#[test]
fn values_of_secrets_are_masked_in_messages() {
    let about = ObjectId {
        group: "g".to_owned(),
        kind: "k".to_owned(),
        namespace: "apps".to_owned(),
        name: "web".to_owned(),
    };
    let masked = |data: &[u8], whole, text: &str| {
        let mut confidential = Confidential::default();
        add_confidential(&mut confidential, data, whole);
        let mut text = text.to_owned();
        confidential.mask(&mut text, &about);
        text
    };
    let document = b"db: {password: hunter2, port: 5432, on: true}\nlist: [tok3n-of-list]\n";
    let shown = masked(
        document,
        false,
        "bad password hunter2, tok3n-of-list at port 5432: true",
    );
    assert!(
        !shown.contains("hunter2") && !shown.contains("tok3n-of-list"),
        "{shown}"
    );
    assert!(
        !shown.contains("5432") && shown.ends_with(": true"),
        "{shown}"
    );
    let shown = masked(b"hunter2", true, "invalid value hunter2");
    assert!(!shown.contains("hunter2"), "{shown}");
}
