//! What somebody was denied, as lines of the log with the target `audit`, for whoever watches over the server.
//!
//! Who, from where, at which door, and what for; never a text, a token, or the name that was claimed. However much is
//! denied, there is at most one line a second from each place that notes it, and it says how many there were.

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use chinwag_domain::Actor;

/// Between two lines.
const PAUSE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Default)]
pub(crate) struct Denials(Mutex<Sampled>);

#[derive(Default)]
struct Sampled {
    told_at: Option<Instant>,
    untold: u64,
}

impl Denials {
    /// Somebody was denied something at a door.
    pub(crate) fn note(&self, door: &str, action: &str, by: &Actor, peer: IpAddr) {
        metrics::counter!("chinwag_denials_total").increment(1);
        let mut sampled = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = sampled.denied(Instant::now()) else { return };
        drop(sampled);
        let (user, session) = (by.user, by.session);
        tracing::info!(target: "audit", %user, %session, %peer, door, action, result = "denied", count);
    }
}

impl Sampled {
    /// How many were denied since the last line, if it is time for another.
    fn denied(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        if self.told_at.is_some_and(|at| now.duration_since(at) < PAUSE) {
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_denials_is_one_line_a_second_and_counted() {
        let (mut sampled, start) = (Sampled::default(), Instant::now());
        let told: Vec<Option<u64>> =
            (0..2_500).map(|ms| sampled.denied(start + Duration::from_millis(ms))).collect();
        let told: Vec<u64> = told.into_iter().flatten().collect();
        assert_eq!(told, [1, 1_000, 1_000]);
    }
}
