//! `cargo xtask bench`: the standard figures from the release binary, as rows for `docs/benchmarks.md`.
//!
//! Knows no scenario from inside: whatever numbers and words the load generator tells with `--json` become rows.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    cargo::{Workspace, cargo},
    shell::{self, Progress, program},
};

/// The standard set, the same at each release so that figures can be compared.
const RUNS: &[&[&str]] = &[
    &["dm", "--pairs", "64", "--inflight", "16"],
    &["dm", "--pairs", "64", "--rate", "5000"],
    &["group", "--groups", "4", "--members", "50"],
    &["idle", "--connections", "5000"],
    &["offline", "--users", "20", "--waiting", "500"],
    &["reconnect", "--connections", "1000"],
];

/// Runs the set; `arguments` (such as `--duration 30`) go to each run.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let progress = Progress::start();
    let root = shell::root();
    progress.say("building the server");
    shell::show(&mut program(cargo(), &root, &["build", "--release", "--locked", "--package", "chinwag"]))?;
    let binary = Workspace::read()?.target.join("release/chinwag");
    let mut rows = Vec::new();
    for run in RUNS {
        progress.say(&format!("chinwag bench {}", run.join(" ")));
        let output = program(&binary, &root, &["bench", "--json"]).args(*run).args(arguments).output()?;
        if !output.status.success() {
            bail!(
                "chinwag bench {} failed: {}",
                run.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let line =
            text.lines().rfind(|line| line.starts_with('{')).context("chinwag bench printed no JSON")?;
        let report: Value =
            serde_json::from_str(line).context("chinwag bench printed something else than JSON")?;
        flatten(&run.join(" "), "", &report, &mut rows);
    }
    println!("\n| run | figure | value |\n| --- | --- | ---: |");
    for row in rows {
        println!("{row}");
    }
    Ok(())
}

/// What the load generator told with `--json`.
pub(crate) fn report(printed: &str) -> Result<Value> {
    let line =
        printed.lines().rfind(|line| line.starts_with('{')).context("chinwag bench printed no JSON")?;
    serde_json::from_str(line).context("chinwag bench printed something else than JSON")
}

/// One row for each number, word or truth, named by its path.
fn flatten(run: &str, path: &str, value: &Value, rows: &mut Vec<String>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| flatten(run, &below(name), value, rows));
        }
        Value::Array(values) => {
            let words: Vec<_> = values.iter().map(plain).collect();
            rows.push(format!("| {run} | {path} | {} |", words.join(", ")));
        }
        Value::Null => {}
        single => rows.push(format!("| {run} | {path} | {} |", plain(single))),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.replace('|', "\\|"),
        Value::Number(number) => match number.as_f64() {
            Some(real) if !number.is_u64() && !number.is_i64() => format!("{real:.2}"),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_becomes_a_row() {
        let report =
            serde_json::json!({"messages_per_s": 1234.567, "latency_ms": {"p50": 1, "p99": 9}, "gone": null});
        let mut rows = Vec::new();
        flatten("dm", "", &report, &mut rows);
        let expected = [
            "| dm | latency_ms.p50 | 1 |",
            "| dm | latency_ms.p99 | 9 |",
            "| dm | messages_per_s | 1234.57 |",
        ];
        assert_eq!(rows, expected);
    }
}
