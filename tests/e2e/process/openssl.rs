//! `openssl s_client` and `s_server` as a front end that has only some cipher suites, and SIP through their pipes.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, Result};
use nuncio_world::pki::{Credential, Pki};
use nuncio_world::process::Log;
use nuncio_world::sip_text::SipMessage;
use nuncio_world::wait::{until, within};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// One of the two programs, with what goes through it.
pub(crate) struct OpenSsl {
    _child: Child,
    input: ChildStdin,
    output: ChildStdout,
    buffer: Vec<u8>,
    /// What it says about itself.
    pub(crate) log: Arc<Log>,
}

impl OpenSsl {
    /// Calls the gateway, which must prove to be `nuncio.contoso.com`.
    pub(crate) fn calls(pki: &Pki, to: SocketAddr, presents: &Credential, suites: &str) -> Result<Self> {
        let mut command = client(pki, to, presents, suites);
        command.args(["-quiet", "-verify_return_error", "-verify_hostname", "nuncio.contoso.com"]);
        Self::start(command)
    }

    /// Takes calls, one after the other; who calls must present a certificate that the root vouches for.
    pub(crate) async fn listens(
        pki: &Pki,
        at: SocketAddr,
        presents: &Credential,
        suites: &str,
    ) -> Result<Self> {
        // One that has just been dropped may still hold the address.
        until("the address of openssl to be free", || async move { TcpListener::bind(at).await.is_ok() })
            .await?;
        let mut command = Command::new("openssl");
        command.args(["s_server", "-accept"]).arg(at.to_string()).args(["-quiet", "-Verify", "2"]);
        command.arg("-verify_return_error");
        common(&mut command, pki, presents, suites);
        Self::start(command)
    }

    fn start(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("cannot start openssl")?;
        let input = child.stdin.take().context("openssl has no input")?;
        let output = child.stdout.take().context("openssl has no output")?;
        let errors = child.stderr.take().context("openssl has no errors")?;
        let log = Log::new("openssl");
        let said = Arc::clone(&log);
        tokio::spawn(async move {
            let mut lines = BufReader::new(errors).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                said.push(line);
            }
        });
        Ok(Self { _child: child, input, output, buffer: Vec::new(), log })
    }

    pub(crate) async fn send(&mut self, text: &str) -> Result<()> {
        self.input.write_all(text.as_bytes()).await?;
        Ok(self.input.flush().await?)
    }

    /// The next message that came through.
    pub(crate) async fn next(&mut self) -> Result<SipMessage> {
        let reading = async {
            loop {
                if let Some(message) = SipMessage::take(&mut self.buffer)? {
                    return Ok(message);
                }
                let read = self.output.read_buf(&mut self.buffer).await?;
                anyhow::ensure!(read > 0, "openssl has ended:\n{}", self.log.text());
            }
        };
        within("a SIP message through openssl", reading).await?
    }

    /// The next MESSAGE, which is taken; whatever else comes is as well.
    pub(crate) async fn next_message(&mut self) -> Result<SipMessage> {
        loop {
            let request = self.next().await?;
            self.send(&request.answer(200, "OK", &[])?).await?;
            if request.method() == Some("MESSAGE") {
                return Ok(request);
            }
        }
    }
}

/// What a client with these suites sees of the gateway's handshake, its certificate among it, and of what comes of these
/// `orders` afterwards.
pub(crate) async fn looks(
    pki: &Pki,
    to: SocketAddr,
    presents: &Credential,
    suites: &str,
    orders: &str,
) -> Result<String> {
    let mut command = client(pki, to, presents, suites);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().context("cannot start openssl")?;
    let mut input = child.stdin.take().context("openssl has no input")?;
    input.write_all(orders.as_bytes()).await?;
    drop(input);
    let output = within("openssl s_client", child.wait_with_output()).await??;
    Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

fn client(pki: &Pki, to: SocketAddr, presents: &Credential, suites: &str) -> Command {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect"]).arg(to.to_string()).args(["-servername", "nuncio.contoso.com"]);
    common(&mut command, pki, presents, suites);
    command
}

fn common(command: &mut Command, pki: &Pki, presents: &Credential, suites: &str) {
    command.args(["-tls1_2", "-cipher", suites, "-cert"]).arg(&presents.certificate_file);
    command.arg("-key").arg(&presents.key_file).arg("-CAfile").arg(pki.roots_file());
}
