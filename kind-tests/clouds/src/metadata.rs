//! Metadata servers and agents of machines and containers.

use serde_json::json;

use crate::server::{Answer, Request, State};

/// The session of EC2's metadata server.
const SESSION: &str = "imds-session";
/// The token of the container's agent.
const AGENT: &str = "agent-token";

fn text(status: u16, body: &str) -> Answer {
    (status, "text/plain", body.to_owned())
}

pub(crate) fn answer(state: &mut State, request: &Request) -> Answer {
    let path = request.path().to_owned();
    match (request.method.as_str(), path.as_str()) {
        ("PUT", "/latest/api/token") => {
            let life = request.header("x-aws-ec2-metadata-token-ttl-seconds");
            if life
                .parse::<u32>()
                .is_ok_and(|life| (1..=21600).contains(&life))
            {
                text(200, SESSION)
            } else {
                text(400, "")
            }
        }
        ("GET", path) if path.starts_with("/latest/meta-data/") => {
            if request.header("x-aws-ec2-metadata-token") != SESSION {
                return text(401, "");
            }
            match path.strip_prefix("/latest/meta-data/iam/security-credentials/") {
                Some("") => text(200, "node-role\n"),
                Some("node-role") => keys(state, "Success"),
                _ => text(404, ""),
            }
        }
        ("GET", "/v1/credentials") => {
            if request.header("authorization") == AGENT {
                keys(state, "")
            } else {
                answer_error(401)
            }
        }
        ("GET", "/metadata/identity/oauth2/token") => {
            let resource = request.parameter("resource");
            if request.header("metadata") != "true"
                || request.parameter("api-version") != "2018-02-01"
                || resource.is_empty()
                || resource.ends_with("/.default")
            {
                return answer_error(400);
            }
            let token = format!("managed-token-{}", state.next());
            state
                .tokens
                .insert(token.clone(), format!("{resource}/.default"));
            let (life, until) = (state.life.as_secs(), state.expiry().as_second());
            json_text(
                &json!({"access_token": token, "expires_in": life.to_string(),
                "expires_on": until.to_string(), "resource": resource, "token_type": "Bearer"}),
            )
        }
        ("GET", path) if path.starts_with("/computeMetadata/v1/") => google(state, request, path),
        _ => text(404, ""),
    }
}

fn google(state: &mut State, request: &Request, path: &str) -> Answer {
    if request.header("metadata-flavor") != "Google" {
        return text(403, "");
    }
    match path
        .strip_prefix("/computeMetadata/v1/")
        .unwrap_or_default()
    {
        "project/project-id" => text(200, "project-1"),
        "instance/attributes/cluster-location" => text(200, "europe-west1"),
        "instance/attributes/cluster-name" => text(200, "cluster-1"),
        "instance/service-accounts/default/token" => {
            let token = format!("google-node-{}", state.next());
            let life = state.life.as_secs();
            json_text(&json!({"access_token": token, "expires_in": life, "token_type": "Bearer"}))
        }
        _ => text(404, ""),
    }
}

/// New access keys as metadata servers write them.
fn keys(state: &mut State, code: &str) -> Answer {
    let number = state.next();
    let (id, secret, token) = (
        format!("ASIANODE{number:012}"),
        format!("node-secret-{number}"),
        format!("node-session-{number}"),
    );
    let key = (secret.clone(), token.clone(), "node-role".to_owned());
    state.keys.insert(id.clone(), key);
    let expires = format!("{:.0}", state.expiry());
    json_text(
        &json!({"Code": code, "AccessKeyId": id, "SecretAccessKey": secret, "Token": token,
        "Expiration": expires}),
    )
}

fn json_text(value: &serde_json::Value) -> Answer {
    answer_json(200, value)
}

fn answer_error(status: u16) -> Answer {
    answer_json(
        status,
        &json!({"error": "invalid_request", "error_description": "refused"}),
    )
}

fn answer_json(status: u16, value: &serde_json::Value) -> Answer {
    crate::server::json(status, value)
}
