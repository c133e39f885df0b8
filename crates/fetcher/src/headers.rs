//! What the headers of a response say.

use std::time::{Duration, SystemTime};

use reqwest::header::{
    CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED, RETRY_AFTER,
};
use transport::Validators;
use transport::message::Facts;

/// Longest value that is kept of a header.
const LONGEST: usize = 1024;

/// The value of a header, when it is text of a sensible length.
pub fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let value = headers.get(name)?.to_str().ok()?.trim();
    (!value.is_empty() && value.len() <= LONGEST).then_some(value)
}

/// What they say of the resource.
pub fn facts(headers: &HeaderMap) -> Facts {
    let owned = |name| text(headers, &name).map(str::to_owned);
    Facts {
        validators: Validators { etag: owned(ETAG), last_modified: owned(LAST_MODIFIED) },
        max_age: max_age(headers),
        media_type: owned(CONTENT_TYPE),
    }
}

/// `Cache-Control`: for how many seconds a copy is fresh. `no-store` and `no-cache` make it zero.
fn max_age(headers: &HeaderMap) -> Option<u64> {
    let mut age = None;
    for value in headers.get_all(CACHE_CONTROL) {
        let Ok(value) = value.to_str() else { continue };
        for directive in value.split(',') {
            let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" | "no-cache" => return Some(0),
                "max-age" => age = argument.trim().trim_matches('"').parse().ok(),
                _ => {}
            }
        }
    }
    age
}

/// `Retry-After` in seconds from `now`, whether it is a number or a date.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<u64> {
    let value = text(headers, &RETRY_AFTER)?;
    if let Ok(seconds) = value.parse() {
        return Some(seconds);
    }
    let then = httpdate::parse_http_date(value).ok()?;
    Some(then.duration_since(now).unwrap_or(Duration::ZERO).as_secs())
}

/// `Content-Range` of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// First byte, from 0. None when there is no such part (416).
    pub first: Option<u64>,
    /// Length of the whole, when told.
    pub total: Option<u64>,
}

/// Reads `bytes 100-199/1000`, `bytes 100-199/*` and `bytes */1000`.
pub fn part(headers: &HeaderMap) -> Option<Part> {
    let (range, total) = text(headers, &CONTENT_RANGE)?.strip_prefix("bytes ")?.split_once('/')?;
    let total = match total {
        "*" => None,
        number => Some(number.parse().ok()?),
    };
    if range == "*" {
        return Some(Part { first: None, total });
    }
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let is_sound = first <= last && total.is_none_or(|total| last < total);
    is_sound.then_some(Part { first: Some(first), total })
}

/// What `If-Range` takes to make sure that a part and its rest are of one version: a strong tag, or else a date.
pub fn range_condition(validators: &Validators) -> Option<&str> {
    let strong = validators.etag.as_deref().filter(|tag| tag.starts_with('"'));
    strong.or(validators.last_modified.as_deref())
}

/// Whether two answers can be of one version of a resource, as far as both tell.
pub fn agree(ours: &Validators, theirs: &Validators) -> bool {
    let same = |ours: &Option<String>, theirs: &Option<String>| match (ours, theirs) {
        (Some(ours), Some(theirs)) => ours == theirs,
        _ => true,
    };
    same(&ours.etag, &theirs.etag) && same(&ours.last_modified, &theirs.last_modified)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    fn headers(list: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn freshness() {
        for (values, age) in [
            (&[] as &[&str], None),
            (&["max-age=60"], Some(60)),
            (&["public, Max-Age = 3600 , immutable"], Some(3600)),
            (&["max-age=\"5\""], Some(5)),
            (&["max-age=60, no-cache"], Some(0)),
            (&["no-store"], Some(0)),
            (&["max-age=60", "no-store"], Some(0)),
            (&["max-age=-1"], None),
            (&["max-age=99999999999999999999999"], None),
            (&["private"], None),
        ] {
            let list: Vec<_> = values.iter().map(|value| (CACHE_CONTROL, *value)).collect();
            assert_eq!(facts(&headers(&list)).max_age, age, "{values:?}");
        }
    }

    #[test]
    fn when_to_come_again() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        for (value, seconds) in [
            ("120", Some(120)),
            ("Sun, 06 Nov 1994 08:50:00 GMT", Some(23)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
            ("-5", None),
        ] {
            assert_eq!(retry_after(&headers(&[(RETRY_AFTER, value)]), now), seconds, "{value}");
        }
    }

    #[test]
    fn parts() {
        let of = |first, total| Some(Part { first, total });
        for (value, found) in [
            ("bytes 100-199/1000", of(Some(100), Some(1000))),
            ("bytes 0-0/1", of(Some(0), Some(1))),
            ("bytes 100-199/*", of(Some(100), None)),
            ("bytes */1000", of(None, Some(1000))),
            ("bytes 199-100/1000", None),
            ("bytes 100-1000/1000", None),
            ("bytes 100/1000", None),
            ("lines 1-2/3", None),
            ("bytes a-b/c", None),
        ] {
            assert_eq!(part(&headers(&[(CONTENT_RANGE, value)])), found, "{value}");
        }
    }

    #[test]
    fn conditions() {
        let validators = |etag: Option<&str>, date: Option<&str>| Validators {
            etag: etag.map(str::to_owned),
            last_modified: date.map(str::to_owned),
        };
        assert_eq!(range_condition(&validators(Some("\"a\""), Some("d"))), Some("\"a\""));
        assert_eq!(range_condition(&validators(Some("W/\"a\""), Some("d"))), Some("d"));
        assert_eq!(range_condition(&validators(Some("W/\"a\""), None)), None);
        assert!(agree(&validators(Some("a"), None), &validators(None, Some("d"))));
        assert!(!agree(&validators(Some("a"), Some("d")), &validators(Some("b"), Some("d"))));
        let odd = headers(&[(ETAG, &"x".repeat(LONGEST + 1)), (CONTENT_TYPE, " text/plain ")]);
        let facts = facts(&odd);
        assert_eq!((facts.validators.etag, facts.media_type.as_deref()), (None, Some("text/plain")));
    }
}
