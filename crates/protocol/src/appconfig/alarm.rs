//! Alarms as Prometheus Alertmanager, CloudWatch through SNS, and plain senders report them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value as Json;

/// What an alarm says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its name.
    pub name: String,
    /// Whether it fires.
    pub firing: bool,
    /// Why, as it was sent.
    pub reason: Option<String>,
}

/// What a message of SNS is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sns {
    /// An alarm's state; none where the state says neither yes nor no.
    Alarm(Option<Report>),
    /// A subscription to be confirmed at this address.
    Confirm(String),
    /// Anything else, such as the end of a subscription.
    Other,
}

#[derive(Deserialize)]
struct Alerts {
    alerts: Vec<Alert>,
}

#[derive(Deserialize)]
struct Alert {
    status: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// Alertmanager's webhook, version 4: one report per name. A name fires while any of its alerts does.
///
/// # Errors
/// A sentence, where it is none.
pub fn alertmanager(bytes: &[u8]) -> Result<Vec<Report>, String> {
    let all: Alerts = serde_json::from_slice(bytes)
        .map_err(|error| format!("This is no message of Alertmanager: {error}."))?;
    let mut reports: BTreeMap<String, Report> = BTreeMap::new();
    for alert in all.alerts {
        let Some(name) = alert.labels.get("alertname").filter(|name| !name.is_empty()) else {
            return Err("An alert has no label \"alertname\".".to_owned());
        };
        let firing = alert.status == "firing";
        let words = ["summary", "description", "message"];
        let reason = words.iter().find_map(|word| alert.annotations.get(*word)).cloned();
        let report = reports.entry(name.clone()).or_insert_with(|| Report {
            name: name.clone(),
            firing,
            reason: None,
        });
        if firing || report.reason.is_none() {
            report.reason = reason;
        }
        report.firing |= firing;
    }
    Ok(reports.into_values().collect())
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(rename = "Message", default)]
    message: String,
    #[serde(rename = "SubscribeURL", default)]
    subscribe: String,
}

/// A message of SNS; a notification of CloudWatch names its alarm. `INSUFFICIENT_DATA` is neither yes nor no.
///
/// # Errors
/// A sentence, where it is none.
pub fn sns(bytes: &[u8]) -> Result<Sns, String> {
    let envelope: Envelope =
        serde_json::from_slice(bytes).map_err(|error| format!("This is no message of SNS: {error}."))?;
    match envelope.kind.as_str() {
        "SubscriptionConfirmation" => Ok(Sns::Confirm(envelope.subscribe)),
        "Notification" => {
            let message: Json = serde_json::from_str(&envelope.message)
                .map_err(|_| "The notification is not one of a CloudWatch alarm.".to_owned())?;
            let text = |name: &str| message.get(name).and_then(Json::as_str).map(str::to_owned);
            let (Some(name), Some(state)) = (text("AlarmName"), text("NewStateValue")) else {
                return Err("The notification is not one of a CloudWatch alarm.".to_owned());
            };
            let report = |firing| Some(Report { name, firing, reason: text("NewStateReason") });
            Ok(Sns::Alarm(match state.as_str() {
                "ALARM" => report(true),
                "OK" => report(false),
                _ => None,
            }))
        }
        _ => Ok(Sns::Other),
    }
}

#[derive(Deserialize)]
struct Plain {
    alarm: String,
    state: String,
    #[serde(default)]
    reason: Option<String>,
}

/// `{"alarm": …, "state": "ALARM" | "OK", "reason": …}`.
///
/// # Errors
/// A sentence, where it is none.
pub fn plain(bytes: &[u8]) -> Result<Report, String> {
    let plain: Plain =
        serde_json::from_slice(bytes).map_err(|error| format!("This is no alarm: {error}."))?;
    let firing = match plain.state.as_str() {
        "ALARM" | "firing" => true,
        "OK" | "resolved" => false,
        other => return Err(format!("A state is ALARM or OK, not \"{other}\".")),
    };
    Ok(Report { name: plain.alarm, firing, reason: plain.reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: &str, firing: bool, reason: &str) -> Report {
        Report { name: name.into(), firing, reason: Some(reason.into()) }
    }

    #[test]
    fn alertmanager_reports_each_name_once() {
        // As Alertmanager 0.28 sends it, shortened.
        let body = br#"{"receiver":"ensign","status":"firing","alerts":[
            {"status":"resolved","labels":{"alertname":"ModelErrors","job":"a"},"annotations":{"summary":"fine"},
             "startsAt":"2026-01-15T12:00:00Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"","fingerprint":"1"},
            {"status":"firing","labels":{"alertname":"ModelErrors","job":"b"},"annotations":{"summary":"5 %"}},
            {"status":"resolved","labels":{"alertname":"Other"},"annotations":{"description":"x"}}],
            "groupLabels":{},"commonLabels":{},"commonAnnotations":{},"externalURL":"","version":"4","groupKey":"{}"}"#;
        assert_eq!(alertmanager(body), Ok(vec![said("ModelErrors", true, "5 %"), said("Other", false, "x")]));
        assert!(alertmanager(b"{}").is_err());
    }

    #[test]
    fn sns_carries_alarms_and_confirmations() {
        let alarm = br#"{"Type":"Notification","MessageId":"1","TopicArn":"arn:aws:sns:x:0:t","Subject":"ALARM",
            "Message":"{\"AlarmName\":\"errors\",\"NewStateValue\":\"ALARM\",\"NewStateReason\":\"Threshold Crossed\"}",
            "Timestamp":"2026-01-15T12:00:00.000Z","SignatureVersion":"1","Signature":"x","SigningCertURL":"https://x"}"#;
        assert_eq!(sns(alarm), Ok(Sns::Alarm(Some(said("errors", true, "Threshold Crossed")))));
        let confirm =
            br#"{"Type":"SubscriptionConfirmation","SubscribeURL":"https://sns.x.amazonaws.com/?Action=y"}"#;
        assert_eq!(sns(confirm), Ok(Sns::Confirm("https://sns.x.amazonaws.com/?Action=y".into())));
        assert_eq!(sns(br#"{"Type":"UnsubscribeConfirmation"}"#), Ok(Sns::Other));
        let unsure = br#"{"Type":"Notification","Message":"{\"AlarmName\":\"e\",\"NewStateValue\":\"INSUFFICIENT_DATA\"}"}"#;
        assert_eq!(sns(unsure), Ok(Sns::Alarm(None)));
        assert!(sns(br#"{"Type":"Notification","Message":"hello"}"#).is_err());
    }

    #[test]
    fn plain_alarms_are_read() {
        assert_eq!(plain(br#"{"alarm":"a","state":"ALARM","reason":"r"}"#), Ok(said("a", true, "r")));
        assert!(plain(br#"{"alarm":"a","state":"maybe"}"#).is_err());
    }
}
