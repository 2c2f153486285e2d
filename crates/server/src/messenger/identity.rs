//! Who somebody is: registering, signing in, guests, reset links.
//!
//! Here passwords are compared and counted; whether the account may be used is decided by the rules.

use std::net::IpAddr;

use chinwag_domain::{
    Prepared, Request, names,
    record::{Credentials, GuestFrom, Owner, Purpose},
    rules::{app_password, guest, sessions},
};
use chinwag_protocol::{Device, Refused, SignedIn, UserId};

use super::{Messenger, signed_in};
use crate::hashing::{fresh_token, hash_token};

/// Which passwords open an account at a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepted {
    /// The account's own, or one of its app passwords for this door.
    Any,
    /// Only an app password for this door.
    AppPassword,
}

impl Messenger {
    /// Makes an account and signs it in. A guest who names himself, from where he is known, keeps his account and
    /// gets a password.
    pub async fn register(&self, device: Device, peer: IpAddr, door: &str) -> Result<SignedIn, Refused> {
        self.inner.limiter.register(peer)?;
        names::check(&device.handle)?;
        names::new_password(&device.password, &device.handle)?;
        let from = guest_from(peer, door);
        let is_guest = self.is_guest(&device.handle, &from).await?;
        let token = fresh_token::<32>("ses_");
        let password = self.inner.hashing.hash(&device.password).await?;
        let prepared =
            Prepared { password: Some(password), token: Some(token.clone()), ..Prepared::default() };
        let (handle, device_name) = (device.handle, device.device);
        let request = if is_guest {
            Request::Upgrade { handle, from, prepared, device: device_name }
        } else {
            Request::Register {
                handle,
                invite: device.invite.as_deref().map(hash_token),
                prepared,
                device: device_name,
                door: door.to_owned(),
            }
        };
        signed_in(&self.transacted(request).await?, token.plain)
    }

    async fn is_guest(&self, handle: &str, from: &GuestFrom) -> Result<bool, Refused> {
        if from.door.is_empty() {
            return Ok(false);
        }
        let (key, from) = (names::fold(handle), from.clone());
        self.read(move |reader| match reader.name(&key)? {
            Some(name) => Ok(guest::guest_from(reader, name.owner, &from)?.is_some()),
            None => Ok(false),
        })
        .await
    }

    /// Signs a guest in by his name alone, making his account if the name is free.
    ///
    /// Refused with `handle_taken` if the name is not his: that of an account with a password, of a conversation,
    /// or of a guest from elsewhere. `allowed` is what the door's settings say.
    pub async fn guest(
        &self,
        handle: &str,
        peer: IpAddr,
        door: &str,
        allowed: bool,
    ) -> Result<SignedIn, Refused> {
        if !allowed {
            return Err(Refused::forbidden("guests_closed", "this door does not take guests"));
        }
        self.inner.limiter.guest(peer)?;
        names::check(handle)?;
        let token = fresh_token::<32>("ses_");
        let request = Request::Guest {
            handle: handle.to_owned(),
            from: guest_from(peer, door),
            prepared: Prepared { token: Some(token.clone()), bound: true, ..Prepared::default() },
            device: door.to_owned(),
        };
        signed_in(&self.transacted(request).await?, token.plain)
    }

    /// Starts a session for whoever knows the password.
    pub async fn sign_in(&self, device: Device, peer: IpAddr, door: &str) -> Result<SignedIn, Refused> {
        self.start_session(device, peer, door, Accepted::Any, false).await
    }

    /// Starts a session at a door, for whoever knows the password or one of the app passwords for it; or only for
    /// the latter. A bound one lives no longer than its link.
    pub async fn sign_in_at_door(
        &self,
        device: Device,
        peer: IpAddr,
        door: &str,
        app_passwords: bool,
        bound: bool,
    ) -> Result<SignedIn, Refused> {
        let accepted = if app_passwords { Accepted::AppPassword } else { Accepted::Any };
        self.start_session(device, peer, door, accepted, bound).await
    }

    async fn start_session(
        &self,
        device: Device,
        peer: IpAddr,
        door: &str,
        accepted: Accepted,
        bound: bool,
    ) -> Result<SignedIn, Refused> {
        let key = names::fold(&device.handle);
        self.inner.limiter.sign_in(&key, peer)?;
        let asked = key.clone();
        let found = self
            .read(move |reader| {
                let Some(Owner::User(user)) = reader.name(&asked)?.map(|name| name.owner) else {
                    return Ok(None);
                };
                reader.credentials(user)
            })
            .await?;
        let prepared = self.proved(found.as_deref(), &device.password, door, accepted).await?;
        let (Some(prepared), Some(credentials)) = (prepared, found) else {
            self.inner.limiter.sign_in_failed(&key, peer);
            return Err(sessions::wrong_password());
        };
        self.inner.limiter.signed_in(&key);
        let token = fresh_token::<32>("ses_");
        let request = Request::SignIn {
            user: credentials.user,
            prepared: Prepared { token: Some(token.clone()), bound, ..prepared },
            device: device.device,
            door: door.to_owned(),
        };
        let signed_in = signed_in(&self.transacted(request).await?, token.plain)?;
        Ok(SignedIn { change_password: credentials.change_password, ..signed_in })
    }

    /// What a typed password proves. Where it is no app password, the answer takes as long as a slow hash, whether
    /// there is one or not.
    async fn proved(
        &self,
        credentials: Option<&Credentials>,
        typed: &str,
        door: &str,
        accepted: Accepted,
    ) -> Result<Option<Prepared>, Refused> {
        let app_password = credentials.and_then(|found| app_password::fitting(found, door, typed));
        if app_password.is_some() && !door.is_empty() {
            return Ok(Some(Prepared { app_password, ..Prepared::default() }));
        }
        let own = credentials.filter(|_| accepted == Accepted::Any);
        let right = self.inner.hashing.verify(typed, own.map(|found| found.password.as_str())).await?;
        let version = own.filter(|_| right).map(|found| found.version);
        Ok(version.map(|version| Prepared { verified: Some(version), ..Prepared::default() }))
    }

    /// Chooses a new password with a reset link. That lifts a stop after too many wrong ones.
    pub async fn reset(&self, token: &str, password: &str, peer: IpAddr) -> Result<(), Refused> {
        self.inner.limiter.register(peer)?;
        let link = hash_token(token);
        let owner = self
            .read(move |reader| match reader.one_time(&link)?.map(|link| link.purpose) {
                Some(Purpose::Reset(user)) => reader.user(user),
                _ => Ok(None),
            })
            .await?;
        // A link that is good for nothing is refused by the rule, in the same words as one that never was.
        names::new_password(password, owner.as_ref().map_or("", |owner| &owner.handle))?;
        let prepared =
            Prepared { password: Some(self.inner.hashing.hash(password).await?), ..Prepared::default() };
        self.transacted(Request::Reset { link, prepared }).await?;
        if let Some(owner) = owner {
            self.proved_himself(owner.id, &owner.handle);
        }
        Ok(())
    }

    /// Somebody showed that an account is his: what others guessed wrong counts no more.
    pub(super) fn proved_himself(&self, user: UserId, handle: &str) {
        self.inner.limiter.confirmed(user, true);
        self.inner.limiter.signed_in(&names::fold(handle));
    }
}

/// What a guest is known by: his own address, not his network's, for his neighbours are not he.
fn guest_from(peer: IpAddr, door: &str) -> GuestFrom {
    GuestFrom { address: peer.to_canonical().to_string(), door: door.to_owned() }
}
