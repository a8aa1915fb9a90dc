//! The scenario in the other evaluators' documents, each loaded as its own users would.

use std::collections::HashMap;
use std::sync::Arc;

use growthbook_rust::client::{GrowthBookClient, GrowthBookClientBuilder};
use growthbook_rust::model_public::GrowthBookAttribute;
use launchdarkly_server_sdk_evaluation as ld;
use serde_json::{Value as Json, json};

use crate::{Case, USER_KEY, attributes, countries, keys, orgs, plans};

fn with_attributes(case: Case, mut json: Json) -> Json {
    for (name, value) in attributes(case) {
        json[name] = value.into();
    }
    json
}

pub struct LaunchDarkly {
    pub flags: HashMap<String, ld::Flag>,
}

impl ld::Store for LaunchDarkly {
    fn flag(&self, key: &str) -> Option<ld::Flag> {
        self.flags.get(key).cloned()
    }

    fn segment(&self, _: &str) -> Option<ld::Segment> {
        None
    }
}

pub fn launchdarkly(count: usize) -> LaunchDarkly {
    let rule = |attribute: &str, values: Vec<String>| {
        json!({"id": attribute, "trackEvents": false, "clauses": [
            {"contextKind": "user", "attribute": attribute, "op": "in", "values": values, "negate": false}]})
    };
    let flags = keys(count).into_iter().map(|key| {
        let (mut first, mut second) = (rule("country", countries()), rule("org", orgs()));
        let mut third = rule("plan", plans());
        first["variation"] = 0.into();
        second["variation"] = 1.into();
        third["rollout"] = json!({"kind": "rollout", "contextKind": "user", "variations": [
            {"variation": 0, "weight": 50000}, {"variation": 1, "weight": 30000}, {"variation": 2, "weight": 20000}]});
        let flag = json!({"key": key, "version": 1, "on": true, "salt": "a1b2c3d4e5f6", "prerequisites": [],
            "targets": [], "contextTargets": [], "rules": [first, second, third],
            "fallthrough": {"variation": 3}, "offVariation": 3, "variations": ["a", "b", "c", "off"],
            "trackEvents": false, "trackEventsFallthrough": false, "debugEventsUntilDate": null,
            "clientSide": false, "clientSideAvailability": {"usingMobileKey": false, "usingEnvironmentId": false}});
        (key, serde_json::from_value(flag).unwrap())
    });
    LaunchDarkly { flags: flags.collect() }
}

pub fn launchdarkly_context(case: Case) -> ld::Context {
    serde_json::from_value(with_attributes(case, json!({"kind": "user", "key": USER_KEY}))).unwrap()
}

pub fn eppo(count: usize) -> eppo_core::Configuration {
    let allocation = |name: &str, values: Option<Vec<String>>, splits: Json| {
        let rules = match values {
            Some(values) => {
                json!([{"conditions": [{"attribute": name, "operator": "ONE_OF", "value": values}]}])
            }
            None => json!([]),
        };
        json!({"key": name, "rules": rules, "splits": splits, "doLog": false})
    };
    let whole = |variant: &str| json!([{"variationKey": variant, "shards": []}]);
    let part = |variant: &str, start: u32, end: u32| {
        let shards = json!([{"salt": "a1b2c3d4e5f6", "ranges": [{"start": start, "end": end}]}]);
        json!({"variationKey": variant, "shards": shards})
    };
    let flags: serde_json::Map<String, Json> = keys(count)
        .into_iter()
        .map(|key| {
            let flag = json!({"key": key, "enabled": true, "variationType": "STRING", "totalShards": 10000,
                "variations": {"a": {"key": "a", "value": "a"}, "b": {"key": "b", "value": "b"},
                    "c": {"key": "c", "value": "c"}, "off": {"key": "off", "value": "off"}},
                "allocations": [
                    allocation("country", Some(countries()), whole("a")),
                    allocation("org", Some(orgs()), whole("b")),
                    allocation("plan", Some(plans()),
                        json!([part("a", 0, 5000), part("b", 5000, 8000), part("c", 8000, 10000)])),
                    allocation("rest", None, whole("off"))]});
            (key, flag)
        })
        .collect();
    let json = json!({"createdAt": "2026-01-01T00:00:00Z", "format": "SERVER", "environment": {"name": "test"},
        "flags": flags, "bandits": {}});
    let metadata = eppo_core::SdkMetadata { name: "bench", version: "0" };
    let flags =
        eppo_core::ufc::UniversalFlagConfig::from_json(metadata, json.to_string().into_bytes()).unwrap();
    eppo_core::Configuration::from_server_response(flags, None)
}

pub fn eppo_attributes(case: Case) -> Arc<eppo_core::Attributes> {
    Arc::new(attributes(case).into_iter().map(|(name, value)| (name.into(), value.into())).collect())
}

pub fn unleash(count: usize) -> unleash_yggdrasil::EngineState {
    let strategy = |attribute: &str, values: Vec<String>, variants: Json| {
        json!({"name": "default", "variants": variants,
            "constraints": [{"contextName": attribute, "operator": "IN", "values": values}]})
    };
    let variant = |name: &str, weight: u32| json!({"name": name, "weight": weight, "stickiness": "userId", "payload": {"type": "string", "value": name}});
    let features: Vec<Json> = keys(count)
        .into_iter()
        .map(|key| {
            json!({"name": key, "enabled": true, "strategies": [
                strategy("country", countries(), json!([variant("a", 1000)])),
                strategy("org", orgs(), json!([variant("b", 1000)])),
                strategy("plan", plans(), json!([variant("a", 500), variant("b", 300), variant("c", 200)]))]})
        })
        .collect();
    let engine = unleash_yggdrasil::EngineState::default();
    let warnings = engine
        .apply_client_features(serde_json::from_value(json!({"version": 2, "features": features})).unwrap());
    assert!(warnings.is_none());
    engine
}

pub fn unleash_context(case: Case) -> unleash_yggdrasil::Context {
    let properties: HashMap<&str, &str> = attributes(case).into_iter().collect();
    serde_json::from_value(json!({"userId": USER_KEY, "properties": properties})).unwrap()
}

pub fn growthbook(count: usize) -> GrowthBookClient {
    let features: serde_json::Map<String, Json> = keys(count)
        .into_iter()
        .map(|key| {
            let rules = json!([
                {"condition": {"country": {"$in": countries()}}, "force": "a"},
                {"condition": {"org": {"$in": orgs()}}, "force": "b"},
                {"condition": {"plan": {"$in": plans()}}, "key": key, "hashAttribute": "id",
                    "variations": ["a", "b", "c"], "weights": [0.5, 0.3, 0.2], "coverage": 1.0}]);
            (key, json!({"defaultValue": "off", "rules": rules}))
        })
        .collect();
    let builder = GrowthBookClientBuilder::new().features_json(Json::Object(features)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(builder.auto_refresh(false).build()).unwrap()
}

pub fn growthbook_attributes(case: Case) -> Vec<GrowthBookAttribute> {
    GrowthBookAttribute::from(with_attributes(case, json!({"id": USER_KEY}))).unwrap()
}
