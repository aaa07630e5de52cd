//! What every driver of [`ObjectStore`] does, whatever is behind it. `run` is called once a driver.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use craton_objects::checksum::{Algorithm, Checksum, Hasher};
use craton_objects::types::bytes;
use craton_objects::*;
use futures::StreamExt as _;

/// What a driver is known not to do, because what is behind it does not.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lacks {
    /// Where moto's server differs from S3.
    pub(crate) moto: bool,
}

type Store = Arc<dyn ObjectStore>;

/// Runs the whole suite. `tag` keeps apart the buckets of runs that share a store.
pub(crate) async fn run(store: Store, tag: &str, lacks: Lacks) {
    buckets(&store, &format!("{tag}-buckets")).await;
    for (name, part) in
        [("objects", 0), ("ranges", 1), ("conditions", 2), ("lists", 3), ("versions", 4), ("copies", 5)]
    {
        let bucket = format!("{tag}-{name}");
        store.create_bucket(&bucket, "us-east-1").await.unwrap();
        match part {
            0 => objects(&store, &bucket, lacks).await,
            1 => ranges(&store, &bucket).await,
            2 => conditions(&store, &bucket, lacks).await,
            3 => lists(&store, &bucket).await,
            4 => versions(&store, &bucket, lacks).await,
            _ => copies_and_tags(&store, &bucket).await,
        }
    }
    let bucket = format!("{tag}-uploads");
    store.create_bucket(&bucket, "us-east-1").await.unwrap();
    uploads(&store, &bucket, lacks).await;
}

async fn put(store: &Store, bucket: &str, key: &str, content: impl Into<Bytes>) -> ObjectMeta {
    store.put(Put::new(bucket, key), bytes(content)).await.unwrap()
}

async fn read(store: &Store, at: &ObjectRef) -> Result<Bytes> {
    store.get(at, GetOptions::default()).await?.bytes(64 << 20).await
}

fn noise(length: usize, seed: u32) -> Bytes {
    let mut state = seed.wrapping_mul(2_654_435_761).max(1);
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 24) as u8
        })
        .collect()
}

fn chunked(content: &Bytes, chunk: usize) -> ByteStream {
    let chunks: Vec<_> = (0..content.len())
        .step_by(chunk)
        .map(|at| Ok(content.slice(at..content.len().min(at + chunk))))
        .collect();
    futures::stream::iter(chunks).boxed()
}

fn sums(algorithm: Algorithm, content: &[u8]) -> (String, Checksum) {
    let mut hasher = Hasher::new(Some(algorithm));
    hasher.update(content);
    let digests = hasher.finish();
    (hex::encode(digests.md5), digests.checksum.unwrap())
}

async fn buckets(store: &Store, name: &str) {
    assert!(matches!(store.bucket(name).await, Err(ObjectError::NoSuchBucket(_))));
    let made = store.create_bucket(name, "us-east-1").await.unwrap();
    assert_eq!((made.name.as_str(), made.versioning), (name, Versioning::Off));
    assert!(matches!(store.create_bucket(name, "us-east-1").await, Err(ObjectError::BucketExists(_))));
    assert_eq!(store.bucket(name).await.unwrap().name, name);
    assert!(store.buckets().await.unwrap().iter().any(|bucket| bucket.name == name));
    assert!(matches!(
        store.create_bucket("Not_A_Bucket", "us-east-1").await,
        Err(ObjectError::InvalidBucketName(_))
    ));

    put(store, name, "k", "v").await;
    assert!(matches!(store.delete_bucket(name).await, Err(ObjectError::BucketNotEmpty(_))));
    store.delete(&ObjectRef::new(name, "k"), WriteCondition::default()).await.unwrap();
    store.delete_bucket(name).await.unwrap();
    assert!(matches!(store.bucket(name).await, Err(ObjectError::NoSuchBucket(_))));
    assert!(matches!(store.delete_bucket(name).await, Err(ObjectError::NoSuchBucket(_))));
    let gone = store.put(Put::new(name, "k"), bytes("v")).await;
    assert!(matches!(gone, Err(ObjectError::NoSuchBucket(_))), "{gone:?}");
    let listed = store.list(name, ListQuery { limit: 1, ..ListQuery::default() }).await;
    assert!(matches!(listed, Err(ObjectError::NoSuchBucket(_))));
}

async fn objects(store: &Store, bucket: &str, lacks: Lacks) {
    for (key, length) in [("empty", 0), ("one", 1), ("small", 5_000), ("mid", 100_000), ("large", 3_000_001)]
    {
        let content = noise(length, 7);
        let put = Put { attributes: attributes(), ..Put::new(bucket, format!("o/{key}")) };
        let meta = store.put(put, chunked(&content, 70_001)).await.unwrap();
        let at = ObjectRef::new(bucket, format!("o/{key}"));
        let head = store.head(&at, ReadConditions::default()).await.unwrap();
        assert_eq!(meta.etag, sums(Algorithm::Crc32, &content).0);
        assert_eq!((head.size, &head.etag, &head.attributes), (length as u64, &meta.etag, &attributes()));
        assert!(read(store, &at).await.unwrap() == content, "{key}");
    }
    // What replaces an object replaces all of it.
    let at = ObjectRef::new(bucket, "o/large");
    let second = put(store, bucket, "o/large", "now small").await;
    assert_eq!(read(store, &at).await.unwrap(), "now small");
    let head = store.head(&at, ReadConditions::default()).await.unwrap();
    assert_eq!((head.size, head.etag, head.attributes.user.len()), (9, second.etag, 0));

    for key in ["ü ö/日本", "a//b", "./x", "..", "a+b&c=d?e#f%20", " lead", "trail "] {
        put(store, bucket, key, key.to_owned()).await;
        assert_eq!(read(store, &ObjectRef::new(bucket, key)).await.unwrap(), key.as_bytes(), "{key:?}");
    }
    assert!(matches!(read(store, &ObjectRef::new(bucket, "no")).await, Err(ObjectError::NoSuchKey { .. })));
    let long = "k".repeat(1025);
    let refused = store.put(Put::new(bucket, &long), bytes("v")).await;
    assert!(matches!(refused, Err(ObjectError::KeyTooLong { .. })), "{refused:?}");
    let mut heavy = Put::new(bucket, "heavy");
    heavy.attributes.user.insert("n".into(), "v".repeat(2048));
    let refused = store.put(heavy, bytes("v")).await;
    assert!(matches!(refused, Err(ObjectError::MetadataTooLarge { .. })), "{refused:?}");

    let broken = futures::stream::iter([Ok(Bytes::from_static(b"half")), Err("gone".into())]).boxed();
    assert!(store.put(Put::new(bucket, "o/large"), broken).await.is_err());
    assert_eq!(read(store, &at).await.unwrap(), "now small");
    if !lacks.moto {
        digests(store, bucket).await;
    }
}

fn attributes() -> Attributes {
    Attributes {
        content_type: Some("text/plain; charset=utf-8".into()),
        content_encoding: Some("identity".into()),
        content_language: Some("nl".into()),
        content_disposition: Some("attachment; filename=\"f.txt\"".into()),
        cache_control: Some("no-cache".into()),
        user: [("author".to_owned(), "me".to_owned()), ("x-y".to_owned(), "2".to_owned())].into(),
        ..Attributes::default()
    }
}

async fn digests(store: &Store, bucket: &str) {
    let content = noise(20_000, 3);
    let at = ObjectRef::new(bucket, "digests");
    put(store, bucket, "digests", "old").await;
    for algorithm in Algorithm::ALL {
        let (_, sum) = sums(algorithm, &content);
        let (_, wrong) = sums(algorithm, b"something else");
        let expecting = |expect: Expect| Put { expect, ..Put::new(bucket, "digests") };
        let expect = Expect { checksum: Some(wrong.clone()), ..Expect::default() };
        let refused = store.put(expecting(expect), chunked(&content, 999)).await;
        assert!(matches!(refused, Err(ObjectError::BadDigest { .. })), "{refused:?}");
        let trailing = Expect {
            algorithm: Some(algorithm),
            trailing: Some(Box::new(move || Ok(Some(wrong)))),
            ..Expect::default()
        };
        let refused = store.put(expecting(trailing), chunked(&content, 999)).await;
        assert!(matches!(refused, Err(ObjectError::BadDigest { .. })), "{refused:?}");
        assert_eq!(read(store, &at).await.unwrap(), "old");

        let expect = Expect { checksum: Some(sum.clone()), size: Some(20_000), ..Expect::default() };
        let meta = store.put(expecting(expect), chunked(&content, 999)).await.unwrap();
        assert_eq!(meta.checksum, Some(sum.clone()));
        let head = store.head(&at, ReadConditions::default()).await.unwrap();
        assert_eq!(head.checksum, Some(sum), "{algorithm:?}");
        put(store, bucket, "digests", "old").await;
    }
    let expecting = |expect: Expect| Put { expect, ..Put::new(bucket, "digests") };
    let md5 = Expect { md5: Some([7; 16]), ..Expect::default() };
    assert!(matches!(store.put(expecting(md5), bytes("x")).await, Err(ObjectError::BadDigest { .. })));
    for size in [4, 6] {
        let expect = Expect { size: Some(size), ..Expect::default() };
        let refused = store.put(expecting(expect), bytes("12345")).await;
        assert!(matches!(refused, Err(ObjectError::IncompleteBody { .. })), "{refused:?}");
    }
    assert_eq!(read(store, &at).await.unwrap(), "old");
}

async fn ranges(store: &Store, bucket: &str) {
    for length in [10_usize, 2_000_003] {
        let content = noise(length, 11);
        put(store, bucket, "r", content.clone()).await;
        let at = ObjectRef::new(bucket, "r");
        let size = length as u64;
        let wanted = [
            (ByteRange::FromTo(0, 0), 0..1),
            (ByteRange::FromTo(3, 5), 3..6),
            (ByteRange::FromTo(size - 2, size + 100), length - 2..length),
            (ByteRange::From(7), 7..length),
            (ByteRange::Last(4), length - 4..length),
            (ByteRange::Last(size * 2), 0..length),
        ];
        for (range, bytes) in wanted {
            let options = GetOptions { range: Some(range), ..GetOptions::default() };
            let object = store.get(&at, options).await.unwrap();
            assert_eq!(object.range, bytes.start as u64..bytes.end as u64, "{range:?}");
            assert_eq!(object.meta.size, size);
            assert!(object.bytes(length).await.unwrap() == content.slice(bytes), "{range:?}");
        }
        let options = GetOptions { range: Some(ByteRange::From(size)), ..GetOptions::default() };
        assert!(matches!(store.get(&at, options).await, Err(ObjectError::InvalidRange { .. })));
    }
}

async fn conditions(store: &Store, bucket: &str, lacks: Lacks) {
    let meta = put(store, bucket, "c", "one").await;
    let at = ObjectRef::new(bucket, "c");
    let etag = |etag: &str| Some(EtagMatch::OneOf(vec![etag.to_owned()]));
    let with = |conditions: ReadConditions| GetOptions { conditions, ..GetOptions::default() };
    let other = "d41d8cd98f00b204e9800998ecf8427e";

    let matching = ReadConditions { if_match: etag(&meta.etag), ..ReadConditions::default() };
    assert!(store.get(&at, with(matching)).await.is_ok());
    let conditions = ReadConditions { if_match: etag(other), ..ReadConditions::default() };
    assert!(matches!(store.get(&at, with(conditions)).await, Err(ObjectError::PreconditionFailed { .. })));
    let conditions = ReadConditions { if_none_match: etag(&meta.etag), ..ReadConditions::default() };
    assert!(matches!(store.get(&at, with(conditions.clone())).await, Err(ObjectError::NotModified { .. })));
    assert!(matches!(store.head(&at, conditions).await, Err(ObjectError::NotModified { .. })));
    let since = meta.modified_ms / 1000 + 5;
    let conditions = ReadConditions { if_modified_since_s: Some(since), ..ReadConditions::default() };
    assert!(matches!(store.get(&at, with(conditions)).await, Err(ObjectError::NotModified { .. })));

    let absent = WriteCondition { if_absent: true, ..WriteCondition::default() };
    let conditional = |condition: WriteCondition, key: &str| Put { condition, ..Put::new(bucket, key) };
    let refused = store.put(conditional(absent.clone(), "c"), bytes("two")).await;
    assert!(matches!(refused, Err(ObjectError::PreconditionFailed { .. })), "{refused:?}");
    assert!(store.put(conditional(absent, "new"), bytes("two")).await.is_ok());
    if lacks.moto {
        return;
    }
    let stale = WriteCondition { if_match: etag(other), ..WriteCondition::default() };
    let refused = store.put(conditional(stale.clone(), "c"), bytes("two")).await;
    assert!(matches!(refused, Err(ObjectError::PreconditionFailed { .. })), "{refused:?}");
    assert!(matches!(store.delete(&at, stale.clone()).await, Err(ObjectError::PreconditionFailed { .. })));
    let missing = store.put(conditional(stale, "none"), bytes("two")).await;
    assert!(matches!(missing, Err(ObjectError::NoSuchKey { .. })), "{missing:?}");
    let fresh = WriteCondition { if_match: etag(&meta.etag), ..WriteCondition::default() };
    store.put(conditional(fresh, "c"), bytes("two")).await.unwrap();
    assert_eq!(read(store, &at).await.unwrap(), "two");
}

/// What a page must have, worked out the slow way.
fn expected(keys: &BTreeSet<String>, prefix: &str, delimiter: Option<&str>) -> Vec<String> {
    let mut seen = Vec::new();
    for key in keys.iter().filter(|key| key.starts_with(prefix)) {
        let rolled = delimiter.and_then(|delimiter| {
            let at = key[prefix.len()..].find(delimiter)?;
            Some(format!("{}…", &key[..prefix.len() + at + delimiter.len()]))
        });
        let item = rolled.unwrap_or_else(|| key.clone());
        if seen.last() != Some(&item) {
            seen.push(item);
        }
    }
    seen.sort();
    seen
}

async fn lists(store: &Store, bucket: &str) {
    let mut keys: BTreeSet<String> =
        ["a", "a/", "a/b", "a/b/c", "a0", "b", "é/x", "日本/1", "日本/2", "z", "~", "p/"]
            .map(str::to_owned)
            .into();
    keys.extend((0..40).map(|n| format!("deep/{}/{n:03}", n % 3)));
    keys.extend((0..30).map(|n| format!("flat-{n}")));
    for key in &keys {
        put(store, bucket, key, key.clone()).await;
    }
    for prefix in ["", "a", "a/", "deep/", "deep/1", "flat-1", "日本", "none"] {
        for delimiter in [None, Some("/"), Some("-"), Some("/0")] {
            for limit in [1, 2, 7, 1000] {
                let mut after = None;
                let mut seen = Vec::new();
                loop {
                    let query = ListQuery {
                        prefix: prefix.into(),
                        delimiter: delimiter.map(str::to_owned),
                        after,
                        limit,
                    };
                    let page = store.list(bucket, query).await.unwrap();
                    let count = page.objects.len() + page.prefixes.len();
                    assert!(count <= limit as usize);
                    for object in page.objects {
                        assert_eq!(object.size, object.key.len() as u64);
                        assert_eq!(object.etag, sums(Algorithm::Crc32, object.key.as_bytes()).0);
                        seen.push(object.key);
                    }
                    seen.extend(page.prefixes.into_iter().map(|prefix| format!("{prefix}…")));
                    match page.next {
                        Some(next) => {
                            assert_eq!(count, limit as usize, "a page with a successor is full");
                            after = Some(next);
                        }
                        None => break,
                    }
                }
                seen.sort();
                assert_eq!(seen, expected(&keys, prefix, delimiter), "{prefix:?} {delimiter:?} {limit}");
            }
        }
    }
    let many: Vec<(String, Option<String>)> =
        keys.iter().take(20).map(|key| (key.clone(), None)).chain([("never was".into(), None)]).collect();
    let answers = store.delete_many(bucket, many).await.unwrap();
    assert!(answers.len() == 21 && answers.iter().all(Result::is_ok));
    let left = store.list(bucket, ListQuery { limit: 1000, ..ListQuery::default() }).await.unwrap();
    assert_eq!(left.objects.len(), keys.len() - 20);
}

async fn versions(store: &Store, bucket: &str, lacks: Lacks) {
    let at = ObjectRef::new(bucket, "v");
    let named = |version: &str| ObjectRef { version: Some(version.to_owned()), ..at.clone() };
    assert_eq!(put(store, bucket, "v", "zero").await.version_id, None);
    store.set_versioning(bucket, Versioning::Enabled).await.unwrap();
    assert_eq!(store.bucket(bucket).await.unwrap().versioning, Versioning::Enabled);
    let one = put(store, bucket, "v", "one").await.version_id.unwrap();
    let two = put(store, bucket, "v", noise(50_000, 2)).await.version_id.unwrap();
    assert!(one != two && one != "null");
    assert_eq!(read(store, &named(&one)).await.unwrap(), "one");
    assert_eq!(read(store, &named("null")).await.unwrap(), "zero");
    assert_eq!(read(store, &at).await.unwrap().len(), 50_000);

    let deleted = store.delete(&at, WriteCondition::default()).await.unwrap();
    let marker = deleted.version_id.unwrap();
    assert!(deleted.delete_marker);
    let gone = read(store, &at).await.unwrap_err();
    let told = matches!(&gone, ObjectError::NoSuchKey { delete_marker: Some(id), .. } if *id == marker);
    assert!(told || (lacks.moto && matches!(gone, ObjectError::NoSuchKey { .. })), "{gone:?}");
    let refused = read(store, &named(&marker)).await;
    let told = matches!(refused, Err(ObjectError::IsDeleteMarker { .. }));
    assert!(told || (lacks.moto && refused.is_err()), "{refused:?}");
    let listed = store.list(bucket, ListQuery { limit: 10, ..ListQuery::default() }).await.unwrap();
    assert!(listed.objects.is_empty());
    put(store, bucket, "w", "w").await;
    put(store, bucket, "u/1", "u").await;
    version_pages(store, bucket, &[("u/1", 1), ("v", 4), ("w", 1)]).await;

    // Without its marker the object is back.
    let undone = store.delete(&named(&marker), WriteCondition::default()).await.unwrap();
    assert!(lacks.moto || (undone.delete_marker && undone.version_id.as_deref() == Some(&marker)));
    assert_eq!(read(store, &at).await.unwrap().len(), 50_000);
    store.delete(&named(&two), WriteCondition::default()).await.unwrap();
    assert_eq!(read(store, &at).await.unwrap(), "one");
    let refused = read(store, &named(&two)).await;
    assert!(matches!(refused, Err(ObjectError::NoSuchVersion { .. })), "{refused:?}");

    if lacks.moto {
        // Its suspended buckets are not S3's.
        return;
    }
    store.set_versioning(bucket, Versioning::Suspended).await.unwrap();
    assert_eq!(put(store, bucket, "v", "null again").await.version_id.as_deref(), Some("null"));
    assert_eq!(read(store, &named("null")).await.unwrap(), "null again");
    assert_eq!(read(store, &named(&one)).await.unwrap(), "one");
    let marker = store.delete(&at, WriteCondition::default()).await.unwrap();
    assert_eq!((marker.version_id.as_deref(), marker.delete_marker), (Some("null"), true));
    version_pages(store, bucket, &[("u/1", 1), ("v", 2), ("w", 1)]).await;
    assert!(matches!(store.delete_bucket(bucket).await, Err(ObjectError::BucketNotEmpty(_))));
    empty(store, bucket).await;
    store.delete_bucket(bucket).await.unwrap();
}

/// Pages of every size show the same versions: the newest of each key first, and marked as such.
async fn version_pages(store: &Store, bucket: &str, expected: &[(&str, usize)]) {
    for limit in [1, 2, 3, 100] {
        let mut query = VersionsQuery { limit, ..VersionsQuery::default() };
        let mut seen: Vec<ListedVersion> = Vec::new();
        loop {
            let page = store.list_versions(bucket, query.clone()).await.unwrap();
            seen.extend(page.versions);
            let Some(next) = page.next else { break };
            query = VersionsQuery { after: Some(next), after_version: page.next_version, ..query };
        }
        let keys: Vec<&str> = seen.iter().map(|version| version.key.as_str()).collect();
        let flat: Vec<&str> =
            expected.iter().flat_map(|(key, count)| std::iter::repeat_n(*key, *count)).collect();
        assert_eq!(keys, flat, "in pages of {limit}");
        for (at, version) in seen.iter().enumerate() {
            assert_eq!(version.latest, at == 0 || keys[at - 1] != keys[at], "{version:?}");
        }
    }
    let query = VersionsQuery { delimiter: Some("/".into()), limit: 100, ..VersionsQuery::default() };
    let page = store.list_versions(bucket, query).await.unwrap();
    assert_eq!(page.prefixes, ["u/"]);
}

async fn empty(store: &Store, bucket: &str) {
    let all =
        store.list_versions(bucket, VersionsQuery { limit: 1000, ..VersionsQuery::default() }).await.unwrap();
    let all = all.versions.into_iter().map(|version| (version.key, Some(version.version_id))).collect();
    for answer in store.delete_many(bucket, all).await.unwrap() {
        answer.unwrap();
    }
}

async fn copies_and_tags(store: &Store, bucket: &str) {
    for length in [100, 300_000] {
        let content = noise(length, 5);
        let tags: Tags = [("team".to_owned(), "blue".to_owned())].into();
        let from = Put { attributes: attributes(), tags: tags.clone(), ..Put::new(bucket, "from") };
        let source = store.put(from, bytes(content.clone())).await.unwrap();
        let copy = Copy {
            from: ObjectRef::new(bucket, "from"),
            bucket: bucket.into(),
            key: "to".into(),
            attributes: None,
            tags: None,
            conditions: ReadConditions::default(),
            condition: WriteCondition::default(),
            algorithm: None,
        };
        let to = ObjectRef::new(bucket, "to");
        let made = store.copy(copy.clone()).await.unwrap();
        assert_eq!(made.etag, source.etag);
        assert_eq!(store.head(&to, ReadConditions::default()).await.unwrap().attributes, attributes());
        assert_eq!(store.tags(&to).await.unwrap(), tags);
        // The copy does not depend on the source.
        store.delete(&ObjectRef::new(bucket, "from"), WriteCondition::default()).await.unwrap();
        assert!(read(store, &to).await.unwrap() == content);
        // New headers for the same object.
        let renamed = Attributes { content_type: Some("x/y".into()), ..Attributes::default() };
        let onto_itself = Copy { from: to.clone(), attributes: Some(renamed.clone()), ..copy };
        store.copy(onto_itself).await.unwrap();
        assert_eq!(store.head(&to, ReadConditions::default()).await.unwrap().attributes, renamed);
        assert!(read(store, &to).await.unwrap() == content);
    }
    let at = ObjectRef::new(bucket, "to");
    let tags: Tags = [("a".to_owned(), "1".to_owned()), ("b c".to_owned(), "é".to_owned())].into();
    store.set_tags(&at, tags.clone()).await.unwrap();
    assert_eq!(store.tags(&at).await.unwrap(), tags);
    let many: Tags = (0..11).map(|n| (format!("t{n}"), "v".to_owned())).collect();
    assert!(matches!(store.set_tags(&at, many).await, Err(ObjectError::InvalidTag(_))));
    store.set_tags(&at, Tags::new()).await.unwrap();
    assert_eq!(store.tags(&at).await.unwrap(), Tags::new());
    let none = store.tags(&ObjectRef::new(bucket, "no")).await;
    assert!(matches!(none, Err(ObjectError::NoSuchKey { .. })), "{none:?}");
}

async fn uploads(store: &Store, bucket: &str, lacks: Lacks) {
    let new = NewUpload {
        attributes: attributes(),
        ..NewUpload { bucket: bucket.into(), key: "m".into(), ..NewUpload::default() }
    };
    let upload_id = store.create_upload(new.clone()).await.unwrap();
    let upload = UploadRef { bucket: bucket.into(), key: "m".into(), upload_id };
    let (first, second, third) = (noise(5 << 20, 1), noise(5 << 20, 2), noise(1234, 3));
    let mut etags = Vec::new();
    for (number, content) in [(3, &third), (1, &third), (1, &first), (2, &second), (7, &third)] {
        let part =
            store.put_part(&upload, number, Expect::default(), chunked(content, 1 << 18)).await.unwrap();
        assert_eq!(part.etag, sums(Algorithm::Crc32, content).0);
        etags.push((number, part.etag));
    }
    let listed = store.parts(&upload, 0, 2).await.unwrap();
    assert_eq!(listed.parts.iter().map(|part| part.number).collect::<Vec<_>>(), [1, 2]);
    let listed = store.parts(&upload, listed.next.unwrap(), 10).await.unwrap();
    assert_eq!(listed.parts.iter().map(|part| part.number).collect::<Vec<_>>(), [3, 7]);
    let open = store.uploads(bucket, "m", None, 10).await.unwrap();
    assert!(open.uploads.iter().any(|one| one.upload_id == upload.upload_id));
    assert!(matches!(read(store, &ObjectRef::new(bucket, "m")).await, Err(ObjectError::NoSuchKey { .. })));

    let completion = |parts: &[(u32, &str)]| Completion {
        parts: parts
            .iter()
            .map(|(number, etag)| CompletedPart { number: *number, etag: (*etag).to_owned(), checksum: None })
            .collect(),
        ..Completion::default()
    };
    let (one, two, three) = (etags[2].1.as_str(), etags[3].1.as_str(), etags[0].1.as_str());
    let refused = store.complete_upload(&upload, completion(&[(2, two), (1, one)])).await;
    assert!(matches!(refused, Err(ObjectError::InvalidPartOrder)), "{refused:?}");
    for wrong in [completion(&[(1, two)]), completion(&[(1, one), (5, two)])] {
        let refused = store.complete_upload(&upload, wrong).await;
        assert!(matches!(refused, Err(ObjectError::InvalidPart(_))), "{refused:?}");
    }
    let refused = store.complete_upload(&upload, completion(&[(3, three), (7, three)])).await;
    assert!(matches!(refused, Err(ObjectError::EntityTooSmall { .. })), "{refused:?}");
    let all = completion(&[(1, one), (2, two), (3, three)]);
    let size = (first.len() + second.len() + third.len()) as u64;
    if !lacks.moto {
        let refused =
            store.complete_upload(&upload, Completion { size: Some(size + 1), ..all.clone() }).await;
        assert!(matches!(refused, Err(ObjectError::WrongObjectSize { .. })), "{refused:?}");
    }
    let meta = store.complete_upload(&upload, Completion { size: Some(size), ..all }).await.unwrap();
    assert!(meta.etag.ends_with("-3"), "{}", meta.etag);
    let at = ObjectRef::new(bucket, "m");
    let whole: Bytes = [&first[..], &second, &third].concat().into();
    assert!(read(store, &at).await.unwrap() == whole);
    let head = store.head(&at, ReadConditions::default()).await.unwrap();
    assert_eq!((head.size, head.attributes), (whole.len() as u64, attributes()));
    let across = ByteRange::FromTo((5 << 20) - 3, (5 << 20) + 2);
    let options = GetOptions { range: Some(across), ..GetOptions::default() };
    let bytes = store.get(&at, options).await.unwrap().bytes(6).await.unwrap();
    assert_eq!(bytes, whole.slice((5 << 20) - 3..(5 << 20) + 3));
    assert!(
        !store
            .uploads(bucket, "", None, 10)
            .await
            .unwrap()
            .uploads
            .iter()
            .any(|one| one.upload_id == upload.upload_id)
    );

    let upload_id = store.create_upload(new).await.unwrap();
    let upload = UploadRef { upload_id, ..upload };
    store.put_part(&upload, 1, Expect::default(), chunked(&first, 1 << 20)).await.unwrap();
    store.abort_upload(&upload).await.unwrap();
    let refused = store.parts(&upload, 0, 10).await;
    let told = matches!(refused, Err(ObjectError::NoSuchUpload(_)));
    assert!(told || (lacks.moto && refused.is_err()), "{refused:?}");
    let refused = store.put_part(&upload, 1, Expect::default(), craton_objects::types::bytes("x")).await;
    let told = matches!(refused, Err(ObjectError::NoSuchUpload(_)));
    assert!(told || (lacks.moto && refused.is_err()), "{refused:?}");
    assert!(read(store, &at).await.unwrap() == whole);
}
