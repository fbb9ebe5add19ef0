//! The text that is read: OpenMetrics 1.0, or the older format of Prometheus for those who do not ask for it.

use std::fmt::{self, Write as _};

use super::catalog::{Family, Kind};
use crate::gateway::{BOUNDS, Distribution};

/// How it is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Text,
}

impl Format {
    /// What somebody gets who sends this Accept header: OpenMetrics if he names it. Weights make no difference: who knows both
    /// reads either.
    pub fn for_accept(accept: Option<&str>) -> Self {
        let named = accept.unwrap_or_default().split(',').any(|part| {
            let media = part.split(';').next().unwrap_or_default();
            media.trim().eq_ignore_ascii_case("application/openmetrics-text")
        });
        if named { Self::OpenMetrics } else { Self::Text }
    }

    /// For the Content-Type header.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// A text that grows family by family.
pub(super) struct Exposition {
    text: String,
    format: Format,
}

/// The samples of one family.
pub(super) struct Samples<'a> {
    exposition: &'a mut Exposition,
    family: &'a Family<'a>,
}

impl Exposition {
    pub(super) fn new(format: Format) -> Self {
        Self { text: String::with_capacity(64 * 1024), format }
    }

    /// Begins a family. Each is begun once.
    pub(super) fn family<'a>(&'a mut self, family: &'a Family<'a>) -> Samples<'a> {
        // OpenMetrics names the family, the older format its samples.
        let name = match self.format {
            Format::OpenMetrics => Sampled { name: family.name, suffix: "" },
            Format::Text => Sampled { name: family.name, suffix: family.kind.suffix() },
        };
        let kind = family.kind.word(self.format);
        let _ = writeln!(self.text, "# TYPE {name} {kind}");
        if let (Format::OpenMetrics, Some(unit)) = (self.format, family.unit) {
            let _ = writeln!(self.text, "# UNIT {name} {unit}");
        }
        let _ =
            writeln!(self.text, "# HELP {name} {}", Escaped(family.help, self.format == Format::OpenMetrics));
        Samples { exposition: self, family }
    }

    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

impl Samples<'_> {
    /// One number; `values` are those of the family's labels, in their order.
    pub(super) fn add(&mut self, values: &[&str], number: u64) -> &mut Self {
        self.line(self.family.kind.suffix(), values, None, format_args!("{number}"));
        self
    }

    /// The same for what is yes or no.
    pub(super) fn flag(&mut self, values: &[&str], yes: bool) -> &mut Self {
        self.add(values, u64::from(yes))
    }

    /// The same for what is no whole number.
    pub(super) fn real(&mut self, values: &[&str], number: f64) -> &mut Self {
        self.line(self.family.kind.suffix(), values, None, format_args!("{number:?}"));
        self
    }

    /// A distribution: its buckets, their number and their sum.
    pub(super) fn distribution(&mut self, values: &[&str], distribution: &Distribution) -> &mut Self {
        for (bound, count) in BOUNDS.iter().zip(distribution.cumulative) {
            self.line("_bucket", values, Some(&format_args!("{bound:?}")), format_args!("{count}"));
        }
        let count = distribution.count();
        self.line("_bucket", values, Some(&"+Inf"), format_args!("{count}"));
        self.line("_count", values, None, format_args!("{count}"));
        self.line("_sum", values, None, format_args!("{:?}", distribution.sum));
        self
    }

    fn line(
        &mut self,
        suffix: &str,
        values: &[&str],
        le: Option<&dyn fmt::Display>,
        number: fmt::Arguments<'_>,
    ) {
        debug_assert_eq!(values.len(), self.family.labels.len(), "{}", self.family.name);
        let text = &mut self.exposition.text;
        let _ = write!(text, "{}", Sampled { name: self.family.name, suffix });
        let mut separator = '{';
        for (label, value) in self.family.labels.iter().zip(values) {
            let _ = write!(text, "{separator}{label}=\"{}\"", Escaped(value, true));
            separator = ',';
        }
        if let Some(le) = le {
            let _ = write!(text, "{separator}le=\"{le}\"");
            separator = ',';
        }
        if separator == ',' {
            text.push('}');
        }
        let _ = writeln!(text, " {number}");
    }
}

impl Kind {
    /// What the names of its samples end with.
    pub(super) const fn suffix(self) -> &'static str {
        match self {
            Self::Counter => "_total",
            Self::Info => "_info",
            Self::Gauge | Self::Histogram => "",
        }
    }

    const fn word(self, format: Format) -> &'static str {
        match (self, format) {
            (Self::Counter, _) => "counter",
            (Self::Gauge, _) | (Self::Info, Format::Text) => "gauge",
            (Self::Histogram, _) => "histogram",
            (Self::Info, Format::OpenMetrics) => "info",
        }
    }
}

/// The name of a sample, or of a family.
struct Sampled<'a> {
    name: &'a str,
    suffix: &'a str,
}

impl fmt::Display for Sampled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name, self.suffix)
    }
}

/// A text in a line, or, with its quotes escaped too, in quotes.
struct Escaped<'a>(&'a str, bool);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text, quotes) = *self;
        for character in text.chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '"' if quotes => f.write_str("\\\"")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::catalog::family;

    #[test]
    fn a_counter_is_named_as_each_format_wants_it() {
        let asked = family("nuncio_asked", Kind::Counter, "Questions.", &["by"]);
        let text = |format| {
            let mut exposition = Exposition::new(format);
            exposition.family(&asked).add(&["bob"], 3);
            exposition.finish()
        };
        assert_eq!(
            text(Format::OpenMetrics),
            "# TYPE nuncio_asked counter\n# HELP nuncio_asked Questions.\nnuncio_asked_total{by=\"bob\"} 3\n# EOF\n"
        );
        assert_eq!(
            text(Format::Text),
            "# TYPE nuncio_asked_total counter\n# HELP nuncio_asked_total Questions.\nnuncio_asked_total{by=\"bob\"} 3\n"
        );
    }

    #[test]
    fn a_label_cannot_leave_its_quotes() {
        let held = family("nuncio_held", Kind::Gauge, "Back\\slash", &["by"]);
        let mut exposition = Exposition::new(Format::OpenMetrics);
        exposition.family(&held).add(&["\"} 1\n\\"], 0);
        assert_eq!(
            exposition.finish(),
            "# TYPE nuncio_held gauge\n# HELP nuncio_held Back\\\\slash\nnuncio_held{by=\"\\\"} 1\\n\\\\\"} 0\n# EOF\n"
        );
    }

    #[test]
    fn buckets_come_with_their_bounds_in_order_then_number_and_sum() {
        let took =
            Family { unit: Some("seconds"), ..family("nuncio_took_seconds", Kind::Histogram, "Time.", &[]) };
        let mut distribution = Distribution { sum: 31.5, ..Distribution::default() };
        distribution.cumulative[12] = 2;
        let mut exposition = Exposition::new(Format::OpenMetrics);
        exposition.family(&took).distribution(&[], &distribution);
        let text = exposition.finish();
        assert!(text.contains("# UNIT nuncio_took_seconds seconds\n"), "{text}");
        assert!(text.contains("nuncio_took_seconds_bucket{le=\"0.005\"} 0\n"), "{text}");
        assert!(text.contains("_bucket{le=\"30.0\"} 0\n"), "{text}");
        assert!(
            text.ends_with(
                "_bucket{le=\"+Inf\"} 2\nnuncio_took_seconds_count 2\nnuncio_took_seconds_sum 31.5\n# EOF\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn openmetrics_is_for_who_names_it() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(Format::for_accept(Some(prometheus)), Format::OpenMetrics);
        for other in
            [None, Some(""), Some("*/*"), Some("text/plain"), Some("application/openmetrics-textual")]
        {
            assert_eq!(Format::for_accept(other), Format::Text, "{other:?}");
        }
    }
}
