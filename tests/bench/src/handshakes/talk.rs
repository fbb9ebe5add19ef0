//! What a stream says besides TLS: the same number of exchanges, of the same size, without any meaning.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes of what the initiator sends, and of the answer that it waits for.
type Exchange = (usize, usize);

/// Headers and features, then STARTTLS.
pub(super) const IN_CLEAR: [Exchange; 2] = [(190, 330), (51, 50)];
/// Headers and features, SASL EXTERNAL, headers and features again, the closing tags.
pub(super) const UNDER_TLS: [Exchange; 4] = [(190, 400), (80, 51), (190, 450), (16, 16)];

const LONGEST: usize = 512;

/// The initiator's part.
pub(super) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    exchanges: &[Exchange],
) -> io::Result<()> {
    for (question, answer) in exchanges {
        say(stream, *question).await?;
        hear(stream, *answer).await?;
    }
    Ok(())
}

/// That of the other one.
pub(super) async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    exchanges: &[Exchange],
) -> io::Result<()> {
    for (question, answer) in exchanges {
        hear(stream, *question).await?;
        say(stream, *answer).await?;
    }
    Ok(())
}

async fn say<S: AsyncWrite + Unpin>(stream: &mut S, bytes: usize) -> io::Result<()> {
    stream.write_all(&[b'x'; LONGEST][..bytes]).await?;
    stream.flush().await
}

async fn hear<S: AsyncRead + Unpin>(stream: &mut S, bytes: usize) -> io::Result<()> {
    stream.read_exact(&mut [0; LONGEST][..bytes]).await.map(drop)
}
