//! Functions as resources: versions, aliases, permissions, tags, and what is refused.

use craton_api_lambda as api;
use serde_json::{Value, json};

use super::{World, world, zip_file};

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

async fn policy(world: &World, qualifier: Option<&str>) -> (Value, String) {
    let request =
        api::GetPolicyRequest { function_name: "f".into(), qualifier: qualifier.map(str::to_owned) };
    let answer = world.lambda.get_policy(&world.context, request).await.unwrap();
    (serde_json::from_str(&answer.policy.unwrap()).unwrap(), answer.revision_id.unwrap())
}

fn permission(id: impl Into<String>) -> api::AddPermissionRequest {
    api::AddPermissionRequest {
        function_name: "f".into(),
        statement_id: id.into(),
        action: "lambda:InvokeFunction".into(),
        principal: "210987654321".into(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_given_at_the_same_time_are_all_kept() {
    let world = world(Vec::new()).await;
    world.create("f", "def handler(e, c): return 1").await;
    let adding = (0..12).map(|n| {
        let (lambda, context) = (world.lambda.clone(), world.context.clone());
        tokio::spawn(async move { lambda.add_permission(&context, permission(format!("s{n}"))).await })
    });
    for added in futures::future::join_all(adding).await {
        added.unwrap().unwrap();
    }
    let (shown, revision) = policy(&world, None).await;
    assert_eq!(shown["Statement"].as_array().unwrap().len(), 12);
    // A revision that is no longer the policy's changes nothing.
    let with = |id: &str| api::AddPermissionRequest { revision_id: Some(revision.clone()), ..permission(id) };
    world.lambda.add_permission(&world.context, with("next")).await.unwrap();
    let stale = world.lambda.add_permission(&world.context, with("stale")).await.unwrap_err();
    assert_eq!(stale.code, "PreconditionFailedException");
}

#[tokio::test]
async fn a_permission_is_as_narrow_as_it_was_asked_for() {
    let world = world(Vec::new()).await;
    world.create("f", "def handler(e, c): return 1").await;
    let publish = api::PublishVersionRequest { function_name: "f".into(), ..Default::default() };
    world.lambda.publish_version(&world.context, publish).await.unwrap();
    let narrow = api::AddPermissionRequest {
        source_account: Some("123456789012".into()),
        source_arn: Some("arn:aws:s3:::b".into()),
        principal_org_id: Some("o-a1b2c3".into()),
        event_source_token: Some("token".into()),
        function_url_auth_type: Some(api::FunctionUrlAuthType::AwsIam),
        invoked_via_function_url: Some(true),
        ..permission("narrow")
    };
    world.lambda.add_permission(&world.context, narrow).await.unwrap();
    let of_one = api::AddPermissionRequest { qualifier: Some("1".into()), ..permission("narrow") };
    world.lambda.add_permission(&world.context, of_one).await.unwrap();
    let (shown, _) = policy(&world, None).await;
    assert_eq!(
        shown["Statement"].as_array().unwrap().len(),
        1,
        "versions have policies of their own: {shown}"
    );
    let statement = &shown["Statement"][0];
    assert_eq!(statement["Principal"], json!({"AWS": "arn:aws:iam::210987654321:root"}));
    assert_eq!(
        statement["Condition"],
        json!({
            "StringEquals": {
                "AWS:SourceAccount": "123456789012", "aws:PrincipalOrgID": "o-a1b2c3",
                "lambda:EventSourceToken": "token", "lambda:FunctionUrlAuthType": "AWS_IAM",
            },
            "Bool": {"lambda:InvokedViaFunctionUrl": "true"},
            "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::b"},
        })
    );
    let (of_version, _) = policy(&world, Some("1")).await;
    assert!(of_version["Statement"][0].get("Condition").is_none(), "{of_version}");
    assert_eq!(of_version["Statement"][0]["Resource"], "arn:aws:lambda:us-east-1:123456789012:function:f:1");
}

#[tokio::test]
async fn reserved_concurrency_is_the_functions_whichever_version_is_called() {
    let world = world(Vec::new()).await;
    world.create("f", "import os\ndef handler(e, c): return os.getpid()").await;
    let publish = || api::PublishVersionRequest { function_name: "f".into(), ..Default::default() };
    world.lambda.publish_version(&world.context, publish()).await.unwrap();
    let first = world.call("f:1", json!({})).await.payload;
    let put = |count| api::PutFunctionConcurrencyRequest {
        function_name: "f".into(),
        reserved_concurrent_executions: count,
    };
    world.lambda.put_function_concurrency(&world.context, put(0)).await.unwrap();
    for name in ["f", "f:1"] {
        let call = api::InvocationRequest { function_name: name.into(), ..Default::default() };
        let refused = world.lambda.invoke(&world.context, call).await.unwrap_err();
        assert_eq!(refused.code, "TooManyRequestsException", "{name}");
    }
    let again = world.lambda.publish_version(&world.context, publish()).await.unwrap();
    assert_eq!(again.version.as_deref(), Some("1"), "the function itself has not changed");
    let get = api::GetFunctionRequest { function_name: "f".into(), qualifier: Some("1".into()) };
    let shown = world.lambda.get_function(&world.context, get).await.unwrap().concurrency.unwrap();
    assert_eq!(shown.reserved_concurrent_executions, Some(0));
    let delete = api::DeleteFunctionConcurrencyRequest { function_name: "f".into() };
    world.lambda.delete_function_concurrency(&world.context, delete).await.unwrap();
    assert_eq!(world.call("f:1", json!({})).await.payload, first, "its environment stayed");
}

#[tokio::test]
async fn what_would_not_happen_is_refused_and_what_asks_for_nothing_is_not() {
    let world = world(Vec::new()).await;
    type Change = fn(&mut api::CreateFunctionRequest);
    let asks: [(&str, Change); 9] = [
        ("VpcConfig", |it| {
            it.vpc_config = Some(api::VpcConfig {
                subnet_ids: Some(vec!["subnet-1".into()]),
                security_group_ids: None,
                ipv6_allowed_for_dual_stack: None,
            });
        }),
        ("DeadLetterConfig", |it| {
            it.dead_letter_config =
                Some(api::DeadLetterConfig { target_arn: Some("arn:aws:sqs:r:1:q".into()) });
        }),
        ("KMSKeyArn", |it| it.kms_key_arn = Some("arn:aws:kms:us-east-1:123456789012:key/k".into())),
        ("TracingConfig", |it| {
            it.tracing_config = Some(api::TracingConfig { mode: Some(api::TracingMode::Active) });
        }),
        ("SnapStart", |it| {
            it.snap_start = Some(api::SnapStart { apply_on: Some(api::SnapStartApplyOn::PublishedVersions) });
        }),
        ("LoggingConfig", |it| {
            it.logging_config = Some(api::LoggingConfig {
                log_format: Some(api::LogFormat::Json),
                application_log_level: None,
                system_log_level: None,
                log_group: None,
            });
        }),
        ("CodeSigningConfigArn", |it| it.code_signing_config_arn = Some("arn".into())),
        ("PackageType", |it| it.package_type = Some(api::PackageType::Image)),
        ("Layers", |it| it.layers = Some(vec!["arn:aws:lambda:us-east-1:123456789012:layer:l:1".into()])),
    ];
    let request = || api::CreateFunctionRequest {
        function_name: "f".into(),
        runtime: Some(api::Runtime::Python311),
        role: "arn:aws:iam::123456789012:role/L".into(),
        handler: Some("main.handler".into()),
        code: api::FunctionCode { zip_file: zip_file("def handler(e, c): pass"), ..Default::default() },
        ..Default::default()
    };
    for (field, change) in asks {
        let mut asked = request();
        change(&mut asked);
        let error = world.lambda.create_function(&world.context, asked).await.unwrap_err();
        assert_eq!(error.code, "InvalidParameterValueException", "{field}");
        assert!(error.message.starts_with(field), "{field}: {}", error.message);
    }
    let mut neutral = request();
    neutral.vpc_config = Some(api::VpcConfig {
        subnet_ids: Some(Vec::new()),
        security_group_ids: Some(Vec::new()),
        ipv6_allowed_for_dual_stack: None,
    });
    neutral.tracing_config = Some(api::TracingConfig { mode: Some(api::TracingMode::PassThrough) });
    neutral.layers = Some(Vec::new());
    world.lambda.create_function(&world.context, neutral).await.unwrap();
    let update = api::UpdateFunctionConfigurationRequest {
        function_name: "f".into(),
        kms_key_arn: Some("arn:aws:kms:us-east-1:123456789012:key/k".into()),
        ..Default::default()
    };
    let error = world.lambda.update_function_configuration(&world.context, update).await.unwrap_err();
    assert!(error.message.starts_with("KMSKeyArn"), "{}", error.message);
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

/// A permission is of something that is there, and goes with it.
#[tokio::test]
async fn permissions_of_a_version_or_alias_begin_and_end_with_it() {
    let world = world(Vec::new()).await;
    world.create("f", "def handler(e, c): return 1").await;
    let of = |qualifier: &str| api::AddPermissionRequest {
        qualifier: Some(qualifier.into()),
        ..permission(format!("to-{}", qualifier.trim_start_matches('$')))
    };
    for absent in ["ghost", "1", "7"] {
        let refused = world.lambda.add_permission(&world.context, of(absent)).await.unwrap_err();
        assert_eq!(refused.code, "ResourceNotFoundException", "{absent}");
        assert!(refused.message.contains(&format!("function:f:{absent}")), "{}", refused.message);
    }
    let latest = world.lambda.add_permission(&world.context, of("$LATEST")).await.unwrap_err();
    assert_eq!(latest.code, "InvalidParameterValueException", "{}", latest.message);
    let publish = || api::PublishVersionRequest { function_name: "f".into(), ..Default::default() };
    world.lambda.publish_version(&world.context, publish()).await.unwrap();
    let alias = || api::CreateAliasRequest {
        function_name: "f".into(),
        name: "live".into(),
        function_version: "1".into(),
        ..Default::default()
    };
    world.lambda.create_alias(&world.context, alias()).await.unwrap();
    for there in ["live", "1"] {
        world.lambda.add_permission(&world.context, of(there)).await.unwrap();
    }
    world.lambda.add_permission(&world.context, permission("whole")).await.unwrap();
    let delete = || api::DeleteAliasRequest { function_name: "f".into(), name: "live".into() };
    world.lambda.delete_alias(&world.context, delete()).await.unwrap();
    world.lambda.create_alias(&world.context, alias()).await.unwrap();
    assert!(!has_policy(&world, Some("live")).await, "the grant was the old alias's");
    assert!(has_policy(&world, Some("1")).await && has_policy(&world, None).await);
    // Again, and twice: an alias that is not there is deleted too.
    world.lambda.add_permission(&world.context, of("live")).await.unwrap();
    for _ in 0..2 {
        world.lambda.delete_alias(&world.context, delete()).await.unwrap();
    }
    let version = api::DeleteFunctionRequest { function_name: "f".into(), qualifier: Some("1".into()) };
    world.lambda.delete_function(&world.context, version).await.unwrap();
    assert!(!has_policy(&world, Some("1")).await && has_policy(&world, None).await);
}

async fn has_policy(world: &World, qualifier: Option<&str>) -> bool {
    let request =
        api::GetPolicyRequest { function_name: "f".into(), qualifier: qualifier.map(str::to_owned) };
    world.lambda.get_policy(&world.context, request).await.is_ok()
}

/// What a call asks for and would not get is refused by name.
#[tokio::test]
async fn calls_ask_for_nothing_that_is_not_served() {
    let world = world(Vec::new()).await;
    world.create("f", "def handler(e, c): return 1").await;
    let call = || api::InvocationRequest { function_name: "f".into(), ..Default::default() };
    let asked = [
        ("TenantId", api::InvocationRequest { tenant_id: Some("blue".into()), ..call() }),
        (
            "DurableExecutionName",
            api::InvocationRequest { durable_execution_name: Some("d".into()), ..call() },
        ),
    ];
    for (name, request) in asked {
        let refused = world.lambda.invoke(&world.context, request).await.unwrap_err();
        assert_eq!(refused.code, "InvalidParameterValueException", "{}", refused.message);
        assert!(refused.message.starts_with(name), "{}", refused.message);
    }
}
