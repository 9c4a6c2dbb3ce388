//! Addresses of buckets: which host is asked, and whether the bucket is in its name or in the path (SC-BKT-060), as minio-go
//! decides it.

use std::net::IpAddr;

use flux_golang::url::Url as GoUrl;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use crate::error::Error;

/// The region of whatever has no other.
pub(crate) const DEFAULT_REGION: &str = "us-east-1";

/// All but the unreserved characters of RFC 3986.
const STRICT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// The same for a path.
const STRICT_PATH: &AsciiSet = &STRICT.remove(b'/');

/// Hosts of Amazon whose name has a region, each as what is before and after it, in order of precedence.
const AMAZON: [(&str, &str); 6] = [
    ("s3-fips.dualstack.", ".amazonaws.com"),
    ("s3-fips.", ".amazonaws.com"),
    ("s3.dualstack.", ".amazonaws.com"),
    ("s3.dualstack.", ".amazonaws.com.cn"),
    ("s3-", ".amazonaws.com"),
    ("s3.", ".amazonaws.com"),
];
/// Hosts of Amazon that stand for all regions.
const GLOBAL: [&str; 2] = ["s3.amazonaws.com", "s3-external-1.amazonaws.com"];
/// The regions that are no part of the public cloud, with their hosts.
const ISOLATED: [(&str, &str); 3] = [
    ("us-iso-east-1", "s3.us-iso-east-1.c2s.ic.gov"),
    ("us-isob-east-1", "s3.us-isob-east-1.sc2s.sgov.gov"),
    ("us-iso-west-1", "s3.us-iso-west-1.c2s.ic.gov"),
];

/// An endpoint of S3 or of a server that speaks its protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    secure: bool,
    /// Host and port, without the port that the scheme has anyway.
    authority: String,
    host: String,
}

impl Endpoint {
    /// Parses `host[:port]`.
    pub(crate) fn parse(text: &str, secure: bool) -> Result<Self, Error> {
        let invalid = |why: &str| Err(Error::Settings(why.to_owned()));
        let scheme = if secure { "https" } else { "http" };
        let url = GoUrl::parse(format!("{scheme}://{text}").as_bytes()).map_err(|why| {
            Error::Settings(match flux_http::shown_text(text) {
                shown if shown == text => why,
                // Go quotes the endpoint, with its password.
                shown => format!("parse \"{scheme}://{shown}\": invalid endpoint"),
            })
        })?;
        if !matches!(url.path.as_slice(), b"" | b"/") {
            return invalid("Endpoint url cannot have fully qualified paths.");
        }
        let host = String::from_utf8_lossy(url.hostname()).into_owned();
        let authority = String::from_utf8_lossy(&url.host).into_owned();
        if host.parse::<IpAddr>().is_err() && !is_domain(&host) {
            return Err(Error::Settings(format!(
                "Endpoint: {authority} does not follow ip address or domain name standards."
            )));
        }
        let port = if secure { ":443" } else { ":80" };
        let endpoint = Self {
            secure,
            authority: authority
                .strip_suffix(port)
                .unwrap_or(&authority)
                .to_owned(),
            host,
        };
        if endpoint.host.contains(".s3.amazonaws.com") && !endpoint.is_amazon() {
            return invalid("Amazon S3 endpoint should be 's3.amazonaws.com'.");
        }
        if endpoint.host.contains(".googleapis.com") && !endpoint.is_google() {
            return invalid("Google Cloud Storage endpoint should be 'storage.googleapis.com'.");
        }
        Ok(endpoint)
    }

    /// The region in the host's name (FR-H-095).
    pub(crate) fn region(&self) -> Option<&str> {
        let host = self.host.as_str();
        if host == "s3-external-1.amazonaws.com" || host.contains("elb.") {
            return None;
        }
        let within = |(before, after): &(&str, &str)| {
            host.strip_prefix(before)?
                .strip_suffix(after)
                .filter(|region| !region.is_empty())
        };
        if let Some(china) = within(&("s3.", ".amazonaws.com.cn"))
            && china.starts_with("cn")
        {
            return Some(china);
        }
        if let Some(region) = self.private_link() {
            return Some(region);
        }
        let region = AMAZON.iter().find_map(within)?;
        let is_other = ["dualstack.", "control.", "website-"]
            .iter()
            .any(|other| region.starts_with(other));
        (!is_other).then_some(region)
    }

    /// The region of an interface endpoint: `bucket.vpce-<id>.s3.<region>.vpce.amazonaws.com`.
    fn private_link(&self) -> Option<&str> {
        let rest = ["bucket.vpce-", "accesspoint.vpce-"]
            .iter()
            .find_map(|prefix| self.host.strip_prefix(prefix))?;
        let rest = rest.strip_suffix(".vpce.amazonaws.com")?;
        rest.split_once(".s3.").map(|(_, region)| region)
    }

    fn is_amazon(&self) -> bool {
        GLOBAL.contains(&self.host.as_str()) || self.region().is_some()
    }

    /// Whether it is Google's, which lists by version 1 of the protocol (SC-BKT-061).
    pub(crate) fn is_google(&self) -> bool {
        self.host == "storage.googleapis.com"
    }

    /// Whether the bucket is in the name of the host (SC-BKT-060, FR-H-094).
    fn has_virtual_hosts(&self, bucket: &str) -> bool {
        if self.secure && bucket.contains('.') {
            return false; // no certificate covers it
        }
        self.is_amazon() || self.is_google() || self.host.ends_with("aliyuncs.com")
    }

    /// The host that a bucket of `region` is asked at. One that names its region is asked as it is written; for the others,
    /// Amazon's is that of the region.
    fn host_for(&self, region: &str) -> String {
        let named = self.region();
        if !self.is_amazon()
            || self.private_link().is_some()
            || self.host.starts_with("s3-fips")
            || named == Some(region)
        {
            return self.authority.clone();
        }
        if let Some((_, host)) = ISOLATED.iter().find(|(name, _)| *name == region) {
            return (*host).to_owned();
        }
        let is_name =
            |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '-';
        let region = if region.chars().all(is_name) {
            region
        } else {
            DEFAULT_REGION
        };
        let china = if region.starts_with("cn-") { ".cn" } else { "" };
        format!("s3.dualstack.{region}.amazonaws.com{china}")
    }

    /// The URL of a bucket, or of an object in it.
    pub(crate) fn url(
        &self,
        bucket: &str,
        key: Option<&str>,
        region: &str,
        query: &[(&str, &str)],
    ) -> Result<Url, Error> {
        self.url_at(&self.host_for(region), bucket, key, query)
    }

    /// The URL that tells the region of a bucket.
    pub(crate) fn location_url(&self, bucket: &str) -> Result<Url, Error> {
        self.url_at(&self.authority, bucket, None, &[("location", "")])
    }

    fn url_at(
        &self,
        host: &str,
        bucket: &str,
        key: Option<&str>,
        query: &[(&str, &str)],
    ) -> Result<Url, Error> {
        let scheme = if self.secure { "https" } else { "http" };
        let mut text = if self.has_virtual_hosts(bucket) {
            format!("{scheme}://{bucket}.{host}/")
        } else {
            format!("{scheme}://{host}/{bucket}/")
        };
        if let Some(key) = key {
            text.extend(utf8_percent_encode(key, STRICT_PATH));
        }
        for (number, (name, value)) in query.iter().enumerate() {
            text.push(if number == 0 { '?' } else { '&' });
            text.push_str(name);
            text.push('=');
            text.extend(utf8_percent_encode(value, STRICT));
        }
        Url::parse(&text).map_err(|error| Error::Settings(format!("invalid endpoint: {error}")))
    }
}

/// Whether a text could be a domain: minio-go's rules.
fn is_domain(host: &str) -> bool {
    let ends = |edge: char| host.starts_with(edge) || host.ends_with(edge);
    let special = "`~!@#$%^&*()+={}[]|\\\"';:><?/";
    !host.trim().is_empty()
        && host.len() <= 255
        && !ends('-')
        && !ends('_')
        && !host.starts_with('.')
        && !host.contains(|char| special.contains(char))
}

/// Checks the name of a bucket by minio-go's rules, with its texts.
pub(crate) fn check_bucket(name: &str) -> Result<(), Error> {
    let inner = |char: char| char.is_ascii_alphanumeric() || ".-_:".contains(char);
    let outer = |char: Option<char>| char.is_some_and(|char| char.is_ascii_alphanumeric());
    let is_address = || {
        let parts: Vec<&str> = name.split('.').collect();
        let number = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        parts.len() == 4 && parts.iter().all(number)
    };
    let problem = if name.trim().is_empty() {
        "Bucket name cannot be empty"
    } else if name.len() < 3 {
        "Bucket name cannot be shorter than 3 characters"
    } else if name.len() > 63 {
        "Bucket name cannot be longer than 63 characters"
    } else if is_address() {
        "Bucket name cannot be an ip address"
    } else if ["..", ".-", "-."].iter().any(|pair| name.contains(pair))
        || !name.chars().all(inner)
        || !outer(name.chars().next())
        || !outer(name.chars().last())
    {
        "Bucket name contains invalid characters"
    } else {
        return Ok(());
    };
    Err(Error::Name(problem))
}

/// Checks a prefix by minio-go's rules, with its texts.
pub(crate) fn check_prefix(prefix: &str) -> Result<(), Error> {
    if prefix.len() > 1024 {
        return Err(Error::Name(
            "Object name cannot be longer than 1024 characters",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(endpoint: &str, secure: bool, bucket: &str, region: &str) -> String {
        let endpoint = Endpoint::parse(endpoint, secure).unwrap();
        let url = endpoint.url(bucket, Some("a b/ä+c"), region, &[("prefix", "x/ y")]);
        url.unwrap().to_string()
    }

    // SC-BKT-060: what a server calls the region of a bucket must not name another host
    #[test]
    fn a_region_that_is_no_name_does_not_lead_to_another_host() {
        for region in ["evil.example.com/", "a.b", "a@b", "A", "a#", "eu\u{e9}"] {
            let url = url("s3.amazonaws.com", true, "plain", region);
            let begin = "https://plain.s3.dualstack.us-east-1.amazonaws.com/";
            assert!(url.starts_with(begin), "{region}: {url}");
        }
    }

    // SC-BKT-060, FR-H-094: who has the bucket in the host, and who in the path
    #[test]
    fn buckets_are_in_the_host_of_amazon_google_and_aliyun() {
        let rest = "a%20b/%C3%A4%2Bc?prefix=x%2F%20y";
        for (endpoint, secure, bucket, want) in [
            (
                "minio.example.com:9000",
                true,
                "plain",
                "https://minio.example.com:9000/plain/",
            ),
            (
                "ceph.example.com:80",
                false,
                "plain",
                "http://ceph.example.com/plain/",
            ),
            ("[::1]:9000", false, "plain", "http://[::1]:9000/plain/"),
            (
                "oss-eu-central-1.aliyuncs.com",
                true,
                "plain",
                "https://plain.oss-eu-central-1.aliyuncs.com/",
            ),
            (
                "oss-eu-central-1.aliyuncs.com",
                true,
                "dotted.name",
                "https://oss-eu-central-1.aliyuncs.com/dotted.name/",
            ),
            (
                "storage.googleapis.com",
                true,
                "plain",
                "https://plain.storage.googleapis.com/",
            ),
            (
                "storage.googleapis.com:443",
                true,
                "dotted.name",
                "https://storage.googleapis.com/dotted.name/",
            ),
            (
                "s3.amazonaws.com",
                true,
                "plain",
                "https://plain.s3.dualstack.eu-west-1.amazonaws.com/",
            ),
            (
                "s3.amazonaws.com",
                true,
                "dotted.name",
                "https://s3.dualstack.eu-west-1.amazonaws.com/dotted.name/",
            ),
            (
                "s3.amazonaws.com",
                false,
                "dotted.name",
                "http://dotted.name.s3.dualstack.eu-west-1.amazonaws.com/",
            ),
            // FR-H-095: what names its region is asked as it is
            (
                "s3.eu-west-1.amazonaws.com",
                true,
                "plain",
                "https://plain.s3.eu-west-1.amazonaws.com/",
            ),
            (
                "s3-fips.us-east-1.amazonaws.com",
                true,
                "plain",
                "https://plain.s3-fips.us-east-1.amazonaws.com/",
            ),
            (
                "bucket.vpce-1a-2b.s3.us-east-1.vpce.amazonaws.com",
                true,
                "plain",
                "https://plain.bucket.vpce-1a-2b.s3.us-east-1.vpce.amazonaws.com/",
            ),
            (
                "s3.us-east-1.amazonaws.com",
                true,
                "plain",
                "https://plain.s3.dualstack.eu-west-1.amazonaws.com/",
            ),
        ] {
            assert_eq!(
                url(endpoint, secure, bucket, "eu-west-1"),
                format!("{want}{rest}")
            );
        }
        let host = |region| {
            Endpoint::parse("s3.amazonaws.com", true)
                .unwrap()
                .host_for(region)
        };
        assert_eq!(
            host("cn-north-1"),
            "s3.dualstack.cn-north-1.amazonaws.com.cn"
        );
        assert_eq!(host("us-iso-east-1"), "s3.us-iso-east-1.c2s.ic.gov");
        assert_eq!(
            host("x.evil.example/"),
            "s3.dualstack.us-east-1.amazonaws.com"
        );
    }

    // SC-BKT-060, FR-H-095
    #[test]
    fn names_of_amazon_have_the_region() {
        for (host, want) in [
            ("s3.eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("s3-eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("s3.dualstack.us-east-1.amazonaws.com", Some("us-east-1")),
            ("s3-fips.us-east-1.amazonaws.com", Some("us-east-1")),
            (
                "s3-fips.dualstack.us-east-1.amazonaws.com",
                Some("us-east-1"),
            ),
            ("s3.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
            (
                "s3.dualstack.cn-north-1.amazonaws.com.cn",
                Some("cn-north-1"),
            ),
            (
                "bucket.vpce-1a.s3.us-east-1.vpce.amazonaws.com",
                Some("us-east-1"),
            ),
            ("s3.amazonaws.com", None),
            ("s3-external-1.amazonaws.com", None),
            ("s3.control.us-east-1.amazonaws.com", None),
            ("internal-a.elb.us-east-1.amazonaws.com", None),
            ("minio.example.com", None),
        ] {
            let endpoint = Endpoint::parse(host, true).unwrap();
            assert_eq!(endpoint.region(), want, "{host}");
        }
    }

    // SC-BKT-025
    #[test]
    fn endpoints_that_are_refused() {
        for (endpoint, want) in [
            (
                "h:port",
                "parse \"https://h:port\": invalid port \":port\" after host",
            ),
            ("h/path", "Endpoint url cannot have fully qualified paths."),
            (
                "https://h",
                "Endpoint url cannot have fully qualified paths.",
            ),
            (
                "",
                "Endpoint:  does not follow ip address or domain name standards.",
            ),
            (
                "-h",
                "Endpoint: -h does not follow ip address or domain name standards.",
            ),
            (
                "x.s3.amazonaws.com",
                "Amazon S3 endpoint should be 's3.amazonaws.com'.",
            ),
            (
                "x.googleapis.com",
                "Google Cloud Storage endpoint should be 'storage.googleapis.com'.",
            ),
        ] {
            let error = Endpoint::parse(endpoint, true)
                .map(|_| ())
                .unwrap_err()
                .to_string();
            assert_eq!(error, want, "{endpoint}");
        }
        let error = Endpoint::parse("user:S3CRET@h:port", true).unwrap_err();
        assert_eq!(
            error.to_string(),
            "parse \"https://***@h:port\": invalid endpoint"
        );
    }

    // SC-BKT-026
    #[test]
    fn names_of_buckets() {
        for name in ["abc", "my.bucket-1", "a_b:c", "1.2.3"] {
            check_bucket(name).unwrap();
        }
        let long = "x".repeat(64);
        for (name, want) in [
            ("", "Bucket name cannot be empty"),
            ("ab", "Bucket name cannot be shorter than 3 characters"),
            (
                long.as_str(),
                "Bucket name cannot be longer than 63 characters",
            ),
            ("10.0.0.1", "Bucket name cannot be an ip address"),
            ("a..b", "Bucket name contains invalid characters"),
            ("-ab", "Bucket name contains invalid characters"),
            ("../x", "Bucket name contains invalid characters"),
            ("a/b", "Bucket name contains invalid characters"),
            ("aäb", "Bucket name contains invalid characters"),
        ] {
            assert_eq!(check_bucket(name).unwrap_err().to_string(), want, "{name}");
        }
        check_prefix(&"x".repeat(1024)).unwrap();
        check_prefix(&"x".repeat(1025)).unwrap_err();
    }
}
