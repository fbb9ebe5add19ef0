//! SIP as a front end reads and writes it, no more of it than the measurement needs.

use anyhow::{Context, Result, bail};
use memchr::memmem;

use crate::tally::{ID_DIGITS, identify};

/// An answer, as far as a generator cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The pair in the branch of its Via.
    pub(crate) pair: Option<u32>,
    /// All its bytes.
    pub(crate) size: usize,
}

/// Reads the answer at the beginning of `bytes`, which has no body; `None` if it is not all there yet.
pub(crate) fn answer(
    bytes: &[u8],
    end: &memmem::Finder<'_>,
    branch: &memmem::Finder<'_>,
) -> Result<Option<Answer>> {
    let Some((answer, head)) = answer_with_body(bytes, end, branch)? else { return Ok(None) };
    if answer.size > head.len() + end.needle().len() {
        bail!("an answer with a body: {}", String::from_utf8_lossy(head));
    }
    Ok(Some(answer))
}

/// The same for one that may have a body; its head too.
pub(crate) fn answer_with_body<'a>(
    bytes: &'a [u8],
    end: &memmem::Finder<'_>,
    branch: &memmem::Finder<'_>,
) -> Result<Option<(Answer, &'a [u8])>> {
    let Some(at) = end.find(bytes) else { return Ok(None) };
    let head = bytes.get(..at).unwrap_or_default();
    let status = head
        .strip_prefix(b"SIP/2.0 ")
        .and_then(|rest| std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok())
        .with_context(|| format!("no answer: {}", String::from_utf8_lossy(head)))?;
    let size = at + end.needle().len() + body_length(head)?;
    if bytes.len() < size {
        return Ok(None);
    }
    let id = branch.find(head).and_then(|at| head.get(at + branch.needle().len()..)?.get(..ID_DIGITS));
    let pair = id.and_then(identify).map(|(pair, _)| pair);
    Ok(Some((Answer { status, pair, size }, head)))
}

/// A request, as far as a sink cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    pub(crate) head: &'a [u8],
    pub(crate) body: &'a [u8],
    /// All its bytes.
    pub(crate) size: usize,
}

/// Reads the request at the beginning of `bytes`; `None` if it is not all there yet.
pub(crate) fn request<'a>(bytes: &'a [u8], end: &memmem::Finder<'_>) -> Result<Option<Request<'a>>> {
    let Some(at) = end.find(bytes) else { return Ok(None) };
    let (head, rest) = bytes.split_at(at + end.needle().len());
    let length = body_length(head)?;
    Ok(rest.get(..length).map(|body| Request { head, body, size: head.len() + length }))
}

/// Appends `200 OK` to a request.
pub(crate) fn accept(head: &[u8], out: &mut Vec<u8>) {
    accept_with(head, "", out);
}

/// Appends `200 OK` to an INVITE, with what a client accepts.
pub(crate) fn accept_session(head: &[u8], out: &mut Vec<u8>) {
    const DESCRIPTION: &str = "v=0\r\no=- 0 0 IN IP4 192.0.2.20\r\ns=session\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\n\
                               m=message 5060 sip null\r\na=accept-types:text/plain\r\n";
    let fields = "Contact: <sip:fe.contoso.com:5061;transport=tls>\r\nContent-Type: application/sdp\r\n";
    accept_as(head, fields, DESCRIPTION, out);
}

/// Appends `200 OK` with further header fields (whole lines) to a request.
pub(crate) fn accept_with(head: &[u8], fields: &str, out: &mut Vec<u8>) {
    accept_as(head, fields, "", out);
}

fn accept_as(head: &[u8], fields: &str, body: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"SIP/2.0 200 OK\r\n");
    for line in lines(head) {
        let copied = [&b"Via:"[..], b"From:", b"To:", b"Call-ID:", b"CSeq:"];
        if copied.iter().any(|name| line.starts_with(name)) {
            out.extend_from_slice(line);
            if line.starts_with(b"To:") && memmem::find(line, b";tag=").is_none() {
                out.extend_from_slice(b";tag=sink");
            }
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(fields.as_bytes());
    out.extend_from_slice(format!("Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
}

/// The value of a header field, spelled as the gateway spells it.
pub(crate) fn field<'a>(head: &'a [u8], name: &str) -> Result<&'a [u8]> {
    lines(head)
        .find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b": "))
        .with_context(|| format!("no {name}: {}", String::from_utf8_lossy(head)))
}

/// Length of the body after a head.
pub(crate) fn body_length(head: &[u8]) -> Result<usize> {
    const NAME: &[u8] = b"Content-Length: ";
    // It is the last field or nearly so in what everybody here writes.
    let at =
        memmem::rfind(head, NAME).with_context(|| format!("no length: {}", String::from_utf8_lossy(head)))?;
    let digits = head.get(at + NAME.len()..).unwrap_or_default();
    Ok(digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |length: usize, digit| length.saturating_mul(10).saturating_add(usize::from(digit - b'0'))))
}

fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = head;
    std::iter::from_fn(move || {
        let at = memchr::memchr(b'\r', rest)?;
        let line = rest.get(..at)?;
        rest = rest.get(at + 2..)?;
        Some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Set;
    use crate::template::{constant_answer, request as template};

    #[test]
    fn what_comes_in_pieces_waits_for_the_rest() {
        let mut bytes = Vec::new();
        template(Set::Lync).write(&mut bytes, 5, 1, 3);
        let size = bytes.len();
        bytes.extend_from_slice(b"MESSAGE");
        let end = memmem::Finder::new(b"\r\n\r\n");
        for length in 0..size {
            assert_eq!(request(&bytes[..length], &end).unwrap(), None, "{length}");
        }
        let request = request(&bytes, &end).unwrap().unwrap();
        assert_eq!((request.size, identify(request.body)), (size, Some((5, 3))));
        let mut out = Vec::new();
        accept(request.head, &mut out);
        let text = String::from_utf8(out.clone()).unwrap();
        assert!(text.contains("\r\nTo: <sip:c000005@p0001.bench.example>;tag=sink\r\n"), "{text}");
        let branch = memmem::Finder::new("branch=z9hG4bK");
        let read = answer(&out, &end, &branch).unwrap().unwrap();
        assert_eq!(read, Answer { status: 200, pair: Some(5), size: out.len() });
    }

    #[test]
    fn the_relays_answer_is_one() {
        let (end, branch) = (memmem::Finder::new(b"\r\n\r\n"), memmem::Finder::new("branch=z9hG4bK"));
        let bytes = constant_answer();
        assert_eq!(answer(&bytes, &end, &branch).unwrap().map(|answer| answer.size), Some(bytes.len()));
    }
}
