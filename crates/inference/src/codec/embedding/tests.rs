use super::*;

fn read(family: Family, model_id: &str, body: &Value) -> Result<EmbedDecoded, ApiError> {
    decode(family, model_id, &serde_json::to_vec(body).unwrap())
}

fn answer(decoded: &EmbedDecoded, vectors: Vec<Vec<f32>>) -> Value {
    let input_tokens = vec![3; vectors.len()];
    serde_json::from_slice(&decoded.encode(&Embeddings { vectors, input_tokens }).unwrap()).unwrap()
}

#[test]
fn titan_v2_gives_the_width_and_types_asked_for() {
    let body = json!({"inputText": "hi", "dimensions": 256, "normalize": true, "embeddingTypes": ["binary", "float"]});
    let decoded = read(Family::TitanEmbedV2, "", &body).unwrap();
    assert_eq!(
        (decoded.request.texts.as_slice(), decoded.dimensions),
        (["hi".to_owned()].as_slice(), Some(256))
    );
    let body = answer(&decoded, vec![vec![0.6, -0.8]]);
    assert_eq!(body["embedding"].as_array().unwrap().len(), 256);
    assert_eq!(body["embeddingsByType"]["binary"].as_array().unwrap().len(), 256);
    assert_eq!(body["inputTextTokenCount"], 3);
    let binary =
        read(Family::TitanEmbedV2, "", &json!({"inputText": "hi", "embeddingTypes": ["binary"]})).unwrap();
    assert!(answer(&binary, vec![vec![1.0]]).get("embedding").is_none());
}

#[test]
fn titan_v2_keeps_the_models_length_when_told_not_to_normalise() {
    let vectors = [vec![1.8, -2.4], vec![0.3, 0.4]];
    for width in [256, 512, 1024] {
        let fitted = |vector: &Vec<f32>, normalize: Value| -> Vec<f32> {
            let mut body = json!({"inputText": "hi", "dimensions": width});
            if !normalize.is_null() {
                body["normalize"] = normalize;
            }
            let decoded = read(Family::TitanEmbedV2, "", &body).unwrap();
            assert_eq!(decoded.raw, body["normalize"] == false);
            serde_json::from_value(answer(&decoded, vec![vector.clone()])["embedding"].take()).unwrap()
        };
        for (vector, raw_length) in vectors.iter().zip([3.0, 0.5]) {
            let raw = fitted(vector, json!(false));
            assert!((length(&raw) - raw_length).abs() < 1e-4, "{width}: {}", length(&raw));
            for normalized in [fitted(vector, json!(true)), fitted(vector, Value::Null)] {
                assert!((length(&normalized) - 1.0).abs() < 1e-5);
                // The same direction.
                for (raw, unit) in raw.iter().zip(normalized) {
                    assert!((raw - unit * raw_length).abs() < 1e-5);
                }
            }
        }
    }
}

#[test]
fn wrong_titan_fields_are_named() {
    for (body, part) in [
        (json!({}), "#: required key [inputText] not found"),
        (json!({"inputText": ""}), "#/inputText: expected minLength: 1, actual: 0"),
        (json!({"inputText": "x", "dimensions": 300}), "#/dimensions: 300 is not a valid enum value"),
        (
            json!({"inputText": "x", "embeddingTypes": ["int8"]}),
            "#/embeddingTypes/0: int8 is not a valid enum value",
        ),
        (json!({"inputText": "x", "more": 1}), "#: extraneous key [more] is not permitted"),
        (json!({"inputText": "x".repeat(50_001)}), "#/inputText: expected maxLength: 50000, actual: 50001"),
    ] {
        let error = read(Family::TitanEmbedV2, "", &body).unwrap_err();
        assert!(error.message.contains(part), "{}", error.message);
    }
}

#[test]
fn cohere_answers_in_the_form_asked_for() {
    let body = json!({"texts": ["a", "b"], "input_type": "search_document"});
    let decoded = read(Family::CohereEmbed, "cohere.embed-english-v3", &body).unwrap();
    assert!(!decoded.request.truncate);
    let floats = answer(&decoded, vec![vec![1.0, 0.0], vec![0.0, 1.0]]);
    assert_eq!(floats["response_type"], "embeddings_floats");
    assert_eq!(floats["embeddings"], json!([[1.0, 0.0], [0.0, 1.0]]));
    assert_eq!(floats["texts"], json!(["a", "b"]));

    let body = json!({"texts": ["a"], "input_type": "search_query", "truncate": "END", "embedding_types": ["int8", "ubinary"]});
    let decoded = read(Family::CohereEmbed, "cohere.embed-english-v3", &body).unwrap();
    assert!(decoded.request.truncate);
    let typed = answer(&decoded, vec![vec![1.0, -1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]]);
    assert_eq!(typed["response_type"], "embeddings_by_type");
    assert_eq!(
        typed["embeddings"],
        json!({"int8": [[127, -127, 127, 127, 127, 127, 127, 127]], "ubinary": [[191]]})
    );
}

#[test]
fn cohere_v4_takes_widths_and_mixed_inputs() {
    let body = json!({"input_type": "search_query", "output_dimension": 512,
        "inputs": [{"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]});
    let decoded = read(Family::CohereEmbed, "us.cohere.embed-v4:0", &body).unwrap();
    assert_eq!((decoded.request.texts, decoded.dimensions), (vec!["a\nb".to_owned()], Some(512)));
    assert!(read(Family::CohereEmbed, "cohere.embed-english-v3", &body).is_err());
}

#[test]
fn cohere_fields_are_checked() {
    for (body, part) in [
        (json!({"texts": ["a"]}), "#: required key [input_type] not found"),
        (json!({"input_type": "search_query"}), "#: required key [texts] not found"),
        (json!({"texts": ["a"], "input_type": "other"}), "#/input_type: other is not a valid enum value"),
        (
            json!({"texts": [], "input_type": "search_query"}),
            "#/texts: expected minimum item count: 1, found: 0",
        ),
        (
            json!({"texts": vec!["a"; 97], "input_type": "search_query"}),
            "#/texts: expected maximum item count: 96, found: 97",
        ),
        (
            json!({"texts": ["a".repeat(2049)], "input_type": "search_query"}),
            "#/texts/0: expected maxLength: 2048, actual: 2049",
        ),
    ] {
        let error = read(Family::CohereEmbed, "cohere.embed-english-v3", &body).unwrap_err();
        assert!(error.message.contains(part), "{}", error.message);
    }
}

#[test]
fn nova_embeds_text() {
    let body = json!({"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": {
        "embeddingPurpose": "GENERIC_INDEX", "embeddingDimension": 384, "text": {"truncationMode": "END", "value": "hi"}}});
    let decoded = read(Family::NovaEmbed, "", &body).unwrap();
    assert!(decoded.request.truncate);
    let body = answer(&decoded, vec![vec![1.0, 0.0]]);
    assert_eq!(body["embeddings"][0]["embeddingType"], "TEXT");
    assert_eq!(body["embeddings"][0]["embedding"].as_array().unwrap().len(), 384);
}

#[test]
fn pictures_and_other_families_are_refused() {
    assert!(read(Family::TitanEmbedImage, "", &json!({"inputText": "x", "inputImage": "aGk="})).is_err());
    assert!(read(Family::Llama, "", &json!({"prompt": "x"})).is_err());
    let decoded = read(Family::TitanEmbedV1, "", &json!({"inputText": "x"})).unwrap();
    assert!(decoded.encode(&Embeddings::default()).is_err());
}
