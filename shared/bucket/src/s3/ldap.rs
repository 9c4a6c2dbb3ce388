//! Temporary credentials for a user name and a password, from a token service as MinIO has it (SC-AUTH-062).

use std::fmt;
use std::time::SystemTime;

use flux_budget::Claim;
use flux_cloud::aws::Credentials;
use flux_http::Secret;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method, Request};
use url::Url;
use url::form_urlencoded::Serializer;

use crate::error::{Error, StatusError, message};
use crate::transport::{Refused, document, execute};
use crate::xml::{self, Node};

/// The version of the protocol.
const VERSION: &str = "2011-06-15";

/// A token service, and who is to be authenticated.
pub struct Ldap {
    /// The address of the service.
    pub endpoint: String,
    /// The user; both may be empty.
    pub username: String,
    /// The password.
    pub password: Secret,
    /// The client for the service, with its certificates and its proxy.
    pub http: Client,
}

impl fmt::Debug for Ldap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ldap")
            .field("username", &flux_http::Hidden(self.username.as_bytes()))
            .field("password", &self.password)
            .finish_non_exhaustive()
    }
}

impl Ldap {
    /// Gets credentials.
    pub(crate) async fn credentials(&self) -> Result<Credentials, Error> {
        let url = Url::parse(&self.endpoint)
            .map_err(|error| Error::Settings(format!("invalid STS endpoint: {error}")))?;
        let form = Serializer::new(String::new())
            .append_pair("Action", "AssumeRoleWithLDAPIdentity")
            .append_pair("LDAPPassword", &self.password.expose_text())
            .append_pair("LDAPUsername", &self.username)
            .append_pair("Version", VERSION)
            .finish();
        let request = || {
            let mut request = Request::new(Method::POST, url.clone());
            let kind = "application/x-www-form-urlencoded".parse();
            let kind = kind.map_err(|_| Error::Task)?;
            request.headers_mut().insert(CONTENT_TYPE, kind);
            *request.body_mut() = Some(form.clone().into());
            Ok(request)
        };
        let refused = |refused: &Refused| self.refusal(refused);
        let response = execute(&self.http, request, refused).await?;
        document(response, &Claim::unlimited(), read).await
    }

    fn refusal(&self, refused: &Refused) -> StatusError {
        let (mut code, mut said) = (String::new(), String::new());
        // Its text is that of the response itself where it is no XML.
        let _ = xml::read(&refused.body, |node| {
            match node {
                Node::End(["Error", "Code"] | ["ErrorResponse", "Error", "Code"], text) => {
                    code = text;
                }
                Node::End(["Error", "Message"] | ["ErrorResponse", "Error", "Message"], text) => {
                    said = text;
                }
                Node::Start(_) | Node::End(..) => {}
            }
            Ok(())
        });
        let secrets = [&self.password];
        let text = if !said.trim().is_empty() {
            message(&said, &secrets)
        } else if !code.is_empty() {
            format!("Error response code {}.", message(&code, &secrets))
        } else {
            refused.status_text()
        };
        StatusError {
            status: refused.status.as_u16(),
            code,
            text,
            region: String::new(),
            server: String::new(),
            missing: None,
        }
    }
}

fn read(response: &[u8]) -> Result<Credentials, Error> {
    let (mut id, mut key, mut token) = (String::new(), String::new(), String::new());
    xml::read(response, |node| {
        if let Node::End([_, _, "Credentials", field], text) = node {
            match *field {
                "AccessKeyId" => id = text,
                "SecretAccessKey" => key = text,
                "SessionToken" => token = text,
                _ => {}
            }
        }
        Ok(())
    })?;
    if id.is_empty() || key.is_empty() {
        let why = "the token service gave no credentials";
        return Err(Error::Response(why.to_owned()));
    }
    Ok(Credentials {
        access_key_id: id,
        secret_access_key: Secret::new(key),
        session_token: (!token.is_empty()).then(|| Secret::new(token)),
        expires: None::<SystemTime>,
    })
}
