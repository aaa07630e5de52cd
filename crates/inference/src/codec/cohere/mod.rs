//! Cohere's chat bodies: Command (text generation) and Command R (chat with documents and tools).

mod chat;
mod chat_answer;
mod command;

pub(super) use chat::{CommandR, SAMPLING as CHAT_SAMPLING, sampling as chat_sampling};
pub(super) use command::{Command, SAMPLING as COMMAND_SAMPLING, sampling as command_sampling};

use craton_backend::StopReason;

fn finish_reason(reason: StopReason) -> &'static str {
    match reason {
        StopReason::MaxTokens => "MAX_TOKENS",
        StopReason::ContextWindowExceeded => "ERROR_LIMIT",
        StopReason::ContentFiltered => "ERROR_TOXIC",
        _ => "COMPLETE",
    }
}

/// An id in the form of a UUID, made of the answer's random characters and a word that tells its ids apart.
fn uuid_like(answer_id: &str, word: &str) -> String {
    let mut bytes = [0_u8; 16];
    for (index, byte) in answer_id.bytes().chain(word.bytes()).enumerate() {
        let slot = &mut bytes[index % 16];
        *slot = slot.rotate_left(3) ^ byte.wrapping_mul(151);
    }
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_and_tell_apart() {
        assert_eq!(uuid_like("A", "x"), uuid_like("A", "x"));
        assert_ne!(uuid_like("A", "x"), uuid_like("A", "y"));
        assert_ne!(uuid_like("A", "x"), uuid_like("B", "x"));
        assert_eq!(uuid_like("A", "x").len(), 36);
    }
}
