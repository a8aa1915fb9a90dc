//! Which operation a method and a raw path name. Segments are decoded after the path has been divided.

use super::decode;

/// An operation with what its path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// `POST /configurationsessions`.
    StartConfigurationSession,
    /// `GET /configuration`.
    GetLatestConfiguration,
    /// `GET /applications/{}/environments/{}/configurations/{}`.
    GetConfiguration([String; 3]),
    /// On all things of a kind.
    Create(Target),
    /// On all things of a kind.
    List(Target),
    /// One thing.
    Get(Target),
    /// One thing.
    Update(Target),
    /// One thing.
    Delete(Target),
    /// `POST …/validators`.
    Validate {
        /// The application's id.
        application: String,
        /// The profile's id.
        profile: String,
    },
    /// `POST /tags/{arn}`.
    Tag(String),
    /// `DELETE /tags/{arn}`.
    Untag(String),
    /// `GET /tags/{arn}`.
    ListTags(String),
    /// Known to AWS, and not done here.
    Unsupported,
}

/// What an operation is about: ids as the path has them, none for the last one where all of a kind are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An application.
    Application(Option<String>),
    /// An environment of an application.
    Environment(String, Option<String>),
    /// A profile of an application.
    Profile(String, Option<String>),
    /// A version of a profile of an application.
    Version(String, String, Option<String>),
    /// A strategy.
    Strategy(Option<String>),
    /// A deployment in an environment of an application.
    Deployment(String, String, Option<String>),
    /// The account's settings.
    Settings,
}

/// The operation; `None` where AWS has none.
#[must_use]
pub fn route(method: &str, path: &str) -> Option<Operation> {
    // An ARN is one segment with its slashes encoded; some clients do not encode them.
    if let Some(arn) = path.strip_prefix("/tags/") {
        let arn = decode(arn)?;
        return match method {
            "POST" => Some(Operation::Tag(arn)),
            "DELETE" => Some(Operation::Untag(arn)),
            "GET" => Some(Operation::ListTags(arn)),
            _ => None,
        };
    }
    let segments: Option<Vec<String>> = path.split('/').filter(|part| !part.is_empty()).map(decode).collect();
    let segments = segments?;
    let words: Vec<&str> = segments.iter().map(String::as_str).collect();
    let own = |text: &str| text.to_owned();
    let some = |text: &str| Some(text.to_owned());
    match (method, words.as_slice()) {
        ("POST", ["configurationsessions"]) => Some(Operation::StartConfigurationSession),
        ("GET", ["configuration"]) => Some(Operation::GetLatestConfiguration),
        ("GET", ["applications", a, "environments", e, "configurations", c]) => {
            Some(Operation::GetConfiguration([own(a), own(e), own(c)]))
        }
        ("POST", ["applications", a, "configurationprofiles", p, "validators"]) => {
            Some(Operation::Validate { application: own(a), profile: own(p) })
        }
        (_, ["extensions" | "extensionassociations" | "experimentdefinitions", ..])
        | (_, ["applications", _, "experimentdefinitions", ..]) => Some(Operation::Unsupported),
        // Deletions go to a misspelt path, and always have.
        ("DELETE", ["deployementstrategies", id]) => Some(Operation::Delete(Target::Strategy(some(id)))),
        (_, ["settings"]) => one(method, Target::Settings),
        (_, ["applications"]) => all(method, Target::Application(None)),
        (_, ["applications", a]) => one(method, Target::Application(some(a))),
        (_, ["applications", a, "environments"]) => all(method, Target::Environment(own(a), None)),
        (_, ["applications", a, "environments", e]) => one(method, Target::Environment(own(a), some(e))),
        (_, ["applications", a, "configurationprofiles"]) => all(method, Target::Profile(own(a), None)),
        (_, ["applications", a, "configurationprofiles", p]) => one(method, Target::Profile(own(a), some(p))),
        (_, ["applications", a, "configurationprofiles", p, "hostedconfigurationversions"]) => {
            all(method, Target::Version(own(a), own(p), None))
        }
        (_, ["applications", a, "configurationprofiles", p, "hostedconfigurationversions", n]) => {
            one(method, Target::Version(own(a), own(p), some(n)))
        }
        (_, ["applications", a, "environments", e, "deployments"]) => {
            all(method, Target::Deployment(own(a), own(e), None))
        }
        (_, ["applications", a, "environments", e, "deployments", n]) => {
            one(method, Target::Deployment(own(a), own(e), some(n)))
        }
        (_, ["deploymentstrategies"]) => all(method, Target::Strategy(None)),
        (_, ["deploymentstrategies", id]) => one(method, Target::Strategy(some(id))),
        _ => None,
    }
}

fn all(method: &str, target: Target) -> Option<Operation> {
    match method {
        "POST" => Some(Operation::Create(target)),
        "GET" => Some(Operation::List(target)),
        _ => None,
    }
}

fn one(method: &str, target: Target) -> Option<Operation> {
    match method {
        "GET" => Some(Operation::Get(target)),
        "PATCH" => Some(Operation::Update(target)),
        "DELETE" => Some(Operation::Delete(target)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &str, path: &str, expected: Operation) {
        assert_eq!(route(method, path), Some(expected));
    }

    #[test]
    fn paths_are_divided_before_they_are_decoded() {
        check("GET", "/applications", Operation::List(Target::Application(None)));
        check(
            "GET",
            "/applications/my%20app%2Fx/environments/prod/configurations/c%C3%A9",
            Operation::GetConfiguration(["my app/x".into(), "prod".into(), "cé".into()]),
        );
        let strategy = Operation::Delete(Target::Strategy(Some("abcd".into())));
        check("DELETE", "/deployementstrategies/abcd", strategy.clone());
        check("DELETE", "/deploymentstrategies/abcd", strategy);
        check(
            "DELETE",
            "/tags/arn%3Aaws%3Aappconfig%3Ax%3A0%3Aapplication%2Fabc",
            Operation::Untag("arn:aws:appconfig:x:0:application/abc".into()),
        );
        check("POST", "/extensions", Operation::Unsupported);
        assert_eq!(route("PUT", "/applications"), None);
        assert_eq!(route("GET", "/elsewhere"), None);
        assert_eq!(route("GET", "/applications/%FF"), None);
    }
}
