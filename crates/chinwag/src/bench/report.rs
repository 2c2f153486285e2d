//! The figures, as aligned text and as JSON.

use std::{sync::atomic::Ordering, time::Duration};

use hdrhistogram::Histogram;
use serde_json::Value;

use super::{
    lanes::Board,
    machine::{self, Usage},
};
use crate::{args::BenchCommon, exit::Outcome, show::Out};

const MIB: f64 = 1024.0 * 1024.0;

/// What was measured, in the order in which it is shown.
pub(super) struct Report {
    values: Vec<(String, Value)>,
}

impl Report {
    pub(super) fn new() -> Self {
        Self { values: Vec::new() }
    }

    pub(super) fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.values.push((key.to_owned(), value.into()));
    }

    /// A figure with as many digits as make sense.
    pub(super) fn figure(&mut self, key: &str, value: f64) {
        let digits = if value.abs() >= 100.0 { 1.0 } else { 1000.0 };
        self.set(key, (value * digits).round() / digits);
    }

    pub(super) fn list(&mut self, key: &str, values: Vec<String>) {
        self.set(key, values);
    }

    pub(super) fn title(&mut self, scenario: &str, common: &BenchCommon, inflight: u32) {
        self.set("scenario", scenario);
        self.set("duration_s", common.duration);
        self.set("text_bytes", common.size);
        match common.rate {
            Some(rate) => {
                self.set("loop", "open");
                self.set("rate_per_s", rate);
            }
            None => {
                self.set("loop", "closed");
                self.set("inflight", inflight);
            }
        }
    }

    pub(super) fn rates(&mut self, board: &Board, took: Duration, deliveries: u64) {
        let done = board.done.load(Ordering::Relaxed);
        self.set("messages", done);
        self.figure("messages_per_s", done as f64 / took.as_secs_f64());
        self.figure("deliveries_per_s", deliveries as f64 / took.as_secs_f64());
        self.set("lost", board.on_their_way());
        self.set("doubled", board.doubled.load(Ordering::Relaxed));
        self.set("refused", board.refused.load(Ordering::Relaxed));
        let first = board.first_refusal.lock().map(|first| first.clone()).unwrap_or_default();
        if let Some(first) = first {
            self.set("first_refusal", first);
        }
    }

    /// Percentiles of times in microseconds.
    pub(super) fn latency(&mut self, name: &str, times: &Histogram<u64>) {
        for (suffix, quantile) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)] {
            self.figure(&format!("{name}_{suffix}_ms"), times.value_at_quantile(quantile) as f64 / 1000.0);
        }
    }

    /// What the server's process used between two moments.
    pub(super) fn server(
        &mut self,
        before: Option<Usage>,
        after: Option<Usage>,
        deliveries: u64,
        took: Duration,
    ) {
        let (Some(before), Some(after)) = (before, after) else { return };
        let cpu = after.cpu.saturating_sub(before.cpu);
        self.figure("server_rss_mib", after.rss as f64 / MIB);
        self.figure("server_cpu_s", cpu.as_secs_f64());
        self.figure("server_cpu_percent", 100.0 * cpu.as_secs_f64() / took.as_secs_f64());
        if deliveries > 0 {
            self.figure("server_cpu_us_per_delivery", cpu.as_secs_f64() * 1e6 / deliveries as f64);
        }
    }

    pub(super) fn machine(&mut self, fdatasync_ms: Option<f64>) {
        self.set("cores", machine::cores());
        self.set("kernel", machine::kernel());
        self.set("build", if cfg!(debug_assertions) { "debug" } else { "release" });
        if let Some(ms) = fdatasync_ms {
            self.figure("fdatasync_ms", ms);
        }
    }

    pub(super) fn show(&self, out: &Out) -> Outcome {
        if out.json {
            return out.object(&self.values.iter().cloned().collect());
        }
        // The name of the scenario first, the rest as it was measured.
        let first = ["scenario", "loop", "rate_per_s", "inflight", "duration_s", "text_bytes"];
        let mut ordered: Vec<&(String, Value)> = self.values.iter().collect();
        ordered.sort_by_key(|(key, _)| first.iter().position(|wanted| wanted == key).unwrap_or(first.len()));
        ordered.iter().try_for_each(|(key, value)| out.line(&format!("{:<28}{}", label(key), plain(value))))
    }
}

fn label(key: &str) -> String {
    key.replace("_per_s", "/s").replace('_', " ")
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// A histogram for times in microseconds, up to ten minutes.
pub(super) fn times() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("the bounds make sense")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(report: &Report, key: &str) -> Value {
        report.values.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone()).unwrap()
    }

    #[test]
    fn figures_are_rounded_and_named() {
        let mut report = Report::new();
        report.figure("a_per_s", 1234.56);
        report.figure("b_ms", 1.23456);
        let mut times = times();
        for value in 1..=100 {
            times.record(value * 1000).unwrap();
        }
        report.latency("latency", &times);
        assert_eq!(found(&report, "a_per_s"), json!(1235.0));
        assert_eq!(found(&report, "b_ms"), json!(1.235));
        assert!((found(&report, "latency_p50_ms").as_f64().unwrap() - 50.0).abs() < 0.1);
        assert!(found(&report, "latency_max_ms").as_f64().unwrap() >= 100.0);
        assert_eq!(label("messages_per_s"), "messages/s");
        assert_eq!(plain(&json!(["a", "b"])), "a, b");
    }

    #[test]
    fn what_the_server_used_is_set_against_the_work() {
        let mut report = Report::new();
        let usage = |cpu, rss| Some(Usage { cpu: Duration::from_millis(cpu), rss });
        report.server(usage(100, 0), usage(600, 2 << 20), 1000, Duration::from_secs(1));
        assert_eq!(found(&report, "server_cpu_us_per_delivery"), json!(500.0));
        assert_eq!(found(&report, "server_cpu_percent"), json!(50.0));
        assert_eq!(found(&report, "server_rss_mib"), json!(2.0));
    }
}
