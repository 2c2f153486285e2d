//! How many tests ran, read from what the three test runners print.

/// Tests that passed, failed, and were not run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) skipped: usize,
    /// Whether this step is made of tests, so that none at all is a fault.
    pub(super) expected: bool,
}

impl Counts {
    /// What is wrong with a run that said of itself that it succeeded.
    pub(super) fn complaint(self) -> Option<String> {
        if self.failed > 0 {
            return Some(format!("{} tests failed", self.failed));
        }
        if self.skipped > 0 {
            return Some(format!("{} tests were skipped", self.skipped));
        }
        (self.expected && self.passed == 0).then(|| "found no tests".to_owned())
    }

    /// From `cargo test`: one line for each test program.
    pub(super) fn of_cargo(text: &str) -> Self {
        let mut counts = Self { expected: true, ..Self::default() };
        for line in text.lines().filter_map(|line| line.strip_prefix("test result: ")) {
            for part in line.split([';', '.']) {
                counts.add(part.trim(), "passed", "failed", "ignored");
            }
        }
        counts
    }

    /// From Vitest: `Tests  1 failed | 12 passed | 2 skipped (15)`.
    pub(super) fn of_vitest(text: &str) -> Self {
        let mut counts = Self { expected: true, ..Self::default() };
        for line in text.lines().filter_map(|line| line.trim().strip_prefix("Tests ")) {
            for part in line.split(['|', '(']) {
                counts.add(part.trim(), "passed", "failed", "skipped");
                counts.add(part.trim(), "", "", "todo");
            }
        }
        counts
    }

    /// From Node's own runner: `ℹ pass 12`.
    pub(super) fn of_node(text: &str) -> Self {
        let mut counts = Self { expected: true, ..Self::default() };
        for line in text.lines() {
            let Some((word, number)) = line.trim_start_matches(['ℹ', '#', ' ']).split_once(' ') else {
                continue;
            };
            let Ok(number) = number.trim().parse::<usize>() else { continue };
            match word {
                "pass" => counts.passed += number,
                "fail" | "cancelled" => counts.failed += number,
                "skipped" | "todo" => counts.skipped += number,
                _ => {}
            }
        }
        counts
    }

    /// Reads `12 passed` and the like.
    fn add(&mut self, part: &str, passed: &str, failed: &str, skipped: &str) {
        let Some((number, word)) = part.split_once(' ') else { return };
        let Ok(number) = number.parse::<usize>() else { return };
        match word {
            word if word == passed => self.passed += number,
            word if word == failed => self.failed += number,
            word if word == skipped => self.skipped += number,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_cargo_says() {
        let text = "test a ... ok\n\
            test result: ok. 14 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; finished in 1.07s\n\
            test result: FAILED. 1 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
        let counts = Counts::of_cargo(text);
        assert_eq!((counts.passed, counts.failed, counts.skipped), (15, 2, 1));
    }

    #[test]
    fn counts_what_vitest_says() {
        let text =
            " Test Files  1 failed | 2 passed (3)\n      Tests  1 failed | 12 passed | 2 skipped (15)\n";
        let counts = Counts::of_vitest(text);
        assert_eq!((counts.passed, counts.failed, counts.skipped), (12, 1, 2));
        assert_eq!(Counts::of_vitest("      Tests  4 passed (4)").passed, 4);
    }

    #[test]
    fn counts_what_node_says() {
        let text = "✔ signs in (3.2ms)\nℹ tests 4\nℹ suites 0\nℹ pass 2\nℹ fail 1\nℹ cancelled 0\nℹ skipped 1\nℹ todo 0\nℹ duration_ms 42.1\n";
        let counts = Counts::of_node(text);
        assert_eq!((counts.passed, counts.failed, counts.skipped), (2, 1, 1));
    }

    #[test]
    fn a_run_without_tests_or_with_skipped_ones_is_no_success() {
        assert!(Counts::of_cargo("").complaint().is_some());
        assert!(Counts::of_vitest("Tests  1 passed | 1 skipped (2)").complaint().is_some());
        assert_eq!(Counts::default().complaint(), None);
    }
}
