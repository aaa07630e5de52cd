//! What an agent can do, as tools that a model may call.
//!
//! Names are as AWS's prompts have them, so that parser functions written for those go on working: `GROUP__FUNCTION`,
//! `VERB__GROUP__OPERATION`, `GET__x_amz_knowledgebase_ID__Search`, `user__askuser`, `get__codeinterpreteraction__execute`
//! and `AgentCommunication__sendMessage`. Where that makes a name that models don't accept, it is cut to fit.

use std::collections::{BTreeSet, HashMap};

use craton_backend::{Block, Message, Tool};
use serde_json::{Map, Value, json};

use super::arguments::InputCheck;
use crate::definition::{
    ActionGroupKind, Actions, AgentDefinition, ApiAction, Executor, FunctionAction, KnowledgeBaseUse,
};

/// Longest name that models accept.
const MOST_NAME: usize = 64;
pub(super) const ASK_USER: &str = "user__askuser";
pub(super) const INTERPRET: &str = "get__codeinterpreteraction__execute";
pub(super) const SEND_MESSAGE: &str = "AgentCommunication__sendMessage";
/// The name under which a body that is no object is passed.
pub(super) const WHOLE_BODY: &str = "requestBody";

/// What calling a tool does.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Does {
    Action(Box<Action>),
    Lookup(KnowledgeBaseUse),
    AskUser,
    Interpret,
    Collaborate,
}

/// An action and who carries it out.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Action {
    pub group: String,
    pub executor: Executor,
    pub shape: ActionShape,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum ActionShape {
    Api(ApiAction),
    Function(FunctionAction),
}

impl Action {
    pub(super) fn needs_confirmation(&self) -> bool {
        match &self.shape {
            ActionShape::Api(api) => api.require_confirmation,
            ActionShape::Function(function) => function.require_confirmation,
        }
    }

    /// The function's name or the operation's id.
    pub(super) fn function(&self) -> &str {
        match &self.shape {
            ActionShape::Api(api) => &api.operation_id,
            ActionShape::Function(function) => &function.name,
        }
    }
}

/// An agent's tools by name, in the order of its definition.
#[derive(Debug, Default)]
pub(crate) struct Toolbox {
    tools: Vec<Tool>,
    entries: HashMap<String, Entry>,
}

/// What a tool does, and what it is called with.
pub(super) type Checked<'t> = (&'t Does, Map<String, Value>);

/// What is behind a tool.
#[derive(Debug)]
struct Entry {
    does: Does,
    /// Its place among the tools.
    at: usize,
    check: InputCheck,
}

impl Toolbox {
    pub(crate) fn of(agent: &AgentDefinition) -> Self {
        let mut toolbox = Self::default();
        for group in &agent.action_groups {
            match &group.kind {
                ActionGroupKind::Actions { executor, actions } => {
                    toolbox.add_actions(&group.name, group.description.as_deref(), executor, actions);
                }
                ActionGroupKind::UserInput => toolbox.add_ask_user(),
                ActionGroupKind::CodeInterpreter => toolbox.add_interpreter(),
            }
        }
        for base in &agent.knowledge_bases {
            toolbox.add_lookup(base);
        }
        if !agent.collaborators.is_empty() {
            toolbox.add_collaborators(agent);
        }
        toolbox
    }

    pub(super) fn tools(&self) -> &[Tool] {
        &self.tools
    }

    pub(super) fn find(&self, name: &str) -> Option<&Does> {
        self.entries.get(name).map(|entry| &entry.does)
    }

    /// What a tool does, with its checked input or what is wrong with it.
    pub(super) fn checked(&self, name: &str, input: &Value) -> Option<Result<Checked<'_>, String>> {
        let Entry { does, at, check } = self.entries.get(name)?;
        Some(check.check(&self.tools[*at].input_schema, input).map(|input| (does, input)))
    }

    pub(super) fn has(&self, wanted: impl Fn(&Does) -> bool) -> bool {
        self.entries.values().any(|entry| wanted(&entry.does))
    }

    /// The tool of an action, by what a parser function or a returned result calls it.
    pub(super) fn action_named(&self, group: &str, is: impl Fn(&Action) -> bool) -> Option<(&str, &Action)> {
        self.entries.iter().find_map(|(name, entry)| match &entry.does {
            Does::Action(action) if action.group == group && is(action) => Some((name.as_str(), &**action)),
            _ => None,
        })
    }

    fn add_actions(&mut self, group: &str, about: Option<&str>, executor: &Executor, actions: &Actions) {
        let shapes: Vec<ActionShape> = match actions {
            Actions::Api(actions) => actions.iter().cloned().map(ActionShape::Api).collect(),
            Actions::Functions(actions) => actions.iter().cloned().map(ActionShape::Function).collect(),
        };
        for shape in shapes {
            let (name, described, schema) = match &shape {
                ActionShape::Api(api) => {
                    let name = format!("{}__{group}__{}", api.method, api.operation_id);
                    (name, api.description.clone(), api_schema(api))
                }
                ActionShape::Function(function) => {
                    let name = format!("{group}__{}", function.name);
                    (name, function.description.clone(), function_schema(function))
                }
            };
            let described = match (described.trim(), about.map(str::trim).filter(|about| !about.is_empty())) {
                ("", Some(about)) => about.to_owned(),
                (described, _) => described.to_owned(),
            };
            let action = Action { group: group.to_owned(), executor: executor.clone(), shape };
            self.add(&name, described, schema, Does::Action(Box::new(action)));
        }
    }

    fn add_lookup(&mut self, base: &KnowledgeBaseUse) {
        let name = format!("GET__x_amz_knowledgebase_{}__Search", base.id);
        let schema = json!({
            "type": "object",
            "properties": { "searchQuery": {
                "type": "string",
                "description": "What to look for, as a question or a phrase that stands for itself.",
            } },
            "required": ["searchQuery"],
        });
        let described = format!("Searches a knowledge base. {}", base.description);
        self.add(&name, described, schema, Does::Lookup(base.clone()));
    }

    fn add_ask_user(&mut self) {
        let schema = json!({
            "type": "object",
            "properties": { "question": { "type": "string", "description": "What to ask the user." } },
            "required": ["question"],
        });
        let described = "Asks the user for what is missing to carry out a request.".to_owned();
        self.add(ASK_USER, described, schema, Does::AskUser);
    }

    fn add_interpreter(&mut self) {
        let schema = json!({
            "type": "object",
            "properties": { "code": {
                "type": "string",
                "description": "Python code. What it prints is its result; files it writes into the current folder go to the user.",
            } },
            "required": ["code"],
        });
        let described = "Runs Python code without network access, and gives back what it prints.".to_owned();
        self.add(INTERPRET, described, schema, Does::Interpret);
    }

    fn add_collaborators(&mut self, agent: &AgentDefinition) {
        let names: Vec<&str> = agent.collaborators.iter().map(|it| it.name.as_str()).collect();
        let schema = json!({
            "type": "object",
            "properties": {
                "recipient": { "type": "string", "enum": names, "description": "The agent that gets the message." },
                "content": { "type": "string", "description": "What it should do or find out, with all that it needs to know." },
            },
            "required": ["recipient", "content"],
        });
        let mut described = "Hands work to another agent and gives back its answer. The agents:".to_owned();
        for collaborator in &agent.collaborators {
            described.push_str(&format!("\n{}: {}", collaborator.name, collaborator.instruction.trim()));
        }
        self.add(SEND_MESSAGE, described, schema, Does::Collaborate);
    }

    fn add(&mut self, name: &str, described: String, input_schema: Value, does: Does) {
        let name = self.free_name(name);
        let description = (!described.trim().is_empty()).then_some(described);
        let entry = Entry { does, at: self.tools.len(), check: InputCheck::default() };
        self.tools.push(Tool { name: name.clone(), description, input_schema, strict: false });
        self.entries.insert(name, entry);
    }

    /// The name in characters that models accept; its end is what tells it apart, so its beginning is cut.
    fn free_name(&self, name: &str) -> String {
        let fits = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' };
        let mut clean: String = name.chars().map(fits).collect();
        if clean.len() > MOST_NAME {
            clean = clean[clean.len() - MOST_NAME..].to_owned();
        }
        let mut candidate = clean.clone();
        let mut number = 1;
        while self.entries.contains_key(&candidate) {
            number += 1;
            let suffix = format!("_{number}");
            let keep = clean.len().min(MOST_NAME - suffix.len());
            candidate = format!("{}{suffix}", &clean[..keep]);
        }
        candidate
    }
}

fn function_schema(function: &FunctionAction) -> Value {
    let mut properties = Map::new();
    for (name, parameter) in &function.parameters {
        let mut schema = match parameter.kind.as_str() {
            "array" => json!({ "type": "array", "items": {} }),
            kind => json!({ "type": kind }),
        };
        describe(&mut schema, &parameter.description);
        properties.insert(name.clone(), schema);
    }
    let required: Vec<&String> =
        function.parameters.iter().filter(|(_, it)| it.required).map(|(name, _)| name).collect();
    object(properties, &required)
}

/// Parameters and the body's properties side by side, as AWS shows them to its models.
fn api_schema(api: &ApiAction) -> Value {
    let mut properties = Map::new();
    let mut required: Vec<String> = Vec::new();
    for parameter in &api.parameters {
        let mut schema = parameter.schema.clone();
        describe(&mut schema, &parameter.description);
        properties.insert(parameter.name.clone(), schema);
        if parameter.required {
            required.push(parameter.name.clone());
        }
    }
    if let Some((_, body)) = body_of(api) {
        for (name, field) in fields(body, &properties.keys().cloned().collect::<Vec<_>>()) {
            if api.body_required && field.required {
                required.push(name.clone());
            }
            properties.insert(name, field.schema);
        }
    }
    object(properties, &required.iter().collect::<Vec<_>>())
}

fn object(properties: Map<String, Value>, required: &[&String]) -> Value {
    let mut schema = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn describe(schema: &mut Value, description: &str) {
    if let Some(schema) = schema.as_object_mut()
        && !description.trim().is_empty()
    {
        schema.insert("description".to_owned(), description.into());
    }
}

/// The body's content type and schema: JSON where there is a choice.
pub(super) fn body_of(api: &ApiAction) -> Option<(&str, &Value)> {
    let json = api.body.iter().find(|(kind, _)| kind.contains("json"));
    json.or_else(|| api.body.iter().next()).map(|(kind, schema)| (kind.as_str(), schema))
}

/// A property of a body under the name that a tool has for it.
pub(super) struct Field {
    /// The property's own name; none where the field is the whole body.
    pub property: Option<String>,
    pub schema: Value,
    pub required: bool,
}

/// The fields of a body, by names that no parameter has.
pub(super) fn fields(body: &Value, taken: &[String]) -> Vec<(String, Field)> {
    let Some(properties) = body.get("properties").and_then(Value::as_object).filter(|it| !it.is_empty())
    else {
        let field = Field { property: None, schema: body.clone(), required: true };
        return vec![(WHOLE_BODY.to_owned(), field)];
    };
    let listed = body.get("required").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let named = properties.iter().map(|(name, schema)| {
        let free = if taken.contains(name) { format!("{WHOLE_BODY}_{name}") } else { name.clone() };
        let required = listed.iter().any(|it| it == name.as_str());
        (free, Field { property: Some(name.clone()), schema: schema.clone(), required })
    });
    named.collect()
}

/// A type's name as Lambda events and traces give it.
pub(super) fn type_name(schema: &Value) -> String {
    let of = |value: &Value| value.as_str().filter(|name| *name != "null").map(str::to_owned);
    let named = schema.get("type").and_then(|kind| match kind {
        Value::Array(kinds) => kinds.iter().find_map(of),
        kind => of(kind),
    });
    named.unwrap_or_else(|| {
        if schema.get("properties").is_some() { "object".to_owned() } else { "string".to_owned() }
    })
}

/// The tools that a conversation speaks of, by their names alone.
pub(super) fn called(messages: &[Message]) -> Vec<Tool> {
    let names: BTreeSet<&str> = messages
        .iter()
        .flat_map(|message| &message.content)
        .filter_map(|block| if let Block::ToolUse(call) = block { Some(call.name.as_str()) } else { None })
        .collect();
    let tool = |name: &str| Tool {
        name: name.to_owned(),
        description: Some("Is not there any more.".to_owned()),
        input_schema: json!({ "type": "object" }),
        strict: false,
    };
    names.into_iter().map(tool).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::definition::{ActionGroup, ApiParameter, FunctionParameter};

    fn api() -> ApiAction {
        ApiAction {
            operation_id: "cancel/order".into(),
            path: "/orders/{id}".into(),
            method: "POST".into(),
            description: String::new(),
            parameters: vec![ApiParameter {
                name: "id".into(),
                description: "The order".into(),
                required: true,
                schema: json!({ "type": "string" }),
            }],
            body: BTreeMap::from([(
                "application/json".to_owned(),
                json!({ "type": "object", "properties": { "id": { "type": "integer" }, "reason": { "type": "string" } },
                        "required": ["reason"] }),
            )]),
            body_required: true,
            require_confirmation: false,
        }
    }

    fn agent(actions: Actions) -> AgentDefinition {
        AgentDefinition {
            action_groups: vec![ActionGroup {
                id: "G".into(),
                name: "order-operations".into(),
                description: Some("Orders".into()),
                kind: ActionGroupKind::Actions { executor: Executor::ReturnControl, actions },
            }],
            ..AgentDefinition::default()
        }
    }

    #[test]
    fn an_operation_is_one_flat_object() {
        let toolbox = Toolbox::of(&agent(Actions::Api(vec![api()])));
        let tool = &toolbox.tools()[0];
        assert_eq!(tool.name, "POST__order-operations__cancel_order");
        assert_eq!(tool.description.as_deref(), Some("Orders"));
        assert_eq!(
            tool.input_schema,
            json!({ "type": "object", "properties": {
                "id": { "type": "string", "description": "The order" },
                "reason": { "type": "string" },
                "requestBody_id": { "type": "integer" },
            }, "required": ["id", "reason"] })
        );
    }

    #[test]
    fn names_fit_and_differ() {
        let function = |name: &str| FunctionAction {
            name: name.into(),
            description: String::new(),
            parameters: BTreeMap::from([(
                "n".to_owned(),
                FunctionParameter { kind: "integer".into(), description: String::new(), required: true },
            )]),
            require_confirmation: false,
        };
        let long = "f".repeat(90);
        let functions = vec![function(&long), function(&format!("{long}f")), function("a b")];
        let toolbox = Toolbox::of(&agent(Actions::Functions(functions)));
        let names: Vec<&str> = toolbox.tools().iter().map(|tool| tool.name.as_str()).collect();
        assert!(names.iter().all(|name| name.len() <= MOST_NAME), "{names:?}");
        assert_ne!(names[0], names[1]);
        assert_eq!(names[2], "order-operations__a_b");
    }
}
