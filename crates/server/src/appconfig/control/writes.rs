//! Creating, changing and deleting.

use std::time::Duration;

use data_encoding::BASE64;
use ensign_control::deployment::{
    Ask, Growth, NewApplication, NewEnvironment, NewProfile, NewStart, NewStrategy, NewVersion, Profile,
    ProfileKind, StrategyUpdate, Validator, validate,
};
use ensign_control::ids::{Span, Timestamp};
use ensign_protocol::appconfig::{self, AwsError, Kind, Target, wire};
use serde_json::json;

use super::super::Reply;
use super::{Answered, Call, missing};

/// How long a validator at an address may take.
const VALIDATOR: Duration = Duration::from_secs(15);
/// Things younger than this are not protected from deletion.
const YOUNG: Span = Span::seconds(3_600);

impl Call<'_> {
    pub(super) async fn create(&self, target: Target) -> Answered {
        let body = match target {
            Target::Version(application, profile, _) => {
                return self.add_version(&application, &profile).await;
            }
            _ => wire::Body::read(self.body)?,
        };
        match target {
            Target::Application(_) => {
                let new = NewApplication {
                    account: self.account.clone(),
                    name: body.need("Name", 64)?,
                    description: body.text("Description", 0..=1024)?,
                    tags: body.tags()?,
                };
                let id = self.act(Ask::CreateApplication(new)).await?;
                Ok(Reply::json(201, &wire::application(&self.application(&id)?.application)))
            }
            Target::Environment(application, _) => {
                let project = self.application(&application)?.project;
                let new = NewEnvironment {
                    project: project.clone(),
                    name: body.need("Name", 64)?,
                    description: body.text("Description", 0..=1024)?,
                    monitors: body.monitors()?.unwrap_or_default(),
                    tags: body.tags()?,
                };
                let id = self.act(Ask::CreateEnvironment(new)).await?;
                let found = self.environment(&project, &id)?;
                let state = self.state_of(&found.place);
                Ok(Reply::json(201, &wire::environment(&application, &found.environment, state)))
            }
            Target::Profile(application, _) => self.add_profile(&application, &body).await,
            Target::Strategy(_) => self.add_strategy(&body).await,
            Target::Deployment(application, environment, _) => {
                self.start(&application, &environment, &body).await
            }
            Target::Version(..) | Target::Settings => Err(AwsError::bad("This cannot be created.")),
        }
    }

    async fn add_profile(&self, application: &str, body: &wire::Body) -> Answered {
        let project = self.application(application)?.project;
        let location = body.need("LocationUri", 2048)?;
        if location != "hosted" {
            return Err(AwsError::bad("LocationUri must be \"hosted\": documents are kept here."));
        }
        let new = NewProfile {
            project: project.clone(),
            name: body.need("Name", 128)?,
            description: body.text("Description", 0..=1024)?,
            kind: body.word("Type", &wire::PROFILE_TYPES)?.unwrap_or(ProfileKind::Freeform),
            validators: self.checked(body.validators()?)?.unwrap_or_default(),
            role: body.text("RetrievalRoleArn", 20..=2048)?,
            kms: body.text("KmsKeyIdentifier", 1..=2048)?,
            tags: body.tags()?,
        };
        let id = self.act(Ask::CreateProfile(new)).await?;
        Ok(Reply::json(201, &wire::profile(application, &self.profile(&project, &id)?)))
    }

    /// Validators at addresses go where notices may go: https anywhere, http to this machine.
    fn checked(&self, validators: Option<Vec<Validator>>) -> Result<Option<Vec<Validator>>, AwsError> {
        for validator in validators.iter().flatten() {
            if let Validator::Url(url) = validator {
                crate::webhooks::check_url(url)
                    .map_err(|error| AwsError::bad(error.document.detail.clone()))?;
            }
        }
        Ok(validators)
    }

    async fn add_version(&self, application: &str, profile: &str) -> Answered {
        let project = self.application(application)?.project;
        let found = self.profile(&project, profile)?;
        let latest =
            self.header("latest-version-number").map(|text| Self::number(&text, "LatestVersionNumber"));
        let content_type = self.header("content-type").filter(|kind| !kind.is_empty() && kind.len() <= 255);
        let new = NewVersion {
            project,
            profile: found.id.clone(),
            content: self.body.to_vec(),
            content_type: content_type.ok_or_else(|| AwsError::bad("ContentType is required."))?,
            description: self.header("description").filter(|text| !text.is_empty()),
            label: self.header("versionlabel").filter(|label| !label.is_empty()),
            latest: latest.transpose()?,
        };
        if self.body.len() > ensign_control::deployment::DOCUMENT_MAX {
            let size = self.body.len() as f64 / 1024.0;
            return Err(AwsError::new(Kind::PayloadTooLarge, "The document is too large.")
                .with("Measure", "KILOBYTES")
                .with("Limit", 2048.0)
                .with("Size", size));
        }
        self.passes(application, &found, "", self.body).await?;
        let number = Self::number(&self.act(Ask::CreateVersion(new)).await?, "VersionNumber")?;
        self.version(application, profile, number, 201)
    }

    async fn add_strategy(&self, body: &wire::Body) -> Answered {
        let minutes = |name| body.whole(name, 0..=1440);
        let required = |name: &str| AwsError::bad(format!("{name} is required."));
        let new = NewStrategy {
            account: self.account.clone(),
            name: body.need("Name", 64)?,
            description: body.text("Description", 0..=1024)?,
            growth: body.word("GrowthType", &wire::GROWTH)?.unwrap_or(Growth::Linear),
            factor: body.number("GrowthFactor")?.ok_or_else(|| required("GrowthFactor"))?,
            minutes: minutes("DeploymentDurationInMinutes")?
                .ok_or_else(|| required("DeploymentDurationInMinutes"))?,
            bake_minutes: minutes("FinalBakeTimeInMinutes")?.unwrap_or(0),
            replicate: body.word("ReplicateTo", &[("NONE", false), ("SSM_DOCUMENT", true)])?.unwrap_or(false),
            tags: body.tags()?,
        };
        let id = self.act(Ask::CreateStrategy(new)).await?;
        self.strategy(&id, 201)
    }

    fn strategy(&self, id: &str, status: u16) -> Answered {
        let all = self.app.image().catalogue.strategies(self.account);
        let found = all.into_iter().find(|found| found.id == id);
        Ok(Reply::json(status, &wire::strategy(&found.ok_or_else(|| missing("DeploymentStrategy", id))?)))
    }

    async fn start(&self, application: &str, environment: &str, body: &wire::Body) -> Answered {
        let project = self.application(application)?.project;
        let place = self.environment(&project, environment)?.place;
        let profile = self.profile(&project, &body.need("ConfigurationProfileId", 128)?)?;
        let version = body.need("ConfigurationVersion", 1024)?;
        let found = self.app.image().catalogue.document_version(&project, &profile, &version);
        let found = found.ok_or_else(|| missing("ConfigurationVersion", &version))?;
        self.passes(application, &profile, &found.number.to_string(), &found.content).await?;
        let new = NewStart {
            place,
            profile: profile.id.clone(),
            version,
            strategy: strategy_id(&body.need("DeploymentStrategyId", 64)?)?,
            description: body.text("Description", 0..=1024)?,
            kms: body.text("KmsKeyIdentifier", 1..=2048)?,
            tags: body.tags()?,
            latest: body.whole("LatestDeploymentNumber", 0..=u32::MAX)?,
        };
        let number = Self::number(&self.act(Ask::Start(new)).await?, "DeploymentNumber")?;
        self.deployment(application, environment, number, 201)
    }

    pub(super) async fn update(&self, target: Target) -> Answered {
        let body = wire::Body::read(self.body)?;
        let description = || body.text("Description", 0..=1024);
        match target {
            Target::Application(id) => {
                let id = id.unwrap_or_default();
                let project = self.application(&id)?.project;
                let name = body.text("Name", 1..=64)?;
                self.act(Ask::UpdateApplication { project, name, description: description()? }).await?;
                self.get(&Target::Application(Some(id)))
            }
            Target::Environment(application, id) => {
                let project = self.application(&application)?.project;
                let place = self.environment(&project, id.as_deref().unwrap_or_default())?.place;
                let (name, monitors) = (body.text("Name", 1..=64)?, body.monitors()?);
                self.act(Ask::UpdateEnvironment { place, name, description: description()?, monitors })
                    .await?;
                self.get(&Target::Environment(application, id))
            }
            Target::Profile(application, id) => {
                let project = self.application(&application)?.project;
                let profile = self.profile(&project, id.as_deref().unwrap_or_default())?.id;
                let ask = Ask::UpdateProfile {
                    project,
                    profile,
                    name: body.text("Name", 1..=128)?,
                    description: description()?,
                    validators: self.checked(body.validators()?)?,
                    role: body.text("RetrievalRoleArn", 20..=2048)?,
                    kms: body.text("KmsKeyIdentifier", 0..=2048)?,
                };
                self.act(ask).await?;
                self.get(&Target::Profile(application, id))
            }
            Target::Strategy(id) => {
                let strategy = id.unwrap_or_default();
                let to = StrategyUpdate {
                    description: description()?,
                    growth: body.word("GrowthType", &wire::GROWTH)?,
                    factor: body.number("GrowthFactor")?,
                    minutes: body.whole("DeploymentDurationInMinutes", 0..=1440)?,
                    bake_minutes: body.whole("FinalBakeTimeInMinutes", 0..=1440)?,
                };
                let account = self.account.clone();
                self.act(Ask::UpdateStrategy { account, strategy: strategy.clone(), to }).await?;
                self.strategy(&strategy, 200)
            }
            Target::Settings => {
                let now = self.app.image().catalogue.deployment_settings(self.account);
                let to = body.settings(now)?;
                self.act(Ask::Settings { account: self.account.clone(), to }).await?;
                self.get(&Target::Settings)
            }
            Target::Version(..) | Target::Deployment(..) => Err(AwsError::bad("This cannot be changed.")),
        }
    }

    pub(super) async fn delete(&self, target: Target) -> Answered {
        match target {
            Target::Application(id) => {
                let project = self.application(id.as_deref().unwrap_or_default())?.project;
                self.act(Ask::DeleteApplication { project }).await?;
            }
            Target::Environment(application, id) => {
                let project = self.application(&application)?.project;
                let found = self.environment(&project, id.as_deref().unwrap_or_default())?;
                let seen = self.app.seen.last(Some(&found.environment.id), None);
                self.not_protected(seen, found.environment.created)?;
                self.act(Ask::DeleteEnvironment { place: found.place }).await?;
            }
            Target::Profile(application, id) => {
                let project = self.application(&application)?.project;
                let found = self.profile(&project, id.as_deref().unwrap_or_default())?;
                self.not_protected(self.app.seen.last(None, Some(&found.id)), Some(found.created))?;
                self.act(Ask::DeleteProfile { project, profile: found.id }).await?;
            }
            Target::Version(application, profile, number) => {
                let project = self.application(&application)?.project;
                let profile = self.profile(&project, &profile)?.id;
                let number = Self::number(number.as_deref().unwrap_or_default(), "VersionNumber")?;
                self.act(Ask::DeleteVersion { project, profile, number }).await?;
            }
            Target::Strategy(id) => {
                let strategy = id.unwrap_or_default();
                self.act(Ask::DeleteStrategy { account: self.account.clone(), strategy }).await?;
            }
            Target::Deployment(application, environment, number) => {
                let project = self.application(&application)?.project;
                let place = self.environment(&project, &environment)?.place;
                let number = Self::number(number.as_deref().unwrap_or_default(), "DeploymentNumber")?;
                let revert =
                    self.header("allow-revert").is_some_and(|text| text.eq_ignore_ascii_case("true"));
                self.act(Ask::Stop { place, number, revert }).await?;
                return self.deployment(&application, &environment, number, 202);
            }
            Target::Settings => return Err(AwsError::bad("Settings cannot be deleted.")),
        }
        Ok(Reply::empty(204))
    }

    /// Refuses to delete what clients have fetched lately, where the account or the request asks for that.
    fn not_protected(&self, seen: Option<Timestamp>, created: Option<Timestamp>) -> Result<(), AwsError> {
        let settings = self.app.image().catalogue.deployment_settings(self.account);
        let now = self.app.now();
        let young = created.is_some_and(|created| now - created < YOUNG);
        let applies = match self.header("x-amzn-deletion-protection-check").as_deref() {
            Some("BYPASS") => false,
            Some("APPLY") => true,
            None | Some("ACCOUNT_DEFAULT") => settings.protection && !young,
            Some(_) => {
                return Err(AwsError::bad(
                    "DeletionProtectionCheck must be ACCOUNT_DEFAULT, APPLY or BYPASS.",
                ));
            }
        };
        let period = Span::seconds(i64::from(settings.protection_minutes) * 60);
        match seen.filter(|seen| applies && now - *seen < period) {
            Some(_) => Err(AwsError::new(
                Kind::Conflict,
                format!("Clients have fetched it within the last {} minutes.", settings.protection_minutes),
            )),
            None => Ok(()),
        }
    }

    pub(super) async fn validate(&self, application: &str, profile: &str) -> Answered {
        let project = self.application(application)?.project;
        let profile = self.profile(&project, profile)?;
        let name = appconfig::query(self.query, "configuration_version").next();
        let name = name.ok_or_else(|| AwsError::bad("configuration_version is required."))?;
        let found = self.app.image().catalogue.document_version(&project, &profile, &name);
        let found = found.ok_or_else(|| missing("ConfigurationVersion", &name))?;
        self.passes(application, &profile, &found.number.to_string(), &found.content).await?;
        Ok(Reply::empty(204))
    }

    /// Whether a document satisfies its profile; validators at addresses are asked here.
    async fn passes(
        &self,
        application: &str,
        profile: &Profile,
        version: &str,
        content: &[u8],
    ) -> Result<(), AwsError> {
        let wrong = validate(profile, content);
        if !wrong.is_empty() {
            return Err(AwsError::invalid_configuration(wire::violations(&wrong)));
        }
        let urls = profile.validators.iter().filter_map(|validator| match validator {
            Validator::Url(url) => Some(url),
            Validator::Schema(_) => None,
        });
        for url in urls {
            let event = json!({
                "applicationId": application,
                "configurationProfileId": profile.id,
                "configurationVersion": version,
                "content": BASE64.encode(content),
                "uri": "hosted",
            });
            if let Err(why) = ask_validator(url, event.to_string()).await {
                let detail = json!({
                    "Constraint": url, "Location": "/", "Reason": why, "Type": "LAMBDA", "Value": "",
                });
                return Err(AwsError::invalid_configuration(vec![detail]));
            }
        }
        Ok(())
    }
}

async fn ask_validator(url: &str, event: String) -> Result<(), String> {
    let client = crate::webhooks::client().map_err(|error| error.to_string())?;
    let request = client.post(url).timeout(VALIDATOR).header("content-type", "application/json").body(event);
    match request.send().await {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => Err(format!("The validator answered {}.", answer.status())),
        Err(error) => Err(format!("The validator could not be asked: {}.", error.without_url())),
    }
}

/// An id as the service allows it.
fn strategy_id(text: &str) -> Result<String, AwsError> {
    let own =
        (4..=7).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let named =
        text.strip_prefix("AppConfig.").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_alphanumeric()));
    if own || named {
        Ok(text.to_owned())
    } else {
        Err(AwsError::bad("DeploymentStrategyId is not the id of one."))
    }
}
