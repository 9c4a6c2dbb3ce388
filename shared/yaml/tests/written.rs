//! The output for single strings and mappings, by ledger row.

use flux_yaml::{Value, sigs, v3};

/// Texts of one kind, and the style in which sigs.k8s.io/yaml and yaml.v3 write each: `"` double-quoted, `'`
/// single-quoted, blank for plain.
type Cases<'c> = &'c [(&'c str, char, char)];

fn written(text: &str, style: char) -> String {
    match style {
        ' ' => format!("{text}\n"),
        quote => format!("{quote}{text}{quote}\n"),
    }
}

// HE-YAML-007
#[test]
fn strings_that_would_read_as_something_else_are_double_quoted() {
    let cases: Cases<'_> = &[
        // Null.
        ("", '"', '"'),
        ("~", '"', '"'),
        ("null", '"', '"'),
        ("Null", '"', '"'),
        ("NULL", '"', '"'),
        ("nULL", ' ', ' '),
        // Booleans, including those of YAML 1.1, which yaml.v3 quotes for other readers.
        ("y", '"', '"'),
        ("Y", '"', '"'),
        ("yes", '"', '"'),
        ("Yes", '"', '"'),
        ("YES", '"', '"'),
        ("yEs", ' ', ' '),
        ("on", '"', '"'),
        ("On", '"', '"'),
        ("ON", '"', '"'),
        ("n", '"', '"'),
        ("N", '"', '"'),
        ("no", '"', '"'),
        ("No", '"', '"'),
        ("NO", '"', '"'),
        ("off", '"', '"'),
        ("Off", '"', '"'),
        ("OFF", '"', '"'),
        ("true", '"', '"'),
        ("True", '"', '"'),
        ("FALSE", '"', '"'),
        ("tRUE", ' ', ' '),
        // Integers.
        ("1", '"', '"'),
        ("-1", '"', '"'),
        ("+1", '"', '"'),
        ("0123", '"', '"'),
        ("0x1F", '"', '"'),
        ("0b11", '"', '"'),
        ("0o17", '"', '"'),
        ("1_000", '"', '"'),
        ("18446744073709551615", '"', '"'),
        ("0x", ' ', ' '),
        ("0b2", ' ', ' '),
        // Floats.
        ("1.10", '"', '"'),
        ("08", '"', '"'),
        ("1.", '"', '"'),
        (".5", '"', '"'),
        ("1e3", '"', '"'),
        ("18446744073709551616", '"', '"'),
        (".inf", '"', '"'),
        ("-.Inf", '"', '"'),
        (".nan", '"', '"'),
        ("inf", ' ', ' '),
        ("1.2.3", ' ', ' '),
        ("1e400", ' ', ' '),
        // Timestamps.
        ("2001-01-01", '"', '"'),
        ("2024-01-01T00:00:00Z", '"', '"'),
        ("2001-01-01 1:2:3.5", '"', '"'),
        ("2001-02-30", ' ', ' '),
        // Numbers in base 60, which neither library reads as numbers.
        ("1:20", '"', '"'),
        ("12:30:45", '"', '"'),
        ("190:20:30", '"', '"'),
        ("1:60", ' ', ' '),
        // Not plain for syntactic reasons, so single-quoted (HE-YAML-008).
        ("*", '\'', '\''),
        ("a: b", '\'', '\''),
        ("{{ x }}", '\'', '\''),
        ("a,b", ' ', ' '),
    ];
    for &(text, v2, yaml3) in cases {
        let value = Value::from(text);
        assert_eq!(
            sigs::to_string(&value).unwrap(),
            written(text, v2),
            "{text}"
        );
        let encoder = v3::Encoder::default();
        assert_eq!(
            encoder.value(&value).unwrap(),
            written(text, yaml3),
            "{text}"
        );
        for yaml in [written(text, v2), written(text, yaml3)] {
            assert_eq!(sigs::from_str(&yaml).as_ref(), Ok(&value), "{yaml}");
        }
    }
}

// HE-YAML-005
#[test]
fn keys_can_be_written_in_byte_order() {
    let mut value =
        sigs::from_str("{b: {a10: 1, a2: 2}, _x: 1, A: 1, a: 1, a10: [{z: 1, x: 2}], a2: 1}")
            .unwrap();
    value.sort_keys();
    assert_eq!(
        sigs::to_string_in_order(&value).unwrap(),
        "A: 1\n_x: 1\na: 1\na10:\n- x: 2\n  z: 1\na2: 1\nb:\n  a10: 1\n  a2: 2\n"
    );
}

// HE-YAML-013
#[test]
fn long_keys_and_keys_of_several_lines_are_explicit() {
    let written = |key: &str| {
        let mut map = flux_yaml::Map::new();
        map.insert(key.to_owned(), Value::Int(1));
        sigs::to_string(&Value::Map(map)).unwrap()
    };
    let (short, long) = ("k".repeat(128), "k".repeat(129));
    assert_eq!(written(&short), format!("{short}: 1\n"));
    assert_eq!(written(&long), format!("? {long}\n: 1\n"));
    assert_eq!(written("a\nb"), "? |-\n  a\n  b\n: 1\n");
}
