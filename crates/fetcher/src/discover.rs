//! Asking the pages of an image's host where the image is.
//!
//! The page of the image itself is asked first, then that of each parent up to the host. A page that names no place for
//! the image, is not there, or cannot be reached leads to the next one. The host of all of them is the same, so a
//! name without an address ends it at once.

use appc::AcIdentifier;
use reqwest::header::HeaderMap;
use reqwest::{StatusCode, Url};
use transport::Failure;
use transport::failure::Attempt;
use transport::message::{Access, Discover, Discovered};
use transport::text::printable_url;

use crate::discovery::{self, Tags, Variables};
use crate::http::{Authorization, Question};
use crate::session::{Reporter, Shared};

/// How much of a page is read.
const PAGE_LIMIT: u64 = 1 << 20;

/// Discovers.
pub(crate) async fn run(
    shared: &Shared,
    request: Discover,
    reporter: &Reporter,
) -> Result<Discovered, Failure> {
    let Discover { name, labels, access } = request;
    AcIdentifier::new(name.as_str()).map_err(|error| Failure::BadRequest { reason: error.to_string() })?;
    let variables = Variables::new(&name, &labels);
    let mut found = Discovered::default();
    let mut tried = Vec::new();
    let mut host_answers = false;
    for place in discovery::pages(&name) {
        for scheme in schemes(&access) {
            let url = format!("{scheme}://{place}?ac-discovery=1");
            let failure = match page(shared, &url, &access, reporter).await {
                Ok(tags) => {
                    host_answers = true;
                    if found.endpoints.is_empty() {
                        found.endpoints = discovery::endpoints(&tags, &name, &variables);
                    }
                    if found.public_keys.is_empty() {
                        found.public_keys = discovery::public_keys(&tags, &name);
                    }
                    if found.is_complete() {
                        return Ok(found);
                    }
                    None
                }
                Err(failure @ Failure::Name { .. }) => return Err(failure),
                Err(failure) => {
                    host_answers |= failure.is_an_answer();
                    Some(Box::new(failure))
                }
            };
            let is_there = failure.is_none();
            tried.push(Attempt { url: printable_url(&url), failure });
            if is_there {
                break;
            }
        }
    }
    if found.endpoints.is_empty() && host_answers {
        // Beside its name, where the first version of the specification looked.
        found.endpoints.extend(discovery::simple(&variables));
    }
    if found.endpoints.is_empty() && found.public_keys.is_empty() {
        return Err(Failure::NothingDiscovered { name, tried });
    }
    Ok(found)
}

fn schemes(access: &Access) -> &'static [&'static str] {
    if access.plain_http { &["https", "http"] } else { &["https"] }
}

/// The tags of one page.
async fn page(shared: &Shared, url: &str, access: &Access, reporter: &Reporter) -> Result<Tags, Failure> {
    let url: Url = url.parse().map_err(|_| Failure::BadRequest { reason: format!("{url} is not a URL") })?;
    let question = Question {
        url,
        headers: HeaderMap::new(),
        form: None,
        authorization: access.credentials.as_ref().map(Authorization::new).transpose()?,
        access,
    };
    let answer = shared.http.send(question, reporter).await?;
    if answer.status() != StatusCode::OK {
        return Err(answer.into_failure().await);
    }
    Ok(discovery::tags(&answer.bytes(PAGE_LIMIT.min(access.limits.max_bytes)).await?))
}
