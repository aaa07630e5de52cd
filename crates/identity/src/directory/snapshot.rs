//! A state with what is worked out from it: keys ready to check signatures, and whose policies are whose.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use craton_core::{Principal, Session, SessionKind};
use craton_wire::sigv4::SigningSecret;
use parking_lot::RwLock;
use subtle::ConstantTimeEq as _;

use super::entities::{AccessKey, Document, Grants, Role, ServiceCredential, User};
use super::keys::read_api_key;
use super::state::State;
use super::vault::{Vault, VaultError};
use crate::policy::{Policy, PolicyKind};
use crate::source::{Attached, RolePolicies};

/// Principals whose policies are kept at hand; sessions come and go.
const MAX_ATTACHED: usize = 4_096;

#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(super) state: State,
    pub(super) generation: i64,
    /// Active and inactive access keys, by id.
    pub(super) keys: HashMap<String, Arc<Known>>,
    /// Users by their own ids.
    users: HashMap<String, Arc<User>>,
    /// Long-term API keys by the alias in front of their secret.
    api_keys: HashMap<String, Arc<ServiceCredential>>,
    /// By user id, or by access key id for sessions. Thrown away with the snapshot.
    attached: RwLock<HashMap<String, Arc<Attached>>>,
}

/// A user's access key, ready for use.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) key: Arc<AccessKey>,
    user: Arc<User>,
    pub(crate) principal: Arc<Principal>,
    pub(crate) secret: Arc<SigningSecret>,
    used_ms: AtomicI64,
}

impl Known {
    /// Whether the last use that was noted is too long ago; notes this one.
    pub(super) fn is_use_due(&self, now_ms: i64, every_ms: i64) -> bool {
        let last = self.used_ms.load(Ordering::Relaxed);
        let due = now_ms.saturating_sub(last) >= every_ms;
        due && self.used_ms.compare_exchange(last, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl Snapshot {
    /// A key that `vault` can't open opens nothing; the rest of the directory is as good as ever.
    pub(super) fn new(state: State, generation: i64, previous: Option<&Self>, vault: &Vault) -> Self {
        let users: HashMap<String, Arc<User>> =
            state.users().map(|user| (user.id.clone(), Arc::clone(user))).collect();
        let mut keys = HashMap::with_capacity(state.keys.len());
        for key in state.keys.values() {
            // A key whose user is gone is nobody's.
            let Some(user) = users.get(&key.user_id) else { continue };
            let before = previous.and_then(|previous| previous.keys.get(&key.id));
            let known = match before {
                Some(known) if Arc::ptr_eq(&known.key, key) && Arc::ptr_eq(&known.user, user) => {
                    Arc::clone(known)
                }
                _ => match ready(&state, key, user, vault) {
                    Ok(known) => Arc::new(known),
                    Err(error) => {
                        tracing::error!(key = key.id, %error, "an access key can't be used");
                        continue;
                    }
                },
            };
            keys.insert(key.id.clone(), known);
        }
        let credentials = state.credentials.values();
        let api_keys = credentials.map(|own| (own.alias.clone(), Arc::clone(own))).collect();
        Self { state, generation, keys, users, api_keys, attached: RwLock::default() }
    }

    pub(super) fn user_by_id(&self, id: &str) -> Option<&Arc<User>> {
        self.users.get(id)
    }

    /// Whose long-term API key this is. Looks at the secret before anything else is told.
    pub(super) fn api_key(&self, text: &str) -> Option<&Arc<ServiceCredential>> {
        let (alias, secret_sha256) = read_api_key(text)?;
        let found = self.api_keys.get(&alias)?;
        bool::from(secret_sha256.as_bytes().ct_eq(found.secret_sha256.as_bytes())).then_some(found)
    }

    /// Who acts in a session; `None` when who began it is there no longer.
    pub(super) fn principal_of(&self, access_key_id: &str, session: &Arc<Session>) -> Option<Principal> {
        let account = &self.state.account;
        let name = session.issuer_arn.rsplit('/').next().unwrap_or_default();
        let (arn, user_id) = match session.kind {
            SessionKind::AssumedRole => {
                let role = self.state.roles.get(&name.to_lowercase());
                let role = role.filter(|role| role.id == session.issuer_id)?;
                let arn = format!("arn:aws:sts::{account}:assumed-role/{}/{}", role.name, session.name);
                (arn, format!("{}:{}", role.id, session.name))
            }
            SessionKind::SessionToken if session.issuer_id == *account => {
                (format!("arn:aws:iam::{account}:root"), account.clone())
            }
            SessionKind::SessionToken => {
                let user = self.user_by_id(&session.issuer_id)?;
                (user.arn(account), user.id.clone())
            }
        };
        let access_key_id = access_key_id.to_owned();
        Some(Principal { arn, access_key_id, user_id, session: Some(Arc::clone(session)) })
    }

    /// The tags of the user, role or policy with this ARN.
    pub(super) fn tags(&self, arn: &str) -> Option<BTreeMap<String, String>> {
        let account = &self.state.account;
        let (kind, path) = arn.split_once(":iam::")?.1.split_once(':')?.1.split_once('/')?;
        let name = path.rsplit('/').next().unwrap_or_default();
        match kind {
            "user" => self
                .state
                .user(name)
                .ok()
                .filter(|user| user.arn(account) == arn)
                .map(|user| user.tags.clone()),
            "role" => self.role_at(arn).map(|role| role.tags.clone()),
            "policy" => self.state.policy(arn).ok().map(|policy| policy.tags.clone()),
            _ => None,
        }
    }

    /// What applies to a principal; `None` for one that is not, or no longer, here.
    pub(super) fn attached(&self, principal: &Principal) -> Option<Arc<Attached>> {
        let key = match &principal.session {
            Some(_) => &principal.access_key_id,
            None => &principal.user_id,
        };
        if let Some(attached) = self.attached.read().get(key) {
            return Some(Arc::clone(attached));
        }
        let attached = Arc::new(self.work_out(principal)?);
        if !key.is_empty() {
            let mut kept = self.attached.write();
            if kept.len() >= MAX_ATTACHED {
                kept.clear();
            }
            kept.insert(key.clone(), Arc::clone(&attached));
        }
        Some(attached)
    }

    fn work_out(&self, principal: &Principal) -> Option<Attached> {
        match &principal.session {
            Some(session) if session.kind == SessionKind::AssumedRole => {
                let role = self.role_at(&session.issuer_arn).filter(|role| role.id == session.issuer_id)?;
                let mut attached = self.of_role(role);
                attached.session = self.passed(session);
                Some(attached)
            }
            Some(session) => self.user_by_id(&session.issuer_id).map(|user| self.of_user(user)),
            None => {
                let name = principal.arn.rsplit('/').next()?;
                let user = self.state.users.get(&name.to_lowercase())?;
                let same = principal.user_id.is_empty() || principal.user_id == user.id;
                let same = same && user.arn(self.state.account()) == principal.arn;
                same.then(|| self.of_user(user))
            }
        }
    }

    fn of_user(&self, user: &User) -> Attached {
        let mut identity = self.granted(&user.grants);
        for group in self.state.groups_of(user) {
            identity.extend(self.granted(&group.grants));
        }
        Attached {
            identity,
            boundary: self.boundary(user.boundary.as_deref()),
            tags: user.tags.clone(),
            ..Attached::default()
        }
    }

    fn of_role(&self, role: &Role) -> Attached {
        Attached {
            identity: self.granted(&role.grants),
            boundary: self.boundary(role.boundary.as_deref()),
            tags: role.tags.clone(),
            ..Attached::default()
        }
    }

    fn granted(&self, grants: &Grants) -> Vec<Arc<Policy>> {
        let inline = grants.inline.values().map(Document::policy).cloned();
        inline.chain(grants.attached.iter().filter_map(|arn| self.managed(arn))).collect()
    }

    fn managed(&self, arn: &str) -> Option<Arc<Policy>> {
        self.state.policy(arn).ok()?.document().map(|document| Arc::clone(document.policy()))
    }

    /// A boundary that is there no longer allows nothing.
    fn boundary(&self, arn: Option<&str>) -> Option<Arc<Policy>> {
        arn.map(|arn| self.managed(arn).unwrap_or_default())
    }

    /// The policies passed with a session. One that is not readable any more allows nothing.
    fn passed(&self, session: &Session) -> Option<Vec<Arc<Policy>>> {
        if session.policies.is_empty() && session.policy_arns.is_empty() {
            return None;
        }
        let texts = session.policies.iter();
        let inline = texts.filter_map(|text| Policy::parse(text, PolicyKind::Inline).ok()).map(Arc::new);
        let managed = session.policy_arns.iter().filter_map(|arn| self.managed(arn));
        Some(inline.chain(managed).collect())
    }

    fn role_at(&self, arn: &str) -> Option<&Arc<Role>> {
        let name = arn.rsplit('/').next()?;
        let role = self.state.roles.get(&name.to_lowercase())?;
        (role.arn(self.state.account()) == arn).then_some(role)
    }

    pub(super) fn role_policies(&self, arn: &str) -> Option<RolePolicies> {
        let role = self.role_at(arn)?;
        Some(RolePolicies {
            arn: arn.to_owned(),
            id: role.id.clone(),
            trust: Arc::clone(role.trust.policy()),
            attached: Arc::new(self.of_role(role)),
        })
    }
}

fn ready(state: &State, key: &Arc<AccessKey>, user: &Arc<User>, vault: &Vault) -> Result<Known, VaultError> {
    let principal = Principal {
        arn: user.arn(state.account()),
        access_key_id: key.id.clone(),
        user_id: user.id.clone(),
        session: None,
    };
    Ok(Known {
        secret: Arc::new(SigningSecret::new(vault.open_sealed(&key.id, &key.sealed)?)),
        principal: Arc::new(principal),
        key: Arc::clone(key),
        user: Arc::clone(user),
        used_ms: AtomicI64::new(0),
    })
}
