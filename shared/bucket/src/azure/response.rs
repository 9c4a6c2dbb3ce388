//! Responses of Azure Blob Storage.

use flux_http::Secret;

use crate::error::{Error, Missing, StatusError, bare, message};
use crate::store::{Entry, Page};
use crate::transport::Refused;
use crate::xml::{self, Node};

/// An ETag with its quotes, which lists leave out and downloads have (SC-BKT-038, SC-BKT-069).
pub(super) fn etag(text: &str) -> Option<String> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    Some(if text.ends_with('"') {
        text.to_owned()
    } else {
        format!("\"{text}\"")
    })
}

#[derive(Default)]
struct Blob {
    name: String,
    etag: String,
    size: u64,
    is_folder: bool,
}

/// Reads a page of a list. Folders of accounts that have them are no objects.
pub(super) fn page(document: &[u8]) -> Result<Page, Error> {
    let (mut entries, mut next) = (Vec::new(), None);
    let mut blob = Blob::default();
    xml::read(document, |node| {
        match node {
            Node::Start([root]) => xml::expect(root, "EnumerationResults")?,
            Node::Start([_, "Blobs", "Blob"]) => blob = Blob::default(),
            Node::End([_, "Blobs", "Blob"], _) => {
                let blob = std::mem::take(&mut blob);
                if blob.name.is_empty() {
                    let why = "a blob in the list has no name";
                    return Err(Error::Response(why.to_owned()));
                }
                if !blob.is_folder {
                    let etag = etag(&blob.etag);
                    entries.push(Entry {
                        etag: etag.ok_or_else(|| Error::NoEtag(blob.name.clone()))?,
                        key: blob.name,
                        size: blob.size,
                    });
                }
            }
            Node::End([_, "Blobs", "Blob", "Name"], text) => blob.name = text,
            Node::End([_, "Blobs", "Blob", "Properties", field], text) => match *field {
                "Etag" => blob.etag = text,
                "Content-Length" => blob.size = text.trim().parse().unwrap_or(0),
                "ResourceType" => blob.is_folder = text.trim() == "directory",
                _ => {}
            },
            Node::End([_, "NextMarker"], text) => next = Some(text).filter(|text| !text.is_empty()),
            Node::Start(_) | Node::End(..) => {}
        }
        Ok(())
    })?;
    Ok(Page { entries, next })
}

/// Reads a response that refuses. Upstream's client prints the whole response over many lines, in which each request has another
/// number; this is its essence.
pub(super) fn refusal(refused: &Refused, secrets: &[Secret]) -> StatusError {
    let secrets: Vec<&Secret> = secrets.iter().collect();
    let (mut code, mut said) = (String::new(), String::new());
    // Without XML the headers have to do.
    let _ = xml::read(&refused.body, |node| {
        match node {
            Node::End(["Error", "Code"], text) => code = text,
            Node::End(["Error", "Message"], text) => said = text,
            Node::Start(_) | Node::End(..) => {}
        }
        Ok(())
    });
    let named = refused.header("x-ms-error-code");
    if !named.is_empty() {
        named.clone_into(&mut code);
    }
    let code = message(&code, &secrets);
    let words = match message(&said, &secrets) {
        said if said.is_empty() => refused.status_text(),
        said => format!("{} {said}", refused.status.as_u16()),
    };
    let shown = if code.is_empty() {
        "ERROR CODE UNAVAILABLE".to_owned()
    } else {
        format!("ERROR CODE: {code}")
    };
    let (url, status) = (bare(&refused.url), refused.status.as_u16());
    StatusError {
        status,
        text: format!("GET {url}: RESPONSE {status}: {words}: {shown}"),
        missing: match code.as_str() {
            "ContainerNotFound" => Some(Missing::Bucket),
            "BlobNotFound" => Some(Missing::Object),
            _ => None,
        },
        code,
        region: String::new(),
        server: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;
    use reqwest::header::HeaderMap;
    use rstest::rstest;

    use super::*;

    // SC-BKT-038, SC-BKT-069
    #[test]
    fn lists_have_the_etags_of_downloads() {
        let list = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ContainerName=\"c\"><Blobs>\
            <Blob><Name>a &amp; b</Name><Properties><Etag>0x8D1</Etag><Content-Length>3</Content-Length></Properties></Blob>\
            <Blob><Name>c</Name><Properties><Etag>\"0x8D2\"</Etag></Properties></Blob>\
            <Blob><Name>d</Name><Properties><Etag>0x8D3</Etag><ResourceType>directory</ResourceType></Properties></Blob>\
            </Blobs><NextMarker>next!</NextMarker></EnumerationResults>";
        let list = page(list.as_bytes()).unwrap();
        let entry = |key: &str, etag: &str, size| Entry {
            key: key.to_owned(),
            etag: etag.to_owned(),
            size,
        };
        let want = [entry("a & b", "\"0x8D1\"", 3), entry("c", "\"0x8D2\"", 0)];
        assert_eq!(list.entries, want);
        assert_eq!(list.next.as_deref(), Some("next!"));
        assert_eq!(etag("\"0x8D1\"").as_deref(), Some("\"0x8D1\""));
        assert_eq!(etag(""), None);
    }

    #[rstest]
    // SC-BKT-027, SC-BKT-068, FR-H-097
    #[case(
        "<EnumerationResults><Blobs><Blob><Name>a</Name></Blob></Blobs></EnumerationResults>",
        "object 'a' has no ETag"
    )]
    #[case(
        "<EnumerationResults><Blobs><Blob><Name>a</Name><Properties/></Blob></Blobs></EnumerationResults>",
        "object 'a' has no ETag"
    )]
    #[case(
        "<EnumerationResults><Blobs><Blob><Properties><Etag>1</Etag></Properties></Blob></Blobs></EnumerationResults>",
        "invalid response: a blob in the list has no name"
    )]
    #[case("", "invalid response: the XML ends early")]
    fn odd_lists_are_errors(#[case] list: &str, #[case] want: &str) {
        assert_eq!(page(list.as_bytes()).unwrap_err().to_string(), want);
    }

    // SC-BKT-065, SC-BKT-068
    #[test]
    fn refusals_are_one_line_without_the_query() {
        let refused = |status: u16, code: &str, body: &str| {
            let mut headers = HeaderMap::new();
            if !code.is_empty() {
                headers.insert("x-ms-error-code", code.parse().unwrap());
            }
            Refused {
                status: StatusCode::from_u16(status).unwrap(),
                headers,
                url: "https://a.example/c/b?sig=S3CRET".parse().unwrap(),
                body: body.to_owned().into(),
            }
        };
        let body = "\u{feff}<Error><Code>BlobNotFound</Code><Message>The S3CRET blob.\nRequestId:1</Message></Error>";
        let error = refusal(&refused(404, "", body), &[Secret::new("S3CRET")]);
        assert_eq!(
            error.to_string(),
            "GET https://a.example/c/b: RESPONSE 404: 404 The *** blob.: ERROR CODE: BlobNotFound"
        );
        assert_eq!(error.missing, Some(Missing::Object));
        let error = refusal(&refused(404, "ContainerNotFound", ""), &[]);
        assert_eq!(
            error.to_string(),
            "GET https://a.example/c/b: RESPONSE 404: 404 Not Found: ERROR CODE: ContainerNotFound"
        );
        assert_eq!(error.missing, Some(Missing::Bucket));
        let error = refusal(&refused(500, "", "oops"), &[]);
        assert_eq!(
            error.to_string(),
            "GET https://a.example/c/b: RESPONSE 500: 500 Internal Server Error: ERROR CODE UNAVAILABLE"
        );
    }
}
