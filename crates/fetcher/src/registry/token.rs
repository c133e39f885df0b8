//! Access tokens of token servers.

use reqwest::header::HeaderMap;
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use transport::Failure;
use transport::message::Credentials;
use transport::text::printable_url;

use super::Repository;
use super::challenge::Bearer;
use crate::http::{Authorization, Question};

/// The largest answer of a token server that is read: some put every right of a user into a token.
const ANSWER_LIMIT: u64 = 256 * 1024;

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
}

/// Has a token made for `repository`.
pub(super) async fn fetch(repository: &Repository<'_>, bearer: &Bearer) -> Result<Authorization, Failure> {
    let failed = |cause| Failure::Token {
        what: repository.reference.to_string(),
        url: printable_url(&bearer.realm),
        cause: Box::new(cause),
    };
    request(repository, bearer).await.map_err(failed)
}

async fn request(repository: &Repository<'_>, bearer: &Bearer) -> Result<Authorization, Failure> {
    let shown = printable_url(&bearer.realm);
    let bad = |reason: String| Failure::BadDocument { what: shown.clone(), reason };
    let mut url: Url = bearer.realm.parse().map_err(|_| bad("this is not a URL".to_owned()))?;
    let scope = match &bearer.scope {
        Some(scope) => scope.clone(),
        None => format!("repository:{}:pull", repository.reference.repository()),
    };
    let mut fields = vec![("scope", scope.as_str())];
    if let Some(service) = &bearer.service {
        fields.push(("service", service));
    }
    let credentials = repository.access.credentials.as_ref();
    let (form, authorization) = match credentials {
        Some(Credentials::Identity(token)) => {
            if url.scheme() != "https" {
                return Err(Failure::PlainHttp { url: shown });
            }
            fields.extend([
                ("grant_type", "refresh_token"),
                ("client_id", "rkt"),
                ("refresh_token", token.as_str()),
            ]);
            (Some(encoded(&fields)), None)
        }
        other => {
            if let Some(Credentials::Basic { user, .. }) = other {
                fields.push(("account", user));
            }
            url.query_pairs_mut().extend_pairs(&fields);
            (None, other.map(Authorization::new).transpose()?)
        }
    };
    let question =
        Question { url, headers: HeaderMap::new(), form, authorization, access: repository.access };
    let answer = repository.http.send(question, repository.reporter).await?;
    if answer.status() != StatusCode::OK {
        return Err(answer.into_failure().await);
    }
    let text = answer.bytes(ANSWER_LIMIT).await?;
    // serde's message would quote what may be a token.
    let read: Answer =
        serde_json::from_slice(&text).map_err(|error| bad(format!("not valid at line {}", error.line())))?;
    let given = |token: Option<String>| token.filter(|token| !token.is_empty());
    let token = given(read.token)
        .or_else(|| given(read.access_token))
        .ok_or_else(|| bad("there is no token in it".to_owned()))?;
    let authorization = Authorization::new(&Credentials::Bearer(token))?;
    // What anybody gets may be shown on a registry's plain http too.
    Ok(if credentials.is_some() { authorization } else { authorization.public() })
}

/// `fields` as the body of a form.
fn encoded(fields: &[(&str, &str)]) -> String {
    // A URL's query is written the same way, and the HTTP library brings no other writer.
    let mut url: Url = "https://form.invalid/".parse().expect("a URL");
    url.query_pairs_mut().extend_pairs(fields);
    url.query().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn forms() {
        let form = super::encoded(&[("scope", "repository:a/b:pull"), ("refresh_token", "a+b&c=d é")]);
        assert_eq!(form, "scope=repository%3Aa%2Fb%3Apull&refresh_token=a%2Bb%26c%3Dd+%C3%A9");
    }
}
