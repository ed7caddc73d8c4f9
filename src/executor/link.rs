//! The client's end of the executor's socket.
//!
//! Invariants: no call blocks; the first message is `Hello`; a link that has seen the peer go or speak
//! nonsense stays closed, and a new one must be made. It decides nothing.

use super::beneath::{self, SOCKET};
use super::lines::{Inbox, Outbox, Peer, UNSENT_BYTES_MAX};
use crate::model::protocol::{FromExecutor, MESSAGE_BYTES_MAX, ToExecutor, VERSION};
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The executor closed the connection; the files tell what happened.
    #[error("send to the executor: the connection is closed")]
    Closed,
    /// It does not read; what waits is kept.
    #[error("send to the executor: {0} bytes wait already, it does not read")]
    Full(usize),
    /// The message passes the protocol's bound.
    #[error("send to the executor: the message has {0} bytes, {MESSAGE_BYTES_MAX} are allowed")]
    TooLong(usize),
}

/// Connects to the executor's socket, nonblocking in both senses: the call does not wait for a frozen
/// executor (`WouldBlock`), and the socket is nonblocking. `NotFound` and `ConnectionRefused`: nobody
/// listens.
pub fn connect(root: &Path) -> io::Result<UnixStream> {
    let dir = beneath::open_exec_dir(root)?;
    let address = SocketAddrUnix::new(beneath::through(&dir, SOCKET))?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    net::connect(&socket, &address)?;
    Ok(UnixStream::from(socket))
}

/// A connection to the executor.
pub struct Link {
    socket: UnixStream,
    inbox: Inbox,
    outbox: Outbox,
    closed: bool,
    fault: Option<String>,
}

impl Link {
    /// Connects and says `Hello`; the executor's own `Hello` is the first message received.
    /// Errors are those of [`connect`](super::connect).
    pub fn connect(root: &Path) -> io::Result<Self> {
        Ok(Self::over(connect(root)?))
    }

    /// Over a nonblocking socket that is connected already. Says `Hello`.
    pub(super) fn over(socket: UnixStream) -> Self {
        let (inbox, outbox) = (Inbox::default(), Outbox::default());
        let mut link = Self { socket, inbox, outbox, closed: false, fault: None };
        // A peer that goes at once is seen by the first `receive`.
        let _ = link.send(&ToExecutor::Hello { version: VERSION });
        link
    }

    /// For a poll: readable when messages or the end of the connection arrived; ask for writable only
    /// while [`Self::wants_write`].
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Queues a message and sends what the socket takes now. The rest waits for [`Self::flush`].
    pub fn send(&mut self, message: &ToExecutor) -> Result<(), LinkError> {
        if self.closed {
            return Err(LinkError::Closed);
        }
        if self.outbox.waiting() > UNSENT_BYTES_MAX {
            return Err(LinkError::Full(self.outbox.waiting()));
        }
        self.outbox.push(message).map_err(LinkError::TooLong)?;
        self.flush()
    }

    /// Sends what waits, as far as the socket takes it.
    pub fn flush(&mut self) -> Result<(), LinkError> {
        if self.outbox.flush(&self.socket).is_err() {
            // What the executor said before it went can still be received.
            self.outbox = Outbox::default();
            return Err(LinkError::Closed);
        }
        Ok(())
    }

    /// Whether something waits for the socket to become writable.
    pub fn wants_write(&self) -> bool {
        !self.closed && self.outbox.waiting() > 0
    }

    /// What has arrived. After the peer has gone: its last messages, then nothing; see [`Self::is_closed`].
    pub fn receive(&mut self) -> Vec<FromExecutor> {
        let mut messages = Vec::new();
        if self.closed {
            return messages;
        }
        let peer = self.inbox.fill(&self.socket);
        loop {
            match self.inbox.take() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(said) => {
                    self.fault = Some(said);
                    self.closed = true;
                    return messages;
                }
            }
        }
        self.closed = !matches!(peer, Ok(Peer::Open));
        messages
    }

    /// Whether nothing more can be received.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// What was wrong with the message that closed the link, if that closed it.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }
}
