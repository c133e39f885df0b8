//! Why a request came to nothing.

use serde::{Deserialize, Serialize};

use crate::text::{printable, printable_url};

/// Why a request came to nothing, specific enough to act on.
///
/// URLs are kept as [`printable_url`] gives them. Texts of a server are cut and escaped when they are shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// The host's name has no address, or nobody could be asked.
    #[error("Cannot find the address of {}: {}", printable(host), printable(reason))]
    Name {
        /// The host.
        host: String,
        /// What the resolver says.
        reason: String,
    },
    /// Nobody answers there.
    #[error("Cannot connect to {}: {}", printable(host), printable(reason))]
    Connect {
        /// Host and port.
        host: String,
        /// What the system says.
        reason: String,
    },
    /// No connection within the time allowed.
    #[error("Cannot connect to {}: no answer within {seconds} s", printable(host))]
    ConnectTimeout {
        /// Host and port.
        host: String,
        /// The time allowed.
        seconds: u64,
    },
    /// The proxy of the environment refuses or fails.
    #[error(
        "The proxy that the environment names does not connect to {}: {}",
        printable(host),
        printable(reason)
    )]
    Proxy {
        /// Host and port behind the proxy.
        host: String,
        /// What went wrong.
        reason: String,
    },
    /// The certificate is good, and somebody else's.
    #[error(
        "{} presents a certificate for other names ({}): this may be another server than the one asked for",
        printable(host),
        printable(presented)
    )]
    TlsName {
        /// Host and port.
        host: String,
        /// The names that the certificate is for.
        presented: String,
    },
    /// The certificate is not to be trusted.
    #[error(
        "The certificate of {} is not trusted: {}; install the authority that signed it in the system's trust store",
        printable(host),
        printable(reason)
    )]
    TlsCertificate {
        /// Host and port.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
    /// TLS itself fails.
    #[error("No secure connection to {}: {}", printable(host), printable(reason))]
    Tls {
        /// Host and port.
        host: String,
        /// What went wrong.
        reason: String,
    },
    /// A plain-text URL where only https is allowed.
    #[error("{url} is not secure (http): --insecure-options=http allows it")]
    PlainHttp {
        /// The URL.
        url: String,
    },
    /// A redirect from https to http, which is never followed.
    #[error("{from} redirects to {to}, which is not secure (http)")]
    Downgrade {
        /// Who redirects.
        from: String,
        /// Where to.
        to: String,
    },
    /// A redirect comes back to where it started.
    #[error("{url} redirects in a circle")]
    RedirectLoop {
        /// The URL that came twice.
        url: String,
    },
    /// More redirects than anybody needs.
    #[error("{url} redirects more than {limit} times")]
    TooManyRedirects {
        /// Where it started.
        url: String,
        /// How many are followed.
        limit: usize,
    },
    /// A redirect without a place to go to, or to one that we cannot go to.
    #[error("{url} redirects to nowhere ({})", printable(to))]
    BadRedirect {
        /// Who redirects.
        url: String,
        /// What it says.
        to: String,
    },
    /// 401.
    #[error("{url}: bad HTTP status code: 401 (unauthorized): {}", if *with_credentials {
        "the configured credentials are refused"
    } else {
        "it wants credentials and none are configured for it"
    })]
    Unauthorized {
        /// The URL.
        url: String,
        /// Whether credentials were sent.
        with_credentials: bool,
    },
    /// 403.
    #[error("{url}: bad HTTP status code: 403 (forbidden){}", colon(message))]
    Forbidden {
        /// The URL.
        url: String,
        /// What the server says.
        message: String,
    },
    /// 404 and 410.
    #[error("{url}: bad HTTP status code: {status} (not found){}", colon(message))]
    NotFound {
        /// The URL.
        url: String,
        /// The status.
        status: u16,
        /// What the server says.
        message: String,
    },
    /// 429.
    #[error("{url}: bad HTTP status code: 429 (too many requests){}{}", match retry_after {
        Some(seconds) => format!("; try again in {seconds} s"),
        None => String::new(),
    }, colon(message))]
    TooManyRequests {
        /// The URL.
        url: String,
        /// `Retry-After`, in seconds.
        retry_after: Option<u64>,
        /// What the server says.
        message: String,
    },
    /// 5xx.
    #[error("{url}: bad HTTP status code: {status} (the server's own trouble){}", colon(message))]
    Server {
        /// The URL.
        url: String,
        /// The status.
        status: u16,
        /// `Retry-After`, in seconds.
        retry_after: Option<u64>,
        /// What the server says.
        message: String,
    },
    /// Any other status that has no body for us.
    #[error("{url}: bad HTTP status code: {status}{}", colon(message))]
    Status {
        /// The URL.
        url: String,
        /// The status.
        status: u16,
        /// What the server says.
        message: String,
    },
    /// The server does not speak HTTP as it should.
    #[error("{url}: {}", printable(reason))]
    Protocol {
        /// The URL.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The server went silent.
    #[error("{url} stalls: no byte came for {seconds} s")]
    Stalled {
        /// The URL.
        url: String,
        /// The time allowed.
        seconds: u64,
    },
    /// It took longer than the whole of it may.
    #[error("{url} takes longer than the {seconds} s allowed")]
    TimedOut {
        /// The URL.
        url: String,
        /// The time allowed.
        seconds: u64,
    },
    /// The connection ended before the body did.
    #[error("{url}: the connection broke after {received} bytes: {}", printable(reason))]
    Interrupted {
        /// The URL.
        url: String,
        /// How many bytes of the whole there are.
        received: u64,
        /// What happened.
        reason: String,
    },
    /// More bytes than allowed or announced.
    #[error("{url} is larger than the {limit} bytes allowed")]
    TooLarge {
        /// The URL.
        url: String,
        /// The limit.
        limit: u64,
    },
    /// The answer to a request for the rest of a file is not that rest.
    #[error("{url} answers with another part than was asked for: {}", printable(reason))]
    WrongRange {
        /// The URL.
        url: String,
        /// What came.
        reason: String,
    },
    /// The content is not what its digest says.
    #[error("{} has the wrong digest: expected {expected}, got {actual}", printable(what))]
    WrongDigest {
        /// Which content.
        what: String,
        /// The digest by which it was asked for.
        expected: String,
        /// The digest that it has.
        actual: String,
    },
    /// The content is shorter or longer than its descriptor says.
    #[error("{} has the wrong size: expected {expected} bytes, got {actual}", printable(what))]
    WrongSize {
        /// Which content.
        what: String,
        /// What the descriptor says.
        expected: u64,
        /// What came.
        actual: u64,
    },
    /// Something of another kind stands there.
    #[error(
        "{} is not an image that can be run: its media type is {}",
        printable(what),
        printable(media_type)
    )]
    WrongMediaType {
        /// Which content.
        what: String,
        /// The media type that it has.
        media_type: String,
    },
    /// None of an index's images runs here.
    #[error("{} has no image for {wanted}; it has {}", printable(what), list(available))]
    NoPlatform {
        /// The image.
        what: String,
        /// The platform asked for.
        wanted: String,
        /// The platforms that there are.
        available: Vec<String>,
    },
    /// A manifest, index or token cannot be read.
    #[error("{} cannot be read: {}", printable(what), printable(reason))]
    BadDocument {
        /// Which one.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// No token from the registry's token server.
    #[error("No access token for {} from {url}", printable(what))]
    Token {
        /// The image.
        what: String,
        /// The token server.
        url: String,
        /// Why not.
        #[source]
        cause: Box<Failure>,
    },
    /// No page of the image's host says where it is.
    #[error("No page says where to find {}: {}", printable(name), attempts(tried))]
    NothingDiscovered {
        /// The image's name.
        name: String,
        /// Every page asked, and what came of it.
        tried: Vec<Attempt>,
    },
    /// The file that was handed over cannot be written or read.
    #[error("Cannot store what was received: {}", printable(reason))]
    File {
        /// What the system says.
        reason: String,
    },
    /// The request makes no sense.
    #[error("Cannot fetch: {}", printable(reason))]
    BadRequest {
        /// Why.
        reason: String,
    },
    /// The client does not want it any more.
    #[error("Cancelled")]
    Cancelled,
}

impl Failure {
    /// Whether the same request may well succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Stalled { .. }
            | Self::Interrupted { .. }
            | Self::TooManyRequests { .. }
            | Self::ConnectTimeout { .. } => true,
            Self::Server { status, .. } => matches!(status, 500 | 502 | 503 | 504),
            Self::Token { cause, .. } => cause.is_transient(),
            _ => false,
        }
    }

    /// Whether a web server answered, with whatever: the host is there.
    pub fn is_an_answer(&self) -> bool {
        matches!(
            self,
            Self::Unauthorized { .. }
                | Self::Forbidden { .. }
                | Self::NotFound { .. }
                | Self::TooManyRequests { .. }
                | Self::Server { .. }
                | Self::Status { .. }
                | Self::TooLarge { .. }
        )
    }

    /// How long the server asks to be left alone, in seconds.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooManyRequests { retry_after, .. } | Self::Server { retry_after, .. } => *retry_after,
            Self::Token { cause, .. } => cause.retry_after(),
            _ => None,
        }
    }
}

/// One page that was asked during discovery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The page.
    pub url: String,
    /// Why it did not help. None when it was there and names nothing for the image.
    pub failure: Option<Box<Failure>>,
}

/// `: message`, or nothing.
fn colon(message: &str) -> String {
    if message.trim().is_empty() { String::new() } else { format!(": {}", printable(message)) }
}

fn list(available: &[String]) -> String {
    if available.is_empty() {
        return "no images at all".to_owned();
    }
    available.iter().map(|platform| printable(platform)).collect::<Vec<_>>().join(", ")
}

fn attempts(tried: &[Attempt]) -> String {
    let lines: Vec<_> = tried
        .iter()
        .map(|attempt| match &attempt.failure {
            Some(failure) => failure.to_string(),
            None => format!("{} names no place for it", printable_url(&attempt.url)),
        })
        .collect();
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_thing_and_way_out() {
        let url = "https://example.com/a.aci".to_owned();
        for (failure, text) in [
            (
                Failure::Unauthorized { url: url.clone(), with_credentials: false },
                "https://example.com/a.aci: bad HTTP status code: 401 (unauthorized): it wants credentials and none are \
                 configured for it",
            ),
            (
                Failure::TooManyRequests {
                    url: url.clone(),
                    retry_after: Some(30),
                    message: "slow \u{1b}down".into(),
                },
                "https://example.com/a.aci: bad HTTP status code: 429 (too many requests); try again in 30 s: \
                 slow \\u{1b}down",
            ),
            (
                Failure::NoPlatform {
                    what: "x".into(),
                    wanted: "linux/amd64".into(),
                    available: vec!["linux/arm64/v8".into(), "linux/s390x".into()],
                },
                "x has no image for linux/amd64; it has linux/arm64/v8, linux/s390x",
            ),
            (
                Failure::NothingDiscovered {
                    name: "example.com/a".into(),
                    tried: vec![
                        Attempt { url: "https://example.com/a?ac-discovery=1".into(), failure: None },
                        Attempt {
                            url: "https://example.com".into(),
                            failure: Some(Box::new(Failure::NotFound {
                                url: "https://example.com".into(),
                                status: 404,
                                message: String::new(),
                            })),
                        },
                    ],
                },
                "No page says where to find example.com/a: https://example.com/a names no place for it; \
                 https://example.com: bad HTTP status code: 404 (not found)",
            ),
        ] {
            assert_eq!(failure.to_string(), text);
            let json = serde_json::to_string(&failure).unwrap();
            assert_eq!(serde_json::from_str::<Failure>(&json).unwrap(), failure);
        }
    }
}
