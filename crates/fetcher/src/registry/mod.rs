//! Registries: the pull half of the OCI distribution specification, which Docker's are too.
//!
//! The crate `oci-client` was weighed first. It cannot be told how to treat redirects (it follows one from https to
//! http), reads manifests and tokens of any size into memory, turns a token server's failure into an anonymous request,
//! drops `Retry-After` and `Content-Range`, and knows no refresh tokens; each of these is a promise of ours. What is
//! left of a registry's protocol then is this module, on the types of `oci-spec` and the parser of `http-auth`.
//!
//! ```text
//!  GET /v2/REPOSITORY/manifests/TAG ──► 401 WWW-Authenticate ──► token ──► again
//!        │ index: the digest of our platform's manifest ──► again
//!        ▼
//!     manifest ──► GET /v2/REPOSITORY/blobs/DIGEST: configuration, layers ──► redirects to storage elsewhere
//! ```
//!
//! A registry that may be asked in the clear is asked over https first all the same.

pub(crate) mod blob;
pub mod challenge;
pub mod manifest;
pub(crate) mod resolve;
mod token;

use std::cell::RefCell;
use std::collections::HashMap;

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use reqwest::{StatusCode, Url};
use transport::message::{Access, Credentials};
use transport::{Failure, Reference};

use crate::http::{Answer, Authorization, Http, Question};
use crate::session::{Reporter, Shared};
use challenge::Challenge;

/// What has been learnt of registries.
#[derive(Debug, Default)]
pub(crate) struct Registries {
    /// The scheme that a registry speaks, where plain http is allowed.
    schemes: RefCell<HashMap<String, &'static str>>,
    /// What lets us into a repository.
    authorizations: RefCell<HashMap<(String, String), Authorization>>,
}

/// One repository, as one request may ask it.
#[derive(Debug)]
struct Repository<'a> {
    http: &'a Http,
    learnt: &'a Registries,
    reference: &'a Reference,
    access: &'a Access,
    reporter: &'a Reporter,
}

impl<'a> Repository<'a> {
    fn new(shared: &'a Shared, reference: &'a Reference, access: &'a Access, reporter: &'a Reporter) -> Self {
        Self { http: &shared.http, learnt: &shared.registries, reference, access, reporter }
    }

    /// Asks for `path` below the repository. The answer may have any status.
    async fn get(&self, path: &str, headers: &HeaderMap) -> Result<Answer, Failure> {
        let registry = self.reference.registry();
        let known = self.learnt.schemes.borrow().get(registry).copied();
        let schemes: &[&'static str] = match known {
            _ if !self.access.plain_http => &["https"],
            Some("https") => &["https"],
            Some(_) => &["http"],
            None => &["https", "http"],
        };
        let mut first = None;
        for scheme in schemes {
            match self.get_by(scheme, path, headers).await {
                // Nobody there, or nobody who speaks TLS. A wrong certificate is another matter.
                Err(
                    failure
                    @ (Failure::Connect { .. } | Failure::ConnectTimeout { .. } | Failure::Tls { .. }),
                ) => {
                    first.get_or_insert(failure);
                }
                result => {
                    if result.is_ok() {
                        self.learnt.schemes.borrow_mut().insert(registry.to_owned(), scheme);
                    }
                    return result;
                }
            }
        }
        Err(first.unwrap_or(Failure::Cancelled))
    }

    async fn get_by(&self, scheme: &str, path: &str, headers: &HeaderMap) -> Result<Answer, Failure> {
        let (registry, repository) = (self.reference.registry(), self.reference.repository());
        let url = format!("{scheme}://{registry}/v2/{repository}/{path}");
        let url: Url =
            url.parse().map_err(|_| Failure::BadRequest { reason: format!("{url} is not a URL") })?;
        let key = (registry.to_owned(), repository.to_owned());
        let known = self.learnt.authorizations.borrow().get(&key).cloned();
        let answer = self.ask(&url, headers, known).await?;
        // Only the registry itself may ask who we are.
        if answer.status() != StatusCode::UNAUTHORIZED || answer.is_redirected() {
            return Ok(answer);
        }
        let values = answer.headers().get_all(WWW_AUTHENTICATE);
        let challenges: Vec<_> = values.iter().filter_map(|value| value.to_str().ok()).collect();
        let authorization = match challenge::choose(&challenges) {
            Some(Challenge::Bearer(bearer)) => match &self.access.credentials {
                Some(token @ Credentials::Bearer(_)) => Authorization::new(token)?,
                _ => token::fetch(self, &bearer).await?,
            },
            Some(Challenge::Basic) => match &self.access.credentials {
                Some(basic @ Credentials::Basic { .. }) => Authorization::new(basic)?,
                _ => return Ok(answer),
            },
            None => return Ok(answer),
        };
        self.learnt.authorizations.borrow_mut().insert(key, authorization.clone());
        self.ask(&url, headers, Some(authorization)).await
    }

    async fn ask(
        &self,
        url: &Url,
        headers: &HeaderMap,
        authorization: Option<Authorization>,
    ) -> Result<Answer, Failure> {
        let question = Question {
            url: url.clone(),
            headers: headers.clone(),
            form: None,
            authorization,
            access: self.access,
        };
        self.http.send(question, self.reporter).await
    }
}
