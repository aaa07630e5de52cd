//! `craton keys`: users' keys, through IAM's public API.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::client::{Client, ServiceError};
use crate::endpoint::Endpoint;
use crate::options::ServerOptions;

const BEDROCK: &str = "bedrock.amazonaws.com";

/// Make, list and revoke keys of users
#[derive(Args)]
#[command(after_help = "Examples:
  craton keys create ada --policy arn:aws:iam::aws:policy/AmazonBedrockFullAccess
  craton keys create ada --api-key --days 30
  craton keys list
  craton keys revoke AKIAIOSFODNN7EXAMPLE")]
pub(crate) struct Keys {
    #[command(subcommand)]
    command: Commands,
}

#[derive(Subcommand)]
enum Commands {
    Create(Create),
    List(List),
    Revoke(Revoke),
}

/// Make a key, and the user if there is none of that name
///
/// The secret is told now and never again.
#[derive(Args)]
#[command(after_help = "Examples:
  craton keys create ada --policy arn:aws:iam::aws:policy/AmazonBedrockFullAccess
  craton keys create ada --api-key --days 30")]
struct Create {
    user: String,

    /// ARN of a managed policy to attach to the user [repeatable]
    #[arg(long, value_name = "ARN")]
    policy: Vec<String>,

    /// Make a Bedrock API key (AWS_BEARER_TOKEN_BEDROCK) in place of an access key
    #[arg(long)]
    api_key: bool,

    /// Days that the API key is good for [default: until it is revoked]
    #[arg(long, requires = "api_key")]
    days: Option<u32>,

    #[command(flatten)]
    server: ServerOptions,
}

/// List the keys of every user
#[derive(Args)]
#[command(after_help = "Examples:
  craton keys list")]
struct List {
    #[command(flatten)]
    server: ServerOptions,
}

/// Delete a key: it opens nothing from then on
#[derive(Args)]
#[command(after_help = "Examples:
  craton keys revoke AKIAIOSFODNN7EXAMPLE
  craton keys revoke ACCAEXAMPLE1234567890")]
struct Revoke {
    /// An access key's id (AKIA…) or an API key's (ACCA…)
    id: String,

    #[command(flatten)]
    server: ServerOptions,
}

impl Keys {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let server = match &self.command {
            Commands::Create(command) => &command.server,
            Commands::List(command) => &command.server,
            Commands::Revoke(command) => &command.server,
        };
        let client = Client::new(&Endpoint::of(&server.load()?)?)?;
        crate::runtime()?.block_on(async {
            match &self.command {
                Commands::Create(command) => command.run(&client).await,
                Commands::List(_) => list(&client).await,
                Commands::Revoke(command) => command.run(&client).await,
            }
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Create {
    async fn run(&self, client: &Client) -> anyhow::Result<()> {
        let user = ("UserName", self.user.as_str());
        // Before anything is made: a user without what it was made for is of no use.
        for policy in &self.policy {
            client.iam("GetPolicy", &[("PolicyArn", policy)]).await?;
        }
        match client.iam("CreateUser", &[user]).await {
            Err(error) if is(&error, "EntityAlreadyExists") => {}
            done => drop(done?),
        }
        for policy in &self.policy {
            client.iam("AttachUserPolicy", &[user, ("PolicyArn", policy)]).await?;
        }
        let mut out = std::io::stdout().lock();
        if self.api_key {
            let days = self.days.map(|days| days.to_string());
            let mut parameters = vec![user, ("ServiceName", BEDROCK)];
            parameters.extend(days.as_deref().map(|days| ("CredentialAgeDays", days)));
            let made = client.iam("CreateServiceSpecificCredential", &parameters).await?;
            writeln!(out, "# {}", first(&made, "ServiceSpecificCredentialId"))?;
            writeln!(out, "AWS_BEARER_TOKEN_BEDROCK={}", first(&made, "ServiceCredentialSecret"))?;
        } else {
            let made = client.iam("CreateAccessKey", &[user]).await?;
            writeln!(out, "AWS_ACCESS_KEY_ID={}", first(&made, "AccessKeyId"))?;
            writeln!(out, "AWS_SECRET_ACCESS_KEY={}", first(&made, "SecretAccessKey"))?;
        }
        Ok(())
    }
}

async fn list(client: &Client) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    let users = pages(client, "ListUsers", &[], "UserName").await?;
    for user in users {
        let text = client.iam("ListAccessKeys", &[("UserName", &user)]).await?;
        for key in elements(&text, "member") {
            rows.push((
                first(&key, "AccessKeyId"),
                user.clone(),
                first(&key, "Status"),
                first(&key, "CreateDate"),
            ));
        }
        let text = client.iam("ListServiceSpecificCredentials", &[("UserName", &user)]).await?;
        for key in elements(&text, "member") {
            let id = first(&key, "ServiceSpecificCredentialId");
            rows.push((id, user.clone(), first(&key, "Status"), first(&key, "CreateDate")));
        }
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:<22} {:<24} {:<9} CREATED", "KEY", "USER", "STATUS")?;
    for (id, user, status, created) in rows {
        writeln!(out, "{id:<22} {user:<24} {status:<9} {created}")?;
    }
    Ok(())
}

impl Revoke {
    async fn run(&self, client: &Client) -> anyhow::Result<()> {
        if !self.id.starts_with("AKIA") && !self.id.starts_with("ACCA") {
            anyhow::bail!(
                "{} is no key's id: those begin with AKIA or ACCA. `craton keys list` has them.",
                self.id
            );
        }
        if self.id.starts_with("ACCA") {
            let id = [("ServiceSpecificCredentialId", self.id.as_str())];
            client.iam("DeleteServiceSpecificCredential", &id).await?;
            return Ok(());
        }
        let key = ("AccessKeyId", self.id.as_str());
        let found = client.iam("GetAccessKeyLastUsed", &[key]).await?;
        let user = first(&found, "UserName");
        client.iam("DeleteAccessKey", &[("UserName", &user), key]).await?;
        Ok(())
    }
}

/// What stands in elements of this name, over all pages of a list.
async fn pages(
    client: &Client,
    action: &str,
    parameters: &[(&str, &str)],
    name: &str,
) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut marker = String::new();
    loop {
        let mut all = parameters.to_vec();
        if !marker.is_empty() {
            all.push(("Marker", &marker));
        }
        let text = client.iam(action, &all).await?;
        found.extend(elements(&text, name));
        let next = first(&text, "Marker");
        if next.is_empty() {
            return Ok(found);
        }
        marker = next;
    }
}

fn is(error: &anyhow::Error, code: &str) -> bool {
    error.downcast_ref::<ServiceError>().is_some_and(|error| error.code == code)
}

fn first(xml: &str, name: &str) -> String {
    elements(xml, name).into_iter().next().unwrap_or_default()
}

/// The texts in elements of this name, which have no attributes and are not in each other.
pub(crate) fn elements(xml: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = xml;
    let mut found = Vec::new();
    while let Some(start) = rest.find(&open) {
        rest = &rest[start + open.len()..];
        let Some(end) = rest.find(&close) else { break };
        let text = rest[..end].replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
        found.push(text.replace("&#xD;", "\r").replace("&amp;", "&"));
        rest = &rest[end..];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::elements;

    #[test]
    fn elements_are_found_in_their_order() {
        let xml = "<a><member><Id>1</Id></member><member><Id>a &lt; &amp;amp;</Id></member></a>";
        assert_eq!(elements(xml, "Id"), ["1", "a < &amp;"]);
        assert_eq!(elements(xml, "member").len(), 2);
        assert!(elements(xml, "Other").is_empty());
    }
}
