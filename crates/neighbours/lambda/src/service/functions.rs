//! CreateFunction, GetFunction, GetFunctionConfiguration, ListFunctions, UpdateFunctionCode,
//! UpdateFunctionConfiguration, DeleteFunction.

use std::collections::BTreeMap;

use bytes::Bytes;
use craton_api_lambda as api;
use craton_core::RequestContext;
use craton_store::{NewRecord, Range, StoreError};
use craton_wire::ApiError;
use craton_wire::types::{Blob, Map};

use super::{Found, check_revision, page, read, unqualified, unserved, write};
use crate::Lambda;
use crate::code::{CodeError, CodeStore, StoredCode};
use crate::error::{conflict, invalid, service, store_error};
use crate::function::{self, FunctionRef, LATEST, StoredFunction, language, runtime_name};

/// AWS's limit of an archive sent in a request.
const MAX_ARCHIVE_BYTES: usize = 50 << 20;
/// AWS's limit of all environment variables together.
const MAX_VARIABLES_BYTES: usize = 4096;
/// Variables that Lambda itself sets.
const RESERVED: [&str; 6] = [
    "_HANDLER",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
];

/// Where an archive comes from.
pub(super) struct Source {
    pub zip_file: Option<Blob>,
    pub bucket: Option<String>,
    pub key: Option<String>,
    pub version: Option<String>,
    pub image: bool,
}

impl Lambda {
    pub async fn create_function(
        &self,
        context: &RequestContext,
        input: api::CreateFunctionRequest,
    ) -> Result<api::FunctionConfiguration, ApiError> {
        let reference = unqualified(context, &input.function_name)?;
        unserved::in_create(&input)?;
        let runtime = input.runtime.map(runtime_name).ok_or_else(|| missing("Runtime"))?;
        language(&runtime)?;
        let handler = input.handler.ok_or_else(|| missing("Handler"))?;
        let variables = variables(input.environment)?;
        let scope = self.scope(&reference.region);
        if self.inner.mapped.get(&reference.name).is_some() {
            return Err(conflict(format!(
                "Function already exist: {}. A [[function]] of this server's configuration has that name, and calls of \
                 it go where that says. Choose another name, or take the name out of the configuration.",
                reference.name
            )));
        }
        if self.inner.store.get(&scope, &reference.name).await.map_err(|error| store_error(&error))?.is_some()
        {
            return Err(self.exists(&reference));
        }
        self.may_be_given(&reference, &input.role)?;
        let code = input.code;
        let source = Source {
            zip_file: code.zip_file,
            bucket: code.s3_bucket,
            key: code.s3_key,
            version: code.s3_object_version,
            image: code.image_uri.is_some(),
        };
        let code = self.store_code(source).await?;
        let now_ms = self.inner.clock.now_ms();
        let architecture = input.architectures.and_then(|all| all.first().map(|one| one.as_str().to_owned()));
        let function = StoredFunction {
            name: reference.name.clone(),
            runtime,
            handler,
            role: input.role,
            description: input.description.unwrap_or_default(),
            timeout_s: positive(input.timeout, 3),
            memory_mib: positive(input.memory_size, 128),
            ephemeral_mib: positive(input.ephemeral_storage.map(|storage| storage.size), 512),
            variables,
            architecture: architecture.unwrap_or_else(|| "x86_64".to_owned()),
            code: code.id,
            code_bytes: code.bytes,
            revision: self.inner.ids.uuid(),
            modified_ms: now_ms,
            reserved_concurrency: None,
            statements: Vec::new(),
            policy_revision: None,
        };
        let arn = function::arn(&reference.region, &self.inner.account.id, &reference.name, None);
        let new = NewRecord {
            id: reference.name.clone(),
            name: None,
            body: write(&function)?,
            now_ms,
            idempotency: None,
            tags: Some((arn, input.tags.unwrap_or_default().into_iter().collect())),
        };
        self.inner.store.create(&scope, new).await.map_err(|error| match error {
            StoreError::NameTaken { .. } => self.exists(&reference),
            other => store_error(&other),
        })?;
        if input.publish == Some(true) {
            return self.publish(&reference, function, None).await;
        }
        Ok(self.configuration(&Found { function, version: LATEST.into(), region: reference.region }))
    }

    fn may_be_given(&self, reference: &FunctionRef, role_arn: &str) -> Result<(), ApiError> {
        let arn = function::arn(&reference.region, &self.inner.account.id, &reference.name, None);
        if self.inner.credentials.may_be_given(role_arn, &arn) {
            return Ok(());
        }
        Err(invalid("The role defined for the function cannot be assumed by Lambda."))
    }

    fn exists(&self, reference: &FunctionRef) -> ApiError {
        conflict(format!("Function already exist: {}", reference.name))
    }

    /// The archive in a request, or in a bucket, unpacked and kept.
    async fn store_code(&self, source: Source) -> Result<StoredCode, ApiError> {
        let archive = self.archive(source).await?;
        self.unpack(move |code| code.store(&archive)).await
    }

    async fn unpack(
        &self,
        unpack: impl FnOnce(&CodeStore) -> Result<StoredCode, CodeError> + Send + 'static,
    ) -> Result<StoredCode, ApiError> {
        let this = self.clone();
        let unpacked = tokio::task::spawn_blocking(move || unpack(&this.inner.code)).await;
        unpacked.map_err(|error| service(&error))?.map_err(|error| match error {
            CodeError::Io(error) => service(&error),
            other => invalid(other.to_string()),
        })
    }

    async fn archive(&self, source: Source) -> Result<Bytes, ApiError> {
        let archive = match source {
            Source { image: true, .. } => {
                return Err(invalid(
                    "Functions of container images are not served here. Send a zip archive.",
                ));
            }
            Source { zip_file: Some(archive), bucket: None, .. } => archive.0,
            Source { zip_file: None, bucket: Some(bucket), key: Some(key), version, .. } => {
                self.fetch(&bucket, &key, version.as_deref()).await?
            }
            Source { .. } => {
                return Err(invalid(
                    "Please provide a source for function code: ZipFile, or S3Bucket and S3Key.",
                ));
            }
        };
        if archive.len() > MAX_ARCHIVE_BYTES {
            return Err(ApiError::new(
                "RequestEntityTooLargeException",
                format!("The archive is larger than {MAX_ARCHIVE_BYTES} bytes."),
            ));
        }
        Ok(archive)
    }

    async fn fetch(&self, bucket: &str, key: &str, version: Option<&str>) -> Result<Bytes, ApiError> {
        let Some(objects) = &self.inner.objects else {
            return Err(invalid("This server keeps no buckets. Send the archive as ZipFile."));
        };
        let got = crate::code::fetch(&**objects, bucket, key, version, MAX_ARCHIVE_BYTES).await;
        got.map_err(|reason| {
            invalid(format!(
                "Error occurred while GetObject. S3 Error Message: {reason} (s3://{bucket}/{key})"
            ))
        })
    }

    pub async fn get_function(
        &self,
        context: &RequestContext,
        input: api::GetFunctionRequest,
    ) -> Result<api::GetFunctionResponse, ApiError> {
        let reference = FunctionRef::parse(context, &input.function_name, input.qualifier.as_deref())?;
        let found = self.find(&reference).await?;
        let arn = function::arn(&reference.region, &self.inner.account.id, &reference.name, None);
        let tags = self.inner.store.tags(&arn).await.map_err(|error| store_error(&error))?;
        let location = format!("file://{}", self.inner.code.archive(&found.function.code).display());
        let concurrency = self.reserved_concurrency(&reference, &found).await?;
        let concurrency = concurrency.and_then(|count| i32::try_from(count).ok());
        Ok(api::GetFunctionResponse {
            configuration: Some(self.configuration(&found)),
            code: Some(api::FunctionCodeLocation {
                repository_type: Some("S3".into()),
                location: Some(location),
                ..api::FunctionCodeLocation::default()
            }),
            tags: Some(tags.into_iter().collect::<Map<String>>()).filter(|tags| !tags.is_empty()),
            tags_error: None,
            concurrency: concurrency
                .map(|count| api::Concurrency { reserved_concurrent_executions: Some(count) }),
        })
    }

    pub async fn get_function_configuration(
        &self,
        context: &RequestContext,
        input: api::GetFunctionConfigurationRequest,
    ) -> Result<api::FunctionConfiguration, ApiError> {
        let reference = FunctionRef::parse(context, &input.function_name, input.qualifier.as_deref())?;
        Ok(self.configuration(&self.find(&reference).await?))
    }

    pub async fn list_functions(
        &self,
        context: &RequestContext,
        input: api::ListFunctionsRequest,
    ) -> Result<api::ListFunctionsResponse, ApiError> {
        let scope = self.scope(&context.region);
        let records = self.inner.store.list(&scope, &Range::default()).await;
        let records = records.map_err(|error| store_error(&error))?;
        let (records, next_marker) =
            page(records, input.marker.as_deref(), input.max_items, |record| record.id.clone());
        let mut functions = Vec::new();
        for record in records {
            let latest = Found {
                function: read(&record.body)?,
                version: LATEST.into(),
                region: context.region.clone(),
            };
            functions.push(self.configuration(&latest));
            if input.function_version.is_some() {
                let versions = self.inner.store.list_versions(&scope, &record.id).await;
                for version in versions.map_err(|error| store_error(&error))? {
                    functions.push(self.configuration(&Found {
                        function: read(&version.body)?,
                        version: version.number.to_string(),
                        region: context.region.clone(),
                    }));
                }
            }
        }
        Ok(api::ListFunctionsResponse { next_marker, functions: Some(functions) })
    }

    pub async fn update_function_code(
        &self,
        context: &RequestContext,
        input: api::UpdateFunctionCodeRequest,
    ) -> Result<api::FunctionConfiguration, ApiError> {
        let reference = unqualified(context, &input.function_name)?;
        let before = read(&self.record(&reference).await?.body)?;
        check_revision(&before, input.revision_id.as_deref())?;
        unserved::in_code_update(&input)?;
        let source = Source {
            zip_file: input.zip_file,
            bucket: input.s3_bucket,
            key: input.s3_key,
            version: input.s3_object_version,
            image: input.image_uri.is_some(),
        };
        let dry_run = input.dry_run == Some(true);
        let code = match dry_run {
            true => {
                let archive = self.archive(source).await?;
                self.unpack(move |code| code.check(&archive)).await?
            }
            false => self.store_code(source).await?,
        };
        let architecture = input.architectures.and_then(|all| all.first().map(|one| one.as_str().to_owned()));
        let change = |function: &mut StoredFunction| {
            function.code = code.id;
            function.code_bytes = code.bytes;
            replace(&mut function.architecture, architecture);
        };
        let function = if dry_run {
            let mut function = before;
            change(&mut function);
            function
        } else {
            let function = self.change(&reference, input.revision_id.as_deref(), change).await?;
            self.sweep_later();
            function
        };
        if input.publish == Some(true) && input.dry_run != Some(true) {
            return self.publish(&reference, function, None).await;
        }
        Ok(self.configuration(&Found { function, version: LATEST.into(), region: reference.region }))
    }

    pub async fn update_function_configuration(
        &self,
        context: &RequestContext,
        input: api::UpdateFunctionConfigurationRequest,
    ) -> Result<api::FunctionConfiguration, ApiError> {
        let reference = unqualified(context, &input.function_name)?;
        unserved::in_configuration_update(&input)?;
        let runtime = input.runtime.map(runtime_name);
        if let Some(runtime) = &runtime {
            language(runtime)?;
        }
        let environment = match input.environment {
            Some(environment) => Some(variables(Some(environment))?),
            None => None,
        };
        if let Some(role) = &input.role {
            self.may_be_given(&reference, role)?;
        }
        let changed = self.change(&reference, input.revision_id.as_deref(), |function| {
            let StoredFunction { role, handler, description, .. } = function;
            replace(role, input.role);
            replace(handler, input.handler);
            replace(description, input.description);
            replace(&mut function.runtime, runtime);
            replace(&mut function.variables, environment);
            function.timeout_s = positive(input.timeout, function.timeout_s);
            function.memory_mib = positive(input.memory_size, function.memory_mib);
            function.ephemeral_mib =
                positive(input.ephemeral_storage.map(|storage| storage.size), function.ephemeral_mib);
        });
        let function = changed.await?;
        Ok(self.configuration(&Found { function, version: LATEST.into(), region: reference.region }))
    }

    /// Deletes a function with its versions and aliases, or one version.
    pub async fn delete_function(
        &self,
        context: &RequestContext,
        input: api::DeleteFunctionRequest,
    ) -> Result<api::DeleteFunctionResponse, ApiError> {
        let reference = FunctionRef::parse(context, &input.function_name, input.qualifier.as_deref())?;
        match reference.qualifier.as_deref() {
            None => {
                let arn = function::arn(&reference.region, &self.inner.account.id, &reference.name, None);
                let scope = self.scope(&reference.region);
                let deleted = self.inner.store.delete(&scope, &reference.name, Some(&arn)).await;
                if !deleted.map_err(|error| store_error(&error))? {
                    return Err(self.missing(&reference));
                }
                self.inner.pool.retire(&arn);
            }
            Some(LATEST) => {
                return Err(invalid("$LATEST version cannot be deleted without deleting the function."));
            }
            Some(version) => self.delete_version(&reference, version).await?,
        }
        self.sweep_later();
        Ok(api::DeleteFunctionResponse { status_code: Some(204) })
    }
}

fn replace<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn positive(value: Option<i32>, otherwise: u32) -> u32 {
    value.and_then(|value| u32::try_from(value).ok()).filter(|value| *value > 0).unwrap_or(otherwise)
}

fn missing(field: &str) -> ApiError {
    invalid(format!("{field} is mandatory for functions created with deployment packages."))
}

fn variables(environment: Option<api::Environment>) -> Result<BTreeMap<String, String>, ApiError> {
    let variables: BTreeMap<String, String> =
        environment.and_then(|environment| environment.variables).unwrap_or_default().into_iter().collect();
    let bytes: usize = variables.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MAX_VARIABLES_BYTES {
        return Err(invalid(format!(
            "Lambda was unable to configure your environment variables because the environment variables you have \
             provided exceeded the {MAX_VARIABLES_BYTES} bytes limit."
        )));
    }
    let reserved = variables.keys().find(|name| {
        RESERVED.contains(&name.as_str()) || name.starts_with("AWS_LAMBDA_") || name.starts_with("LAMBDA_")
    });
    if let Some(name) = reserved {
        return Err(invalid(format!(
            "Lambda was unable to configure your environment variables because the environment variables you have \
             provided contains reserved keys that are currently not supported for modification. Reserved keys used in \
             this request: {name}"
        )));
    }
    Ok(variables)
}
