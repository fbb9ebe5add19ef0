//! A gateway that hangs: who asks it is told so soon, and who waits for one that is only long about it is not.

use std::io::ErrorKind;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::http::Method;
use nuncio::control::client::{Client, ClientError};
use nuncio_world::wait::until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixSocket, UnixStream};

use crate::town::Town;

/// Whether all threads of the process are stopped: a signal takes its time to reach them.
fn stands_still(process: u32) -> Result<bool> {
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let stat = std::fs::read_to_string(thread?.path().join("stat"))?;
        if !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[tokio::test]
async fn who_asks_a_gateway_that_is_stopped_is_told_its_process_and_what_lets_it_go_on() -> Result<()> {
    const SHORT: Duration = Duration::from_millis(100);
    let town = Town::found().await?;
    let gateway = town.gateway("").await?;
    let client = Client::new(town.control());
    ensure!(client.ask(Method::GET, "/v1/status", None).await?.status.is_success());
    gateway.signal("STOP").await?;
    until("every thread of the gateway to stand still", || async {
        stands_still(gateway.pid()).unwrap_or(false)
    })
    .await?;
    let hurried = client.clone().with_patience(SHORT, SHORT);
    for (method, path, changes) in [
        (Method::GET, "/v1/status", false),
        (Method::POST, "/v1/partners?dry_run=true", false),
        (Method::POST, "/v1/reload", true),
    ] {
        let error = hurried.ask(method.clone(), path, None).await.err().context("it answered")?;
        ensure!(matches!(error, ClientError::Silent { .. }), "{method} {path}: {error}");
        let said = error.to_string();
        let fix = format!("kill -CONT {} lets it go on", gateway.pid());
        ensure!(said.contains("is stopped (state T)") && said.contains(&fix), "{method} {path}: {said}");
        ensure!(said.contains("it may still do") == changes, "{method} {path}: {said}");
    }
    gateway.signal("CONT").await?;
    ensure!(client.ask(Method::GET, "/v1/status", None).await?.status.is_success());
    Ok(())
}

/// Reads a request, and answers with this.
async fn answer(stream: &mut UnixStream, body: &str) -> Result<String> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        ensure!(stream.read_buf(&mut request).await? > 0, "half a request");
    }
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length";
    // Whoever asked may have been answered elsewhere meanwhile.
    let _ = stream.write_all(format!("{head}: {}\r\n\r\n{body}", body.len()).as_bytes()).await;
    Ok(String::from_utf8(request)?)
}

#[tokio::test]
async fn who_waits_for_something_long_goes_on_waiting_while_the_gateway_shows_signs_of_life() -> Result<()> {
    const SIGNS: usize = 3;
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("control.sock");
    let listener = UnixListener::bind(&socket)?;
    let gateway = async {
        let (mut long, _) = listener.accept().await?;
        for sign in 0..SIGNS {
            let (mut probe, _) = listener.accept().await?;
            // Closing it says as much as an answer: too many connections of one user are closed.
            if sign > 0 {
                let asked = answer(&mut probe, "{}").await?;
                ensure!(asked.starts_with("GET /health/live "), "{asked}");
            }
        }
        answer(&mut long, "\"done\"").await
    };
    let client = Client::new(&socket).with_patience(Duration::from_millis(20), Duration::from_secs(600));
    let (reply, asked) = tokio::join!(client.ask(Method::GET, "/v1/checks/dns", None), gateway);
    ensure!(asked?.starts_with("GET /v1/checks/dns "));
    ensure!(reply?.json() == Some("done".into()));
    Ok(())
}

/// Its queue is full: nobody has taken anything from it for long (unix(7)).
#[tokio::test]
async fn who_finds_no_place_in_the_queue_of_a_gateway_is_told_that_it_takes_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("control.sock");
    let socket = UnixSocket::new_stream()?;
    socket.bind(&path)?;
    let _gateway = socket.listen(1)?;
    let mut waiting = Vec::new();
    let full = loop {
        match UnixStream::connect(&path).await {
            Ok(stream) => waiting.push(stream),
            Err(error) => break error,
        }
        ensure!(waiting.len() < 100, "the queue has no end");
    };
    ensure!(full.kind() == ErrorKind::WouldBlock, "{full}");
    let error = Client::new(&path).ask(Method::GET, "/v1/status", None).await.err().context("an answer")?;
    ensure!(matches!(error, ClientError::Silent { .. }), "{error:?}");
    let said = error.to_string();
    for part in ["takes no connection any more", "systemctl restart nuncio", path.to_str().context("path")?] {
        ensure!(said.contains(part), "{part} is not in {said}");
    }
    Ok(())
}
