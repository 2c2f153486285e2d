//! How long to wait before trying again.

use std::time::Duration;

const FIRST_MS: u64 = 250;
const MOST_MS: u64 = 30_000;

/// Doubles from a quarter of a second to half a minute, spread at random, so that many clients of a server that was
/// restarted do not come back at the same moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure, never less than what the server hinted at.
    pub(super) fn next(&mut self, hint_ms: Option<u32>, random: f64) -> Duration {
        let ceiling = (FIRST_MS << self.failures.min(16)).min(MOST_MS);
        self.failures = self.failures.saturating_add(1);
        let spread = |of: u64| (of as f64 * random) as u64;
        let wait = match hint_ms {
            Some(hint) => u64::from(hint) + spread(u64::from(hint) / 2),
            None => ceiling / 2 + spread(ceiling / 2),
        };
        Duration::from_millis(wait)
    }

    /// It worked.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_longer_each_time_up_to_half_a_minute_and_starts_anew_after_success() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..10).map(|_| backoff.next(None, 1.0).as_millis()).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
        assert_eq!(backoff.next(None, 0.0).as_millis(), 15_000, "half of it is random");
        backoff.reset();
        assert_eq!(backoff.next(None, 0.0).as_millis(), 125);
    }

    #[test]
    fn what_the_server_hints_at_is_the_least() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next(Some(2_000), 0.0).as_millis(), 2_000);
        assert_eq!(backoff.next(Some(2_000), 1.0).as_millis(), 3_000);
    }
}
