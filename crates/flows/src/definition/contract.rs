//! Which inputs and outputs a kind of node has, as AWS documents them.

use std::collections::BTreeSet;

use craton_api_bedrock_agent as api;
use craton_api_bedrock_agent::{
    FlowNode, FlowNodeConfiguration as Configuration, FlowNodeIODataType, FlowNodeType,
};

/// An input or output with a name of its own.
pub(super) struct Port {
    pub name: String,
    /// None: any.
    pub data_type: Option<FlowNodeIODataType>,
    pub required: bool,
}

/// One side of a node.
#[derive(Default)]
pub(super) struct Ports {
    pub known: Vec<Port>,
    /// Others may be there too, under any name.
    pub open: bool,
}

impl Ports {
    fn any() -> Self {
        Self { known: Vec::new(), open: true }
    }

    fn with(mut self, name: &str, data_type: Option<FlowNodeIODataType>) -> Self {
        self.known.push(Port { name: name.to_owned(), data_type, required: true });
        self
    }

    fn maybe(mut self, name: &str, data_type: Option<FlowNodeIODataType>) -> Self {
        self.known.push(Port { name: name.to_owned(), data_type, required: false });
        self
    }

    pub(super) fn find(&self, name: &str) -> Option<&Port> {
        self.known.iter().find(|port| port.name == name)
    }
}

#[derive(Default)]
pub(super) struct Contract {
    pub inputs: Ports,
    pub outputs: Ports,
}

pub(super) fn of(node: &FlowNode) -> Contract {
    use FlowNodeIODataType::{Array, Number, Object, String};
    let none = Ports::default;
    let (inputs, outputs) = match node.r#type {
        FlowNodeType::Input => (none(), none().with("document", None)),
        FlowNodeType::Output => (none().with("document", None), none()),
        FlowNodeType::Condition => (Ports::any(), none()),
        FlowNodeType::Iterator => (
            none().with("array", Some(Array)),
            none().with("arrayItem", None).with("arraySize", Some(Number)),
        ),
        FlowNodeType::Collector => (
            none().with("arrayItem", None).with("arraySize", Some(Number)),
            none().with("collectedArray", Some(Array)),
        ),
        FlowNodeType::Prompt => (variables(node), none().with("modelCompletion", Some(String))),
        FlowNodeType::KnowledgeBase => {
            let output = if generates(node) {
                none().with("outputText", Some(String))
            } else {
                none().with("retrievalResults", Some(Array))
            };
            (none().with("retrievalQuery", Some(String)), output)
        }
        FlowNodeType::Storage => {
            (none().with("content", None).with("objectKey", Some(String)), none().with("s3Uri", Some(String)))
        }
        FlowNodeType::Retrieval => (none().with("objectKey", Some(String)), none().with("s3Content", None)),
        FlowNodeType::LambdaFunction => (Ports::any(), none().with("functionResponse", None)),
        FlowNodeType::InlineCode => (Ports::any(), none().with("response", None)),
        FlowNodeType::Agent => (
            none()
                .with("agentInputText", None)
                .maybe("promptAttributes", Some(Object))
                .maybe("sessionAttributes", Some(Object)),
            none().with("agentResponse", Some(String)),
        ),
        FlowNodeType::Lex => (
            none()
                .with("inputText", None)
                .maybe("requestAttributes", Some(Object))
                .maybe("sessionAttributes", Some(Object)),
            none().with("predictedIntent", Some(String)),
        ),
        // What a loop takes in and gives out is said by the nodes within it.
        FlowNodeType::Loop => (Ports::any(), Ports::any()),
        FlowNodeType::LoopInput => (Ports::any(), Ports::any()),
        FlowNodeType::LoopController => (Ports::any(), none()),
    };
    Contract { inputs, outputs }
}

/// Whether a knowledge base's passages go to a model.
pub(super) fn generates(node: &FlowNode) -> bool {
    matches!(
        &node.configuration,
        Some(Configuration::KnowledgeBase(base)) if base.model_id.as_deref().is_some_and(|id| !id.is_empty())
    )
}

/// An inline prompt's variables are its node's inputs; a stored prompt's are compared when it is looked up.
fn variables(node: &FlowNode) -> Ports {
    let Some(Configuration::Prompt(prompt)) = &node.configuration else { return Ports::any() };
    let api::PromptFlowNodeSourceConfiguration::Inline(inline) = &prompt.source_configuration else {
        return Ports::any();
    };
    let names: BTreeSet<&str> = craton_prompts::variables(&inline.template_configuration);
    required(names)
}

/// Inputs of these names and no others, of any type.
pub(super) fn required<'n>(names: impl IntoIterator<Item = &'n str>) -> Ports {
    names.into_iter().fold(Ports::default(), |ports, name| ports.with(name, None))
}

/// Whether a node has the configuration of its type, with nothing left empty that it can't do without.
pub(super) fn is_configured(node: &FlowNode) -> bool {
    use FlowNodeType as Type;
    let Some(configuration) = &node.configuration else { return false };
    match (node.r#type, configuration) {
        (Type::Input, Configuration::Input(_))
        | (Type::Output, Configuration::Output(_))
        | (Type::Iterator, Configuration::Iterator(_))
        | (Type::Collector, Configuration::Collector(_))
        | (Type::LoopInput, Configuration::LoopInput(_))
        | (Type::LoopController, Configuration::LoopController(_))
        | (Type::Loop, Configuration::Loop(_)) => true,
        (Type::Condition, Configuration::Condition(condition)) => !condition.conditions.is_empty(),
        (Type::KnowledgeBase, Configuration::KnowledgeBase(base)) => !base.knowledge_base_id.is_empty(),
        (Type::Lex, Configuration::Lex(lex)) => !lex.bot_alias_arn.is_empty() && !lex.locale_id.is_empty(),
        (Type::LambdaFunction, Configuration::LambdaFunction(function)) => !function.lambda_arn.is_empty(),
        (Type::Agent, Configuration::Agent(agent)) => !agent.agent_alias_arn.is_empty(),
        (Type::InlineCode, Configuration::InlineCode(code)) => !code.code.trim().is_empty(),
        (Type::Prompt, Configuration::Prompt(prompt)) => match &prompt.source_configuration {
            api::PromptFlowNodeSourceConfiguration::Resource(resource) => !resource.prompt_arn.is_empty(),
            api::PromptFlowNodeSourceConfiguration::Inline(inline) => !inline.model_id.is_empty(),
        },
        (Type::Storage, Configuration::Storage(storage)) => {
            let api::StorageFlowNodeServiceConfiguration::S3(s3) = &storage.service_configuration;
            !s3.bucket_name.is_empty()
        }
        (Type::Retrieval, Configuration::Retrieval(retrieval)) => {
            let api::RetrievalFlowNodeServiceConfiguration::S3(s3) = &retrieval.service_configuration;
            !s3.bucket_name.is_empty()
        }
        _ => false,
    }
}
