//! Prometheus's text format.

use std::fmt::Write;

use flowstate_log::stats::{BOUNDS_US, HistogramCounts};

/// What is written so far.
#[derive(Default)]
pub(super) struct Text(pub(super) String, &'static str);

impl Text {
    /// Begins a metric.
    pub(super) fn begin(&mut self, name: &'static str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        self.1 = name;
    }

    /// A value of the metric that was begun.
    pub(super) fn value(&mut self, labels: &[(&str, &str)], value: u64) {
        let name = self.1;
        let labels: Vec<String> = labels.iter().map(|(name, value)| label(name, value)).collect();
        let _ = match labels.as_slice() {
            [] => writeln!(self.0, "{name} {value}"),
            labels => writeln!(self.0, "{name}{{{}}} {value}", labels.join(",")),
        };
    }

    pub(super) fn gauge(&mut self, name: &'static str, help: &str, value: u64) {
        self.begin(name, "gauge", help);
        self.value(&[], value);
    }

    pub(super) fn histogram(&mut self, name: &'static str, help: &str, counts: &HistogramCounts) {
        self.begin(name, "histogram", help);
        let mut below = 0;
        for (bound, count) in BOUNDS_US.iter().zip(&counts.buckets) {
            below += count;
            let _ = writeln!(self.0, "{name}_bucket{{le=\"{}\"}} {below}", seconds(*bound));
        }
        let all: u64 = counts.buckets.iter().sum();
        let sum = seconds(counts.sum_us);
        let _ = writeln!(
            self.0,
            "{name}_bucket{{le=\"+Inf\"}} {all}\n{name}_sum {sum}\n{name}_count {all}"
        );
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn label(name: &str, value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{name}=\"{value}\"")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use flowstate_log::stats::Histogram;

    use super::*;

    #[test]
    fn buckets_add_up_and_labels_are_escaped() {
        let histogram = Histogram::default();
        for ms in [1, 2, 9_000] {
            histogram.record(Duration::from_millis(ms), 1);
        }
        let mut text = Text::default();
        text.histogram("took_seconds", "How long.", &histogram.counts());
        text.begin("odd", "counter", "Odd.");
        text.value(&[("a", "x\"\\\ny"), ("b", "")], 7);
        for line in [
            "# TYPE took_seconds histogram",
            "took_seconds_bucket{le=\"0.0005\"} 0",
            "took_seconds_bucket{le=\"0.001\"} 1",
            "took_seconds_bucket{le=\"0.0025\"} 2",
            "took_seconds_bucket{le=\"5\"} 2",
            "took_seconds_bucket{le=\"+Inf\"} 3",
            "took_seconds_sum 9.003",
            "took_seconds_count 3",
            "odd{a=\"x\\\"\\\\\\ny\",b=\"\"} 7",
        ] {
            assert!(text.0.lines().any(|written| written == line), "{line}: {}", text.0);
        }
    }
}
