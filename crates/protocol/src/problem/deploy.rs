//! The codes of applications, configuration profiles, versions, strategies, deployments and alarms.

use super::Code;
use super::table::row;

/// What the state, or a rule of these resources, does not allow.
pub(super) const DEPLOY: &[Code] = &[
    row(
        "alarm_firing",
        409,
        "Alarm fires",
        "A monitor of the environment fires already; a deployment would be taken back at once.",
    ),
    row(
        "application_not_empty",
        409,
        "Application not empty",
        "Delete its environments and configuration profiles first.",
    ),
    row("bad_alarm", 422, "Bad alarm", "An alarm has a name of 1 to 2048 bytes."),
    row(
        "bad_label",
        422,
        "Bad version label",
        "A version label has 1 to 64 characters, and at least one that is no digit.",
    ),
    row(
        "bad_monitor",
        422,
        "Bad monitor",
        "An environment has at most 5 monitors; one that is a guardrail has to be one that can be watched.",
    ),
    row(
        "bad_strategy",
        422,
        "Bad strategy",
        "A growth factor is from 1 to 100 percent, a duration from 0 to 1440 minutes.",
    ),
    row(
        "bad_tags",
        422,
        "Bad tags",
        "At most 50 tags; keys of 1 to 128 characters that do not begin with `aws:`, values of at most 256.",
    ),
    row(
        "bad_validator",
        422,
        "Bad validator",
        "At most two validators: JSON Schemas that can be used, or addresses.",
    ),
    row(
        "deployment_conflict",
        409,
        "Another deployment meanwhile",
        "The newest deployment is another than the one that was expected. Look and send it again.",
    ),
    row(
        "deployment_over",
        409,
        "Deployment over",
        "Only a running deployment can be stopped, and only the newest complete one can be reverted, within 72 hours.",
    ),
    row(
        "deployment_running",
        409,
        "Deployment under way",
        "One deployment of a configuration profile at a time runs in an environment.",
    ),
    row("document_too_large", 413, "Document too large", "A document has at most 2048 kilobytes."),
    row(
        "invalid_configuration",
        422,
        "Invalid configuration",
        "The document does not satisfy the validators of its configuration profile.",
    ),
    row("name_taken", 409, "Name taken", "Names are unique within what they belong to."),
    row(
        "predefined_strategy",
        409,
        "Predefined strategy",
        "The predefined deployment strategies cannot be changed or deleted.",
    ),
    row("profile_not_empty", 409, "Profile not empty", "Delete its hosted versions first."),
    row("retired", 409, "Flag retired", "The flag of this configuration profile is retired."),
    row("unknown_application", 404, "Unknown application", "There is no such application for this key."),
    row(
        "unknown_configuration_profile",
        404,
        "Unknown configuration profile",
        "The application has no such configuration profile.",
    ),
    row(
        "unknown_configuration_version",
        404,
        "Unknown version",
        "The configuration profile has no version of this number or label.",
    ),
    row(
        "unknown_deployment",
        404,
        "Unknown deployment",
        "The environment has had no deployment of this number.",
    ),
    row("unknown_deployment_strategy", 404, "Unknown strategy", "There is no such deployment strategy."),
    row(
        "unknown_hosted_configuration_version",
        404,
        "Unknown version",
        "The configuration profile has no version of this number.",
    ),
    row(
        "version_conflict",
        409,
        "Another version meanwhile",
        "The newest version is another than the one that was expected. Look and send it again.",
    ),
    row(
        "version_deployed",
        409,
        "Version deployed",
        "The version is deployed, or being deployed, somewhere.",
    ),
];
