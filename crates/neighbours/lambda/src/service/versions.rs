//! PublishVersion, ListVersionsByFunction.

use craton_api_lambda as api;
use craton_core::RequestContext;
use craton_wire::ApiError;

use super::{Found, check_revision, page, read, unqualified, write};
use crate::Lambda;
use crate::error::{conflict, invalid, store_error};
use crate::function::{FunctionRef, LATEST, StoredFunction};

impl Lambda {
    pub async fn publish_version(
        &self,
        context: &RequestContext,
        input: api::PublishVersionRequest,
    ) -> Result<api::FunctionConfiguration, ApiError> {
        let reference = unqualified(context, &input.function_name)?;
        let function = read(&self.record(&reference).await?.body)?;
        check_revision(&function, input.revision_id.as_deref())?;
        let hash = hex::decode(&function.code).map(|hash| super::base64(&hash)).unwrap_or_default();
        if input.code_sha256.as_ref().is_some_and(|expected| *expected != hash) {
            return Err(invalid(format!(
                "CodeSHA256 ({}) is different from current CodeSHA256 in $LATEST ({hash}). Please try again with the \
                 CodeSHA256 in $LATEST.",
                input.code_sha256.unwrap_or_default()
            )));
        }
        self.publish(&reference, function, input.description).await
    }

    /// The version of a function as it is now: the last one, when nothing has changed since.
    pub(super) async fn publish(
        &self,
        reference: &FunctionRef,
        mut function: StoredFunction,
        description: Option<String>,
    ) -> Result<api::FunctionConfiguration, ApiError> {
        let scope = self.scope(&reference.region);
        let found = |function: StoredFunction, number: i64| Found {
            function,
            version: number.to_string(),
            region: reference.region.clone(),
        };
        function = function.frozen();
        if let Some(description) = description {
            function.description = description;
        }
        let versions = self.inner.store.list_versions(&scope, &reference.name).await;
        if let Some(last) = versions.map_err(|error| store_error(&error))?.pop() {
            let published = read(&last.body)?.frozen();
            if published
                == (StoredFunction { description: published.description.clone(), ..function.clone() })
            {
                return Ok(self.configuration(&found(published, last.number)));
            }
        }
        let mut transaction = self.inner.store.begin().await.map_err(|error| store_error(&error))?;
        let now_ms = self.inner.clock.now_ms();
        let version = transaction.publish(&scope, &reference.name, write(&function)?, now_ms).await;
        let version = version.map_err(|error| store_error(&error))?;
        transaction.commit().await.map_err(|error| store_error(&error))?;
        Ok(self.configuration(&found(function, version.number)))
    }

    pub async fn list_versions_by_function(
        &self,
        context: &RequestContext,
        input: api::ListVersionsByFunctionRequest,
    ) -> Result<api::ListVersionsByFunctionResponse, ApiError> {
        let reference = unqualified(context, &input.function_name)?;
        let region = &reference.region;
        let latest = read(&self.record(&reference).await?.body)?;
        let mut found = vec![(0, Found { function: latest, version: LATEST.into(), region: region.clone() })];
        let versions = self.inner.store.list_versions(&self.scope(region), &reference.name).await;
        for version in versions.map_err(|error| store_error(&error))? {
            let function = read(&version.body)?;
            let one = Found { function, version: version.number.to_string(), region: region.clone() };
            found.push((version.number, one));
        }
        let (found, next_marker) =
            page(found, input.marker.as_deref(), input.max_items, |(number, _)| format!("{number:012}"));
        let versions = found.iter().map(|(_, found)| self.configuration(found)).collect();
        Ok(api::ListVersionsByFunctionResponse { next_marker, versions: Some(versions) })
    }

    pub(super) async fn delete_version(
        &self,
        reference: &FunctionRef,
        version: &str,
    ) -> Result<(), ApiError> {
        let number: i64 =
            version.parse().map_err(|_| invalid("Only versions can be deleted by their qualifier."))?;
        let scope = self.scope(&reference.region);
        let mut transaction = self.inner.store.begin().await.map_err(|error| store_error(&error))?;
        let version = FunctionRef { qualifier: Some(number.to_string()), ..reference.clone() };
        self.forget_policy(&mut transaction, &version).await?;
        let aliases = transaction.aliases_of(&scope, &reference.name, number).await;
        if let Some(alias) = aliases.map_err(|error| store_error(&error))?.first() {
            return Err(conflict(format!(
                "The version is in use by the alias {alias}. Update or delete that first."
            )));
        }
        let deleted = transaction.delete_version(&scope, &reference.name, number).await;
        if !deleted.map_err(|error| store_error(&error))? {
            return Err(self.missing(reference));
        }
        transaction.commit().await.map_err(|error| store_error(&error))
    }
}
