//! The DNS names of services in each partition of AWS.

use url::Url;

use super::Error;

/// The domain of services by the beginning of a region's name. The first row that matches counts.
const DOMAINS: [(&str, &str); 7] = [
    ("cn-", "amazonaws.com.cn"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("us-iso-", "c2s.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("eusc-", "amazonaws.eu"),
    ("", "amazonaws.com"),
];

/// Where a service answers in a region: `https://<name>.<region>.<domain>/`.
///
/// # Errors
/// The region is not one label of a DNS name.
pub fn endpoint(name: &str, region: &str) -> Result<Url, Error> {
    let invalid = || Error::InvalidRegion(region.chars().take(100).collect());
    let is_label = !region.is_empty()
        && region.len() <= 63
        && region
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !is_label {
        return Err(invalid());
    }
    let domain = DOMAINS.iter().find(|(start, _)| region.starts_with(start));
    let domain = domain.map_or("amazonaws.com", |(_, domain)| domain);
    Url::parse(&format!("https://{name}.{region}.{domain}/")).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_in_the_domain_of_their_partition() {
        for (region, url) in [
            ("eu-west-1", "https://sts.eu-west-1.amazonaws.com/"),
            ("us-gov-west-1", "https://sts.us-gov-west-1.amazonaws.com/"),
            // FR-N-131
            ("cn-north-1", "https://sts.cn-north-1.amazonaws.com.cn/"),
            ("us-iso-east-1", "https://sts.us-iso-east-1.c2s.ic.gov/"),
            (
                "us-isob-east-1",
                "https://sts.us-isob-east-1.sc2s.sgov.gov/",
            ),
            ("eusc-de-east-1", "https://sts.eusc-de-east-1.amazonaws.eu/"),
        ] {
            assert_eq!(endpoint("sts", region).unwrap().as_str(), url);
        }
        for region in ["", "a.b", "a/b", "a@b", "evil.example/", "é"] {
            assert!(endpoint("sts", region).is_err(), "{region}");
        }
    }
}
