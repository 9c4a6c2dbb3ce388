//! What Kubernetes accepts as names, labels and keys, with the API server's words for what it does not.

/// The longest name of an object.
const MAX_NAME: usize = 253;
/// The longest DNS label, label value, and name of a label key.
const MAX_LABEL: usize = 63;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and \
                         end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
                         '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an \
                     alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
                     '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const KEY: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
                   character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
                   '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end \
                     with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
                     '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// Why a text is not the name of an object, a DNS subdomain.
pub(super) fn fault_of_name(name: &str) -> Option<String> {
    let valid = name.split('.').all(is_dns_label);
    faults("", name.len() > MAX_NAME, MAX_NAME, valid, SUBDOMAIN)
}

/// Why a text is not the name of a namespace, a DNS label.
pub(super) fn fault_of_namespace(namespace: &str) -> Option<String> {
    let long = namespace.len() > MAX_LABEL;
    faults("", long, MAX_LABEL, is_dns_label(namespace), LABEL)
}

/// Why a text is not the value of a label.
pub(super) fn fault_of_label_value(value: &str) -> Option<String> {
    let valid = value.is_empty() || is_qualified(value);
    faults("", value.len() > MAX_LABEL, MAX_LABEL, valid, VALUE)
}

/// Why a text is not the key of a label. Prefixes do not occur here.
pub(super) fn fault_of_label_key(key: &str) -> Option<String> {
    let long = key.len() > MAX_LABEL;
    faults("name part ", long, MAX_LABEL, is_qualified(key), KEY)
}

fn faults(part: &str, long: bool, limit: usize, valid: bool, words: &str) -> Option<String> {
    let long = long.then(|| format!("{part}must be no more than {limit} bytes"));
    let invalid = (!valid).then(|| words.to_owned());
    let faults: Vec<_> = long.into_iter().chain(invalid).collect();
    (!faults.is_empty()).then(|| faults.join("; "))
}

fn is_dns_label(text: &str) -> bool {
    let is_end = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    surrounded(text, is_end, |byte| is_end(byte) || *byte == b'-')
}

fn is_qualified(text: &str) -> bool {
    let is_end = u8::is_ascii_alphanumeric;
    surrounded(text, is_end, |byte| is_end(byte) || b"-_.".contains(byte))
}

/// Whether a text begins and ends with characters of one set, and has those of another between.
fn surrounded(text: &str, is_end: impl Fn(&u8) -> bool, is_part: impl Fn(&u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    ends.into_iter().all(|end| end.is_some_and(&is_end)) && bytes.iter().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_of_kubernetes() {
        for (name, valid) in [
            ("app", true),
            ("a.b-c.0", true),
            ("", false),
            ("App", false),
            ("a..b", false),
            ("-a", false),
            ("a_b", false),
        ] {
            assert_eq!(fault_of_name(name).is_none(), valid, "{name}");
        }
        assert!(fault_of_name(&"a".repeat(253)).is_none());
        let long = fault_of_name(&"a".repeat(254));
        assert_eq!(long.as_deref(), Some("must be no more than 253 bytes"));
        let both = fault_of_namespace(&"A".repeat(64)).unwrap();
        assert!(both.starts_with("must be no more than 63 bytes; a lowercase RFC 1123 label must"));
        assert!(fault_of_namespace("team-a").is_none() && fault_of_namespace("a.b").is_some());
    }

    #[test]
    fn labels_follow_the_rules_of_kubernetes() {
        for (value, valid) in [("", true), ("A_b.c-1", true), (".a", false), ("a b", false)] {
            assert_eq!(fault_of_label_value(value).is_none(), valid, "{value}");
        }
        assert!(fault_of_label_value(&"a".repeat(64)).is_some());
        assert!(fault_of_label_key("app").is_none());
        let fault = fault_of_label_key("_app").unwrap();
        assert!(fault.starts_with("name part must consist of"), "{fault}");
    }
}
