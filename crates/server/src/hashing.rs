//! Passwords: argon2id on a bounded number of threads, and fresh random secrets.
//!
//! A hash takes 46 MiB and some 60 ms by design; without permits a burst of sign-ins would take all memory.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use chinwag_domain::{Token, record::TokenHash, rules::app_password};
use chinwag_protocol::{Kind, Refused};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

/// Hashes that may wait for a permit; beyond, the answer is `busy`.
const WAITING_MAX: usize = 64;

/// Memory of one hash, as OWASP and ASVS advise.
const MEMORY_KIB: u32 = 47_104;

/// Passes over the memory.
const PASSES: u32 = 1;

/// The pool of hash permits.
#[derive(Clone)]
pub struct Hashing {
    permits: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    /// Compared with when there is no such user, so that the answer takes as long.
    decoy: Arc<str>,
}

impl Default for Hashing {
    fn default() -> Self {
        Self::new()
    }
}

impl Hashing {
    /// As many permits as there are cores.
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        #[cfg(feature = "canaries")]
        let cores = match chinwag_store::canary::is(chinwag_store::canary::Canary::NoPermits) {
            true => 10_000,
            false => cores,
        };
        Self { permits: Arc::new(Semaphore::new(cores)), waiting: Arc::default(), decoy: decoy().into() }
    }

    /// Hashes a new password into a PHC string with its own salt and parameters.
    pub async fn hash(&self, password: &str) -> Result<String, Refused> {
        let password = password.to_owned();
        self.run(move || {
            let failed = || Refused::new(Kind::Unavailable, "failed", "the password could not be hashed");
            hash_now(&password).ok_or_else(failed)
        })
        .await?
    }

    /// Whether a password is the one of this hash. Without a hash it takes as long, and is wrong.
    pub async fn verify(&self, password: &str, hash: Option<&str>) -> Result<bool, Refused> {
        let password = password.to_owned();
        let (hash, real) = match hash.filter(|hash| !hash.is_empty()) {
            Some(hash) => (Arc::from(hash), true),
            None => (Arc::clone(&self.decoy), false),
        };
        self.run(move || is_right(&password, &hash) && real).await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refused> {
        let busy = || Refused::too_many("busy", "too many sign-ins at once", 1_000);
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX + self.permits.available_permits() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(busy());
        }
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        let permit = permit.map_err(|_closed| busy())?;
        metrics::counter!("chinwag_password_hashes_total").increment(1);
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        });
        done.await.map_err(|error| {
            tracing::error!(%error, "a password hash ended early");
            Refused::new(Kind::Unavailable, "failed", "the password could not be checked")
        })
    }
}

/// Hashes a password on this thread, which takes long; `None` if it cannot be done, which the log says.
pub(crate) fn hash_now(password: &str) -> Option<String> {
    match argon2().hash_password(normal(password).as_bytes()) {
        Ok(hash) => Some(hash.to_string()),
        Err(error) => {
            tracing::error!(%error, "cannot hash a password");
            None
        }
    }
}

/// Whether a password is the one of this hash, on this thread, which takes long.
pub(crate) fn is_right(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash)
        .is_ok_and(|hash| argon2().verify_password(normal(password).as_bytes(), &hash).is_ok())
}

/// What looks like the hash of a password that nobody knows: random, so that a start costs no hash and its memory.
fn decoy() -> String {
    let (mut salt, mut hash) = ([0_u8; 16], [0_u8; 32]);
    rand::fill(&mut salt);
    rand::fill(&mut hash);
    let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
    format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p=1${salt}${hash}")
}

fn argon2() -> Argon2<'static> {
    let params =
        Params::new(MEMORY_KIB, PASSES, 1, Some(32)).expect("the parameters are within argon2's bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// The same password typed on two keyboards is the same bytes.
fn normal(password: &str) -> String {
    unicode_normalization::UnicodeNormalization::nfc(password).collect()
}

/// A fresh secret of `bytes` random bytes in base64url, after `prefix`.
pub fn fresh_token<const BYTES: usize>(prefix: &str) -> Token {
    let mut random = [0_u8; BYTES];
    rand::fill(&mut random);
    let plain = format!("{prefix}{}", URL_SAFE_NO_PAD.encode(random));
    Token { hash: hash_token(&plain), plain }
}

/// Letters and digits that no two people read differently; 32 of them, so each is worth five bits.
const LEGIBLE: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// A fresh app password: 120 random bits in groups that can be typed on an old client.
pub fn fresh_app_password() -> Token {
    let mut random = [0_u8; 24];
    rand::fill(&mut random);
    let letters: Vec<char> = random.iter().map(|byte| char::from(LEGIBLE[usize::from(byte % 32)])).collect();
    let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
    let plain = groups.join("-");
    Token { hash: app_password::secret_hash(&plain), plain }
}

/// All that is kept of a token.
pub fn hash_token(plain: &str) -> TokenHash {
    Sha256::digest(plain.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tells_right_from_wrong_and_from_nobody() {
        let hashing = Hashing::new();
        let hash = hashing.hash("caf\u{e9} au lait").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=47104,t=1,p=1$"), "{hash}");
        assert!(hashing.verify("cafe\u{301} au lait", Some(&hash)).await.unwrap());
        assert!(!hashing.verify("cafe au lait", Some(&hash)).await.unwrap());
        assert!(!hashing.verify("", None).await.unwrap());
        assert!(!hashing.verify("", Some("")).await.unwrap());
    }

    #[tokio::test]
    async fn b3_answers_busy_when_too_many_wait() {
        let hashing = Hashing::new();
        let cores = hashing.permits.available_permits();
        let all = hashing.permits.clone().acquire_many_owned(u32::try_from(cores).unwrap()).await.unwrap();
        let waiting: Vec<_> = (0..WAITING_MAX)
            .map(|_| {
                let hashing = hashing.clone();
                tokio::spawn(async move { hashing.verify("x", None).await })
            })
            .collect();
        while hashing.waiting.load(Ordering::Relaxed) < WAITING_MAX {
            tokio::task::yield_now().await;
        }
        assert_eq!(hashing.verify("x", None).await.unwrap_err().code, "busy");
        drop(all);
        for wait in waiting {
            assert!(!wait.await.unwrap().unwrap());
        }
    }

    #[test]
    fn the_decoy_is_worked_through_like_a_real_hash() {
        let decoy = decoy();
        let hash = PasswordHash::new(&decoy).unwrap();
        assert!(Params::try_from(&hash).is_ok_and(|params| params.m_cost() == MEMORY_KIB));
        assert_eq!(
            argon2().verify_password(b"", &hash).unwrap_err(),
            argon2::password_hash::Error::PasswordInvalid
        );
    }

    #[test]
    fn tokens_differ_and_are_long() {
        let (one, two) = (fresh_token::<32>("ses_"), fresh_token::<32>("ses_"));
        assert_ne!(one.plain, two.plain);
        assert_eq!((one.plain.len(), one.hash), (4 + 43, hash_token(&one.plain)));
    }

    #[test]
    fn app_passwords_are_long_and_legible() {
        let one = fresh_app_password();
        assert_ne!(one.plain, fresh_app_password().plain);
        assert_eq!(one.plain.len(), 24 + 5);
        assert!(one.plain.bytes().all(|byte| LEGIBLE.contains(&byte) || byte == b'-'), "{}", one.plain);
        let typed = one.plain.to_uppercase().replace('-', " ");
        assert_eq!(one.hash, app_password::secret_hash(&typed));
    }
}
