//! Functions as resources: versions, aliases, permissions, tags, and what is refused.

use craton_api_lambda as api;
use serde_json::json;

use super::{world, zip_file};

#[tokio::test]
async fn versions_and_aliases_keep_what_they_were_given() {
    let world = world(Vec::new()).await;
    world.create("f", "def handler(e, c): return 'first'").await;
    let publish = || api::PublishVersionRequest { function_name: "f".into(), ..Default::default() };
    let one = world.lambda.publish_version(&world.context, publish()).await.unwrap();
    assert_eq!(one.version.as_deref(), Some("1"));
    let again = world.lambda.publish_version(&world.context, publish()).await.unwrap();
    assert_eq!(again.version.as_deref(), Some("1"), "nothing has changed");
    let alias = api::CreateAliasRequest {
        function_name: "f".into(),
        name: "live".into(),
        function_version: "1".into(),
        ..Default::default()
    };
    world.lambda.create_alias(&world.context, alias).await.unwrap();
    let update = api::UpdateFunctionCodeRequest {
        function_name: "f".into(),
        zip_file: zip_file("def handler(e, c): return 'second'"),
        publish: Some(true),
        ..Default::default()
    };
    let two = world.lambda.update_function_code(&world.context, update).await.unwrap();
    assert_eq!(two.version.as_deref(), Some("2"));
    for (name, payload, version) in
        [("f", "second", "$LATEST"), ("f:live", "first", "1"), ("f:1", "first", "1"), ("f:2", "second", "2")]
    {
        let called = world.call(name, json!({})).await;
        assert_eq!((called.payload, called.version.as_str()), (json!(payload), version), "{name}");
    }
    let delete = |qualifier: Option<&str>| api::DeleteFunctionRequest {
        function_name: "f".into(),
        qualifier: qualifier.map(str::to_owned),
    };
    let used = world.lambda.delete_function(&world.context, delete(Some("1"))).await.unwrap_err();
    assert_eq!(used.code, "ResourceConflictException");
    world.lambda.delete_function(&world.context, delete(None)).await.unwrap();
    let gone = world.lambda.delete_function(&world.context, delete(None)).await.unwrap_err();
    assert_eq!(gone.code, "ResourceNotFoundException");
}

#[tokio::test]
async fn permissions_make_a_policy() {
    let world = world(Vec::new()).await;
    world.create("f", "def handler(e, c): return 1").await;
    let permission = |id: &str| api::AddPermissionRequest {
        function_name: "f".into(),
        statement_id: id.into(),
        action: "lambda:InvokeFunction".into(),
        principal: "bedrock.amazonaws.com".into(),
        source_arn: Some("arn:aws:bedrock:us-east-1:123456789012:agent/A".into()),
        ..Default::default()
    };
    world.lambda.add_permission(&world.context, permission("one")).await.unwrap();
    let twice = world.lambda.add_permission(&world.context, permission("one")).await.unwrap_err();
    assert_eq!(twice.code, "ResourceConflictException");
    let get = || api::GetPolicyRequest { function_name: "f".into(), ..Default::default() };
    let policy = world.lambda.get_policy(&world.context, get()).await.unwrap().policy.unwrap();
    let policy: serde_json::Value = serde_json::from_str(&policy).unwrap();
    assert_eq!(policy["Statement"][0]["Principal"], json!({"Service": "bedrock.amazonaws.com"}));
    let remove = api::RemovePermissionRequest {
        function_name: "f".into(),
        statement_id: "one".into(),
        ..Default::default()
    };
    world.lambda.remove_permission(&world.context, remove).await.unwrap();
    let none = world.lambda.get_policy(&world.context, get()).await.unwrap_err();
    assert_eq!(none.code, "ResourceNotFoundException");
}

#[tokio::test]
async fn what_can_not_be_served_is_refused() {
    let world = world(Vec::new()).await;
    let request = || api::CreateFunctionRequest {
        function_name: "f".into(),
        runtime: Some(api::Runtime::Python311),
        role: "arn:aws:iam::123456789012:role/L".into(),
        handler: Some("main.handler".into()),
        code: api::FunctionCode { zip_file: zip_file("def handler(e, c): pass"), ..Default::default() },
        ..Default::default()
    };
    let mut java = request();
    java.runtime = Some(api::Runtime::Java21);
    let mut layered = request();
    layered.layers = Some(vec!["arn:aws:lambda:us-east-1:123456789012:layer:l:1".into()]);
    let mut reserved = request();
    let variables = [("AWS_REGION".to_owned(), "x".to_owned())];
    reserved.environment = Some(api::Environment { variables: Some(variables.into_iter().collect()) });
    let mut empty = request();
    empty.code = api::FunctionCode::default();
    let mut broken = request();
    broken.code.zip_file = Some(craton_wire::types::Blob("no archive".into()));
    for wrong in [java, layered, reserved, empty, broken] {
        let error = world.lambda.create_function(&world.context, wrong).await.unwrap_err();
        assert_eq!(error.code, "InvalidParameterValueException", "{}", error.message);
    }
    world.lambda.create_function(&world.context, request()).await.unwrap();
    let twice = world.lambda.create_function(&world.context, request()).await.unwrap_err();
    assert_eq!(twice.code, "ResourceConflictException");
}
