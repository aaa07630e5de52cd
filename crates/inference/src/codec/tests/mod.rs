//! What every codec must hold to: a request written in a family's form reads back as it was, a streamed answer put
//! together by a client is the unstreamed one, and nothing a client can send makes a codec panic.

mod arbitrary;
mod client;
mod refusals;
mod robustness;
mod round_trip;
mod shapes;
mod streams;
mod vectors;
mod write;
