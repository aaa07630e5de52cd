//! Documents and images of a conversation that lie in S3.

use std::sync::Arc;

use craton_api_bedrock_runtime as api;
use craton_backend::Block;
use craton_core::SystemClock;
use craton_objects::{FileObjects, ObjectStore, Put, types};
use craton_store::Store;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::scripted::{World, input, world};

/// A PNG of one pixel, as far as its head says.
const PIXEL: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01";

async fn stored(objects: &FileObjects, key: &str, media_type: Option<&str>, body: impl Into<bytes::Bytes>) {
    let mut put = Put::new("papers", key);
    put.attributes.content_type = media_type.map(str::to_owned);
    objects.put(put, types::bytes(body)).await.unwrap();
}

async fn with_bucket() -> (World, FileObjects, TempDir) {
    let mut world = world().await;
    let directory = TempDir::new().unwrap();
    let store = Store::in_memory().await.unwrap();
    let objects = FileObjects::open(store, directory.path(), Arc::new(SystemClock)).unwrap();
    objects.create_bucket("papers", "us-east-1").await.unwrap();
    stored(&objects, "notes/a b.md", None, "# Herons\n\nThey fish at dawn.").await;
    stored(&objects, "table", Some("text/csv"), "bird,hour\nheron,5\n").await;
    stored(&objects, "pixel.png", Some("image/png"), PIXEL).await;
    stored(&objects, "empty", None, "").await;
    stored(&objects, "large", None, vec![b'a'; 26 << 20]).await;
    world.inference = world.inference.with_objects(Arc::new(objects.clone()));
    (world, objects, directory)
}

fn at(uri: &str) -> Value {
    json!({"s3Location": {"uri": uri}})
}

fn document(name: &str, uri: &str) -> Value {
    json!({"document": {"name": name, "source": at(uri)}})
}

fn asking(blocks: Value) -> Value {
    let mut content = vec![json!({"text": "When?"})];
    content.extend(blocks.as_array().unwrap().iter().cloned());
    json!({"messages": [{"role": "user", "content": content}]})
}

async fn refusal(world: &World, fields: Value) -> (String, String) {
    let error = world.inference.converse(&world.context, input(fields)).await.map(|_| ()).unwrap_err();
    (error.code.to_string(), error.message)
}

#[tokio::test]
async fn objects_stand_where_their_places_stood() {
    let (world, _objects, _directory) = with_bucket().await;
    world.model.capabilities.lock().images = true;
    let image = json!({"image": {"format": "png", "source": at("s3://papers/pixel.png")}});
    let blocks =
        json!([document("a", "s3://papers/notes/a b.md"), document("b", "s3://papers/table"), image]);
    world.inference.converse(&world.context, input(asking(blocks.clone()))).await.unwrap();
    let asked = world.model.asked();
    let [Block::Text(_), Block::Text(notes), Block::Text(table), Block::Image(image)] =
        &*asked.messages[0].content
    else {
        panic!("{:?}", asked.messages);
    };
    assert!(notes.contains("format=\"md\"") && notes.contains("They fish at dawn."), "{notes}");
    assert!(table.contains("format=\"csv\"") && table.contains("heron"), "{table}");
    assert_eq!((image.format.as_str(), &image.bytes[..]), ("png", PIXEL));

    let stream = world.inference.converse_stream(&world.context, input(asking(blocks.clone()))).await;
    drop(stream.unwrap());
    assert_eq!(world.model.asked().messages, asked.messages);

    let counting = json!({"input": {"converse": asking(blocks)}});
    let counted: api::CountTokensRequest = input(counting);
    let counted = world.inference.count_tokens(&world.context, counted).await.unwrap();
    assert!(counted.output.input_tokens > 10, "{}", counted.output.input_tokens);
}

#[tokio::test]
async fn a_result_of_a_tool_may_have_its_document_in_s3() {
    let (world, _objects, _directory) = with_bucket().await;
    let call = json!({"toolUse": {"toolUseId": "t", "name": "look", "input": {}}});
    let result = json!({"toolResult": {"toolUseId": "t", "content": [document("a", "s3://papers/table")]}});
    let talk = json!({
        "messages": [
            {"role": "user", "content": [{"text": "When?"}]},
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": [result]},
        ],
        "toolConfig": {"tools": [{"toolSpec": {"name": "look", "inputSchema": {"json": {"type": "object"}}}}]},
    });
    world.inference.converse(&world.context, input(talk)).await.unwrap();
    let asked = world.model.asked();
    let Block::ToolResult(result) = &asked.messages[2].content[0] else { panic!("{asked:?}") };
    assert!(matches!(&result.content[0], Block::Text(text) if text.contains("heron")), "{result:?}");
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_by_name() {
    let (world, objects, _directory) = with_bucket().await;
    let one = |uri: &str| asking(json!([document("a", uri)]));
    for (uri, words) in [
        ("s3://papers", "must be of the form s3://bucket/key"),
        ("s3://papers/", "must be of the form s3://bucket/key"),
        ("s3://papers/none", "The object s3://papers/none can't be read: the key 'none' does not exist."),
        ("s3://others/a", "The object s3://others/a can't be read: the bucket 'others' does not exist."),
        ("s3://papers/empty", "The object s3://papers/empty is empty."),
        ("s3://papers/large", "at most 25 MB together; with s3://papers/large they have more."),
    ] {
        let (code, message) = refusal(&world, one(uri)).await;
        assert_eq!(code, "ValidationException");
        assert!(message.contains(words), "{uri}: {message}");
    }
    let mut theirs = document("a", "s3://papers/table");
    theirs["document"]["source"]["s3Location"]["bucketOwner"] = json!("210987654321");
    let (code, message) = refusal(&world, asking(json!([theirs]))).await;
    assert!(code == "AccessDeniedException" && message.contains("210987654321"), "{code}: {message}");
    theirs["document"]["source"]["s3Location"]["bucketOwner"] = json!(world.context.account.id);
    assert!(world.inference.converse(&world.context, input(asking(json!([theirs])))).await.is_ok());

    // The budget is one of all objects, not each one's.
    stored(&objects, "ten", Some("image/png"), vec![0; 10 << 20]).await;
    let image = json!({"image": {"format": "png", "source": at("s3://papers/ten")}});
    let (_, message) = refusal(&world, asking(json!([image, image, image]))).await;
    assert!(message.contains("at most 25 MB together"), "{message}");
    let many = vec![image; 101];
    let (_, message) = refusal(&world, asking(json!(many))).await;
    assert_eq!(message, "A request can have at most 100 blocks with an s3Location. Found 101.");
}

#[tokio::test]
async fn an_object_is_held_to_the_limits_of_what_is_sent() {
    let (world, objects, _directory) = with_bucket().await;
    stored(&objects, "five.txt", None, vec![b'a'; 5 << 20]).await;
    let (_, message) = refusal(&world, asking(json!([document("a", "s3://papers/five.txt")]))).await;
    assert_eq!(
        message,
        "The maximum document size is 4.5 MB. Reduce the size of your document and retry your request."
    );
    world.model.capabilities.lock().images = true;
    let image = json!({"image": {"format": "jpeg", "source": at("s3://papers/pixel.png")}});
    let (_, message) = refusal(&world, asking(json!([image]))).await;
    assert!(message.contains("the image appears to be a image/png image"), "{message}");
}
