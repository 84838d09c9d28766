//! The text that Prometheus reads, in its two forms: OpenMetrics 1.0.0, and the older text format
//! 0.0.4, for whoever does not ask for the newer one.
//!
//! Both are written here because no library has both: the official one, `prometheus-client`, writes
//! OpenMetrics only, and `promtool`, curl and older collectors want the other.

use std::fmt::{self, Display, Write};

use super::histogram::{BOUNDS, Counts};

/// A form of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Form {
    /// The form that a request with this `Accept` wants (RFC 9110 section 12.5.1).
    pub fn wanted(accept: &str) -> Form {
        let (mut newer, mut older) = (0.0, 0.0);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut quality, mut version) = (1.0, None);
            for part in parts {
                match part.split_once('=') {
                    Some(("q", text)) => quality = text.parse().unwrap_or(0.0_f32),
                    Some(("version", text)) => version = Some(text.trim_matches('"')),
                    _ => {}
                }
            }
            let best = |of: f32| of.max(quality);
            match (kind.as_str(), version) {
                ("application/openmetrics-text", None | Some("1.0.0")) => newer = best(newer),
                ("text/plain" | "text/*", None | Some("0.0.4")) => older = best(older),
                _ => {}
            }
        }
        match newer > 0.0 && newer >= older {
            true => Form::OpenMetrics,
            false => Form::Text,
        }
    }

    /// Its `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Form::Text => "text/plain; version=0.0.4; charset=utf-8",
            Form::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What kind of numbers a family has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only grows; its samples end in `_total`.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Lengths by size.
    Histogram,
    /// Words, whose number is always 1; its sample ends in `_info`.
    Info,
}

/// The text that is being written.
pub(super) struct Page {
    form: Form,
    text: String,
}

/// The family that is being written.
pub(super) struct Family<'a> {
    page: &'a mut Page,
    name: &'static str,
    kind: Kind,
}

/// The labels of a sample. Their names are ours; their values are anything.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

impl Page {
    pub(super) fn new(form: Form) -> Self {
        let text = String::new();
        Page { form, text }
    }

    /// Begins a family; the name of a counter or of an info is without its ending.
    pub(super) fn family(&mut self, kind: Kind, name: &'static str, help: &str) -> Family<'_> {
        let (ending, word) = match (self.form, kind) {
            (Form::Text, Kind::Counter) => ("_total", "counter"),
            (Form::Text, Kind::Info) => ("_info", "gauge"),
            (Form::OpenMetrics, Kind::Counter) => ("", "counter"),
            (Form::OpenMetrics, Kind::Info) => ("", "info"),
            (_, Kind::Gauge) => ("", "gauge"),
            (_, Kind::Histogram) => ("", "histogram"),
        };
        self.put(format_args!("# HELP {name}{ending} {help}\n"));
        self.put(format_args!("# TYPE {name}{ending} {word}\n"));
        Family {
            page: self,
            name,
            kind,
        }
    }

    pub(super) fn finish(mut self) -> String {
        if self.form == Form::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn put(&mut self, text: fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.text.write_fmt(text);
    }
}

impl Family<'_> {
    /// One number.
    pub(super) fn sample(&mut self, labels: Labels<'_>, value: impl Display) {
        let ending = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        self.line(ending, labels, None, value);
    }

    /// The numbers of a histogram.
    pub(super) fn histogram(&mut self, labels: Labels<'_>, counts: &Counts) {
        let ends = BOUNDS.iter().map(|(text, _)| *text).chain(["+Inf"]);
        let mut upto = 0;
        for (end, count) in ends.zip(counts.buckets) {
            upto += count;
            self.line("_bucket", labels, Some(end), upto);
        }
        self.line("_sum", labels, None, counts.sum.as_secs_f64());
        self.line("_count", labels, None, upto);
    }

    fn line(&mut self, ending: &str, labels: Labels<'_>, le: Option<&str>, value: impl Display) {
        let name = self.name;
        let bound = le.map(|le| ("le", le));
        let text = &mut self.page.text;
        text.push_str(name);
        text.push_str(ending);
        let mut between = '{';
        for (name, value) in labels.iter().copied().chain(bound) {
            text.push(between);
            text.push_str(name);
            text.push_str("=\"");
            escape(text, value);
            text.push('"');
            between = ',';
        }
        if between == ',' {
            text.push('}');
        }
        self.page.put(format_args!(" {value}\n"));
    }
}

/// Escapes the value of a label: the three characters that both forms have an escape for.
fn escape(text: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_the_one_that_is_asked_for() {
        let cases = [
            ("", Form::Text),
            ("*/*", Form::Text),
            ("text/plain", Form::Text),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Form::Text),
            ("application/openmetrics-text", Form::OpenMetrics),
            (
                // Prometheus 2.
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Form::OpenMetrics,
            ),
            (
                // Prometheus 3.
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                Form::OpenMetrics,
            ),
            (
                "text/plain;version=0.0.4, application/openmetrics-text;q=0.5",
                Form::Text,
            ),
            ("application/openmetrics-text;version=2.0.0", Form::Text),
            ("application/openmetrics-text;q=0", Form::Text),
            (",;=;q=x,", Form::Text),
        ];
        for (accept, form) in cases {
            assert_eq!(Form::wanted(accept), form, "{accept}");
        }
    }

    #[test]
    fn each_form_names_its_families_in_its_own_way() {
        let write = |form| {
            let mut page = Page::new(form);
            page.family(Kind::Counter, "x_bytes", "Bytes.")
                .sample(&[("a", "b")], 5);
            page.family(Kind::Info, "y", "Words.").sample(&[], 1);
            page.family(Kind::Gauge, "z", "A number.").sample(&[], 0.5);
            page.finish()
        };
        let text = "# HELP x_bytes_total Bytes.\n# TYPE x_bytes_total counter\nx_bytes_total{a=\"b\"} 5\n\
                    # HELP y_info Words.\n# TYPE y_info gauge\ny_info 1\n\
                    # HELP z A number.\n# TYPE z gauge\nz 0.5\n";
        assert_eq!(write(Form::Text), text);
        let open = "# HELP x_bytes Bytes.\n# TYPE x_bytes counter\nx_bytes_total{a=\"b\"} 5\n\
                    # HELP y Words.\n# TYPE y info\ny_info 1\n\
                    # HELP z A number.\n# TYPE z gauge\nz 0.5\n# EOF\n";
        assert_eq!(write(Form::OpenMetrics), open);
    }

    #[test]
    fn the_value_of_a_label_is_anything() {
        let mut page = Page::new(Form::Text);
        page.family(Kind::Gauge, "x", "X.")
            .sample(&[("file", "a\"b\\c\nd} 1")], 1);
        let text = page.finish();
        assert_eq!(text.lines().count(), 3);
        assert!(
            text.ends_with("x{file=\"a\\\"b\\\\c\\nd} 1\"} 1\n"),
            "{text}"
        );
    }
}
