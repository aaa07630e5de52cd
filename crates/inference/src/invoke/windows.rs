//! Texts longer than the embedding model that serves them reads at once.
//!
//! A model of 512 tokens may answer for one of 8,192, and clients cut their chunks for the model they asked for. A
//! longer text is embedded in windows, cut at white space, and its vector is the windows' mean, weighted by their
//! tokens and, unless raw lengths were asked for, brought back to unit length. That keeps all of the text in the vector, where an error or a silent cut
//! would lose it; a text within the limit is embedded as ever.

use craton_backend::{BackendError, EmbedRequest, EmbeddingModel, Embeddings};

/// Embeds texts of which some have more than `limit` tokens.
pub(super) async fn embed(
    backend: &dyn EmbeddingModel,
    request: EmbedRequest,
    limit: u32,
    raw: bool,
) -> Result<Embeddings, BackendError> {
    let mut windows = Vec::new();
    let mut windows_of = Vec::with_capacity(request.texts.len());
    for text in &request.texts {
        let before = windows.len();
        cut(backend, text, limit, &mut windows).await?;
        windows_of.push(windows.len() - before);
    }
    let texts = windows.iter().map(|window| (*window).to_owned()).collect();
    let request = EmbedRequest { texts, ..request };
    let embedded = if raw { backend.embed_raw(request).await? } else { backend.embed(request).await? };
    if embedded.vectors.len() != windows.len() || embedded.input_tokens.len() != windows.len() {
        return Err(BackendError::Internal(
            "the model returned another number of vectors than of texts".into(),
        ));
    }
    let mut parts = embedded.vectors.into_iter().zip(embedded.input_tokens);
    let mut whole = Embeddings::default();
    for count in windows_of {
        let (vector, tokens) = mean(parts.by_ref().take(count), raw);
        whole.vectors.push(vector);
        whole.input_tokens.push(tokens);
    }
    Ok(whole)
}

/// Halves a text until its parts fit. White space at the cuts goes: it says nothing.
async fn cut<'a>(
    backend: &dyn EmbeddingModel,
    text: &'a str,
    limit: u32,
    windows: &mut Vec<&'a str>,
) -> Result<(), BackendError> {
    let mut rest = vec![text];
    while let Some(part) = rest.pop() {
        let middle = middle(part);
        if middle == 0 || backend.count_tokens(part).await? <= limit {
            windows.push(part);
            continue;
        }
        let (head, tail) = part.split_at(middle);
        // The head is taken next.
        rest.extend([tail.trim_start(), head.trim_end()].into_iter().filter(|part| !part.is_empty()));
    }
    Ok(())
}

/// Where to cut a text: at the white space nearest to its middle, else at the character there; 0 if it can't be cut.
fn middle(text: &str) -> usize {
    let half = text.floor_char_boundary(text.len() / 2);
    let (head, tail) = text.split_at(half);
    let before = head.rfind(char::is_whitespace).filter(|at| *at > 0);
    let after = tail.find(char::is_whitespace).map(|at| half + at).filter(|at| *at > 0);
    match (before, after) {
        (Some(before), Some(after)) if half - before <= after - half => before,
        (_, Some(after)) => after,
        (Some(before), None) => before,
        (None, None) => half,
    }
}

/// The mean of vectors weighted by their tokens, at unit length unless `raw`, and the tokens together.
fn mean(parts: impl Iterator<Item = (Vec<f32>, u32)>, raw: bool) -> (Vec<f32>, u32) {
    let (mut sum, mut tokens) = (Vec::new(), 0_u32);
    let mut alone = true;
    for (vector, weight) in parts {
        tokens = tokens.saturating_add(weight);
        if sum.is_empty() {
            sum = vector;
            // One window is left as it is, to the last bit.
            continue;
        }
        if std::mem::take(&mut alone) {
            let first = tokens - weight;
            sum.iter_mut().for_each(|value| *value *= first as f32);
        }
        for (sum, value) in sum.iter_mut().zip(vector) {
            *sum += value * weight as f32;
        }
    }
    if !alone {
        let length = if raw {
            f64::from(tokens)
        } else {
            sum.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()
        };
        if length > 0.0 {
            sum.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
        }
    }
    (sum, tokens)
}

#[cfg(test)]
mod tests {
    use futures::future::BoxFuture;

    use super::*;

    /// A word is a token; a text's vector says how many of its words are `a` and how many are not.
    struct Words;

    impl EmbeddingModel for Words {
        fn dimensions(&self) -> usize {
            2
        }

        fn max_tokens(&self) -> u32 {
            4
        }

        fn embed(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, BackendError>> {
            Box::pin(async move {
                let mut embeddings = Embeddings::default();
                for text in &request.texts {
                    let words: Vec<&str> = text.split_whitespace().collect();
                    assert!(words.len() <= 4, "{text}");
                    let a = words.iter().filter(|word| **word == "a").count() as f32;
                    let rest = words.len() as f32 - a;
                    let length = (a * a + rest * rest).sqrt();
                    embeddings.vectors.push(vec![a / length, rest / length]);
                    embeddings.input_tokens.push(u32::try_from(words.len()).unwrap());
                }
                Ok(embeddings)
            })
        }

        fn count_tokens<'a>(&'a self, text: &'a str) -> BoxFuture<'a, Result<u32, BackendError>> {
            Box::pin(async move { Ok(u32::try_from(text.split_whitespace().count()).unwrap()) })
        }
    }

    fn embedded(texts: &[&str], raw: bool) -> Embeddings {
        let texts = texts.iter().map(|text| (*text).to_owned()).collect();
        let request = EmbedRequest { texts, ..EmbedRequest::default() };
        futures::executor::block_on(embed(&Words, request, 4, raw)).unwrap()
    }

    #[test]
    fn a_long_text_is_the_mean_of_its_windows_and_short_ones_are_as_ever() {
        let long = ["a"; 8].into_iter().chain(["b"; 8]).collect::<Vec<_>>().join(" ");
        let both = embedded(&["a b", &long, "a"], false);
        assert_eq!(both.input_tokens, [2, 16, 1]);
        let half = std::f32::consts::FRAC_1_SQRT_2;
        for (value, expected) in both.vectors.iter().flatten().zip([half, half, half, half, 1.0, 0.0]) {
            assert!((value - expected).abs() < 1e-6, "{:?}", both.vectors);
        }
    }

    #[test]
    fn a_raw_mean_is_as_short_as_its_windows_differ() {
        let long = ["a"; 8].into_iter().chain(["b"; 8]).collect::<Vec<_>>().join(" ");
        let raw = embedded(&[&long], true);
        assert!(raw.vectors[0].iter().all(|value| (value - 0.5).abs() < 1e-6), "{:?}", raw.vectors);
    }

    #[test]
    fn every_word_is_in_exactly_one_window() {
        let text: Vec<String> = (0..57).map(|n| format!("w{n}")).collect();
        let text = format!("  {}\n", text.join("  "));
        let mut windows = Vec::new();
        futures::executor::block_on(cut(&Words, &text, 4, &mut windows)).unwrap();
        let words: Vec<&str> = windows.iter().flat_map(|window| window.split_whitespace()).collect();
        assert_eq!(words, text.split_whitespace().collect::<Vec<_>>());
        assert!(windows.iter().all(|window| window.split_whitespace().count() <= 4));
    }

    #[test]
    fn text_without_white_space_is_cut_between_characters() {
        assert_eq!(middle("ééé"), 2);
        assert_eq!(middle("é"), 0);
        assert_eq!(middle(""), 0);
        assert_eq!(middle("ab cdefgh"), 2);
    }
}
