//! `Marker`, `MaxItems` and `IsTruncated`.

use craton_core::PageRequest;
use craton_wire::ApiError;

/// One page of a list.
pub(crate) struct Paged<T> {
    pub(crate) items: Vec<T>,
    pub(crate) is_truncated: Option<bool>,
    pub(crate) marker: Option<String>,
}

/// Cuts a page from items in the order of their unique keys.
pub(crate) fn page<T>(
    items: impl IntoIterator<Item = T>,
    (marker, max_items): (Option<String>, Option<i32>),
    key: impl Fn(&T) -> String,
) -> Result<Paged<T>, ApiError> {
    let request =
        PageRequest { next_token: marker, max_results: max_items.and_then(|max| max.try_into().ok()) };
    let mut items: Vec<T> = items.into_iter().collect();
    items.sort_by_cached_key(&key);
    let page = request.cut(items, key).map_err(|_| ApiError::validation("Invalid Marker."))?;
    Ok(Paged { is_truncated: Some(page.next_token.is_some()), marker: page.next_token, items: page.items })
}
