//! Wall-clock times as texts, in UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment in the proleptic Gregorian calendar.
struct Civil {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    milli: u32,
}

/// XEP-0082 DateTime with milliseconds: `2026-11-20T14:03:05.042Z`. Times before 1970 count as 1970.
pub fn stamp(time: SystemTime) -> String {
    let c = civil(time);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        c.year, c.month, c.day, c.hour, c.minute, c.second, c.milli
    )
}

/// For people: `2026-11-20 14:03:05 UTC`.
pub fn readable(time: SystemTime) -> String {
    let c = civil(time);
    format!("{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC", c.year, c.month, c.day, c.hour, c.minute, c.second)
}

/// Appends [`stamp`] of so many milliseconds of Unix time, without allocating.
pub fn write_stamp(unix_ms: u64, out: &mut Vec<u8>) {
    let c = civil(UNIX_EPOCH + Duration::from_millis(unix_ms));
    for (number, digits, end) in [
        (c.year, 4, b'-'),
        (c.month, 2, b'-'),
        (c.day, 2, b'T'),
        (c.hour, 2, b':'),
        (c.minute, 2, b':'),
        (c.second, 2, b'.'),
        (u64::from(c.milli), 3, b'Z'),
    ] {
        for place in (0..digits).rev() {
            let digit = number / 10u64.pow(place) % 10;
            out.push(b'0' + u8::try_from(digit).unwrap_or(0));
        }
        out.push(end);
    }
}

/// Reads an RFC 3339 time as milliseconds of Unix time; fractions below are cut. `T` and `Z` must be capitals (RFC 3863
/// §4.1.7), and without a zone it is no time. `None` also before 1970.
pub fn parse(text: &str) -> Option<u64> {
    let (date, rest) = text.split_once('T')?;
    let [year, month, day] = fields(date, '-', [4, 2, 2])?;
    let zone_at = rest.find(['Z', '+', '-'])?;
    let (clock, zone) = rest.split_at_checked(zone_at)?;
    let (clock, fraction) = clock.split_once('.').map_or((clock, None), |(c, f)| (c, Some(f)));
    let [hour, minute, second] = fields(clock, ':', [2, 2, 2])?;
    let days = days(year, month, day)?;
    // 60 is a leap second, which Unix time does not have.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second.min(59);
    let offset = offset(zone)?;
    let seconds = u64::try_from(i64::try_from(seconds).ok()?.checked_sub(offset)?).ok()?;
    Some(seconds * 1000 + fraction.map_or(Some(0), milliseconds)?)
}

/// Numbers of exactly so many digits.
fn fields(text: &str, separator: char, digits: [usize; 3]) -> Option<[u64; 3]> {
    let mut numbers = [0; 3];
    let mut parts = text.split(separator);
    for (number, digits) in numbers.iter_mut().zip(digits) {
        *number = parts.next().filter(|part| part.len() == digits).and_then(number_of)?;
    }
    parts.next().is_none().then_some(numbers)
}

fn number_of(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn milliseconds(fraction: &str) -> Option<u64> {
    number_of(fraction.get(..1)?)?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let padded = fraction.bytes().map(|byte| u64::from(byte - b'0')).chain(std::iter::repeat(0));
    Some(padded.take(3).fold(0, |sum, digit| sum * 10 + digit))
}

/// Seconds east of UTC.
fn offset(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let number = |text: &str| (text.len() == 2).then(|| number_of(text)).flatten();
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let seconds = (hours <= 23 && minutes <= 59).then_some(hours * 3600 + minutes * 60)?;
    Some(sign * i64::try_from(seconds).ok()?)
}

/// Days since 1970-01-01 of a date that exists; the reverse of what [`civil`] does.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if !(1..=last).contains(&day) {
        return None;
    }
    let (year, march_month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * march_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era).checked_sub(719_468)
}

fn civil(time: SystemTime) -> Civil {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, second_of_day) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Years are counted from March, so that the leap day is the last of its year, and from 0000-03-01, so that
    // 400-year eras of 146,097 days begin at zero.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    Civil {
        year: era * 400 + year_of_era + u64::from(month <= 2),
        month,
        day: day_of_year - (153 * march_month + 2) / 5 + 1,
        hour: second_of_day / 3600,
        minute: second_of_day / 60 % 60,
        second: second_of_day % 60,
        milli: since.subsec_millis(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.042Z"),
            (951_782_399, "2000-02-28T23:59:59.042Z"),
            (951_782_400, "2000-02-29T00:00:00.042Z"),
            (951_868_800, "2000-03-01T00:00:00.042Z"),
            (1_795_184_285, "2026-11-20T14:18:05.042Z"),
            (4_107_542_400, "2100-03-01T00:00:00.042Z"),
        ] {
            assert_eq!(stamp(UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 42)), text);
        }
        assert_eq!(readable(UNIX_EPOCH + Duration::from_secs(1_795_184_285)), "2026-11-20 14:18:05 UTC");
        assert_eq!(readable(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01 00:00:00 UTC");
    }

    #[test]
    fn stamps_are_read_as_they_were_written() {
        for ms in [0, 42, 951_868_800_000, 1_795_184_285_999, 4_107_542_400_001, 253_402_300_799_999] {
            let mut written = Vec::new();
            write_stamp(ms, &mut written);
            let written = String::from_utf8(written).unwrap();
            assert_eq!(written, stamp(UNIX_EPOCH + Duration::from_millis(ms)));
            assert_eq!(parse(&written), Some(ms), "{written}");
        }
    }

    #[test]
    fn pd_05_times_are_read_in_every_form_of_rfc_3339() {
        for (text, ms) in [
            ("2001-10-27T16:49:29Z", 1_004_201_369_000),
            ("2001-10-27T16:49:29.5Z", 1_004_201_369_500),
            ("2001-10-27T16:49:29.123456789Z", 1_004_201_369_123),
            ("2001-10-27T18:49:29+02:00", 1_004_201_369_000),
            ("2001-10-27T11:19:29-05:30", 1_004_201_369_000),
            ("2016-12-31T23:59:60Z", 1_483_228_799_000),
        ] {
            assert_eq!(parse(text), Some(ms), "{text}");
        }
    }

    #[test]
    fn pd_05_what_is_no_time_is_none() {
        for text in [
            "",
            "now",
            "2001-10-27",
            "2001-10-27T16:49:29",
            "2001-10-27t16:49:29Z",
            "2001-10-27T16:49:29z",
            "2001-02-29T00:00:00Z",
            "2001-13-01T00:00:00Z",
            "2001-10-00T00:00:00Z",
            "2001-10-27T24:00:00Z",
            "2001-10-27T16:60:29Z",
            "2001-10-27T16:49:29.Z",
            "2001-10-27T16:49:29.1xZ",
            "2001-10-27T16:49:29+2:00",
            "2001-10-27T16:49:29+24:00",
            "2001-10-27T16:49:29Zx",
            "+001-10-27T16:49:29Z",
            "1969-12-31T23:59:59Z",
            "0000-01-01T00:00:00Z",
            "99999-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
