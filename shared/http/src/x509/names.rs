//! Checks whether a certificate is for a host, and whether an authority may sign for its names.

use std::net::IpAddr;

use super::certificate::{Certificate, Names, address};

/// The maximum number of names in a message.
const MAX_LISTED: usize = 100;

/// Checks that the certificate is for this host, a name or an address without brackets. The error is Go's text.
pub(super) fn check_host(certificate: &Certificate<'_>, host: &str) -> Result<(), String> {
    let matches = match host.parse::<IpAddr>() {
        Ok(wanted) => {
            let wanted = wanted.to_canonical();
            addresses(certificate).any(|found| found == wanted)
        }
        Err(_) => certificate
            .names
            .dns
            .iter()
            .any(|pattern| matches_name(pattern, host)),
    };
    if matches {
        Ok(())
    } else {
        Err(mismatch(certificate, host))
    }
}

fn addresses<'a>(certificate: &'a Certificate<'_>) -> impl Iterator<Item = IpAddr> + 'a {
    let bytes = certificate.names.addresses.iter();
    bytes.filter_map(|bytes| address(bytes))
}

/// Matches a host against a name of a certificate; its whole first label may be `*`.
fn matches_name(pattern: &str, host: &str) -> bool {
    if !(is_host(pattern, true) && is_host(host, false)) {
        return !matches!(pattern, "" | ".")
            && !matches!(host, "" | ".")
            && pattern.eq_ignore_ascii_case(host);
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    if pattern.split('.').count() != host.split('.').count() {
        return false;
    }
    pattern
        .split('.')
        .zip(host.split('.'))
        .enumerate()
        .all(|(index, (wanted, label))| {
            (index == 0 && wanted == "*") || wanted.eq_ignore_ascii_case(label)
        })
}

/// Whether a text is a host name, as leniently as in Go: underscores are allowed.
fn is_host(name: &str, is_pattern: bool) -> bool {
    let name = if is_pattern {
        name
    } else {
        name.strip_suffix('.').unwrap_or(name)
    };
    if name.is_empty() || name == "*" {
        return false;
    }
    name.split('.').enumerate().all(|(index, label)| {
        let wildcard = is_pattern && index == 0 && label == "*";
        let usual = !label.is_empty()
            && !label.starts_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        wildcard || usual
    })
}

fn mismatch(certificate: &Certificate<'_>, host: &str) -> String {
    let is_address = host.parse::<IpAddr>().is_ok();
    let common_name = certificate.common_name();
    if certificate.subject_alternative_names.is_none()
        && common_name.is_some_and(|name| matches_name(&name, host))
    {
        return "x509: certificate relies on legacy Common Name field, use SANs instead".to_owned();
    }
    let names: Vec<String> = if is_address {
        addresses(certificate)
            .map(|found| found.to_string())
            .collect()
    } else {
        let names = certificate.names.dns.iter();
        names.map(|name| (*name).to_owned()).collect()
    };
    if is_address && names.is_empty() {
        return format!(
            "x509: cannot validate certificate for {host} because it doesn't contain any IP SANs"
        );
    }
    if names.len() >= MAX_LISTED {
        let kind = if is_address { "IP SANs" } else { "names" };
        let count = names.len();
        return format!("x509: certificate is valid for {count} {kind}, but none matched {host}");
    }
    if names.is_empty() {
        return format!("x509: certificate is not valid for any names, but wanted to match {host}");
    }
    format!(
        "x509: certificate is valid for {}, not {host}",
        names.join(", ")
    )
}

/// Checks the names of every certificate of a chain (the server's first) against the constraints of those above it.
pub(super) fn check_constraints(chain: &[&Certificate<'_>]) -> Result<(), String> {
    for (index, authority) in chain.iter().enumerate() {
        let Some(constraints) = &authority.name_constraints else {
            continue;
        };
        for below in chain.iter().take(index) {
            check_kind(
                "DNS name",
                &below.names.dns,
                (&constraints.permitted.dns, &constraints.excluded.dns),
                |name| Some((*name).to_owned()),
                covers_domain,
            )?;
            check_kind(
                "email address",
                &below.names.emails,
                (&constraints.permitted.emails, &constraints.excluded.emails),
                |name| Some((*name).to_owned()),
                covers_email,
            )?;
            check_kind(
                "URI",
                &below.names.uris,
                (&constraints.permitted.uris, &constraints.excluded.uris),
                |uri| {
                    let parsed = url::Url::parse(uri).ok()?;
                    parsed.domain().map(str::to_owned)
                },
                covers_domain,
            )?;
            check_addresses(&below.names, &constraints.permitted, &constraints.excluded)?;
        }
    }
    Ok(())
}

/// Checks the names of one kind. `subject` returns the constrained part of a name; a name without one is rejected.
fn check_kind(
    kind: &str,
    names: &[&str],
    (permitted, excluded): (&[&str], &[&str]),
    subject: impl Fn(&&str) -> Option<String>,
    covers: impl Fn(&str, &str, bool) -> bool,
) -> Result<(), String> {
    if permitted.is_empty() && excluded.is_empty() {
        return Ok(());
    }
    for name in names {
        let Some(found) = subject(name) else {
            return Err(format!(
                "{kind} {name:?} cannot be checked against a constraint"
            ));
        };
        if let Some(constraint) = excluded.iter().find(|one| covers(one, &found, true)) {
            return Err(format!(
                "{kind} {name:?} is excluded by constraint {constraint:?}"
            ));
        }
        if !permitted.is_empty() && !permitted.iter().any(|one| covers(one, &found, false)) {
            return Err(format!(
                "{kind} {name:?} is not permitted by any constraint"
            ));
        }
    }
    Ok(())
}

/// Whether a domain is in that of a constraint: equal or below, with a leading dot only below. An exclusion covers a
/// wildcard that could match an excluded name.
fn covers_domain(constraint: &str, name: &str, excluding: bool) -> bool {
    let constraint = constraint.to_ascii_lowercase();
    let name = name.to_ascii_lowercase();
    let within = |name: &str, domain: &str| {
        name.strip_suffix(domain)
            .is_some_and(|rest| rest.ends_with('.') && rest.len() > 1)
    };
    let wildcard = name.strip_prefix("*.").filter(|_| excluding);
    match constraint.strip_prefix('.') {
        _ if constraint.is_empty() => true,
        Some(domain) => within(&name, domain) || wildcard.is_some_and(|base| within(domain, base)),
        None => {
            name == constraint
                || within(&name, &constraint)
                || wildcard.is_some_and(|base| within(&constraint, base))
        }
    }
}

/// Whether a constraint that is a mailbox or a domain covers a mailbox.
fn covers_email(constraint: &str, name: &str, excluding: bool) -> bool {
    let Some((local, domain)) = name.rsplit_once('@') else {
        return excluding; // anything that is not a mailbox is refused
    };
    match constraint.rsplit_once('@') {
        Some((wanted, at)) => wanted == local && at.eq_ignore_ascii_case(domain),
        None => covers_domain(constraint, domain, excluding),
    }
}

fn check_addresses(
    names: &Names<'_>,
    permitted: &Names<'_>,
    excluded: &Names<'_>,
) -> Result<(), String> {
    let within = |network: &[u8], found: &[u8]| {
        let (base, mask) = network.split_at(network.len() / 2);
        base.len() == found.len()
            && base
                .iter()
                .zip(mask)
                .zip(found)
                .all(|((base, mask), found)| base & mask == found & mask)
    };
    for found in &names.addresses {
        let shown = address(found)
            .map(|found| found.to_string())
            .unwrap_or_default();
        if excluded.addresses.iter().any(|one| within(one, found)) {
            return Err(format!("IP address {shown:?} is excluded by a constraint"));
        }
        if !permitted.addresses.is_empty()
            && !permitted.addresses.iter().any(|one| within(one, found))
        {
            return Err(format!(
                "IP address {shown:?} is not permitted by any constraint"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("git.example.com", "GIT.example.com", true)]
    #[case("git.example.com", "git.example.com.", true)]
    #[case("*.example.com", "git.example.com", true)]
    #[case("*.example.com", "example.com", false)]
    #[case("*.example.com", "a.b.example.com", false)]
    #[case("g*.example.com", "git.example.com", false)]
    #[case("git.*.com", "git.example.com", false)]
    #[case("*", "git", false)]
    #[case("*.exa$mple.com", "git.exa$mple.com", false)]
    #[case("*.-example.com", "git.-example.com", false)]
    #[case("*.com", "git.com", true)]
    #[case("my_host.local", "my_host.local", true)]
    #[case("", "git", false)]
    #[case("10.0.0.1", "git", false)]
    fn host_names_match_certificate_names(
        #[case] pattern: &str,
        #[case] host: &str,
        #[case] expected: bool,
    ) {
        assert_eq!(matches_name(pattern, host), expected);
    }

    #[rstest]
    #[case("example.com", "example.com", true, true)]
    #[case("example.com", "git.example.com", true, true)]
    #[case("example.com", "notexample.com", false, false)]
    #[case(".example.com", "example.com", false, false)]
    #[case(".example.com", "git.EXAMPLE.com", true, true)]
    #[case("", "anything", true, true)]
    #[case("git.example.com", "*.example.com", false, true)]
    #[case("example.com", "*.example.com", true, true)]
    fn domain_constraints_permit_or_exclude_names(
        #[case] constraint: &str,
        #[case] name: &str,
        #[case] permits: bool,
        #[case] excludes: bool,
    ) {
        assert_eq!(covers_domain(constraint, name, false), permits);
        assert_eq!(covers_domain(constraint, name, true), excludes);
    }

    #[test]
    fn email_constraints_match_mailboxes() {
        assert!(covers_email("a@example.com", "a@EXAMPLE.com", false));
        assert!(!covers_email("a@example.com", "b@example.com", false));
        assert!(covers_email("example.com", "b@example.com", false));
        assert!(covers_email("example.com", "nonsense", true));
    }
}
