//! The connection on which a front end sends its requests, and the answers that come back on it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use tokio::io::{AsyncWriteExt, WriteHalf, split};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsStream;

use crate::World;
use crate::kamailio::Place;
use crate::pki::Credential;
use crate::process::Log;
use crate::sip_agent::read_message;
use crate::sip_text::SipMessage;
use crate::tls;

type Writer = Arc<tokio::sync::Mutex<WriteHalf<TlsStream<TcpStream>>>>;
type Waiting = Arc<Mutex<HashMap<(String, String), oneshot::Sender<SipMessage>>>>;

/// One connection to the gateway.
#[derive(Debug)]
pub(super) struct Line {
    writer: Writer,
    log: Arc<Log>,
    /// Who waits for the answer to which Call-ID and CSeq.
    waiting: Waiting,
    reading: JoinHandle<()>,
}

impl Line {
    pub(super) async fn open(world: &World, place: &Place, credential: &Credential) -> Result<Self> {
        let (name, address) = place.calls;
        let stream = tls::dial(world.pki(), Some(credential), name, address).await?;
        let (mut reader, writer) = split(stream);
        let writer = Arc::new(tokio::sync::Mutex::new(writer));
        let waiting = Waiting::default();
        let log = world.log("front-end");
        let (answers, heard) = (Arc::clone(&waiting), Arc::clone(&log));
        let end = Arc::clone(&writer);
        let reading = tokio::spawn(async move {
            let mut buffer = Vec::new();
            while let Ok(Some(message)) = read_message(&mut reader, &mut buffer).await {
                heard.push(format!("< {message}"));
                let final_answer = message.status().is_some_and(|status| status >= 200);
                match final_answer.then(|| take(&answers, &message)).flatten() {
                    Some(waits) => drop(waits.send(message)),
                    None if message.status().is_some_and(|status| status < 200) => {}
                    None => heard.push(format!("nobody waits for this:\n{message}")),
                }
            }
            // Who still waits is told by this.
            answers.lock().unwrap_or_else(PoisonError::into_inner).clear();
            // As a front end does: the end is answered with the end.
            end.lock().await.shutdown().await.ok();
        });
        Ok(Self { writer, log, waiting, reading })
    }

    /// Sends a request; the answer comes by the receiver.
    pub(super) async fn send(&self, request: &str) -> Result<oneshot::Receiver<SipMessage>> {
        let (tell, answer) = oneshot::channel();
        if let Some(message) = SipMessage::take(&mut request.as_bytes().to_vec())? {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.insert(key(&message), tell);
        }
        self.log.push(format!("> {request}"));
        let mut writer = self.writer.lock().await;
        writer.write_all(request.as_bytes()).await?;
        writer.flush().await?;
        Ok(answer)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.reading.is_finished()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

fn take(waiting: &Waiting, answer: &SipMessage) -> Option<oneshot::Sender<SipMessage>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&key(answer))
}

fn key(message: &SipMessage) -> (String, String) {
    let header = |name| message.header(name).unwrap_or_default().to_owned();
    (header("Call-ID"), header("CSeq"))
}
