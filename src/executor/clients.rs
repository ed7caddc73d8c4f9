//! The connected clients: the daemon, and verbs while it is down.
//!
//! Invariants: no client can block the executor or make it grow without bound; only the same user (or
//! root) is listened to; a client that speaks nonsense is dropped, and its going touches no command.

use super::beneath::{self, SOCKET};
use super::lines::{Inbox, Outbox, Peer, UNSENT_BYTES_MAX};
use super::note;
use crate::model::protocol::{FromExecutor, ToExecutor};
use rustix::event::PollFlags;
use rustix::net::sockopt::socket_peercred;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

/// Most clients at once: one daemon and a burst of verbs.
const CLIENTS_MAX: usize = 64;

/// One client.
pub(crate) struct Client {
    socket: UnixStream,
    inbox: Inbox,
    outbox: Outbox,
    /// It said `Hello` in our version.
    pub(crate) greeted: bool,
    /// Nothing more is read from it; it is dropped once flushed.
    closing: bool,
    gone: bool,
}

/// Where clients come in.
struct Door {
    listener: UnixListener,
    dir: OwnedFd,
}

/// The listening socket, if there is one, and who came.
pub(crate) struct Clients {
    door: Option<Door>,
    list: Vec<Client>,
    /// Nobody can be let in now, for want of descriptors.
    shut: bool,
}

impl Clients {
    /// Listens in the executor's directory. The caller holds the lock, so a socket found there is stale.
    pub(crate) fn listen(dir: OwnedFd) -> io::Result<Self> {
        let path = beneath::through(&dir, SOCKET);
        match rustix::fs::unlinkat(&dir, SOCKET, rustix::fs::AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        Ok(Self { door: Some(Door { listener, dir }), list: Vec::new(), shut: false })
    }

    /// One client that is connected already; nobody else can come.
    pub(crate) fn only(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { door: None, list: vec![Client::new(socket)], shut: false })
    }

    /// Removes the socket; who is connected stays so until dropped.
    pub(crate) fn close(&self) {
        if let Some(door) = &self.door {
            let _ = rustix::fs::unlinkat(&door.dir, SOCKET, rustix::fs::AtFlags::empty());
        }
    }

    /// For the poll: the door, unless it is shut.
    pub(crate) fn listener(&self) -> Option<BorrowedFd<'_>> {
        self.door.as_ref().filter(|_| !self.shut).map(|door| door.listener.as_fd())
    }

    /// For the poll: each client, and what to wait for.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        self.list.iter().map(|client| {
            let mut wanted = PollFlags::empty();
            wanted.set(PollFlags::IN, !client.closing);
            wanted.set(PollFlags::OUT, client.outbox.waiting() > 0);
            (client.socket.as_fd(), wanted)
        })
    }

    /// Nobody is connected.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// One of them, by the order of [`Self::sockets`].
    pub(crate) fn get(&mut self, at: usize) -> Option<&mut Client> {
        self.list.get_mut(at)
    }

    /// Something has happened since the door was shut.
    pub(crate) fn reopen(&mut self) {
        self.shut = false;
    }

    /// Lets in who waits at the door.
    pub(crate) fn accept(&mut self) {
        while let Some(door) = &self.door {
            match door.listener.accept() {
                Ok((socket, _)) => self.admit(socket),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    // The next wake-up of any kind may have freed what is wanting; until then the door would
                    // wake the loop without end.
                    note(&format!("accept a client: {error}"));
                    self.shut = true;
                    return;
                }
            }
        }
    }

    fn admit(&mut self, socket: UnixStream) {
        let own = rustix::process::geteuid();
        let allowed =
            socket_peercred(&socket).is_ok_and(|peer| peer.uid == own || peer.uid.is_root());
        if !allowed || socket.set_nonblocking(true).is_err() {
            note("refused a client of another user");
        } else if self.list.len() >= CLIENTS_MAX {
            note(&format!("refused a client: {CLIENTS_MAX} are connected"));
        } else {
            self.list.push(Client::new(socket));
        }
    }

    /// Tells everybody who has said `Hello`.
    pub(crate) fn tell_all(&mut self, message: &FromExecutor) {
        self.list
            .iter_mut()
            .filter(|client| client.greeted)
            .for_each(|client| client.tell(message));
    }

    /// Sends what waits and forgets who has gone.
    pub(crate) fn flush(&mut self) {
        for client in &mut self.list {
            client.gone |= client.outbox.flush(&client.socket).is_err();
            client.gone |= client.closing && client.outbox.waiting() == 0;
        }
        self.list.retain(|client| !client.gone);
    }
}

impl Client {
    fn new(socket: UnixStream) -> Self {
        let (inbox, outbox) = (Inbox::default(), Outbox::default());
        Self { socket, inbox, outbox, greeted: false, closing: false, gone: false }
    }

    /// Nothing more it says counts.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing
    }

    /// What it has said.
    pub(crate) fn hear(&mut self) -> Vec<ToExecutor> {
        let mut messages = Vec::new();
        if self.closing || self.gone {
            return messages;
        }
        let peer = self.inbox.fill(&self.socket);
        loop {
            match self.inbox.take() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(said) => {
                    self.drop_because(&said);
                    return messages;
                }
            }
        }
        self.gone = !matches!(peer, Ok(Peer::Open));
        messages
    }

    /// Queues a message. Who does not read is dropped: it learns everything again when it comes back.
    pub(crate) fn tell(&mut self, message: &FromExecutor) {
        if self.gone {
            return;
        }
        if self.outbox.waiting() > UNSENT_BYTES_MAX {
            self.drop_because("it does not read");
        } else if let Err(length) = self.outbox.push(message) {
            note(&format!("a message of {length} bytes is too long to be sent"));
        }
    }

    /// Ends the connection after what waits was sent.
    pub(crate) fn close(&mut self, reason: &str) {
        note(&format!("closed a client: {reason}"));
        self.closing = true;
    }

    /// Ends the connection at once.
    pub(crate) fn drop_because(&mut self, reason: &str) {
        note(&format!("dropped a client: {reason}"));
        self.gone = true;
    }
}
