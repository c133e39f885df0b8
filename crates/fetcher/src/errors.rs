//! What a request that got no response died of.
//!
//! The HTTP library wraps causes in causes; here the one that matters is looked for.

use std::error::Error;
use std::io;

use reqwest::Url;
use rustls::CertificateError;
use transport::Failure;
use transport::text::printable_url;

use crate::http::CONNECT_TIMEOUT;
use crate::resolver::NameError;

/// Host and port, as messages show them.
fn host(url: &Url) -> String {
    let name = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{name}:{port}"),
        None => name.to_owned(),
    }
}

/// Why `url` could not be asked.
pub(crate) fn request(error: &reqwest::Error, url: &Url) -> Failure {
    let host = host(url);
    for cause in causes(error) {
        if let Some(NameError { host, reason }) = cause.downcast_ref() {
            return Failure::Name { host: host.clone(), reason: reason.clone() };
        }
        if let Some(error) = tls_error(cause) {
            return tls(error, host);
        }
    }
    let innermost = causes(error).last().map_or_else(String::new, ToString::to_string);
    if error.is_timeout() {
        return Failure::ConnectTimeout { host, seconds: CONNECT_TIMEOUT.as_secs() };
    }
    if error.is_connect() {
        let is_proxy = |text: String| text.contains("tunnel") || text.contains("SOCKS");
        return match causes(error).map(ToString::to_string).find(|text| is_proxy(text.clone())) {
            Some(reason) => Failure::Proxy { host, reason },
            None => Failure::Connect { host, reason: innermost },
        };
    }
    body(error, url)
}

/// Why the rest of a response did not come.
pub(crate) fn body(error: &reqwest::Error, url: &Url) -> Failure {
    let url = printable_url(url.as_str());
    let broken = causes(error).any(|cause| {
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let lost = matches!(
            io,
            Some(
                io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::TimedOut
            )
        );
        // hyper's own error is not among our dependencies.
        lost || cause.to_string().contains("connection closed before message completed")
            || cause.to_string().contains("end of file before message length reached")
    });
    let reason = causes(error).last().map_or_else(String::new, ToString::to_string);
    if broken {
        Failure::Interrupted { url, received: 0, reason }
    } else {
        Failure::Protocol { url, reason: format!("not the answer of a web server: {reason}") }
    }
}

/// The error and its causes, outermost first.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| next(error))
}

fn next<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    // An I/O error hides what it was made of.
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inner.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source())
}

fn tls_error<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    cause.downcast_ref()
}

fn tls(error: &rustls::Error, host: String) -> Failure {
    let rustls::Error::InvalidCertificate(problem) = error else {
        return Failure::Tls { host, reason: error.to_string() };
    };
    match problem {
        CertificateError::NotValidForNameContext { presented, .. } => {
            Failure::TlsName { host, presented: presented.join(", ") }
        }
        CertificateError::NotValidForName => Failure::TlsName { host, presented: "unknown".to_owned() },
        CertificateError::UnknownIssuer => Failure::TlsCertificate {
            host,
            reason: "no authority that this system trusts signed it".to_owned(),
        },
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            Failure::TlsCertificate { host, reason: "it has expired".to_owned() }
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Failure::TlsCertificate { host, reason: "it is not valid yet".to_owned() }
        }
        other => Failure::TlsCertificate { host, reason: other.to_string() },
    }
}
