//! Credentials of one service: long-term Bedrock API keys.

use craton_api_iam::{
    CreateServiceSpecificCredentialRequest, CreateServiceSpecificCredentialResponse,
    DeleteServiceSpecificCredentialRequest, ListServiceSpecificCredentialsRequest,
    ListServiceSpecificCredentialsResponse, ResetServiceSpecificCredentialRequest,
    ResetServiceSpecificCredentialResponse, ServiceSpecificCredential, ServiceSpecificCredentialMetadata,
    StatusType, UpdateServiceSpecificCredentialRequest,
};
use craton_core::RequestContext;
use craton_identity::directory::{ServiceCredential, View};
use craton_wire::ApiError;
use craton_wire::sigv4::Secret;
use craton_wire::types::Timestamp;

use crate::access_keys::is_active;
use crate::error::refused;
use crate::page::page;
use crate::{Iam, user_or_caller};

impl Iam {
    /// The one time that the key is told.
    pub async fn create_service_specific_credential(
        &self,
        context: &RequestContext,
        input: CreateServiceSpecificCredentialRequest,
    ) -> Result<CreateServiceSpecificCredentialResponse, ApiError> {
        let (user, days) = (&input.user_name, input.credential_age_days);
        let (made, key) = self
            .change(context, |draft| draft.create_service_credential(user, &input.service_name, days))
            .await?;
        let view = self.directory.view();
        Ok(CreateServiceSpecificCredentialResponse {
            service_specific_credential: Some(told(&view, &made, &key, context.received_ms)),
        })
    }

    pub async fn reset_service_specific_credential(
        &self,
        context: &RequestContext,
        input: ResetServiceSpecificCredentialRequest,
    ) -> Result<ResetServiceSpecificCredentialResponse, ApiError> {
        let id = &input.service_specific_credential_id;
        let user = owner(context, input.user_name)?;
        let user = user.as_deref();
        let (changed, key) = self.change(context, |draft| draft.reset_service_credential(user, id)).await?;
        let view = self.directory.view();
        Ok(ResetServiceSpecificCredentialResponse {
            service_specific_credential: Some(told(&view, &changed, &key, context.received_ms)),
        })
    }

    pub async fn update_service_specific_credential(
        &self,
        context: &RequestContext,
        input: UpdateServiceSpecificCredentialRequest,
    ) -> Result<(), ApiError> {
        let active = is_active(input.status)?;
        let id = &input.service_specific_credential_id;
        let user = owner(context, input.user_name)?;
        let user = user.as_deref();
        self.change(context, |draft| draft.set_service_credential_active(user, id, active)).await
    }

    pub async fn delete_service_specific_credential(
        &self,
        context: &RequestContext,
        input: DeleteServiceSpecificCredentialRequest,
    ) -> Result<(), ApiError> {
        let id = &input.service_specific_credential_id;
        let user = owner(context, input.user_name)?;
        let user = user.as_deref();
        self.change(context, |draft| draft.delete_service_credential(user, id)).await
    }

    pub async fn list_service_specific_credentials(
        &self,
        context: &RequestContext,
        input: ListServiceSpecificCredentialsRequest,
    ) -> Result<ListServiceSpecificCredentialsResponse, ApiError> {
        let view = self.directory.view();
        let users: Vec<_> = if input.all_users.unwrap_or(false) {
            view.users().collect()
        } else {
            vec![view.user(&user_or_caller(context, input.user_name)?).map_err(refused)?]
        };
        let of_service = |credential: &&std::sync::Arc<ServiceCredential>| {
            input.service_name.as_ref().is_none_or(|service| credential.service == *service)
        };
        let credentials = users.into_iter().flat_map(|user| {
            view.credentials_of(user).filter(of_service).map(|credential| ServiceSpecificCredentialMetadata {
                user_name: user.name.clone(),
                status: status(credential, context.received_ms),
                service_user_name: None,
                service_credential_alias: Some(credential.alias.clone()),
                create_date: Timestamp::from_ms(credential.created_ms),
                expiration_date: credential.expires_ms.map(Timestamp::from_ms),
                service_specific_credential_id: credential.id.clone(),
                service_name: credential.service.clone(),
            })
        });
        let page = page(credentials, (input.marker, input.max_items), |credential| {
            credential.service_specific_credential_id.clone()
        })?;
        Ok(ListServiceSpecificCredentialsResponse {
            service_specific_credentials: Some(page.items),
            marker: page.marker,
            is_truncated: page.is_truncated,
        })
    }
}

/// Whose credential it must be: the user that is named, else the caller. Only the root may leave it open.
fn owner(context: &RequestContext, name: Option<String>) -> Result<Option<String>, ApiError> {
    match name {
        None if context.principal.is_root() => Ok(None),
        name => user_or_caller(context, name).map(Some),
    }
}

fn status(credential: &ServiceCredential, now_ms: i64) -> StatusType {
    match credential.active {
        _ if credential.expires_ms.is_some_and(|expires_ms| now_ms >= expires_ms) => StatusType::Expired,
        true => StatusType::Active,
        false => StatusType::Inactive,
    }
}

fn told(view: &View, credential: &ServiceCredential, key: &Secret, now_ms: i64) -> ServiceSpecificCredential {
    ServiceSpecificCredential {
        create_date: Timestamp::from_ms(credential.created_ms),
        expiration_date: credential.expires_ms.map(Timestamp::from_ms),
        service_name: credential.service.clone(),
        service_user_name: None,
        service_password: None,
        service_credential_alias: Some(credential.alias.clone()),
        service_credential_secret: Some(key.expose().to_owned()),
        service_specific_credential_id: credential.id.clone(),
        user_name: view.user_by_id(&credential.user_id).map(|user| user.name.clone()).unwrap_or_default(),
        status: status(credential, now_ms),
    }
}
