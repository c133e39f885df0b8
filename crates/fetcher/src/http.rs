//! One request over HTTP, and the reading of its answer.
//!
//! Redirects are followed here and not by the library, so that [`redirect`](crate::redirect) decides about each step, and
//! credentials are attached to each step anew.

use std::cell::OnceCell;
use std::time::{Duration, SystemTime};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Client, Method, Response, StatusCode, Url};
use transport::Failure;
use transport::message::{Access, Credentials, Event};
use transport::text::printable_url;

use crate::redirect::Trail;
use crate::session::Reporter;
use crate::{errors, headers, resolver};

/// How long a connection may take to come about.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a connection that nobody uses is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of an error's page is read.
const ERROR_LIMIT: usize = 4096;
/// How long that may take.
const ERROR_PATIENCE: Duration = Duration::from_secs(5);
/// `User-Agent`.
const USER_AGENT: &str = concat!("rkt/", env!("CARGO_PKG_VERSION"));

/// The clients: connections are reused between requests.
#[derive(Debug)]
pub(crate) struct Http {
    checked: Client,
    /// For `--insecure-options=tls`.
    unchecked: OnceCell<Client>,
}

/// What proves who we are.
#[derive(Debug, Clone)]
pub(crate) struct Authorization {
    headers: HeaderMap,
    /// Whether nobody else may see it. A token that anybody gets is none.
    secret: bool,
}

/// A request.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    /// Where to.
    pub(crate) url: Url,
    /// Headers beside those of every request.
    pub(crate) headers: HeaderMap,
    /// A form to send. Then it is a POST, and redirects are not followed.
    pub(crate) form: Option<String>,
    /// What shows the server of `url`, and nobody else, who we are.
    pub(crate) authorization: Option<Authorization>,
    /// How the server may be asked.
    pub(crate) access: &'a Access,
}

/// A response whose body has not been read.
#[derive(Debug)]
pub(crate) struct Answer {
    response: Response,
    stall: Duration,
    with_credentials: bool,
    redirected: bool,
}

impl Http {
    /// Reads the trust store and the proxies of the environment.
    pub(crate) fn new() -> Result<Self, reqwest::Error> {
        Ok(Self { checked: client(false)?, unchecked: OnceCell::new() })
    }

    fn client(&self, access: &Access) -> Result<&Client, Failure> {
        if !access.any_certificate {
            return Ok(&self.checked);
        }
        if let Some(client) = self.unchecked.get() {
            return Ok(client);
        }
        let made = client(true).map_err(|error| Failure::BadRequest { reason: error.to_string() })?;
        Ok(self.unchecked.get_or_init(|| made))
    }

    /// Sends a request and follows its redirects to an answer, whatever its status.
    pub(crate) async fn send(&self, question: Question<'_>, reporter: &Reporter) -> Result<Answer, Failure> {
        let Question { mut url, headers, form, authorization, access } = question;
        let authorization = match authorization {
            Some(given) => Some(given),
            None => Authorization::of_url(&url),
        };
        let _ = url.set_username("");
        let _ = url.set_password(None);
        let client = self.client(access)?;
        let stall = Duration::from_millis(access.limits.stall_ms);
        let mut trail = Trail::new(url, access.plain_http)?;
        loop {
            let mine = authorization.as_ref().filter(|_| trail.is_home());
            let shown = mine.filter(|it| trail.is_private() || !it.secret);
            if mine.is_some() && shown.is_none() {
                let host = trail.here().host_str().unwrap_or_default().to_owned();
                reporter.event(Event::CredentialsWithheld { host }).await;
            }
            let mut builder = match &form {
                Some(form) => client
                    .request(Method::POST, trail.here().clone())
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(form.clone()),
                None => client.request(Method::GET, trail.here().clone()),
            };
            builder = builder.headers(headers.clone());
            if let Some(authorization) = shown {
                builder = builder.headers(authorization.headers.clone());
            }
            let response = match tokio::time::timeout(CONNECT_TIMEOUT + stall, builder.send()).await {
                Ok(response) => response.map_err(|error| errors::request(&error, trail.here()))?,
                Err(_) => return Err(stalled(trail.here(), stall)),
            };
            let with_credentials = shown.is_some_and(|authorization| authorization.secret);
            let answer = Answer { response, stall, with_credentials, redirected: trail.is_redirected() };
            if form.is_some() || !answer.is_redirect() {
                return Ok(answer);
            }
            trail.follow(headers::text(answer.headers(), &LOCATION).unwrap_or_default())?;
            reporter.event(Event::Redirected { to: printable_url(trail.here().as_str()) }).await;
        }
    }
}

fn client(any_certificate: bool) -> Result<Client, reqwest::Error> {
    Client::builder()
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tls_danger_accept_invalid_certs(any_certificate)
        .dns_resolver(resolver::System)
        .build()
}

fn stalled(url: &Url, stall: Duration) -> Failure {
    Failure::Stalled { url: printable_url(url.as_str()), seconds: stall.as_secs().max(1) }
}

impl Authorization {
    /// What the credentials give, as they are.
    pub(crate) fn new(credentials: &Credentials) -> Result<Self, Failure> {
        let mut headers = HeaderMap::new();
        let wrong = || Failure::BadRequest { reason: "the credentials cannot be put in a header".to_owned() };
        let mut put = |name: &str, value: &str| {
            let name: HeaderName = name.parse().map_err(|_| wrong())?;
            let mut value = HeaderValue::from_str(value).map_err(|_| wrong())?;
            value.set_sensitive(true);
            headers.insert(name, value);
            Ok(())
        };
        match credentials {
            Credentials::Basic { user, password } => {
                put(
                    AUTHORIZATION.as_str(),
                    &format!("Basic {}", base64(format!("{user}:{password}").as_bytes())),
                )?;
            }
            Credentials::Bearer(token) => put(AUTHORIZATION.as_str(), &format!("Bearer {token}"))?,
            Credentials::Headers(list) => {
                for (name, value) in list {
                    put(name, value)?;
                }
            }
            Credentials::Identity(_) => {
                let reason = "a refresh token is for registries only".to_owned();
                return Err(Failure::BadRequest { reason });
            }
        }
        Ok(Self { headers, secret: true })
    }

    /// User and password of the URL itself.
    fn of_url(url: &Url) -> Option<Self> {
        if url.username().is_empty() && url.password().is_none() {
            return None;
        }
        let plain = |text: &str| percent_decoded(text);
        let user = plain(url.username());
        let password = plain(url.password().unwrap_or_default());
        Self::new(&Credentials::Basic { user, password }).ok()
    }

    /// The same, for anybody to see.
    #[must_use]
    pub(crate) fn public(self) -> Self {
        Self { secret: false, ..self }
    }
}

impl Answer {
    /// Its status.
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Its headers.
    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Where it came from, as messages show it.
    pub(crate) fn url(&self) -> String {
        printable_url(self.response.url().as_str())
    }

    /// Whether another than the one that was asked has answered.
    pub(crate) fn is_redirected(&self) -> bool {
        self.redirected
    }

    /// Length of its body, when told.
    pub(crate) fn length(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// The next piece of its body. None at the end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<impl AsRef<[u8]> + use<>>, Failure> {
        match tokio::time::timeout(self.stall, self.response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(errors::body(&error, self.response.url())),
            Err(_) => Err(stalled(self.response.url(), self.stall)),
        }
    }

    /// All of its body.
    ///
    /// # Errors
    /// [`Failure::TooLarge`] for more than `limit` bytes.
    pub(crate) async fn bytes(mut self, limit: u64) -> Result<Vec<u8>, Failure> {
        let too_large = |url| Failure::TooLarge { url, limit };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut content = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if content.len() + chunk.as_ref().len() > limit {
                return Err(too_large(self.url()));
            }
            content.extend_from_slice(chunk.as_ref());
        }
        Ok(content)
    }

    /// Why a status that is no success is none.
    pub(crate) async fn into_failure(mut self) -> Failure {
        let (url, status) = (self.url(), self.status().as_u16());
        let retry_after = headers::retry_after(self.headers(), SystemTime::now());
        let with_credentials = self.with_credentials;
        let message = tokio::time::timeout(ERROR_PATIENCE, self.error_text()).await.unwrap_or_default();
        match status {
            401 => Failure::Unauthorized { url, with_credentials },
            403 => Failure::Forbidden { url, message },
            404 | 410 => Failure::NotFound { url, status, message },
            429 => Failure::TooManyRequests { url, retry_after, message },
            500.. => Failure::Server { url, status, retry_after, message },
            _ => Failure::Status { url, status, message },
        }
    }

    /// What the server says of its error, if it says it in words.
    async fn error_text(&mut self) -> String {
        let kind = headers::text(self.headers(), &CONTENT_TYPE).unwrap_or_default().to_owned();
        let mut text = Vec::new();
        while text.len() < ERROR_LIMIT {
            match self.chunk().await {
                Ok(Some(chunk)) => text.extend_from_slice(chunk.as_ref()),
                _ => break,
            }
        }
        text.truncate(ERROR_LIMIT);
        error_message(&kind, &text)
    }

    fn is_redirect(&self) -> bool {
        matches!(self.status().as_u16(), 301 | 302 | 303 | 307 | 308)
    }
}

/// The words of an error's body: the messages of a registry, or plain text.
fn error_message(kind: &str, body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Envelope {
        errors: Vec<Entry>,
    }
    #[derive(serde::Deserialize)]
    struct Entry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    if let Ok(envelope) = serde_json::from_slice::<Envelope>(body) {
        let words = |entry: &Entry| match (entry.code.as_str(), entry.message.as_str()) {
            (code, "") => code.to_owned(),
            (_, message) => message.to_owned(),
        };
        return envelope.errors.iter().map(words).collect::<Vec<_>>().join("; ");
    }
    if kind.starts_with("text/plain") {
        return String::from_utf8_lossy(body).trim().to_owned();
    }
    String::new()
}

/// Standard base64 with padding.
fn base64(bytes: &[u8]) -> String {
    use ::base64::Engine;
    ::base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// `%41` as `A`; what is no such escape stays.
fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = text.get(at + 1..at + 3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (bytes[at], escape) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 3;
            }
            (byte, _) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_errors() {
        for (kind, body, words) in [
            (
                "application/json",
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"x"}}]}"#,
                "manifest unknown",
            ),
            ("application/json", r#"{"errors":[{"code":"DENIED"},{"code":"X","message":"y"}]}"#, "DENIED; y"),
            ("text/plain; charset=utf-8", " no such file\n", "no such file"),
            ("text/html", "<html>404</html>", ""),
            ("application/json", r#"{"errors":"x"}"#, ""),
        ] {
            assert_eq!(error_message(kind, body.as_bytes()), words, "{body}");
        }
    }

    #[test]
    fn credentials_of_urls() {
        let header = |url: &str| {
            let authorization = Authorization::of_url(&url.parse().unwrap())?;
            Some(authorization.headers[AUTHORIZATION].to_str().unwrap().to_owned())
        };
        assert_eq!(header("https://example.com/"), None);
        assert_eq!(header("https://u:p%40%3A@example.com/").as_deref(), Some("Basic dTpwQDo="));
        for (text, plain) in [("a%20b", "a b"), ("100%", "100%"), ("%zz%4", "%zz%4"), ("%C3%A9", "é")] {
            assert_eq!(percent_decoded(text), plain);
        }
    }
}
