//! Changes to users, groups and roles, with the conditions that IAM puts on each.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::entities::{Document, Grants, Group, Role, Tags, User, entity_arn, is_aws};
use super::error::DirectoryError;
use super::keys::new_id;
use super::state::{Draft, Entity as _};

/// IAM's and STS's words for a tag that is given twice.
pub const DUPLICATE_TAG_KEYS: &str =
    "Duplicate tag keys found. Please note that Tag keys are case insensitive.";

const MAX_GROUPS_PER_USER: usize = 10;
const MAX_TAGS: usize = 50;
const MAX_ATTACHED: usize = 20;

/// Who has policies.
#[derive(Debug, Clone, Copy)]
pub enum Holder<'a> {
    User(&'a str),
    Group(&'a str),
    Role(&'a str),
}

impl Holder<'_> {
    fn kind(self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Group(_) => "group",
            Self::Role(_) => "role",
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::User(name) | Self::Group(name) | Self::Role(name) => name,
        }
    }

    /// Most characters that all inline policies together may have.
    fn inline_quota(self) -> usize {
        match self {
            Self::User(_) => 2_048,
            Self::Group(_) => 5_120,
            Self::Role(_) => 10_240,
        }
    }
}

/// What tags are put on.
#[derive(Debug, Clone, Copy)]
pub enum Tagged<'a> {
    User(&'a str),
    Role(&'a str),
    Policy(&'a str),
}

/// A role to be made.
#[derive(Debug)]
pub struct NewRole {
    pub name: String,
    pub path: String,
    pub trust: Document,
    pub description: Option<String>,
    pub max_session_s: i32,
    pub boundary: Option<String>,
    pub tags: Tags,
}

impl Draft {
    pub fn create_user(
        &mut self,
        name: &str,
        path: &str,
        boundary: Option<String>,
        tags: Tags,
    ) -> Result<Arc<User>, DirectoryError> {
        if self.state.users.contains_key(&name.to_lowercase()) {
            return Err(DirectoryError::taken("User", name));
        }
        self.check_boundary(boundary.as_deref())?;
        check_tags(&tags)?;
        let user = User {
            name: name.to_owned(),
            id: new_id("AIDA"),
            path: path.to_owned(),
            created_ms: self.now_ms,
            tags,
            boundary,
            grants: Grants::default(),
            groups: BTreeSet::new(),
        };
        self.put(user)
    }

    /// Gives a user another name or path; its id and keys stay.
    pub fn update_user(
        &mut self,
        name: &str,
        new_name: Option<&str>,
        new_path: Option<&str>,
    ) -> Result<Arc<User>, DirectoryError> {
        let mut user = User::clone(self.state.user(name)?);
        let old = user.key();
        if let Some(new_name) = new_name {
            user.name = new_name.to_owned();
        }
        if let Some(new_path) = new_path {
            user.path = new_path.to_owned();
        }
        if user.key() != old {
            if self.state.users.contains_key(&user.key()) {
                return Err(DirectoryError::taken("User", &user.name));
            }
            self.remove::<User>(&old);
        }
        self.put(user)
    }

    pub fn delete_user(&mut self, name: &str) -> Result<(), DirectoryError> {
        let user = Arc::clone(self.state.user(name)?);
        let first = if self.state.keys_of(&user).next().is_some() {
            Some("must delete access keys first.")
        } else if self.state.credentials_of(&user).next().is_some() {
            Some("must delete service specific credentials first.")
        } else if !user.groups.is_empty() {
            Some("must remove users from group first.")
        } else {
            grants_in_the_way(&user.grants)
        };
        match first {
            Some(first) => Err(DirectoryError::DeleteConflict(format!("Cannot delete entity, {first}"))),
            None => {
                self.remove::<User>(&user.key());
                Ok(())
            }
        }
    }

    pub fn create_group(&mut self, name: &str, path: &str) -> Result<Arc<Group>, DirectoryError> {
        if self.state.groups.contains_key(&name.to_lowercase()) {
            return Err(DirectoryError::taken("Group", name));
        }
        let group = Group {
            name: name.to_owned(),
            id: new_id("AGPA"),
            path: path.to_owned(),
            created_ms: self.now_ms,
            grants: Grants::default(),
        };
        self.put(group)
    }

    pub fn update_group(
        &mut self,
        name: &str,
        new_name: Option<&str>,
        new_path: Option<&str>,
    ) -> Result<Arc<Group>, DirectoryError> {
        let mut group = Group::clone(self.state.group(name)?);
        let old = group.key();
        if let Some(new_name) = new_name {
            group.name = new_name.to_owned();
        }
        if let Some(new_path) = new_path {
            group.path = new_path.to_owned();
        }
        if group.key() != old {
            if self.state.groups.contains_key(&group.key()) {
                return Err(DirectoryError::taken("Group", &group.name));
            }
            let members: Vec<User> = self
                .state
                .users()
                .filter(|user| user.groups.contains(&old))
                .map(|user| User::clone(user))
                .collect();
            for mut member in members {
                member.groups.remove(&old);
                member.groups.insert(group.key());
                self.put(member)?;
            }
            self.remove::<Group>(&old);
        }
        self.put(group)
    }

    pub fn delete_group(&mut self, name: &str) -> Result<(), DirectoryError> {
        let group = Arc::clone(self.state.group(name)?);
        let first = if self.state.members_of(&group).next().is_some() {
            Some("must remove users from group first.")
        } else {
            grants_in_the_way(&group.grants)
        };
        match first {
            Some(first) => Err(DirectoryError::DeleteConflict(format!("Cannot delete entity, {first}"))),
            None => {
                self.remove::<Group>(&group.key());
                Ok(())
            }
        }
    }

    pub fn add_user_to_group(&mut self, group: &str, user: &str) -> Result<(), DirectoryError> {
        let group = self.state.group(group)?.key();
        let mut user = User::clone(self.state.user(user)?);
        if user.groups.insert(group) {
            if user.groups.len() > MAX_GROUPS_PER_USER {
                return Err(DirectoryError::quota("GroupsPerUser", MAX_GROUPS_PER_USER));
            }
            self.put(user)?;
        }
        Ok(())
    }

    pub fn remove_user_from_group(&mut self, group: &str, user: &str) -> Result<(), DirectoryError> {
        let group = self.state.group(group)?.key();
        let mut user = User::clone(self.state.user(user)?);
        if !user.groups.remove(&group) {
            return Err(DirectoryError::unknown("user", &user.name));
        }
        self.put(user).map(drop)
    }

    pub fn create_role(&mut self, new: NewRole) -> Result<Arc<Role>, DirectoryError> {
        if self.state.roles.contains_key(&new.name.to_lowercase()) {
            return Err(DirectoryError::taken("Role", &new.name));
        }
        self.check_boundary(new.boundary.as_deref())?;
        check_tags(&new.tags)?;
        let role = Role {
            id: new_id("AROA"),
            created_ms: self.now_ms,
            name: new.name,
            path: new.path,
            trust: new.trust.bound(&self.state)?,
            description: new.description,
            max_session_s: new.max_session_s,
            tags: new.tags,
            boundary: new.boundary,
            grants: Grants::default(),
        };
        self.put(role)
    }

    /// Changes a role in place.
    pub fn update_role(
        &mut self,
        name: &str,
        change: impl FnOnce(&mut Role),
    ) -> Result<Arc<Role>, DirectoryError> {
        let mut role = Role::clone(self.state.role(name)?);
        change(&mut role);
        self.put(role)
    }

    /// Says who may assume a role.
    pub fn set_trust(&mut self, name: &str, trust: Document) -> Result<Arc<Role>, DirectoryError> {
        self.state.role(name)?;
        let trust = trust.bound(&self.state)?;
        self.update_role(name, |role| role.trust = trust)
    }

    pub fn delete_role(&mut self, name: &str) -> Result<(), DirectoryError> {
        let role = Arc::clone(self.state.role(name)?);
        match grants_in_the_way(&role.grants) {
            Some(first) => Err(DirectoryError::DeleteConflict(format!("Cannot delete entity, {first}"))),
            None => {
                self.remove::<Role>(&role.key());
                Ok(())
            }
        }
    }

    pub fn put_inline_policy(
        &mut self,
        holder: Holder<'_>,
        policy: &str,
        document: Document,
    ) -> Result<(), DirectoryError> {
        let policy = policy.to_owned();
        self.change_grants(holder, |grants| {
            grants.inline.insert(policy, document);
            let total: usize = grants.inline.values().map(Document::billed_len).sum();
            if total > holder.inline_quota() {
                let (limit, kind) = (holder.inline_quota(), holder.kind());
                return Err(DirectoryError::LimitExceeded(format!(
                    "Maximum policy size of {limit} bytes exceeded for {kind} {}",
                    holder.name()
                )));
            }
            Ok(())
        })
    }

    pub fn delete_inline_policy(&mut self, holder: Holder<'_>, policy: &str) -> Result<(), DirectoryError> {
        self.change_grants(holder, |grants| match grants.inline.remove(policy) {
            Some(_) => Ok(()),
            None => Err(DirectoryError::unknown(&format!("{} policy", holder.kind()), policy)),
        })
    }

    pub fn attach_policy(&mut self, holder: Holder<'_>, arn: &str) -> Result<(), DirectoryError> {
        if self.state.policy(arn).is_err() {
            // A holder that is not there is told first.
            self.change_grants(holder, |_| Ok(()))?;
            let missing = format!("Policy {arn} does not exist or is not attachable.");
            return Err(DirectoryError::NoSuchEntity(missing));
        }
        let arn = arn.to_owned();
        self.change_grants(holder, |grants| {
            grants.attached.insert(arn);
            if grants.attached.len() > MAX_ATTACHED {
                let kind = holder.kind();
                let quota = format!("PoliciesPer{}", upper_first(kind));
                return Err(DirectoryError::quota(&quota, MAX_ATTACHED));
            }
            Ok(())
        })
    }

    pub fn detach_policy(&mut self, holder: Holder<'_>, arn: &str) -> Result<(), DirectoryError> {
        self.change_grants(holder, |grants| match grants.attached.remove(arn) {
            true => Ok(()),
            false => Err(DirectoryError::unknown_policy(arn)),
        })
    }

    /// Bounds a user or a role by a managed policy; `None` lifts the bound.
    pub fn set_boundary(&mut self, holder: Holder<'_>, arn: Option<&str>) -> Result<(), DirectoryError> {
        self.check_boundary(arn)?;
        let boundary = arn.map(str::to_owned);
        match holder {
            Holder::User(name) => {
                let mut user = User::clone(self.state.user(name)?);
                if boundary.is_none() && user.boundary.is_none() {
                    return Err(no_boundary("user", name));
                }
                user.boundary = boundary;
                self.put(user).map(drop)
            }
            Holder::Role(name) => {
                let mut role = Role::clone(self.state.role(name)?);
                if boundary.is_none() && role.boundary.is_none() {
                    return Err(no_boundary("role", name));
                }
                role.boundary = boundary;
                self.put(role).map(drop)
            }
            Holder::Group(name) => Err(DirectoryError::InvalidInput(format!(
                "The group {name} can have no permissions boundary."
            ))),
        }
    }

    /// Adds tags (new values for keys that are there) and removes keys.
    pub fn change_tags(
        &mut self,
        tagged: Tagged<'_>,
        add: Tags,
        remove: &[String],
    ) -> Result<(), DirectoryError> {
        let change = |tags: &mut Tags| {
            tags.extend(add);
            tags.retain(|key, _| !remove.contains(key));
            check_tags(tags)
        };
        match tagged {
            Tagged::User(name) => {
                let mut user = User::clone(self.state.user(name)?);
                change(&mut user.tags)?;
                self.put(user).map(drop)
            }
            Tagged::Role(name) => {
                let mut role = Role::clone(self.state.role(name)?);
                change(&mut role.tags)?;
                self.put(role).map(drop)
            }
            Tagged::Policy(arn) => {
                let mut policy = self.own_policy(arn)?;
                change(&mut policy.tags)?;
                self.put(policy).map(drop)
            }
        }
    }

    fn change_grants(
        &mut self,
        holder: Holder<'_>,
        change: impl FnOnce(&mut Grants) -> Result<(), DirectoryError>,
    ) -> Result<(), DirectoryError> {
        match holder {
            Holder::User(name) => {
                let mut user = User::clone(self.state.user(name)?);
                change(&mut user.grants)?;
                self.put(user).map(drop)
            }
            Holder::Group(name) => {
                let mut group = Group::clone(self.state.group(name)?);
                change(&mut group.grants)?;
                self.put(group).map(drop)
            }
            Holder::Role(name) => {
                let mut role = Role::clone(self.state.role(name)?);
                change(&mut role.grants)?;
                self.put(role).map(drop)
            }
        }
    }

    fn check_boundary(&self, arn: Option<&str>) -> Result<(), DirectoryError> {
        let Some(arn) = arn else { return Ok(()) };
        match self.state.policy(arn) {
            Ok(_) => Ok(()),
            Err(_) if is_aws(arn) || arn.starts_with(&entity_arn(&self.state.account, "policy", "/", "")) => {
                Err(DirectoryError::NoSuchEntity(format!(
                    "Policy {arn} does not exist or is not attachable."
                )))
            }
            Err(_) => {
                let message =
                    format!("Value '{arn}' for the permissions boundary is not the ARN of a managed policy.");
                Err(DirectoryError::InvalidInput(message))
            }
        }
    }
}

/// What must go before its holder does.
fn grants_in_the_way(grants: &Grants) -> Option<&'static str> {
    if !grants.attached.is_empty() {
        Some("must detach all policies first.")
    } else if !grants.inline.is_empty() {
        Some("must delete policies first.")
    } else {
        None
    }
}

pub(super) fn check_tags(tags: &Tags) -> Result<(), DirectoryError> {
    let mut keys: Vec<String> = tags.keys().map(|key| key.to_lowercase()).collect();
    keys.sort_unstable();
    if keys.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(DirectoryError::InvalidInput(DUPLICATE_TAG_KEYS.to_owned()));
    }
    if keys.iter().any(|key| key.starts_with("aws:")) {
        let message = "System tags can not be added or removed: tag keys must not begin with aws:.";
        return Err(DirectoryError::InvalidInput(message.to_owned()));
    }
    if tags.len() > MAX_TAGS {
        return Err(DirectoryError::LimitExceeded(format!(
            "The number of tags has reached the maximum limit of {MAX_TAGS}."
        )));
    }
    Ok(())
}

fn no_boundary(kind: &str, name: &str) -> DirectoryError {
    DirectoryError::NoSuchEntity(format!("The {kind} {name} has no permissions boundary."))
}

/// `user` is `User` at the beginning of a message.
pub fn upper_first(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}
