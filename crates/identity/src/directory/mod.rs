//! Users, groups, roles, managed policies and keys of the account, in memory and in the records.
//!
//! Readers look at an immutable [`View`] and never wait. A change is made on a copy, in a transaction that first counts
//! up the account's generation: on PostgreSQL that row's lock puts the changes of all servers in a row, and a server
//! whose copy is older reads everything again before it changes anything. What is committed is what everybody here
//! sees next, also where whoever asked for the change has hung up by then; other servers on the same database are told
//! with the commit, and look at the generation every [`WATCH_MS`] besides, for what they may not have been told.
//!
//! Servers of one account must have one secrets key. A known text that is sealed with the first one's is kept in the
//! records, so that a server with another key does not start.
//!
//! * [`entities`](self): the data; `state` holds all of it, `changes`, `policies` and `keys` change it with IAM's
//!   conditions. All pure.
//! * `principals`: how policies name users and roles.
//! * `vault`: secrets at rest. `session`: temporary credentials.

mod aws_policies;
mod changes;
mod entities;
mod error;
mod keys;
mod policies;
mod principals;
mod resource_policies;
mod session;
mod snapshot;
mod state;
mod vault;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use craton_core::{Principal, Session};
use craton_store::{Store, StoreError, Transaction, values};
use craton_wire::sigv4::Secret;

pub use aws_policies::all as aws_managed_policies;
pub use changes::{DUPLICATE_TAG_KEYS, Holder, NewRole, Tagged, upper_first};
pub use entities::{
    AccessKey, Document, Grants, Group, KeyUse, ManagedPolicy, PolicyVersion, ResourcePolicy, Role,
    ServiceCredential, Tags, User,
};
pub use error::DirectoryError;
pub use keys::{API_KEY_PREFIX, BEDROCK};
pub(crate) use keys::{new_key, pick};
pub use policies::unknown_version;
pub use session::TemporaryCredentials;
pub use state::{Draft, State};
pub use vault::{SECRETS_FILE, SECRETS_KEY, Vault, VaultError};

pub(crate) use snapshot::Known;
use snapshot::Snapshot;

use crate::policy::{Malformed, Policy};
use crate::source::{Attached, PolicySource, RolePolicies};

/// How often a server that shares its database looks by itself whether another has changed something.
pub const WATCH_MS: u64 = 1_000;

/// Where servers tell each other of changes.
const CHANNEL: &str = "craton_identity";

/// The entity whose body only the right secrets key opens.
const CHECK_KIND: &str = "secrets-check";
const CHECK_TEXT: &str = "the secrets of this account";

/// How long a key's last use may be out of date.
const USE_MS: i64 = 60_000;

/// A handle to the directory; clones share it.
#[derive(Debug, Clone)]
pub struct Directory {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    vault: Vault,
    snapshot: ArcSwap<Snapshot>,
    /// Held by whoever changes or reads again.
    changing: Arc<tokio::sync::Mutex<()>>,
}

/// The directory at one moment.
#[derive(Debug, Clone)]
pub struct View(Arc<Snapshot>);

impl Deref for View {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0.state
    }
}

impl View {
    pub fn user_by_id(&self, id: &str) -> Option<&Arc<User>> {
        self.0.user_by_id(id)
    }

    pub(crate) fn api_key(&self, text: &str) -> Option<&Arc<ServiceCredential>> {
        self.0.api_key(text)
    }

    pub(crate) fn principal_of(&self, access_key_id: &str, session: &Arc<Session>) -> Option<Principal> {
        self.0.principal_of(access_key_id, session)
    }
}

impl Directory {
    /// Reads the account's directory. Fails where a stored secret was encrypted with another key.
    pub async fn open(store: Store, account: &str, vault: Vault) -> Result<Self, DirectoryError> {
        let mut transaction = store.begin().await?;
        transaction
            .execute(
                "INSERT INTO identity_generations (account, generation) VALUES ($1, 0) \
                 ON CONFLICT (account) DO NOTHING",
                &values![account],
            )
            .await?;
        let (state, generation) = read(&mut transaction, account).await?;
        check_key(&mut transaction, &state, &vault).await?;
        transaction.commit().await?;
        let snapshot = ArcSwap::from_pointee(Snapshot::new(state, generation, None, &vault));
        let inner = Inner { store, vault, snapshot, changing: Arc::default() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// An empty one that ends with the process, for tests.
    pub async fn in_memory(account: &str) -> Result<Self, DirectoryError> {
        Self::open(Store::in_memory().await?, account, Vault::forgetful()?).await
    }

    /// Everything as it is now.
    pub fn view(&self) -> View {
        View(self.inner.snapshot.load_full())
    }

    pub fn vault(&self) -> &Vault {
        &self.inner.vault
    }

    /// Makes a change. It is durable and seen by every reader here when this returns. Whoever gives up waiting for it
    /// leaves it either undone or seen by every reader all the same.
    pub async fn change<T>(
        &self,
        now_ms: i64,
        change: impl FnOnce(&mut Draft) -> Result<T, DirectoryError> + Send,
    ) -> Result<T, DirectoryError> {
        let alone = Arc::clone(&self.inner.changing).lock_owned().await;
        let now = self.inner.snapshot.load_full();
        let account = now.state.account.clone();
        let mut transaction = self.inner.store.begin().await?;
        let rows = transaction
            .fetch_all(
                "UPDATE identity_generations SET generation = generation + 1 WHERE account = $1 \
                 RETURNING generation",
                &values![&account],
            )
            .await?;
        let generation: i64 = rows.first().map(|row| row.get("generation")).transpose()?.unwrap_or(1);
        let state = if generation == now.generation + 1 {
            now.state.clone()
        } else {
            read(&mut transaction, &account).await?.0
        };
        let mut draft = Draft::new(state, now_ms);
        let done = change(&mut draft)?;
        let Draft { state, writes, .. } = draft;
        if writes.is_empty() {
            transaction.rollback().await?;
            return Ok(done);
        }
        for write in &writes {
            write_row(&mut transaction, &account, write).await?;
        }
        transaction.notify(CHANNEL).await?;
        let next = Snapshot::new(state, generation, Some(&now), &self.inner.vault);
        let inner = Arc::clone(&self.inner);
        // A task of its own: a client that hangs up drops this future, and must not do so between the two.
        let committing = tokio::spawn(async move {
            let _alone = alone;
            let committed = transaction.commit().await;
            match &committed {
                Ok(()) => inner.snapshot.store(Arc::new(next)),
                // It may have happened all the same.
                Err(_) => inner.read_again(&account).await?,
            }
            Ok(committed?)
        });
        committing.await.unwrap_or_else(|_| Err(DirectoryError::Interrupted))?;
        Ok(done)
    }

    /// Reads everything again if another server has changed something.
    pub async fn refresh(&self) -> Result<(), DirectoryError> {
        let account = self.inner.snapshot.load().state.account.clone();
        let row = self
            .inner
            .store
            .fetch_optional(
                "SELECT generation FROM identity_generations WHERE account = $1",
                &values![&account],
            )
            .await?;
        let generation: i64 = row.map(|row| row.get("generation")).transpose()?.unwrap_or_default();
        if generation == self.inner.snapshot.load().generation {
            return Ok(());
        }
        let _alone = self.inner.changing.lock().await;
        self.inner.read_again(&account).await
    }

    /// Keeps up with other servers on the same database; never returns. Without others there is nothing to do.
    pub async fn watch(self) {
        if !self.inner.store.is_shared() {
            return std::future::pending().await;
        }
        let mut notices = None;
        loop {
            if notices.is_none() {
                notices = self.inner.store.notices(CHANNEL).await.unwrap_or_else(|error| {
                    tracing::warn!(%error, "this server is not told of changes by others, and looks for them");
                    None
                });
            }
            let patience = Duration::from_millis(WATCH_MS);
            match &mut notices {
                Some(listening) => {
                    if let Ok(Err(_)) = tokio::time::timeout(patience, listening.next()).await {
                        notices = None;
                        tokio::time::sleep(patience).await;
                    }
                }
                None => tokio::time::sleep(patience).await,
            }
            if let Err(error) = self.refresh().await {
                tracing::warn!(%error, "the directory of users and roles could not be brought up to date");
            }
        }
    }

    /// The user's key with this id.
    pub(crate) fn known(&self, access_key_id: &str) -> Option<Arc<Known>> {
        self.inner.snapshot.load().keys.get(access_key_id).cloned()
    }

    /// Remembers that a key was used, now and then on the disk too.
    pub(crate) fn note_use(&self, known: &Known, (service, region): (&str, &str), now_ms: i64) {
        if !known.is_use_due(now_ms, USE_MS) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let store = self.inner.store.clone();
        let account = self.inner.snapshot.load().state.account.clone();
        let parameters = values![account, known.key.id.as_str(), now_ms, service, region];
        runtime.spawn(async move {
            let written = store
                .execute(
                    "INSERT INTO identity_key_uses (account, key_id, used_ms, service, region) \
                     VALUES ($1, $2, $3, $4, $5) ON CONFLICT (account, key_id) DO UPDATE SET \
                     used_ms = excluded.used_ms, service = excluded.service, region = excluded.region",
                    &parameters,
                )
                .await;
            if let Err(error) = written {
                tracing::debug!(%error, "a key's last use could not be written");
            }
        });
    }

    /// When a key was last used, to the minute.
    pub async fn last_use(&self, access_key_id: &str) -> Result<Option<KeyUse>, DirectoryError> {
        let account = self.view().account.clone();
        let row = self
            .inner
            .store
            .fetch_optional(
                "SELECT used_ms, service, region FROM identity_key_uses WHERE account = $1 AND key_id = $2",
                &values![&account, access_key_id],
            )
            .await?;
        let read = |row: craton_store::Row| -> Result<KeyUse, StoreError> {
            Ok(KeyUse {
                used_ms: row.get("used_ms")?,
                service: row.get("service")?,
                region: row.get("region")?,
            })
        };
        Ok(row.map(read).transpose()?)
    }
}

impl Inner {
    /// Whoever calls this changes nothing meanwhile, and lets nobody else.
    async fn read_again(&self, account: &str) -> Result<(), DirectoryError> {
        let now = self.snapshot.load_full();
        let mut transaction = self.store.begin().await?;
        let (state, generation) = read(&mut transaction, account).await?;
        transaction.rollback().await?;
        self.snapshot.store(Arc::new(Snapshot::new(state, generation, Some(&now), &self.vault)));
        Ok(())
    }
}

impl PolicySource for Directory {
    fn attached(&self, principal: &Principal) -> Option<Arc<Attached>> {
        self.inner.snapshot.load().attached(principal)
    }

    fn role(&self, role_arn: &str) -> Option<RolePolicies> {
        self.inner.snapshot.load().role_policies(role_arn)
    }

    fn arn_of(&self, kind: &str, name: &str) -> Option<String> {
        let snapshot = self.inner.snapshot.load();
        let state = &snapshot.state;
        let account = state.account();
        match kind {
            "user" => state.user(name).ok().map(|user| user.arn(account)),
            "user-of-key" => {
                let key = state.access_key(name).ok()?;
                snapshot.user_by_id(&key.user_id).map(|user| user.arn(account))
            }
            "role" => state.role(name).ok().map(|role| role.arn(account)),
            "group" => state.group(name).ok().map(|group| group.arn(account)),
            _ => None,
        }
    }

    fn tags_of(&self, arn: &str) -> Option<BTreeMap<String, String>> {
        self.inner.snapshot.load().tags(arn)
    }

    fn bind_principals(&self, text: &str) -> Result<String, Malformed> {
        self.inner.snapshot.load().state.bind_principals(text).map(Cow::into_owned)
    }

    fn show_principals(&self, text: &str) -> String {
        self.inner.snapshot.load().state.show_principals(text).into_owned()
    }

    fn boundary_of(&self, arn: &str) -> Option<String> {
        let state = &self.inner.snapshot.load().state;
        let name = arn.rsplit('/').next().unwrap_or_default();
        let user = state.user(name).ok().filter(|user| user.arn(state.account()) == arn);
        let role = state.role(name).ok().filter(|role| role.arn(state.account()) == arn);
        let of_user = user.and_then(|user| user.boundary.clone());
        of_user.or_else(|| role.and_then(|role| role.boundary.clone()))
    }

    fn resource_policy(&self, arn: &str) -> Option<Arc<Policy>> {
        let policies = &self.inner.snapshot.load().state.resource_policies;
        policies.get(arn).map(|policy| Arc::clone(policy.document.policy()))
    }
}

/// Fails unless `vault` is the one that the account's secrets are sealed with. The first vault is.
async fn check_key(
    transaction: &mut Transaction,
    state: &State,
    vault: &Vault,
) -> Result<(), DirectoryError> {
    let account = state.account.as_str();
    let sealed = vault.seal(CHECK_KIND, &Secret::new(CHECK_TEXT))?;
    let made = transaction
        .execute(
            "INSERT INTO identity_entities (account, kind, id, body) VALUES ($1, $2, '', $3) \
             ON CONFLICT (account, kind, id) DO NOTHING",
            &values![account, CHECK_KIND, sealed],
        )
        .await?;
    if made > 0 {
        // Records of an earlier release have keys, and nothing to check by but those.
        for key in state.keys.values() {
            vault.open_sealed(&key.id, &key.sealed)?;
        }
        return Ok(());
    }
    let rows = transaction
        .fetch_all(
            "SELECT body FROM identity_entities WHERE account = $1 AND kind = $2",
            &values![account, CHECK_KIND],
        )
        .await?;
    for row in rows {
        let body: String = row.get("body")?;
        vault.open_sealed(CHECK_KIND, &body)?;
    }
    Ok(())
}

async fn read(transaction: &mut Transaction, account: &str) -> Result<(State, i64), DirectoryError> {
    let generation = transaction
        .fetch_optional("SELECT generation FROM identity_generations WHERE account = $1", &values![account])
        .await?;
    let generation = generation.map(|row| row.get("generation")).transpose()?.unwrap_or_default();
    let mut state = State { account: account.to_owned(), ..State::default() };
    let rows = transaction
        .fetch_all(
            "SELECT kind, body FROM identity_entities WHERE account = $1 AND kind <> $2",
            &values![account, CHECK_KIND],
        )
        .await?;
    for row in rows {
        state.restore(row.get("kind")?, row.get("body")?)?;
    }
    Ok((state, generation))
}

async fn write_row(
    transaction: &mut Transaction,
    account: &str,
    write: &state::Write,
) -> Result<(), StoreError> {
    let (kind, id) = (write.kind, write.id.as_str());
    match &write.body {
        Some(body) => {
            transaction
                .execute(
                    "INSERT INTO identity_entities (account, kind, id, body) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT (account, kind, id) DO UPDATE SET body = excluded.body",
                    &values![account, kind, id, body],
                )
                .await?
        }
        None => {
            transaction
                .execute(
                    "DELETE FROM identity_entities WHERE account = $1 AND kind = $2 AND id = $3",
                    &values![account, kind, id],
                )
                .await?
        }
    };
    Ok(())
}
