//! Pages of keys and of versions, read in index order.
//!
//! With a delimiter, keys under one common prefix are not read through: once a common prefix is known the walk goes on
//! at the first key that can't be under it. So a page costs about what it shows, however much is rolled up.

use craton_store::{Row, values};

use super::FileObjects;
use super::rows;
use crate::types::{After, ListQuery, Listed, ListedVersion, Listing, VersionListing, VersionsQuery};
use crate::{ObjectError, Result};

/// Rows read at first, and after each leap, where a delimiter may make most of them superfluous.
const FIRST_ROWS: u32 = 64;
/// Rows under an already known common prefix that are read over before the walk leaps.
const PATIENCE: u32 = 16;

/// Beyond every key: longer than a key can be, of the highest character.
fn beyond() -> String {
    char::MAX.to_string().repeat(crate::names::MAX_KEY_BYTES / 4 + 1)
}

/// The first string (in the order of bytes) that is after everything that starts with `prefix`.
fn past(prefix: &str) -> String {
    let mut letters: Vec<char> = prefix.chars().collect();
    while let Some(last) = letters.pop() {
        let next = match last {
            '\u{D7FF}' => Some('\u{E000}'),
            other => char::from_u32(other as u32 + 1),
        };
        if let Some(next) = next {
            letters.push(next);
            return letters.into_iter().collect();
        }
    }
    beyond()
}

fn common_prefix<'a>(key: &'a str, prefix: &str, delimiter: Option<&str>) -> Option<&'a str> {
    let delimiter = delimiter?;
    let at = key.get(prefix.len()..)?.find(delimiter)?;
    key.get(..prefix.len() + at + delimiter.len())
}

/// Where reading goes on.
#[derive(Debug, Clone)]
struct From {
    key: String,
    /// Whether `key` itself is still to come; for versions, those with a lower `seq` than `seq` are.
    inclusive: bool,
    seq: i64,
}

impl From {
    fn at(key: String) -> Self {
        Self { key, inclusive: true, seq: i64::MAX }
    }

    fn start(prefix: &str, after: Option<&After>, seq: Option<i64>) -> Self {
        let from = match after {
            None => Self::at(prefix.to_owned()),
            Some(After::Prefix(common)) => Self::at(past(common)),
            Some(After::Key(key)) => {
                Self { key: key.clone(), inclusive: false, seq: seq.unwrap_or(i64::MIN) }
            }
        };
        if from.key.as_str() < prefix { Self::at(prefix.to_owned()) } else { from }
    }
}

/// One page being put together.
struct Page<'q> {
    prefix: &'q str,
    delimiter: Option<&'q str>,
    limit: usize,
    found: usize,
    prefixes: Vec<String>,
    /// Where the page ends so far.
    last: Option<After>,
    from: From,
    rows_at_once: u32,
    read_over: u32,
}

/// What to do after a row.
enum Step {
    /// It is an item of the page.
    Take,
    /// It is under a common prefix.
    RolledUp,
    /// The walk leaps: what else was read is not needed.
    Leap,
    /// It does not fit any more: there is another page.
    Full,
}

impl<'q> Page<'q> {
    fn new(prefix: &'q str, delimiter: Option<&'q str>, limit: u32, from: From) -> Self {
        let rows_at_once = if delimiter.is_some() { FIRST_ROWS.min(limit + 1) } else { limit + 1 };
        let limit = limit as usize;
        Self {
            prefix,
            delimiter,
            limit,
            found: 0,
            prefixes: Vec::new(),
            last: None,
            from,
            rows_at_once,
            read_over: 0,
        }
    }

    fn step(&mut self, key: &str) -> Step {
        let Some(common) = common_prefix(key, self.prefix, self.delimiter) else {
            if self.found == self.limit {
                return Step::Full;
            }
            self.found += 1;
            self.last = Some(After::Key(key.to_owned()));
            return Step::Take;
        };
        if self.prefixes.last().is_some_and(|known| known == common) {
            self.read_over += 1;
            if self.read_over < PATIENCE {
                return Step::RolledUp;
            }
            self.read_over = 0;
            self.from = From::at(past(common));
            self.rows_at_once = FIRST_ROWS;
            return Step::Leap;
        }
        if self.found == self.limit {
            return Step::Full;
        }
        self.found += 1;
        self.read_over = 0;
        self.prefixes.push(common.to_owned());
        self.last = Some(After::Prefix(common.to_owned()));
        Step::RolledUp
    }

    /// Reads more at a time where reading was worth it.
    fn grow(&mut self) {
        let most = u32::try_from(self.limit).unwrap_or(u32::MAX).saturating_add(1);
        self.rows_at_once = self.rows_at_once.saturating_mul(4).min(most).max(1);
    }
}

fn check(prefix: &str, delimiter: Option<&str>) -> Result<()> {
    if prefix.contains('\0') || delimiter.is_some_and(|delimiter| delimiter.contains('\0')) {
        return Err(ObjectError::InvalidArgument("a prefix or delimiter must not contain NUL".into()));
    }
    Ok(())
}

fn clean(after: Option<After>) -> Result<Option<After>> {
    match &after {
        Some(After::Key(text) | After::Prefix(text)) if text.contains('\0') => {
            Err(ObjectError::InvalidArgument("a marker must not contain NUL".into()))
        }
        _ => Ok(after),
    }
}

pub(super) async fn list(objects: &FileObjects, bucket: &str, query: ListQuery) -> Result<Listing> {
    rows::bucket(&objects.store, bucket).await?;
    let delimiter = query.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
    check(&query.prefix, delimiter)?;
    let after = clean(query.after)?;
    if query.limit == 0 {
        return Ok(Listing::default());
    }
    let until = past_prefix(&query.prefix);
    let from = From::start(&query.prefix, after.as_ref(), None);
    let mut page = Page::new(&query.prefix, delimiter, query.limit, from);
    let mut found = Vec::new();
    'walk: loop {
        let rows = keys(objects, bucket, &page.from, &until, page.rows_at_once).await?;
        let exhausted = rows.len() < page.rows_at_once as usize;
        for row in &rows {
            let key: &str = row.get("object_key")?;
            match page.step(key) {
                Step::Take => found.push(Listed {
                    key: key.to_owned(),
                    size: rows::unsigned(row.get("size")?),
                    etag: row.get("etag")?,
                    modified_ms: row.get("modified_ms")?,
                }),
                Step::RolledUp => {}
                Step::Leap => continue 'walk,
                Step::Full => {
                    return Ok(Listing { objects: found, prefixes: page.prefixes, next: page.last });
                }
            }
            page.from = From { key: key.to_owned(), inclusive: false, seq: i64::MIN };
        }
        if exhausted {
            return Ok(Listing { objects: found, prefixes: page.prefixes, next: None });
        }
        page.grow();
    }
}

fn past_prefix(prefix: &str) -> String {
    if prefix.is_empty() { beyond() } else { past(prefix) }
}

async fn keys(objects: &FileObjects, bucket: &str, from: &From, until: &str, count: u32) -> Result<Vec<Row>> {
    let sql = if from.inclusive {
        "SELECT object_key, size, etag, modified_ms FROM objects WHERE bucket = $1 AND latest = 1 \
         AND delete_marker = 0 AND object_key >= $2 AND object_key < $3 ORDER BY object_key LIMIT $4"
    } else {
        "SELECT object_key, size, etag, modified_ms FROM objects WHERE bucket = $1 AND latest = 1 \
         AND delete_marker = 0 AND object_key > $2 AND object_key < $3 ORDER BY object_key LIMIT $4"
    };
    Ok(objects.store.fetch_all(sql, &values![bucket, &from.key, until, count]).await?)
}

pub(super) async fn list_versions(
    objects: &FileObjects,
    bucket: &str,
    query: VersionsQuery,
) -> Result<VersionListing> {
    rows::bucket(&objects.store, bucket).await?;
    let delimiter = query.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
    check(&query.prefix, delimiter)?;
    let after = clean(query.after)?;
    if query.limit == 0 {
        return Ok(VersionListing::default());
    }
    let seq = match (&after, &query.after_version) {
        (Some(After::Key(key)), Some(version)) => Some(seq_of(objects, bucket, key, version).await?),
        _ => None,
    };
    let until = past_prefix(&query.prefix);
    let from = From::start(&query.prefix, after.as_ref(), seq);
    let mut page = Page::new(&query.prefix, delimiter, query.limit, from);
    let mut found: Vec<ListedVersion> = Vec::new();
    'walk: loop {
        let rows = versions(objects, bucket, &page.from, &until, page.rows_at_once).await?;
        let exhausted = rows.len() < page.rows_at_once as usize;
        for row in &rows {
            let key: &str = row.get("object_key")?;
            match page.step(key) {
                Step::Take => found.push(read_version(key, row)?),
                Step::RolledUp => {}
                Step::Leap => continue 'walk,
                Step::Full => {
                    let next_version = match &page.last {
                        Some(After::Key(_)) => found.last().map(|version| version.version_id.clone()),
                        _ => None,
                    };
                    let prefixes = page.prefixes;
                    return Ok(VersionListing { versions: found, prefixes, next: page.last, next_version });
                }
            }
            page.from = From { key: key.to_owned(), inclusive: false, seq: row.get("seq")? };
        }
        if exhausted {
            let prefixes = page.prefixes;
            return Ok(VersionListing { versions: found, prefixes, next: None, next_version: None });
        }
        page.grow();
    }
}

fn read_version(key: &str, row: &Row) -> Result<ListedVersion> {
    Ok(ListedVersion {
        key: key.to_owned(),
        version_id: row.get("version_id")?,
        latest: row.get("latest")?,
        delete_marker: row.get("delete_marker")?,
        size: rows::unsigned(row.get("size")?),
        etag: row.get("etag")?,
        modified_ms: row.get("modified_ms")?,
    })
}

/// The place of a version among its key's, also of one that is gone since: ids begin with it.
async fn seq_of(objects: &FileObjects, bucket: &str, key: &str, version: &str) -> Result<i64> {
    if let Some(found) = rows::version(&objects.store, bucket, key, Some(version)).await? {
        return Ok(found.seq);
    }
    if version == rows::NULL_VERSION {
        return Ok(i64::MIN);
    }
    let seq = version.get(..16).and_then(|digits| i64::from_str_radix(digits, 16).ok());
    seq.ok_or_else(|| ObjectError::InvalidArgument("Invalid version id specified".into()))
}

async fn versions(
    objects: &FileObjects,
    bucket: &str,
    from: &From,
    until: &str,
    count: u32,
) -> Result<Vec<Row>> {
    let seq = if from.inclusive { i64::MAX } else { from.seq };
    Ok(objects
        .store
        .fetch_all(
            "SELECT object_key, seq, version_id, latest, delete_marker, size, etag, modified_ms FROM objects \
             WHERE bucket = $1 AND object_key >= $2 AND object_key < $3 AND (object_key > $2 OR seq < $4) \
             ORDER BY object_key, seq DESC LIMIT $5",
            &values![bucket, &from.key, until, seq, count],
        )
        .await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_is_after_all_that_starts_so() {
        assert_eq!(past("a/"), "a0");
        assert_eq!(past("\u{D7FF}"), "\u{E000}");
        assert_eq!(past(&format!("a{}", char::MAX)), "b");
        assert!(past(&char::MAX.to_string()) > char::MAX.to_string().repeat(256));
        for prefix in ["a", "ä", "日本", "~"] {
            assert!(past(prefix) > format!("{prefix}{}", char::MAX), "{prefix}");
        }
    }

    #[test]
    fn common_prefixes_end_with_the_delimiter() {
        assert_eq!(common_prefix("a/b/c", "a/", Some("/")), Some("a/b/"));
        assert_eq!(common_prefix("a/b", "a/", Some("/")), None);
        assert_eq!(common_prefix("a--b--c", "", Some("--")), Some("a--"));
        assert_eq!(common_prefix("a/b", "", None), None);
    }
}
