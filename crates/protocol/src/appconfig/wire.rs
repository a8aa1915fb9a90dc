//! Members of requests and resources of answers, as the service's model has them.

use ensign_control::catalogue::rfc3339;
use ensign_control::deployment::{
    Application, Deployment, Environment, EventKind, Growth, Monitor, Profile, ProfileKind, Settings, State,
    Strategy, Tags, Trigger, Validator, Version, Violation,
};
use ensign_control::ids::Timestamp;
use serde_json::{Map, Value as Json, json};

use super::AwsError;

/// The body of a request: one JSON object.
#[derive(Debug, Clone, Default)]
pub struct Body(Map<String, Json>);

type Read<T> = Result<T, AwsError>;

fn wrong<T>(name: &str, must: &str) -> Read<T> {
    Err(AwsError::bad(format!("{name} {must}.")))
}

impl Body {
    /// Reads a body; nothing at all is an object without members.
    ///
    /// # Errors
    /// It is not an object.
    pub fn read(bytes: &[u8]) -> Read<Self> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        match serde_json::from_slice(bytes) {
            Ok(Json::Object(members)) => Ok(Self(members)),
            Ok(_) | Err(_) => Err(AwsError::bad("The body must be a JSON object.")),
        }
    }

    fn member(&self, name: &str) -> Option<&Json> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A text of so many characters, if it is there.
    ///
    /// # Errors
    /// It is no text, or of another length.
    pub fn text(&self, name: &str, length: std::ops::RangeInclusive<usize>) -> Read<Option<String>> {
        match self.member(name) {
            None => Ok(None),
            Some(Json::String(text)) if length.contains(&text.chars().count()) => Ok(Some(text.clone())),
            Some(_) => {
                wrong(name, &format!("must be a text of {} to {} characters", length.start(), length.end()))
            }
        }
    }

    /// A text that has to be there.
    ///
    /// # Errors
    /// It is not, or as with [`Body::text`].
    pub fn need(&self, name: &str, most: usize) -> Read<String> {
        match self.text(name, 1..=most)? {
            Some(text) => Ok(text),
            None => wrong(name, "is required"),
        }
    }

    /// A whole number within bounds, if it is there.
    ///
    /// # Errors
    /// It is no such number.
    pub fn whole(&self, name: &str, range: std::ops::RangeInclusive<u32>) -> Read<Option<u32>> {
        match self.member(name) {
            None => Ok(None),
            Some(value) => {
                match value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| range.contains(n)) {
                    Some(n) => Ok(Some(n)),
                    None => wrong(
                        name,
                        &format!("must be a whole number from {} to {}", range.start(), range.end()),
                    ),
                }
            }
        }
    }

    /// A number, if it is there.
    ///
    /// # Errors
    /// It is no number.
    pub fn number(&self, name: &str) -> Read<Option<f64>> {
        match self.member(name) {
            None => Ok(None),
            Some(value) => value.as_f64().map_or_else(|| wrong(name, "must be a number"), |n| Ok(Some(n))),
        }
    }

    /// One of a few words, if it is there.
    ///
    /// # Errors
    /// It is another.
    pub fn word<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Read<Option<T>> {
        match self.member(name) {
            None => Ok(None),
            Some(value) => match words.iter().find(|(word, _)| Some(*word) == value.as_str()) {
                Some((_, found)) => Ok(Some(*found)),
                None => {
                    let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                    wrong(name, &format!("must be one of {}", known.join(", ")))
                }
            },
        }
    }

    /// The tags.
    ///
    /// # Errors
    /// They are not texts by key, too many, or too long.
    pub fn tags(&self) -> Read<Tags> {
        let Some(tags) = self.member("Tags") else { return Ok(Tags::new()) };
        let Some(tags) = tags.as_object().filter(|tags| tags.len() <= 50) else {
            return wrong("Tags", "must be an object with at most 50 members");
        };
        let mut read = Tags::new();
        for (key, value) in tags {
            let good = (1..=128).contains(&key.chars().count()) && !key.starts_with("aws:");
            match value.as_str().filter(|value| good && value.chars().count() <= 256) {
                Some(value) => drop(read.insert(key.clone(), value.to_owned())),
                None => {
                    return wrong("Tags", "must be texts of at most 256 characters under keys of 1 to 128");
                }
            }
        }
        Ok(read)
    }

    /// The monitors, if they are there.
    ///
    /// # Errors
    /// They are not a list of at most five alarms.
    pub fn monitors(&self) -> Read<Option<Vec<Monitor>>> {
        let Some(list) = self.member("Monitors") else { return Ok(None) };
        let text = |value: &Json, name: &str| value.get(name).and_then(Json::as_str).map(str::to_owned);
        let read = list.as_array().filter(|list| list.len() <= 5).and_then(|list| {
            let one = |value: &Json| {
                Some(Monitor { alarm: text(value, "AlarmArn")?, role: text(value, "AlarmRoleArn") })
            };
            list.iter().map(one).collect::<Option<Vec<_>>>()
        });
        read.map_or_else(
            || wrong("Monitors", "must be a list of at most 5 objects with an AlarmArn"),
            |read| Ok(Some(read)),
        )
    }

    /// The validators, if they are there.
    ///
    /// # Errors
    /// They are not a list of at most two, or name a function that this server cannot call.
    pub fn validators(&self) -> Read<Option<Vec<Validator>>> {
        let Some(list) = self.member("Validators") else { return Ok(None) };
        let Some(list) = list.as_array().filter(|list| list.len() <= 2) else {
            return wrong("Validators", "must be a list of at most 2");
        };
        let mut read = Vec::new();
        for one in list {
            let content = one.get("Content").and_then(Json::as_str).unwrap_or_default().to_owned();
            match one.get("Type").and_then(Json::as_str) {
                _ if content.chars().count() > 32_768 => {
                    return wrong("Content", "has at most 32768 characters");
                }
                Some("JSON_SCHEMA") => read.push(Validator::Schema(content)),
                Some("LAMBDA") if content.starts_with("https://") || content.starts_with("http://") => {
                    read.push(Validator::Url(content));
                }
                Some("LAMBDA") => {
                    return wrong(
                        "A LAMBDA validator",
                        "must be an https:// address here; functions cannot be called",
                    );
                }
                Some(_) | None => return wrong("Type", "must be JSON_SCHEMA or LAMBDA"),
            }
        }
        Ok(Some(read))
    }

    /// Settings merged into what they are.
    ///
    /// # Errors
    /// A member is of the wrong type.
    pub fn settings(&self, mut now: Settings) -> Read<Settings> {
        let nested =
            |name: &str| Self(self.member(name).and_then(Json::as_object).cloned().unwrap_or_default());
        let protection = nested("DeletionProtection");
        let flag = |body: &Self, was: bool| match body.member("Enabled") {
            None => Ok(was),
            Some(Json::Bool(on)) => Ok(*on),
            Some(_) => wrong("Enabled", "must be true or false"),
        };
        now.protection = flag(&protection, now.protection)?;
        if let Some(minutes) = protection.whole("ProtectionPeriodInMinutes", 15..=1440)? {
            now.protection_minutes = minutes;
        }
        now.vended_metrics = flag(&nested("VendedMetrics"), now.vended_metrics)?;
        Ok(now)
    }
}

/// The words of growth types.
pub const GROWTH: [(&str, Growth); 2] = [("LINEAR", Growth::Linear), ("EXPONENTIAL", Growth::Exponential)];

fn growth(growth: Growth) -> &'static str {
    match growth {
        Growth::Linear => "LINEAR",
        Growth::Exponential => "EXPONENTIAL",
    }
}

/// The words of profile types.
pub const PROFILE_TYPES: [(&str, ProfileKind); 2] =
    [("AWS.Freeform", ProfileKind::Freeform), ("AWS.AppConfig.FeatureFlags", ProfileKind::Flags)];

/// The word of a profile's type.
#[must_use]
pub fn profile_type(kind: ProfileKind) -> &'static str {
    PROFILE_TYPES.iter().find(|(_, known)| *known == kind).map_or("", |(word, _)| word)
}

/// An object without the members that are not there.
fn object(members: impl IntoIterator<Item = (&'static str, Json)>) -> Json {
    let there = members.into_iter().filter(|(_, value)| !value.is_null());
    Json::Object(there.map(|(name, value)| (name.to_owned(), value)).collect())
}

fn time(at: Timestamp) -> Json {
    json!(rfc3339(Timestamp(at.0.div_euclid(1_000) * 1_000)))
}

/// An application.
#[must_use]
pub fn application(application: &Application) -> Json {
    object([
        ("Id", json!(application.id)),
        ("Name", json!(application.name)),
        ("Description", json!(application.description)),
    ])
}

/// An environment's state, from the deployments it has had, oldest first.
#[must_use]
pub fn environment_state(deployments: &[Deployment]) -> &'static str {
    if deployments.iter().any(|deployment| deployment.state.is_running()) {
        return "DEPLOYING";
    }
    match deployments.last().map(|deployment| deployment.state) {
        None | Some(State::Complete) => "READY_FOR_DEPLOYMENT",
        Some(State::Deploying | State::Baking) => "DEPLOYING",
        Some(State::RolledBack) => "ROLLED_BACK",
        Some(State::Reverted) => "REVERTED",
    }
}

/// An environment.
#[must_use]
pub fn environment(application: &str, environment: &Environment, state: &str) -> Json {
    let monitor = |monitor: &Monitor| {
        object([("AlarmArn", json!(monitor.alarm)), ("AlarmRoleArn", json!(monitor.role))])
    };
    object([
        ("ApplicationId", json!(application)),
        ("Id", json!(environment.id)),
        ("Name", json!(environment.name)),
        ("Description", json!(environment.description)),
        ("State", json!(state)),
        ("Monitors", environment.monitors.iter().map(monitor).collect()),
    ])
}

fn validator(validator: &Validator) -> (&'static str, &str) {
    match validator {
        Validator::Schema(text) => ("JSON_SCHEMA", text),
        Validator::Url(url) => ("LAMBDA", url),
    }
}

/// A profile.
#[must_use]
pub fn profile(application: &str, profile: &Profile) -> Json {
    let validators = profile.validators.iter().map(|one| {
        let (kind, content) = validator(one);
        json!({ "Type": kind, "Content": content })
    });
    object([
        ("ApplicationId", json!(application)),
        ("Id", json!(profile.id)),
        ("Name", json!(profile.name)),
        ("Description", json!(profile.description)),
        ("LocationUri", json!("hosted")),
        ("RetrievalRoleArn", json!(profile.role)),
        ("Validators", validators.collect()),
        ("Type", json!(profile_type(profile.kind))),
        ("KmsKeyIdentifier", json!(profile.kms)),
    ])
}

/// A profile in a list.
#[must_use]
pub fn profile_summary(application: &str, profile: &Profile) -> Json {
    let kinds = profile.validators.iter().map(|one| json!(validator(one).0));
    object([
        ("ApplicationId", json!(application)),
        ("Id", json!(profile.id)),
        ("Name", json!(profile.name)),
        ("LocationUri", json!("hosted")),
        ("Type", json!(profile_type(profile.kind))),
        ("ValidatorTypes", kinds.collect()),
    ])
}

/// A version in a list.
#[must_use]
pub fn version_summary(application: &str, version: &Version) -> Json {
    object([
        ("ApplicationId", json!(application)),
        ("ConfigurationProfileId", json!(version.profile)),
        ("VersionNumber", json!(version.number)),
        ("Description", json!(version.description)),
        ("ContentType", json!(version.content_type)),
        ("VersionLabel", json!(version.label)),
    ])
}

/// A version's members that travel as headers; the document is the body.
#[must_use]
pub fn version_headers(application: &str, version: &Version) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        ("Application-Id", application.to_owned()),
        ("Configuration-Profile-Id", version.profile.clone()),
        ("Version-Number", version.number.to_string()),
        ("Content-Type", version.content_type.clone()),
    ];
    headers.extend(version.description.clone().map(|text| ("Description", text)));
    headers.extend(version.label.clone().map(|text| ("VersionLabel", text)));
    headers
}

/// A strategy.
#[must_use]
pub fn strategy(strategy: &Strategy) -> Json {
    object([
        ("Id", json!(strategy.id)),
        ("Name", json!(strategy.name)),
        ("Description", json!(strategy.description)),
        ("DeploymentDurationInMinutes", json!(strategy.minutes)),
        ("GrowthType", json!(growth(strategy.growth))),
        ("GrowthFactor", json!(strategy.factor)),
        ("FinalBakeTimeInMinutes", json!(strategy.bake_minutes)),
        ("ReplicateTo", json!(if strategy.replicate { "SSM_DOCUMENT" } else { "NONE" })),
    ])
}

fn state(state: State) -> &'static str {
    match state {
        State::Deploying => "DEPLOYING",
        State::Baking => "BAKING",
        State::Complete => "COMPLETE",
        State::RolledBack => "ROLLED_BACK",
        State::Reverted => "REVERTED",
    }
}

fn common(deployment: &Deployment) -> Vec<(&'static str, Json)> {
    let strategy = &deployment.strategy;
    vec![
        ("DeploymentNumber", json!(deployment.number)),
        ("ConfigurationProfileId", json!(deployment.profile)),
        ("ConfigurationName", json!(deployment.profile_name)),
        ("ConfigurationVersion", json!(deployment.version.to_string())),
        ("VersionLabel", json!(deployment.label)),
        ("DeploymentDurationInMinutes", json!(strategy.minutes)),
        ("GrowthType", json!(growth(strategy.growth))),
        ("GrowthFactor", json!(strategy.factor)),
        ("FinalBakeTimeInMinutes", json!(strategy.bake_minutes)),
        ("State", json!(state(deployment.state))),
        ("PercentageComplete", json!(f64::from(deployment.share) / 1_000.0)),
        ("StartedAt", time(deployment.started)),
        ("CompletedAt", deployment.ended.map_or(Json::Null, time)),
    ]
}

/// A deployment in a list.
#[must_use]
pub fn deployment_summary(deployment: &Deployment) -> Json {
    let mut members = common(deployment);
    members.push(("Type", json!("USER")));
    object(members)
}

/// A deployment with its log, newest event first.
#[must_use]
pub fn deployment(application: &str, environment: &str, deployment: &Deployment) -> Json {
    let events = deployment.events.iter().rev().map(|event| {
        let kind = match event.kind {
            EventKind::Started => "DEPLOYMENT_STARTED",
            EventKind::Percentage => "PERCENTAGE_UPDATED",
            EventKind::Bake => "BAKE_TIME_STARTED",
            EventKind::Completed => "DEPLOYMENT_COMPLETED",
            EventKind::RollbackStarted => "ROLLBACK_STARTED",
            EventKind::RollbackCompleted => "ROLLBACK_COMPLETED",
            EventKind::Reverted => "REVERT_COMPLETED",
        };
        let by = match event.by {
            Trigger::Person => "USER",
            Trigger::Clock => "APPCONFIG",
            Trigger::Alarm => "CLOUDWATCH_ALARM",
        };
        json!({ "EventType": kind, "TriggeredBy": by, "Description": event.description, "OccurredAt": time(event.at) })
    });
    let mut members = vec![
        ("ApplicationId", json!(application)),
        ("EnvironmentId", json!(environment)),
        ("DeploymentStrategyId", json!(deployment.strategy.id)),
        ("ConfigurationLocationUri", json!("hosted")),
        ("Description", json!(deployment.description)),
        ("KmsKeyIdentifier", json!(deployment.kms)),
        ("EventLog", events.collect()),
        ("AppliedExtensions", json!([])),
    ];
    members.extend(common(deployment));
    object(members)
}

/// An account's settings.
#[must_use]
pub fn settings(settings: &Settings) -> Json {
    json!({
        "DeletionProtection": {
            "Enabled": settings.protection,
            "ProtectionPeriodInMinutes": settings.protection_minutes,
        },
        "VendedMetrics": { "Enabled": settings.vended_metrics },
    })
}

/// What is wrong with a document.
#[must_use]
pub fn violations(found: &[Violation]) -> Vec<Json> {
    let one = |violation: &Violation| {
        json!({
            "Constraint": violation.constraint,
            "Location": violation.location,
            "Reason": violation.reason,
            "Type": "JSON_SCHEMA",
            "Value": violation.value,
        })
    };
    found.iter().map(one).collect()
}

/// One page of a list: what is on it, and the token of the next one.
///
/// # Errors
/// The size or the token is none of ours.
pub fn page(items: Vec<Json>, max_results: Option<&str>, next_token: Option<&str>) -> Read<Json> {
    let size = match max_results.map(str::parse::<usize>) {
        None => 50,
        Some(Ok(size)) if (1..=50).contains(&size) => size,
        Some(_) => return wrong("max_results", "must be a whole number from 1 to 50"),
    };
    let from = match next_token {
        None => 0,
        Some(token) => match token.strip_prefix("from-").and_then(|from| from.parse::<usize>().ok()) {
            Some(from) => from,
            None => return wrong("next_token", "is not a token of this list"),
        },
    };
    let more = items.len() > from.saturating_add(size);
    let shown: Vec<Json> = items.into_iter().skip(from).take(size).collect();
    let next = if more { json!(format!("from-{}", from + size)) } else { Json::Null };
    Ok(object([("Items", Json::Array(shown)), ("NextToken", next)]))
}
