use craton_api_iam::{
    AccessKey, AccessKeyLastUsed, AccessKeyMetadata, CreateAccessKeyRequest, CreateAccessKeyResponse,
    DeleteAccessKeyRequest, GetAccessKeyLastUsedRequest, GetAccessKeyLastUsedResponse, ListAccessKeysRequest,
    ListAccessKeysResponse, StatusType, UpdateAccessKeyRequest,
};
use craton_core::RequestContext;
use craton_wire::ApiError;
use craton_wire::types::Timestamp;

use crate::error::refused;
use crate::page::page;
use crate::{Iam, user_or_caller};

impl Iam {
    /// The one time that the secret is told.
    pub async fn create_access_key(
        &self,
        context: &RequestContext,
        input: CreateAccessKeyRequest,
    ) -> Result<CreateAccessKeyResponse, ApiError> {
        let user = user_or_caller(context, input.user_name)?;
        let vault = self.directory.vault();
        let (key, secret) = self.change(context, |draft| draft.create_access_key(&user, vault)).await?;
        let access_key = AccessKey {
            user_name: user,
            access_key_id: key.id.clone(),
            status: StatusType::Active,
            secret_access_key: secret.expose().to_owned(),
            create_date: Some(Timestamp::from_ms(key.created_ms)),
        };
        Ok(CreateAccessKeyResponse { access_key })
    }

    pub async fn update_access_key(
        &self,
        context: &RequestContext,
        input: UpdateAccessKeyRequest,
    ) -> Result<(), ApiError> {
        let user = user_or_caller(context, input.user_name)?;
        let active = is_active(input.status)?;
        self.change(context, |draft| draft.set_access_key_active(&user, &input.access_key_id, active)).await
    }

    pub async fn delete_access_key(
        &self,
        context: &RequestContext,
        input: DeleteAccessKeyRequest,
    ) -> Result<(), ApiError> {
        let user = user_or_caller(context, input.user_name)?;
        self.change(context, |draft| draft.delete_access_key(&user, &input.access_key_id)).await
    }

    pub async fn list_access_keys(
        &self,
        context: &RequestContext,
        input: ListAccessKeysRequest,
    ) -> Result<ListAccessKeysResponse, ApiError> {
        let name = user_or_caller(context, input.user_name)?;
        let view = self.directory.view();
        let user = view.user(&name).map_err(refused)?;
        let keys = view.keys_of(user).map(|key| AccessKeyMetadata {
            user_name: Some(user.name.clone()),
            access_key_id: Some(key.id.clone()),
            status: Some(status(key.active)),
            create_date: Some(Timestamp::from_ms(key.created_ms)),
        });
        let page =
            page(keys, (input.marker, input.max_items), |key| key.access_key_id.clone().unwrap_or_default())?;
        Ok(ListAccessKeysResponse {
            access_key_metadata: page.items,
            is_truncated: page.is_truncated,
            marker: page.marker,
        })
    }

    pub async fn get_access_key_last_used(
        &self,
        _context: &RequestContext,
        input: GetAccessKeyLastUsedRequest,
    ) -> Result<GetAccessKeyLastUsedResponse, ApiError> {
        let view = self.directory.view();
        let key = view.access_key(&input.access_key_id).map_err(refused)?;
        let user_name = view.user_by_id(&key.user_id).map(|user| user.name.clone());
        let used = self.directory.last_use(&key.id).await.map_err(refused)?;
        let never = || "N/A".to_owned();
        let access_key_last_used = AccessKeyLastUsed {
            last_used_date: used.as_ref().map(|used| Timestamp::from_ms(used.used_ms)),
            service_name: used.as_ref().map_or_else(never, |used| used.service.clone()),
            region: used.as_ref().map_or_else(never, |used| used.region.clone()),
        };
        Ok(GetAccessKeyLastUsedResponse { user_name, access_key_last_used: Some(access_key_last_used) })
    }
}

pub(crate) fn status(active: bool) -> StatusType {
    if active { StatusType::Active } else { StatusType::Inactive }
}

pub(crate) fn is_active(status: StatusType) -> Result<bool, ApiError> {
    match status {
        StatusType::Active => Ok(true),
        StatusType::Inactive => Ok(false),
        StatusType::Expired => {
            Err(ApiError::new("InvalidInput", "A status can be set to Active or Inactive."))
        }
    }
}
