//! Principals of policies: kept by unique id, so that a name that comes again opens nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use craton_core::{Arn, Principal};
use craton_identity::directory::{Directory, DirectoryError, Document, NewRole, User, Vault};
use craton_identity::policy::PolicyKind;
use craton_identity::{AuthorizationRequest, Authorizer as _, Decision, PolicyAuthorizer, PolicySource as _};
use craton_store::Store;

const ACCOUNT: &str = "123456789012";
const NOW_MS: i64 = 1_800_000_000_000;
const ROLE: &str = "arn:aws:iam::123456789012:role/R";

fn trusting(principal: &str) -> Document {
    let text = format!(
        r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Principal":{{"AWS":"{principal}"}},
           "Action":"sts:AssumeRole"}}}}"#
    );
    Document::parse(&text, PolicyKind::Trust).unwrap()
}

async fn create_role(directory: &Directory, trust: Document) -> Result<(), DirectoryError> {
    let role = NewRole {
        name: "R".into(),
        path: "/".into(),
        trust,
        description: None,
        max_session_s: 3600,
        boundary: None,
        tags: BTreeMap::new(),
    };
    directory.change(NOW_MS, |draft| draft.create_role(role)).await.map(drop)
}

async fn create_user(directory: &Directory) -> Arc<User> {
    let made = directory.change(NOW_MS, |draft| draft.create_user("vic", "/", None, BTreeMap::new())).await;
    made.unwrap()
}

fn may_assume(directory: &Directory, user: &User) -> bool {
    let who = Principal { user_id: user.id.clone(), ..Principal::new(user.arn(ACCOUNT), "AKIA") };
    let role: [Arn; 1] = [ROLE.parse().unwrap()];
    let request =
        AuthorizationRequest { assumes: true, ..AuthorizationRequest::new("sts:AssumeRole", &role) };
    PolicyAuthorizer::new(Arc::new(directory.clone())).decide(&who, &request) == Decision::Allow
}

fn shown(directory: &Directory) -> String {
    let view = directory.view();
    view.show_principals(view.role("R").unwrap().trust.text()).into_owned()
}

#[tokio::test]
async fn who_gets_a_name_again_does_not_get_what_its_first_owner_had() {
    let directory = Directory::in_memory(ACCOUNT).await.unwrap();
    let vic = "arn:aws:iam::123456789012:user/vic";
    let ghost = create_role(&directory, trusting(vic)).await.unwrap_err();
    assert_eq!(ghost.to_string(), format!("Invalid principal in policy: \"AWS\":\"{vic}\""));
    let first = create_user(&directory).await;
    create_role(&directory, trusting(vic)).await.unwrap();
    assert!(may_assume(&directory, &first) && shown(&directory).contains(vic));
    directory.change(NOW_MS, |draft| draft.delete_user("vic")).await.unwrap();
    let second = create_user(&directory).await;
    assert_ne!(first.id, second.id);
    assert!(!may_assume(&directory, &second), "another of that name");
    assert!(shown(&directory).contains(&first.id) && !shown(&directory).contains(vic), "shown as nobody's");
    // Written back as it is shown, it names nobody; written anew, the one who has the name now.
    let dead = directory.change(NOW_MS, |draft| draft.set_trust("R", trusting(&first.id))).await;
    assert!(matches!(dead, Err(DirectoryError::Malformed(_))));
    directory.change(NOW_MS, |draft| draft.set_trust("R", trusting(vic))).await.unwrap();
    assert!(may_assume(&directory, &second));
    // A new name keeps what it had.
    directory.change(NOW_MS, |draft| draft.update_user("vic", Some("victor"), None)).await.unwrap();
    let renamed = directory.view().user("victor").unwrap().clone();
    assert!(may_assume(&directory, &renamed) && shown(&directory).contains(":user/victor"));
    directory.change(NOW_MS, |draft| draft.set_trust("R", trusting(&second.id))).await.unwrap();
    assert!(may_assume(&directory, &renamed), "an id of somebody who is there");
}

#[tokio::test]
async fn roles_and_their_sessions_are_known_by_id_and_groups_are_nobody() {
    let directory = Directory::in_memory(ACCOUNT).await.unwrap();
    create_user(&directory).await;
    create_role(&directory, trusting("arn:aws:iam::123456789012:root")).await.unwrap();
    let id = directory.view().role("R").unwrap().id.clone();
    let of = |principal: &str| {
        let text = format!(
            r#"{{"Statement":[{{"Effect":"Deny","NotPrincipal":{{"AWS":["{principal}","*"]}},
               "Condition":{{"ArnEquals":{{"aws:PrincipalArn":"{principal}"}}}}}}]}}"#
        );
        directory.bind_principals(&text).map_err(|error| error.to_string())
    };
    let bound = of(ROLE).unwrap();
    assert!(bound.contains(&format!(r#"["{id}","*"]"#)) && bound.contains(ROLE), "{bound}");
    let session = "arn:aws:sts::123456789012:assumed-role/R/s";
    let bound = of(session).unwrap();
    assert!(bound.contains(&format!(r#""{id}:s""#)), "{bound}");
    assert!(directory.show_principals(&bound).contains(&format!(r#"["{session}","*"]"#)));
    for nobody in [
        "arn:aws:iam::123456789012:role/other",
        "arn:aws:iam::123456789012:role/path/R",
        "arn:aws-cn:iam::123456789012:role/R",
        "arn:aws:sts::123456789012:assumed-role/other/s",
        "AROAAAAAAAAAAAAAAAAAA",
    ] {
        assert!(of(nobody).is_err(), "{nobody}");
    }
    let elsewhere = of("arn:aws:iam::999999999999:user/x").unwrap();
    assert!(elsewhere.contains("999999999999:user/x"));
    let group = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole",
        "Principal":{"AWS":"arn:aws:iam::123456789012:group/g"}}}"#;
    assert!(Document::parse(group, PolicyKind::Trust).is_err());
}

#[tokio::test]
async fn policies_of_resources_are_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let open = || async {
        let vault = Vault::open(folder.path(), None).unwrap();
        Directory::open(store.clone(), ACCOUNT, vault).await.unwrap()
    };
    let first = open().await;
    let user = create_user(&first).await;
    let guardrail = "arn:aws:bedrock:us-east-1:123456789012:guardrail/g";
    let text = format!(
        r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Principal":{{"AWS":"{}"}},
           "Action":"bedrock:GetGuardrail","Resource":"{guardrail}"}}}}"#,
        user.arn(ACCOUNT)
    );
    let document = Document::parse(&text, PolicyKind::Resource).unwrap();
    first.change(NOW_MS, |draft| draft.put_resource_policy(guardrail, document, None)).await.unwrap();
    let again = open().await;
    let kept = again.view().resource_policy(guardrail).unwrap().document.text().to_owned();
    assert!(kept.contains(&user.id) && again.show_principals(&kept).contains(":user/vic"));
    assert!(again.resource_policy(guardrail).is_some());
}
