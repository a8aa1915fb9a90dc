//! What every operation has in common, added to the description generated from the routes.

use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

/// The finished description, as text.
pub(super) fn finish(api: OpenApi) -> String {
    let mut api = serde_json::to_value(&api).unwrap_or_default();
    api["openapi"] = json!("3.1.0");
    api["info"] = json!({
        "title": "Ensign",
        "version": env!("CARGO_PKG_VERSION"),
        "description": "Feature flags for AI model deployment. Errors are application/problem+json with a stable code.",
        "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
    });
    api["components"]["securitySchemes"] = json!({
        "bearer": { "type": "http", "scheme": "bearer" },
        "header": { "type": "apiKey", "in": "header", "name": "X-API-Key" },
    });
    api["security"] = json!([{ "bearer": [] }, { "header": [] }]);
    api["components"]["schemas"]["Problem"] = problem();
    if let Some(paths) = api["paths"].as_object_mut() {
        for (path, operations) in paths.iter_mut() {
            for (_, operation) in operations.as_object_mut().into_iter().flat_map(Map::iter_mut) {
                complete(path, operation);
            }
        }
        paths.sort_keys();
    }
    let mut text = serde_json::to_string_pretty(&api).unwrap_or_default();
    text.push('\n');
    text
}

fn complete(path: &str, operation: &mut Value) {
    let mut parameters: Vec<Value> = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    let others = operation["parameters"].as_array().into_iter().flatten();
    parameters.extend(others.filter(|parameter| parameter["in"] != "path").cloned());
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    operation["responses"]["default"] = json!({
        "description": "What is wrong",
        "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
    });
    if !path.starts_with("/api/") {
        operation["security"] = json!([]);
    }
}

fn problem() -> Value {
    let text = json!({ "type": "string" });
    let number = json!({ "type": "integer", "minimum": 0 });
    json!({
        "type": "object",
        "required": ["type", "code", "title", "status", "detail"],
        "properties": {
            "type": text, "code": text, "title": text, "status": number, "detail": text, "pointer": text,
            "line": number, "column": number, "next": text,
            "problems": { "type": "array", "items": {
                "type": "object",
                "required": ["code", "detail", "pointer"],
                "properties": { "code": text, "detail": text, "file": text, "pointer": text, "line": number,
                                "column": number, "hint": text },
            } },
        },
    })
}
