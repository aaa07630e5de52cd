//! What a request may ask for that is not served. What would silently not happen must not be accepted; what asks for
//! nothing (an empty list, tracing that passes through) may be there, because tools send it.

use craton_api_lambda as api;
use craton_wire::ApiError;

use crate::error::invalid;

/// What was asked for, by name.
type Asked = (&'static str, bool);

fn refuse(all: impl IntoIterator<Item = Asked>) -> Result<(), ApiError> {
    match all.into_iter().find(|(_, asked)| *asked) {
        Some((what, _)) => Err(invalid(format!("{what} is not served here. Leave the field out."))),
        None => Ok(()),
    }
}

/// The fields that the inputs of CreateFunction and UpdateFunctionConfiguration share; they are two types.
macro_rules! shared {
    ($input:ident) => {
        [
            ("ImageConfig", $input.image_config.is_some()),
            ("Layers", $input.layers.as_ref().is_some_and(|all| !all.is_empty())),
            ("FileSystemConfigs", $input.file_system_configs.as_ref().is_some_and(|all| !all.is_empty())),
            ("VpcConfig", $input.vpc_config.as_ref().is_some_and(is_in_vpc)),
            ("DeadLetterConfig", $input.dead_letter_config.as_ref().is_some_and(|it| named(&it.target_arn))),
            ("KMSKeyArn", named(&$input.kms_key_arn)),
            (
                "TracingConfig",
                $input.tracing_config.as_ref().is_some_and(|it| it.mode == Some(api::TracingMode::Active)),
            ),
            (
                "SnapStart",
                $input.snap_start.as_ref().is_some_and(|it| {
                    it.apply_on.as_ref().is_some_and(|on| *on != api::SnapStartApplyOn::None)
                }),
            ),
            ("LoggingConfig", $input.logging_config.as_ref().is_some_and(is_special)),
            ("CapacityProviderConfig", $input.capacity_provider_config.is_some()),
            ("DurableConfig", $input.durable_config.is_some()),
            ("RuntimeConfig", $input.runtime_config.is_some()),
            ("AcceleratorConfig", $input.accelerator_config.is_some()),
        ]
    };
}

pub(super) fn in_create(input: &api::CreateFunctionRequest) -> Result<(), ApiError> {
    refuse(shared!(input).into_iter().chain([
        ("PackageType Image", input.package_type == Some(api::PackageType::Image)),
        ("CodeSigningConfigArn", named(&input.code_signing_config_arn)),
        ("TenancyConfig", input.tenancy_config.is_some()),
        ("PublishTo", input.publish_to.is_some()),
        ("Code.S3ObjectStorageMode", input.code.s3_object_storage_mode.is_some()),
        ("Code.SourceKMSKeyArn", named(&input.code.source_kms_key_arn)),
    ]))
}

pub(super) fn in_configuration_update(
    input: &api::UpdateFunctionConfigurationRequest,
) -> Result<(), ApiError> {
    refuse(shared!(input))
}

pub(super) fn in_code_update(input: &api::UpdateFunctionCodeRequest) -> Result<(), ApiError> {
    refuse([
        ("PublishTo", input.publish_to.is_some()),
        ("S3ObjectStorageMode", input.s3_object_storage_mode.is_some()),
        ("SourceKMSKeyArn", named(&input.source_kms_key_arn)),
    ])
}

pub(super) fn in_invocation(input: &api::InvocationRequest) -> Result<(), ApiError> {
    refuse([
        ("TenantId", named(&input.tenant_id)),
        ("DurableExecutionName", named(&input.durable_execution_name)),
    ])
}

fn named(text: &Option<String>) -> bool {
    text.as_ref().is_some_and(|text| !text.is_empty())
}

fn is_in_vpc(config: &api::VpcConfig) -> bool {
    let any = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|all| !all.is_empty());
    any(&config.subnet_ids) || any(&config.security_group_ids)
}

/// Anything but plain text in the function's own log.
fn is_special(config: &api::LoggingConfig) -> bool {
    let json = config.log_format.as_ref().is_some_and(|format| *format != api::LogFormat::Text);
    let levels = config.application_log_level.is_some() || config.system_log_level.is_some();
    json || levels || named(&config.log_group)
}
