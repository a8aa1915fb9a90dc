//! From a command to the one request that carries it out, and how its answer is shown.

use serde_json::{Map, Value, json};

use crate::args::{
    Audit, Backup, Command, Eval, Export, Flag, Format, Keys, Metric, Pin, Receipts, Rollout, RolloutSpec,
    SecureMode, Segment, Switch, System, Target, UseCase, Webhook, Window,
};
use crate::client::Method;
use crate::files;
use crate::show::Show;

/// A request and the way to show its answer.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) body: Option<Value>,
    pub(crate) show: Show,
}

fn get(path: String, show: Show) -> Call {
    Call { method: Method::Get, path, body: None, show }
}

fn post(path: String, body: Value, show: Show) -> Call {
    Call { method: Method::Post, path, body: Some(body), show }
}

fn delete(path: String) -> Call {
    Call { method: Method::Delete, path, body: None, show: Show::Sentences }
}

/// A body of the given members, those that are null left out.
fn body<const N: usize>(members: [(&str, Value); N]) -> Value {
    let members = members.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(members.map(|(name, value)| (name.to_owned(), value)).collect())
}

/// The call of a command, or `None` for the commands that need no server.
pub(crate) fn of(command: &Command, target: &Target) -> Result<Option<Call>, String> {
    let at = |rest: &str| {
        let (project, environment) = (segment(&target.project), segment(&target.environment));
        format!("/api/v1/projects/{project}/environments/{environment}{rest}")
    };
    Ok(Some(match command {
        Command::Apply(these) | Command::Plan(these) => {
            let applies = matches!(command, Command::Apply(_));
            let files = files::read(&these.paths)?;
            let what = body([("files", json!(files)), ("reason", json!(these.reason))]);
            if applies { post(at("/apply"), what, Show::Plan) } else { post(at("/plan"), what, Show::Plan) }
        }
        Command::Export(what) => export(what, &at),
        Command::Eval(eval) => evaluate(eval, &at)?,
        Command::Flag(flag) => of_flag(flag, &at),
        Command::Rollout(rollout) => of_rollout(rollout, &at)?,
        Command::Kill(kill) => match (&kill.flag, &kill.value) {
            (Some(flag), _) => post(
                at(&format!("/flags/{}/kill", segment(flag))),
                body([("to", json!(kill.to)), ("reason", json!(kill.reason))]),
                Show::Sentences,
            ),
            (None, value) => post(
                at("/kill"),
                body([("value", json!(value)), ("reason", json!(kill.reason))]),
                Show::Sentences,
            ),
        },
        Command::Restore(named) => act(&at, &named.flag, "restore", named.reason.as_deref()),
        Command::Hold(hold) => post(at("/hold-all"), body([("reason", json!(hold.reason))]), Show::Sentences),
        Command::Why(named) => get(at(&format!("/flags/{}/why", segment(&named.flag))), Show::Why),
        Command::Pin(pin) => of_pin(pin, &at)?,
        Command::Segment(segment) => of_segment(segment, &at),
        Command::Clients => get(at("/clients"), Show::Clients),
        Command::SecureMode(mode) => of_secure_mode(mode, &at),
        Command::Metric(metric) => of_metric(metric, &at),
        Command::UseCase(use_case) => of_use_case(use_case, &at),
        Command::Receipts(Receipts::List(named)) => get(
            at(&format!("/rollouts/{}/receipts", segment(&named.flag))),
            Show::Table(&["number", "at", "decision", "sentence"]),
        ),
        Command::Receipts(Receipts::Show { flag, number }) => {
            let number = number.map_or_else(|| "last".to_owned(), |it| it.to_string());
            get(at(&format!("/rollouts/{}/receipts/{number}", segment(flag))), Show::Exact)
        }
        Command::Audit(audit) => of_audit(audit, target),
        Command::Keys(keys) => of_keys(keys, target, &at),
        Command::Webhook(webhook) => of_webhook(webhook, &at),
        Command::Window(window) => of_window(window, &at),
        Command::Backup(Backup::Create { name }) => {
            post("/api/v1/backup".into(), body([("name", json!(name))]), Show::Sentences)
        }
        Command::Erase(erase) => {
            delete(at(&format!("/units/{}/{}", segment(&erase.kind), segment(&erase.unit))))
        }
        Command::Demo(_)
        | Command::Serve(_)
        | Command::Import(_)
        | Command::Doctor
        | Command::Lint(_)
        | Command::Receipts(Receipts::Verify { .. })
        | Command::Backup(Backup::Restore { .. })
        | Command::Agent(_)
        | Command::Completions { .. }
        | Command::Reference => return Ok(None),
    }))
}

fn export(what: &Export, at: &impl Fn(&str) -> String) -> Call {
    let format = match what.format {
        Format::Yaml => "yaml",
        Format::Json => "json",
    };
    let only = what.flag.as_ref().map(|flag| format!("&flag={}", segment(flag))).unwrap_or_default();
    let query = match what.shape {
        Some(System::Launchdarkly) => "as=launchdarkly".to_owned(),
        None => format!("format={format}{only}"),
    };
    get(at(&format!("/export?{query}")), Show::Files(what.output.clone()))
}

/// One path segment, percent-encoded.
pub(crate) fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn act(at: &impl Fn(&str) -> String, flag: &str, word: &str, reason: Option<&str>) -> Call {
    post(at(&format!("/flags/{}/{word}", segment(flag))), body([("reason", json!(reason))]), Show::Sentences)
}

/// A person's JSON argument, with the argument named when it is not JSON.
fn parse(name: &str, text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|why| format!("--{name} is not JSON: {why}"))
}

/// A value as a person types it: JSON where it is JSON, else the text itself.
fn loose(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

fn evaluate(eval: &Eval, at: &impl Fn(&str) -> String) -> Result<Call, String> {
    let context = parse("context", &eval.context)?;
    let what = json!({"flag": eval.flag, "context": context, "explain": eval.explain});
    Ok(post(at("/evaluate"), what, Show::Evaluation))
}

fn of_flag(flag: &Flag, at: &impl Fn(&str) -> String) -> Call {
    match flag {
        Flag::List => get(at("/flags"), Show::Table(&["key", "serves", "rollout", "owner", "cleanup"])),
        Flag::Show(named) => get(at(&format!("/flags/{}", segment(&named.flag))), Show::Raw),
        Flag::History(named) => get(at(&format!("/flags/{}/history", segment(&named.flag))), Show::History),
        Flag::On(named) => act(at, &named.flag, "on", named.reason.as_deref()),
        Flag::Off(named) => act(at, &named.flag, "off", named.reason.as_deref()),
        Flag::Retire(named) => act(at, &named.flag, "retire", named.reason.as_deref()),
        Flag::Unretire(named) => act(at, &named.flag, "unretire", named.reason.as_deref()),
        Flag::RestoreRevision { flag, revision, reason } => post(
            at(&format!("/flags/{}/restore-revision", segment(flag))),
            body([("revision", json!(revision)), ("reason", json!(reason))]),
            Show::Sentences,
        ),
    }
}

fn of_rollout(rollout: &Rollout, at: &impl Fn(&str) -> String) -> Result<Call, String> {
    let steer = |flag: &str, word: &str, reason: Option<&str>| {
        let path = at(&format!("/rollouts/{}/{word}", segment(flag)));
        post(path, body([("reason", json!(reason))]), Show::Sentences)
    };
    Ok(match rollout {
        Rollout::Plan(spec) => post(at("/rollouts/plan"), specification(spec)?, Show::Text),
        Rollout::Start(spec) => post(at("/rollouts"), specification(spec)?, Show::Sentences),
        Rollout::List => get(at("/rollouts"), Show::Table(&["id", "phase", "split", "sentence"])),
        Rollout::Status(named) | Rollout::Watch(named) => {
            get(at(&format!("/rollouts/{}", segment(&named.flag))), Show::Text)
        }
        Rollout::Approve(named) => steer(&named.flag, "approve", named.reason.as_deref()),
        Rollout::Hold(named) => steer(&named.flag, "hold", named.reason.as_deref()),
        Rollout::Resume(named) => steer(&named.flag, "resume", named.reason.as_deref()),
        Rollout::Abort(named) => steer(&named.flag, "abort", named.reason.as_deref()),
    })
}

/// The body of a rollout request: the file's text as it stands, or a document made of the arguments.
fn specification(spec: &RolloutSpec) -> Result<Value, String> {
    if let Some(path) = &spec.file {
        let file = files::read(std::slice::from_ref(path))?.pop();
        return Ok(body([("file", json!(file)), ("reason", json!(spec.reason))]));
    }
    let mut document = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            document.insert(name.to_owned(), value);
        }
    };
    put("rollout", json!(spec.flag));
    put("to", spec.to.as_deref().map_or(Value::Null, loose));
    put("from", spec.from.as_deref().map_or(Value::Null, loose));
    if !spec.stages.is_empty() {
        let percentages = spec.stages.iter().map(|stage| percentage(stage)).collect::<Result<Vec<_>, _>>()?;
        let stage = |percentage: &Value| match &spec.stage_duration {
            Some(least) => json!({"percentage": percentage, "min_duration": least}),
            None => percentage.clone(),
        };
        put("stages", percentages.iter().map(stage).collect());
    }
    if !spec.guardrail.is_empty() {
        put("guardrails", json!(spec.guardrail));
    }
    put("advance", json!(spec.advance));
    put("unit", json!(spec.unit));
    put("soak", spec.soak.as_ref().map_or(Value::Null, |time| json!({"duration": time})));
    put("rule", json!(spec.rule));
    Ok(body([("spec", Value::Object(document)), ("reason", json!(spec.reason))]))
}

fn percentage(text: &str) -> Result<Value, String> {
    let number = text.trim().trim_end_matches('%');
    let value: f64 = number
        .parse()
        .map_err(|_| format!("--stages: `{text}` is not a percentage; write --stages 1,5,25,50,100"))?;
    Ok(if value.fract() == 0.0 { json!(value as i64) } else { json!(value) })
}

fn of_pin(pin: &Pin, at: &impl Fn(&str) -> String) -> Result<Call, String> {
    Ok(match pin {
        Pin::List => {
            get(at("/pins"), Show::Table(&["id", "flag", "who", "variant", "owner", "until", "reason"]))
        }
        Pin::Add { flag, unit, condition, variant, owner, reason, until } => {
            let condition = condition.as_deref().map(|text| parse("condition", text)).transpose()?;
            let units = if unit.is_empty() { Value::Null } else { json!(unit) };
            let what = body([
                ("flag", json!(flag)),
                ("units", units),
                ("condition", condition.unwrap_or_default()),
                ("variant", json!(variant)),
                ("owner", json!(owner)),
                ("reason", json!(reason)),
                ("until", json!(until)),
            ]);
            post(at("/pins"), what, Show::Sentences)
        }
        Pin::Remove { id } => delete(at(&format!("/pins/{}", segment(id)))),
    })
}

fn of_segment(what: &Segment, at: &impl Fn(&str) -> String) -> Call {
    let member =
        |name: &str, unit: &str| at(&format!("/segments/{}/members/{}", segment(name), segment(unit)));
    match what {
        Segment::List => get(at("/segments"), Show::Table(&["key", "members", "rules", "owner"])),
        Segment::Add { segment, unit } => {
            Call { method: Method::Put, path: member(segment, unit), body: None, show: Show::Sentences }
        }
        Segment::Remove { segment, unit } => delete(member(segment, unit)),
        Segment::Member { segment, unit } => get(member(segment, unit), Show::Sentences),
    }
}

fn of_metric(metric: &Metric, at: &impl Fn(&str) -> String) -> Call {
    match metric {
        Metric::List => get(at("/metrics"), Show::Table(&["key", "kind", "better", "unit", "maturity"])),
        Metric::Create { metric, kind, better, range, unit, maturity } => {
            let what = body([
                ("metric", json!(metric)),
                ("kind", json!(kind)),
                ("better", json!(better)),
                ("range", json!(range)),
                ("unit", json!(unit)),
                ("maturity", json!(maturity)),
            ]);
            post(at("/metrics"), what, Show::Sentences)
        }
    }
}

fn of_use_case(use_case: &UseCase, at: &impl Fn(&str) -> String) -> Call {
    match use_case {
        UseCase::List => get(at("/use-cases"), Show::Table(&["key", "owner", "flags", "request_timeout"])),
        UseCase::Set { use_case, owner, flags, timeout } => {
            let what = body([
                ("use_case", json!(use_case)),
                ("owner", json!(owner)),
                ("flags", json!(flags)),
                ("request_timeout", json!(timeout)),
            ]);
            post(at("/use-cases"), what, Show::Sentences)
        }
    }
}

fn of_audit(audit: &Audit, target: &Target) -> Call {
    match audit {
        Audit::List { flag, limit } => {
            let only = flag.as_ref().map(|flag| format!("&subject=flag/{}", segment(flag)));
            let (project, only) = (segment(&target.project), only.unwrap_or_default());
            let path = format!("/api/v1/audit?limit={limit}&project={project}{only}");
            get(path, Show::Table(&["seq", "at", "actor", "action", "subject", "reason"]))
        }
        Audit::Verify => post("/api/v1/audit/verify".into(), json!({}), Show::Sentences),
    }
}

fn of_keys(keys: &Keys, target: &Target, at: &impl Fn(&str) -> String) -> Call {
    match keys {
        Keys::List => get(
            "/api/v1/keys".into(),
            Show::Table(&["id", "name", "scopes", "where", "expires", "last_used"]),
        ),
        Keys::Create { name, scopes, expires } => {
            let what = body([
                ("name", json!(name)),
                ("scopes", json!(scopes)),
                ("expires", json!(expires)),
                ("project", json!(target.project)),
                ("environment", json!(target.environment)),
            ]);
            post("/api/v1/keys".into(), what, Show::Sentences)
        }
        Keys::Rotate { id, overlap } => {
            let path = format!("/api/v1/keys/{}/rotate", segment(id));
            post(path, json!({"overlap": overlap}), Show::Sentences)
        }
        Keys::Revoke { id } => delete(format!("/api/v1/keys/{}", segment(id))),
        Keys::Aws { control: false } => post(at("/aws-keys"), json!({}), Show::Sentences),
        Keys::Aws { control: true } => {
            let path = format!("/api/v1/projects/{}/aws-keys", segment(&target.project));
            post(path, json!({}), Show::Sentences)
        }
        Keys::AlarmSource { name } => post(at("/alarm-sources"), json!({ "name": name }), Show::Sentences),
    }
}

fn of_secure_mode(mode: &SecureMode, at: &impl Fn(&str) -> String) -> Call {
    let Some(to) = mode.to else { return get(at("/settings"), Show::Sentences) };
    let body = body([("secure_mode", json!(to == Switch::On)), ("reason", json!(mode.reason))]);
    Call { method: Method::Put, path: at("/settings"), body: Some(body), show: Show::Sentences }
}

fn of_webhook(webhook: &Webhook, at: &impl Fn(&str) -> String) -> Call {
    match webhook {
        Webhook::List => get(at("/webhooks"), Show::Table(&["id", "url", "kinds", "last_result"])),
        Webhook::Add { to, kinds } => {
            let kinds = if kinds.is_empty() { Value::Null } else { json!(kinds) };
            post(at("/webhooks"), body([("url", json!(to)), ("kinds", kinds)]), Show::Sentences)
        }
        Webhook::Remove { id } => delete(at(&format!("/webhooks/{}", segment(id)))),
    }
}

fn of_window(window: &Window, at: &impl Fn(&str) -> String) -> Call {
    match window {
        Window::List => get(at("/windows"), Show::Table(&["id", "from", "until", "reason"])),
        Window::Add { from, until, reason } => {
            let what = json!({"from": from, "until": until, "reason": reason});
            post(at("/windows"), what, Show::Sentences)
        }
        Window::Remove { id } => delete(at(&format!("/windows/{}", segment(id)))),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Cli;

    #[track_caller]
    fn check(line: &str, method: Method, path: &str, expected: Value) {
        let cli = Cli::try_parse_from(std::iter::once("ensign").chain(line.split(' '))).unwrap();
        let call = of(&cli.command, &cli.target).unwrap().unwrap();
        assert_eq!(call.method, method);
        assert_eq!(call.path.replace("/api/v1/projects/default/environments/production", "P"), path);
        assert_eq!(call.body.unwrap_or_default(), expected);
    }

    #[test]
    fn commands_become_requests() {
        check("kill m --reason drill", Method::Post, "P/flags/m/kill", json!({"reason": "drill"}));
        check("kill --value claude-opus-4-6", Method::Post, "P/kill", json!({"value": "claude-opus-4-6"}));
        check("rollout abort m", Method::Post, "P/rollouts/m/abort", json!({}));
        check("secure-mode", Method::Get, "P/settings", Value::Null);
        check("secure-mode on", Method::Put, "P/settings", json!({"secure_mode": true}));
        check("keys aws", Method::Post, "P/aws-keys", json!({}));
        check("keys aws --control", Method::Post, "/api/v1/projects/default/aws-keys", json!({}));
        check("erase a/b --kind org", Method::Delete, "P/units/org/a%2Fb", Value::Null);
        check(
            "rollout start m --to 8 --stages 1,5.5,100 -g error_rate<=1.5x --soak 1h",
            Method::Post,
            "P/rollouts",
            json!({"spec": {"rollout": "m", "to": 8, "stages": [1, 5.5, 100],
                   "guardrails": ["error_rate<=1.5x"], "soak": {"duration": "1h"}}}),
        );
        check(
            "-e staging flag history m",
            Method::Get,
            "/api/v1/projects/default/environments/staging/flags/m/history",
            Value::Null,
        );
    }

    #[test]
    fn a_stage_that_is_no_number_is_named() {
        let cli = Cli::try_parse_from(["ensign", "rollout", "plan", "m", "--to", "x", "--stages", "1,many"]);
        let cli = cli.unwrap();
        assert!(of(&cli.command, &cli.target).unwrap_err().contains("`many`"));
    }
}
