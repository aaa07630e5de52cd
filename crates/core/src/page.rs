use serde::Serialize;

/// A client's wish for one page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PageRequest {
    pub next_token: Option<String>,
    pub max_results: Option<u32>,
}

/// One page, and the token of the next when there is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next_token: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("The pagination token is not valid")]
pub struct PageError;

impl PageRequest {
    /// Items a page when the client names no number.
    pub const DEFAULT_SIZE: u32 = 100;

    /// As operations have it: a number below one is none.
    pub fn of(next_token: Option<String>, max_results: Option<i32>) -> Self {
        Self { next_token, max_results: max_results.and_then(|count| u32::try_from(count).ok()) }
    }

    /// Items on the page.
    pub fn size(&self) -> usize {
        self.max_results.unwrap_or(Self::DEFAULT_SIZE).max(1) as usize
    }

    /// The key after which the page begins, where it is not the first.
    pub fn after(&self) -> Result<Option<String>, PageError> {
        let Some(token) = &self.next_token else { return Ok(None) };
        String::from_utf8(unhex(token).ok_or(PageError)?).map(Some).map_err(|_| PageError)
    }

    /// Cuts a page from `items`, which are in the order of `key` (ascending, unique). A token names the last key seen,
    /// so pages stay right when items come and go in between.
    pub fn cut<T>(
        &self,
        items: impl IntoIterator<Item = T>,
        key: impl Fn(&T) -> String,
    ) -> Result<Page<T>, PageError> {
        let (after, size) = (self.after()?, self.size());
        let mut rest = items.into_iter().filter(|item| after.as_ref().is_none_or(|after| key(item) > *after));
        let page: Vec<T> = rest.by_ref().take(size).collect();
        let more = rest.next().is_some();
        let next_token = page.last().filter(|_| more).map(|last| to_hex(key(last).as_bytes()));
        Ok(Page { items: page, next_token })
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16);
    digits.chunks_exact(2).map(|pair| u8::try_from(value(pair[0])? * 16 + value(pair[1])?).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_visit_every_item_once() {
        let items: Vec<String> = (0..10).map(|n| format!("item-{n}")).collect();
        let mut request = PageRequest { next_token: None, max_results: Some(3) };
        let mut seen = Vec::new();
        loop {
            let page = request.cut(items.clone(), Clone::clone).unwrap();
            seen.extend(page.items);
            match page.next_token {
                Some(token) => request.next_token = Some(token),
                None => break,
            }
        }
        assert_eq!(seen, items);
    }

    #[test]
    fn a_made_up_token_is_refused() {
        let request = PageRequest { next_token: Some("zz".into()), max_results: None };
        assert_eq!(request.cut(["a"], |item| (*item).to_owned()), Err(PageError));
    }
}
