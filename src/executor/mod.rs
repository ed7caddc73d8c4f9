//! The parent of the commands. See `model/protocol.rs` for what is said on its socket.
