//! The codes of requests and of the server; those of documents and of states are in [`super::domain`].

use super::Code;

pub(super) const fn row(word: &'static str, status: u16, title: &'static str, docs: &'static str) -> Code {
    Code { word, status, title, docs }
}

/// The codes of the request's form, the key, the thing asked for, and the server.
pub(super) const TABLE: &[Code] = &[
    row(
        "json_syntax",
        400,
        "Not JSON",
        "The body is not JSON. Line and column say where it stops being JSON.",
    ),
    row("json_type", 400, "Wrong type", "A member has another type than it must have. The pointer names it."),
    row(
        "json_unknown_member",
        400,
        "Unknown member",
        "A member is not known here. The pointer names it; a misspelt member is never ignored.",
    ),
    row("json_missing_member", 400, "Missing member", "A member that must be there is not."),
    row(
        "json_duplicate_member",
        400,
        "Repeated member",
        "A member is there twice. The pointer names it; which one is meant is not guessed.",
    ),
    row("not_utf8", 400, "Not UTF-8", "The body holds bytes that are not UTF-8. Line and column say where."),
    row("bad_query", 400, "Bad query", "The part of the URL behind the question mark cannot be read."),
    row("bad_key", 400, "Bad key", "A key in the URL has characters that keys cannot have."),
    row("bad_header", 400, "Bad header", "A header of the request cannot be read."),
    row(
        "body_too_large",
        413,
        "Body too large",
        "The body is longer than this route takes; the limit is in the sentence. Split it.",
    ),
    row("body_unreadable", 400, "Body unreadable", "The connection ended before the whole body was there."),
    row(
        "invalid_context",
        400,
        "Invalid context",
        "The context of an evaluation cannot be read. The sentence says what is wrong with it.",
    ),
    row(
        "media_type",
        415,
        "Wrong content type",
        "The body has to be JSON, with `Content-Type: application/json` or none.",
    ),
    row(
        "unauthenticated",
        401,
        "No valid key",
        "Send a key as `Authorization: Bearer KEY` or `X-API-Key: KEY`. Unknown, expired and revoked keys look the same.",
    ),
    row(
        "forbidden",
        403,
        "The key may not do this",
        "The key is valid but lacks the scope, or belongs to another project or environment.",
    ),
    row("not_found", 404, "Not found", "There is nothing under this path."),
    row("unknown_project", 404, "Unknown project", "There is no project of this key."),
    row("unknown_environment", 404, "Unknown environment", "The project has no environment of this key."),
    row("unknown_flag", 404, "Unknown flag", "There is no flag of this key in the project."),
    row(
        "no_such_revision",
        404,
        "No such revision",
        "The flag did not change at that revision; its history lists those at which it did.",
    ),
    row(
        "method_not_allowed",
        405,
        "Method not allowed",
        "The path is right and the method is not; the header `Allow` names those that are.",
    ),
    row(
        "invalid",
        422,
        "Invalid",
        "The input can be read and does not make sense. `problems` lists everything that is wrong, each with its place.",
    ),
    row(
        "bad_url",
        422,
        "Bad receiver",
        "Notices are sent to https addresses, and to http addresses of the server's own machine.",
    ),
    row(
        "bad_time",
        422,
        "Bad time",
        "A time is a date or an RFC 3339 time; a length of time is a number and a unit, such as `30s`, `10m`, `2h`, `7d`.",
    ),
    row("bad_unit", 422, "Bad unit", "The key of a unit has 1 to 1,024 bytes."),
    row(
        "refused",
        409,
        "Refused",
        "The state does not allow it. The sentence says why and `next` what would be right.",
    ),
    row(
        "conflict",
        409,
        "Changed meanwhile",
        "Somebody else changed the same thing again and again. Look and send it again.",
    ),
    row(
        "fenced",
        409,
        "Decided elsewhere",
        "Another process of this installation decides about this rollout by now.",
    ),
    row(
        "last_admin",
        409,
        "Last administrator",
        "The key is the last one with the scope admin that does not expire; without it nobody could make another.",
    ),
    row(
        "idempotency_mismatch",
        422,
        "Key used for another request",
        "The idempotency key was used for a different request. Take a new one.",
    ),
    row(
        "too_many",
        429,
        "Too many",
        "A limit on how much can be held is reached; `Retry-After` says when to come back.",
    ),
    row(
        "overloaded",
        503,
        "Overloaded",
        "Too many events are under way. Nothing of this batch was counted; send the same batch again after `Retry-After` seconds.",
    ),
    row("not_ready", 503, "Not ready", "The server is starting or stopping."),
    row(
        "store_full",
        503,
        "Disk full",
        "The change cannot be made durable because the disk is full. Serving and killing go on.",
    ),
    row(
        "store_failed",
        503,
        "Store failed",
        "The store did not answer as it should. It is not known whether the change happened: read before sending it again, or send it with an idempotency key.",
    ),
    row(
        "internal",
        500,
        "Our fault",
        "Something happened that should not be possible. The server's log has it.",
    ),
];
