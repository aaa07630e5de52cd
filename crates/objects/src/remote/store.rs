//! The seam, said in S3's requests.

use std::fmt::Write as _;
use std::sync::PoisonError;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Response};
use hyper::body::Incoming;

use super::client::{self, Call, now_ms};
use super::xml::{Element, escaped};
use super::{S3Objects, read, upload};
use crate::checksum::Hasher;
use crate::types::{
    After, Attributes, Bucket, ByteRange, ByteStream, Completion, Copy, Deleted, EtagMatch, Expect,
    GetOptions, ListQuery, Listed, Listing, NewUpload, Object, ObjectMeta, ObjectRef, Part, PartListing, Put,
    ReadConditions, Tags, UploadListing, UploadRef, VersionListing, Versioning, VersionsQuery,
    WriteCondition,
};
use crate::{ObjectError, ObjectStore, Result, names};

/// Bytes of a body of unknown length that are taken into memory before it is sent in parts.
const BUFFER_BYTES: usize = 8 << 20;

impl Call {
    /// The version that the query names.
    pub(super) fn version(&self) -> Option<String> {
        self.parameter("versionId=")
    }

    pub(super) fn upload(&self) -> Option<String> {
        self.parameter("uploadId=")
    }

    fn attributes(self, attributes: &Attributes) -> Result<Self> {
        let mut call = self
            .maybe_header("content-type", attributes.content_type.as_ref())?
            .maybe_header("content-encoding", attributes.content_encoding.as_ref())?
            .maybe_header("content-language", attributes.content_language.as_ref())?
            .maybe_header("content-disposition", attributes.content_disposition.as_ref())?
            .maybe_header("cache-control", attributes.cache_control.as_ref())?
            .maybe_header("expires", attributes.expires.as_ref())?
            .maybe_header("x-amz-website-redirect-location", attributes.website_redirect.as_ref())?;
        for (name, value) in &attributes.user {
            let wrong = || ObjectError::InvalidArgument(format!("metadata {name} can't be sent as a header"));
            let header = http::HeaderName::try_from(format!("x-amz-meta-{name}")).map_err(|_| wrong())?;
            let value = http::HeaderValue::from_bytes(value.as_bytes()).map_err(|_| wrong())?;
            call.headers.insert(header, value);
        }
        Ok(call)
    }

    fn tags(self, tags: &Tags) -> Result<Self> {
        if tags.is_empty() {
            return Ok(self);
        }
        let pairs = tags.iter().map(|(key, value)| {
            let encode =
                |text| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC);
            format!("{}={}", encode(key.as_str()), encode(value.as_str()))
        });
        self.header("x-amz-tagging", pairs.collect::<Vec<_>>().join("&"))
    }

    pub(super) fn condition(self, condition: &WriteCondition) -> Result<Self> {
        let call = if condition.if_absent { self.header("if-none-match", "*")? } else { self };
        call.maybe_header("if-match", condition.if_match.as_ref().map(etags))
    }

    fn conditions(self, conditions: &ReadConditions, names: [&'static str; 4]) -> Result<Self> {
        let [if_match, if_none_match, if_modified_since, if_unmodified_since] = names;
        self.maybe_header(if_match, conditions.if_match.as_ref().map(etags))?
            .maybe_header(if_none_match, conditions.if_none_match.as_ref().map(etags))?
            .maybe_header(if_modified_since, conditions.if_modified_since_s.and_then(http_date))?
            .maybe_header(if_unmodified_since, conditions.if_unmodified_since_s.and_then(http_date))
    }
}

const OF_OBJECT: [&str; 4] = ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"];
const OF_SOURCE: [&str; 4] = [
    "x-amz-copy-source-if-match",
    "x-amz-copy-source-if-none-match",
    "x-amz-copy-source-if-modified-since",
    "x-amz-copy-source-if-unmodified-since",
];

fn etags(wanted: &EtagMatch) -> String {
    match wanted {
        EtagMatch::Any => "*".to_owned(),
        EtagMatch::OneOf(etags) => {
            etags.iter().map(|etag| format!("\"{etag}\"")).collect::<Vec<_>>().join(", ")
        }
    }
}

fn http_date(s: i64) -> Option<String> {
    let at = time::OffsetDateTime::from_unix_timestamp(s).ok()?;
    let text = at.format(&time::format_description::well_known::Rfc2822).ok()?;
    Some(text.replace("+0000", "GMT"))
}

impl S3Objects {
    pub(super) fn call(&self, method: Method, bucket: &str, key: &str) -> Call {
        Call::new(method, self.theirs(bucket), key)
    }

    fn at(&self, method: Method, at: &ObjectRef) -> Call {
        self.call(method, &at.bucket, &at.key).maybe_query("versionId", at.version.as_deref())
    }

    pub(super) async fn send(&self, call: Call, body: impl Into<Bytes>) -> Result<Response<Incoming>> {
        self.client.send(call, body.into()).await.map_err(|error| self.ours(error))
    }

    /// A request whose answer is XML.
    pub(super) async fn ask(&self, call: Call, body: impl Into<Bytes>) -> Result<Element> {
        let answer = self.send(call, body).await?;
        let root = Element::parse(&client::read(answer.into_body()).await?)?;
        if root.name() == "Error" {
            // Some operations begin their answer before they know how it ends.
            let said = |name| root.text_of(name).unwrap_or_default().to_owned();
            return Err(ObjectError::Remote { status: 500, code: said("Code"), message: said("Message") });
        }
        Ok(root)
    }

    /// Sends a body of known length, checked on its way. Answers the head and what was sent.
    pub(super) async fn send_checked(
        &self,
        call: Call,
        body: ByteStream,
        expect: Expect,
        length: u64,
    ) -> Result<(Response<Incoming>, crate::checksum::Digests)> {
        let call = match &expect.checksum {
            Some(sum) => call.header(sum.algorithm.header(), &sum.value)?,
            None => call,
        };
        let call = call.maybe_header("content-md5", expect.md5.map(|md5| STANDARD.encode(md5)))?;
        if length == 0 {
            let hasher = Hasher::new(expect.checksum.as_ref().map(|sum| sum.algorithm).or(expect.algorithm));
            let (mut body, mut rest) = (body, None);
            let (first, _) = upload::fill(&mut body, &mut rest, 1).await?;
            if !first.is_empty() {
                return Err(ObjectError::IncompleteBody { expected: 0, received: first.len() as u64 });
            }
            let digests = hasher.finish();
            expect.verify(&digests)?;
            return Ok((self.send(call, Bytes::new()).await?, digests));
        }
        let (body, seen) = upload::checked(body, expect, length);
        let sent = self.client.send_stream(call, body, length).await.map_err(|error| self.ours(error))?;
        let digests = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
        let digests =
            digests.ok_or_else(|| ObjectError::Unreachable("it answered before it had all".into()))?;
        Ok((sent, digests))
    }

    /// A body whose length nobody knows: small ones are sent at once, larger ones in parts.
    async fn put_unknown(&self, put: Put, mut body: ByteStream) -> Result<ObjectMeta> {
        let mut rest = None;
        let (first, ended) = upload::fill(&mut body, &mut rest, BUFFER_BYTES).await?;
        if ended {
            let expect = Expect { size: Some(first.len() as u64), ..put.expect };
            return self.put(Put { expect, ..put }, crate::types::bytes(first)).await;
        }
        let new = NewUpload {
            bucket: put.bucket.clone(),
            key: put.key.clone(),
            attributes: put.attributes,
            tags: put.tags,
            algorithm: None,
            full_object: false,
        };
        let upload_id = self.create_upload(new).await?;
        let upload = UploadRef { bucket: put.bucket, key: put.key, upload_id };
        let done = self.put_parts(&upload, (first, rest, body), put.expect, put.condition).await;
        if done.is_err() {
            let _ = self.abort_upload(&upload).await;
        }
        done
    }

    async fn put_parts(
        &self,
        upload: &UploadRef,
        (mut chunk, mut rest, mut body): (Bytes, Option<Bytes>, ByteStream),
        expect: Expect,
        condition: WriteCondition,
    ) -> Result<ObjectMeta> {
        let mut hasher = Hasher::new(expect.checksum.as_ref().map(|sum| sum.algorithm).or(expect.algorithm));
        let mut completion = Completion { condition, ..Completion::default() };
        let mut ended = false;
        for number in 1..=names::MAX_PARTS {
            hasher.update(&chunk);
            let promised = Expect { size: Some(chunk.len() as u64), ..Expect::default() };
            let part = self.put_part(upload, number, promised, crate::types::bytes(chunk)).await?;
            completion.parts.push(crate::CompletedPart { number, etag: part.etag, checksum: None });
            if ended {
                break;
            }
            // Larger parts later on, so that the number of parts does not limit the object.
            let size = BUFFER_BYTES * (1 + usize::try_from(number / 500).unwrap_or_default());
            (chunk, ended) = upload::fill(&mut body, &mut rest, size).await?;
            if ended && chunk.is_empty() {
                break;
            }
        }
        if !ended {
            return Err(ObjectError::EntityTooLarge { size: u64::MAX, limit: names::MAX_OBJECT_BYTES });
        }
        expect.verify(&hasher.finish())?;
        self.complete_upload(upload, completion).await
    }
}

#[async_trait]
impl ObjectStore for S3Objects {
    async fn create_bucket(&self, name: &str, region: &str) -> Result<Bucket> {
        names::check_bucket(name)?;
        if self.bucket(name).await.is_ok() {
            return Err(ObjectError::BucketExists(name.to_owned()));
        }
        let body = match region {
            "us-east-1" => String::new(),
            region => format!(
                "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                 <LocationConstraint>{}</LocationConstraint></CreateBucketConfiguration>",
                escaped(region)
            ),
        };
        self.send(self.call(Method::PUT, name, ""), body).await?;
        Ok(Bucket { name: name.into(), region: region.into(), created_ms: 0, versioning: Versioning::Off })
    }

    async fn bucket(&self, name: &str) -> Result<Bucket> {
        let head = self.send(self.call(Method::HEAD, name, ""), "").await?;
        let region = head.headers().get("x-amz-bucket-region").and_then(|region| region.to_str().ok());
        let region = region.unwrap_or(self.client.region()).to_owned();
        let status = match self.ask(self.call(Method::GET, name, "").query("versioning", ""), "").await {
            // Who may use the bucket need not be let ask, and not every S3 has versions.
            Err(ObjectError::Remote { status: 403 | 405 | 501, .. }) => None,
            asked => Some(asked?),
        };
        let versioning = match status.as_ref().and_then(|status| status.text_of("Status")) {
            Some("Enabled") => Versioning::Enabled,
            Some("Suspended") => Versioning::Suspended,
            _ => Versioning::Off,
        };
        Ok(Bucket { name: name.to_owned(), region, created_ms: 0, versioning })
    }

    async fn buckets(&self) -> Result<Vec<Bucket>> {
        let answer = self.ask(Call::new(Method::GET, "", ""), "").await?;
        let listed = answer.one("Buckets").into_iter().flat_map(|buckets| buckets.all("Bucket"));
        Ok(listed
            .map(|bucket| Bucket {
                name: bucket.text_of("Name").unwrap_or_default().to_owned(),
                region: bucket.text_of("BucketRegion").unwrap_or(self.client.region()).to_owned(),
                created_ms: read::xml_date(bucket.text_of("CreationDate")),
                versioning: Versioning::Off,
            })
            .collect())
    }

    async fn delete_bucket(&self, name: &str) -> Result<()> {
        self.send(self.call(Method::DELETE, name, ""), "").await.map(drop)
    }

    async fn set_versioning(&self, bucket: &str, versioning: Versioning) -> Result<()> {
        let status = match versioning {
            Versioning::Enabled => "Enabled",
            Versioning::Suspended => "Suspended",
            Versioning::Off => {
                return Err(ObjectError::InvalidArgument(
                    "versioning can be suspended, but not turned off".into(),
                ));
            }
        };
        let body = format!(
            "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>{status}</Status>\
             </VersioningConfiguration>"
        );
        self.send(self.call(Method::PUT, bucket, "").query("versioning", ""), body).await.map(drop)
    }

    async fn put(&self, put: Put, body: ByteStream) -> Result<ObjectMeta> {
        names::check_key(&put.key)?;
        names::check_attributes(&put.attributes)?;
        names::check_tags(&put.tags, names::MAX_OBJECT_TAGS)?;
        let Some(size) = put.expect.size else { return self.put_unknown(put, body).await };
        if size > names::MAX_PUT_BYTES {
            return Err(ObjectError::EntityTooLarge { size, limit: names::MAX_PUT_BYTES });
        }
        let call = self.call(Method::PUT, &put.bucket, &put.key).condition(&put.condition)?;
        let call = call.attributes(&put.attributes)?.tags(&put.tags)?;
        let (answer, digests) = self.send_checked(call, body, put.expect, size).await?;
        Ok(ObjectMeta {
            version_id: read::version(answer.headers()),
            size,
            etag: read::etag(answer.headers()),
            modified_ms: now_ms(),
            attributes: put.attributes,
            checksum: digests.checksum,
            parts: None,
            tag_count: u32::try_from(put.tags.len()).unwrap_or_default(),
            key: put.key,
        })
    }

    async fn get(&self, at: &ObjectRef, options: GetOptions) -> Result<Object> {
        let range = options.range.map(|range| match range {
            ByteRange::FromTo(first, last) => format!("bytes={first}-{last}"),
            ByteRange::From(first) => format!("bytes={first}-"),
            ByteRange::Last(count) => format!("bytes=-{count}"),
        });
        let call = self
            .at(Method::GET, at)
            .maybe_query("partNumber", options.part.map(|part| part.to_string()).as_deref())
            .conditions(&options.conditions, OF_OBJECT)?
            .maybe_header("range", range)?
            .header("x-amz-checksum-mode", "ENABLED")?;
        let (parts, body) = self.send(call, "").await?.into_parts();
        let meta = read::meta(&at.key, &parts.headers);
        let range = read::range(&parts.headers, meta.size);
        Ok(Object { range, meta, body: client::stream(body) })
    }

    async fn head(&self, at: &ObjectRef, conditions: ReadConditions) -> Result<ObjectMeta> {
        let call = self.at(Method::HEAD, at).conditions(&conditions, OF_OBJECT)?;
        let answer = self.send(call.header("x-amz-checksum-mode", "ENABLED")?, "").await?;
        Ok(read::meta(&at.key, answer.headers()))
    }

    async fn list(&self, bucket: &str, query: ListQuery) -> Result<Listing> {
        let start_after = match &query.after {
            None => None,
            Some(After::Key(key)) => Some(key.clone()),
            // After all that is under it.
            Some(After::Prefix(prefix)) => Some(format!("{prefix}{}", char::MAX)),
        };
        let call = self
            .call(Method::GET, bucket, "")
            .query("list-type", "2")
            .query("encoding-type", "url")
            .query("max-keys", &query.limit.to_string())
            .query("prefix", &query.prefix)
            .maybe_query("delimiter", query.delimiter.as_deref())
            .maybe_query("start-after", start_after.as_deref());
        let answer = self.ask(call, "").await?;
        let objects: Vec<Listed> = answer
            .all("Contents")
            .map(|object| Listed {
                key: read::name(object, "Key"),
                size: object.number("Size"),
                etag: read::unquoted(object),
                modified_ms: read::xml_date(object.text_of("LastModified")),
            })
            .collect();
        let prefixes: Vec<String> =
            answer.all("CommonPrefixes").map(|prefix| read::name(prefix, "Prefix")).collect();
        let last = match (objects.last(), prefixes.last()) {
            (Some(object), Some(prefix)) if object.key < *prefix => Some(After::Prefix(prefix.clone())),
            (Some(object), _) => Some(After::Key(object.key.clone())),
            (None, prefix) => prefix.cloned().map(After::Prefix),
        };
        let next = last.filter(|_| answer.is_true("IsTruncated"));
        Ok(Listing { objects, prefixes, next })
    }

    async fn list_versions(&self, bucket: &str, query: VersionsQuery) -> Result<VersionListing> {
        let marker = query.after.as_ref().map(|after| match after {
            After::Key(name) | After::Prefix(name) => name.as_str(),
        });
        let call = self
            .call(Method::GET, bucket, "")
            .query("versions", "")
            .query("encoding-type", "url")
            .query("max-keys", &query.limit.to_string())
            .query("prefix", &query.prefix)
            .maybe_query("delimiter", query.delimiter.as_deref())
            .maybe_query("key-marker", marker)
            .maybe_query("version-id-marker", query.after_version.as_deref());
        let answer = self.ask(call, "").await?;
        let of_versions =
            answer.children().filter(|child| matches!(child.name(), "Version" | "DeleteMarker"));
        let mut versions: Vec<_> = of_versions.map(read::listed_version).collect();
        // Newest first within a key, also where the other side lists delete markers apart.
        versions.sort_by(|one, other| {
            let newer = other.modified_ms.cmp(&one.modified_ms);
            one.key.cmp(&other.key).then(other.latest.cmp(&one.latest)).then(newer)
        });
        let prefixes = answer.all("CommonPrefixes").map(|prefix| read::name(prefix, "Prefix")).collect();
        let more = answer.is_true("IsTruncated");
        let next_version = answer.text_of("NextVersionIdMarker").filter(|id| more && !id.is_empty());
        let next = more.then(|| read::name(&answer, "NextKeyMarker")).filter(|key| !key.is_empty());
        Ok(VersionListing {
            versions,
            prefixes,
            next_version: next_version.map(str::to_owned),
            next: next.map(After::Key),
        })
    }

    async fn delete(&self, at: &ObjectRef, condition: WriteCondition) -> Result<Deleted> {
        let answer = self.send(self.at(Method::DELETE, at).condition(&condition)?, "").await?;
        let delete_marker = answer.headers().get("x-amz-delete-marker").is_some_and(|value| value == "true");
        Ok(Deleted { version_id: read::version(answer.headers()), delete_marker })
    }

    async fn delete_many(
        &self,
        bucket: &str,
        objects: Vec<(String, Option<String>)>,
    ) -> Result<Vec<Result<Deleted>>> {
        let mut answers = Vec::with_capacity(objects.len());
        for some in objects.chunks(1000) {
            answers.extend(self.delete_some(bucket, some).await?);
        }
        Ok(answers)
    }

    async fn copy(&self, copy: Copy) -> Result<ObjectMeta> {
        names::check_key(&copy.key)?;
        let encode = |text| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC);
        let mut source = format!("{}/{}", self.theirs(&copy.from.bucket), encode(&copy.from.key));
        if let Some(version) = &copy.from.version {
            let _ = write!(source, "?versionId={version}");
        }
        let mut call = self
            .call(Method::PUT, &copy.bucket, &copy.key)
            .condition(&copy.condition)?
            .conditions(&copy.conditions, OF_SOURCE)?
            .header("x-amz-copy-source", source)?
            .maybe_header("x-amz-checksum-algorithm", copy.algorithm.map(|algorithm| algorithm.name()))?;
        if let Some(attributes) = &copy.attributes {
            names::check_attributes(attributes)?;
            call = call.attributes(attributes)?.header("x-amz-metadata-directive", "REPLACE")?;
        }
        if let Some(tags) = &copy.tags {
            names::check_tags(tags, names::MAX_OBJECT_TAGS)?;
            call = call.tags(tags)?.header("x-amz-tagging-directive", "REPLACE")?;
        }
        self.ask(call, "").await?;
        self.head(&ObjectRef::new(copy.bucket, copy.key), ReadConditions::default()).await
    }

    async fn tags(&self, at: &ObjectRef) -> Result<Tags> {
        let answer = self.ask(self.at(Method::GET, at).query("tagging", ""), "").await?;
        let tags = answer.one("TagSet").into_iter().flat_map(|set| set.all("Tag"));
        let text = |tag: &Element, name: &str| tag.text_of(name).unwrap_or_default().to_owned();
        Ok(tags.map(|tag| (text(tag, "Key"), text(tag, "Value"))).collect())
    }

    async fn set_tags(&self, at: &ObjectRef, tags: Tags) -> Result<()> {
        names::check_tags(&tags, names::MAX_OBJECT_TAGS)?;
        if tags.is_empty() {
            return self.send(self.at(Method::DELETE, at).query("tagging", ""), "").await.map(drop);
        }
        let mut body = "<Tagging xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><TagSet>".to_owned();
        for (key, value) in &tags {
            let (key, value) = (escaped(key), escaped(value));
            let _ = write!(body, "<Tag><Key>{key}</Key><Value>{value}</Value></Tag>");
        }
        body.push_str("</TagSet></Tagging>");
        self.send(self.at(Method::PUT, at).query("tagging", ""), body).await.map(drop)
    }

    async fn create_upload(&self, new: NewUpload) -> Result<String> {
        names::check_key(&new.key)?;
        names::check_attributes(&new.attributes)?;
        let kind = if new.full_object { "FULL_OBJECT" } else { "COMPOSITE" };
        let call = self
            .call(Method::POST, &new.bucket, &new.key)
            .query("uploads", "")
            .attributes(&new.attributes)?
            .tags(&new.tags)?
            .maybe_header("x-amz-checksum-algorithm", new.algorithm.map(|algorithm| algorithm.name()))?
            .maybe_header("x-amz-checksum-type", new.algorithm.map(|_| kind))?;
        let answer = self.ask(call, "").await?;
        let id = answer.text_of("UploadId").map(str::to_owned);
        id.ok_or_else(|| ObjectError::Unreachable("its answer names no upload".into()))
    }

    async fn put_part(
        &self,
        upload: &UploadRef,
        number: u32,
        expect: Expect,
        body: ByteStream,
    ) -> Result<Part> {
        self.upload_part(upload, number, expect, body).await
    }

    async fn parts(&self, upload: &UploadRef, after: u32, limit: u32) -> Result<PartListing> {
        self.upload_parts(upload, after, limit).await
    }

    async fn uploads(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<(String, String)>,
        limit: u32,
    ) -> Result<UploadListing> {
        self.open_uploads(bucket, prefix, after, limit).await
    }

    async fn complete_upload(&self, upload: &UploadRef, completion: Completion) -> Result<ObjectMeta> {
        self.finish_upload(upload, completion).await
    }

    async fn abort_upload(&self, upload: &UploadRef) -> Result<()> {
        self.send(self.of_upload(Method::DELETE, upload), "").await.map(drop)
    }
}
