//! Google Cloud Storage, by its JSON API.

use std::path::Path;

use flux_budget::Claim;
use flux_http::{ClientOptions, Secret};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::download::{Compressed, Downloaded, Room, save};
use crate::error::{Error, Missing, StatusError, message};
use crate::store::{Entry, Page};
use crate::token::TokenSource;
use crate::transport::{Refused, document, execute};

/// The environment variable with the address of an emulator, as Google's own clients read it.
pub const EMULATOR: &str = "STORAGE_EMULATOR_HOST";
/// The service (SC-BKT-064).
const SERVICE: &str = "https://storage.googleapis.com";
/// How many idle connections are kept: as many as objects are downloaded at once.
const IDLE: usize = 64;
/// How often an object is looked at that changes before it is read.
const MAX_LOOKS: usize = 3;

/// All but the unreserved characters of RFC 3986: names of objects are one segment of the path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// How a bucket is reached.
#[derive(Debug)]
pub struct GoogleOptions {
    /// The bucket.
    pub bucket: String,
    /// The address of an emulator in place of the service: a URL, or a host with its port.
    pub emulator: Option<String>,
    /// The credentials.
    pub credentials: GoogleCredentials,
    /// The proxy and timeouts.
    pub http: ClientOptions,
}

/// The credentials for a bucket.
#[derive(Debug)]
pub enum GoogleCredentials {
    /// None: for emulators, and for what everyone may read.
    Anonymous,
    /// An access token.
    Token(TokenSource),
}

/// A bucket of Google Cloud Storage.
#[derive(Debug)]
pub struct Google {
    base: Url,
    bucket: String,
    credentials: GoogleCredentials,
    http: Client,
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<Object>,
    #[serde(default, rename = "nextPageToken")]
    next: String,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Object {
    name: String,
    etag: String,
    /// A number, as text.
    size: String,
    /// A number, as text.
    generation: String,
}

impl Google {
    /// A client for the bucket. Nothing is sent yet.
    ///
    /// # Errors
    /// The address of the emulator or the HTTP settings are unusable.
    pub fn new(options: GoogleOptions) -> Result<Self, Error> {
        let base = match options.emulator.as_deref().filter(|host| !host.is_empty()) {
            None => SERVICE.to_owned(),
            Some(host) if host.contains("://") => host.to_owned(),
            Some(host) => format!("http://{host}"),
        };
        let base = Url::parse(&base)
            .map_err(|why| Error::Settings(format!("invalid {EMULATOR}: {why}")))?;
        if base.cannot_be_a_base() {
            return Err(Error::Settings(format!("invalid {EMULATOR}: no host")));
        }
        let http = ClientOptions {
            idle_connections: IDLE,
            ..options.http
        };
        Ok(Self {
            base,
            bucket: options.bucket,
            credentials: options.credentials,
            http: http.build()?,
        })
    }

    /// Whether the bucket's attributes can be read (SC-BKT-064).
    pub(crate) async fn exists(&self) -> Result<bool, Error> {
        match self
            .request(
                &self.url(Target::Bucket, &[("fields", "name")]),
                Missing::Bucket,
            )
            .await
        {
            Ok(_) => Ok(true),
            Err(error) if error.is_missing_bucket() => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn page(
        &self,
        prefix: &str,
        at: Option<&str>,
        claim: &Claim,
    ) -> Result<Page, Error> {
        let mut query = vec![("fields", "nextPageToken,items(name,etag,size)")];
        query.extend(at.map(|at| ("pageToken", at)));
        query.push(("prefix", prefix));
        let url = self.url(Target::Objects, &query);
        let response = self.request(&url, Missing::Bucket).await?;
        let list: List = document(response, claim, parsed).await?;
        let entries = list.items.into_iter().map(|object| {
            if object.name.is_empty() {
                let why = "an object in the list has no name";
                return Err(Error::Response(why.to_owned()));
            }
            if object.etag.is_empty() {
                return Err(Error::NoEtag(object.name));
            }
            Ok(Entry {
                size: object.size.parse().unwrap_or(0),
                etag: object.etag,
                key: object.name,
            })
        });
        Ok(Page {
            entries: entries.collect::<Result<_, _>>()?,
            next: Some(list.next).filter(|next| !next.is_empty()),
        })
    }

    /// Reads the generation that the ETag is of (SC-BKT-064). One that was replaced in between is looked at again.
    pub(crate) async fn download(
        &self,
        key: &str,
        file: &Path,
        room: &Room,
    ) -> Result<Downloaded, Error> {
        let mut looks = 0;
        loop {
            looks += 1;
            let url = self.url(Target::Object(key), &[("fields", "etag,generation")]);
            let response = self.request(&url, Missing::Object).await?;
            let object: Object = document(response, &Claim::unlimited(), parsed).await?;
            if object.etag.is_empty() {
                return Err(Error::NoEtag(key.to_owned()));
            }
            let query = [("alt", "media"), ("ifGenerationMatch", &*object.generation)];
            let url = self.url(Target::Object(key), &query);
            let response = match self.request(&url, Missing::Object).await {
                Err(Error::Status(status))
                    if status.status == StatusCode::PRECONDITION_FAILED.as_u16()
                        && looks < MAX_LOOKS =>
                {
                    continue;
                }
                response => response?,
            };
            let size = save(response, file, room, Compressed::Unpacked).await?;
            return Ok(Downloaded {
                etag: object.etag,
                size,
            });
        }
    }

    /// The URL of the bucket, of its objects, or of one of them.
    fn url(&self, target: Target<'_>, query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        let mut path = url.path().trim_end_matches('/').to_owned();
        if !path.ends_with("/storage/v1") {
            path.push_str("/storage/v1");
        }
        path.push_str("/b/");
        path.extend(utf8_percent_encode(&self.bucket, SEGMENT));
        match target {
            Target::Bucket => {}
            Target::Objects => path.push_str("/o"),
            Target::Object(key) => {
                path.push_str("/o/");
                path.extend(utf8_percent_encode(key, SEGMENT));
            }
        }
        url.set_path(&path);
        let is_media = query.iter().any(|(name, _)| *name == "alt");
        let mut pairs = url.query_pairs_mut();
        if !is_media {
            pairs.append_pair("alt", "json");
        }
        pairs.extend_pairs(query);
        drop(pairs);
        url
    }

    async fn request(&self, url: &Url, missing: Missing) -> Result<Response, Error> {
        let token = match &self.credentials {
            GoogleCredentials::Anonymous => None,
            GoogleCredentials::Token(source) => Some(source.token().await?),
        };
        let request = || {
            let mut request = Request::new(Method::GET, url.clone());
            if let Some(token) = token {
                let value = format!("Bearer {}", token.expose_text());
                let value = HeaderValue::from_str(&value).map_err(|_| {
                    let why = "the token has characters that a header cannot have";
                    Error::Settings(why.to_owned())
                });
                let mut value = value?;
                value.set_sensitive(true);
                request.headers_mut().insert(AUTHORIZATION, value);
            }
            Ok(request)
        };
        let refused = |refused: &Refused| refusal(refused, missing, token);
        execute(&self.http, request, refused).await
    }
}

fn parsed<T: DeserializeOwned>(document: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(document).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Error::Response(format!("invalid JSON at line {line}, column {column}"))
    })
}

#[derive(Deserialize)]
struct Failure {
    error: Fault,
}

#[derive(Deserialize)]
struct Fault {
    #[serde(default)]
    message: String,
    #[serde(default)]
    errors: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    reason: String,
}

/// What a URL is of.
#[derive(Clone, Copy)]
enum Target<'k> {
    Bucket,
    Objects,
    Object(&'k str),
}

/// Reads a response that refuses, with the texts of Google's Go client.
fn refusal(refused: &Refused, missing: Missing, token: Option<&Secret>) -> StatusError {
    let secrets: Vec<&Secret> = token.into_iter().collect();
    let status = refused.status.as_u16();
    let (mut code, text) = if let Ok(failure) = serde_json::from_slice::<Failure>(&refused.body) {
        let error = failure.error;
        let reason = error.errors.first().map(|item| item.reason.as_str());
        let reason = message(reason.unwrap_or_default(), &secrets);
        let said = message(&error.message, &secrets);
        let text = if reason.is_empty() {
            format!("googleapi: Error {status}: {said}")
        } else {
            format!("googleapi: Error {status}: {said}, {reason}")
        };
        (reason, text)
    } else {
        let body = String::from_utf8_lossy(&refused.body);
        let said = message(&body, &secrets);
        let text = format!("googleapi: got HTTP response code {status} with body: {said}");
        (String::new(), text)
    };
    if code.is_empty() {
        refused.status_text().clone_into(&mut code);
    }
    let is_missing = refused.status == StatusCode::NOT_FOUND;
    let text = match missing {
        Missing::Bucket if is_missing => format!("storage: bucket doesn't exist: {text}"),
        Missing::Object if is_missing => format!("storage: object doesn't exist: {text}"),
        _ => text,
    };
    StatusError {
        status,
        code,
        text,
        region: String::new(),
        server: String::new(),
        missing: is_missing.then_some(missing),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;

    use super::*;

    fn google(emulator: Option<&str>) -> Google {
        Google::new(GoogleOptions {
            bucket: "b".to_owned(),
            emulator: emulator.map(str::to_owned),
            credentials: GoogleCredentials::Anonymous,
            http: ClientOptions::default(),
        })
        .unwrap()
    }

    // SC-BKT-064
    #[test]
    fn urls_of_the_json_api() {
        let service = google(None);
        assert_eq!(
            service.url(Target::Bucket, &[]).as_str(),
            "https://storage.googleapis.com/storage/v1/b/b?alt=json"
        );
        assert_eq!(
            service.url(Target::Objects, &[("prefix", "a/")]).as_str(),
            "https://storage.googleapis.com/storage/v1/b/b/o?alt=json&prefix=a%2F"
        );
        let media = [("alt", "media"), ("ifGenerationMatch", "7")];
        for emulator in ["h:1", "http://h:1/", "http://h:1/storage/v1/"] {
            assert_eq!(
                google(Some(emulator))
                    .url(Target::Object("a b/ä"), &media)
                    .as_str(),
                "http://h:1/storage/v1/b/b/o/a%20b%2F%C3%A4?alt=media&ifGenerationMatch=7"
            );
        }
    }

    #[test]
    fn refusals_have_the_texts_of_googles_client() {
        let refused = |status: u16, body: &str| Refused {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            url: "http://h/b".parse().unwrap(),
            body: body.to_owned().into(),
        };
        let token = Secret::new("S3CRET");
        let body =
            r#"{"error":{"code":404,"message":"No such S3CRET","errors":[{"reason":"notFound"}]}}"#;
        for (status, body, missing, want) in [
            (
                404,
                body,
                Missing::Object,
                "storage: object doesn't exist: googleapi: Error 404: No such ***, notFound",
            ),
            (
                404,
                "gone",
                Missing::Bucket,
                "storage: bucket doesn't exist: googleapi: got HTTP response code 404 with body: gone",
            ),
            (
                403,
                r#"{"error":{"message":"no"}}"#,
                Missing::Bucket,
                "googleapi: Error 403: no",
            ),
        ] {
            let error = refusal(&refused(status, body), missing, Some(&token));
            assert_eq!(error.to_string(), want);
            assert_eq!(error.missing, (status == 404).then_some(missing));
        }
    }
}
