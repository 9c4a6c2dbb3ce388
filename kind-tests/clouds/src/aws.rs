//! Security Token Service, Elastic Container Registry and Key Management Service.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::server::{Answer, ECR_PASSWORD, Request, State, json as json_answer};
use crate::signature;

fn xml_error(status: u16, code: &str, message: &str) -> Answer {
    let body = format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n  <Error>\n    <Type>Sender</Type>\n    <Code>{code}</Code>\n    <Message>{message}</Message>\n  </Error>\n  <RequestId>request-1</RequestId>\n</ErrorResponse>\n"
    );
    (status, "text/xml", body)
}

/// Issues credentials of a role: `AssumeRoleWithWebIdentity`, unsigned, and `AssumeRole`, signed.
pub(crate) fn sts(state: &mut State, request: &Request) -> Answer {
    let region = request.host.split('.').nth(1).unwrap_or_default();
    let form = "application/x-www-form-urlencoded";
    let session = request.field("RoleSessionName");
    let name_fits = (2..=64).contains(&session.len())
        && session
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@-_".contains(&byte));
    if request.method != "POST"
        || request.target != "/"
        || !request.header("content-type").starts_with(form)
        || request.field("Version") != "2011-06-15"
        || !name_fits
    {
        return xml_error(400, "ValidationError", "1 validation error detected");
    }
    let role = request.field("RoleArn");
    let names = request.fields();
    match request.field("Action").as_str() {
        "AssumeRoleWithWebIdentity" => {
            let expected = [
                "Action",
                "RoleArn",
                "RoleSessionName",
                "Version",
                "WebIdentityToken",
            ];
            if names != expected || !request.header("authorization").is_empty() {
                return xml_error(400, "ValidationError", "unexpected parameters");
            }
            if !state.is_trusted(&role, &request.field("WebIdentityToken")) {
                let message = "Not authorized to perform sts:AssumeRoleWithWebIdentity";
                return xml_error(403, "AccessDenied", message);
            }
        }
        "AssumeRole" => {
            if let Err(why) = signature::check(state, request, region, "sts") {
                return xml_error(403, "SignatureDoesNotMatch", &why);
            }
        }
        _ => return xml_error(400, "InvalidAction", "Could not find operation"),
    }
    let action = request.field("Action");
    let number = state.next();
    let (id, secret, token) = (
        format!("ASIA{number:016}"),
        format!("secret/key+{number}"),
        format!("session//token+{number}=="),
    );
    let expires = state.expiry();
    state
        .keys
        .insert(id.clone(), (secret.clone(), token.clone(), role));
    let body = format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n  <{action}Result>\n    <Credentials>\n      <AccessKeyId>{id}</AccessKeyId>\n      <SecretAccessKey>{secret}</SecretAccessKey>\n      <SessionToken>{token}</SessionToken>\n      <Expiration>{expires:.0}</Expiration>\n    </Credentials>\n  </{action}Result>\n</{action}Response>\n"
    );
    (200, "text/xml", body)
}

/// Issues logins, of the private registries and of the public one.
pub(crate) fn ecr(state: &State, request: &Request) -> Answer {
    let refuse =
        |kind: &str, message: &str| json_answer(400, &json!({"__type": kind, "message": message}));
    let is_public = request.host.starts_with("api.ecr-public.");
    let region = request.host.split('.').nth(2).unwrap_or_default();
    let (service, target) = if is_public {
        ("ecr-public", "SpencerFrontendService.GetAuthorizationToken")
    } else {
        (
            "ecr",
            "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken",
        )
    };
    if request.method != "POST"
        || request.target != "/"
        || request.header("content-type") != "application/x-amz-json-1.1"
        || request.header("x-amz-target") != target
        || request.body != "{}"
    {
        return refuse("SerializationException", "malformed request");
    }
    if let Err(why) = signature::check(state, request, region, service) {
        return refuse("com.amazonaws#InvalidSignatureException", &why);
    }
    let token = STANDARD.encode(format!("AWS:{ECR_PASSWORD}"));
    let expires = state.expiry().as_second();
    let data = json!({"authorizationToken": token, "expiresAt": expires as f64 - 0.75});
    let data = if is_public { data } else { json!([data]) };
    json_answer(200, &json!({"authorizationData": data}))
}

/// Decrypts what it is given: the plaintext is the ciphertext.
pub(crate) fn kms(state: &State, request: &Request) -> Answer {
    let region = request.host.split('.').nth(1).unwrap_or_default();
    if let Err(why) = signature::check(state, request, region, "kms") {
        return json_answer(
            400,
            &json!({"__type": "InvalidSignatureException", "message": why}),
        );
    }
    let body: serde_json::Value = serde_json::from_str(&request.body).unwrap_or_default();
    let blob = &body["CiphertextBlob"];
    if request.header("x-amz-target") != "TrentService.Decrypt" || !blob.is_string() {
        return json_answer(
            400,
            &json!({"__type": "ValidationException", "Message": "no blob"}),
        );
    }
    json_answer(200, &json!({"Plaintext": blob}))
}
