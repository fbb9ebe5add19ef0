//! What a load balancer says before a connection (PROXY protocol, version 2).

use super::header::{FIXED, Header, MOST, Progress, read};

/// A header is taken, asked for more of, or refused, and what is taken does not depend on how it came: as a reader reads it,
/// who takes exactly what is asked for, and never more than a header may have.
pub fn header(data: &[u8]) {
    let mut taken = 0;
    let last = loop {
        let so_far = data.get(..taken).unwrap_or(data);
        match read(so_far) {
            Ok(Progress::Needs(more)) => {
                assert!(more > 0 && taken + more <= FIXED + MOST, "{taken} + {more}");
                if taken + more > data.len() {
                    break None;
                }
                taken += more;
            }
            decided => break Some(decided),
        }
    };
    match last {
        Some(Ok(Progress::Done(Header::Proxied { source, .. }))) => {
            assert!(source.port() != 0 && !source.ip().is_unspecified());
            // What stands behind a header is no part of it.
            assert_eq!(read(&data[..taken]), last.unwrap());
            octet_by_octet(&data[..taken]);
        }
        Some(Ok(_)) => octet_by_octet(&data[..taken]),
        Some(Err(_)) | None => {}
    }
}

/// One octet less than the whole is never enough, and never refused.
fn octet_by_octet(whole: &[u8]) {
    for cut in 0..whole.len() {
        assert!(matches!(read(&whole[..cut]), Ok(Progress::Needs(_))), "cut at {cut}");
    }
}
