//! The generated tables: that they hold together, and that routing finds every operation of them.

use craton_wire::route::{RouteError, Router, template_segments};
use craton_wire::table::{Location, Member, Operation, ServiceTable, Shape, ShapeId};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;

pub(crate) const TABLES: [&ServiceTable; 4] = [
    &craton_api_bedrock::SERVICE,
    &craton_api_bedrock_runtime::SERVICE,
    &craton_api_bedrock_agent::SERVICE,
    &craton_api_bedrock_agent_runtime::SERVICE,
];

const NEIGHBOURS: [&ServiceTable; 4] = [
    &craton_api_sts::SERVICE,
    &craton_api_iam::SERVICE,
    &craton_api_lambda::SERVICE,
    &craton_api_opensearchserverless::SERVICE,
];

pub(crate) fn all_tables() -> Vec<&'static ServiceTable> {
    TABLES.into_iter().chain(NEIGHBOURS).collect()
}

/// What boto3 and `encodeURIComponent` leave as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What clients do that leave colons bare.
const BARE_COLONS: &AsciiSet = &UNRESERVED.remove(b':');

fn operations() -> impl Iterator<Item = (&'static ServiceTable, &'static Operation)> {
    TABLES.into_iter().flat_map(|table| table.operations.iter().map(move |operation| (table, operation)))
}

fn label_names(operation: &'static Operation) -> Vec<&'static str> {
    template_segments(operation.uri).filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect()
}

#[test]
fn the_four_services_have_240_operations() {
    assert_eq!(TABLES.map(|table| table.operations.len()), [108, 11, 86, 35]);
    assert!(TABLES.iter().all(|table| table.signing_name == "bedrock"));
    let neighbours = NEIGHBOURS.map(|table| (table.signing_name, table.operations.len()));
    assert_eq!(neighbours, [("sts", 11), ("iam", 180), ("lambda", 89), ("aoss", 54)]);
}

#[test]
fn names_are_sorted_and_found() {
    for table in all_tables() {
        assert!(table.operations.is_sorted_by_key(|operation| operation.name), "{}", table.name);
        assert!(table.errors.is_sorted_by_key(|(name, _)| *name), "{}", table.name);
        for operation in table.operations {
            assert_eq!(table.operation(operation.name).map(|found| found.name), Some(operation.name));
            for error in operation.errors {
                assert!(
                    table.error_status(error).is_some_and(|status| (400..600).contains(&status)),
                    "{error}"
                );
            }
        }
    }
    assert_eq!(craton_api_bedrock::SERVICE.error_status("ConflictException"), Some(400));
    assert_eq!(craton_api_bedrock_agent::SERVICE.error_status("ConflictException"), Some(409));
    assert_eq!(craton_api_bedrock_runtime::SERVICE.error_status("ModelNotReadyException"), Some(429));
    assert_eq!(craton_api_bedrock_agent_runtime::SERVICE.error_status("ModelNotReadyException"), Some(424));
}

#[test]
fn templates_and_members_agree() {
    let all = all_tables().into_iter().flat_map(|table| table.operations.iter().map(move |one| (table, one)));
    for (table, operation) in all {
        let at = format!("{}.{}", table.name, operation.name);
        assert!(operation.uri.starts_with('/') && !operation.uri.contains('?'), "{at}");
        assert!((200..300).contains(&operation.status), "{at}");
        let members = table.input_members(operation);
        if operation.input.is_none() {
            continue; // no types, no members
        }
        let mut labels: Vec<_> = members
            .iter()
            .filter_map(|member| match member.location {
                Location::Label(name) => Some((name, member.required)),
                _ => None,
            })
            .collect();
        labels.sort_unstable();
        let mut expected: Vec<_> = label_names(operation).into_iter().map(|name| (name, true)).collect();
        expected.sort_unstable();
        assert_eq!(labels, expected, "{at}: every label is a required member");
        let payload = members.iter().find(|member| member.location == Location::Payload);
        assert_eq!(payload.map(|member| member.name), operation.payload, "{at}");
        for member in members {
            if let Location::Header(name) = member.location {
                assert_eq!(name, name.to_ascii_lowercase(), "{at}");
            }
        }
    }
}

fn members(shape: &'static Shape) -> &'static [Member] {
    match shape {
        Shape::Structure { members } | Shape::Union { members, .. } => members,
        _ => &[],
    }
}

#[test]
fn shapes_exist_and_every_pattern_can_be_checked() {
    let mut patterns = 0;
    for table in all_tables() {
        let exists = |id: ShapeId| usize::from(id.0) < table.shapes.len();
        for shape in table.shapes {
            assert!(members(shape).iter().all(|member| exists(member.shape)), "{}", table.name);
            match shape {
                Shape::List { member, .. } => assert!(exists(*member)),
                Shape::Map { key, value, .. } => assert!(exists(*key) && exists(*value)),
                Shape::String { pattern: Some(pattern), .. } => {
                    assert!(pattern.is_supported(), "{}: {}", table.name, pattern.source());
                    patterns += 1;
                }
                _ => {}
            }
        }
        assert!(
            table.operations.iter().filter_map(|operation| operation.input).all(exists),
            "{}",
            table.name
        );
    }
    assert!(patterns > 250, "{patterns}");
}

#[test]
fn tags_go_to_the_service_of_the_resource() {
    let router = Router::new(&TABLES);
    let route = |arn: &str| {
        let path = format!("/tags/{}", utf8_percent_encode(arn, UNRESERVED));
        router.route("GET", &path).map(|found| found.table.name).unwrap()
    };
    assert_eq!(route("arn:aws:bedrock:us-east-1:123456789012:agent/ABCDEFGHIJ"), "bedrock-agent");
    assert_eq!(route("arn:aws:bedrock:us-east-1:123456789012:prompt/ABCDEFGHIJ:1"), "bedrock-agent");
    let session = "arn:aws:bedrock:us-east-1:123456789012:session/01234567-89ab-cdef-0123-456789abcdef";
    assert_eq!(route(session), "bedrock-agent-runtime");
}

#[test]
fn a_bare_arn_is_read_where_it_can_only_mean_one_thing() {
    let router = Router::new(&TABLES);
    let route = |method: &str, path: &str| {
        router.route(method, path).map(|found| (found.operation.name, found.labels))
    };
    let model = "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0";
    for (suffix, name) in [
        ("converse", "Converse"),
        ("converse-stream", "ConverseStream"),
        ("invoke", "InvokeModel"),
        ("invoke-with-response-stream", "InvokeModelWithResponseStream"),
        ("count-tokens", "CountTokens"),
    ] {
        let found = route("POST", &format!("/model/{model}/{suffix}"));
        assert_eq!(found, Ok((name, vec![("modelId", model.to_owned())])));
    }
    let profile = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude";
    let found = route("GET", &format!("/inference-profiles/{profile}"));
    assert_eq!(found, Ok(("GetInferenceProfile", vec![("inferenceProfileIdentifier", profile.to_owned())])));
    assert_eq!(route("POST", &format!("/model/{model}/dance")), Err(RouteError::UnknownPath));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the labels are, building a path as clients do and routing it gives them back.
    #[test]
    fn every_operation_survives_build_route_decode(values in proptest::collection::vec("\\PC{1,24}", 4), colons: bool) {
        let router = Router::new(&TABLES);
        let keep = if colons { BARE_COLONS } else { UNRESERVED };
        for (table, operation) in operations() {
            let names = label_names(operation);
            // A label that spells a literal of another operation's template is that operation.
            let expected: Vec<_> = names.into_iter().zip(values.iter().map(|value| format!("{value}~"))).collect();
            let mut labels = expected.iter();
            let path: String = template_segments(operation.uri)
                .map(|part| match part.starts_with('{') {
                    true => format!("/{}", utf8_percent_encode(&labels.next().unwrap().1, keep)),
                    false => format!("/{part}"),
                })
                .collect();
            let found = router.route(operation.method.as_str(), &path).unwrap();
            prop_assert_eq!(found.operation.name, operation.name, "{} {}", table.name, path);
            prop_assert_eq!(found.operation.uri, operation.uri);
            prop_assert_eq!(found.labels, expected);
        }
    }
}

proptest! {
    /// Paths made of pieces that mean something, and of anything at all.
    #[test]
    fn no_path_panics(
        pieces in proptest::collection::vec(
            prop_oneof![
                Just("model"), Just("agents"), Just("tags"), Just(""), Just("arn:aws:x:y/z"), Just("%2F"), Just("%ff"),
                Just("arn%3Aa"), Just("converse"), Just("%"), Just("knowledgebases"), Just("."),
            ],
            0..12,
        ),
        anything in ".*",
        method in "GET|POST|PUT|DELETE|PATCH|[A-Z]{0,9}",
    ) {
        let router = Router::new(&TABLES);
        for path in [format!("/{}", pieces.join("/")), anything.clone(), format!("/{anything}")] {
            if let Ok(found) = router.route(&method, &path) {
                prop_assert!(found.labels.iter().all(|(name, _)| found.operation.uri.contains(name)));
            }
        }
    }
}
