//! A client of the control plane for the command line, over the Unix socket.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use axum::http::{Method, Request, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout};

use crate::config::shown;

/// The gateway gives a request less, checks that wait for others included.
const PATIENCE: Duration = Duration::from_secs(1860);
/// After so long without an answer the gateway is asked whether it lives.
const SILENCE: Duration = Duration::from_secs(10);
/// That it says in this time, be it in the middle of a check that takes half an hour.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);
/// The longest answer that is read, in bytes.
const LONGEST: usize = 256 * 1024 * 1024;

/// Asks the gateway that serves this socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    socket: PathBuf,
    silence: Duration,
    sign_of_life: Duration,
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
    /// It hangs.
    #[error("the gateway at {} has shown no sign of life{}{why}", .socket.display(), so_long(*.waited))]
    Silent { socket: PathBuf, waited: Duration, why: String },
    /// Something else came than an answer.
    #[error("the gateway at {} does not answer as it should: {}", .0.display(), .1)]
    Broken(PathBuf, String),
    /// The request cannot be made.
    #[error("{0}")]
    Request(String),
}

/// A process, and the letter that the system has for its state (proc(5)). The socket may be one that systemd listens at for it.
fn seen(process: i32) -> Option<(i32, char)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (name, rest) = stat.rsplit_once(") ")?;
    let is_manager = name.ends_with("(systemd");
    rest.chars().next().filter(|_| !is_manager).map(|state| (process, state))
}

/// Why it may hang, and what helps.
fn hangs(process: Option<(i32, char)>) -> String {
    const OTHERWISE: &str =
        "journalctl -u nuncio may say why; systemctl restart nuncio ends it and starts it anew";
    match process {
        Some((process, 'T' | 't')) => {
            format!(": its process {process} is stopped (state T): kill -CONT {process} lets it go on")
        }
        Some((process, 'D')) => format!(
            ": its process {process} waits for a disk or another device (state D); dmesg may say for which, and nothing else helps it"
        ),
        Some((process, state)) => format!(": its process {process} hangs (state {state}); {OTHERWISE}"),
        None => format!(": {OTHERWISE}"),
    }
}

fn so_long(waited: Duration) -> String {
    match waited.as_secs() {
        0 => ", and takes no connection any more".to_owned(),
        seconds => format!(" for {seconds} s"),
    }
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
        Self { socket: socket.into(), silence: SILENCE, sign_of_life: SIGN_OF_LIFE }
    }

    /// With other times: after `silence` without an answer it asks whether the gateway lives, and gives up after another
    /// `sign_of_life` without any.
    #[must_use]
    pub fn with_patience(self, silence: Duration, sign_of_life: Duration) -> Self {
        Self { silence, sign_of_life, ..self }
    }

    /// Where it asks.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Makes a request and waits for the answer, whatever its status: as long as the gateway may take for it, and no longer than
    /// it shows signs of life.
    ///
    /// # Errors
    /// Nobody answers, or not as HTTP.
    pub async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Reply, ClientError> {
        let reads = method == Method::GET || path.contains("dry_run=true");
        let asked = Instant::now();
        let mut answer = pin!(self.exchange(method, path, body));
        loop {
            if let Ok(reply) = timeout(self.silence, &mut answer).await {
                return reply;
            }
            if asked.elapsed() > PATIENCE {
                return Err(self.broken(format!("nothing within {} s", PATIENCE.as_secs())));
            }
            let lives = tokio::select! {
                biased;
                reply = &mut answer => return reply,
                lives = self.lives() => lives,
            };
            if !lives {
                return Err(self.silent(asked, reads).await);
            }
        }
    }

    /// Whether anything comes back, be it a refusal or the end of the connection: none of these comes from a process that hangs.
    async fn lives(&self) -> bool {
        let sign = timeout(self.sign_of_life, self.exchange(Method::GET, "/health/live", None)).await;
        !matches!(sign, Err(_) | Ok(Err(ClientError::Denied(..) | ClientError::Silent { .. })))
    }

    /// With what can be seen of the process from here. A change that it has been sent it does when it goes on; unless the request only `reads`.
    async fn silent(&self, asked: Instant, reads: bool) -> ClientError {
        let stream = UnixStream::connect(&self.socket).await.ok();
        let process = stream.and_then(|stream| stream.peer_cred().ok()?.pid());
        let mut why = hangs(process.and_then(seen));
        if !reads {
            why.push_str(". What it was asked for it may still do when it goes on");
        }
        self.silent_for(asked.elapsed(), why)
    }

    fn silent_for(&self, waited: Duration, why: String) -> ClientError {
        ClientError::Silent { socket: self.socket.clone(), waited, why }
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Reply, ClientError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => ClientError::Absent(self.socket.clone()),
            // So many have asked and gave up that there is no place in its queue (unix(7)).
            ErrorKind::WouldBlock => self.silent_for(Duration::ZERO, hangs(None)),
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
            .map_err(|error| ClientError::Request(format!("{}: {error}", shown(path))))?;
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
