//! Any bytes, in any pieces, are either frames that encode to the same bytes or an error.
#![no_main]

use craton_wire::eventstream::Decoder;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((cut, rest)) = data.split_first() else { return };
    let mut repaired = rest.to_vec();
    // Half the inputs get right checksums, without which the fuzzer would never see a header read.
    if cut & 1 == 1 {
        repair(&mut repaired);
    }
    let mut decoder = Decoder::new();
    let mut written = Vec::new();
    for piece in repaired.chunks(usize::from(cut / 2).max(1)) {
        decoder.push(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => {
                    written.extend(frame.encode().expect("a frame that was read can be written"))
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
    assert_eq!(written, repaired[..written.len()]);
});

/// Treats all bytes as one message and puts its lengths' and its own checksum right.
fn repair(bytes: &mut [u8]) {
    let Some(end) = bytes.len().checked_sub(4).filter(|end| *end >= 12) else { return };
    let total = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    bytes[..4].copy_from_slice(&total.to_be_bytes());
    let headers = u32::from_be_bytes([0, 0, bytes[6], bytes[7]]).min(total - 16);
    bytes[4..8].copy_from_slice(&headers.to_be_bytes());
    let prelude = crc32(&bytes[..8]);
    bytes[8..12].copy_from_slice(&prelude.to_be_bytes());
    let whole = crc32(&bytes[..end]);
    bytes[end..].copy_from_slice(&whole.to_be_bytes());
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}
