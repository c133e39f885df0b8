//! Fetching one URL into a file.
//!
//! ```text
//!   nothing yet ──► GET ──────────────────────────► 200: from the start
//!   a part      ──► GET, Range: bytes=N-, If-Range: what it was known by
//!                     same version ───────────────► 206: from N
//!                     another version ────────────► 200: from the start
//!                     nothing is left to send ────► 416: done, when the whole is N bytes long
//!   a copy      ──► GET, If-None-Match ───────────► 304: the copy is good
//! ```
//!
//! One request tells all of it: what a server says of itself in `Accept-Ranges` is not asked for. The answer to a
//! range must be that range of that version, or the file starts anew.

use std::os::fd::OwnedFd;

use reqwest::header::{
    HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use reqwest::{StatusCode, Url};
use transport::message::{Event, Facts, Get, Got, Status};
use transport::text::printable_url;
use transport::{Failure, Validators};

use crate::body::Sink;
use crate::headers;
use crate::http::{Answer, Authorization, Question};
use crate::retry::Retries;
use crate::session::{Reporter, Shared};

/// One download and how far it is.
struct Download<'a> {
    get: &'a Get,
    url: Url,
    sink: Sink,
    /// What the bytes in the file are known by. None when no part of them can be gone on with.
    part: Option<Validators>,
    resumed_from: u64,
}

/// What came of one request.
enum Step {
    Done(Got),
    /// The part in the file is of no use: from the start.
    Restart,
}

/// Fetches.
pub(crate) async fn run(
    shared: &Shared,
    get: Get,
    file: OwnedFd,
    reporter: &Reporter,
) -> Result<Got, Failure> {
    let url = get.url.parse().map_err(|error| Failure::BadRequest {
        reason: format!("{} is not a URL: {error}", printable_url(&get.url)),
    })?;
    let mut sink = Sink::new(file, None)?;
    let part = get.part.clone().filter(|part| headers::range_condition(part).is_some());
    if part.is_some() {
        sink.adopt().await?;
    }
    let mut download = Download { get: &get, url, sink, part, resumed_from: 0 };
    let mut retries = Retries::new(&get.access.limits);
    loop {
        let before = download.sink.length();
        match download.once(shared, reporter).await {
            Ok(Step::Done(got)) => return Ok(got),
            Ok(Step::Restart) => {
                download.part = None;
                download.sink.restart()?;
            }
            Err(failure) => {
                let progressed = download.sink.length() > before;
                retries.again(failure, progressed, reporter).await?;
            }
        }
    }
}

impl Download<'_> {
    /// Makes one request.
    async fn once(&mut self, shared: &Shared, reporter: &Reporter) -> Result<Step, Failure> {
        if self.part.is_none() {
            // Nothing can vouch for what is there.
            self.sink.rewind();
        }
        let question = Question {
            url: self.url.clone(),
            headers: self.headers()?,
            form: None,
            authorization: self.get.access.credentials.as_ref().map(Authorization::new).transpose()?,
            access: &self.get.access,
        };
        let asked_for_rest = question.headers.contains_key(RANGE);
        let mut answer = shared.http.send(question, reporter).await?;
        let facts = headers::facts(answer.headers());
        match answer.status() {
            StatusCode::OK => {
                self.sink.restart()?;
                self.resumed_from = 0;
                let total = answer.length();
                self.receive(&mut answer, total, facts, reporter).await
            }
            StatusCode::PARTIAL_CONTENT if asked_for_rest => {
                let part = headers::part(answer.headers());
                let known = self.part.clone().unwrap_or_default();
                let Some(part) = part.filter(|part| part.first == Some(self.sink.length())) else {
                    return Ok(Step::Restart);
                };
                if !headers::agree(&known, &facts.validators) {
                    return Ok(Step::Restart);
                }
                self.resumed_from = self.sink.length();
                self.receive(&mut answer, part.total, facts, reporter).await
            }
            StatusCode::RANGE_NOT_SATISFIABLE if asked_for_rest => {
                let total = headers::part(answer.headers()).and_then(|part| part.total);
                let known = self.part.clone().unwrap_or_default();
                if total != Some(self.sink.length()) || !headers::agree(&known, &facts.validators) {
                    return Ok(Step::Restart);
                }
                self.resumed_from = self.sink.length();
                Ok(Step::Done(self.got(Status::Body, Facts { validators: known, ..facts })))
            }
            StatusCode::NOT_MODIFIED if self.get.cached.is_some() => {
                Ok(Step::Done(self.got(Status::NotModified, facts)))
            }
            StatusCode::ACCEPTED => Ok(Step::Done(self.got(Status::Deferred, facts))),
            status if status.is_success() => Err(Failure::Status {
                url: answer.url(),
                status: status.as_u16(),
                message: "this is no answer to what was asked".to_owned(),
            }),
            _ => Err(answer.into_failure().await),
        }
    }

    fn headers(&self) -> Result<HeaderMap, Failure> {
        let mut headers = HeaderMap::new();
        let mut put = |name: HeaderName, value: &str| {
            let wrong = || Failure::BadRequest { reason: format!("{value:?} cannot be the value of {name}") };
            headers.insert(name.clone(), HeaderValue::from_str(value).map_err(|_| wrong())?);
            Ok(())
        };
        if let Some(cached) = &self.get.cached {
            if let Some(tag) = &cached.etag {
                put(IF_NONE_MATCH, tag)?;
            }
            if let Some(date) = &cached.last_modified {
                put(IF_MODIFIED_SINCE, date)?;
            }
        }
        let length = self.sink.length();
        if length > 0
            && let Some(condition) = self.part.as_ref().and_then(headers::range_condition)
        {
            put(RANGE, &format!("bytes={length}-"))?;
            put(IF_RANGE, condition)?;
        }
        Ok(headers)
    }

    /// Reads the body of an answer to its end.
    async fn receive(
        &mut self,
        answer: &mut Answer,
        total: Option<u64>,
        facts: Facts,
        reporter: &Reporter,
    ) -> Result<Step, Failure> {
        // From here on the file holds this version.
        self.part = Some(facts.validators.clone())
            .filter(|validators| headers::range_condition(validators).is_some());
        reporter.event(Event::Started { resumed_from: self.resumed_from, total, facts: facts.clone() }).await;
        self.sink.receive(answer, self.get.access.limits.max_bytes, total, reporter).await?;
        self.sink.cut()?;
        Ok(Step::Done(self.got(Status::Body, facts)))
    }

    fn got(&self, status: Status, facts: Facts) -> Got {
        let length = if status == Status::Body { self.sink.length() } else { 0 };
        Got { status, length, resumed_from: self.resumed_from, facts }
    }
}
