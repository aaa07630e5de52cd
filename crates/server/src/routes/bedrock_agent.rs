//! `bedrock-agent`: agents, prompts, flows and knowledge bases.

use craton_api_bedrock_agent::ops;
use futures::FutureExt as _;

use super::Routes;
use crate::{resource_policies, tags};

pub(super) fn routes(routes: Routes) -> Routes {
    agents(knowledge_bases(flows(prompts(routes))))
}

fn prompts(routes: Routes) -> Routes {
    routes
        .serve::<ops::CreatePrompt, _>(|s, c, i| s.prompts.create_prompt(c, i).boxed())
        .serve::<ops::CreatePromptVersion, _>(|s, c, i| s.prompts.create_prompt_version(c, i).boxed())
        .serve::<ops::DeletePrompt, _>(|s, c, i| s.prompts.delete_prompt(c, i).boxed())
        .serve::<ops::GetPrompt, _>(|s, c, i| s.prompts.get_prompt(c, i).boxed())
        .serve::<ops::ListPrompts, _>(|s, c, i| s.prompts.list_prompts(c, i).boxed())
        .serve::<ops::UpdatePrompt, _>(|s, c, i| s.prompts.update_prompt(c, i).boxed())
}

fn flows(routes: Routes) -> Routes {
    routes
        .serve::<ops::CreateFlow, _>(|s, c, i| s.flows.create_flow(c, i).boxed())
        .serve::<ops::CreateFlowAlias, _>(|s, c, i| s.flows.create_flow_alias(c, i).boxed())
        .serve::<ops::CreateFlowVersion, _>(|s, c, i| s.flows.create_flow_version(c, i).boxed())
        .serve::<ops::DeleteFlow, _>(|s, c, i| s.flows.delete_flow(c, i).boxed())
        .serve::<ops::DeleteFlowAlias, _>(|s, c, i| s.flows.delete_flow_alias(c, i).boxed())
        .serve::<ops::DeleteFlowVersion, _>(|s, c, i| s.flows.delete_flow_version(c, i).boxed())
        .serve::<ops::GetFlow, _>(|s, c, i| s.flows.get_flow(c, i).boxed())
        .serve::<ops::GetFlowAlias, _>(|s, c, i| s.flows.get_flow_alias(c, i).boxed())
        .serve::<ops::GetFlowVersion, _>(|s, c, i| s.flows.get_flow_version(c, i).boxed())
        .serve::<ops::ListFlowAliases, _>(|s, c, i| s.flows.list_flow_aliases(c, i).boxed())
        .serve::<ops::ListFlowVersions, _>(|s, c, i| s.flows.list_flow_versions(c, i).boxed())
        .serve::<ops::ListFlows, _>(|s, c, i| s.flows.list_flows(c, i).boxed())
        .serve::<ops::PrepareFlow, _>(|s, c, i| s.flows.prepare_flow(c, i).boxed())
        .serve::<ops::UpdateFlow, _>(|s, c, i| s.flows.update_flow(c, i).boxed())
        .serve::<ops::UpdateFlowAlias, _>(|s, c, i| s.flows.update_flow_alias(c, i).boxed())
        .serve::<ops::ValidateFlowDefinition, _>(|s, c, i| s.flows.validate_flow_definition(c, i).boxed())
}

fn knowledge_bases(routes: Routes) -> Routes {
    routes
        .serve::<ops::CreateDataSource, _>(|s, c, i| s.knowledge_bases.create_data_source(c, i).boxed())
        .serve::<ops::CreateKnowledgeBase, _>(|s, c, i| s.knowledge_bases.create_knowledge_base(c, i).boxed())
        .serve::<ops::DeleteDataSource, _>(|s, c, i| s.knowledge_bases.delete_data_source(c, i).boxed())
        .serve::<ops::DeleteKnowledgeBase, _>(|s, c, i| s.knowledge_bases.delete_knowledge_base(c, i).boxed())
        .serve::<ops::DeleteKnowledgeBaseDocuments, _>(|s, c, i| {
            s.knowledge_bases.delete_knowledge_base_documents(c, i).boxed()
        })
        .serve::<ops::GetDataSource, _>(|s, c, i| s.knowledge_bases.get_data_source(c, i).boxed())
        .serve::<ops::GetIngestionJob, _>(|s, c, i| s.knowledge_bases.get_ingestion_job(c, i).boxed())
        .serve::<ops::GetKnowledgeBase, _>(|s, c, i| s.knowledge_bases.get_knowledge_base(c, i).boxed())
        .serve::<ops::GetKnowledgeBaseDocuments, _>(|s, c, i| {
            s.knowledge_bases.get_knowledge_base_documents(c, i).boxed()
        })
        .serve::<ops::IngestKnowledgeBaseDocuments, _>(|s, c, i| {
            s.knowledge_bases.ingest_knowledge_base_documents(c, i).boxed()
        })
        .serve::<ops::ListDataSources, _>(|s, c, i| s.knowledge_bases.list_data_sources(c, i).boxed())
        .serve::<ops::ListIngestionJobs, _>(|s, c, i| s.knowledge_bases.list_ingestion_jobs(c, i).boxed())
        .serve::<ops::ListKnowledgeBaseDocuments, _>(|s, c, i| {
            s.knowledge_bases.list_knowledge_base_documents(c, i).boxed()
        })
        .serve::<ops::ListKnowledgeBases, _>(|s, c, i| s.knowledge_bases.list_knowledge_bases(c, i).boxed())
        .serve::<ops::DeleteResourcePolicy, _>(|s, c, i| {
            resource_policies::bedrock_agent::delete_resource_policy(s, c, i).boxed()
        })
        .serve::<ops::GetResourcePolicy, _>(|s, c, i| {
            resource_policies::bedrock_agent::get_resource_policy(s, c, i).boxed()
        })
        .serve::<ops::PutResourcePolicy, _>(|s, c, i| {
            resource_policies::bedrock_agent::put_resource_policy(s, c, i).boxed()
        })
        .serve::<ops::ListTagsForResource, _>(|s, c, i| {
            tags::bedrock_agent::list_tags_for_resource(s, c, i).boxed()
        })
        .serve::<ops::StartIngestionJob, _>(|s, c, i| s.knowledge_bases.start_ingestion_job(c, i).boxed())
        .serve::<ops::StopIngestionJob, _>(|s, c, i| s.knowledge_bases.stop_ingestion_job(c, i).boxed())
        .serve::<ops::TagResource, _>(|s, c, i| tags::bedrock_agent::tag_resource(s, c, i).boxed())
        .serve::<ops::UntagResource, _>(|s, c, i| tags::bedrock_agent::untag_resource(s, c, i).boxed())
        .serve::<ops::UpdateDataSource, _>(|s, c, i| s.knowledge_bases.update_data_source(c, i).boxed())
        .serve::<ops::UpdateKnowledgeBase, _>(|s, c, i| s.knowledge_bases.update_knowledge_base(c, i).boxed())
}

fn agents(routes: Routes) -> Routes {
    routes
        .serve::<ops::AssociateAgentCollaborator, _>(|s, c, i| {
            s.agents.associate_agent_collaborator(c, i).boxed()
        })
        .serve::<ops::AssociateAgentKnowledgeBase, _>(|s, c, i| {
            s.agents.associate_agent_knowledge_base(c, i).boxed()
        })
        .serve::<ops::CreateAgent, _>(|s, c, i| s.agents.create_agent(c, i).boxed())
        .serve::<ops::CreateAgentActionGroup, _>(|s, c, i| s.agents.create_agent_action_group(c, i).boxed())
        .serve::<ops::CreateAgentAlias, _>(|s, c, i| s.agents.create_agent_alias(c, i).boxed())
        .serve::<ops::DeleteAgent, _>(|s, c, i| s.agents.delete_agent(c, i).boxed())
        .serve::<ops::DeleteAgentActionGroup, _>(|s, c, i| s.agents.delete_agent_action_group(c, i).boxed())
        .serve::<ops::DeleteAgentAlias, _>(|s, c, i| s.agents.delete_agent_alias(c, i).boxed())
        .serve::<ops::DeleteAgentVersion, _>(|s, c, i| s.agents.delete_agent_version(c, i).boxed())
        .serve::<ops::DisassociateAgentCollaborator, _>(|s, c, i| {
            s.agents.disassociate_agent_collaborator(c, i).boxed()
        })
        .serve::<ops::DisassociateAgentKnowledgeBase, _>(|s, c, i| {
            s.agents.disassociate_agent_knowledge_base(c, i).boxed()
        })
        .serve::<ops::GetAgent, _>(|s, c, i| s.agents.get_agent(c, i).boxed())
        .serve::<ops::GetAgentActionGroup, _>(|s, c, i| s.agents.get_agent_action_group(c, i).boxed())
        .serve::<ops::GetAgentAlias, _>(|s, c, i| s.agents.get_agent_alias(c, i).boxed())
        .serve::<ops::GetAgentCollaborator, _>(|s, c, i| s.agents.get_agent_collaborator(c, i).boxed())
        .serve::<ops::GetAgentKnowledgeBase, _>(|s, c, i| s.agents.get_agent_knowledge_base(c, i).boxed())
        .serve::<ops::GetAgentVersion, _>(|s, c, i| s.agents.get_agent_version(c, i).boxed())
        .serve::<ops::ListAgentActionGroups, _>(|s, c, i| s.agents.list_agent_action_groups(c, i).boxed())
        .serve::<ops::ListAgentAliases, _>(|s, c, i| s.agents.list_agent_aliases(c, i).boxed())
        .serve::<ops::ListAgentCollaborators, _>(|s, c, i| s.agents.list_agent_collaborators(c, i).boxed())
        .serve::<ops::ListAgentKnowledgeBases, _>(|s, c, i| s.agents.list_agent_knowledge_bases(c, i).boxed())
        .serve::<ops::ListAgentVersions, _>(|s, c, i| s.agents.list_agent_versions(c, i).boxed())
        .serve::<ops::ListAgents, _>(|s, c, i| s.agents.list_agents(c, i).boxed())
        .serve::<ops::PrepareAgent, _>(|s, c, i| s.agents.prepare_agent(c, i).boxed())
        .serve::<ops::UpdateAgent, _>(|s, c, i| s.agents.update_agent(c, i).boxed())
        .serve::<ops::UpdateAgentActionGroup, _>(|s, c, i| s.agents.update_agent_action_group(c, i).boxed())
        .serve::<ops::UpdateAgentAlias, _>(|s, c, i| s.agents.update_agent_alias(c, i).boxed())
        .serve::<ops::UpdateAgentCollaborator, _>(|s, c, i| s.agents.update_agent_collaborator(c, i).boxed())
        .serve::<ops::UpdateAgentKnowledgeBase, _>(|s, c, i| {
            s.agents.update_agent_knowledge_base(c, i).boxed()
        })
}
