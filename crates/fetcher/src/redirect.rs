//! Where a redirect leads, and whether anybody may be led there.

use reqwest::Url;
use transport::Failure;
use transport::text::printable_url;

/// How many redirects are followed.
pub const LIMIT: usize = 10;

/// What a request has gone through so far.
#[derive(Debug)]
pub struct Trail {
    visited: Vec<Url>,
}

impl Trail {
    /// The start of one.
    ///
    /// # Errors
    /// [`Failure::PlainHttp`] where that is not allowed, [`Failure::BadRequest`] for what is not of the web.
    pub fn new(start: Url, plain_http: bool) -> Result<Self, Failure> {
        let url = printable_url(start.as_str());
        match start.scheme() {
            "https" => {}
            "http" if plain_http => {}
            "http" => return Err(Failure::PlainHttp { url }),
            other => {
                return Err(Failure::BadRequest {
                    reason: format!("{url}: {other} is neither https nor http"),
                });
            }
        }
        Ok(Self { visited: vec![start] })
    }

    /// Where it is now.
    pub fn here(&self) -> &Url {
        // There is always the start.
        &self.visited[self.visited.len() - 1]
    }

    /// Whether it has gone anywhere.
    pub fn is_redirected(&self) -> bool {
        self.visited.len() > 1
    }

    /// Whether it is with the scheme, host and port that it started with: nobody else is shown who we are.
    pub fn is_home(&self) -> bool {
        self.visited[0].origin() == self.here().origin()
    }

    /// Whether nobody listens on the way: only there secrets may be sent.
    pub fn is_private(&self) -> bool {
        self.here().scheme() == "https"
    }

    /// Goes where `location`, the value of that header, says.
    pub fn follow(&mut self, location: &str) -> Result<(), Failure> {
        let from = printable_url(self.here().as_str());
        let bad = || Failure::BadRedirect { url: from.clone(), to: printable_url(location) };
        let mut next = self.here().join(location).map_err(|_| bad())?;
        // What stands before the host of a redirect is nobody's password.
        let _ = next.set_username("");
        let _ = next.set_password(None);
        next.set_fragment(None);
        let to = printable_url(next.as_str());
        match (self.here().scheme(), next.scheme()) {
            (_, "https") | ("http", "http") => {}
            ("https", "http") => return Err(Failure::Downgrade { from, to }),
            _ => return Err(bad()),
        }
        if self.visited.contains(&next) {
            return Err(Failure::RedirectLoop { url: to });
        }
        if self.visited.len() > LIMIT {
            let url = printable_url(self.visited[0].as_str());
            return Err(Failure::TooManyRedirects { url, limit: LIMIT });
        }
        self.visited.push(next);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trail(start: &str) -> Trail {
        Trail::new(start.parse().unwrap(), true).unwrap()
    }

    #[test]
    fn starts_are_checked() {
        let start = |url: &str, plain| Trail::new(url.parse().unwrap(), plain).map(|_| ());
        assert_eq!(start("https://a/", false), Ok(()));
        assert_eq!(start("http://a/", true), Ok(()));
        assert_eq!(start("http://a/", false), Err(Failure::PlainHttp { url: "http://a/".into() }));
        assert!(matches!(start("file:///etc/passwd", true), Err(Failure::BadRequest { .. })));
    }

    #[test]
    fn redirects_lead_to_the_web_only_and_never_down() {
        let start = "https://a.example/dir/x";
        let loops = || Failure::RedirectLoop { url: start.into() };
        let nowhere = |to: &str| Failure::BadRedirect { url: start.into(), to: to.into() };
        for (location, lands) in [
            ("/y", Ok("https://a.example/y")),
            ("y?z=1", Ok("https://a.example/dir/y?z=1")),
            ("//b.example/y", Ok("https://b.example/y")),
            ("https://u:p@b.example/y#f", Ok("https://b.example/y")),
            (
                "http://a.example/y",
                Err(Failure::Downgrade { from: start.into(), to: "http://a.example/y".into() }),
            ),
            ("file:///etc/shadow", Err(nowhere("file:///etc/shadow"))),
            ("ftp://b.example/", Err(nowhere("ftp://b.example/"))),
            ("data:text/html,x", Err(nowhere("data:text/html,x"))),
            ("https://", Err(nowhere("https://"))),
            ("", Err(loops())),
            ("#f", Err(loops())),
            ("x", Err(loops())),
        ] {
            let mut trail = trail(start);
            let found = trail.follow(location).map(|()| trail.here().as_str());
            assert_eq!(found, lands, "{location}");
        }
    }

    #[test]
    fn there_is_an_end() {
        let mut trail = trail("https://a.example/0");
        for step in 1..=LIMIT {
            assert_eq!(trail.follow(&format!("/{step}")), Ok(()));
        }
        let ended = trail.follow("/more");
        assert_eq!(ended, Err(Failure::TooManyRedirects { url: "https://a.example/0".into(), limit: LIMIT }));
    }

    #[test]
    fn credentials_stay_with_their_host() {
        for (start, step, may) in [
            ("https://a.example/x", None, true),
            ("https://a.example/x", Some("/y"), true),
            ("https://a.example/x", Some("https://a.example:443/y"), true),
            ("https://a.example/x", Some("https://a.example:8443/y"), false),
            ("https://a.example/x", Some("https://b.a.example/y"), false),
            ("http://a.example/x", None, false),
            ("http://a.example/x", Some("https://a.example/y"), false),
        ] {
            let mut trail = trail(start);
            if let Some(step) = step {
                trail.follow(step).unwrap();
            }
            assert_eq!(trail.is_home() && trail.is_private(), may, "{start} {step:?}");
        }
        // Back home after a stay elsewhere.
        let mut trail = trail("https://a.example/x");
        trail.follow("https://b.example/").unwrap();
        trail.follow("https://a.example/y").unwrap();
        assert!(trail.is_home() && trail.is_private());
    }
}
