//! The beginning of a connection: its first frame, who it is, and from where its client goes on.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use chinwag_domain::reading;
use chinwag_protocol::{ClientFrame, Hello, Kind, PROTOCOL_VERSION, Refused, Resumed, ServerFrame, Welcome};
use tokio::time::{Instant, timeout, timeout_at};

use super::{End, HEARTBEAT, Link, SILENCE_MAX, WRITE_BYTES_MAX, closing_of};
use crate::{
    behind::Behind,
    http::json,
    hub::{Next, frame},
    sending::PIECES_MAX,
    signed_in::{Began, Held, SignedIn},
};

/// How long a connection may take to sign in.
const HELLO_WITHIN: Duration = Duration::from_secs(10);

impl Link {
    /// Waits for the first frame; what comes in the same segment after it is left in `early`.
    pub(super) async fn hello(
        &mut self,
        leftover: &[u8],
        early: &mut VecDeque<String>,
    ) -> Result<Hello, End> {
        let deadline = Instant::now() + HELLO_WITHIN;
        timeout_at(deadline, self.first_frame(leftover, early)).await.unwrap_or_else(|_elapsed| {
            Err(Refused::new(Kind::NotSignedIn, "too_slow", "the first frame must come in time").into())
        })
    }

    async fn first_frame(&mut self, leftover: &[u8], early: &mut VecDeque<String>) -> Result<Hello, End> {
        let mut texts = Vec::new();
        self.take(leftover, &mut texts)?;
        loop {
            let mut texts_now = std::mem::take(&mut texts).into_iter();
            while let Some(text) = texts_now.next() {
                match json::decode::<ClientFrame>(text.as_bytes()) {
                    Ok(ClientFrame::Hello(hello)) => {
                        early.extend(texts_now);
                        return Ok(hello);
                    }
                    Ok(other) => self.strike(question_of(&other), Refused::not_signed_in())?,
                    Err(refused) => self.strike(None, refused)?,
                }
            }
            self.push_outbox().await?;
            self.stream.readable().await?;
            self.read(&mut texts)?;
        }
    }

    /// Finds out who it is, takes its place in the hub, and says the first word.
    pub(super) async fn sign_in(
        &mut self,
        hello: Hello,
        credential: Option<String>,
    ) -> Result<(SignedIn, Behind, Option<Held>), End> {
        if hello.version != PROTOCOL_VERSION {
            let message = format!("this server speaks version {PROTOCOL_VERSION}");
            return Err(Refused::invalid("hello.version", "unsupported_version", message).into());
        }
        let token = hello.token.or(credential).ok_or_else(Refused::not_signed_in)?;
        let known = self.messenger.session(&token).await?;
        if hello.resume.is_some() {
            self.messenger.limiter().resume(known.identity.session)?;
        }
        let epoch = self.messenger.epoch();
        let resume = hello.resume.filter(|origin| origin.epoch == epoch).map(|origin| origin.positions);
        #[cfg(feature = "canaries")]
        let resume =
            resume.filter(|_| !chinwag_store::canary::is(chinwag_store::canary::Canary::NeverResumes));
        #[cfg(feature = "canaries")]
        let early = match chinwag_store::canary::is(chinwag_store::canary::Canary::SnapshotThenSubscribe) {
            true => {
                let actor = crate::messenger::actor(&known);
                let early = self.messenger.read(move |reader| reading::snapshot(reader, &actor)).await?;
                // As long as a busy machine would take in between.
                tokio::time::sleep(Duration::from_millis(50)).await;
                Some(early)
            }
            false => None,
        };
        let (messenger, outbox) = (self.messenger.clone(), Arc::clone(&self.outbox));
        let heartbeat_ms = u32::try_from(HEARTBEAT.as_millis()).unwrap_or(u32::MAX);
        match SignedIn::open(messenger, &known, outbox, resume).await? {
            (signed_in, Began::Fresh(held)) => {
                let snapshot = signed_in.read(reading::snapshot).await?;
                drop(held);
                #[cfg(feature = "canaries")]
                let snapshot = early.unwrap_or(snapshot);
                self.send(frame(&ServerFrame::Welcome(Box::new(Welcome { epoch, heartbeat_ms, snapshot }))));
                Ok((signed_in, Behind::fresh(), None))
            }
            (signed_in, Began::Resumed(held)) => {
                let session = known.identity.session;
                self.send(frame(&ServerFrame::Resumed(Resumed { session, heartbeat_ms })));
                Ok((signed_in, Behind::resumed(), Some(held)))
            }
        }
    }

    /// Writes what little waits before the connection is signed in.
    async fn push_outbox(&mut self) -> Result<(), End> {
        while let Next::Write = self.outbox.next(self.sending.pieces(), PIECES_MAX, WRITE_BYTES_MAX) {
            self.push().await?;
        }
        Ok(())
    }

    /// Writes everything in `sending`, unless the session ends or the reader takes nothing.
    async fn push(&mut self) -> Result<(), End> {
        let outbox = Arc::clone(&self.outbox);
        while !self.write()? {
            tokio::select! {
                ready = timeout(SILENCE_MAX, self.stream.writable()) => match ready {
                    Ok(ready) => ready?,
                    Err(_elapsed) => return Err(End::Gone),
                },
                () = outbox.changed() => {}
            }
            if let Next::Close(closing) = closing_of(&outbox) {
                return Err(End::Tell(closing));
            }
        }
        Ok(())
    }
}

fn question_of(frame: &ClientFrame) -> Option<u64> {
    match frame {
        ClientFrame::Command { id, .. } | ClientFrame::Query { id, .. } => Some(*id),
        ClientFrame::Hello(_) | ClientFrame::Signal(_) | ClientFrame::Ping {} => None,
    }
}
