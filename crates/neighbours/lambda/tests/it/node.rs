//! Node functions.

use craton_api_lambda as api;
use craton_wire::types::Blob;
use serde_json::json;

use super::{archive, world};

#[tokio::test]
async fn a_node_function_runs_and_fails_like_any_other() {
    let world = world(Vec::new()).await;
    let source = "
exports.handler = async (event, context) => {
  if (event.fail) throw new RangeError('out of it');
  console.log('seen', event.n);
  return { n: event.n + 1, name: context.functionName };
};
";
    world
        .create_with("node", "", |request| {
            request.runtime = Some(api::Runtime::Nodejs20X);
            request.handler = Some("index.handler".into());
            request.memory_size = Some(256);
            request.code.zip_file = Some(Blob(archive(&[("index.js", source)]).into()));
        })
        .await;
    let called = world.call("node", json!({"n": 1})).await;
    assert_eq!(called.error, None, "{}", called.payload);
    assert_eq!(called.payload, json!({"n": 2, "name": "node"}));
    assert!(called.log.contains("seen 1"), "{}", called.log);
    let failed = world.call("node", json!({"fail": true})).await;
    assert_eq!(failed.payload["errorType"], "RangeError");
    assert_eq!(failed.payload["errorMessage"], "out of it");
}
