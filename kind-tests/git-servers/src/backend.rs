//! Runs `git http-backend` as a web server runs a CGI program.

use std::path::Path;
use std::process::Stdio;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{HeaderMap, Response, StatusCode, header};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// The bytes of each request body kept for [`crate::Request::body`].
const KEPT_BODY: usize = 1 << 20;

/// A request to the program.
pub(crate) struct Asked<'a> {
    /// The folder of the repositories.
    pub(crate) root: &'a Path,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) headers: &'a HeaderMap,
    /// The `Git-Protocol` header, if it is passed on.
    pub(crate) protocol: Option<&'a str>,
}

/// The program's response.
pub(crate) struct Answer {
    /// The start of the request's body.
    pub(crate) asked: Vec<u8>,
    pub(crate) response: Response<Body>,
}

/// Runs the program; `sent` is called with the size of each part of its output.
pub(crate) async fn run(
    asked: &Asked<'_>,
    body: Incoming,
    sent: impl Fn(u64) + Send + 'static,
) -> Answer {
    let mut child = command(asked).spawn().expect("start git http-backend");
    let stdin = child.stdin.take().expect("stdin is piped");
    let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
    let (kept, (status, headers)) = tokio::join!(feed(stdin, body), cgi_head(&mut stdout));
    let output = (stdout, child, sent);
    let stream = futures::stream::unfold(output, |(mut stdout, child, sent)| async move {
        let mut buffer = vec![0; 32 * 1024];
        match stdout.read(&mut buffer).await {
            Ok(0) => None,
            Ok(read) => {
                sent(read as u64);
                buffer.truncate(read);
                Some((Ok(Frame::data(Bytes::from(buffer))), (stdout, child, sent)))
            }
            Err(error) => Some((Err(error), (stdout, child, sent))),
        }
    });
    let mut response = Response::new(StreamBody::new(stream).boxed_unsync());
    *response.status_mut() = status;
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (name.parse::<header::HeaderName>(), value.parse()) {
            response.headers_mut().insert(name, value);
        }
    }
    Answer {
        asked: kept,
        response,
    }
}

fn command(asked: &Asked<'_>) -> tokio::process::Command {
    let named = |name: &str| {
        asked
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let mut command = tokio::process::Command::new("git");
    command
        .arg("http-backend")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("GIT_PROJECT_ROOT", asked.root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .env("REQUEST_METHOD", asked.method)
        .env("PATH_INFO", asked.path)
        .env("QUERY_STRING", asked.query)
        .env("REMOTE_USER", "git")
        .env("REMOTE_ADDR", "127.0.0.1")
        .env("CONTENT_TYPE", named("content-type").unwrap_or_default())
        .kill_on_drop(true)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if let Some(length) = named("content-length") {
        command.env("CONTENT_LENGTH", length);
    }
    if let Some(encoding) = named("content-encoding") {
        command.env("HTTP_CONTENT_ENCODING", encoding);
    }
    if let Some(protocol) = asked.protocol {
        command
            .env("HTTP_GIT_PROTOCOL", protocol)
            .env("GIT_PROTOCOL", protocol);
    }
    command
}

/// Passes the request's body to the program and keeps its start.
async fn feed(mut stdin: tokio::process::ChildStdin, mut body: Incoming) -> Vec<u8> {
    let mut kept = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let room = KEPT_BODY.saturating_sub(kept.len()).min(data.len());
        kept.extend_from_slice(&data[..room]);
        if stdin.write_all(&data).await.is_err() {
            break;
        }
    }
    kept
}

/// Reads the headers that a CGI program prints before its body.
async fn cgi_head(
    stdout: &mut BufReader<tokio::process::ChildStdout>,
) -> (StatusCode, Vec<(String, String)>) {
    let mut status = StatusCode::OK;
    let mut headers = Vec::new();
    let mut line = String::new();
    loop {
        line.clear();
        if stdout.read_line(&mut line).await.unwrap_or(0) == 0 {
            return (
                if headers.is_empty() {
                    StatusCode::INTERNAL_SERVER_ERROR
                } else {
                    status
                },
                headers,
            );
        }
        let trimmed = line.trim_end();
        if trimmed.is_empty() {
            return (status, headers);
        }
        if let Some((name, value)) = trimmed.split_once(':') {
            if name.eq_ignore_ascii_case("status") {
                let code = value
                    .trim()
                    .split(' ')
                    .next()
                    .and_then(|code| code.parse().ok());
                status = code.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            } else {
                headers.push((name.to_owned(), value.trim().to_owned()));
            }
        }
    }
}
