//! Who asks too much: the rates of `[limits]`, counted per account, address, conversation and session.
//!
//! The counting itself is `chinwag_domain::rate`; this is the clock, the locks and the words. On a stream the
//! answer is a pause, so that an honest burst is slowed and nothing is lost; elsewhere it is a refusal. The machine
//! itself (loopback) is exempt from what counts addresses, except for wrong passwords.

use std::{
    hash::Hash,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use chinwag_domain::{
    limits::{Limits, Rate},
    rate::{Bucket, Buckets, SignInGuard, Slowed, WhenFull, Whence},
};
use chinwag_protocol::{Command, ConversationId, Millis, Query, Refused, SessionId, UserId};
use tokio::time::Instant;

/// Accounts, addresses or conversations that are counted at the same time. Each takes some 40 bytes.
const ENTRIES_MAX: usize = 100_000;

/// All counters of one server.
pub struct Limiter {
    limits: Arc<Limits>,
    started: Instant,
    messages: Counter<UserId>,
    conversations: Counter<ConversationId>,
    commands: Counter<UserId>,
    queries: Counter<UserId>,
    searches: Counter<UserId>,
    invites: Counter<UserId>,
    strangers: Counter<UserId>,
    uploads: Counter<UserId>,
    calls: Counter<UserId>,
    /// There is no address here; the account takes its place.
    confirmations: Mutex<SignInGuard<UserId, UserId>>,
    resumes: Counter<SessionId>,
    registrations: Counter<IpAddr>,
    guests: Counter<IpAddr>,
    failures: Counter<IpAddr>,
    sign_ins: Mutex<SignInGuard<String, IpAddr>>,
}

impl Limiter {
    /// Counters that start at nothing.
    pub fn new(limits: &Limits) -> Self {
        // What only keeps the peace lets newcomers in when its table is full; what keeps somebody out does not.
        let (open, closed) = (WhenFull::Open, WhenFull::Closed);
        Self {
            started: Instant::now(),
            messages: Counter::new(limits.messages_per_account, open),
            conversations: Counter::new(limits.messages_per_conversation, open),
            commands: Counter::new(limits.commands_per_account, open),
            queries: Counter::new(limits.queries_per_account, open),
            searches: Counter::new(limits.searches_per_account, open),
            invites: Counter::new(limits.invites_per_account, closed),
            strangers: Counter::new(limits.strangers_per_account, closed),
            uploads: Counter::new(limits.uploads_per_account, open),
            calls: Counter::new(limits.calls_per_account, open),
            confirmations: Mutex::new(SignInGuard::new(limits)),
            resumes: Counter::new(limits.resumes_per_session, open),
            registrations: Counter::new(limits.registrations_per_address, closed),
            guests: Counter::new(limits.guests_per_address, closed),
            failures: Counter::new(limits.failures_per_address, open),
            sign_ins: Mutex::new(SignInGuard::new(limits)),
            limits: Arc::new(limits.clone()),
        }
    }

    /// Before an account is made, or a reset link is used.
    pub fn register(&self, peer: IpAddr) -> Result<(), Refused> {
        if peer.to_canonical().is_loopback() {
            return Ok(());
        }
        self.registrations.take(network(peer), self.now()).map_err(too_many)
    }

    /// Before somebody comes by his name alone.
    pub fn guest(&self, peer: IpAddr) -> Result<(), Refused> {
        if peer.to_canonical().is_loopback() {
            return Ok(());
        }
        self.guests.take(network(peer), self.now()).map_err(too_many)
    }

    /// Before a password is checked. `account` is the folded handle.
    pub fn sign_in(&self, account: &str, peer: IpAddr) -> Result<(), Refused> {
        let mut guard = lock(&self.sign_ins);
        guard.attempt(&account.to_owned(), whence(peer), self.now()).map_err(slowed)
    }

    /// The password was wrong, or there is no such account.
    pub fn sign_in_failed(&self, account: &str, peer: IpAddr) {
        lock(&self.sign_ins).failed(account.to_owned(), whence(peer), self.now());
    }

    /// The password was right; or a new one was chosen with a reset link.
    pub fn signed_in(&self, account: &str) {
        lock(&self.sign_ins).succeeded(&account.to_owned());
    }

    /// Before a signed-in user's password is checked again.
    pub fn confirm(&self, user: UserId) -> Result<(), Refused> {
        lock(&self.confirmations).attempt(&user, inside(user), self.now()).map_err(slowed)
    }

    /// Whether it was right.
    pub fn confirmed(&self, user: UserId, right: bool) {
        let mut guard = lock(&self.confirmations);
        if right {
            guard.succeeded(&user);
        } else {
            guard.failed(user, inside(user), self.now());
        }
    }

    /// Before an invitation is made, however it was asked for: a pause would take hours.
    pub fn invite(&self, user: UserId) -> Result<(), Refused> {
        self.invites.take(user, self.now()).map_err(too_many)
    }

    /// Before a user writes to somebody he has nothing to do with.
    pub fn stranger(&self, user: UserId) -> Result<(), Refused> {
        self.strangers.take(user, self.now()).map_err(too_many)
    }

    /// Before a file is uploaded.
    pub fn upload(&self, user: UserId) -> Result<(), Refused> {
        self.uploads.take(user, self.now()).map_err(too_many)
    }

    /// Before a call is started, however it was asked for: nobody wants to be rung late.
    pub fn call(&self, user: UserId) -> Result<(), Refused> {
        self.calls.take(user, self.now()).map_err(too_many)
    }

    /// How much is allowed.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Before a query.
    pub fn query(&self, user: UserId, query: &Query) -> Result<(), Refused> {
        let counter = if matches!(query, Query::Search { .. }) { &self.searches } else { &self.queries };
        counter.take(user, self.now()).map_err(too_many)
    }

    /// Before a command that came alone, over HTTP: refused if it is too fast.
    pub fn command(&self, user: UserId, command: &Command) -> Result<(), Refused> {
        let now = self.now();
        match command {
            Command::Post { conversation, .. } => {
                self.messages.take(user, now).map_err(too_many)?;
                self.conversations.take(*conversation, now).map_err(too_many)
            }
            _ => self.commands.take(user, now).map_err(too_many),
        }
    }

    /// A command came over a stream and will be handed to the rules: how long to pause before reading on.
    pub fn pause_for(&self, user: UserId, command: &Command) -> Duration {
        let now = self.now();
        match command {
            Command::Post { conversation, .. } => {
                self.messages.owe(user, now).max(self.conversations.owe(*conversation, now))
            }
            _ => self.commands.owe(user, now),
        }
    }

    /// The pace of one connection.
    pub fn pace(&self) -> Pace {
        Pace {
            limits: Arc::clone(&self.limits),
            started: self.started,
            frames: Bucket::default(),
            pings: Bucket::default(),
        }
    }

    /// Before a session goes on where it left off. How many connections it has open is counted by the hub.
    pub fn resume(&self, session: SessionId) -> Result<(), Refused> {
        self.resumes.take(session, self.now()).map_err(too_many)
    }

    /// Whether an address that failed too often has to wait.
    pub fn may_ask(&self, peer: IpAddr) -> Result<(), Refused> {
        if peer.to_canonical().is_loopback() {
            return Ok(());
        }
        match self.failures.wait(&network(peer), self.now()) {
            0 => Ok(()),
            wait => Err(too_many(wait)),
        }
    }

    /// A request of an address was answered with 401, 403, 404 or 429.
    pub fn failed(&self, peer: IpAddr) {
        if !peer.to_canonical().is_loopback() {
            self.failures.charge(network(peer), self.now());
        }
    }

    fn now(&self) -> u64 {
        millis_since(self.started)
    }
}

/// How fast one connection sends, whatever it sends.
pub struct Pace {
    limits: Arc<Limits>,
    started: Instant,
    frames: Bucket,
    pings: Bucket,
}

impl Pace {
    /// Frames came: how long to pause before reading on.
    pub fn frames(&mut self, count: u32) -> Duration {
        owe(&mut self.frames, &self.limits.frames_per_connection, millis_since(self.started), count)
    }

    /// A ping came: how long to pause before reading on.
    pub fn ping(&mut self) -> Duration {
        owe(&mut self.pings, &self.limits.pings_per_connection, millis_since(self.started), 1)
    }
}

/// A table of buckets that many tasks use; nothing is counted where nothing is limited.
struct Counter<K> {
    lifted: bool,
    buckets: Mutex<Buckets<K>>,
}

impl<K: Hash + Eq + Copy> Counter<K> {
    fn new(rate: Rate, when_full: WhenFull) -> Self {
        Self {
            lifted: rate == Rate::unlimited(),
            buckets: Mutex::new(Buckets::new(rate, ENTRIES_MAX, when_full)),
        }
    }

    fn take(&self, key: K, now: u64) -> Result<(), u32> {
        if self.lifted { Ok(()) } else { lock(&self.buckets).take(key, now, 1) }
    }

    /// Counts what happens in any case; answers the pause until the next would have been granted.
    fn charge(&self, key: K, now: u64) {
        if !self.lifted {
            lock(&self.buckets).charge(key, now, 1);
        }
    }

    fn owe(&self, key: K, now: u64) -> Duration {
        if self.lifted {
            return Duration::ZERO;
        }
        Duration::from_millis(lock(&self.buckets).owe(key, now, 1).into())
    }

    fn wait(&self, key: &K, now: u64) -> u32 {
        if self.lifted { 0 } else { lock(&self.buckets).wait_ms(key, now) }
    }
}

fn owe(bucket: &mut Bucket, rate: &Rate, now: u64, count: u32) -> Duration {
    Duration::from_millis(bucket.owe(rate, now, count).into())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A counter is good enough even if somebody panicked while holding it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn too_many(wait_ms: u32) -> Refused {
    Refused::too_many("rate_limited", "too fast: wait a moment", wait_ms)
}

fn slowed(slowed: Slowed) -> Refused {
    match slowed {
        Slowed::Wait(wait_ms) => too_many(wait_ms),
        Slowed::Stopped => Refused::forbidden(
            "sign_in_stopped",
            "too many wrong passwords: ask an administrator for a link to choose a new one",
        ),
    }
}

fn whence(peer: IpAddr) -> Whence<IpAddr> {
    let trusted = peer.to_canonical().is_loopback();
    Whence { address: network(peer), network: neighbourhood(peer), trusted }
}

fn inside(user: UserId) -> Whence<UserId> {
    Whence { address: user, network: user, trusted: true }
}

fn millis_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The time of the machine, for the entries of logs. Order never depends on it.
pub fn wall_clock() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// What is counted as one address: a household has one of version 4, and a network of 2^64 of version 6.
pub fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) if !ip.is_loopback() => {
            Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into()
        }
        ip => ip,
    }
}

/// The network that an address belongs to: 256 addresses of version 4, a site of version 6.
fn neighbourhood(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & !0xff).into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !(u128::MAX >> 48)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRANGER: &str = "203.0.113.7";

    fn post_in(conversation: u32) -> Command {
        Command::Post {
            conversation: ConversationId(conversation),
            client_id: "x".into(),
            text: "x".into(),
            attachments: Vec::new(),
            reply_to: None,
            thread: None,
            sent_at: None,
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_are_counted_by_network() {
        assert_eq!(network(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
        assert_eq!(network(ip("::ffff:203.0.113.7")), ip(STRANGER));
        assert_eq!(network(ip(STRANGER)), ip(STRANGER));
    }

    #[test]
    fn strangers_make_five_accounts_and_the_machine_itself_any_number() {
        let limiter = Limiter::new(&Limits::default());
        for _ in 0..5 {
            assert!(limiter.register(ip(STRANGER)).is_ok());
        }
        let refused = limiter.register(ip(STRANGER)).unwrap_err();
        assert_eq!(refused.code, "rate_limited");
        assert!(refused.retry_after_ms.is_some_and(|wait| wait > 1_000));
        for _ in 0..100 {
            assert!(limiter.register(ip("127.0.0.1")).is_ok());
            assert!(limiter.register(ip("::ffff:127.0.0.1")).is_ok());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_slowed_to_the_rate() {
        let limiter = Limiter::new(&Limits::default());
        let post = || limiter.pause_for(UserId(1), &post_in(1));
        for sent in 0..99 {
            assert_eq!(post(), Duration::ZERO, "{sent}");
        }
        assert_eq!(post(), Duration::from_millis(100));
        tokio::time::advance(Duration::from_millis(100)).await;
        assert_eq!(post(), Duration::from_millis(100));
        assert_eq!(limiter.pause_for(UserId(2), &post_in(2)), Duration::ZERO);
        assert_eq!(limiter.pause_for(UserId(1), &Command::EndOtherSessions {}), Duration::ZERO);
    }

    #[test]
    fn a_single_message_is_refused() {
        let limiter = Limiter::new(&Limits::default());
        let post = post_in(1);
        for _ in 0..100 {
            assert!(limiter.command(UserId(1), &post).is_ok());
        }
        assert!(limiter.command(UserId(1), &post).is_err());
        assert!(limiter.command(UserId(1), &Command::EndOtherSessions {}).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn guessing_in_a_session_gets_slower() {
        let limiter = Limiter::new(&Limits::default());
        for _ in 0..6 {
            assert!(limiter.confirm(UserId(1)).is_ok());
            limiter.confirmed(UserId(1), false);
        }
        assert_eq!(limiter.confirm(UserId(1)).unwrap_err().retry_after_ms, Some(1_000));
        assert!(limiter.confirm(UserId(2)).is_ok());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(limiter.confirm(UserId(1)).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_wrong_passwords_stop_the_sign_in_until_a_new_one_is_chosen() {
        let limiter = Limiter::new(&Limits::default());
        for number in 0..100_u32 {
            // From ever other networks, so that only the account is slow.
            let peer = IpAddr::from(Ipv4Addr::from_bits(0x0b00_0000 + number * 0x1_0000));
            assert!(limiter.sign_in("anna", peer).is_ok(), "{number}");
            limiter.sign_in_failed("anna", peer);
            tokio::time::advance(Duration::from_secs(61)).await;
        }
        tokio::time::advance(Duration::from_secs(30 * 24 * 3600)).await;
        assert_eq!(limiter.sign_in("anna", ip(STRANGER)).unwrap_err().code, "sign_in_stopped");
        assert!(limiter.sign_in("ben", ip(STRANGER)).is_ok());
        limiter.signed_in("anna");
        assert!(limiter.sign_in("anna", ip(STRANGER)).is_ok());
    }

    #[test]
    fn a_network_signs_in_a_hundred_times_a_minute() {
        let limiter = Limiter::new(&Limits::default());
        let tried = |third: u8, last: u8| {
            limiter.sign_in(&format!("user{third}-{last}"), IpAddr::from([203, 0, third, last])).is_ok()
        };
        let granted = (0..=200).filter(|last| tried(113, *last)).count();
        assert_eq!(granted, 100);
        assert!(tried(114, 1), "the next network has its own");
        let at_home = (0..200).filter(|n| limiter.sign_in(&format!("u{n}"), ip("127.0.0.1")).is_ok()).count();
        assert_eq!(at_home, 200);
    }

    #[test]
    fn invitations_are_refused_beyond_their_number() {
        let limiter = Limiter::new(&Limits::default());
        let made = (0..30).filter(|_| limiter.invite(UserId(1)).is_ok()).count();
        assert_eq!(made, 20);
    }

    #[test]
    fn lifted_limits_count_nothing() {
        let limiter = Limiter::new(&Limits::lifted());
        for _ in 0..10_000 {
            assert_eq!(limiter.pause_for(UserId(1), &post_in(1)), Duration::ZERO);
        }
        let mut pace = limiter.pace();
        assert_eq!((0..10_000).map(|_| pace.frames(1)).max(), Some(Duration::ZERO));
    }

    #[test]
    fn a_session_comes_back_five_times_at_once() {
        let limiter = Limiter::new(&Limits::default());
        let granted = (0..10).filter(|_| limiter.resume(SessionId(1)).is_ok()).count();
        assert_eq!(granted, 5);
        assert!(limiter.resume(SessionId(2)).is_ok());
    }

    #[test]
    fn an_address_that_only_fails_has_to_wait() {
        let few = Limits { failures_per_address: Rate::new(0.1, 3), ..Limits::default() };
        let limiter = Limiter::new(&few);
        for _ in 0..3 {
            assert!(limiter.may_ask(ip(STRANGER)).is_ok());
            limiter.failed(ip(STRANGER));
            limiter.failed(ip("127.0.0.1"));
        }
        assert!(limiter.may_ask(ip(STRANGER)).is_err());
        assert!(limiter.may_ask(ip("127.0.0.1")).is_ok());
    }
}
