//! Who asks how often: the tables behind the rates of the domain.
//!
//! On a stream too fast means a pause in reading, so that an honest burst is slowed and nothing is lost; over HTTP
//! it means a refusal with the time to wait. Loopback is trusted: from there only failures count.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use chinwag_domain::{
    limits::{Limits, Rate},
    rate::{Bucket, Buckets, SignInGuard, WhenFull},
};
use chinwag_protocol::{Command, Millis, Query, Refused, UserId};

/// Accounts and addresses remembered of each rate.
const ENTRIES_MAX: usize = 100_000;

/// The rates in use.
pub struct Limiter {
    limits: Limits,
    started: Instant,
    tables: Mutex<Tables>,
}

struct Tables {
    posts: Buckets<UserId>,
    commands: Buckets<UserId>,
    searches: Buckets<UserId>,
    queries: Buckets<UserId>,
    invites: Buckets<UserId>,
    confirmations: SignInGuard<UserId, UserId>,
    sign_ins: SignInGuard<String, IpAddr>,
    registrations: Buckets<IpAddr>,
    failures: Buckets<IpAddr>,
}

impl Limiter {
    /// Nobody has asked anything yet.
    pub fn new(limits: &Limits) -> Self {
        let keeps_the_peace = |rate| Buckets::new(rate, ENTRIES_MAX, WhenFull::Open);
        let keeps_out = |rate| Buckets::new(rate, ENTRIES_MAX, WhenFull::Closed);
        Self {
            limits: limits.clone(),
            started: Instant::now(),
            tables: Mutex::new(Tables {
                posts: keeps_the_peace(limits.messages_per_account),
                commands: keeps_the_peace(limits.commands_per_account),
                searches: keeps_the_peace(limits.searches_per_account),
                queries: keeps_the_peace(limits.queries_per_account),
                invites: Buckets::new(limits.invites_per_account, ENTRIES_MAX, WhenFull::Closed),
                confirmations: SignInGuard::new(limits),
                sign_ins: SignInGuard::new(limits),
                registrations: keeps_out(limits.registrations_per_address),
                failures: keeps_out(limits.failures_per_address),
            }),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Tables, u64) -> T) -> T {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        work(&mut self.tables.lock().unwrap_or_else(PoisonError::into_inner), now_ms)
    }

    /// How long a stream pauses for this command of a user.
    pub fn pause_for(&self, user: UserId, command: &Command) -> Duration {
        let (limits, posts) = (&self.limits, matches!(command, Command::Post { .. }));
        let rate = if posts { limits.messages_per_account } else { limits.commands_per_account };
        let taken = self.with(|tables, now_ms| {
            let table = if posts { &mut tables.posts } else { &mut tables.commands };
            table.take(user, now_ms, 1)
        });
        pause(&rate, taken)
    }

    /// Whether a user may send this command over HTTP now.
    pub fn command(&self, user: UserId, command: &Command) -> Result<(), Refused> {
        self.with(|tables, now_ms| match command {
            Command::Post { .. } => tables.posts.take(user, now_ms, 1).map_err(too_fast),
            _ => tables.commands.take(user, now_ms, 1).map_err(too_fast),
        })
    }

    /// Whether a user may make another invitation.
    pub fn invite(&self, user: UserId) -> Result<(), Refused> {
        self.with(|tables, now_ms| tables.invites.take(user, now_ms, 1).map_err(too_fast))
    }

    /// Whether a user may ask this now.
    pub fn query(&self, user: UserId, query: &Query) -> Result<(), Refused> {
        self.with(|tables, now_ms| match query {
            Query::Search { .. } => tables.searches.take(user, now_ms, 1).map_err(too_fast),
            _ => tables.queries.take(user, now_ms, 1).map_err(too_fast),
        })
    }

    /// Whether an account may be made from this address.
    pub fn register(&self, peer: IpAddr) -> Result<(), Refused> {
        if peer.is_loopback() {
            return Ok(());
        }
        self.with(|tables, now_ms| tables.registrations.take(network(peer), now_ms, 1).map_err(too_fast))
    }

    /// Whether a password may be tried for this handle from this address.
    pub fn sign_in(&self, handle: &str, peer: IpAddr) -> Result<(), Refused> {
        self.with(|tables, now_ms| {
            let attempt = tables.sign_ins.attempt(&handle.to_owned(), network(peer), peer.is_loopback(), now_ms);
            attempt.map_err(too_fast)
        })
    }

    /// The password was wrong.
    pub fn sign_in_failed(&self, handle: &str, peer: IpAddr) {
        self.with(|tables, now_ms| {
            tables.sign_ins.failed(handle.to_owned(), network(peer), peer.is_loopback(), now_ms);
        });
    }

    /// The password was right.
    pub fn signed_in(&self, handle: &str) {
        self.with(|tables, _now_ms| tables.sign_ins.succeeded(&handle.to_owned()));
    }

    /// Whether a signed-in user may prove his password now.
    pub fn confirm(&self, user: UserId) -> Result<(), Refused> {
        self.with(|tables, now_ms| tables.confirmations.attempt(&user, user, true, now_ms).map_err(too_fast))
    }

    /// A signed-in user gave a wrong password, or the right one.
    pub fn confirmed(&self, user: UserId, right: bool) {
        self.with(|tables, now_ms| {
            if right {
                tables.confirmations.succeeded(&user);
            } else {
                tables.confirmations.failed(user, user, true, now_ms);
            }
        });
    }

    /// Counts a failed request of an address.
    pub fn failed(&self, peer: IpAddr) {
        if !peer.is_loopback() {
            self.with(|tables, now_ms| tables.failures.charge(network(peer), now_ms, 1));
        }
    }

    /// Whether an address has failed too often to be listened to.
    pub fn may_ask(&self, peer: IpAddr) -> Result<(), Refused> {
        match self.with(|tables, now_ms| tables.failures.wait_ms(&network(peer), now_ms)) {
            0 => Ok(()),
            wait => Err(too_fast(wait)),
        }
    }

    /// The rates of one new connection.
    pub fn pace(&self) -> Pace {
        Pace {
            started: self.started,
            frames: (self.limits.frames_per_connection, Bucket::default()),
            pings: (self.limits.pings_per_connection, Bucket::default()),
        }
    }
}

/// How fast one connection may go.
pub struct Pace {
    started: Instant,
    frames: (Rate, Bucket),
    pings: (Rate, Bucket),
}

impl Pace {
    /// How long to pause for one frame.
    pub fn frame(&mut self) -> Duration {
        Self::take(self.started, &mut self.frames)
    }

    /// How long to pause for one ping.
    pub fn ping(&mut self) -> Duration {
        Self::take(self.started, &mut self.pings)
    }

    fn take(started: Instant, (rate, bucket): &mut (Rate, Bucket)) -> Duration {
        let now_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        pause(rate, bucket.take(rate, now_ms, 1))
    }
}

/// The time that one of a rate takes, if there was no room for it.
fn pause(rate: &Rate, taken: Result<(), u32>) -> Duration {
    match taken {
        Ok(()) => Duration::ZERO,
        Err(_wait_ms) => Duration::from_secs_f64(1.0 / rate.per_s),
    }
}

/// One household has a whole IPv6 network: its addresses count as one.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

fn too_fast(retry_after_ms: u32) -> Refused {
    Refused::too_many("rate_limited", "too fast: wait a moment", retry_after_ms)
}

/// The time of the wall, for entries and for "last seen".
pub fn wall_clock() -> Millis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post() -> Command {
        Command::Post {
            conversation: chinwag_protocol::ConversationId(1),
            client_id: "x".to_owned(),
            text: "x".to_owned(),
            reply_to: None,
            thread: None,
        }
    }

    #[test]
    fn a_burst_is_free_and_then_each_message_pauses() {
        let limits = Limits { messages_per_account: Rate::new(0.1, 3), ..Limits::default() };
        let limiter = Limiter::new(&limits);
        for _ in 0..3 {
            assert_eq!(limiter.pause_for(UserId(1), &post()), Duration::ZERO);
        }
        assert_eq!(limiter.pause_for(UserId(1), &post()), Duration::from_secs(10));
        assert_eq!(limiter.command(UserId(1), &post()).unwrap_err().code, "rate_limited");
        assert_eq!(limiter.pause_for(UserId(2), &post()), Duration::ZERO, "each account for itself");
    }

    #[test]
    fn registrations_are_bounded_by_day_except_from_here() {
        let limiter = Limiter::new(&Limits::default());
        let address: IpAddr = "203.0.113.7".parse().unwrap();
        let granted = (0..10).filter(|_| limiter.register(address).is_ok()).count();
        assert_eq!(granted, 5);
        assert!((0..10).all(|_| limiter.register("::1".parse().unwrap()).is_ok()));
    }
}
