//! Frames against AWS's own codec, both ways, and against damage.

use std::borrow::Cow;

use aws_smithy_eventstream::frame::{DecodedFrame, MessageFrameDecoder, write_message_to};
use aws_smithy_types::event_stream::{Header, HeaderValue as TheirValue, Message};
use bytes::{Bytes, BytesMut};
use craton_wire::eventstream::{Decoder, Frame, FrameError, HeaderValue, MAX_MESSAGE_BYTES};
use proptest::collection::vec;
use proptest::prelude::*;

fn value() -> impl Strategy<Value = HeaderValue> {
    prop_oneof![
        any::<bool>().prop_map(HeaderValue::Bool),
        any::<i8>().prop_map(HeaderValue::Byte),
        any::<i16>().prop_map(HeaderValue::Int16),
        any::<i32>().prop_map(HeaderValue::Int32),
        any::<i64>().prop_map(HeaderValue::Int64),
        vec(any::<u8>(), 0..40).prop_map(|bytes| HeaderValue::Bytes(bytes.into())),
        ".{0,40}".prop_map(HeaderValue::from),
        // AWS's codec keeps times as seconds and nanoseconds within the years it can print.
        (-60_000_000_000_000_i64..200_000_000_000_000).prop_map(HeaderValue::Timestamp),
        any::<[u8; 16]>().prop_map(HeaderValue::Uuid),
    ]
}

fn frame() -> impl Strategy<Value = Frame> {
    let header = ("[:a-z-]{1,40}".prop_map(Cow::Owned), value());
    (vec(header, 0..6), vec(any::<u8>(), 0..300))
        .prop_map(|(headers, payload)| Frame { headers, payload: payload.into() })
}

fn theirs(frame: &Frame) -> Message {
    let mut message = Message::new(frame.payload.clone());
    for (name, value) in &frame.headers {
        let value = match value.clone() {
            HeaderValue::Bool(value) => TheirValue::Bool(value),
            HeaderValue::Byte(value) => TheirValue::Byte(value),
            HeaderValue::Int16(value) => TheirValue::Int16(value),
            HeaderValue::Int32(value) => TheirValue::Int32(value),
            HeaderValue::Int64(value) => TheirValue::Int64(value),
            HeaderValue::Bytes(value) => TheirValue::ByteArray(value),
            HeaderValue::String(value) => TheirValue::String(value.into_owned().into()),
            HeaderValue::Timestamp(ms) => TheirValue::Timestamp(aws_smithy_types::DateTime::from_millis(ms)),
            HeaderValue::Uuid(value) => TheirValue::Uuid(u128::from_be_bytes(value)),
        };
        message = message.add_header(Header::new(name.to_string(), value));
    }
    message
}

fn decode_all(pieces: &[&[u8]]) -> Result<Vec<Frame>, FrameError> {
    let mut decoder = Decoder::new();
    let mut frames = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        while let Some(frame) = decoder.next_frame()? {
            frames.push(frame);
        }
    }
    decoder.finish()?;
    Ok(frames)
}

proptest! {
    #[test]
    fn both_codecs_write_the_same_bytes(frame in frame()) {
        let ours = frame.encode().unwrap();
        let mut expected = Vec::new();
        write_message_to(&theirs(&frame), &mut expected).unwrap();
        prop_assert_eq!(&ours[..], &expected[..]);
        prop_assert_eq!(ours.len(), frame.encoded_len());
    }

    #[test]
    fn they_read_what_we_write(frame in frame()) {
        let mut bytes = frame.encode().unwrap();
        match MessageFrameDecoder::new().decode_frame(&mut bytes).unwrap() {
            DecodedFrame::Complete(message) => prop_assert_eq!(message, theirs(&frame)),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn frames_survive_any_cutting(frames in vec(frame(), 1..4), size in 1_usize..50) {
        let mut bytes = BytesMut::new();
        for frame in &frames {
            frame.encode_into(&mut bytes).unwrap();
        }
        let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
        prop_assert_eq!(decode_all(&pieces).unwrap(), frames);
    }

    #[test]
    fn a_flipped_bit_is_found(frame in frame(), at in any::<prop::sample::Index>(), bit in 0_u32..8) {
        let mut bytes = frame.encode().unwrap().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(decode_all(&[&bytes]).is_err());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in vec(any::<u8>(), 0..400)) {
        let _ = decode_all(&[&bytes]);
    }

    /// Headers of any content behind right checksums, so that the header reader sees them.
    #[test]
    fn any_headers_are_read_without_a_panic(headers in vec(any::<u8>(), 0..200)) {
        let mut bytes = Vec::new();
        bytes.extend(u32::try_from(16 + headers.len()).unwrap().to_be_bytes());
        bytes.extend(u32::try_from(headers.len()).unwrap().to_be_bytes());
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        bytes.extend(&headers);
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        if let Ok(frames) = decode_all(&[&bytes]) {
            prop_assert_eq!(frames.len(), 1);
            prop_assert_eq!(&frames[0].encode().unwrap()[..], &bytes[..]);
        }
    }
}

#[test]
fn a_huge_length_is_refused_before_anything_is_kept() {
    let mut bytes = Vec::new();
    bytes.extend(u32::try_from(MAX_MESSAGE_BYTES + 1).unwrap().to_be_bytes());
    bytes.extend(0_u32.to_be_bytes());
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    assert_eq!(decode_all(&[&bytes]), Err(FrameError::MessageTooLong(MAX_MESSAGE_BYTES + 1)));
}

#[test]
fn a_stream_that_ends_inside_a_frame_says_so() {
    let bytes = Frame::json_event("chunk", &b"{}"[..]).encode().unwrap();
    assert_eq!(decode_all(&[&bytes[..bytes.len() - 1]]), Err(FrameError::Truncated));
}

#[test]
fn oversized_frames_are_not_written() {
    let frame = Frame::json_event("chunk", Bytes::from(vec![0; MAX_MESSAGE_BYTES]));
    assert!(matches!(frame.encode(), Err(FrameError::MessageTooLong(_))));
    let mut frame = Frame::error("Code", "x".repeat(40_000));
    assert!(matches!(frame.encode(), Err(FrameError::HeaderTooLong(_))));
    frame.headers = vec![("".into(), "x".into())];
    assert!(matches!(frame.encode(), Err(FrameError::HeaderTooLong(_))));
}

#[test]
fn failures_can_be_told_from_events() {
    assert_eq!(Frame::json_event("chunk", &b"{}"[..]).failure(), None);
    let exception = Frame::exception("throttlingException", Bytes::from_static(br#"{"message":"slow"}"#));
    assert_eq!(exception.failure(), Some(("throttlingException".into(), "slow".into())));
    assert_eq!(
        Frame::error("InternalFailure", "oops").failure(),
        Some(("InternalFailure".into(), "oops".into()))
    );
}
