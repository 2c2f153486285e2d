//! What a client says: bytes to texts, texts to frames, frames to what is asked.

use std::{cell::RefCell, io, sync::Arc, time::Duration};

use bytes::Bytes;
use chinwag_protocol::{ClientFrame, Command, Query, Refused, ServerFrame};
use tokio::time::Instant;

use super::{End, Link};
use crate::{
    http::json,
    hub::frame,
    signed_in::SignedIn,
    ws::{CloseCode, Message, encode_pong},
};

/// Frames that cannot be understood before the connection ends.
const STRIKES_MAX: u8 = 3;

thread_local! {
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; 16 * 1024].into_boxed_slice());
}

impl Link {
    /// Reads what there is, once, and appends the texts that are complete.
    pub(super) fn read(&mut self, texts: &mut Vec<String>) -> Result<(), End> {
        READ_BUFFER.with_borrow_mut(|buffer| match self.stream.try_read(buffer) {
            Ok(0) => Err(End::Gone),
            Ok(count) => {
                self.heard_at = Instant::now();
                self.take(&buffer[..count], texts)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.into()),
        })
    }

    pub(super) fn take(&mut self, mut input: &[u8], texts: &mut Vec<String>) -> Result<(), End> {
        while let Some(message) = self.decoder.feed(&mut input)? {
            match message {
                Message::Text(text) => texts.push(text),
                Message::Binary(_) => return Err(CloseCode::UNSUPPORTED.into()),
                Message::Ping(payload) => {
                    let pause = self.pace.ping();
                    self.slow_down(pause);
                    self.outbox.reply(encode_pong(&payload));
                }
                Message::Pong(_) => {}
                Message::Close(_) => return Err(CloseCode::NORMAL.into()),
            }
        }
        Ok(())
    }

    /// One frame of a signed-in client.
    pub(super) fn frame(&mut self, signed_in: &SignedIn, text: &str) -> Result<(), End> {
        let pause = self.pace.frames(1);
        self.slow_down(pause);
        match json::decode::<ClientFrame>(text.as_bytes()) {
            Ok(ClientFrame::Command { id, command }) => self.command(signed_in, id, command),
            Ok(ClientFrame::Query { id, get }) => self.query(signed_in, id, get),
            Ok(ClientFrame::Signal(signal)) => {
                if let Err(refused) = signed_in.signal(signal) {
                    self.strike(None, refused)?;
                }
            }
            Ok(ClientFrame::Ping {}) => self.outbox.reply(frame(&ServerFrame::Pong {})),
            Ok(ClientFrame::Hello(_)) => {
                let message = "this connection is signed in already";
                self.strike(None, Refused::conflict("already_signed_in", message))?;
            }
            Err(refused) => self.strike(None, refused)?,
        }
        Ok(())
    }

    fn command(&mut self, signed_in: &SignedIn, id: u64, command: Command) {
        if let Err(refused) = signed_in.may_ask() {
            self.outbox.reply(frame(&ServerFrame::Refused { id: Some(id), refused }));
            return;
        }
        let outbox = Arc::clone(&self.outbox);
        let pause = signed_in.command(command, move |reply| outbox.answer(answered(id, reply)));
        self.slow_down(pause);
    }

    fn query(&mut self, signed_in: &SignedIn, id: u64, query: Query) {
        if let Err(refused) = signed_in.may_ask() {
            self.outbox.reply(frame(&ServerFrame::Refused { id: Some(id), refused }));
            return;
        }
        let outbox = Arc::clone(&self.outbox);
        signed_in.query(query, move |answer| {
            outbox.answer(match answer {
                Ok(answer) => frame(&ServerFrame::Answer { id, answer }),
                Err(refused) => frame(&ServerFrame::Refused { id: Some(id), refused }),
            });
        });
    }

    /// Answers a frame that makes no sense; the third ends the connection.
    pub(super) fn strike(&mut self, id: Option<u64>, refused: Refused) -> Result<(), End> {
        self.strikes += 1;
        if self.strikes >= STRIKES_MAX {
            return Err(refused.into());
        }
        self.outbox.reply(frame(&ServerFrame::Refused { id, refused }));
        Ok(())
    }

    /// Takes nothing more for so long.
    pub(super) fn slow_down(&mut self, pause: Duration) {
        if !pause.is_zero() {
            self.paused_until = self.paused_until.max(Some(Instant::now() + pause));
        }
    }
}

fn answered(id: u64, reply: Result<chinwag_protocol::Reply, Refused>) -> Bytes {
    match reply {
        Ok(reply) => frame(&ServerFrame::Done { id, reply }),
        Err(refused) => frame(&ServerFrame::Refused { id: Some(id), refused }),
    }
}
