//! Why an event could not be read: which member, and what it must be.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::wire::{Decision, Number, STATUS_WORDS, StatusWord, Text, Time, UnitName, Wire};
use super::{Refused, pieces};

/// The refusal of an event that `error` stopped.
pub(super) fn event(text: &str, error: &serde_json::Error) -> Refused {
    let Some(members) = pieces::members(text) else {
        if text.starts_with('{') {
            return Refused::new(
                "json_syntax",
                "",
                format!("The event is not JSON: {}.", without_place(error)),
            );
        }
        return Refused::new("wrong_type", "", "An event is a JSON object.");
    };
    for (key, raw) in &members {
        let at = || format!("/{key}");
        if let Err(must) = member(key, raw) {
            if not_finite(raw) {
                return Refused::new("not_finite", at(), format!("`{key}` must be a finite number."));
            }
            if serde_json::from_str::<IgnoredAny>(raw).is_err() {
                return Refused::new("json_syntax", at(), format!("The value of `{key}` is not JSON."));
            }
            if *key == "status" && raw.starts_with('"') {
                return Refused::new("unknown_status", at(), format!("A status is one of {STATUS_WORDS}."));
            }
            if *key == "decisions" {
                return decisions(raw);
            }
            return Refused::new("wrong_type", at(), format!("`{key}` must be {must}."));
        }
    }
    let duplicate =
        members.iter().enumerate().find(|(i, (key, _))| members[..*i].iter().any(|(k, _)| k == key));
    match duplicate {
        Some((_, (key, _))) => {
            Refused::new("duplicate_member", format!("/{key}"), format!("`{key}` is there twice."))
        }
        None => Refused::new("json_syntax", "", format!("The event is not JSON: {}.", without_place(error))),
    }
}

fn decisions(raw: &str) -> Refused {
    let elements = pieces::elements(raw).unwrap_or_default();
    let bad = elements.iter().position(|element| serde_json::from_str::<Decision<'_>>(element).is_err());
    let at = bad.map_or("/decisions".to_owned(), |index| format!("/decisions/{index}"));
    Refused::new(
        "bad_decision",
        at,
        "A decision record has at least `flag` (a key) and `variant` (a name or an index).",
    )
}

/// `NaN`, `Infinity` and numbers no `f64` can hold: what careless encoders write.
fn not_finite(raw: &str) -> bool {
    let bare = raw.trim_start_matches(['-', '+']);
    ["NaN", "nan", "Infinity", "inf", "Inf"].contains(&bare)
        || (bare.starts_with(|c: char| c.is_ascii_digit())
            && serde_json::from_str::<f64>(raw)
                .is_err_and(|error| error.to_string().contains("out of range")))
}

/// An error's words without its place, which would be that within the piece.
pub(super) fn without_place(error: &serde_json::Error) -> String {
    let words = error.to_string();
    words.split(" at line ").next().unwrap_or(&words).to_owned()
}

fn is<'a, T: Deserialize<'a>>(raw: &'a str, must: &'static str) -> Result<(), &'static str> {
    serde_json::from_str::<Option<T>>(raw).map(drop).map_err(|_| must)
}

/// Whether a member's value is what it must be; else what that is.
fn member(key: &str, raw: &str) -> Result<(), &'static str> {
    match key {
        "type" | "id" | "source" | "token" | "request" | "use_case" | "model" | "metric" => {
            is::<Text<'_>>(raw, "a text")
        }
        "v" => is::<u32>(raw, "a version number"),
        "seq" => is::<u64>(raw, "a whole number from 0"),
        "tokens_in" | "tokens_out" => is::<u32>(raw, "a whole number from 0"),
        "time" | "start" => is::<Time>(raw, "a time: RFC 3339, or milliseconds since 1970"),
        "duration_ms" | "ttft_ms" | "cost" | "numerator" | "denominator" => is::<f64>(raw, "a number"),
        "value" => is::<Number>(raw, "a number, true or false"),
        "status" => is::<StatusWord>(raw, "a status"),
        "unit" => is::<UnitName<'_>>(raw, "a unit: its key, or {\"kind\": …, \"key\": …}"),
        "decisions" => is::<Vec<Decision<'_>>>(raw, "a list of decision records"),
        _ => is::<IgnoredAny>(raw, "JSON"),
    }
}

/// Compiled away: a reminder that every member of [`Wire`] has a row above.
#[expect(dead_code, reason = "the pattern fails to compile when a member is added")]
fn every_member(wire: &Wire<'_>) {
    let Wire {
        v: _,
        kind: _,
        id: _,
        source: _,
        seq: _,
        time: _,
        token: _,
        decisions: _,
        unit: _,
        request: _,
        start: _,
        duration_ms: _,
        ttft_ms: _,
        status: _,
        tokens_in: _,
        tokens_out: _,
        cost: _,
        use_case: _,
        model: _,
        metric: _,
        value: _,
        numerator: _,
        denominator: _,
    } = wire;
}
