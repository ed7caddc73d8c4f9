//! Messages as JSON lines over a nonblocking socket: what arrived and what waits to be sent.
//!
//! Invariants: neither direction ever blocks; both buffers are bounded; a message that does not parse is
//! reported without quoting it, because it may carry the values of variables.

use crate::model::protocol::MESSAGE_BYTES_MAX;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::os::fd::AsFd;

/// Most bytes that wait for a peer that does not read: four of the longest messages.
pub(crate) const UNSENT_BYTES_MAX: usize = 4 * MESSAGE_BYTES_MAX;

/// Bytes taken in one call.
const CHUNK_BYTES: usize = 16 << 10;

/// Bytes taken from one peer before the others have their turn.
const TURN_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;

/// What arrived and was not yet taken as a message.
#[derive(Default)]
pub(crate) struct Inbox {
    buffer: Vec<u8>,
    taken: usize,
    /// Up to here no newline was found.
    searched: usize,
}

/// Whether the peer may still say something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Peer {
    /// Yes.
    Open,
    /// It closed its end; what arrived before can still be taken.
    Closed,
}

impl Inbox {
    /// Takes in what has arrived.
    pub(crate) fn fill(&mut self, socket: impl AsFd) -> io::Result<Peer> {
        self.buffer.drain(..self.taken);
        self.searched -= self.taken;
        self.taken = 0;
        let mut room = TURN_BYTES_MAX;
        let mut chunk = vec![0_u8; CHUNK_BYTES];
        while room > 0 {
            match recv(&socket, &mut chunk[..], RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return Ok(Peer::Closed),
                Ok((_, length)) => {
                    self.buffer.extend_from_slice(&chunk[..length]);
                    room = room.saturating_sub(length);
                    if length < CHUNK_BYTES {
                        break;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(Errno::CONNRESET) => return Ok(Peer::Closed),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(Peer::Open)
    }

    /// The next whole message; an error when it cannot be one.
    pub(crate) fn take<T: DeserializeOwned>(&mut self) -> Result<Option<T>, String> {
        let fresh = &self.buffer[self.searched..];
        let Some(found) = fresh.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            let length = self.buffer.len() - self.taken;
            let bound = format!("a message is longer than {MESSAGE_BYTES_MAX} bytes");
            return if length > MESSAGE_BYTES_MAX { Err(bound) } else { Ok(None) };
        };
        let end = self.searched + found;
        let line = &self.buffer[self.taken..end];
        let outcome = serde_json::from_slice(line).map(Some).map_err(|error| {
            let kind = error.classify();
            format!(
                "a message of {} bytes is not valid ({kind:?}, column {})",
                line.len(),
                error.column()
            )
        });
        self.taken = end + 1;
        self.searched = self.taken;
        outcome
    }
}

/// What waits to be sent.
#[derive(Default)]
pub(crate) struct Outbox {
    buffer: Vec<u8>,
    sent: usize,
}

impl Outbox {
    /// Bytes that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.buffer.len() - self.sent
    }

    /// Adds a message; its length in bytes as an error when it is longer than allowed.
    pub(crate) fn push(&mut self, message: &impl Serialize) -> Result<(), usize> {
        let line = serde_json::to_vec(message).map_err(|_| 0_usize)?;
        if line.len() > MESSAGE_BYTES_MAX {
            return Err(line.len());
        }
        self.buffer.extend_from_slice(&line);
        self.buffer.push(b'\n');
        Ok(())
    }

    /// Sends as much as the socket takes.
    pub(crate) fn flush(&mut self, socket: impl AsFd) -> io::Result<()> {
        while self.waiting() > 0 {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match send(&socket, &self.buffer[self.sent..], flags) {
                Ok(length) => self.sent += length,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(errno) => return Err(errno.into()),
            }
        }
        if self.sent > CHUNK_BYTES || self.waiting() == 0 {
            self.buffer.drain(..self.sent);
            self.sent = 0;
        }
        // One burst must not keep its memory for life.
        if self.buffer.is_empty() && self.buffer.capacity() > 4 * CHUNK_BYTES {
            self.buffer = Vec::new();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::protocol::{CommandKey, ToExecutor};
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    #[test]
    fn messages_arrive_whole_however_they_were_cut() {
        let (mut near, far) = UnixStream::pair().unwrap();
        let key = CommandKey { id: "WO-1".into(), attempt: 1, number: 1 };
        let mut outbox = Outbox::default();
        outbox.push(&ToExecutor::Ack { key: key.clone() }).unwrap();
        outbox.push(&ToExecutor::Bye).unwrap();
        let mut inbox = Inbox::default();
        let mut got = Vec::new();
        for byte in outbox.buffer.clone() {
            near.write_all(&[byte]).unwrap();
            assert_eq!(inbox.fill(&far).unwrap(), Peer::Open);
            got.extend(inbox.take::<ToExecutor>().unwrap());
        }
        assert_eq!(got, [ToExecutor::Ack { key }, ToExecutor::Bye]);
        drop(near);
        assert_eq!(inbox.fill(&far).unwrap(), Peer::Closed);
    }

    #[test]
    fn a_bad_message_is_not_quoted() {
        let (mut near, far) = UnixStream::pair().unwrap();
        near.write_all(b"{\"type\":\"hello\",\"version\":\"secret\"}\n").unwrap();
        let mut inbox = Inbox::default();
        inbox.fill(&far).unwrap();
        let said = inbox.take::<ToExecutor>().unwrap_err();
        assert!(!said.contains("secret"), "{said}");
    }

    #[test]
    fn a_line_without_end_is_refused_at_the_bound() {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let mut inbox = Inbox::default();
        let mut sent = 0;
        let refused = loop {
            sent += (&near).write(&[b'x'; 4096]).unwrap_or(0);
            inbox.fill(&far).unwrap();
            if let Err(said) = inbox.take::<ToExecutor>() {
                break said;
            }
            assert!(sent <= MESSAGE_BYTES_MAX + 8192);
        };
        assert!(refused.contains("longer"), "{refused}");
    }

    #[test]
    fn a_peer_that_does_not_read_costs_waiting_bytes_and_no_time() {
        let (near, _far) = UnixStream::pair().unwrap();
        let mut outbox = Outbox::default();
        for _ in 0..100_000 {
            outbox.push(&ToExecutor::Bye).unwrap();
        }
        outbox.flush(&near).unwrap();
        assert!(outbox.waiting() > 0);
    }
}
