//! What the gateway says of itself when it is asked (SIGUSR1), read from its log.

use anyhow::{Context, Result};

/// One report.
#[derive(Debug)]
pub struct Status {
    lines: Vec<String>,
}

/// What the gateway says of the lane to one domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneStatus {
    /// Whether there is a stream.
    pub open: bool,
    /// Messages that have not left.
    pub waiting: u64,
    /// Messages that have left and are not proved processed.
    pub unconfirmed: u64,
    /// Messages proved processed since the start.
    pub confirmed: u64,
    /// Messages for which no proof came in time.
    pub given_up: u64,
    /// Answers that were dropped.
    pub replies_dropped: u64,
    /// Why there is no stream; `none`.
    pub failure: String,
}

impl Status {
    pub(crate) fn new(lines: Vec<String>) -> Self {
        Self { lines }
    }

    /// The lane from `contoso.com` to the domain.
    pub fn lane(&self, domain: &str) -> Result<LaneStatus> {
        let about = format!(" from=contoso.com to={domain} ");
        let line = self.lines.iter().find(|line| line.contains("status: lane") && line.contains(&about));
        let line = line.with_context(|| format!("no lane to {domain}: {:?}", self.lines))?;
        let text = |name| field(line, name).with_context(|| format!("no {name} in {line}"));
        let number = |name| anyhow::Ok(text(name)?.parse()?);
        Ok(LaneStatus {
            open: text("stream")? == "open",
            waiting: number("waiting")?,
            unconfirmed: number("unconfirmed")?,
            confirmed: number("confirmed_since_start")?,
            given_up: number("given_up_unconfirmed")?,
            replies_dropped: number("replies_dropped")?,
            failure: text("failure")?.to_owned(),
        })
    }

    /// A counter. What never happened is not listed.
    pub fn count(&self, counter: &str) -> Result<u64> {
        let named = |line: &&String| field(line, "counter") == Some(counter);
        let Some(line) = self.lines.iter().find(named) else { return Ok(0) };
        Ok(field(line, "count").with_context(|| format!("no count in {line}"))?.parse()?)
    }
}

/// The value of ` name=value` or ` name="value"`.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!(" {name}="))?;
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split(' ').next(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_and_a_counter_are_read() {
        let status = Status::new(vec![
            "x INFO nuncio: status: lane to a partner from=contoso.com to=a.example stream=\"none\" waiting=3 \
             replies=0 unconfirmed=2 confirmed_since_start=11 given_up_unconfirmed=1 replies_dropped=4 \
             failure=\"no route to it\""
                .to_owned(),
            "x INFO nuncio: status: counted since the start counter=\"late_errors\" count=5".to_owned(),
        ]);
        let (failure, open) = ("no route to it".to_owned(), false);
        let lane = LaneStatus {
            open,
            waiting: 3,
            unconfirmed: 2,
            confirmed: 11,
            given_up: 1,
            replies_dropped: 4,
            failure,
        };
        assert_eq!(status.lane("a.example").unwrap(), lane);
        assert!(status.lane("b.example").is_err());
        assert_eq!((status.count("late_errors").unwrap(), status.count("others").unwrap()), (5, 0));
    }
}
