//! What is said and would do nothing, or something else, is refused by its name.

use super::*;

async fn refused(world: &World, fields: Value) -> String {
    let error = world.retrieve(fields.clone()).await.map(|_| fields).unwrap_err();
    assert_eq!(error.code, "ValidationException", "{error}");
    error.message
}

#[tokio::test]
async fn reranking_without_its_part() {
    let world = world().await;
    world.fill_shop().await;
    let kind = "BEDROCK_RERANKING_MODEL";
    let with = |more: Value| {
        let mut part = json!({"modelConfiguration": {"modelArn": RERANKER}});
        for (key, value) in more.as_object().unwrap() {
            part[key] = value.clone();
        }
        let reranking = json!({"type": kind, "bedrockRerankingConfiguration": part});
        retrieval("q", json!({"rerankingConfiguration": reranking}))
    };
    let fields = |fields: Value| json!({"modelArn": RERANKER, "additionalModelRequestFields": fields});
    for (request, named) in [
        (
            retrieval("q", json!({"rerankingConfiguration": {"type": kind}})),
            "bedrockRerankingConfiguration is required",
        ),
        (
            with(json!({"metadataConfiguration": {"selectionMode": "SELECTIVE"}})),
            "selectiveModeConfiguration is required",
        ),
        (
            with(json!({"metadataConfiguration": {"selectionMode": "ALL",
                "selectiveModeConfiguration": {"fieldsToInclude": [{"fieldName": "n"}]}}})),
            "selectiveModeConfiguration can't be given",
        ),
        (with(json!({"modelConfiguration": fields(json!({"foo": "bar"}))})), "the field foo"),
    ] {
        let said = refused(&world, request).await;
        assert!(said.contains(named), "{said}");
    }
    // As frameworks send it.
    assert!(world.retrieve(with(json!({"modelConfiguration": fields(json!({}))}))).await.is_ok());

    let rerank = |document: Value, more: Value| {
        let source = json!({"type": "INLINE", "inlineDocumentSource": document});
        read(json!({"queries": [{"type": "TEXT", "textQuery": {"text": "q"}}], "sources": [source],
            "rerankingConfiguration": {"type": kind, "bedrockRerankingConfiguration":
                {"modelConfiguration": fields(more)}}}))
    };
    let text = json!({"type": "TEXT", "textDocument": {"text": "a"}});
    let mut both = text.clone();
    both["jsonDocument"] = json!({"a": 1});
    for (document, more, named) in
        [(text, json!({"foo": 1}), "the field foo"), (both, json!({}), "jsonDocument can't be given")]
    {
        let error = world.retrieval.rerank(&world.context, rerank(document, more)).await.unwrap_err();
        assert!(error.code == "ValidationException" && error.message.contains(named), "{error}");
    }
}

/// Further fields of the model mean what they mean in Converse, and are held to the model's own.
#[tokio::test]
async fn further_fields_of_an_answer() {
    let world = world().await;
    world.fill_shop().await;
    let asked = |fields: Value| {
        let inference = json!({"textInferenceConfig": {"temperature": 0.5}});
        let generation = json!({"inferenceConfig": inference, "additionalModelRequestFields": fields});
        about("How long for enterprise returns?", json!({"generationConfiguration": generation}))
    };
    world.says("Within 45 days.");
    world.ask(asked(json!({"top_k": 7, "max_tokens": 50, "metadata": {"user_id": "u"}}))).await;
    let request = world.last_request();
    assert_eq!(request.sampling.top_k, Some(7));
    assert_eq!((request.sampling.max_tokens, request.sampling.temperature), (Some(50), Some(0.5)));
    assert_eq!(request.extra.keys().collect::<Vec<_>>(), ["metadata"]);
    let bytes = json!({"identifier": "a.txt", "contentType": "text/plain", "data": "aGk="});
    let external = |fields: Value| {
        json!({"input": {"text": "q"}, "retrieveAndGenerateConfiguration": {"type": "EXTERNAL_SOURCES",
            "externalSourcesConfiguration": {"modelArn": CLAUDE,
                "sources": [{"sourceType": "BYTE_CONTENT", "byteContent": bytes}],
                "generationConfiguration": {"additionalModelRequestFields": fields}}}})
    };
    let decomposed = |fields: Value| {
        about(
            "q",
            json!({"orchestrationConfiguration": {"additionalModelRequestFields": fields,
            "queryTransformationConfiguration": {"type": "QUERY_DECOMPOSITION"}}}),
        )
    };
    let unknown = "The model returned the following errors: banana: Extra inputs are not permitted";
    for (request, named) in [
        (asked(json!({"messages": []})), "messages conflicts"),
        (asked(json!({"temperature": 0.1})), "temperature conflicts"),
        (asked(json!({"top_k": "many"})), "top_k: "),
        (asked(json!({"banana": 1})), unknown),
        (external(json!({"banana": 1})), unknown),
        (decomposed(json!({"banana": 1})), unknown),
    ] {
        let refused = world.retrieval.retrieve_and_generate(&world.context, read(request)).await;
        let error = refused.unwrap_err();
        assert!(error.code == "ValidationException" && error.message.contains(named), "{error}");
    }
}

/// A model that thinks has room for that besides its answer, and samples as it was trained to.
#[tokio::test]
async fn thinking_leaves_an_answer_its_room() {
    let world = world().await;
    world.fill_shop().await;
    let fields = json!({"thinking": {"type": "enabled", "budget_tokens": 2000}});
    let generation = json!({"additionalModelRequestFields": fields});
    let thinking = "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-7-sonnet-20250219-v1:0";
    let more = json!({"modelArn": thinking, "generationConfiguration": generation});
    let asked = about("How long for enterprise returns?", more);
    world.says("Within 45 days.");
    let _ = world.retrieval.retrieve_and_generate(&world.context, read(asked)).await.unwrap();
    let request = world.last_request();
    assert_eq!(request.reasoning_budget_tokens, Some(2000));
    assert_eq!((request.sampling.max_tokens, request.sampling.temperature), (Some(3024), None));
}

#[tokio::test]
async fn empty_parts_of_texts() {
    let world = world().await;
    for operator in ["startsWith", "stringContains"] {
        let mut filter = json!({});
        filter[operator] = json!({"key": "k", "value": ""});
        let said = refused(&world, retrieval("q", json!({"filter": filter}))).await;
        assert!(said.contains("not empty"), "{said}");
    }
}

#[tokio::test]
async fn what_another_type_would_say() {
    let world = world().await;
    let bytes = json!({"identifier": "a.txt", "contentType": "text/plain", "data": "aGk="});
    let sources = |source: Value| json!({"modelArn": CLAUDE, "sources": [source]});
    let mut both = about("q", json!({}));
    both["retrieveAndGenerateConfiguration"]["externalSourcesConfiguration"] =
        sources(json!({"sourceType": "BYTE_CONTENT", "byteContent": bytes}));
    let external = |source: Value| {
        json!({"input": {"text": "q"}, "retrieveAndGenerateConfiguration":
            {"type": "EXTERNAL_SOURCES", "externalSourcesConfiguration": sources(source)}})
    };
    let two = json!({"sourceType": "S3", "s3Location": {"uri": "s3://b/k"}, "byteContent": bytes});
    for (request, named) in [
        (both, "externalSourcesConfiguration can't be given"),
        (external(two), "byteContent can't be given"),
        (external(json!({"sourceType": "S3"})), "s3Location is required"),
    ] {
        let answered = world.retrieval.retrieve_and_generate(&world.context, read(request)).await;
        let error = answered.unwrap_err();
        assert!(error.code == "ValidationException" && error.message.contains(named), "{error}");
    }
}

/// A conversation is the user's or the role's that began it, with whatever keys they come.
#[tokio::test]
async fn a_session_of_somebody_else() {
    let world = world().await;
    world.fill_shop().await;
    let user = |id: &str| Principal { user_id: id.into(), ..Principal::new("arn:aws:iam::1:x", "AK") };
    let session = |id: &str| {
        let session = craton_core::Session {
            kind: craton_core::SessionKind::AssumedRole,
            issuer_arn: String::new(),
            issuer_id: id.into(),
            name: "s".into(),
            policies: Vec::new(),
            policy_arns: Vec::new(),
            tags: BTreeMap::new(),
            transitive_tags: Vec::new(),
            source_identity: None,
            issued_ms: 0,
            expires_ms: i64::MAX,
        };
        Principal { session: Some(Arc::new(session)), ..user("AROA:other") }
    };
    let by =
        |principal: Principal| RequestContext { principal: Arc::new(principal), ..world.context.clone() };
    let question = |id: Option<&String>| {
        let mut question = about("How long for enterprise returns?", json!({}));
        if let Some(id) = id {
            question["sessionId"] = json!(id);
        }
        question
    };
    let ask = async |principal: Principal, id: Option<&String>| {
        let asked = world.retrieval.retrieve_and_generate(&by(principal), read(question(id))).await;
        asked.map(|answer| answer.session_id)
    };
    let began = ask(user("AIDA1"), None).await.unwrap();
    for own in [user("AIDA1"), session("AIDA1")] {
        assert_eq!(ask(own, Some(&began)).await.unwrap(), began);
    }
    for other in [user("AIDA2"), user(""), session("AROA1")] {
        let error = ask(other.clone(), Some(&began)).await.unwrap_err();
        assert!(error.code == "ValidationException" && error.message.contains("is not valid"), "{error}");
        let mut streamed = question(None);
        streamed["sessionId"] = json!(began);
        let stream = world.retrieval.retrieve_and_generate_stream(&by(other), read(streamed)).await;
        assert_eq!(stream.err().map(|error| error.code), Some("ValidationException".into()));
    }
}

#[tokio::test]
async fn a_session_keeps_its_key_and_its_subject() {
    let world = world().await;
    world.fill_shop().await;
    let key = |end: char| json!({ "kmsKeyArn": format!("arn:aws:kms:us-east-1:123456789012:key/{end}") });
    let ask = async |key: Option<Value>, id: Option<&String>| {
        world.says("Within 45 days.");
        let mut question = about("How long for enterprise returns?", json!({}));
        let more = [("sessionConfiguration", key), ("sessionId", id.map(|id| json!(id)))];
        more.into_iter().for_each(|(name, value)| question[name] = json!(value));
        let asked = world.retrieval.retrieve_and_generate(&world.context, read(question)).await;
        asked.map(|answer| answer.session_id)
    };
    let changed = |error: ApiError| {
        assert_eq!(error.code, "ValidationException");
        assert!(error.message.contains("cannot be modified for an ongoing session"), "{error}");
    };
    let locked = ask(Some(key('a')), None).await.unwrap();
    for same in [Some(key('a')), None] {
        assert_eq!(ask(same, Some(&locked)).await.unwrap(), locked);
    }
    changed(ask(Some(key('b')), Some(&locked)).await.unwrap_err());
    let open = ask(None, None).await.unwrap();
    changed(ask(Some(key('a')), Some(&open)).await.unwrap_err());
    assert_eq!(ask(None, Some(&open)).await.unwrap(), open);
    let of_sources = json!({
        "input": { "text": "How long?" },
        "sessionId": open,
        "retrieveAndGenerateConfiguration": {
            "type": "EXTERNAL_SOURCES",
            "externalSourcesConfiguration": {
                "modelArn": CLAUDE,
                "sources": [{ "sourceType": "BYTE_CONTENT", "byteContent": {
                    "identifier": "a.txt", "contentType": "text/plain", "data": "NDUgZGF5cw==" } }],
            },
        },
    });
    changed(world.retrieval.retrieve_and_generate(&world.context, read(of_sources)).await.unwrap_err());
}

/// An answer of white space alone is none, whole or streamed.
#[tokio::test]
async fn nothing_but_spaces() {
    let world = world().await;
    world.fill_shop().await;
    world.says("   ");
    let answer = world.ask(about("What?", json!({}))).await;
    assert_eq!((answer.output.text.as_str(), answer.citations.unwrap().len()), ("", 0));
    world.says("   ");
    let request = read(about("What?", json!({})));
    let streamed = world.retrieval.retrieve_and_generate_stream(&world.context, request).await.unwrap();
    assert_eq!(streamed.stream.collect::<Vec<_>>().await.len(), 0);
}
