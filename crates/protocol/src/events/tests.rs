//! The wire's table: each line one body, and what is read of it.

use ensign_control::ids::{Span, Timestamp};
use ensign_control::metric::Status;

use super::*;

/// 2026-01-01T00:00:00Z.
const NOW: Timestamp = Timestamp(1_767_225_600_000_000);

fn one_result(event: &str) -> Result<String, Refused> {
    let body = format!("[{event}]");
    let batch =
        parse(body.as_bytes(), Format::Sniff, 10).unwrap_or_else(|error| panic!("{event}: {error:?}"));
    assert_eq!(batch.events.len(), 1, "{event}");
    let wire = batch.events.into_iter().next().unwrap()?;
    let read = wire.read(Clocks::new(NOW, batch.sent_at))?;
    Ok(format!("{:?} {:?}", read.id, read.what))
}

#[track_caller]
fn refused(event: &str, code: &str, at: &str) {
    let why = one_result(event).expect_err(event);
    assert_eq!((why.code, why.at.as_str()), (code, at), "{event}: {}", why.detail);
    assert!(why.detail.ends_with('.'), "{}", why.detail);
}

#[track_caller]
fn good(event: &str) -> String {
    one_result(event).unwrap_or_else(|why| panic!("{event}: {why:?}"))
}

#[test]
fn every_mistake_has_its_code_and_place() {
    let decided = r#""decisions":[{"flag":"f","variant":"a"}]"#;
    refused("7", "wrong_type", "");
    refused("{}", "missing_id", "/id");
    refused(r#"{"id":"a"}"#, "missing_type", "/type");
    refused(r#"{"id":"a","type":"click"}"#, "unknown_type", "/type");
    refused(r#"{"id":"a","v":2,"type":"exposure"}"#, "unknown_version", "/v");
    refused(r#"{"id":7,"type":"exposure"}"#, "wrong_type", "/id");
    refused(r#"{"id":"","type":"exposure"}"#, "bad_id", "/id");
    refused(&format!(r#"{{"id":"{}","type":"exposure"}}"#, "x".repeat(65)), "bad_id", "/id");
    refused(r#"{"id":"a","source":"s","seq":1,"type":"exposure"}"#, "two_ids", "/id");
    refused(r#"{"source":"s","type":"exposure"}"#, "missing_seq", "/seq");
    refused(r#"{"seq":1,"type":"exposure"}"#, "missing_source", "/source");
    refused(r#"{"source":"s","seq":-1,"type":"exposure"}"#, "wrong_type", "/seq");
    refused(r#"{"id":"a","type":"exposure"}"#, "missing_attribution", "");
    refused(r#"{"id":"a","type":"exposure","decisions":[{"flag":"f"}]}"#, "bad_decision", "/decisions/0");
    refused(r#"{"id":"a","type":"exposure","decisions":{}}"#, "bad_decision", "/decisions");
    refused(&format!(r#"{{"id":"a","type":"exposure",{decided},"unit":""}}"#), "bad_unit", "/unit");
    refused(&format!(r#"{{"id":"a","type":"exposure",{decided},"unit":3}}"#), "wrong_type", "/unit");
    refused(&format!(r#"{{"id":"a","type":"request",{decided}}}"#), "missing_status", "/status");
    refused(
        &format!(r#"{{"id":"a","type":"request",{decided},"status":"fine"}}"#),
        "unknown_status",
        "/status",
    );
    refused(
        &format!(r#"{{"id":"a","type":"request",{decided},"status":"ok"}}"#),
        "missing_duration",
        "/duration_ms",
    );
    let request = |rest: &str| format!(r#"{{"id":"a","type":"request",{decided},"status":"ok",{rest}}}"#);
    refused(&request(r#""duration_ms":-1"#), "negative", "/duration_ms");
    refused(&request(r#""duration_ms":NaN"#), "not_finite", "/duration_ms");
    refused(&request(r#""duration_ms":-Infinity"#), "not_finite", "/duration_ms");
    refused(&request(r#""duration_ms":1e999"#), "not_finite", "/duration_ms");
    refused(&request(r#""duration_ms":1e12"#), "out_of_range", "/duration_ms");
    refused(&request(r#""duration_ms":"fast""#), "wrong_type", "/duration_ms");
    refused(&request(r#""duration_ms":1,"tokens_in":1.5"#), "wrong_type", "/tokens_in");
    refused(&request(r#""duration_ms":1,"cost":-0.1"#), "negative", "/cost");
    refused(&request(r#""duration_ms":1,"time":"yesterday""#), "wrong_type", "/time");
    refused(&request(r#""duration_ms":1,"time":1767225901000"#), "clock_skew", "/time");
    refused(&request(r#""duration_ms":1,"time":"2025-12-30T23:59:59Z""#), "too_old", "/time");
    refused(&request(r#""duration_ms":1,"duration_ms":2"#), "duplicate_member", "/duration_ms");
    refused(r#"{"id":"a","type":"request","status":"ok","duration_ms":1}"#, "missing_attribution", "");
    refused(r#"{"id":"a","type":"outcome","metric":"m","value":1}"#, "missing_attribution", "");
    refused(r#"{"id":"a","type":"outcome","unit":"u","value":1}"#, "missing_metric", "/metric");
    refused(r#"{"id":"a","type":"outcome","unit":"u","metric":"m"}"#, "missing_value", "/value");
    refused(
        r#"{"id":"a","type":"outcome","unit":"u","metric":"m","numerator":1}"#,
        "missing_value",
        "/value",
    );
    refused(r#"{"id":"a","type":"outcome","unit":"u","metric":"m","value":"1"}"#, "wrong_type", "/value");
}

#[test]
fn what_is_right_is_read() {
    let read = good(
        r#"{"id":"a\u0062","type":"request","request":"r","status":"timeout","time":1767225599000,"duration_ms":2500.5,
            "ttft_ms":120,"tokens_in":10,"tokens_out":20,"cost":0.01,"use_case":"chat","model":"m","extra":{"x":[1]}}"#,
    );
    assert!(read.contains("Free(\"ab\")") && read.contains("Span(2500500)"), "{read}");
    assert!(read.contains(&format!("{:?}", Timestamp(1_767_225_599_000_000 - 2_500_500))), "{read}");
    let read = good(
        r#"{"source":"s","seq":3,"type":"outcome","unit":{"kind":"org","key":"o"},"metric":"m","value":true}"#,
    );
    assert!(read.contains("Sequence(\"s\", 3)") && read.contains("Value(1.0)"), "{read}");
    let read = good(
        r#"{"id":"a","type":"request","request":"r","status":"ok","start":"2025-12-31T23:59:58Z","time":"2026-01-01T00:59:59.5+01:00"}"#,
    );
    assert!(read.contains("Span(1500000)"), "{read}");
    for status in Status::ALL {
        let word = serde_json::to_string(&status).unwrap();
        good(&format!(r#"{{"id":"a","type":"request","request":"r","status":{word},"duration_ms":1}}"#));
    }
}

#[test]
fn one_bad_event_is_one_bad_event() {
    let good = r#"{"id":"a","type":"outcome","unit":"u,]}\"","metric":"m","value":1}"#;
    for bad in [r#"{"id":NaN}"#, "7", r#"{"id":"a" "b"}"#, r#"{"value":1e999}"#, r#"{"status":"nope"}"#] {
        let bodies = [
            format!("[{good},{bad},{good}]"),
            format!("{{\"sent_at\":1,\"events\":[{good} , {bad} ,{good}]}}"),
            format!("{good}\n{bad}\r\n\n{good}\n"),
        ];
        for body in bodies {
            let batch =
                parse(body.as_bytes(), Format::Sniff, 10).unwrap_or_else(|error| panic!("{body}: {error:?}"));
            let fine: Vec<bool> = batch.events.iter().map(Result::is_ok).collect();
            assert_eq!(fine, [true, false, true], "{body}");
        }
    }
}

#[test]
fn forms_of_a_batch() {
    let event = r#"{"id":"a","type":"outcome","unit":"u","metric":"m","value":1}"#;
    let count = |body: &str, format| {
        parse(body.as_bytes(), format, 3).map(|batch| (batch.events.len(), batch.prefix))
    };
    assert_eq!(count("[]", Format::Sniff), Ok((0, "")));
    assert_eq!(count(event, Format::Sniff), Ok((1, "")));
    assert_eq!(count(&event.replace(',', ",\n"), Format::Sniff), Ok((1, "")));
    assert_eq!(count(&format!("\u{feff} {event}\n{event}"), Format::Sniff), Ok((2, "")));
    assert_eq!(count(&format!("{event}\n{event}"), Format::Lines), Ok((2, "")));
    assert_eq!(count(&format!("{{\"events\":[{event}]}}"), Format::Sniff), Ok((1, "/events")));
    assert_eq!(
        count(&format!("[{}]", [event; 4].join(",")), Format::Sniff),
        Err(Unreadable::TooMany { most: 3 })
    );
    assert_eq!(Format::of(Some("application/x-ndjson; charset=utf-8")), Format::Lines);
    assert_eq!(Format::of(Some("application/json")), Format::Sniff);
}

#[test]
fn what_cannot_be_divided_is_refused_with_its_place() {
    let place = |body: &[u8]| match parse(body, Format::Sniff, 10) {
        Err(Unreadable::Syntax { line, column, .. } | Unreadable::NotUtf8 { line, column }) => (line, column),
        other => panic!("{other:?}"),
    };
    assert_eq!(place(b"[{\"id\":\"a\"},\n{\"id\":"), (2, 6));
    assert_eq!(place(b"hello"), (1, 1));
    assert_eq!(place(b"[\n\"\xff\"]"), (2, 2));
    assert_eq!(place(b"{\"events\": 3}"), (1, 1));
}

#[test]
fn clocks_that_are_wrong_are_corrected() {
    let an_hour = Span::seconds(3_600);
    let body = r#"{"sent_at": 1767229200000, "events": [
        {"id":"a","type":"outcome","unit":"u","metric":"m","value":1,"time":1767229199000}]}"#;
    let batch = parse(body.as_bytes(), Format::Sniff, 10).unwrap();
    let wire = batch.events.into_iter().next().unwrap().unwrap();
    assert_eq!(wire.read(Clocks::new(NOW, batch.sent_at)).unwrap().time, NOW - Span::seconds(1));
    assert_eq!(wire.read(Clocks::new(NOW, None)).unwrap_err().code, "clock_skew");
    // Two seconds may be the network: nothing is shifted.
    let near = Some(Time(NOW + an_hour - Span::seconds(2)));
    assert_eq!(wire.read(Clocks::new(NOW + an_hour, near)).unwrap().time, NOW + an_hour - Span::seconds(1));
}

#[test]
fn answers_name_every_event_that_was_not_simply_accepted() {
    use ensign_control::event::Fate;
    let mut answer = Answer::default();
    answer.fate(Fate::Accepted, "/events");
    answer.fate(Fate::Duplicate, "/events");
    answer.refuse(Refused::new("negative", "/cost", "It cannot be negative."), "/events");
    answer.fate(Fate::Unattributed, "/events");
    answer.fate(Fate::TooOld, "/events");
    let json = serde_json::to_value(&answer).unwrap();
    assert_eq!(json["received"], 5);
    assert_eq!((&json["accepted"], &json["refused"]), (&1.into(), &2.into()));
    assert_eq!(json["items"][1]["pointer"], "/events/2/cost");
    assert_eq!(json["items"][2], serde_json::json!({"index": 3, "status": "unattributed"}));
}

/// The published schema and the reader agree about form, event by event.
#[test]
fn the_schema_says_what_the_reader_does() {
    let schema: serde_json::Value =
        serde_json::from_str(include_str!("../../../../spec/events.schema.json")).unwrap();
    let schema = ensign_schema::Schema::new(&schema, ensign_schema::Unnamed::Latest).unwrap();
    let good = [
        r#"{"type":"exposure","id":"e","unit":"u","request":"r","decisions":[{"flag":"f","variant":"a","allocation":"00c0ffee00c0ffee","epoch":3}]}"#,
        r#"{"type":"exposure","id":"e","token":"AQE"}"#,
        r#"{"type":"request","source":"s","seq":1,"token":"AQE","status":"ok","duration_ms":1,"time":1767225600000}"#,
        r#"{"type":"request","id":"e","request":"r","status":"timeout","start":1767225599000,"time":1767225600000}"#,
        r#"{"type":"outcome","id":"e","unit":{"kind":"org","key":"o"},"metric":"m","value":true}"#,
        r#"{"type":"outcome","id":"e","request":"r","metric":"m","numerator":1,"denominator":2}"#,
    ];
    let bad = [
        r#"{"type":"exposure","id":"e","unit":"u"}"#,
        r#"{"type":"request","id":"e","request":"r","status":"fine","duration_ms":1}"#,
        r#"{"type":"request","id":"e","request":"r","status":"ok"}"#,
        r#"{"type":"request","id":"e","request":"r","status":"ok","duration_ms":-1}"#,
        r#"{"type":"request","id":"e","status":"ok","duration_ms":1}"#,
        r#"{"type":"outcome","id":"e","seq":1,"unit":"u","metric":"m","value":1}"#,
        r#"{"type":"outcome","id":"e","unit":"u","metric":"m"}"#,
        r#"{"type":"outcome","id":"e","unit":"u","metric":"m","value":"1"}"#,
        r#"{"type":"click","id":"e"}"#,
        r#"{"type":"outcome","unit":"u","metric":"m","value":1}"#,
    ];
    for (events, right) in [(&good[..], true), (&bad[..], false)] {
        for event in events {
            let value: serde_json::Value = serde_json::from_str(event).unwrap();
            assert_eq!(schema.violations(&value, 1).is_empty(), right, "schema: {event}");
            assert_eq!(
                schema.violations(&serde_json::json!([value]), 1).is_empty(),
                right,
                "schema: [{event}]"
            );
            assert_eq!(one_result(event).is_ok(), right, "reader: {event}");
        }
    }
}
