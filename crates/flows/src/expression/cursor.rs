//! Reading a text from left to right.

use super::ExpressionError;

pub(super) struct Cursor<'a> {
    text: &'a str,
    /// In bytes.
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn skip_spaces(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// Takes `token` if it comes next.
    pub(super) fn take(&mut self, token: &str) -> bool {
        let there = self.rest().starts_with(token);
        if there {
            self.at += token.len();
        }
        there
    }

    /// Takes characters as long as they are of a kind.
    pub(super) fn take_while(&mut self, of_kind: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|character| !of_kind(character)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// The error at the next character.
    pub(super) fn expected<T>(&self, what: &str) -> Result<T, ExpressionError> {
        let found = match self.peek() {
            Some(character) => format!("expected {what}, found '{character}'"),
            None => format!("expected {what}, found the end"),
        };
        Err(self.error_at(self.at, found))
    }

    /// An error at a place that was remembered, in bytes.
    pub(super) fn error_at(&self, at: usize, message: impl Into<String>) -> ExpressionError {
        let before = self.text.get(..at).unwrap_or(self.text);
        ExpressionError { at: before.chars().count() + 1, message: message.into() }
    }
}
