//! Lists of keys and of versions.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use craton_objects::{After, ListQuery, Listed, ListedVersion, Listing, ObjectStore as _, VersionsQuery};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::convert::{encoder, etag, length, owner, timestamp};
use crate::error::told;
use crate::operations::Backend;

/// Most keys of a page, and how many there are when the client does not say.
const MOST: i32 = 1000;

/// How many keys a page may have.
fn page_size(wanted: Option<i32>) -> S3Result<u32> {
    u32::try_from(wanted.unwrap_or(MOST).min(MOST)).map_err(|_| {
        s3_error!(InvalidArgument, "Argument maxKeys must be an integer between 0 and 2147483647")
    })
}

fn shown(page: u32) -> Option<i32> {
    i32::try_from(page).ok()
}

/// Where a page ended, as an opaque token.
fn token(after: &After) -> String {
    URL_SAFE_NO_PAD.encode(match after {
        After::Key(key) => format!("k{key}"),
        After::Prefix(prefix) => format!("p{prefix}"),
    })
}

fn parse_token(token: &str) -> S3Result<After> {
    let wrong = || s3_error!(InvalidArgument, "The continuation token provided is incorrect");
    let text =
        URL_SAFE_NO_PAD.decode(token).ok().and_then(|text| String::from_utf8(text).ok()).ok_or_else(wrong)?;
    match text.split_at_checked(1) {
        Some(("k", key)) => Ok(After::Key(key.to_owned())),
        Some(("p", prefix)) => Ok(After::Prefix(prefix.to_owned())),
        _ => Err(wrong()),
    }
}

/// A marker that a page before ended with: where that was a common prefix, all under it has been shown.
fn marker(marker: Option<&str>, delimiter: Option<&str>) -> Option<After> {
    let marker = marker.filter(|marker| !marker.is_empty())?.to_owned();
    let rolled = delimiter.is_some_and(|delimiter| !delimiter.is_empty() && marker.ends_with(delimiter));
    Some(if rolled { After::Prefix(marker) } else { After::Key(marker) })
}

fn name_of(after: &After) -> &str {
    match after {
        After::Key(name) | After::Prefix(name) => name,
    }
}

fn prefixes(found: Vec<String>, encode: &impl Fn(&str) -> String) -> Option<Vec<CommonPrefix>> {
    let found = found.into_iter().map(|prefix| CommonPrefix { prefix: Some(encode(&prefix)) });
    Some(found.collect::<Vec<_>>()).filter(|found| !found.is_empty())
}

fn contents(found: Vec<Listed>, encode: &impl Fn(&str) -> String, owner: Option<&Owner>) -> Vec<Object> {
    let object = |listed: Listed| Object {
        key: Some(encode(&listed.key)),
        last_modified: Some(timestamp(listed.modified_ms)),
        e_tag: etag(&listed.etag),
        size: Some(length(listed.size)),
        storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
        owner: owner.cloned(),
        ..Object::default()
    };
    found.into_iter().map(object).collect()
}

impl Backend {
    pub(crate) async fn list_objects(
        &self,
        request: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        let input = request.input;
        let encode = encoder(input.encoding_type.as_ref());
        let limit = page_size(input.max_keys)?;
        let query = ListQuery {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone(),
            after: marker(input.marker.as_deref(), input.delimiter.as_deref()),
            limit,
        };
        let Listing { objects, prefixes: rolled, next } =
            self.objects.list(&input.bucket, query).await.map_err(told)?;
        let owner = owner(&self.account.id);
        Ok(S3Response::new(ListObjectsOutput {
            is_truncated: Some(next.is_some()),
            // Always told: S3 tells it only beside a delimiter, where it can't be read off the last key.
            next_marker: next.as_ref().map(|after| encode(name_of(after))),
            contents: Some(contents(objects, &encode, Some(&owner))),
            common_prefixes: prefixes(rolled, &encode),
            marker: Some(encode(input.marker.as_deref().unwrap_or_default())),
            prefix: Some(encode(input.prefix.as_deref().unwrap_or_default())),
            delimiter: input.delimiter.as_deref().map(&encode),
            max_keys: shown(limit),
            name: Some(input.bucket),
            encoding_type: input.encoding_type,
            ..ListObjectsOutput::default()
        }))
    }

    pub(crate) async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let encode = encoder(input.encoding_type.as_ref());
        let limit = page_size(input.max_keys)?;
        let after = match &input.continuation_token {
            Some(token) => Some(parse_token(token)?),
            None => input.start_after.clone().filter(|key| !key.is_empty()).map(After::Key),
        };
        let query = ListQuery {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone(),
            after,
            limit,
        };
        let Listing { objects, prefixes: rolled, next } =
            self.objects.list(&input.bucket, query).await.map_err(told)?;
        let owner = input.fetch_owner.unwrap_or_default().then(|| owner(&self.account.id));
        let count = objects.len() + rolled.len();
        Ok(S3Response::new(ListObjectsV2Output {
            is_truncated: Some(next.is_some()),
            next_continuation_token: next.as_ref().map(token),
            key_count: i32::try_from(count).ok(),
            contents: Some(contents(objects, &encode, owner.as_ref())),
            common_prefixes: prefixes(rolled, &encode),
            continuation_token: input.continuation_token,
            start_after: input.start_after.as_deref().map(&encode),
            prefix: Some(encode(input.prefix.as_deref().unwrap_or_default())),
            delimiter: input.delimiter.as_deref().map(&encode),
            max_keys: shown(limit),
            name: Some(input.bucket),
            encoding_type: input.encoding_type,
            ..ListObjectsV2Output::default()
        }))
    }

    pub(crate) async fn list_object_versions(
        &self,
        request: S3Request<ListObjectVersionsInput>,
    ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
        let input = request.input;
        let encode = encoder(input.encoding_type.as_ref());
        let limit = page_size(input.max_keys)?;
        let version_marker = input.version_id_marker.clone().filter(|version| !version.is_empty());
        if version_marker.is_some() && input.key_marker.as_deref().unwrap_or_default().is_empty() {
            return Err(s3_error!(
                InvalidArgument,
                "A version-id marker cannot be specified without a key marker."
            ));
        }
        let after = match &version_marker {
            Some(_) => input.key_marker.clone().map(After::Key),
            None => marker(input.key_marker.as_deref(), input.delimiter.as_deref()),
        };
        let query = VersionsQuery {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone(),
            after,
            after_version: version_marker,
            limit,
        };
        let page = self.objects.list_versions(&input.bucket, query).await.map_err(told)?;
        let owner = owner(&self.account.id);
        let (markers, versions): (Vec<_>, Vec<_>) =
            page.versions.into_iter().partition(|version| version.delete_marker);
        let markers = markers.into_iter().map(|version| delete_marker(version, &encode, &owner)).collect();
        let versions = versions.into_iter().map(|version| object_version(version, &encode, &owner)).collect();
        Ok(S3Response::new(ListObjectVersionsOutput {
            is_truncated: Some(page.next.is_some()),
            next_key_marker: page.next.as_ref().map(|after| encode(name_of(after))),
            next_version_id_marker: page.next_version,
            delete_markers: Some(markers),
            versions: Some(versions),
            common_prefixes: prefixes(page.prefixes, &encode),
            key_marker: Some(encode(input.key_marker.as_deref().unwrap_or_default())),
            version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
            prefix: Some(encode(input.prefix.as_deref().unwrap_or_default())),
            delimiter: input.delimiter.as_deref().map(&encode),
            max_keys: shown(limit),
            name: Some(input.bucket),
            encoding_type: input.encoding_type,
            ..ListObjectVersionsOutput::default()
        }))
    }
}

fn delete_marker(
    version: ListedVersion,
    encode: &impl Fn(&str) -> String,
    owner: &Owner,
) -> DeleteMarkerEntry {
    DeleteMarkerEntry {
        is_latest: Some(version.latest),
        key: Some(encode(&version.key)),
        last_modified: Some(timestamp(version.modified_ms)),
        owner: Some(owner.clone()),
        version_id: Some(version.version_id),
    }
}

fn object_version(version: ListedVersion, encode: &impl Fn(&str) -> String, owner: &Owner) -> ObjectVersion {
    ObjectVersion {
        e_tag: etag(&version.etag),
        is_latest: Some(version.latest),
        key: Some(encode(&version.key)),
        last_modified: Some(timestamp(version.modified_ms)),
        owner: Some(owner.clone()),
        size: Some(length(version.size)),
        storage_class: Some(ObjectVersionStorageClass::from_static(ObjectVersionStorageClass::STANDARD)),
        version_id: Some(version.version_id),
        ..ObjectVersion::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip_and_made_up_ones_are_refused() {
        for after in [After::Key("a/b".into()), After::Prefix("日本/".into())] {
            assert_eq!(parse_token(&token(&after)).unwrap(), after);
        }
        for made_up in ["", "x", "////", &URL_SAFE_NO_PAD.encode("zkey")] {
            assert!(parse_token(made_up).is_err(), "{made_up}");
        }
    }
}
