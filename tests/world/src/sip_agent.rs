//! A SIP agent over TLS that can present any certificate: a front end that calls and one that is called.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsStream;
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::pki::{Credential, Pki};
use crate::sip_text::SipMessage;
use crate::tls;
use crate::wait::within;

/// One TLS connection to or from the gateway.
#[derive(Debug)]
pub struct SipConnection {
    reader: ReadHalf<TlsStream<TcpStream>>,
    writer: WriteHalf<TlsStream<TcpStream>>,
    buffer: Vec<u8>,
    sent: u64,
    own: SocketAddr,
    last_sent: String,
    shown: Option<CertificateDer<'static>>,
}

impl SipConnection {
    /// Connects to the gateway, which must prove to be `name`.
    pub async fn connect(
        pki: &Pki,
        presents: Option<&Credential>,
        name: &str,
        address: SocketAddr,
    ) -> Result<Self> {
        Self::over(tls::dial(pki, presents, name, address).await?)
    }

    /// The same over a connection that is there already, whatever was said on it.
    pub async fn connect_over(
        tcp: TcpStream,
        pki: &Pki,
        presents: Option<&Credential>,
        name: &str,
    ) -> Result<Self> {
        Self::over(tls::connect(pki, presents, name, tcp).await?)
    }

    fn over(stream: TlsStream<TcpStream>) -> Result<Self> {
        let own = stream.get_ref().0.local_addr()?;
        let shown = tls::presented(&stream);
        let (reader, writer) = split(stream);
        Ok(Self { reader, writer, buffer: Vec::new(), sent: 0, own, last_sent: String::new(), shown })
    }

    /// The certificate that the other side showed.
    pub fn shown(&self) -> Option<&CertificateDer<'static>> {
        self.shown.as_ref()
    }

    /// Sends a pager MESSAGE and returns its Call-ID.
    pub async fn send_message(&mut self, from: &str, to: &str, body: &str) -> Result<String> {
        self.sent += 1;
        let call_id = format!("c{}-{}", self.own.port(), self.sent);
        let own = self.own;
        self.send_raw(&format!(
            "MESSAGE sip:{to} SIP/2.0\r\n\
             Via: SIP/2.0/TLS {own};branch=z9hG4bK-{call_id}\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:{from}>;tag=f{call_id}\r\n\
             To: <sip:{to}>\r\n\
             Call-ID: {call_id}\r\n\
             CSeq: 1 MESSAGE\r\n\
             Content-Type: text/plain;charset=UTF-8\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await?;
        Ok(call_id)
    }

    /// Asks with OPTIONS and returns the Call-ID.
    pub async fn send_options(&mut self, to: &str) -> Result<String> {
        self.sent += 1;
        let call_id = format!("o{}-{}", self.own.port(), self.sent);
        let own = self.own;
        self.send_raw(&format!(
            "OPTIONS sip:{to} SIP/2.0\r\nVia: SIP/2.0/TLS {own};branch=z9hG4bK-{call_id}\r\nMax-Forwards: 70\r\n\
             From: <sip:{to}>;tag=f{call_id}\r\nTo: <sip:{to}>\r\nCall-ID: {call_id}\r\nCSeq: 1 OPTIONS\r\n\
             Content-Length: 0\r\n\r\n"
        ))
        .await?;
        Ok(call_id)
    }

    /// Asks for the presence of somebody and returns the Call-ID.
    pub async fn send_subscribe(&mut self, from: &str, to: &str) -> Result<String> {
        self.sent += 1;
        let call_id = format!("s{}-{}", self.own.port(), self.sent);
        let own = self.own;
        self.send_raw(&format!(
            "SUBSCRIBE sip:{to} SIP/2.0\r\nVia: SIP/2.0/TLS {own};branch=z9hG4bK-{call_id}\r\nMax-Forwards: 70\r\n\
             From: <sip:{from}>;tag=f{call_id}\r\nTo: <sip:{to}>\r\nCall-ID: {call_id}\r\nCSeq: 1 SUBSCRIBE\r\n\
             Contact: <sip:{from};transport=tls>\r\nEvent: presence\r\nExpires: 3600\r\nContent-Length: 0\r\n\r\n"
        ))
        .await?;
        Ok(call_id)
    }

    /// Sends any bytes.
    pub async fn send_raw(&mut self, text: &str) -> Result<()> {
        text.clone_into(&mut self.last_sent);
        self.writer.write_all(text.as_bytes()).await?;
        Ok(self.writer.flush().await?)
    }

    /// The next message; `None` when the gateway has closed the connection.
    pub async fn next(&mut self) -> Result<Option<SipMessage>> {
        let message = within("a SIP message", read_message(&mut self.reader, &mut self.buffer)).await??;
        if message.is_none() {
            // As a front end does: the end is answered with the end.
            self.writer.shutdown().await.ok();
        }
        Ok(message)
    }

    /// The final answer to the request with that Call-ID.
    pub async fn final_answer(&mut self, call_id: &str) -> Result<SipMessage> {
        loop {
            let message = self.next().await?.context("the connection ended before the answer")?;
            let status = message.status().with_context(|| format!("a request came:\n{message}"))?;
            if status >= 200 && message.header("Call-ID") == Some(call_id) {
                return Ok(message);
            }
            ensure!(status < 200, "an answer to something else:\n{message}");
        }
    }

    /// The bytes sent last.
    pub fn last_sent(&self) -> &str {
        &self.last_sent
    }
}

/// What an agent answers to a MESSAGE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// This status and reason.
    Status(u16, &'static str),
    /// Nothing, ever.
    Silence,
}

type Rule = dyn Fn(&SipMessage) -> Reply + Send + Sync;

/// A front end that the gateway connects to.
#[derive(Debug)]
pub struct SipServer {
    inbox: mpsc::UnboundedReceiver<SipMessage>,
    connections: Arc<AtomicU64>,
    /// What the gateway has presented on the last of them.
    shown: Arc<Mutex<Option<CertificateDer<'static>>>>,
    task: JoinHandle<()>,
}

impl SipServer {
    /// Listens with the certificate, answers every request by the rule, and keeps the requests.
    pub async fn listen(
        pki: &Pki,
        presents: &Credential,
        address: SocketAddr,
        rule: impl Fn(&SipMessage) -> Reply + Send + Sync + 'static,
    ) -> Result<Self> {
        let acceptor = tls::acceptor(pki, presents)?;
        let listener =
            TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
        let (arrived, inbox) = mpsc::unbounded_channel();
        let rule: Arc<Rule> = Arc::new(rule);
        let connections = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&connections);
        let shown = Arc::new(Mutex::new(None));
        let last = Arc::clone(&shown);
        let task = tokio::spawn(async move {
            // They end with the server.
            let mut serving = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                tcp.set_nodelay(true).ok();
                let (acceptor, rule, arrived) = (acceptor.clone(), Arc::clone(&rule), arrived.clone());
                let (count, last) = (Arc::clone(&count), Arc::clone(&last));
                serving.spawn(async move {
                    if let Ok(stream) = acceptor.accept(tcp).await {
                        let stream = stream.into();
                        *last.lock().await = tls::presented(&stream);
                        count.fetch_add(1, Ordering::Relaxed);
                        let _ = serve(stream, &rule, &arrived).await;
                    }
                });
            }
        });
        Ok(Self { inbox, connections, shown, task })
    }

    /// The next request.
    pub async fn next(&mut self) -> Result<SipMessage> {
        within("a request at the front end", self.inbox.recv()).await?.context("the front end has ended")
    }

    /// The next MESSAGE; other requests are dropped.
    pub async fn next_message(&mut self) -> Result<SipMessage> {
        loop {
            let request = self.next().await?;
            if request.method() == Some("MESSAGE") {
                return Ok(request);
            }
        }
    }

    /// What has come and was not looked at.
    pub fn waiting(&mut self) -> Vec<SipMessage> {
        std::iter::from_fn(|| self.inbox.try_recv().ok()).collect()
    }

    /// It is gone, and its connections with it. Returns what had come and was not looked at.
    pub async fn kill(mut self) -> Vec<SipMessage> {
        self.task.abort();
        let mut rest = Vec::new();
        while let Some(request) = self.inbox.recv().await {
            rest.push(request);
        }
        rest
    }

    /// The certificate that the gateway has presented on the connection it made last.
    pub async fn last_shown(&self) -> Option<CertificateDer<'static>> {
        self.shown.lock().await.clone()
    }

    /// How many TLS connections the gateway has made.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for SipServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    stream: TlsStream<TcpStream>,
    rule: &Arc<Rule>,
    arrived: &mpsc::UnboundedSender<SipMessage>,
) -> Result<()> {
    let (mut reader, writer) = split(stream);
    let writer = Mutex::new(writer);
    let mut buffer = Vec::new();
    while let Some(message) = read_message(&mut reader, &mut buffer).await? {
        if message.status().is_some() {
            bail!("an answer to nothing:\n{message}");
        }
        let answer = match rule(&message) {
            Reply::Status(status, reason) => Some(message.answer(status, reason, &[])?),
            Reply::Silence => None,
        };
        // First: who is killed while he answers has got the request all the same.
        arrived.send(message).ok();
        if let Some(answer) = answer {
            let mut writer = writer.lock().await;
            writer.write_all(answer.as_bytes()).await?;
            writer.flush().await?;
        }
    }
    Ok(())
}

pub(crate) async fn read_message(
    reader: &mut ReadHalf<TlsStream<TcpStream>>,
    buffer: &mut Vec<u8>,
) -> Result<Option<SipMessage>> {
    let mut chunk = vec![0; 16 * 1024];
    loop {
        if let Some(message) = SipMessage::take(buffer)? {
            return Ok(Some(message));
        }
        match reader.read(&mut chunk).await {
            Ok(count @ 1..) => buffer.extend_from_slice(&chunk[..count]),
            // Whether the other side said good-bye to TLS first is its own affair.
            Ok(0) | Err(_) => return Ok(None),
        }
    }
}
