//! Three signed requests that verify, and every change that must not.

use super::*;

const SECRET: &str = "ensign/example+secret/key/0123456789abcdef";
/// 2026-01-15T12:00:00Z.
const NOW: i64 = 1_768_478_400;
const WINDOW: i64 = 300;

struct Sent {
    method: &'static str,
    path: String,
    query: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
}

fn authorization(signed: &str, signature: &str) -> Vec<u8> {
    format!(
        "AWS4-HMAC-SHA256 Credential=ENSIGNEXAMPLEKEY0001/20260115/eu-west-1/appconfig/aws4_request, \
         SignedHeaders={signed}, Signature={signature}"
    )
    .into_bytes()
}

fn poll() -> Sent {
    let signature = "73d252b42fab7c7a31b361ae7ae93b76866970edcc80acb4214e18f3832a189d";
    Sent {
        method: "GET",
        path: "/configuration".into(),
        query: "configuration_token=AYAD%2Bexample%2Ftoken%3D%3D".into(),
        headers: vec![
            ("host", b"localhost:8099".to_vec()),
            ("x-amz-date", b"20260115T120000Z".to_vec()),
            ("authorization", authorization("host;x-amz-date", signature)),
        ],
        body: Vec::new(),
    }
}

fn version() -> Sent {
    let signed = "content-type;description;host;latest-version-number;versionlabel;x-amz-date";
    let signature = "d925e89005aad70f3405e918c58b4d411354c01359b75402c85d83f3615616e7";
    Sent {
        method: "POST",
        path: "/applications/abc1234/configurationprofiles/def5678/hostedconfigurationversions".into(),
        query: String::new(),
        headers: vec![
            ("host", b"localhost:8099".to_vec()),
            ("content-type", b"application/json".to_vec()),
            ("description", b"candidate   model".to_vec()),
            ("latest-version-number", b"1".to_vec()),
            ("versionlabel", b"v2.0.0".to_vec()),
            ("x-amz-date", b"20260115T120000Z".to_vec()),
            ("authorization", authorization(signed, signature)),
            ("content-length", b"43".to_vec()),
        ],
        body: br#"{"model":"summarizer-v2","temperature":0.2}"#.to_vec(),
    }
}

fn untag() -> Sent {
    let signature = "b61a37dc3b2dccd91f9a051910cef394b55c670460ecd293c55ec4971ea22cc1";
    Sent {
        method: "DELETE",
        path: "/tags/arn%3Aaws%3Aappconfig%3Aeu-west-1%3A000000000000%3Aapplication%2Fabc1234".into(),
        query: "tagKeys=team&tagKeys=cost%20center".into(),
        headers: vec![
            ("host", b"localhost:8099".to_vec()),
            ("x-amz-date", b"20260115T120000Z".to_vec()),
            ("x-amz-security-token", b"ENSIGNSESSIONTOKEN".to_vec()),
            ("authorization", authorization("host;x-amz-date;x-amz-security-token", signature)),
        ],
        body: Vec::new(),
    }
}

fn outcome_at(sent: &Sent, secret: &str, now: i64) -> Result<(), Refused> {
    let headers: Vec<(&str, &[u8])> =
        sent.headers.iter().map(|(name, value)| (*name, value.as_slice())).collect();
    let request = Request { method: sent.method, path: &sent.path, query: &sent.query, headers: &headers };
    let presented = read(&request)?;
    let key = signing_key(secret, presented.date, presented.region);
    verify(&request, &presented, &sent.body, &key, now, WINDOW)
}

fn outcome(sent: &Sent) -> Result<(), Refused> {
    outcome_at(sent, SECRET, NOW)
}

/// The poll after one change, which must be refused so.
#[track_caller]
fn tampered(mut sent: Sent, change: impl FnOnce(&mut Sent), expected: Refused) {
    change(&mut sent);
    assert_eq!(outcome(&sent), Err(expected));
}

fn set(sent: &mut Sent, name: &str, value: impl Into<Vec<u8>>) {
    let header = sent.headers.iter_mut().find(|(known, _)| *known == name).unwrap();
    header.1 = value.into();
}

fn edit(sent: &mut Sent, from: &str, to: &str) {
    let header = sent.headers.iter_mut().find(|(known, _)| *known == "authorization").unwrap();
    header.1 = String::from_utf8(header.1.clone()).unwrap().replace(from, to).into_bytes();
}

#[test]
fn the_derived_key_and_three_vectors_agree() {
    let key = signing_key(SECRET, "20260115", "eu-west-1");
    assert_eq!(HEXLOWER.encode(&key), "770029180626a57cefe766757fcf38f6bc831903a9615c5248d9ccb6573687d2");
    for sent in [poll(), version(), untag()] {
        assert_eq!(outcome(&sent), Ok(()), "{}", sent.path);
    }
}

#[test]
fn every_kind_of_tampering_is_refused() {
    use Refused::{Malformed, Mismatch, Missing, Skewed, Unsigned};
    tampered(poll(), |sent| sent.query = sent.query.replace("AYAD", "BYAD"), Mismatch);
    tampered(poll(), |sent| sent.query.push_str("&x=1"), Mismatch);
    tampered(poll(), |sent| sent.path.push('s'), Mismatch);
    tampered(poll(), |sent| sent.method = "POST", Mismatch);
    tampered(poll(), |sent| sent.body.push(b' '), Mismatch);
    tampered(poll(), |sent| set(sent, "host", "localhost:8098"), Mismatch);
    tampered(poll(), |sent| set(sent, "x-amz-date", "20260115T120001Z"), Mismatch);
    tampered(poll(), |sent| edit(sent, "SignedHeaders=host;", "SignedHeaders="), Unsigned);
    tampered(poll(), |sent| edit(sent, "host;x-amz-date", "host"), Unsigned);
    tampered(poll(), |sent| sent.headers.push(("x-amz-meta", b"1".to_vec())), Unsigned);
    tampered(poll(), |sent| edit(sent, "/appconfig/", "/appconfigdata/"), Mismatch);
    tampered(poll(), |sent| edit(sent, "eu-west-1", "eu-west-2"), Mismatch);
    tampered(poll(), |sent| edit(sent, "20260115/", "20260116/"), Mismatch);
    tampered(poll(), |sent| edit(sent, "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"), Malformed);
    tampered(poll(), |sent| edit(sent, ", Signature=7", ", Other=7"), Malformed);
    tampered(poll(), |sent| sent.headers.retain(|(name, _)| *name != "authorization"), Missing);
    tampered(poll(), |sent| set(sent, "x-amz-date", "yesterday"), Malformed);
    tampered(version(), |sent| sent.body[10] ^= 1, Mismatch);
    tampered(version(), |sent| set(sent, "versionlabel", "v2.0.1"), Mismatch);
    tampered(version(), |sent| sent.headers.push(("description", b"x".to_vec())), Mismatch);
    tampered(untag(), |sent| sent.query = sent.query.replace("team", "teem"), Mismatch);
    tampered(untag(), |sent| set(sent, "x-amz-security-token", "ANOTHER"), Mismatch);
    assert_eq!(outcome_at(&poll(), "another secret", NOW), Err(Mismatch));
    for off in [-301, 301, 600] {
        assert_eq!(outcome_at(&poll(), SECRET, NOW + off), Err(Skewed));
    }
    assert_eq!(outcome_at(&poll(), SECRET, NOW - 300), Ok(()));
    let mut claimed = poll();
    claimed.headers.push(("x-amz-content-sha256", b"UNSIGNED-PAYLOAD".to_vec()));
    edit(&mut claimed, "host;x-amz-date", "host;x-amz-content-sha256;x-amz-date");
    assert_eq!(outcome(&claimed), Err(Mismatch));
}

#[test]
fn what_has_no_bearing_on_the_signature_may_differ() {
    let mut sent = version();
    set(&mut sent, "description", "  candidate model  ");
    sent.headers.push(("user-agent", b"anything".to_vec()));
    edit(&mut sent, ", ", ",");
    assert_eq!(outcome(&sent), Ok(()));
    let mut sent = poll();
    sent.path = "//./configuration".into();
    assert_eq!(outcome(&sent), Ok(()));
}
