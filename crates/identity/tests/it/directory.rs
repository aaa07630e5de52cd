//! The directory: what is changed is durable and seen at once, here and by others on the same records; keys and
//! sessions act as who they belong to.

use std::collections::BTreeMap;
use std::sync::Arc;

use craton_core::{Principal, Session, SessionKind};
use craton_identity::directory::{Directory, DirectoryError, Document, Holder, NewRole, Tagged, Vault};
use craton_identity::policy::PolicyKind;
use craton_identity::{AuthorizationRequest, Authorizer as _, Decision, PolicyAuthorizer, PolicySource as _};
use craton_store::Store;

const ACCOUNT: &str = "123456789012";
const NOW_MS: i64 = 1_800_000_000_000;

fn allow(action: &str) -> Document {
    let text = format!(
        r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"{action}","Resource":"*"}}}}"#
    );
    Document::parse(&text, PolicyKind::Inline).unwrap()
}

fn role(name: &str) -> NewRole {
    let trust = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}}"#;
    NewRole {
        name: name.into(),
        path: "/team/".into(),
        trust: Document::parse(trust, PolicyKind::Trust).unwrap(),
        description: None,
        max_session_s: 3600,
        boundary: None,
        tags: BTreeMap::from([("team".into(), "red".into())]),
    }
}

fn may(directory: &Directory, principal: &Principal, action: &str) -> bool {
    let authorizer = PolicyAuthorizer::new(Arc::new(directory.clone()));
    authorizer.decide(principal, &AuthorizationRequest::new(action, &[])) == Decision::Allow
}

#[tokio::test]
async fn what_is_changed_is_there_after_a_restart_and_for_others_on_the_same_records() {
    let folder = tempfile::tempdir().unwrap();
    let stores = [Store::open(folder.path()).await.unwrap(), craton_store::testing::postgres().await];
    for store in stores {
        shared(folder.path(), store).await;
    }
}

async fn shared(folder: &std::path::Path, store: Store) {
    let open = || async {
        let vault = Vault::open(folder, None).unwrap();
        Directory::open(store.clone(), ACCOUNT, vault).await.unwrap()
    };
    let (here, there) = (open().await, open().await);
    let user = here
        .change(NOW_MS, |draft| {
            draft.create_user("Ada", "/", None, BTreeMap::new())?;
            draft.put_inline_policy(Holder::User("ada"), "p", allow("bedrock:InvokeModel"))?;
            draft.state().user("ADA").cloned()
        })
        .await
        .unwrap();
    let ada = Principal { user_id: user.id.clone(), ..Principal::new(user.arn(ACCOUNT), "") };
    assert!(may(&here, &ada, "bedrock:InvokeModel") && !may(&here, &ada, "bedrock:ListGuardrails"));
    assert!(there.view().user("Ada").is_err());
    there.refresh().await.unwrap();
    assert!(may(&there, &ada, "bedrock:InvokeModel"));
    // Whoever changes something on an older copy reads first.
    there
        .change(NOW_MS, |draft| {
            draft.attach_policy(Holder::User("Ada"), "arn:aws:iam::aws:policy/AmazonBedrockReadOnly")
        })
        .await
        .unwrap();
    here.change(NOW_MS, |draft| draft.create_group("g", "/")).await.unwrap();
    assert!(may(&here, &ada, "bedrock:ListGuardrails"), "the other's change was not lost");
    let again = open().await;
    assert!(may(&again, &ada, "bedrock:ListGuardrails") && again.view().group("G").is_ok());
    // Detached is detached at once.
    here.change(NOW_MS, |draft| {
        draft.detach_policy(Holder::User("Ada"), "arn:aws:iam::aws:policy/AmazonBedrockReadOnly")
    })
    .await
    .unwrap();
    assert!(!may(&here, &ada, "bedrock:ListGuardrails"));
}

#[tokio::test]
async fn a_refused_change_leaves_nothing_behind() {
    let directory = Directory::in_memory(ACCOUNT).await.unwrap();
    let refused = directory
        .change(NOW_MS, |draft| {
            draft.create_user("ada", "/", None, BTreeMap::new())?;
            draft.create_user("ADA", "/", None, BTreeMap::new())
        })
        .await;
    assert!(matches!(refused, Err(DirectoryError::AlreadyExists(_))));
    assert!(directory.view().user("ada").is_err());
    assert!(
        directory.change(NOW_MS, |draft| draft.create_user("ada", "/", None, BTreeMap::new())).await.is_ok()
    );
}

#[tokio::test]
async fn deleting_asks_for_what_hangs_on_it_first() {
    let directory = Directory::in_memory(ACCOUNT).await.unwrap();
    let vault = directory.vault();
    directory
        .change(NOW_MS, |draft| {
            draft.create_user("ada", "/", None, BTreeMap::new())?;
            draft.create_group("g", "/")?;
            draft.add_user_to_group("g", "ada")?;
            draft.put_inline_policy(Holder::User("ada"), "p", allow("s3:*"))?;
            draft.create_access_key("ada", vault)?;
            draft.create_access_key("ada", vault).map(drop)
        })
        .await
        .unwrap();
    let conflict = |answer: Result<(), DirectoryError>| match answer {
        Err(DirectoryError::DeleteConflict(message)) => message,
        other => panic!("{other:?}"),
    };
    let third = directory.change(NOW_MS, |draft| draft.create_access_key("ada", vault).map(drop)).await;
    assert!(matches!(third, Err(DirectoryError::LimitExceeded(_))), "{third:?}");
    let delete = || directory.change(NOW_MS, |draft| draft.delete_user("ada"));
    assert!(conflict(delete().await).contains("access keys"));
    let keys: Vec<String> = {
        let view = directory.view();
        let user = view.user("ada").unwrap();
        view.keys_of(user).map(|key| key.id.clone()).collect()
    };
    for key in keys {
        directory.change(NOW_MS, |draft| draft.delete_access_key("ada", &key)).await.unwrap();
    }
    assert!(conflict(delete().await).contains("group"));
    assert!(conflict(directory.change(NOW_MS, |draft| draft.delete_group("g")).await).contains("users"));
    directory.change(NOW_MS, |draft| draft.remove_user_from_group("g", "ada")).await.unwrap();
    assert!(conflict(delete().await).contains("must delete policies first"));
    directory.change(NOW_MS, |draft| draft.delete_inline_policy(Holder::User("ada"), "p")).await.unwrap();
    delete().await.unwrap();
}

#[tokio::test]
async fn policies_have_five_versions_and_one_in_force() {
    let directory = Directory::in_memory(ACCOUNT).await.unwrap();
    let managed = |action: &str| Document::parse(allow(action).text(), PolicyKind::Managed).unwrap();
    let arn = directory
        .change(NOW_MS, |draft| {
            let policy = draft.create_policy(("p", "/"), managed("s3:*"), None, BTreeMap::new())?;
            draft.create_role(role("R"))?;
            draft.attach_policy(Holder::Role("R"), &policy.arn)?;
            Ok(policy.arn.clone())
        })
        .await
        .unwrap();
    let session = |directory: &Directory| {
        let view = directory.view();
        let role = view.role("R").unwrap();
        Session {
            kind: SessionKind::AssumedRole,
            issuer_arn: role.arn(ACCOUNT),
            issuer_id: role.id.clone(),
            name: "s".into(),
            policies: Vec::new(),
            policy_arns: Vec::new(),
            tags: BTreeMap::new(),
            transitive_tags: Vec::new(),
            source_identity: None,
            issued_ms: NOW_MS,
            expires_ms: NOW_MS + 3_600_000,
        }
    };
    let assumed = Principal {
        arn: format!("arn:aws:sts::{ACCOUNT}:assumed-role/R/s"),
        access_key_id: "ASIA1".into(),
        user_id: "AROA:s".into(),
        session: Some(Arc::new(session(&directory))),
    };
    assert!(may(&directory, &assumed, "s3:ListAllMyBuckets"));
    assert_eq!(directory.attached(&assumed).unwrap().tags["team"], "red");
    directory
        .change(NOW_MS, |draft| draft.create_policy_version(&arn, managed("bedrock:*"), true).map(drop))
        .await
        .unwrap();
    assert!(
        !may(&directory, &assumed, "s3:ListAllMyBuckets") && may(&directory, &assumed, "bedrock:ListAgents")
    );
    let limited = Session { policies: vec![allow("bedrock:GetAgent").text().into()], ..session(&directory) };
    let limited =
        Principal { access_key_id: "ASIA2".into(), session: Some(Arc::new(limited)), ..assumed.clone() };
    assert!(
        may(&directory, &limited, "bedrock:GetAgent") && !may(&directory, &limited, "bedrock:ListAgents")
    );
    for _ in 0..3 {
        let next =
            directory.change(NOW_MS, |draft| draft.create_policy_version(&arn, managed("s3:*"), false));
        next.await.unwrap();
    }
    let sixth = directory
        .change(NOW_MS, |draft| draft.create_policy_version(&arn, managed("s3:*"), false).map(drop))
        .await;
    assert!(matches!(sixth, Err(DirectoryError::LimitExceeded(_))));
    let delete = |number| {
        let (directory, arn) = (directory.clone(), arn.clone());
        async move { directory.change(NOW_MS, |draft| draft.delete_policy_version(&arn, number)).await }
    };
    assert!(matches!(delete(2).await, Err(DirectoryError::DeleteConflict(_))), "it is in force");
    delete(1).await.unwrap();
    let next = directory.change(NOW_MS, |draft| draft.create_policy_version(&arn, managed("s3:*"), false));
    assert_eq!(next.await.unwrap().number, 6, "numbers are not used again");
    // A role that is gone, or another of the same name, is not the session's.
    directory
        .change(NOW_MS, |draft| {
            draft.detach_policy(Holder::Role("R"), &arn)?;
            draft.delete_role("R")?;
            draft.create_role(role("R"))?;
            draft.attach_policy(Holder::Role("R"), "arn:aws:iam::aws:policy/AdministratorAccess")
        })
        .await
        .unwrap();
    assert!(!may(&directory, &assumed, "bedrock:ListAgents"));
}

#[tokio::test]
async fn a_boundary_bounds_and_tags_are_counted() {
    let directory = Directory::in_memory(ACCOUNT).await.unwrap();
    let user = directory
        .change(NOW_MS, |draft| {
            let user = draft.create_user("ada", "/", None, BTreeMap::new())?;
            draft.attach_policy(Holder::User("ada"), "arn:aws:iam::aws:policy/AdministratorAccess")?;
            draft.set_boundary(Holder::User("ada"), Some("arn:aws:iam::aws:policy/AmazonBedrockReadOnly"))?;
            Ok(user)
        })
        .await
        .unwrap();
    let ada = Principal { user_id: user.id.clone(), ..Principal::new(user.arn(ACCOUNT), "") };
    assert!(may(&directory, &ada, "bedrock:ListAgents") && !may(&directory, &ada, "bedrock:CreateAgent"));
    let many: BTreeMap<String, String> = (0..51).map(|n| (format!("k{n}"), String::new())).collect();
    let refused = directory.change(NOW_MS, |draft| draft.change_tags(Tagged::User("ada"), many, &[])).await;
    assert!(matches!(refused, Err(DirectoryError::LimitExceeded(_))));
    let twice = BTreeMap::from([("a".to_owned(), String::new()), ("A".to_owned(), String::new())]);
    let refused = directory.change(NOW_MS, |draft| draft.change_tags(Tagged::User("ada"), twice, &[])).await;
    assert!(matches!(refused, Err(DirectoryError::InvalidInput(_))));
}

#[tokio::test]
async fn secrets_are_not_in_the_records() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let vault = Vault::open(folder.path(), None).unwrap();
    let directory = Directory::open(store.clone(), ACCOUNT, vault).await.unwrap();
    let (secret, api_key) = directory
        .change(NOW_MS, |draft| {
            draft.create_user("ada", "/", None, BTreeMap::new())?;
            let (_, secret) = draft.create_access_key("ada", directory.vault())?;
            let (_, key) = draft.create_service_credential("ada", "bedrock.amazonaws.com", None)?;
            Ok((secret, key))
        })
        .await
        .unwrap();
    store.close().await;
    assert!(api_key.expose().starts_with("ABSK"));
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for text in [secret.expose(), &api_key.expose()[40..]] {
            assert!(memchr::memmem::find(&bytes, text.as_bytes()).is_none());
        }
    }
    let store = Store::open(folder.path()).await.unwrap();
    let wrong = Directory::open(store, ACCOUNT, Vault::forgetful().unwrap()).await;
    assert!(matches!(wrong, Err(DirectoryError::Secrets(_))), "another key opens nothing");
}

/// Looks once whether a future is done.
async fn poll(future: &mut (impl Future + Unpin)) -> bool {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_ready())
    })
    .await
}

#[tokio::test]
async fn a_change_whose_maker_hangs_up_is_seen_by_all_or_by_none() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let open = || async {
        let vault = Vault::open(folder.path(), None).unwrap();
        Directory::open(store.clone(), ACCOUNT, vault).await.unwrap()
    };
    let here = open().await;
    let (mut made, mut unmade) = (0, 0);
    for polls in 0..60 {
        let name = format!("user{polls}");
        let mut change =
            Box::pin(here.change(NOW_MS, |draft| draft.create_user(&name, "/", None, BTreeMap::new())));
        for _ in 0..polls {
            if poll(&mut change).await {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_micros(200)).await;
        }
        drop(change);
        // Whoever changes next waits for what is under way.
        here.change(NOW_MS, |draft| Ok(draft.state().users().count())).await.unwrap();
        let (seen, kept) = (here.view().user(&name).is_ok(), open().await.view().user(&name).is_ok());
        assert_eq!(seen, kept, "dropped after {polls} polls");
        if kept { made += 1 } else { unmade += 1 }
    }
    assert!(made > 0 && unmade > 0, "{made} {unmade}");
}

#[tokio::test]
async fn a_server_with_another_secrets_key_does_not_start() {
    let store = Store::in_memory().await.unwrap();
    let first = Directory::open(store.clone(), ACCOUNT, Vault::forgetful().unwrap()).await.unwrap();
    let error = Directory::open(store.clone(), ACCOUNT, Vault::forgetful().unwrap()).await.unwrap_err();
    assert!(matches!(error, DirectoryError::Secrets(_)), "{error}");
    assert!(error.to_string().contains("another CRATON_SECRETS_KEY"), "{error}");
    drop(first);
    // Records of a release that kept no check are checked by their keys.
    let vault = Vault::forgetful().unwrap();
    let store = Store::in_memory().await.unwrap();
    let old = Directory::open(store.clone(), ACCOUNT, Vault::forgetful().unwrap()).await.unwrap();
    old.change(NOW_MS, |draft| {
        draft.create_user("ada", "/", None, BTreeMap::new())?;
        draft.create_access_key("ada", old.vault())
    })
    .await
    .unwrap();
    store.execute("DELETE FROM identity_entities WHERE kind = 'secrets-check'", &[]).await.unwrap();
    assert!(Directory::open(store.clone(), ACCOUNT, vault).await.is_err());
}

#[tokio::test]
async fn a_key_that_cannot_be_opened_opens_nothing_and_holds_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::in_memory().await.unwrap();
    let open = || async {
        let vault = Vault::open(folder.path(), None).unwrap();
        Directory::open(store.clone(), ACCOUNT, vault).await.unwrap()
    };
    let (here, there) = (open().await, open().await);
    let foreign = Vault::forgetful().unwrap();
    here.change(NOW_MS, |draft| {
        draft.create_user("ada", "/", None, BTreeMap::new())?;
        draft.create_access_key("ada", &foreign)?;
        draft.create_user("eve", "/", None, BTreeMap::new())
    })
    .await
    .unwrap();
    there.refresh().await.unwrap();
    assert!(there.view().user("eve").is_ok());
    here.change(NOW_MS, |draft| draft.delete_user("eve")).await.unwrap();
    there.refresh().await.unwrap();
    assert!(there.view().user("eve").is_err(), "who is deleted there is gone here");
}

#[tokio::test]
async fn servers_on_one_database_hear_of_changes_at_once() {
    let store = craton_store::testing::postgres().await;
    let folder = tempfile::tempdir().unwrap();
    let open = || async {
        let vault = Vault::open(folder.path(), None).unwrap();
        Directory::open(store.clone(), ACCOUNT, vault).await.unwrap()
    };
    let (here, there) = (open().await, open().await);
    let watching = tokio::spawn(there.clone().watch());
    // Until it listens, it looks by itself.
    here.change(NOW_MS, |draft| draft.create_user("first", "/", None, BTreeMap::new())).await.unwrap();
    while there.view().user("first").is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let mut slowest = std::time::Duration::ZERO;
    for round in 0..10 {
        let name = format!("user{round}");
        here.change(NOW_MS, |draft| draft.create_user(&name, "/", None, BTreeMap::new())).await.unwrap();
        let began = std::time::Instant::now();
        while there.view().user(&name).is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        slowest = slowest.max(began.elapsed());
    }
    watching.abort();
    let own = std::time::Duration::from_millis(craton_identity::directory::WATCH_MS);
    assert!(slowest < own / 2, "{slowest:?}");
}
