//! What may be asked about applications, profiles, versions, strategies, deployments and alarms.

use serde::{Deserialize, Serialize};

use super::{Growth, Monitor, ProfileKind, Settings, Tags, Validator};
use crate::ids::{Key, Place};

/// A new application: a project without environments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewApplication {
    /// The project whose key makes it, and will manage it.
    pub account: Key,
    /// Unique within the account.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// Labels.
    pub tags: Tags,
}

/// A new environment of an application.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewEnvironment {
    /// The application's project.
    pub project: Key,
    /// Unique within the application.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// What takes deployments back.
    pub monitors: Vec<Monitor>,
    /// Labels.
    pub tags: Tags,
}

/// A new profile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewProfile {
    /// The application's project.
    pub project: Key,
    /// Unique within the application.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// What its documents are.
    pub kind: ProfileKind,
    /// Checks.
    pub validators: Vec<Validator>,
    /// Kept and echoed.
    pub role: Option<String>,
    /// Kept and echoed.
    pub kms: Option<String>,
    /// Labels.
    pub tags: Tags,
}

/// A new version of a profile's document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewVersion {
    /// The application's project.
    pub project: Key,
    /// The profile's id.
    pub profile: String,
    /// The document.
    #[serde(with = "super::item::content")]
    pub content: Vec<u8>,
    /// Its media type.
    pub content_type: String,
    /// For people.
    pub description: Option<String>,
    /// A name with at least one character that is no digit.
    pub label: Option<String>,
    /// Only if this is the number of the newest version.
    pub latest: Option<u32>,
}

/// A new strategy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewStrategy {
    /// The project whose key makes it.
    pub account: Key,
    /// For people.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// How the share grows.
    pub growth: Growth,
    /// By how much, in percent.
    pub factor: f64,
    /// How long, in minutes.
    pub minutes: u32,
    /// How long alarms are watched at 100 %, in minutes.
    pub bake_minutes: u32,
    /// Kept and echoed.
    pub replicate: bool,
    /// Labels.
    pub tags: Tags,
}

/// New numbers of a strategy; what is left out stays.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StrategyUpdate {
    /// For people; empty clears.
    pub description: Option<String>,
    /// How the share grows.
    pub growth: Option<Growth>,
    /// By how much, in percent.
    pub factor: Option<f64>,
    /// How long, in minutes.
    pub minutes: Option<u32>,
    /// How long alarms are watched at 100 %, in minutes.
    pub bake_minutes: Option<u32>,
}

/// A deployment to be started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewStart {
    /// Where.
    pub place: Place,
    /// The profile's id.
    pub profile: String,
    /// A number, or a label.
    pub version: String,
    /// The strategy's id.
    pub strategy: String,
    /// For people.
    pub description: Option<String>,
    /// Kept and echoed.
    pub kms: Option<String>,
    /// Labels.
    pub tags: Tags,
    /// Only if this is the number of the newest deployment.
    pub latest: Option<u32>,
}

/// Something that has labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// An application.
    Application(Key),
    /// An environment.
    Environment(Place),
    /// A profile by its id.
    Profile(Key, String),
    /// A strategy of an account by its id.
    Strategy(Key, String),
    /// A deployment by its number.
    Deployment(Place, u32),
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// Makes an application.
    CreateApplication(NewApplication),
    /// Renames or describes one; what is left out stays.
    UpdateApplication {
        /// Its project.
        project: Key,
        /// The new name.
        name: Option<String>,
        /// Empty clears.
        description: Option<String>,
    },
    /// Hides an empty application; its project stays.
    DeleteApplication {
        /// Its project.
        project: Key,
    },
    /// Makes an environment.
    CreateEnvironment(NewEnvironment),
    /// Changes one; what is left out stays.
    UpdateEnvironment {
        /// Which.
        place: Place,
        /// The new name.
        name: Option<String>,
        /// Empty clears.
        description: Option<String>,
        /// Replaces all.
        monitors: Option<Vec<Monitor>>,
    },
    /// Hides an environment in which nothing is being deployed; it stays in Ensign.
    DeleteEnvironment {
        /// Which.
        place: Place,
    },
    /// Makes a profile, and its flag.
    CreateProfile(NewProfile),
    /// Changes one; what is left out stays.
    UpdateProfile {
        /// The application's project.
        project: Key,
        /// Its id.
        profile: String,
        /// The new name.
        name: Option<String>,
        /// Empty clears.
        description: Option<String>,
        /// Replaces all.
        validators: Option<Vec<Validator>>,
        /// Kept and echoed.
        role: Option<String>,
        /// Kept and echoed.
        kms: Option<String>,
    },
    /// Deletes a profile without versions, and retires its flag.
    DeleteProfile {
        /// The application's project.
        project: Key,
        /// Its id.
        profile: String,
    },
    /// Adds a version.
    CreateVersion(NewVersion),
    /// Deletes a version that is deployed nowhere.
    DeleteVersion {
        /// The application's project.
        project: Key,
        /// The profile's id.
        profile: String,
        /// Which.
        number: u32,
    },
    /// Makes a strategy.
    CreateStrategy(NewStrategy),
    /// Changes one.
    UpdateStrategy {
        /// Whose.
        account: Key,
        /// Its id.
        strategy: String,
        /// To what.
        to: StrategyUpdate,
    },
    /// Deletes one.
    DeleteStrategy {
        /// Whose.
        account: Key,
        /// Its id.
        strategy: String,
    },
    /// Starts a deployment.
    Start(NewStart),
    /// Stops a deployment that runs, or takes back one that has ended.
    Stop {
        /// Where.
        place: Place,
        /// Which.
        number: u32,
        /// Whether one that has ended is meant too.
        revert: bool,
    },
    /// Puts labels on something and takes others off.
    Tag {
        /// On what.
        resource: Resource,
        /// Labels to put on.
        set: Tags,
        /// Labels to take off.
        unset: Vec<String>,
    },
    /// Changes an account's settings.
    Settings {
        /// Whose.
        account: Key,
        /// To what.
        to: Settings,
    },
    /// What an alarm says now. One that fires takes the deployments it watches back.
    Alarm {
        /// Where.
        place: Place,
        /// Its name.
        name: String,
        /// Whether it fires.
        firing: bool,
        /// Why, as it was sent.
        reason: Option<String>,
        /// Who sent it.
        source: String,
    },
}
