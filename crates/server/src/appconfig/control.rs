//! The control plane: members become an ask, the ask goes the one write path, and the resource is rendered as it is
//! afterwards.

mod reads;
mod writes;

use std::sync::Arc;

use axum::http::HeaderMap;
use ensign_control::catalogue::{Actor, ApplicationView, Command, EnvironmentView};
use ensign_control::deployment::{Ask, Profile, Resource, Tags};
use ensign_control::ids::{Key, Place};
use ensign_protocol::appconfig::{self, AwsError, Kind, Operation, wire};
use serde_json::{Value as Json, json};

use super::Reply;
use crate::{ApiError, App, Options};

/// One call of the control plane.
pub(super) struct Call<'a> {
    pub(super) app: &'a Arc<App>,
    pub(super) account: &'a Key,
    pub(super) headers: &'a HeaderMap,
    pub(super) query: &'a str,
    pub(super) body: &'a [u8],
}

type Answered = Result<Reply, AwsError>;

fn missing(what: &str, which: &str) -> AwsError {
    AwsError::new(Kind::NotFound, format!("Could not find {what} {which}.")).with("ResourceName", which)
}

/// A refusal of the write path in AWS's words.
fn refused(error: &ApiError) -> AwsError {
    let message = error.document.detail.clone();
    let kind = match error.code() {
        "unknown_application"
        | "unknown_environment"
        | "unknown_project"
        | "unknown_configuration_profile"
        | "unknown_hosted_configuration_version"
        | "unknown_deployment_strategy"
        | "unknown_deployment" => Kind::NotFound,
        "version_conflict" | "deployment_conflict" | "deployment_running" | "conflict" => Kind::Conflict,
        "document_too_large" => {
            return AwsError::new(Kind::PayloadTooLarge, message)
                .with("Measure", "KILOBYTES")
                .with("Limit", 2048.0);
        }
        "store_failed" | "store_full" | "internal" | "not_ready" | "fenced" => Kind::Internal,
        _ => Kind::BadRequest,
    };
    AwsError::new(kind, message)
}

impl Call<'_> {
    pub(super) async fn run(&self, operation: Operation) -> Answered {
        match operation {
            Operation::Create(target) => self.create(target).await,
            Operation::Update(target) => self.update(target).await,
            Operation::Delete(target) => self.delete(target).await,
            Operation::List(target) => self.list(&target),
            Operation::Get(target) => self.get(&target),
            Operation::Validate { application, profile } => self.validate(&application, &profile).await,
            Operation::Tag(arn) => {
                let set = wire::Body::read(self.body)?.tags()?;
                self.tag(&arn, set, Vec::new()).await
            }
            Operation::Untag(arn) => {
                let unset: Vec<String> = appconfig::query(self.query, "tagKeys").collect();
                if unset.is_empty() {
                    return Err(AwsError::bad("tagKeys is required."));
                }
                self.tag(&arn, Tags::new(), unset).await
            }
            Operation::ListTags(arn) => {
                let tags = self.tags_of(&self.resource(&arn)?);
                Ok(Reply::json(200, &json!({ "Tags": tags })))
            }
            Operation::StartConfigurationSession
            | Operation::GetLatestConfiguration
            | Operation::GetConfiguration(_)
            | Operation::Unsupported => Err(AwsError::bad("This operation is not supported here.")),
        }
    }

    /// Does it, and says the id or number of what was made.
    async fn act(&self, ask: Ask) -> Result<String, AwsError> {
        let actor = Actor::new(format!("control key of {}", self.account));
        let command = Command::Deploy { ask: Box::new(ask), reason: None };
        let done =
            self.app.act(&command, &actor, Options::default()).await.map_err(|error| refused(&error))?;
        Ok(done.answer.made.unwrap_or_default())
    }

    fn application(&self, id: &str) -> Result<ApplicationView, AwsError> {
        let all = self.app.image().catalogue.applications(self.account);
        all.into_iter().find(|found| found.application.id == id).ok_or_else(|| missing("Application", id))
    }

    fn environment(&self, project: &Key, id: &str) -> Result<EnvironmentView, AwsError> {
        let all = self.app.image().catalogue.deployment_environments(project);
        all.into_iter().find(|found| found.environment.id == id).ok_or_else(|| missing("Environment", id))
    }

    fn profile(&self, project: &Key, id: &str) -> Result<Profile, AwsError> {
        let all = self.app.image().catalogue.profiles(project);
        all.into_iter().find(|found| found.id == id).ok_or_else(|| missing("ConfigurationProfile", id))
    }

    fn number(text: &str, what: &str) -> Result<u32, AwsError> {
        text.parse().map_err(|_| AwsError::bad(format!("{what} must be a whole number.")))
    }

    fn header(&self, name: &str) -> Option<String> {
        let value = self.headers.get(name)?.as_bytes();
        Some(String::from_utf8_lossy(value).trim().to_owned())
    }

    fn page(&self, items: Vec<Json>) -> Answered {
        let one = |name| appconfig::query(self.query, name).next();
        let page = wire::page(items, one("max_results").as_deref(), one("next_token").as_deref())?;
        Ok(Reply::json(200, &page))
    }

    /// What an ARN names: only its resource part counts.
    fn resource(&self, arn: &str) -> Result<Resource, AwsError> {
        let bad = || AwsError::bad("The resource ARN is not one of AppConfig's.");
        let resource = arn.split(':').nth(5).filter(|_| arn.starts_with("arn:")).ok_or_else(bad)?;
        let parts: Vec<&str> = resource.split('/').collect();
        match parts.as_slice() {
            ["application", a] => Ok(Resource::Application(self.application(a)?.project)),
            ["application", a, "environment", e] => {
                Ok(Resource::Environment(self.environment(&self.application(a)?.project, e)?.place))
            }
            ["application", a, "environment", e, "deployment", n] => {
                let place = self.environment(&self.application(a)?.project, e)?.place;
                Ok(Resource::Deployment(place, Self::number(n, "The deployment's number")?))
            }
            ["application", a, "configurationprofile", p] => {
                let project = self.application(a)?.project;
                Ok(Resource::Profile(project.clone(), self.profile(&project, p)?.id))
            }
            ["deploymentstrategy", id] => Ok(Resource::Strategy(self.account.clone(), (*id).to_owned())),
            _ => Err(bad()),
        }
    }

    async fn tag(&self, arn: &str, set: Tags, unset: Vec<String>) -> Answered {
        let resource = self.resource(arn)?;
        self.act(Ask::Tag { resource, set, unset }).await?;
        Ok(Reply::empty(204))
    }

    fn tags_of(&self, resource: &Resource) -> Tags {
        let image = self.app.image();
        let catalogue = &image.catalogue;
        let found = match resource {
            Resource::Application(project) => {
                let mut all = catalogue.applications(self.account).into_iter();
                all.find(|found| found.project == *project).map(|found| found.application.tags)
            }
            Resource::Environment(place) => {
                let mut all = catalogue.deployment_environments(&place.project).into_iter();
                all.find(|found| found.place == *place).map(|found| found.environment.tags)
            }
            Resource::Profile(project, id) => {
                catalogue.profiles(project).into_iter().find(|found| found.id == *id).map(|found| found.tags)
            }
            Resource::Strategy(account, id) => catalogue
                .strategies(account)
                .into_iter()
                .find(|found| found.id == *id)
                .map(|found| found.tags),
            Resource::Deployment(place, number) => {
                catalogue.deployment(place, *number).map(|found| found.tags)
            }
        };
        found.unwrap_or_default()
    }

    fn state_of(&self, place: &Place) -> &'static str {
        wire::environment_state(&self.app.image().catalogue.deployments(place))
    }
}
