//! Everything the directory knows at one moment, and one change on its way to the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::aws_policies;
use super::entities::{
    AccessKey, Group, ManagedPolicy, ResourcePolicy, Role, ServiceCredential, User, is_aws,
};
use super::error::DirectoryError;

/// Entities of one kind. Names are found whatever their case, as IAM finds them.
type Entities<E> = BTreeMap<String, Arc<E>>;

/// Every entity of the account. Cloning shares the entities.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub(crate) account: String,
    pub(crate) users: Entities<User>,
    pub(crate) groups: Entities<Group>,
    pub(crate) roles: Entities<Role>,
    /// The account's own, by ARN.
    pub(crate) policies: Entities<ManagedPolicy>,
    pub(crate) keys: Entities<AccessKey>,
    pub(crate) credentials: Entities<ServiceCredential>,
    /// By the resource's ARN.
    pub(crate) resource_policies: Entities<ResourcePolicy>,
}

/// A kind of entity and where it is kept.
pub(crate) trait Entity: Serialize + DeserializeOwned + Send + Sync {
    const KIND: &'static str;
    fn key(&self) -> String;
    fn all_mut(state: &mut State) -> &mut Entities<Self>;
}

macro_rules! entities {
    ($($kind:ty, $name:literal, $field:ident, |$entity:ident| $key:expr;)+) => {$(
        impl Entity for $kind {
            const KIND: &'static str = $name;

            fn key(&self) -> String {
                let $entity = self;
                $key
            }

            fn all_mut(state: &mut State) -> &mut Entities<Self> {
                &mut state.$field
            }
        }
    )+

        impl State {
            /// Puts an entity that was stored in its place.
            pub(crate) fn restore(&mut self, kind: &str, body: &str) -> Result<(), DirectoryError> {
                match kind {
                    $(<$kind as Entity>::KIND => {
                        let entity: $kind = serde_json::from_str(body)
                            .map_err(|source| DirectoryError::Corrupt { kind: <$kind as Entity>::KIND, source })?;
                        <$kind as Entity>::all_mut(self).insert(entity.key(), Arc::new(entity));
                    })+
                    other => tracing::warn!(kind = other, "an entity of a kind that this release does not know"),
                }
                Ok(())
            }
        }
    };
}

entities! {
    User, "user", users, |user| user.name.to_lowercase();
    Group, "group", groups, |group| group.name.to_lowercase();
    Role, "role", roles, |role| role.name.to_lowercase();
    ManagedPolicy, "policy", policies, |policy| policy.arn.clone();
    AccessKey, "access-key", keys, |key| key.id.clone();
    ServiceCredential, "service-credential", credentials, |credential| credential.id.clone();
    ResourcePolicy, "resource-policy", resource_policies, |policy| policy.arn.clone();
}

impl State {
    pub fn account(&self) -> &str {
        &self.account
    }

    pub fn user(&self, name: &str) -> Result<&Arc<User>, DirectoryError> {
        self.users.get(&name.to_lowercase()).ok_or_else(|| DirectoryError::unknown("user", name))
    }

    pub fn group(&self, name: &str) -> Result<&Arc<Group>, DirectoryError> {
        self.groups.get(&name.to_lowercase()).ok_or_else(|| DirectoryError::unknown("group", name))
    }

    pub fn role(&self, name: &str) -> Result<&Arc<Role>, DirectoryError> {
        self.roles.get(&name.to_lowercase()).ok_or_else(|| DirectoryError::unknown("role", name))
    }

    /// A managed policy: the account's own or AWS's.
    pub fn policy(&self, arn: &str) -> Result<&Arc<ManagedPolicy>, DirectoryError> {
        let found = if is_aws(arn) { aws_policies::find(arn) } else { self.policies.get(arn) };
        found.ok_or_else(|| DirectoryError::unknown_policy(arn))
    }

    pub fn access_key(&self, id: &str) -> Result<&Arc<AccessKey>, DirectoryError> {
        self.keys.get(id).ok_or_else(|| {
            DirectoryError::NoSuchEntity(format!("The Access Key with id {id} cannot be found."))
        })
    }

    pub fn service_credential(&self, id: &str) -> Result<&Arc<ServiceCredential>, DirectoryError> {
        self.credentials.get(id).ok_or_else(|| {
            DirectoryError::NoSuchEntity(format!("No such credential {id} exists for the user."))
        })
    }

    /// The resource's own policy.
    pub fn resource_policy(&self, arn: &str) -> Option<&Arc<ResourcePolicy>> {
        self.resource_policies.get(arn)
    }

    pub fn users(&self) -> impl Iterator<Item = &Arc<User>> {
        self.users.values()
    }

    pub fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.groups.values()
    }

    pub fn roles(&self) -> impl Iterator<Item = &Arc<Role>> {
        self.roles.values()
    }

    /// The account's own managed policies.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<ManagedPolicy>> {
        self.policies.values()
    }

    pub fn groups_of(&self, user: &User) -> impl Iterator<Item = &Arc<Group>> {
        user.groups.iter().filter_map(|group| self.groups.get(group))
    }

    pub fn members_of(&self, group: &Group) -> impl Iterator<Item = &Arc<User>> {
        let key = group.key();
        self.users.values().filter(move |user| user.groups.contains(&key))
    }

    pub fn keys_of(&self, user: &User) -> impl Iterator<Item = &Arc<AccessKey>> {
        self.keys.values().filter(|key| key.user_id == user.id)
    }

    pub fn credentials_of(&self, user: &User) -> impl Iterator<Item = &Arc<ServiceCredential>> {
        self.credentials.values().filter(|credential| credential.user_id == user.id)
    }

    /// How many users, groups and roles a managed policy is attached to, and how many it bounds.
    pub fn uses_of(&self, policy_arn: &str) -> (usize, usize) {
        let attached = |grants: &super::Grants| grants.attached.contains(policy_arn);
        let bounds = |boundary: &Option<String>| boundary.as_deref() == Some(policy_arn);
        let users = self.users.values();
        let roles = self.roles.values();
        let attachments = users.clone().filter(|user| attached(&user.grants)).count()
            + roles.clone().filter(|role| attached(&role.grants)).count()
            + self.groups.values().filter(|group| attached(&group.grants)).count();
        let boundaries = users.filter(|user| bounds(&user.boundary)).count()
            + roles.filter(|role| bounds(&role.boundary)).count();
        (attachments, boundaries)
    }
}

/// A state that is being changed, with the rows that the change writes.
#[derive(Debug)]
pub struct Draft {
    pub(crate) state: State,
    pub(crate) writes: Vec<Write>,
    pub now_ms: i64,
}

#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) kind: &'static str,
    pub(crate) id: String,
    /// `None` deletes.
    pub(crate) body: Option<String>,
}

impl Draft {
    pub(crate) fn new(state: State, now_ms: i64) -> Self {
        Self { state, writes: Vec::new(), now_ms }
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn put<E: Entity>(&mut self, entity: E) -> Result<Arc<E>, DirectoryError> {
        let body = serde_json::to_string(&entity)
            .map_err(|source| DirectoryError::Corrupt { kind: E::KIND, source })?;
        let key = entity.key();
        let entity = Arc::new(entity);
        E::all_mut(&mut self.state).insert(key.clone(), Arc::clone(&entity));
        self.writes.push(Write { kind: E::KIND, id: key, body: Some(body) });
        Ok(entity)
    }

    pub(crate) fn remove<E: Entity>(&mut self, key: &str) {
        E::all_mut(&mut self.state).remove(key);
        self.writes.push(Write { kind: E::KIND, id: key.to_owned(), body: None });
    }
}
