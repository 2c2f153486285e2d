//! Counting how fast somebody asks, as pure state: the time is passed in, in milliseconds of any steady clock.
//!
//! A [`Bucket`] is one number (GCRA): the time at which it will be full again. A table of them is bounded, so that
//! the limiter is not itself the leak, and says what happens to those it has no room for.

use std::{collections::HashMap, hash::Hash};

use crate::limits::{Limits, Rate};

/// How far ahead of its rate somebody can get who is made to wait and not refused. Several connections of one
/// account wait at the same time, so what each of them has taken must be owed, or each would go on at the full rate.
const AHEAD_MAX_MS: f64 = 60_000.0;

/// What one asker has used of a rate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bucket {
    /// When nothing will be owed any more, in milliseconds; fractions matter at high rates.
    settled_ms: f64,
}

impl Bucket {
    /// Takes `count` at time `now_ms`, or says after how many milliseconds they can be had.
    ///
    /// More than a whole burst at once is never granted; it is told to wait as long as a burst takes.
    pub fn take(&mut self, rate: &Rate, now_ms: u64, count: u32) -> Result<(), u32> {
        let (now, each_ms) = (now_ms as f64, 1000.0 / rate.per_s);
        let burst_ms = each_ms * f64::from(rate.burst);
        let settled = self.settled_ms.max(now) + each_ms * f64::from(count);
        let wait = settled - now - burst_ms;
        // A millionth of a millisecond is rounding, not haste.
        if wait <= 1e-6 {
            self.settled_ms = settled;
            return Ok(());
        }
        Err(whole_ms(wait.min(burst_ms.max(each_ms))))
    }

    /// Counts `count` whether there is room or not: for what has happened already. At most one burst is owed.
    pub fn charge(&mut self, rate: &Rate, now_ms: u64, count: u32) {
        let (now, each_ms) = (now_ms as f64, 1000.0 / rate.per_s);
        let settled = self.settled_ms.max(now) + each_ms * f64::from(count);
        self.settled_ms = settled.min(now + each_ms * f64::from(rate.burst));
    }

    /// Counts `count` whether there is room or not, and answers after how many milliseconds one more could be had:
    /// for so long nothing more is to be taken from whoever it was.
    pub fn owe(&mut self, rate: &Rate, now_ms: u64, count: u32) -> u32 {
        let (now, each_ms) = (now_ms as f64, 1000.0 / rate.per_s);
        let burst_ms = each_ms * f64::from(rate.burst);
        let settled = self.settled_ms.max(now) + each_ms * f64::from(count);
        self.settled_ms = settled.min(now + burst_ms + AHEAD_MAX_MS);
        let wait = self.settled_ms + each_ms - now - burst_ms;
        if wait <= 1e-6 { 0 } else { whole_ms(wait) }
    }

    /// After how many milliseconds one more could be taken; zero if now.
    pub fn wait_ms(&self, rate: &Rate, now_ms: u64) -> u32 {
        Self { ..*self }.take(rate, now_ms, 1).err().unwrap_or(0)
    }

    /// Whether nothing is owed: forgetting it then changes nothing.
    fn is_settled(&self, now_ms: u64) -> bool {
        self.settled_ms <= now_ms as f64
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 1 and u32::MAX")]
fn whole_ms(wait: f64) -> u32 {
    wait.ceil().clamp(1.0, f64::from(u32::MAX)) as u32
}

/// What happens to somebody new while the table is full of askers who still owe something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// He may: a limit that only keeps the peace.
    Open,
    /// He waits: a limit that keeps somebody out.
    Closed,
}

/// A bounded table of buckets of one rate.
#[derive(Debug)]
pub struct Buckets<K> {
    rate: Rate,
    when_full: WhenFull,
    entries_max: usize,
    entries: HashMap<K, Bucket>,
    sweep_from_ms: u64,
}

/// A full table looks for entries to forget at most so often: looking through all of it for every newcomer would
/// be the very work that an attacker wants.
const SWEEP_EVERY_MS: u64 = 1_000;

impl<K: Hash + Eq> Buckets<K> {
    /// An empty table of at most `entries_max` askers.
    pub fn new(rate: Rate, entries_max: usize, when_full: WhenFull) -> Self {
        Self { rate, when_full, entries_max, entries: HashMap::new(), sweep_from_ms: 0 }
    }

    /// Takes `count` for `key`, or says after how many milliseconds they can be had.
    pub fn take(&mut self, key: K, now_ms: u64, count: u32) -> Result<(), u32> {
        let (rate, when_full) = (self.rate, self.when_full);
        match self.bucket(key, now_ms) {
            Some(bucket) => bucket.take(&rate, now_ms, count),
            None if when_full == WhenFull::Open => Ok(()),
            None => Err(whole_ms(1000.0 / rate.per_s)),
        }
    }

    /// Counts `count` for `key` after the fact.
    pub fn charge(&mut self, key: K, now_ms: u64, count: u32) {
        let rate = self.rate;
        if let Some(bucket) = self.bucket(key, now_ms) {
            bucket.charge(&rate, now_ms, count);
        }
    }

    /// Counts `count` for `key` after the fact, and answers for how long it has to wait; see [`Bucket::owe`].
    pub fn owe(&mut self, key: K, now_ms: u64, count: u32) -> u32 {
        let rate = self.rate;
        self.bucket(key, now_ms).map_or(0, |bucket| bucket.owe(&rate, now_ms, count))
    }

    /// After how many milliseconds `key` could take one more; zero if now.
    pub fn wait_ms(&self, key: &K, now_ms: u64) -> u32 {
        self.entries.get(key).map_or(0, |bucket| bucket.wait_ms(&self.rate, now_ms))
    }

    /// How many askers are remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn bucket(&mut self, key: K, now_ms: u64) -> Option<&mut Bucket> {
        if !self.entries.contains_key(&key) && self.entries.len() >= self.entries_max {
            if now_ms >= self.sweep_from_ms {
                self.sweep_from_ms = now_ms + SWEEP_EVERY_MS;
                self.entries.retain(|_, bucket| !bucket.is_settled(now_ms));
            }
            if self.entries.len() >= self.entries_max {
                return None;
            }
        }
        Some(self.entries.entry(key).or_default())
    }
}

/// Wrong passwords of one account.
#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    count: u32,
    next_ms: u64,
    last_ms: u64,
}

/// Why a password is not even looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slowed {
    /// After so many milliseconds it may be tried.
    Wait(u32),
    /// Too many wrong ones in a row: only [`SignInGuard::succeeded`] ends this.
    Stopped,
}

/// From where a password comes, in growing circles.
#[derive(Clone, Copy, Debug)]
pub struct Whence<K> {
    /// The address.
    pub address: K,
    /// The network that it belongs to.
    pub network: K,
    /// The machine itself: of these, only failures count.
    pub trusted: bool,
}

/// Slows down guessing: per account, per address and per network.
///
/// After very many wrong passwords in a row an account's sign-in stops. That a stranger can bring this about is the
/// price; sessions go on, and proving the password in one of them, or a reset link, lifts it.
#[derive(Debug)]
pub struct SignInGuard<A, K> {
    free: u32,
    stop_at: u32,
    wait_max_ms: u64,
    accounts_max: usize,
    accounts: HashMap<A, Failures>,
    addresses: Buckets<K>,
    networks: Buckets<K>,
    sweep_from_ms: u64,
}

/// Accounts under attack that are remembered at the same time.
const ACCOUNTS_MAX: usize = 100_000;
/// Addresses that are remembered at the same time.
const ADDRESSES_MAX: usize = 100_000;
/// Wrong passwords are forgotten after so long without another.
const FORGOTTEN_AFTER_MS: u64 = 24 * 3600 * 1000;

impl<A: Hash + Eq, K: Hash + Eq> SignInGuard<A, K> {
    /// A guard without memory.
    pub fn new(limits: &Limits) -> Self {
        Self {
            free: limits.sign_in_failures_free,
            stop_at: limits.sign_in_failures_max,
            wait_max_ms: u64::from(limits.sign_in_wait_max_s) * 1000,
            accounts_max: ACCOUNTS_MAX,
            accounts: HashMap::new(),
            // Guessing from more addresses than fit must not get easier for it.
            addresses: Buckets::new(limits.sign_ins_per_address, ADDRESSES_MAX, WhenFull::Closed),
            networks: Buckets::new(limits.sign_ins_per_network, ADDRESSES_MAX, WhenFull::Closed),
            sweep_from_ms: 0,
        }
    }

    /// Before the password is checked: may this be tried? From a trusted address (loopback) only failures count,
    /// and they are counted by [`Self::failed`].
    pub fn attempt(&mut self, account: &A, from: Whence<K>, now_ms: u64) -> Result<(), Slowed> {
        if let Some(failures) = self.accounts.get(account) {
            if failures.count >= self.stop_at {
                return Err(Slowed::Stopped);
            }
            if failures.next_ms > now_ms {
                return Err(Slowed::Wait(whole_ms((failures.next_ms - now_ms) as f64)));
            }
        }
        if from.trusted {
            return match self.addresses.wait_ms(&from.address, now_ms) {
                0 => Ok(()),
                wait => Err(Slowed::Wait(wait)),
            };
        }
        // An address that is too fast alone does not use up what its neighbours have.
        self.addresses.take(from.address, now_ms, 1).map_err(Slowed::Wait)?;
        self.networks.take(from.network, now_ms, 1).map_err(Slowed::Wait)
    }

    /// The password was wrong, or there is no such account: both are counted alike.
    pub fn failed(&mut self, account: A, from: Whence<K>, now_ms: u64) {
        if from.trusted {
            self.addresses.charge(from.address, now_ms, 1);
        }
        if !self.accounts.contains_key(&account) && self.accounts.len() >= self.accounts_max {
            if now_ms >= self.sweep_from_ms {
                self.sweep_from_ms = now_ms + SWEEP_EVERY_MS;
                let longest_ago = now_ms.saturating_sub(FORGOTTEN_AFTER_MS);
                let stop_at = self.stop_at;
                self.accounts.retain(|_, failures| {
                    failures.next_ms > now_ms || failures.last_ms > longest_ago || failures.count >= stop_at
                });
            }
            if self.accounts.len() >= self.accounts_max {
                // The limit per address still holds.
                return;
            }
        }
        let failures = self.accounts.entry(account).or_default();
        if failures.last_ms + FORGOTTEN_AFTER_MS < now_ms {
            *failures = Failures::default();
        }
        failures.count = failures.count.saturating_add(1);
        failures.last_ms = now_ms;
        if failures.count > self.free {
            let doublings = (failures.count - self.free - 1).min(20);
            failures.next_ms = now_ms + (1000u64 << doublings).min(self.wait_max_ms);
        }
    }

    /// The password was right, or a new one was chosen: the account's failures are forgotten.
    pub fn succeeded(&mut self, account: &A) {
        self.accounts.remove(account);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(address: u32, trusted: bool) -> Whence<u32> {
        Whence { address, network: address / 10, trusted }
    }

    #[test]
    fn a_burst_comes_at_once_and_the_rest_at_the_rate() {
        let rate = Rate::new(10.0, 100);
        let mut bucket = Bucket::default();
        for _ in 0..100 {
            assert_eq!(bucket.take(&rate, 5_000, 1), Ok(()));
        }
        assert_eq!(bucket.take(&rate, 5_000, 1), Err(100));
        assert_eq!(bucket.take(&rate, 5_099, 1), Err(1));
        assert_eq!(bucket.take(&rate, 5_100, 1), Ok(()));
        assert_eq!(bucket.take(&rate, 5_100, 1), Err(100));
        assert_eq!(bucket.take(&rate, 15_100, 100), Ok(()));
        assert!(bucket.take(&rate, 100_000, 101).is_err(), "never more than a burst at once");
    }

    #[test]
    fn fuzz_rate() {
        bolero::check!().with_type::<Vec<(u16, u8)>>().for_each(|steps| {
            let rate = Rate::new(7.0, 20);
            let (mut bucket, mut now, mut granted) = (Bucket::default(), 1_000u64, 0u64);
            for (wait, count) in steps {
                now += u64::from(*wait);
                if bucket.take(&rate, now, u32::from(*count)).is_ok() {
                    granted += u64::from(*count);
                }
                assert!(granted as f64 <= 20.0 + 7.0 * (now - 1_000) as f64 / 1000.0 + 1e-3);
            }
        });
    }

    #[test]
    fn however_many_wait_at_once_they_get_one_rate_together() {
        let rate = Rate { per_s: 10.0, burst: 20 };
        let mut bucket = Bucket::default();
        // Nine connections, each of which takes one more as soon as its own wait is over.
        let mut ready = [0_u64; 9];
        let mut taken = 0;
        for now in 0..10_000 {
            for next in &mut ready {
                if *next <= now {
                    taken += 1;
                    *next = now + u64::from(bucket.owe(&rate, now, 1).max(1));
                }
            }
        }
        // A burst, ten seconds of the rate, and one for each that waits.
        assert!((120..=130).contains(&taken), "{taken}");
    }

    #[test]
    fn unlimited_is_unlimited() {
        let mut bucket = Bucket::default();
        for _ in 0..10_000 {
            assert_eq!(bucket.take(&Rate::unlimited(), 1, 1_000), Ok(()));
        }
    }

    #[test]
    fn a_full_table_forgets_who_owes_nothing_and_then_does_as_declared() {
        for (when_full, expected) in [(WhenFull::Open, Ok(())), (WhenFull::Closed, Err(1_000))] {
            let mut table = Buckets::new(Rate::new(1.0, 2), 3, when_full);
            for key in 0..3 {
                assert_eq!(table.take(key, 10_000, 2), Ok(()));
            }
            assert_eq!(table.take(3, 10_000, 1), expected);
            assert_eq!(table.take(0, 10_000, 1), Err(1_000), "nobody who owes is forgotten");
            assert_eq!((table.take(3, 12_000, 2), table.len()), (Ok(()), 1));
        }
    }

    #[test]
    fn guessing_an_account_gets_slower() {
        let mut guard = SignInGuard::<&str, u32>::new(&Limits {
            sign_ins_per_address: Rate::unlimited(),
            ..Limits::default()
        });
        let mut now = 1_000_000;
        for _ in 0..5 {
            assert_eq!(guard.attempt(&"anna", from(1, false), now), Ok(()));
            guard.failed("anna", from(1, false), now);
        }
        for wait in [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
            assert_eq!(guard.attempt(&"anna", from(1, false), now), Ok(()), "before {wait}");
            guard.failed("anna", from(1, false), now);
            assert_eq!(
                guard.attempt(&"anna", from(2, false), now),
                Err(Slowed::Wait(wait)),
                "from any address"
            );
            assert_eq!(
                guard.attempt(&"bob", from(1, false), now),
                Ok(()),
                "another account is not concerned"
            );
            now += u64::from(wait);
        }
        guard.succeeded(&"anna");
        guard.failed("anna", from(1, false), now);
        assert_eq!(guard.attempt(&"anna", from(1, false), now), Ok(()));
    }

    #[test]
    fn an_address_may_try_twenty_times_a_minute_and_a_trusted_one_only_fail_so_often() {
        let mut guard = SignInGuard::<u32, u32>::new(&Limits::default());
        for account in 0..20 {
            assert_eq!(guard.attempt(&account, from(1, false), 0), Ok(()));
            guard.succeeded(&account);
        }
        assert_eq!(guard.attempt(&99, from(1, false), 0), Err(Slowed::Wait(3_000)));
        for account in 0..1_000 {
            assert_eq!(guard.attempt(&account, from(2, true), 0), Ok(()));
            guard.succeeded(&account);
        }
        for account in 0..20 {
            assert_eq!(guard.attempt(&account, from(2, true), 0), Ok(()));
            guard.failed(account, from(2, true), 0);
        }
        assert_eq!(guard.attempt(&99, from(2, true), 0), Err(Slowed::Wait(3_000)));
    }

    #[test]
    fn a_network_has_a_rate_of_its_own_that_its_fast_addresses_do_not_use_up() {
        let limits = Limits {
            sign_ins_per_address: Rate::per_minute(2),
            sign_ins_per_network: Rate::per_minute(5),
            ..Limits::default()
        };
        let mut guard = SignInGuard::new(&limits);
        let mut tried = |account: u32, address: u32| guard.attempt(&account, from(address, false), 0).is_ok();
        assert_eq!((0..10).filter(|account| tried(*account, 11)).count(), 2);
        assert_eq!((0..10).filter(|account| tried(*account, 12)).count(), 2);
        assert_eq!((0..10).filter(|account| tried(*account, 13)).count(), 1, "five from the network");
        assert!(tried(1, 21), "the next network is not concerned");
    }

    #[test]
    fn a_stop_outlasts_a_day_and_ends_with_the_right_password() {
        let limits = Limits { sign_in_failures_max: 3, ..Limits::default() };
        let mut guard = SignInGuard::new(&limits);
        for _ in 0..3 {
            assert_eq!(guard.attempt(&"anna", from(1, false), 0), Ok(()));
            guard.failed("anna", from(1, false), 0);
        }
        let later = 2 * FORGOTTEN_AFTER_MS;
        assert_eq!(guard.attempt(&"anna", from(2, true), later), Err(Slowed::Stopped));
        assert_eq!(guard.attempt(&"bob", from(1, false), later), Ok(()));
        guard.succeeded(&"anna");
        assert_eq!(guard.attempt(&"anna", from(1, false), later), Ok(()));
    }
}
