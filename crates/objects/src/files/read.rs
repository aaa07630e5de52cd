//! Finding a version and opening its content.

use std::fs::File;
use std::io;
use std::ops::Range;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};

use super::rows::{self, Blob, PlacedPart, Version};
use super::{FileObjects, blobs};
use crate::types::{BodyError, ByteStream, GetOptions, Object, ObjectRef, Versioning};
use crate::{ObjectError, Result};

/// How often content is looked up anew when it was replaced between reading the row and opening the file.
const ATTEMPTS: usize = 5;

/// The version a reference means, and whether its bucket is or was versioned.
pub(super) async fn find(objects: &FileObjects, at: &ObjectRef) -> Result<(Version, bool)> {
    let found = rows::version(&objects.store, &at.bucket, &at.key, at.version.as_deref()).await?;
    let bucket = rows::bucket(&objects.store, &at.bucket).await?;
    let versioned = bucket.versioning != Versioning::Off;
    let key = || at.key.clone();
    match (found, &at.version) {
        (Some(version), Some(name)) if version.delete_marker => Err(ObjectError::IsDeleteMarker {
            key: key(),
            version: name.clone(),
            modified_ms: version.modified_ms,
        }),
        (Some(version), None) if version.delete_marker => {
            Err(ObjectError::NoSuchKey { key: key(), delete_marker: Some(version.version_id) })
        }
        (Some(version), _) => Ok((version, versioned)),
        (None, Some(name)) => Err(ObjectError::NoSuchVersion { key: key(), version: name.clone() }),
        (None, None) => Err(ObjectError::NoSuchKey { key: key(), delete_marker: None }),
    }
}

pub(super) async fn get(objects: &FileObjects, at: &ObjectRef, options: GetOptions) -> Result<Object> {
    for _ in 0..ATTEMPTS {
        let (version, versioned) = find(objects, at).await?;
        options.conditions.check(&version.etag, version.modified_ms)?;
        let pieces = pieces(objects, &version).await?;
        let range = wanted(&version, &pieces, &options)?;
        if let Some(body) = open(objects, &pieces, &range).await? {
            return Ok(Object { meta: version.meta(&at.key, versioned), range, body });
        }
    }
    Err(ObjectError::Corrupt(format!("the content of '{}' is missing", at.key)))
}

/// Where a version's bytes are, in order, with their lengths.
async fn pieces(objects: &FileObjects, version: &Version) -> Result<Vec<(Blob, u64)>> {
    match (&version.blob, &version.upload_id) {
        (Some(blob), _) => Ok(vec![(blob.clone(), version.size)]),
        (None, Some(upload_id)) => {
            let parts = rows::parts(&objects.store, upload_id).await?;
            Ok(parts.into_iter().map(|PlacedPart { part, blob }| (blob, part.size)).collect())
        }
        (None, None) => Ok(Vec::new()),
    }
}

fn wanted(version: &Version, pieces: &[(Blob, u64)], options: &GetOptions) -> Result<Range<u64>> {
    match (options.part, options.range) {
        (Some(part), _) => {
            let index = usize::try_from(part).unwrap_or(usize::MAX).wrapping_sub(1);
            let length = pieces.get(index).ok_or(ObjectError::InvalidPartNumber(part))?.1;
            let start = pieces[..index].iter().map(|(_, length)| length).sum();
            Ok(start..start + length)
        }
        (None, Some(range)) => range.within(version.size),
        (None, None) => Ok(0..version.size),
    }
}

enum Opened {
    File(File, Range<u64>),
    Bytes(Bytes),
}

/// Opens the first piece (so that what is missing is noticed before the answer begins) and the others as their turn
/// comes. `None` when the content was replaced meanwhile.
async fn open(
    objects: &FileObjects,
    pieces: &[(Blob, u64)],
    range: &Range<u64>,
) -> Result<Option<ByteStream>> {
    let mut start = 0;
    let mut chosen: Vec<(Blob, Range<u64>)> = Vec::new();
    for (blob, length) in pieces {
        let (from, to) = (range.start.max(start), range.end.min(start + length));
        if from < to {
            chosen.push((blob.clone(), from - start..to - start));
        }
        start += length;
    }
    // All files are opened at once, so that a version that is deleted while it is read is still read to its end.
    // Objects of many parts are read through that many descriptors, so those beyond a few are opened late.
    const EAGER: usize = 16;
    let mut opened = Vec::new();
    for (blob, within) in chosen.drain(..chosen.len().min(EAGER)) {
        match open_one(objects, &blob, within).await? {
            Some(one) => opened.push(one),
            None => return Ok(None),
        }
    }
    let eager = futures::stream::iter(opened.into_iter().map(Ok::<_, BodyError>));
    let objects = objects.clone();
    let late = futures::stream::iter(chosen).then(move |(blob, within)| {
        let objects = objects.clone();
        async move {
            match open_one(&objects, &blob, within).await {
                Ok(Some(one)) => Ok(one),
                Ok(None) => Err("the object was deleted while it was read".into()),
                Err(error) => Err(error.into()),
            }
        }
    });
    let body = eager.chain(late).map_ok(|opened| match opened {
        Opened::File(file, range) => blobs::stream(file, range),
        Opened::Bytes(bytes) => crate::types::bytes(bytes),
    });
    Ok(Some(body.try_flatten().boxed()))
}

async fn open_one(objects: &FileObjects, blob: &Blob, within: Range<u64>) -> Result<Option<Opened>> {
    match blob {
        Blob::File(id) => match objects.blobs.open_file(id).await {
            Ok(file) => Ok(Some(Opened::File(file, within))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        },
        Blob::Row(id) => {
            let Some(content) = rows::content(&objects.store, id).await? else { return Ok(None) };
            let bounds = usize::try_from(within.start).ok().zip(usize::try_from(within.end).ok());
            let content = Bytes::from(content);
            let bytes = bounds.filter(|(_, end)| *end <= content.len());
            let (start, end) = bytes.ok_or_else(|| ObjectError::Corrupt("content is too short".into()))?;
            Ok(Some(Opened::Bytes(content.slice(start..end))))
        }
    }
}
