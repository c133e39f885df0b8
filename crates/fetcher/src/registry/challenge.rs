//! `WWW-Authenticate`: how a registry wants to know who we are.

use http_auth::parser::ChallengeParser;

/// A challenge that we can answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// With a token of a token server.
    Bearer(Bearer),
    /// With user and password.
    Basic,
}

/// Where a token is to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// URL of the token server.
    pub realm: String,
    /// For which service.
    pub service: Option<String>,
    /// For what of it.
    pub scope: Option<String>,
}

/// The best challenge of these headers: a token before a password.
pub fn choose(headers: &[&str]) -> Option<Challenge> {
    let mut basic = None;
    for header in headers {
        for challenge in ChallengeParser::new(header) {
            // What follows a mistake cannot be trusted to mean what it seems to.
            let Ok(challenge) = challenge else { break };
            let parameter = |name: &str| {
                let named = |(key, _): &&(&str, http_auth::ParamValue<'_>)| key.eq_ignore_ascii_case(name);
                challenge.params.iter().find(named).map(|(_, value)| value.to_unescaped())
            };
            if challenge.scheme.eq_ignore_ascii_case("bearer") {
                if let Some(realm) = parameter("realm") {
                    let (service, scope) = (parameter("service"), parameter("scope"));
                    return Some(Challenge::Bearer(Bearer { realm, service, scope }));
                }
            } else if challenge.scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Challenge::Basic);
            }
        }
    }
    basic
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer(Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        }))
    }

    #[test]
    fn challenges_of_real_registries_and_worse() {
        let cases: &[(&[&str], Option<Challenge>)] = &[
            (
                &[
                    r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull""#,
                ],
                bearer(
                    "https://auth.docker.io/token",
                    Some("registry.docker.io"),
                    Some("repository:library/nginx:pull"),
                ),
            ),
            (&[r#"bearer Realm="https://a/t" , Service=b"#], bearer("https://a/t", Some("b"), None)),
            (&[r#"Basic realm="Registry""#], Some(Challenge::Basic)),
            (&[r#"Basic realm="x", Bearer realm="https://a""#], bearer("https://a", None, None)),
            (&[r#"Basic realm="x""#, r#"Bearer realm="https://a""#], bearer("https://a", None, None)),
            (&[r#"Bearer service="no realm""#], None),
            (&[r#"Bearer service="no realm""#, "Basic realm=x"], Some(Challenge::Basic)),
            (&[r#"Bearer realm="a\"b""#], bearer("a\"b", None, None)),
            (&[r#"Bearer realm="unfinished"#], None),
            (&["Negotiate"], None),
            (&[""], None),
            (&[], None),
        ];
        for (headers, challenge) in cases {
            assert_eq!(choose(headers), *challenge, "{headers:?}");
        }
    }
}
