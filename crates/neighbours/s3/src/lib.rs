//! The S3 front: buckets and objects for clients that speak S3.
//!
//! `s3s` reads requests and writes answers; everything behind it is ours: who signed ([`auth`]), whether they may
//! ([`access`], with what buckets and objects themselves have to say from [`sides`]), and the operations themselves on [`craton_objects::Objects`], one module a family. Bodies are streams
//! both ways. Operations that are not here answer NotImplemented, as S3 itself does for what it doesn't know; settings
//! that we would not honour are refused, never accepted and forgotten.
//!
//! What `s3s` leaves open is closed here before it sees a request: signed headers must include the host and every
//! `x-amz-*` header, so that nobody adds one to a presigned request; Signature Version 2 is taken in presigned URLs
//! only, where it has an end; session tokens must belong to their key.

mod access;
mod auth;
mod buckets;
mod convert;
mod copies;
mod cors;
mod error;
mod form;
mod front;
mod host;
mod keys;
mod lists;
mod objects;
mod operations;
mod policies;
mod ranges;
mod settings;
mod sides;
mod signed;
mod tags;
mod uploads;

pub use front::{Answer, Call, S3Front, unavailable};
pub use host::{is_virtual_host, matches_s3};
pub use s3s::Body;
pub use sides::{OBJECT_TAG, Sides};
