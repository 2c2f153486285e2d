//! The native protocol, driven like the doors, for the figures that theirs are set against.

use std::{io, time::Duration};

use chinwag_protocol::ConversationId;
use tokio::time::{Instant, timeout};

use super::{
    super::{
        accounts::User,
        messages,
        socket::{Got, Incoming, Outgoing},
        target::Target,
    },
    drive::{Marks, Seen, number},
};

/// A connection that says nothing for longer is given up.
const PING_EVERY: Duration = Duration::from_secs(10);

/// One connection.
pub(super) struct Native {
    incoming: Incoming,
    outgoing: Outgoing,
    to: ConversationId,
    /// Names its messages, so that each is a new one.
    name: String,
    pinged_at: Instant,
}

impl Native {
    pub(super) async fn sign_in(target: &Target, user: &User, name: String) -> io::Result<Self> {
        let (incoming, outgoing, _) = messages::connect(target, user, 0, None).await?;
        Ok(Self { incoming, outgoing, to: ConversationId(0), name, pinged_at: Instant::now() })
    }

    pub(super) fn write_to(&mut self, conversation: ConversationId) {
        self.to = conversation;
    }

    pub(super) fn post(&mut self, text: &str, number: u32) {
        let (to, name) = (self.to, &self.name);
        let frame = format!(
            r#"{{"command":{{"id":{number},"do":{{"post":{{"conversation":{to},"client_id":"{name}-{number}","text":"{text}"}}}}}}}}"#
        );
        self.outgoing.text(frame.as_bytes());
    }

    pub(super) fn take(&mut self, marks: &Marks, mut see: impl FnMut(Seen)) -> io::Result<()> {
        while let Some(got) = self.incoming.take()? {
            match got {
                Got::Text(place) => {
                    let frame = self.incoming.text(place);
                    if let Some(id) = frame.strip_prefix(br#"{"done":{"id":"#) {
                        see(Seen::Done(Some(number(id).0)));
                    } else if frame.starts_with(br#"{"refused""#) {
                        see(Seen::Refused);
                    } else {
                        marks.find(frame, |seen| {
                            // The answer is the acknowledgement, not one's own entry.
                            if !matches!(seen, Seen::Own(_)) {
                                see(seen);
                            }
                        });
                    }
                }
                Got::Ping(payload) => self.outgoing.pong(&payload),
                Got::Other => {}
                Got::Closed => return Err(io::Error::other("the server closed a connection")),
            }
        }
        Ok(())
    }

    pub(super) async fn more(&mut self) -> io::Result<()> {
        let left = PING_EVERY.saturating_sub(self.pinged_at.elapsed());
        if let Ok(more) = timeout(left, self.incoming.more()).await {
            return if more? { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        self.outgoing.text(br#"{"ping":{}}"#);
        self.pinged_at = Instant::now();
        Ok(())
    }

    pub(super) async fn flush(&mut self) -> io::Result<()> {
        self.outgoing.flush().await
    }
}
