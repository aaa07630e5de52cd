use rand::RngExt;

/// Where new identifiers come from, so that tests can make them predictable.
pub trait IdSource: Send + Sync {
    /// A UUID in its 36-character form.
    fn uuid(&self) -> String;

    /// `length` characters of `A-Z0-9`, the alphabet of Bedrock's short ids. Lower-case ones are made from it.
    fn short(&self, length: usize) -> String;
}

/// Identifiers nobody can guess.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomIds;

impl IdSource for RandomIds {
    fn uuid(&self) -> String {
        // Not `new_v4`, which asks the kernel each time: every request has an id.
        uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string()
    }

    fn short(&self, length: usize) -> String {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
        let mut random = rand::rng();
        (0..length).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect()
    }
}
