//! What Anthropic refuses of a request that is well-formed, whichever format it came in: too many cache markers,
//! thinking together with what it excludes.

use craton_backend::{ChatRequest, ToolChoice};
use craton_models::{FoundationModel, Thinking};
use craton_wire::ApiError;
use serde_json::{Map, Value};

use super::super::reader::{Dialect, Node};
use super::Door;
use super::decode::read_output;
use super::encode::model_name;

/// Cache markers in a request.
const MAX_MARKERS: usize = 4;
/// Tokens.
pub(super) const THINKING_BUDGET_FLOOR: u32 = 1024;
/// Of `top_p` beside thinking.
const THINKING_TOP_P_FLOOR: f32 = 0.95;

const MAX_TOKENS_PAGE: &str =
    "https://docs.claude.com/en/docs/build-with-claude/extended-thinking#max-tokens-and-context-window-size";
const THINKING_PAGE: &str = "https://docs.claude.com/en/docs/build-with-claude/extended-thinking#important-considerations-when-using-extended-thinking";

/// More than four blocks with `cache_control`, in tools, system and messages together.
pub(super) fn check_markers(body: &Value) -> Result<(), ApiError> {
    let found = usize::from(is_marked(body))
        + ["tools", "system"].iter().map(|key| marked(body.get(key))).sum::<usize>()
        + items(body.get("messages")).map(|message| marked(message.get("content"))).sum::<usize>();
    match found > MAX_MARKERS {
        true => Err(too_many_markers(found)),
        false => Ok(()),
    }
}

pub(crate) fn too_many_markers(found: usize) -> ApiError {
    ApiError::validation(format!(
        "A maximum of {MAX_MARKERS} blocks with cache_control may be provided. Found {found}."
    ))
}

/// Blocks with a marker, those in the results of tools included.
fn marked(blocks: Option<&Value>) -> usize {
    items(blocks)
        .map(|block| {
            let inner = items(block.get("content")).filter(|part| is_marked(part)).count();
            usize::from(is_marked(block)) + inner
        })
        .sum()
}

fn items(list: Option<&Value>) -> impl Iterator<Item = &Value> {
    list.and_then(Value::as_array).into_iter().flatten()
}

fn is_marked(block: &Value) -> bool {
    block.get("cache_control").is_some_and(|marker| !marker.is_null())
}

/// Thinking leaves no room for other sampling than the model's own, and comes out of `max_tokens`.
pub(super) fn check_thinking(request: &ChatRequest) -> Result<(), ApiError> {
    let Some(budget) = request.reasoning_budget_tokens else { return Ok(()) };
    let refuse = |what: &str, page: &str| {
        Err(ApiError::validation(format!("{what}. Please consult our documentation at {page}")))
    };
    let sampling = &request.sampling;
    if budget < THINKING_BUDGET_FLOOR {
        return Err(ApiError::validation(format!(
            "thinking.enabled.budget_tokens: Input should be greater than or equal to {THINKING_BUDGET_FLOOR}"
        )));
    }
    if sampling.max_tokens.is_some_and(|most| most <= budget) {
        return refuse("`max_tokens` must be greater than `thinking.budget_tokens`", MAX_TOKENS_PAGE);
    }
    #[allow(clippy::float_cmp)] // Exactly the default, or nothing.
    if sampling.temperature.is_some_and(|temperature| temperature != 1.0) {
        return refuse("`temperature` may only be set to 1 when thinking is enabled", THINKING_PAGE);
    }
    if sampling.top_p.is_some_and(|top_p| top_p < THINKING_TOP_P_FLOOR) {
        let what = "`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled";
        return refuse(what, THINKING_PAGE);
    }
    if sampling.top_k.is_some() {
        return refuse("`top_k` must be unset when thinking is enabled", THINKING_PAGE);
    }
    match request.tool_choice {
        ToolChoice::Any | ToolChoice::Tool(_) => {
            Err(ApiError::validation("Thinking may not be enabled when tool_choice forces tool use."))
        }
        ToolChoice::Auto | ToolChoice::None => Ok(()),
    }
}

/// A model that can't think, or not in the way that is asked for.
pub(crate) fn check_model(model: &FoundationModel, request: &ChatRequest) -> Result<(), ApiError> {
    let adaptive = request.extra.get("thinking").is_some_and(|thinking| thinking["type"] == "adaptive");
    let asked = match (request.reasoning_budget_tokens, adaptive) {
        (Some(_), _) => Thinking::Enabled,
        (None, true) => Thinking::Adaptive,
        (None, false) => return Ok(()),
    };
    let Some(known) = model.thinking.as_deref().filter(|known| !known.contains(&asked)) else {
        return Ok(());
    };
    Err(ApiError::validation(match asked {
        _ if known.is_empty() => {
            format!("'{}' does not support thinking.", model_name(&model.id, Door::Bedrock))
        }
        Thinking::Adaptive => "adaptive thinking is not supported on this model".to_owned(),
        Thinking::Enabled => {
            "\"thinking.type.enabled\" is not supported for this model. Use \"thinking.type.adaptive\" \
                              and \"output_config.effort\" to control thinking behavior."
                .to_owned()
        }
    }))
}

/// Reads what Converse's additional fields say in the words of a Messages body, and holds the request to the rules of
/// one.
pub(crate) fn read_converse_fields(request: &mut ChatRequest) -> Result<(), ApiError> {
    let taken = ["output_config", "output_format"]
        .into_iter()
        .filter_map(|key| request.extra.shift_remove(key).map(|value| (key.to_owned(), value)));
    let body = Value::Object(taken.collect::<Map<_, _>>());
    let body = Node::root(&body, Dialect::Anthropic).open_object(&[])?;
    let mut said = ChatRequest::default();
    read_output(&body, &mut said)?;
    if said.effort.is_some() && request.effort.is_some()
        || said.response_schema.is_some() && request.response_schema.is_some()
    {
        return Err(body.node().refuse("output_config says what the request's outputConfig says already"));
    }
    request.effort = said.effort.or(request.effort);
    request.response_schema = said.response_schema.or(request.response_schema.take());
    request.extra.extend(said.extra);
    check_thinking(request)
}

#[cfg(test)]
mod tests {
    use craton_backend::{Effort, Sampling};
    use serde_json::json;

    use super::*;

    #[test]
    fn markers_are_counted_wherever_they_are() {
        let mark = |mut block: Value| {
            block["cache_control"] = json!({"type": "ephemeral"});
            block
        };
        let body = |further: Value| {
            json!({
                "tools": [mark(json!({"name": "t", "input_schema": {"properties": {"cache_control": {}}}}))],
                "system": [mark(json!({"text": "s"})), {"text": "s", "cache_control": null}],
                "messages": [
                    {"content": "plain"},
                    {"content": [mark(json!({"content": [mark(json!({"text": "r"}))]})), further]},
                ],
            })
        };
        assert!(check_markers(&body(json!({"text": "x"}))).is_ok());
        let refused = check_markers(&body(mark(json!({"text": "x"})))).unwrap_err();
        assert_eq!(refused.message, "A maximum of 4 blocks with cache_control may be provided. Found 5.");
        assert!(check_markers(&mark(body(json!({})))).is_err());
    }

    #[test]
    fn thinking_excludes_other_sampling() {
        let thinking = |budget, sampling, tool_choice| {
            let reasoning_budget_tokens = Some(budget);
            let request =
                ChatRequest { reasoning_budget_tokens, sampling, tool_choice, ..ChatRequest::default() };
            check_thinking(&request).map_err(|error| error.message)
        };
        let with = |set: fn(&mut Sampling)| {
            let mut sampling = Sampling::default();
            set(&mut sampling);
            thinking(2000, sampling, ToolChoice::Auto)
        };
        let fine = with(|sampling| {
            (sampling.max_tokens, sampling.temperature, sampling.top_p) = (Some(2001), Some(1.0), Some(0.95));
        });
        assert_eq!(fine, Ok(()));
        let refused = [
            (with(|sampling| sampling.max_tokens = Some(2000)), "`max_tokens` must be greater than"),
            (with(|sampling| sampling.temperature = Some(0.5)), "`temperature` may only be set to 1"),
            (with(|sampling| sampling.top_p = Some(0.9)), "`top_p` must be greater than or equal to 0.95"),
            (with(|sampling| sampling.top_k = Some(5)), "`top_k` must be unset"),
            (thinking(2000, Sampling::default(), ToolChoice::Any), "Thinking may not be enabled when"),
            (thinking(1000, Sampling::default(), ToolChoice::Auto), "thinking.enabled.budget_tokens: "),
        ];
        for (refused, words) in refused {
            let message = refused.unwrap_err();
            assert!(message.starts_with(words), "{message}");
        }
    }

    #[test]
    fn converse_says_effort_and_form_as_a_messages_body_does() {
        let mut request = ChatRequest::default();
        let format = json!({"type": "json_schema", "schema": {"type": "object"}});
        request.extra.insert("output_config".into(), json!({"effort": "low", "format": format}));
        read_converse_fields(&mut request).unwrap();
        assert_eq!(request.effort, Some(Effort::Low));
        assert_eq!(request.response_schema.as_ref().unwrap().schema, json!({"type": "object"}));
        assert!(request.extra.is_empty());
        request.extra.insert("output_config".into(), json!({"effort": "high"}));
        let twice = read_converse_fields(&mut request).unwrap_err();
        assert!(twice.message.contains("outputConfig"), "{}", twice.message);
        request.extra = Map::from_iter([("output_config".to_owned(), json!({"effort": "odd"}))]);
        assert!(read_converse_fields(&mut request).is_err());
    }
}
