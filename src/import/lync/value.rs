//! Objects as exported: named properties, whatever form they came in.

use std::time::Duration;

/// An object: its properties in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) properties: Vec<(String, Value)>,
}

/// A property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// `$null`, or an empty cell.
    Nothing,
    Bool(bool),
    Number(i64),
    Text(String),
    List(Vec<String>),
    /// There was something that the form of the file does not hold; how it is called there.
    Opaque(String),
}

impl Object {
    /// The property of that name; names of PowerShell know no case.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.properties.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// A property that is there more than once.
    pub(super) fn twice(&self) -> Option<String> {
        let mut names: Vec<String> =
            self.properties.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort_unstable();
        names.windows(2).find_map(|two| match two {
            [a, b] if a == b => Some(a.clone()),
            _ => None,
        })
    }

    /// The names of the first properties, for people.
    pub(super) fn first_names(&self) -> String {
        const SHOWN: usize = 6;
        let names = self.properties.iter().take(SHOWN).map(|(name, _)| crate::config::quoted(name));
        names.collect::<Vec<_>>().join(", ")
    }
}

/// What was expected of a value, as the end of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expected(pub(super) &'static str);

impl Value {
    /// As text for people, shortened and printable.
    pub(super) fn shown(&self) -> String {
        if let Ok(Some(on)) = self.bool() {
            // As PowerShell writes it, and CSV has it.
            return if on { "True".to_owned() } else { "False".to_owned() };
        }
        match self {
            Self::Nothing | Self::Bool(_) => "nothing".to_owned(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) | Self::Opaque(text) => crate::config::quoted(text),
            Self::List(list) => {
                list.iter().map(|text| crate::config::quoted(text)).collect::<Vec<_>>().join(", ")
            }
        }
    }

    /// `None` for nothing.
    pub(super) fn bool(&self) -> Result<Option<bool>, Expected> {
        match self {
            Self::Nothing => Ok(None),
            Self::Bool(bool) => Ok(Some(*bool)),
            Self::Text(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Self::Text(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            _ => Err(Expected("True or False")),
        }
    }

    pub(super) fn number(&self) -> Result<Option<u64>, Expected> {
        let expected = Expected("a number that is not negative");
        match self {
            Self::Nothing => Ok(None),
            Self::Number(number) => u64::try_from(*number).map(Some).map_err(|_| expected),
            Self::Text(text) => text.trim().parse().map(Some).map_err(|_| expected),
            _ => Err(expected),
        }
    }

    pub(super) fn text(&self) -> Result<Option<&str>, Expected> {
        match self {
            Self::Nothing => Ok(None),
            Self::Text(text) if text.trim().is_empty() => Ok(None),
            Self::Text(text) => Ok(Some(text.trim())),
            _ => Err(Expected("text")),
        }
    }

    /// A number of seconds, `[d.]hh:mm:ss`, or what XML Schema calls a duration.
    pub(super) fn duration(&self) -> Result<Option<Duration>, Expected> {
        const EXPECTED: Expected = Expected("a number of seconds or a time such as 00:05:00");
        let seconds = match self {
            Self::Text(text) if text.contains(':') => clock(text).ok_or(EXPECTED)?,
            Self::Text(text) if text.starts_with('P') => iso(text).ok_or(EXPECTED)?,
            _ => match self.number().map_err(|_| EXPECTED)? {
                Some(seconds) => seconds,
                None => return Ok(None),
            },
        };
        Ok(Some(Duration::from_secs(seconds)))
    }

    /// The elements of a list. In a cell of CSV they stand with something between them.
    pub(super) fn list(&self) -> Result<Vec<&str>, Expected> {
        match self {
            Self::Nothing => Ok(Vec::new()),
            Self::List(list) => Ok(list.iter().map(String::as_str).collect()),
            Self::Text(text) if is_type_name(text) => Err(Expected("the names, not their type")),
            Self::Text(text) => Ok(text
                .split(|c: char| c.is_whitespace() || matches!(c, ';' | ',' | '{' | '}'))
                .filter(|name| !name.is_empty())
                .collect()),
            _ => Err(Expected("a list of names")),
        }
    }
}

/// What Export-Csv writes in place of a list.
fn is_type_name(text: &str) -> bool {
    ["System.", "Microsoft."].iter().any(|prefix| text.starts_with(prefix)) || text.contains("`1[")
}

/// `[d.]hh:mm:ss[.fraction]`, in seconds.
fn clock(text: &str) -> Option<u64> {
    let mut parts = text.trim().split(':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let (days, hours) = hours.split_once('.').unwrap_or(("0", hours));
    let seconds = seconds.split_once('.').map_or(seconds, |(whole, _)| whole);
    let number = |text: &str| text.parse::<u64>().ok();
    let days = number(days)?.checked_mul(86_400)?;
    let hours = number(hours)?.checked_mul(3600)?;
    let minutes = number(minutes)?.checked_mul(60)?;
    days.checked_add(hours)?.checked_add(minutes)?.checked_add(number(seconds)?)
}

/// `P1DT2H3M4S`, in seconds; months and years are of no fixed length and not taken.
fn iso(text: &str) -> Option<u64> {
    let rest = text.trim().strip_prefix('P')?;
    let (date, time) = rest.split_once('T').unwrap_or((rest, ""));
    // Neither "P" nor "P1DT" is one.
    if time.is_empty() && (date.is_empty() || rest.ends_with('T')) {
        return None;
    }
    let days = fields(date, &[('D', 86_400)])?;
    days.checked_add(fields(time, &[('H', 3600), ('M', 60), ('S', 1)])?)
}

/// Numbers, each with its unit, in this order.
fn fields(mut text: &str, units: &[(char, u64)]) -> Option<u64> {
    let mut sum = 0u64;
    for (unit, seconds) in units {
        let Some((number, rest)) = text.split_once(*unit) else { continue };
        let whole = number.split_once('.').map_or(number, |(whole, _)| whole);
        sum = sum.checked_add(whole.parse::<u64>().ok()?.checked_mul(*seconds)?)?;
        text = rest;
    }
    text.is_empty().then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn durations_are_read_in_every_form_they_are_exported_in() {
        for (value, seconds) in [
            (Value::Number(300), 300),
            (text("300"), 300),
            (text("00:05:00"), 300),
            (text("1.02:03:04"), 93_784),
            (text("00:05:00.5000000"), 300),
            (text("PT5M"), 300),
            (text("P1DT2H3M4S"), 93_784),
            (text("PT0S"), 0),
        ] {
            assert_eq!(value.duration(), Ok(Some(Duration::from_secs(seconds))), "{value:?}");
        }
        assert_eq!(Value::Nothing.duration(), Ok(None));
        for wrong in
            ["P", "PT", "P1M", "PT5", "5 minutes", "00:05", "1:2:3:4", "99999999999999999999:00:00", "-1"]
        {
            assert!(text(wrong).duration().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_cell_with_the_type_of_a_list_is_no_list() {
        for cell in [
            "System.Collections.Generic.List`1[System.String]",
            "Microsoft.Rtc.Management.Xds.XdsStringList",
            "System.String[]",
        ] {
            assert!(text(cell).list().is_err(), "{cell}");
        }
        let expected = Ok(vec!["corp.fabrikam.com", "it.fabrikam.com"]);
        for cell in [
            "corp.fabrikam.com;it.fabrikam.com",
            "corp.fabrikam.com, it.fabrikam.com",
            "corp.fabrikam.com it.fabrikam.com",
            "{corp.fabrikam.com, it.fabrikam.com}",
        ] {
            assert_eq!(text(cell).list(), expected, "{cell}");
        }
    }
}
