//! The server as its clients see it, over real sockets, with a scripted model behind it.

mod coverage;
mod front;
mod inference;
mod lifecycle;
mod transport;
