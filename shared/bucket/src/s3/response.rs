//! Responses of S3.

use flux_http::Secret;
use reqwest::StatusCode;

use crate::error::{Error, Missing, StatusError, message};
use crate::store::{Entry, Page};
use crate::transport::Refused;
use crate::xml::{self, Node};

/// What is said where the server says nothing, as minio-go does.
const MESSAGES: [(&str, &str); 12] = [
    ("AccessDenied", "Access Denied."),
    (
        "AllAccessDisabled",
        "All access to this bucket has been disabled.",
    ),
    (
        "AuthorizationHeaderMalformed",
        "The authorization header is malformed; the region is wrong.",
    ),
    ("Conflict", "Bucket not empty."),
    (
        "InternalError",
        "We encountered an internal error, please try again.",
    ),
    (
        "InvalidAccessKeyId",
        "The access key ID you provided does not exist in our records.",
    ),
    ("InvalidBucketName", "The specified bucket is not valid."),
    ("NoSuchBucket", "The specified bucket does not exist."),
    ("NoSuchKey", "The specified key does not exist."),
    (
        "PreconditionFailed",
        "At least one of the pre-conditions you specified did not hold.",
    ),
    (
        "RequestTimeTooSkewed",
        "The difference between the request time and the server's time is too large.",
    ),
    (
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
    ),
];

/// An ETag without its quotes (SC-BKT-061).
pub(crate) fn etag(text: &str) -> &str {
    let text = text.strip_prefix('"').unwrap_or(text);
    text.strip_suffix('"').unwrap_or(text)
}

/// Reads a page of a list, of either version.
pub(crate) fn page(document: &[u8]) -> Result<Page, Error> {
    let mut list = List::default();
    let mut object = Object::default();
    xml::read(document, |node| {
        match node {
            Node::Start([root]) => xml::expect(root, "ListBucketResult")?,
            Node::Start([_, "Contents"]) => object = Object::default(),
            Node::End([_, "Contents"], _) => list.objects.push(std::mem::take(&mut object)),
            Node::End([_, "Contents", field], text) => match *field {
                "Key" => object.key = text,
                "ETag" => object.etag = text,
                "Size" => object.size = text.trim().parse().unwrap_or(0),
                _ => {}
            },
            Node::End([_, field], text) => match *field {
                "EncodingType" => list.is_encoded = text == "url",
                "IsTruncated" => list.is_truncated = text.trim() == "true",
                "NextContinuationToken" => list.token = text,
                "NextMarker" => list.marker = text,
                _ => {}
            },
            Node::Start(_) | Node::End(..) => {}
        }
        Ok(())
    })?;
    list.page()
}

#[derive(Default)]
struct List {
    objects: Vec<Object>,
    is_encoded: bool,
    is_truncated: bool,
    /// What version 2 is continued with.
    token: String,
    /// What version 1 is continued with.
    marker: String,
}

#[derive(Default)]
struct Object {
    key: String,
    etag: String,
    size: u64,
}

impl List {
    fn page(self) -> Result<Page, Error> {
        let is_encoded = self.is_encoded;
        let decoded = |text: &str| -> Result<String, Error> {
            if !is_encoded {
                return Ok(text.to_owned());
            }
            let plus = text.replace('+', " ");
            let bytes: Vec<u8> = percent_encoding::percent_decode_str(&plus).collect();
            String::from_utf8(bytes)
                .map_err(|_| Error::Response("a key in the list is not UTF-8".to_owned()))
        };
        let mut entries = Vec::with_capacity(self.objects.len());
        for object in &self.objects {
            let key = decoded(&object.key)?;
            let etag = etag(&object.etag);
            if etag.is_empty() && !key.ends_with('/') {
                return Err(Error::NoEtag(key));
            }
            entries.push(Entry {
                etag: etag.to_owned(),
                size: object.size,
                key,
            });
        }
        let next = if !self.is_truncated {
            None
        } else if !self.token.is_empty() {
            Some(self.token)
        } else if !self.marker.is_empty() {
            Some(decoded(&self.marker)?)
        } else {
            entries.last().map(|last| last.key.clone())
        };
        if self.is_truncated && next.is_none() {
            return Err(Error::Response(
                "Truncated response should have continuation token set".to_owned(),
            ));
        }
        Ok(Page { entries, next })
    }
}

/// The region in a response that tells a bucket's.
pub(crate) fn location(document: &[u8]) -> Result<String, Error> {
    let mut region = String::new();
    xml::read(document, |node| {
        if let Node::End([_] | [_, "LocationConstraint"], text) = node
            && !text.trim().is_empty()
        {
            text.trim().clone_into(&mut region);
        }
        Ok(())
    })?;
    Ok(match region.as_str() {
        "" => super::address::DEFAULT_REGION.to_owned(),
        "EU" => "eu-west-1".to_owned(),
        _ => region,
    })
}

/// Reads a response that refuses a request for a bucket, or for an object in it.
pub(crate) fn refusal(refused: &Refused, is_object: bool, secrets: &[&Secret]) -> StatusError {
    let (mut code, mut said, mut region) = (String::new(), String::new(), String::new());
    let read = xml::read(&refused.body, |node| {
        match node {
            Node::End(["Error", "Code"], text) => code = text,
            Node::End(["Error", "Message"], text) => said = text,
            Node::End(["Error", "Region"], text) => region = text,
            Node::Start(_) | Node::End(..) => {}
        }
        Ok(())
    });
    if read.is_err() || (code.is_empty() && said.is_empty()) {
        code = match refused.status {
            StatusCode::NOT_FOUND if is_object => "NoSuchKey".to_owned(),
            StatusCode::NOT_FOUND => "NoSuchBucket".to_owned(),
            StatusCode::FORBIDDEN => "AccessDenied".to_owned(),
            StatusCode::CONFLICT => "Conflict".to_owned(),
            StatusCode::PRECONDITION_FAILED => "PreconditionFailed".to_owned(),
            _ => {
                said = match String::from_utf8_lossy(&refused.body) {
                    text if text.trim().is_empty() => refused.status_text(),
                    text => text.into_owned(),
                };
                refused.status_text()
            }
        };
    }
    // MinIO's own headers, for responses without a body.
    let named = refused.header("x-minio-error-code");
    if !named.is_empty() {
        named.clone_into(&mut code);
    }
    let described = refused.header("x-minio-error-desc");
    if !described.is_empty() {
        described.trim_matches('"').clone_into(&mut said);
    }
    if region.is_empty() {
        refused
            .header("x-amz-bucket-region")
            .clone_into(&mut region);
    }
    if code == "InvalidRegion" && !region.is_empty() {
        said = format!("Region does not match, expecting region ‘{region}’.");
    }
    let code = message(&code, secrets);
    let text = if said.trim().is_empty() {
        let known = MESSAGES.iter().find(|(known, _)| *known == code);
        known.map_or_else(
            || format!("Error response code {code}."),
            |(_, text)| (*text).to_owned(),
        )
    } else {
        message(&said, secrets)
    };
    StatusError {
        status: refused.status.as_u16(),
        missing: match code.as_str() {
            "NoSuchBucket" => Some(Missing::Bucket),
            "NoSuchKey" => Some(Missing::Object),
            _ => None,
        },
        code,
        text,
        region,
        server: refused.header("server").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;
    use rstest::rstest;

    use super::*;

    fn refused(status: u16, body: &str, headers: &[(&'static str, &str)]) -> Refused {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        Refused {
            status: StatusCode::from_u16(status).unwrap(),
            headers: map,
            url: "http://h/b".parse().unwrap(),
            body: body.to_owned().into(),
        }
    }

    // SC-BKT-061: keys are decoded, quotes are removed
    #[test]
    fn lists_of_both_versions() {
        let two = b"<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>\
            <NextContinuationToken>t/1</NextContinuationToken>\
            <Contents><Key>a+b%2Fc%C3%A4</Key><ETag>&quot;1&quot;</ETag><Size>7</Size><Owner><ID>x</ID></Owner></Contents>\
            <Contents><Key>d/</Key></Contents></ListBucketResult>";
        let two = page(two).unwrap();
        let entry = |key: &str, etag: &str, size| Entry {
            key: key.to_owned(),
            etag: etag.to_owned(),
            size,
        };
        assert_eq!(two.entries, [entry("a b/cä", "1", 7), entry("d/", "", 0)]);
        assert_eq!(two.next.as_deref(), Some("t/1"));

        let one = b"<ListBucketResult><IsTruncated>true</IsTruncated>\
            <Contents><Key>a+b</Key><ETag>2-3</ETag></Contents></ListBucketResult>";
        let one = page(one).unwrap();
        assert_eq!(one.entries, [entry("a+b", "2-3", 0)]);
        assert_eq!(one.next.as_deref(), Some("a+b"));

        let last = page(b"<ListBucketResult/>").unwrap();
        assert!(last.entries.is_empty() && last.next.is_none());
    }

    #[rstest]
    // SC-BKT-068
    #[case(
        "<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>",
        "object 'a' has no ETag"
    )]
    #[case(
        "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        "invalid response: Truncated response should have continuation token set"
    )]
    #[case(
        "<ListBucketResult><EncodingType>url</EncodingType><Contents><Key>%FF</Key><ETag>1</ETag></Contents></ListBucketResult>",
        "invalid response: a key in the list is not UTF-8"
    )]
    #[case("<html><br></html>", "invalid response: the document is not a list")]
    #[case(
        "<html><body>Sign in</body></html>",
        "invalid response: the document is not a list"
    )]
    #[case(
        "<ListBucketResult><br></ListBucketResult>",
        "invalid response: the XML is not well-formed"
    )]
    fn lists_that_are_refused(#[case] document: &str, #[case] want: &str) {
        assert_eq!(page(document.as_bytes()).unwrap_err().to_string(), want);
    }

    #[test]
    fn regions_of_buckets() {
        for (document, want) in [
            (
                "<LocationConstraint>eu-central-1</LocationConstraint>",
                "eu-central-1",
            ),
            ("<LocationConstraint xmlns=\"x\"/>", "us-east-1"),
            ("<LocationConstraint>EU</LocationConstraint>", "eu-west-1"),
            ("<L><LocationConstraint>x-1</LocationConstraint></L>", "x-1"),
        ] {
            assert_eq!(location(document.as_bytes()).unwrap(), want);
        }
    }

    // SC-BKT-062
    #[test]
    fn refusals_have_minio_gos_texts() {
        let body =
            "<Error><Code>NoSuchKey</Code><Message>The key S3CRET is not there</Message></Error>";
        let secret = Secret::new("S3CRET");
        let error = refusal(&refused(404, body, &[]), false, &[&secret]);
        assert_eq!(error.to_string(), "The key *** is not there");
        assert_eq!(error.missing, Some(Missing::Object));
        for (status, is_object, body, headers, code, text) in [
            (
                404,
                true,
                "",
                &[][..],
                "NoSuchKey",
                "The specified key does not exist.",
            ),
            (
                404,
                false,
                "",
                &[],
                "NoSuchBucket",
                "The specified bucket does not exist.",
            ),
            (403, false, "", &[], "AccessDenied", "Access Denied."),
            (400, false, "", &[], "400 Bad Request", "400 Bad Request"),
            (418, false, "tea\npot", &[], "418 I'm a teapot", "tea"),
            (
                400,
                false,
                "<Error><Code>Odd</Code></Error>",
                &[],
                "Odd",
                "Error response code Odd.",
            ),
            (
                400,
                false,
                "<Error><Code>InvalidRegion</Code></Error>",
                &[("x-amz-bucket-region", "eu-1")],
                "InvalidRegion",
                "Region does not match, expecting region ‘eu-1’.",
            ),
            (
                403,
                true,
                "",
                &[
                    ("x-minio-error-code", "Own"),
                    ("x-minio-error-desc", "\"in words\""),
                ],
                "Own",
                "in words",
            ),
        ] {
            let error = refusal(&refused(status, body, headers), is_object, &[]);
            assert_eq!(
                (error.code.as_str(), error.to_string().as_str()),
                (code, text)
            );
        }
    }
}
