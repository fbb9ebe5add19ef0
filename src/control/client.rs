//! A client of the control plane for the command line, over the Unix socket.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::{Method, Request, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// The gateway gives a request less, checks that wait for others included.
const PATIENCE: Duration = Duration::from_secs(1860);
/// The longest answer that is read, in bytes.
const LONGEST: usize = 256 * 1024 * 1024;

/// Asks the gateway that serves this socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    socket: PathBuf,
}

/// What it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: StatusCode,
    pub media_type: String,
    pub body: Bytes,
}

/// Why there is no answer. The texts are for people, and say what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Nobody serves the socket.
    #[error("{}", absent(.0))]
    Absent(PathBuf),
    /// The system does not let us.
    #[error("the control socket {} cannot be used: {}", .0.display(), .1)]
    Denied(PathBuf, String),
    /// Something else came than an answer.
    #[error("the gateway at {} does not answer as it should: {}", .0.display(), .1)]
    Broken(PathBuf, String),
    /// The request cannot be made.
    #[error("{0}")]
    Request(String),
}

fn absent(socket: &Path) -> String {
    format!(
        "no gateway answers at {}. This command needs a running one: start it (systemctl start nuncio, or nuncio run). If it \
         runs, its socket is somewhere else: name it with --socket, as [control] socket in its configuration says; its log \
         says at the start if it could not make one",
        socket.display()
    )
}

impl Client {
    /// For the gateway with this socket.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// Where it asks.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Makes a request and waits for the answer, whatever its status.
    ///
    /// # Errors
    /// Nobody answers, or not as HTTP.
    pub async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Reply, ClientError> {
        match timeout(PATIENCE, self.exchange(method, path, body)).await {
            Ok(reply) => reply,
            Err(_) => Err(self.broken(format!("nothing within {} s", PATIENCE.as_secs()))),
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Reply, ClientError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => ClientError::Absent(self.socket.clone()),
            _ => ClientError::Denied(self.socket.clone(), error.to_string()),
        })?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(error))?;
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
        let body = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Bytes::from(body.to_string())
            }
            None => Bytes::new(),
        };
        let request = request
            .body(Full::new(body))
            .map_err(|error| ClientError::Request(format!("{path}: {error}")))?;
        // It ends with the connection.
        let driver = tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(|error| self.broken(error))?;
        let status = response.status();
        let media_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = media_type.unwrap_or_default().to_owned();
        let body = Limited::new(response.into_body(), LONGEST).collect().await;
        let body = body.map_err(|error| self.broken(error))?.to_bytes();
        driver.abort();
        Ok(Reply { status, media_type, body })
    }

    fn broken(&self, why: impl ToString) -> ClientError {
        ClientError::Broken(self.socket.clone(), why.to_string())
    }
}

impl Reply {
    /// The JSON in it.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// What a refusal says, for people.
    pub fn refusal(&self) -> String {
        let document = self.json().unwrap_or_default();
        let text =
            |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut sentence = match text(&document, "detail") {
            detail if detail.is_empty() => format!("the gateway answered {}", self.status),
            detail => detail,
        };
        for error in document.get("errors").and_then(Value::as_array).into_iter().flatten() {
            sentence.push_str(&format!("\n  {}: {}", text(error, "place"), text(error, "text")));
        }
        sentence
    }
}

/// A part of a path, or a value in a query, as it may stand there.
pub fn escaped(text: &str) -> String {
    use std::fmt::Write as _;
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}
