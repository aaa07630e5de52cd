//! The digests of S3: MD5 for entity tags, and the checksums that clients may send along.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Digest as _;
use serde::{Deserialize, Serialize};

/// A checksum algorithm, as S3 names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Algorithm {
    Crc32,
    Crc32c,
    Crc64nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    pub const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64nvme, Self::Sha1, Self::Sha256];

    /// `CRC32C`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// `x-amz-checksum-crc32c`.
    pub fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    fn length(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// Whether the checksum of a whole can be had from those of its parts and their lengths.
    pub fn combines(self) -> bool {
        self.crc().is_some()
    }

    fn crc(self) -> Option<crc_fast::CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(crc_fast::CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(crc_fast::CrcAlgorithm::Crc32Iscsi),
            Self::Crc64nvme => Some(crc_fast::CrcAlgorithm::Crc64Nvme),
            Self::Sha1 | Self::Sha256 => None,
        }
    }
}

/// A checksum of an object or a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    pub algorithm: Algorithm,
    /// Base64; a composite one (a sum over the parts' sums) ends in `-` and the number of parts.
    pub value: String,
}

impl Checksum {
    /// A checksum over bytes; `None` if the value is not the base64 of one.
    pub fn parse(algorithm: Algorithm, value: &str) -> Option<Self> {
        let decoded = STANDARD.decode(value).ok()?;
        (decoded.len() == algorithm.length()).then(|| Self { algorithm, value: value.to_owned() })
    }

    fn of(algorithm: Algorithm, digest: &[u8]) -> Self {
        Self { algorithm, value: STANDARD.encode(digest) }
    }

    pub fn is_composite(&self) -> bool {
        self.value.contains('-')
    }

    fn bytes(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.value).ok()
    }
}

/// Sums bytes up in every way that was asked for.
pub struct Hasher {
    md5: md5::Md5,
    sum: Option<(Algorithm, Sum)>,
    length: u64,
}

enum Sum {
    Crc(crc_fast::Digest),
    Ring(ring::digest::Context),
}

impl Sum {
    fn new(algorithm: Algorithm) -> Self {
        match algorithm.crc() {
            Some(crc) => Self::Crc(crc_fast::Digest::new(crc)),
            None if algorithm == Algorithm::Sha1 => {
                Self::Ring(ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY))
            }
            None => Self::Ring(ring::digest::Context::new(&ring::digest::SHA256)),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc(digest) => digest.update(bytes),
            Self::Ring(context) => context.update(bytes),
        }
    }

    fn finish(self, algorithm: Algorithm) -> Checksum {
        match self {
            Self::Crc(digest) => {
                let sum = digest.finalize().to_be_bytes();
                Checksum::of(algorithm, &sum[8 - algorithm.length()..])
            }
            Self::Ring(context) => Checksum::of(algorithm, context.finish().as_ref()),
        }
    }
}

/// What a [`Hasher`] saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digests {
    pub md5: [u8; 16],
    pub checksum: Option<Checksum>,
    pub length: u64,
}

impl Hasher {
    /// Always sums MD5 up, which is the entity tag.
    pub fn new(algorithm: Option<Algorithm>) -> Self {
        let sum = algorithm.map(|algorithm| (algorithm, Sum::new(algorithm)));
        Self { md5: md5::Md5::new(), sum, length: 0 }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        if let Some((_, sum)) = &mut self.sum {
            sum.update(bytes);
        }
        self.length += bytes.len() as u64;
    }

    pub fn finish(self) -> Digests {
        let checksum = self.sum.map(|(algorithm, sum)| sum.finish(algorithm));
        Digests { md5: self.md5.finalize().into(), checksum, length: self.length }
    }
}

/// The entity tag of an object made of parts: the MD5 of the parts' MD5s, and their number. `None` if a part's tag is
/// not an MD5.
pub fn multipart_etag<'a>(etags: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut md5 = md5::Md5::new();
    let mut count = 0_u32;
    for etag in etags {
        md5.update(hex::decode(etag).ok().filter(|digest| digest.len() == 16)?);
        count += 1;
    }
    Some(format!("{}-{count}", hex::encode(md5.finalize())))
}

/// The checksum over the parts' checksums; `None` if one is missing or of another algorithm.
pub fn composite<'a>(
    algorithm: Algorithm,
    parts: impl Iterator<Item = Option<&'a Checksum>>,
) -> Option<Checksum> {
    let mut sum = Sum::new(algorithm);
    let mut count = 0_u32;
    for part in parts {
        sum.update(&part.filter(|part| part.algorithm == algorithm)?.bytes()?);
        count += 1;
    }
    let mut checksum = sum.finish(algorithm);
    checksum.value = format!("{}-{count}", checksum.value);
    Some(checksum)
}

/// The checksum of the whole from the CRCs and lengths of its parts.
pub fn combine<'a>(
    algorithm: Algorithm,
    parts: impl Iterator<Item = (Option<&'a Checksum>, u64)>,
) -> Option<Checksum> {
    let crc = algorithm.crc()?;
    let mut whole: Option<u64> = None;
    for (part, length) in parts {
        let bytes = part.filter(|part| part.algorithm == algorithm)?.bytes()?;
        let value = bytes.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        whole = Some(match whole {
            None => value,
            Some(before) => crc_fast::checksum_combine(crc, before, value, length),
        });
    }
    let bytes = whole?.to_be_bytes();
    Some(Checksum::of(algorithm, &bytes[8 - algorithm.length()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(algorithm: Algorithm, bytes: &[u8]) -> Digests {
        let mut hasher = Hasher::new(Some(algorithm));
        for chunk in bytes.chunks(3) {
            hasher.update(chunk);
        }
        hasher.finish()
    }

    #[test]
    fn known_sums_of_the_check_string() {
        // The check values of the CRC catalogue and FIPS 180 for "123456789".
        for (algorithm, hexadecimal) in [
            (Algorithm::Crc32, "cbf43926"),
            (Algorithm::Crc32c, "e3069283"),
            (Algorithm::Crc64nvme, "ae8b14860a799888"),
            (Algorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
            (Algorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
        ] {
            let digests = sum(algorithm, b"123456789");
            let expected = Checksum::of(algorithm, &hex::decode(hexadecimal).unwrap());
            assert_eq!(digests.checksum, Some(expected));
            assert_eq!(hex::encode(digests.md5), "25f9e794323b453885f5181f1b624d0b");
            assert_eq!(digests.length, 9);
        }
    }

    #[test]
    fn crcs_combine_to_that_of_the_whole() {
        let text: Vec<u8> = (0..10_000_u32).map(|n| (n * 7 % 251) as u8).collect();
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64nvme] {
            let parts: Vec<Digests> =
                [&text[..4097], &text[4097..4098], &text[4098..]].map(|part| sum(algorithm, part)).into();
            let combined = combine(algorithm, parts.iter().map(|part| (part.checksum.as_ref(), part.length)));
            assert_eq!(combined, sum(algorithm, &text).checksum, "{algorithm:?}");
        }
        assert_eq!(combine(Algorithm::Sha1, std::iter::empty()), None);
    }

    #[test]
    fn a_multipart_etag_counts_its_parts() {
        let part = "d41d8cd98f00b204e9800998ecf8427e";
        assert_eq!(multipart_etag([part].into_iter()).unwrap(), "59adb24ef3cdbe0297f05b395827453f-1");
        assert_eq!(multipart_etag(["zz"].into_iter()), None);
    }

    #[test]
    fn values_that_are_no_checksum_are_refused() {
        assert!(Checksum::parse(Algorithm::Crc32, "y/Q5Jg==").is_some());
        assert!(Checksum::parse(Algorithm::Crc32, "y/Q5Jgg=").is_none());
        assert!(Checksum::parse(Algorithm::Crc32, "?").is_none());
    }
}
