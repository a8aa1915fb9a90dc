//! Getting and listing.

use axum::body::Body;
use ensign_control::deployment::Version;
use ensign_protocol::appconfig::{self, AwsError, Target, wire};

use super::super::Reply;
use super::{Answered, Call, missing};

impl Call<'_> {
    pub(super) fn get(&self, target: &Target) -> Answered {
        let body = match target {
            Target::Application(id) => {
                wire::application(&self.application(id.as_deref().unwrap_or_default())?.application)
            }
            Target::Environment(application, id) => {
                let project = self.application(application)?.project;
                let found = self.environment(&project, id.as_deref().unwrap_or_default())?;
                wire::environment(application, &found.environment, self.state_of(&found.place))
            }
            Target::Profile(application, id) => {
                let project = self.application(application)?.project;
                wire::profile(application, &self.profile(&project, id.as_deref().unwrap_or_default())?)
            }
            Target::Version(application, profile, number) => {
                let number = Self::number(number.as_deref().unwrap_or_default(), "VersionNumber")?;
                return self.version(application, profile, number, 200);
            }
            Target::Strategy(id) => {
                let id = id.as_deref().unwrap_or_default();
                let all = self.app.image().catalogue.strategies(self.account);
                let found = all.into_iter().find(|found| found.id == id);
                wire::strategy(&found.ok_or_else(|| missing("DeploymentStrategy", id))?)
            }
            Target::Deployment(application, environment, number) => {
                let number = Self::number(number.as_deref().unwrap_or_default(), "DeploymentNumber")?;
                return self.deployment(application, environment, number, 200);
            }
            Target::Settings => wire::settings(&self.app.image().catalogue.deployment_settings(self.account)),
        };
        Ok(Reply::json(200, &body))
    }

    /// A version: its members are headers, the document is the body.
    pub(super) fn version(&self, application: &str, profile: &str, number: u32, status: u16) -> Answered {
        let project = self.application(application)?.project;
        let profile = self.profile(&project, profile)?;
        let found = self.app.image().catalogue.document_version_at(&project, &profile.id, number).cloned();
        let found: Version = found
            .filter(|version| !version.deleted)
            .ok_or_else(|| missing("HostedConfigurationVersion", &number.to_string()))?;
        let mut reply = Reply { status, headers: Vec::new(), body: Body::empty() };
        for (name, value) in wire::version_headers(application, &found) {
            reply = reply.header(name, &value);
        }
        reply.body = Body::from(found.content);
        Ok(reply)
    }

    /// A deployment with its log.
    pub(super) fn deployment(
        &self,
        application: &str,
        environment: &str,
        number: u32,
        status: u16,
    ) -> Answered {
        let project = self.application(application)?.project;
        let place = self.environment(&project, environment)?.place;
        let found = self.app.image().catalogue.deployment(&place, number);
        let found = found.ok_or_else(|| missing("Deployment", &number.to_string()))?;
        Ok(Reply::json(status, &wire::deployment(application, environment, &found)))
    }

    pub(super) fn list(&self, target: &Target) -> Answered {
        let image = || self.app.image();
        let items = match target {
            Target::Application(_) => {
                let all = image().catalogue.applications(self.account);
                all.iter().map(|found| wire::application(&found.application)).collect()
            }
            Target::Environment(application, _) => {
                let project = self.application(application)?.project;
                let all = image().catalogue.deployment_environments(&project);
                let one = |found: &ensign_control::catalogue::EnvironmentView| {
                    wire::environment(application, &found.environment, self.state_of(&found.place))
                };
                all.iter().map(one).collect()
            }
            Target::Profile(application, _) => {
                let project = self.application(application)?.project;
                let mut all = image().catalogue.profiles(&project);
                if let Some(kind) = appconfig::query(self.query, "type").next() {
                    all.retain(|found| wire::profile_type(found.kind) == kind);
                }
                all.iter().map(|found| wire::profile_summary(application, found)).collect()
            }
            Target::Version(application, profile, _) => {
                let project = self.application(application)?.project;
                let profile = self.profile(&project, profile)?;
                let label = appconfig::query(self.query, "version_label").next();
                let mut all = image().catalogue.document_versions(&project, &profile);
                all.retain(|version| labelled(version, label.as_deref()));
                all.iter().rev().map(|version| wire::version_summary(application, version)).collect()
            }
            Target::Strategy(_) => {
                let all = image().catalogue.strategies(self.account);
                all.iter().map(wire::strategy).collect()
            }
            Target::Deployment(application, environment, _) => {
                let project = self.application(application)?.project;
                let place = self.environment(&project, environment)?.place;
                let all = image().catalogue.deployments(&place);
                all.iter().rev().map(wire::deployment_summary).collect()
            }
            Target::Settings => return Err(AwsError::bad("Settings are one.")),
        };
        self.page(items)
    }
}

/// Whether a version has the label asked for: exactly, or its beginning where a star follows.
fn labelled(version: &Version, wanted: Option<&str>) -> bool {
    let Some(wanted) = wanted else { return true };
    let label = version.label.as_deref().unwrap_or_default();
    match wanted.strip_suffix('*') {
        Some(prefix) => version.label.is_some() && label.starts_with(prefix),
        None => label == wanted,
    }
}
