//! Members of a flag document that belong to the flag as a whole.

use serde_json::{Map, Value as Json};

use super::problem::Problem;
use super::reader::{Object, wrong_type};

/// Members of the flag as a whole, besides its key, type and variants.
pub const SHARED: [&str; 10] = [
    "kind",
    "permanent",
    "reason",
    "cleanup",
    "owner",
    "description",
    "use_case",
    "schema",
    "tags",
    "client_side",
];

/// What a flag is for; it decides the cleanup date that is set when none is given.
pub const KINDS: [(&str, i64); 5] =
    [("release", 90), ("experiment", 60), ("operational", 365), ("permission", 365), ("configuration", 180)];

/// Checks them; they are kept as they were written.
pub(super) fn shared(object: &Object<'_>, problems: &mut Vec<Problem>) -> Map<String, Json> {
    for name in ["owner", "description", "reason"] {
        object.text(name, problems);
    }
    client_side(object, problems);
    object.key("use_case", problems);
    object.texts("tags", problems);
    if let Some(kind) = object.text("kind", problems) {
        let known: Vec<&str> = KINDS.iter().map(|(word, _)| *word).collect();
        if !known.contains(&kind.as_str()) {
            let sentence = format!("There is no kind \"{kind}\".");
            problems.push(
                Problem::new("unknown_kind", object.pointer("kind"), sentence)
                    .hint(format!("known: {}", known.join(", "))),
            );
        }
    }
    if let Some(day) = object.text("cleanup", problems)
        && day.parse::<jiff::civil::Date>().is_err()
    {
        let sentence = format!("\"{day}\" is not a day.");
        problems.push(
            Problem::new("bad_date", object.pointer("cleanup"), sentence).hint("write it as 2026-12-31"),
        );
    }
    let permanent = object.boolean("permanent", problems) == Some(true);
    if permanent && object.get("reason").is_none() {
        problems.push(Problem::new(
            "missing_reason",
            object.pointer("permanent"),
            "A permanent flag needs a reason.",
        ));
    }
    if permanent && object.get("cleanup").is_some() {
        let sentence = "A permanent flag has no cleanup date.";
        problems.push(Problem::new("permanent_with_cleanup", object.pointer("cleanup"), sentence));
    }
    if let Some(schema) = object.get("schema")
        && let Err(sentence) = super::schema::check_schema(schema)
    {
        problems.push(Problem::new("bad_schema", object.pointer("schema"), sentence));
    }
    let member = |name: &&str| object.get(name).map(|value| ((*name).to_owned(), value.clone()));
    SHARED.iter().filter_map(member).collect()
}

/// Which client-side SDKs may see the flag.
fn client_side(object: &Object<'_>, problems: &mut Vec<Problem>) {
    match object.get("client_side") {
        None | Some(Json::Bool(_)) => {}
        Some(Json::String(word)) if word == "mobile" || word == "browser" => {}
        Some(other) => {
            let wanted = "true, false, \"mobile\" or \"browser\"";
            problems.push(wrong_type(&object.pointer("client_side"), wanted, other));
        }
    }
}
