//! What llama.cpp takes for granted of a vocabulary, seen while its header is read: tokens are told apart by their text,
//! a token declared a byte spells one, and a tokenizer that falls back to bytes has all of them. Where one of these
//! fails llama.cpp ends the process.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use super::GgufError;

/// `LLAMA_TOKEN_TYPE_BYTE`.
const BYTE: i32 = 6;

pub(super) struct Vocabulary {
    hasher: RandomState,
    seen: HashSet<u64>,
    repeated: Option<usize>,
    /// Whether each token spells a byte: `<0x0A>`.
    spells: Vec<bool>,
    /// Which tokens are declared to be bytes.
    declared: Vec<usize>,
    /// Bytes that some token stands for.
    covered: [bool; 256],
}

impl Vocabulary {
    pub(super) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            seen: HashSet::new(),
            repeated: None,
            spells: Vec::new(),
            declared: Vec::new(),
            covered: [false; 256],
        }
    }

    /// The next token's text. Empty ones are told apart by their place.
    pub(super) fn token(&mut self, text: &[u8]) {
        let index = self.spells.len();
        if !text.is_empty() && !self.seen.insert(self.hasher.hash_one(text)) {
            self.repeated.get_or_insert(index);
        }
        let byte = byte_of(text);
        if let Some(byte) = byte.or_else(|| text.first().copied().filter(|_| text.len() == 1)) {
            self.covered[usize::from(byte)] = true;
        }
        self.spells.push(byte.is_some());
    }

    /// The type of a token.
    pub(super) fn kind(&mut self, index: usize, kind: i32) {
        if kind == BYTE {
            self.declared.push(index);
        }
    }

    /// `model` is the tokenizer's kind.
    pub(super) fn check(&self, model: &str) -> Result<(), GgufError> {
        let unusable = |reason: String| Err(GgufError::Unusable(reason));
        if matches!(model, "none" | "no_vocab" | "test") {
            return unusable(format!("its tokenizer {model:?} reads no text"));
        }
        if let Some(index) = self.repeated {
            return unusable(format!("token {index} has the text of an earlier one"));
        }
        let spelt = |index: &&usize| !self.spells.get(**index).copied().unwrap_or(false);
        if let Some(index) = self.declared.iter().find(spelt) {
            return unusable(format!("token {index} is declared a byte and spells none"));
        }
        if model == "llama"
            && let Some(byte) = self.covered.iter().position(|covered| !covered)
        {
            return unusable(format!("its tokenizer falls back to bytes and has none for {byte:#04x}"));
        }
        Ok(())
    }
}

/// The byte that `<0x0A>` spells.
fn byte_of(text: &[u8]) -> Option<u8> {
    let digits = text.strip_prefix(b"<0x")?.strip_suffix(b">")?;
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.len() == 2)?;
    u8::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary(tokens: &[&str]) -> Vocabulary {
        let mut vocabulary = Vocabulary::new();
        tokens.iter().for_each(|token| vocabulary.token(token.as_bytes()));
        vocabulary
    }

    #[test]
    fn tokens_are_told_apart() {
        assert!(vocabulary(&["a", "", "b", ""]).check("gpt2").is_ok());
        let error = vocabulary(&["a", "b", "a"]).check("gpt2").unwrap_err().to_string();
        assert!(error.contains("token 2"), "{error}");
        assert!(vocabulary(&["a"]).check("none").is_err());
    }

    #[test]
    fn declared_bytes_spell_bytes() {
        let mut good = vocabulary(&["x", "<0x0A>"]);
        good.kind(1, BYTE);
        assert!(good.check("gpt2").is_ok());
        good.kind(0, BYTE);
        assert!(good.check("gpt2").unwrap_err().to_string().contains("token 0"));
    }

    #[test]
    fn a_tokenizer_that_falls_back_has_every_byte() {
        let all: Vec<String> = (0..=255).map(|byte| format!("<0x{byte:02X}>")).collect();
        let mut all: Vec<&str> = all.iter().map(String::as_str).collect();
        assert!(vocabulary(&all).check("llama").is_ok());
        all.remove(65);
        assert!(vocabulary(&all).check("llama").unwrap_err().to_string().contains("0x41"));
        all.push("A");
        assert!(vocabulary(&all).check("llama").is_ok());
        assert!(vocabulary(&["a"]).check("gpt2").is_ok());
    }
}
