//! Builds that are wrong on purpose: each must turn the test of a promise red, by what that test is there to see.
//!
//! The build is one, with the feature `canaries`; which wrong it does is said when a server is started. The same
//! tests must be green with the same build while it does nothing wrong. A test that fails because a server does not
//! start, or for any other reason than the broken promise, counts as not having found it.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};

use super::{
    counts::Counts,
    steps::{Failed, watch},
};
use crate::{
    cargo::cargo,
    shell::{self, program},
};

/// A wrong build and who sees it.
struct Canary {
    name: &'static str,
    /// The test program and the test in it.
    target: &'static str,
    test: &'static str,
    /// What the test says when it sees it.
    says: &'static str,
}

const CANARIES: &[Canary] = &[
    Canary {
        name: "ack-before-commit",
        target: "promises",
        test: "disk::d3_nothing_is_acknowledged_or_told_before_it_is_synced",
        says: "left before it was synced",
    },
    Canary {
        name: "no-sync",
        target: "promises",
        test: "disk::d2_what_is_synced_when_an_acknowledgement_leaves_is_enough_to_have_it",
        says: "after a power cut: message-",
    },
    Canary {
        name: "dedupe-in-memory",
        target: "end_to_end",
        test: "durability::d7_a_retry_answers_the_same_and_another_body_is_a_conflict",
        says: "also after a crash",
    },
    Canary {
        name: "resume-skips-one",
        target: "promises",
        test: "delivery::l1_a_client_that_is_cut_again_and_again_gets_every_number",
        says: "a gap: ",
    },
    Canary {
        name: "snapshot-then-subscribe",
        target: "promises",
        test: "delivery::l4_a_snapshot_and_what_follows_it_meet_exactly",
        says: "a gap: ",
    },
    Canary {
        name: "membership-at-subscribe",
        target: "promises",
        test: "membership::m1_who_was_removed_hears_of_nothing_afterwards_by_any_way",
        says: "told after his removal",
    },
    Canary {
        name: "failed-sync-ignored",
        target: "promises",
        test: "disk::d4_nothing_is_acknowledged_after_the_first_failed_sync",
        says: "it goes on after a failed sync",
    },
    Canary {
        name: "ack-when-full",
        target: "end_to_end",
        test: "operation::d6_a_full_disk_refuses_writes_and_recovers_without_a_restart",
        says: "the disk is full at some point",
    },
    Canary {
        name: "half-uploads",
        target: "files",
        test: "d8_a_cut_upload_leaves_nothing",
        says: "half an upload has a name",
    },
    Canary {
        name: "swaps-pipelined",
        target: "end_to_end",
        test: "durability::o2_pipelined_messages_keep_their_order_for_everybody",
        says: "left == right",
    },
    Canary {
        name: "never-resumes",
        target: "end_to_end",
        test: "delivery::l3_who_was_away_gets_everything_once_and_in_order",
        says: "resumed, not started afresh",
    },
    Canary {
        name: "limits-lifted",
        target: "promises",
        test: "resources::b3_too_much_is_refused_and_what_was_taken_is_there",
        says: "160 taken, 0 refused",
    },
];

const TARGETS: [&str; 3] = ["promises", "end_to_end", "files"];
const BUILD: Duration = Duration::from_secs(30 * 60);
const RUN: Duration = Duration::from_secs(5 * 60);

/// Everything but the feature is as in the step of all tests, so that only what has it is compiled again.
fn run_cargo(canary: &str, more: &[&str], limit: Duration) -> Result<shell::Finished> {
    let common = ["test", "--workspace", "--locked", "--features", "chinwag/canaries"];
    let mut command = program(cargo(), &shell::root(), &common);
    command.args(more).env("CHINWAG_CANARY", canary).env("RUST_BACKTRACE", "0");
    watch(&mut command, limit)
}

pub(super) fn run() -> Result<Counts, Failed> {
    let programs: Vec<&str> = TARGETS.iter().flat_map(|target| ["--test", target]).collect();
    if let Some(failure) = run_cargo("", &[&programs[..], &["--no-run"]].concat(), BUILD)?.failure {
        return Err(anyhow!(failure).into());
    }
    let mut counts = Counts { expected: true, ..Counts::default() };
    let mut wrong = Vec::new();
    for target in TARGETS {
        let tests: Vec<&str> =
            CANARIES.iter().filter(|canary| canary.target == target).map(|canary| canary.test).collect();
        let arguments = [&["--test", target, "--", "--exact"], &tests[..]].concat();
        let finished = run_cargo("", &arguments, RUN)?;
        let found = Counts::of_cargo(&finished.text);
        counts.passed += found.passed;
        counts.failed += found.failed;
        if finished.failure.is_some() || found.passed != tests.len() {
            wrong.push(format!("{target}: {} of {} are green with nothing wrong", found.passed, tests.len()));
        }
    }
    for canary in CANARIES {
        let finished = run_cargo(canary.name, &["--test", canary.target, "--", "--exact", canary.test], RUN)?;
        match found(canary, &finished.text, finished.failure.is_some()) {
            Ok(()) => {
                println!("the canary {} is found, as it should be", canary.name);
                counts.passed += 1;
            }
            Err(why) => {
                counts.failed += 1;
                wrong.push(format!("the canary {} is not found by {}: {why}", canary.name, canary.test));
            }
        }
    }
    if wrong.is_empty() { Ok(counts) } else { Err(Failed { counts, why: anyhow!(wrong.join("; ")) }) }
}

/// Whether the test failed, and by seeing what is wrong.
fn found(canary: &Canary, text: &str, failed: bool) -> Result<()> {
    if !failed {
        bail!("it passes");
    }
    if !text
        .lines()
        .any(|line| line.starts_with("test ") && line.contains(canary.test) && line.ends_with("FAILED"))
    {
        bail!("it did not run to its end");
    }
    let mut said =
        text.lines().skip_while(|line| !line.contains("' panicked at ") && !line.contains(") panicked at "));
    if !said.any(|line| line.contains(canary.says)) {
        bail!("it does not say `{}`", canary.says);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: Canary = Canary { name: "n", target: "t", test: "m::d1_holds", says: "is lost" };
    const FOUND: &str =
        "test m::d1_holds ... FAILED\n\nthread 'm::d1_holds' (7) panicked at a.rs:1:1:\nmessage 3 is lost\n";

    #[test]
    fn only_the_right_complaint_of_the_right_test_counts() {
        assert!(found(&CANARY, FOUND, true).is_ok());
        for (text, failed, why) in [
            (FOUND, false, "passes"),
            ("error: could not compile\n", true, "to its end"),
            (&FOUND.replace("d1_holds", "d1_other"), true, "to its end"),
            (&FOUND.replace("is lost", "the server ended with 1"), true, "does not say"),
            ("is lost\ntest m::d1_holds ... FAILED\nthread 'x' panicked at y\n", true, "does not say"),
        ] {
            let complaint = found(&CANARY, text, failed).expect_err(text).to_string();
            assert!(complaint.contains(why), "{text}: {complaint}");
        }
    }
}
