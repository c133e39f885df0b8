//! AWS Signature Version 4 for fetching from S3.

use std::fmt::Write;

use aws_lc_rs::hmac;
use jiff::Timestamp;

use crate::digest::{Algorithm, Hasher};
use crate::text::authority;

/// Keys of an account.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) id: String,
    pub(super) secret: String,
    /// None: as the host's name says.
    pub(super) region: Option<String>,
}

impl Keys {
    /// The headers that allow one GET of `url` at this time. None when it is no URL.
    pub(super) fn sign(&self, url: &str, now: Timestamp) -> Option<Vec<(String, String)>> {
        let host = authority(url)?;
        let (path, query) = path_and_query(url)?;
        let time = now.strftime("%Y%m%dT%H%M%SZ").to_string();
        let (day, _) = time.split_once('T')?;
        let region = self.region.as_deref().or_else(|| region(&host)).unwrap_or("us-east-1");
        let digest = |text: &str| Hasher::hash(Algorithm::Sha256, text.as_bytes()).hex().to_owned();
        let empty = digest("");
        let signed = "host;x-amz-content-sha256;x-amz-date";
        let request = format!(
            "GET\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:{empty}\nx-amz-date:{time}\n\n{signed}\n{empty}"
        );
        let scope = format!("{day}/{region}/s3/aws4_request");
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", digest(&request));
        let mut key = format!("AWS4{}", self.secret).into_bytes();
        for part in [day, region, "s3", "aws4_request"] {
            key = mac(&key, part);
        }
        let signature = hex(&mac(&key, &text));
        let id = &self.id;
        Some(vec![
            ("x-amz-date".to_owned(), time),
            ("x-amz-content-sha256".to_owned(), empty),
            (
                "authorization".to_owned(),
                format!(
                    "AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={signed}, Signature={signature}"
                ),
            ),
        ])
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The path, and the query with its parameters sorted and each with a `=`.
fn path_and_query(url: &str) -> Option<(String, String)> {
    let (_, rest) = url.split_once("://")?;
    let rest = rest.split('#').next()?;
    let rest = &rest[rest.find(['/', '?']).unwrap_or(rest.len())..];
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let path = if path.is_empty() { "/" } else { path };
    let mut pairs: Vec<(&str, &str)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect();
    pairs.sort_unstable();
    let query = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
    Some((path.to_owned(), query))
}

/// The region in the name of an S3 host: `s3-eu-west-1.amazonaws.com`, `bucket.s3.eu-west-1.amazonaws.com`.
fn region(host: &str) -> Option<&str> {
    let name = host.split(':').next()?;
    let name = name.strip_suffix(".amazonaws.com").or_else(|| name.strip_suffix(".amazonaws.com.cn"))?;
    let labels: Vec<&str> = name.split('.').collect();
    match labels[..] {
        [.., "s3", region] => Some(region),
        [.., last] => last.strip_prefix("s3-"),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The examples of the S3 manual, "Signature Calculations for the Authorization Header".
    #[test]
    fn signs_as_the_manual_says() {
        let keys = Keys {
            id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
            region: None,
        };
        let now: Timestamp = "2013-05-24T00:00:00Z".parse().unwrap();
        for (url, signature) in [
            (
                "https://examplebucket.s3.amazonaws.com?lifecycle",
                "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            ),
            (
                "https://examplebucket.s3.amazonaws.com/?prefix=J&max-keys=2",
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
        ] {
            let headers = keys.sign(url, now).unwrap();
            assert_eq!(headers[0].1, "20130524T000000Z");
            let authorization = &headers[2].1;
            assert!(authorization.ends_with(&format!("Signature={signature}")), "{url}: {authorization}");
            assert!(authorization.contains("AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"));
        }
    }

    #[test]
    fn regions() {
        for (host, found) in [
            ("s3.amazonaws.com", None),
            ("bucket.s3.amazonaws.com", None),
            ("s3-eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("bucket.s3-eu-west-1.amazonaws.com:443", Some("eu-west-1")),
            ("bucket.s3.eu-central-1.amazonaws.com", Some("eu-central-1")),
            ("example.com", None),
        ] {
            assert_eq!(region(host), found, "{host}");
        }
    }
}
