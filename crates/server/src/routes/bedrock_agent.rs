//! `bedrock-agent`: prompts and knowledge bases.

use craton_api_bedrock_agent::ops;
use futures::FutureExt as _;

use super::Routes;
use crate::tags;

pub(super) fn routes(routes: Routes) -> Routes {
    knowledge_bases(prompts(routes))
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
