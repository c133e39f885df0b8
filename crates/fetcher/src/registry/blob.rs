//! Fetching a blob into a file.
//!
//! Its digest names it, so a part of it goes on wherever it comes from: what the file holds is hashed first, and the
//! rest is asked for as a closed range, which every registry's storage understands.

use std::os::fd::OwnedFd;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderValue, RANGE};
use transport::Failure;
use transport::message::{Blob, Event, Reply};

use super::Repository;
use crate::body::Sink;
use crate::headers::{self, Part};
use crate::retry::Retries;
use crate::session::{Reporter, Shared};

/// One download and how far it is.
struct Download<'a> {
    repository: Repository<'a>,
    blob: &'a Blob,
    sink: Sink,
    /// How many bytes of the file were there before and stay.
    resumed_from: u64,
}

/// Fetches.
pub(crate) async fn run(
    shared: &Shared,
    blob: Blob,
    file: OwnedFd,
    reporter: &Reporter,
) -> Result<Reply, Failure> {
    let limits = blob.access.limits;
    let size = blob.descriptor.size;
    if size > limits.max_bytes {
        return Err(Failure::TooLarge { url: blob.descriptor.digest.to_string(), limit: limits.max_bytes });
    }
    let mut sink = Sink::new(file, Some(blob.descriptor.digest.algorithm()))?;
    if sink.file_size()? <= size {
        sink.adopt().await?;
    } else {
        sink.restart()?;
    }
    let resumed_from = sink.length();
    let repository = Repository::new(shared, &blob.reference, &blob.access, reporter);
    let mut download = Download { repository, blob: &blob, sink, resumed_from };
    let mut retries = Retries::new(&limits);
    loop {
        while download.sink.length() < size {
            let before = download.sink.length();
            if let Err(failure) = download.once(reporter).await {
                let progressed = download.sink.length() > before;
                retries.again(failure, progressed, reporter).await?;
            }
        }
        match download.check() {
            Ok(()) => return Ok(Reply::Blob { resumed_from: download.resumed_from }),
            // The part was bad, or of something else. All of it anew, once.
            Err(_) if download.resumed_from > 0 => download.restart()?,
            Err(failure) => return Err(failure),
        }
    }
}

impl Download<'_> {
    /// Makes one request, for all that is missing.
    async fn once(&mut self, reporter: &Reporter) -> Result<(), Failure> {
        let descriptor = &self.blob.descriptor;
        let start = self.sink.length();
        let mut headers = HeaderMap::new();
        if start > 0 {
            let range = HeaderValue::from_str(&format!("bytes={start}-{}", descriptor.size - 1));
            headers.insert(RANGE, range.map_err(|error| Failure::BadRequest { reason: error.to_string() })?);
        }
        let mut answer = self.repository.get(&format!("blobs/{}", descriptor.digest), &headers).await?;
        let total = Some(descriptor.size);
        match answer.status() {
            StatusCode::OK => {
                if let Some(length) = answer.length()
                    && length != descriptor.size
                {
                    let what = descriptor.digest.to_string();
                    return Err(Failure::WrongSize { what, expected: descriptor.size, actual: length });
                }
                self.restart()?;
            }
            StatusCode::PARTIAL_CONTENT if start > 0 => {
                let part = headers::part(answer.headers());
                let fits = |part: &Part| {
                    part.first == Some(start) && part.total.is_none_or(|total| total == descriptor.size)
                };
                if !part.as_ref().is_some_and(fits) {
                    let reason = format!("bytes from {start} on were asked for, {part:?} came");
                    return Err(Failure::WrongRange { url: answer.url(), reason });
                }
            }
            // Some storage knows no ranges, and says so in its own way.
            StatusCode::RANGE_NOT_SATISFIABLE if start > 0 => return self.restart(),
            status if status.is_success() => {
                let message = "this is no answer to what was asked".to_owned();
                return Err(Failure::Status { url: answer.url(), status: status.as_u16(), message });
            }
            _ => return Err(answer.into_failure().await),
        }
        let facts = headers::facts(answer.headers());
        reporter.event(Event::Started { resumed_from: self.sink.length(), total, facts }).await;
        self.sink.receive(&mut answer, descriptor.size, total, reporter).await
    }

    fn restart(&mut self) -> Result<(), Failure> {
        self.resumed_from = 0;
        self.sink.restart()
    }

    /// Whether what the file holds is the blob.
    fn check(&self) -> Result<(), Failure> {
        let expected = &self.blob.descriptor.digest;
        match self.sink.digest() {
            Some(actual) if actual == *expected => Ok(()),
            actual => Err(Failure::WrongDigest {
                what: format!("A blob of {}", self.blob.reference),
                expected: expected.to_string(),
                actual: actual.map_or_else(|| "none".to_owned(), |digest| digest.to_string()),
            }),
        }
    }
}
