//! The Date header field: RFC 1123 dates in GMT (RFC 3261 §20.17).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::lex;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// Reads `Sat, 15 Oct 2005 04:44:56 GMT`. `None` for everything else, other zones included: a bad Date is
/// ignored, not refused (RFC 4475 §3.1.2.12). The name of the day is not compared with the date.
pub fn parse_date(value: &str) -> Option<SystemTime> {
    let (day_name, rest) = lex::trim(value).split_once(',')?;
    if !DAYS.iter().any(|d| d.eq_ignore_ascii_case(day_name)) {
        return None;
    }
    let mut words = rest.split(lex::LWS).filter(|w| !w.is_empty());
    let day = lex::number_u32(words.next()?)?;
    let month_name = words.next()?;
    let month = u32::try_from(MONTHS.iter().position(|m| m.eq_ignore_ascii_case(month_name))?).ok()? + 1;
    let year_text = words.next()?;
    let year = lex::number_u32(year_text).filter(|y| year_text.len() == 4 && *y >= 1970)?;
    let mut clock = words.next()?.split(':').map(|part| lex::number_u32(part).filter(|_| part.len() == 2));
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let is_gmt =
        words.next()?.eq_ignore_ascii_case("GMT") && words.next().is_none() && clock.next().is_none();
    if !is_gmt || day == 0 || day > days_in(year, month) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days =
        u64::from(days_before_year(year)) + u64::from(days_before_month(year, month)) + u64::from(day - 1);
    let seconds = days * 86_400 + u64::from(hour * 3600 + minute * 60 + second);
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Writes a time the way [`parse_date`] reads it. Times before 1970 become 1970.
pub fn format_date(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let day_name = usize::try_from(days % 7).ok().and_then(|i| DAYS.get(i)).unwrap_or(&"Thu");
    // The year 9999 is the last one the format can hold.
    let days = u32::try_from(days).unwrap_or(u32::MAX).min(2_932_896);
    let mut year = 1970 + days / 366;
    while days_before_year(year + 1) <= days {
        year += 1;
    }
    let mut rest = days - days_before_year(year);
    let mut month = 1;
    while rest >= days_in(year, month) {
        rest -= days_in(year, month);
        month += 1;
    }
    let month_name = usize::try_from(month - 1).ok().and_then(|i| MONTHS.get(i)).unwrap_or(&"Jan");
    format!(
        "{day_name}, {:02} {month_name} {year} {:02}:{:02}:{:02} GMT",
        rest + 1,
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    )
}

fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in(year: u32, month: u32) -> u32 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_before_month(year: u32, month: u32) -> u32 {
    (1..month).map(|m| days_in(year, m)).sum()
}

/// Days from 1970-01-01 to the first day of `year`.
fn days_before_year(year: u32) -> u32 {
    let before = |y: u32| y / 4 - y / 100 + y / 400;
    (year - 1970) * 365 + before(year - 1) - before(1969)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        let at = |s| UNIX_EPOCH + Duration::from_secs(s);
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Sat, 15 Oct 2005 04:44:56 GMT", 1_129_351_496),
            ("Thu, 29 Feb 2024 23:59:59 GMT", 1_709_251_199),
            ("Sat, 13 Nov 2010 23:29:00 GMT", 1_289_690_940),
            ("Fri, 31 Dec 2100 12:00:00 GMT", 4_133_937_600),
        ] {
            assert_eq!(parse_date(text), Some(at(seconds)), "{text}");
            assert_eq!(format_date(at(seconds)), text);
        }
    }

    #[test]
    fn not_dates() {
        for text in [
            "",
            "Fri, 01 Jan 2010 16:00:00 EST",
            "Fri, 32 Jan 2010 16:00:00 GMT",
            "Mon, 29 Feb 2023 16:00:00 GMT",
            "Fri, 01 Jan 2010 24:00:00 GMT",
            "Fri, 01 Jan 2010 16:00 GMT",
            "Fri, 01 Jan 2010 16:00:00 GMT x",
            "Fri, 01 Jan 99999999999 16:00:00 GMT",
            "2010-01-01T16:00:00Z",
        ] {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }
}
