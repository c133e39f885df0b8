//! appc discovery: what a page says of where an image is.
//!
//! ```html
//! <meta name="ac-discovery" content="example.com/team https://files.example.com/{name}-{version}-{os}-{arch}.{ext}">
//! <meta name="ac-discovery-pubkeys" content="example.com https://example.com/keys.gpg">
//! ```
//!
//! The first word is a plain prefix of the image's name, the second a template or a URL. Tags count wherever in the document they
//! stand, but not in comments, scripts and the like. Any label is a variable of the templates; one with a variable that
//! has no value is left out. This module only reads and computes; `discover` asks.

use std::collections::BTreeMap;

use html5gum::emitters::default::DefaultEmitter;
use html5gum::{Token, Tokenizer};
use transport::message::Endpoint;

/// The most places that are taken from one page: more is no help.
const MOST: usize = 32;
/// The longest URL that is taken.
const LONGEST_URL: usize = 2048;

/// What the tags of a page say, in its order: prefix and template or URL.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// `ac-discovery`
    pub templates: Vec<(String, String)>,
    /// `ac-discovery-pubkeys`
    pub public_keys: Vec<(String, String)>,
}

/// Reads the tags of a page, valid HTML or not.
pub fn tags(page: &[u8]) -> Tags {
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(true);
    let mut tags = Tags::default();
    for token in Tokenizer::new_with_emitter(page, emitter) {
        let Ok(Token::StartTag(tag)) = token else { continue };
        if tag.name.as_slice() != b"meta" {
            continue;
        }
        let attribute = |name: &[u8]| {
            let value = tag.attributes.get(name)?;
            std::str::from_utf8(value).ok()
        };
        let (Some(name), Some(content)) = (attribute(b"name"), attribute(b"content")) else { continue };
        let list = match name {
            "ac-discovery" => &mut tags.templates,
            "ac-discovery-pubkeys" => &mut tags.public_keys,
            _ => continue,
        };
        let words: Vec<&str> = content.split_ascii_whitespace().collect();
        if let [prefix, place] = words[..]
            && list.len() < MOST
            && place.len() <= LONGEST_URL
        {
            list.push((prefix.to_owned(), place.to_owned()));
        }
    }
    tags
}

/// The variables of templates.
#[derive(Debug)]
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    /// Those of the image `name` with these labels; without a version it is `latest`.
    pub fn new(name: &str, labels: &[(String, String)]) -> Self {
        let mut variables: BTreeMap<_, _> = labels.iter().cloned().collect();
        variables.entry("version".to_owned()).or_insert_with(|| "latest".to_owned());
        variables.insert("name".to_owned(), name.to_owned());
        Self(variables)
    }

    /// `template` with each `{variable}` replaced, `{ext}` by `ext`. None when one has no value.
    fn render(&self, template: &str, ext: &str) -> Option<String> {
        let mut url = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            url.push_str(before);
            let (variable, after) = after.split_once('}')?;
            match variable {
                "ext" => url.push_str(ext),
                _ => url.push_str(&escaped(self.0.get(variable)?)),
            }
            rest = after;
        }
        url.push_str(rest);
        (url.len() <= LONGEST_URL).then_some(url)
    }

    /// The image and its signature by `template`.
    fn endpoint(&self, template: &str) -> Option<Endpoint> {
        let endpoint =
            Endpoint { image: self.render(template, "aci")?, signature: self.render(template, "aci.asc")? };
        is_web(&endpoint.image).then_some(endpoint)
    }
}

/// Where `name` is, by the templates for it, in their order.
pub fn endpoints(tags: &Tags, name: &str, variables: &Variables) -> Vec<Endpoint> {
    let mut found = Vec::new();
    for (prefix, template) in &tags.templates {
        if !name.starts_with(prefix.as_str()) {
            continue;
        }
        if let Some(endpoint) = variables.endpoint(template)
            && !found.contains(&endpoint)
        {
            found.push(endpoint);
        }
    }
    found
}

/// Where the keys for `name` are, in the page's order.
pub fn public_keys(tags: &Tags, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (prefix, url) in &tags.public_keys {
        if name.starts_with(prefix.as_str()) && is_web(url) && !found.contains(url) {
            found.push(url.clone());
        }
    }
    found
}

/// Where `name` is by simple discovery: beside its name. None without a value for os, arch or version.
pub fn simple(variables: &Variables) -> Option<Endpoint> {
    variables.endpoint("https://{name}-{version}-{os}-{arch}.{ext}")
}

/// The pages that may say where `name` is, without scheme: itself, then each parent.
pub fn pages(name: &str) -> Vec<&str> {
    let mut pages = vec![name];
    let mut page = name;
    while let Some((parent, _)) = page.rsplit_once('/') {
        page = parent;
        pages.push(page);
    }
    pages
}

fn is_web(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

/// `value` with everything percent-encoded that would end the path, or is not allowed in a URL.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        let is_plain = byte.is_ascii_graphic() && !b"\"#%<>?\\^`{|}".contains(&byte);
        if is_plain {
            text.push(char::from(byte));
        } else {
            use std::fmt::Write;
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [(&str, &str); 3] = [("version", "1.0.0"), ("os", "linux"), ("arch", "amd64")];

    fn variables(name: &str, labels: &[(&str, &str)]) -> Variables {
        let labels: Vec<_> = labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        Variables::new(name, &labels)
    }

    fn meta(content: &str) -> String {
        format!("<meta name=\"ac-discovery\" content=\"{content}\">")
    }

    #[test]
    fn tags_of_all_kinds_of_pages() {
        let found = |list: &[(&str, &str)]| {
            list.iter().map(|(prefix, place)| ((*prefix).to_owned(), (*place).to_owned())).collect::<Vec<_>>()
        };
        let cases: &[(&str, &[(&str, &str)])] = &[
            (
                "<html><head><meta name=ac-discovery content='a https://b/{name}'></head></html>",
                &[("a", "https://b/{name}")],
            ),
            ("<META NAME=\"ac-discovery\" CONTENT=\"\n  a\n  https://b/c  \">", &[("a", "https://b/c")]),
            (
                "<meta content='a b' name='ac-discovery'/><meta content='c d' name='ac-discovery'/>",
                &[("a", "b"), ("c", "d")],
            ),
            ("<body><p><meta name=ac-discovery content='late https://b'>", &[("late", "https://b")]),
            ("<meta name=ac-discovery content='a https://b?x=1&amp;y=2'>", &[("a", "https://b?x=1&y=2")]),
            ("<meta name=ac-discovery content='one'><meta name=ac-discovery content='a b c'>", &[]),
            ("<meta name=ac-discovery><meta content='a b'><meta name=keywords content='a b'>", &[]),
            ("<!-- <meta name=ac-discovery content='a b'> -->", &[]),
            ("<script>'<meta name=ac-discovery content=\"a b\">'</script>", &[]),
            ("<style><meta name=ac-discovery content='a b'></style>", &[]),
            ("<textarea><meta name=ac-discovery content='a b'></textarea>", &[]),
            ("<title><meta name=ac-discovery content='a b'></title>", &[]),
            ("<link name=ac-discovery content='a b'>", &[]),
            ("<meta name=ac-discovery content='a b", &[]),
            ("{\"json\": true}", &[]),
            ("", &[]),
        ];
        for (page, expected) in cases {
            assert_eq!(tags(page.as_bytes()).templates, found(expected), "{page}");
        }
        assert_eq!(tags(b"<meta name=ac-discovery content='a \xff'>"), Tags::default());
        let both =
            "<meta name=ac-discovery-pubkeys content='a https://k'><meta name=ac-discovery content='a b'>";
        assert_eq!(tags(both.as_bytes()).public_keys, found(&[("a", "https://k")]));
        let many = meta("a https://b").repeat(MOST + 8);
        assert_eq!(tags(many.as_bytes()).templates.len(), MOST);
        let long = meta(&format!("a https://{}", "b".repeat(LONGEST_URL)));
        assert_eq!(tags(long.as_bytes()), Tags::default());
    }

    #[test]
    fn templates_become_endpoints() {
        let name = "example.com/team/app";
        for (content, labels, image) in [
            (
                "example.com https://s.example/{name}-{version}-{os}-{arch}.{ext}",
                &LABELS[..],
                Some("https://s.example/example.com/team/app-1.0.0-linux-amd64.aci"),
            ),
            ("example.com/te https://s/{version}", &LABELS, Some("https://s/1.0.0")),
            ("example.com/other https://s/{version}", &LABELS, None),
            ("example.com https://s/{version}.{ext}", &[], Some("https://s/latest.aci")),
            ("example.com https://s/{arch}", &[], None),
            (
                "example.com https://s/{channel}/{version}",
                &[("channel", "beta"), ("version", "2")],
                Some("https://s/beta/2"),
            ),
            ("example.com https://s/{version", &LABELS, None),
            ("example.com https://s/{}", &LABELS, None),
            (
                "example.com https://s/{version}",
                &[("version", "1.0+git 5?")],
                Some("https://s/1.0+git%205%3F"),
            ),
            (
                "example.com https://s/{version}",
                &[("version", "{os}\u{e9}")],
                Some("https://s/%7Bos%7D%C3%A9"),
            ),
            ("example.com http://s/x", &[], Some("http://s/x")),
            ("example.com file:///etc/shadow", &[], None),
            ("example.com //s/x", &[], None),
        ] {
            let found = endpoints(&tags(meta(content).as_bytes()), name, &variables(name, labels));
            assert_eq!(found.first().map(|endpoint| endpoint.image.as_str()), image, "{content}");
        }
    }

    #[test]
    fn all_usable_templates_in_their_order() {
        let name = "example.com/app";
        let page = [
            meta("example.com https://one/{version}.{ext}"),
            meta("example.com https://skipped/{nolabel}"),
            meta("example.com https://two/{version}.{ext}"),
            meta("example.com https://one/{version}.{ext}"),
            meta("other https://three/"),
        ]
        .concat();
        let found = endpoints(&tags(page.as_bytes()), name, &variables(name, &LABELS));
        let shown: Vec<_> =
            found.iter().map(|place| (place.image.as_str(), place.signature.as_str())).collect();
        assert_eq!(
            shown,
            [
                ("https://one/1.0.0.aci", "https://one/1.0.0.aci.asc"),
                ("https://two/1.0.0.aci", "https://two/1.0.0.aci.asc"),
            ]
        );
        let simple = simple(&variables(name, &LABELS)).unwrap();
        assert_eq!(simple.image, "https://example.com/app-1.0.0-linux-amd64.aci");
        assert_eq!(simple.signature, "https://example.com/app-1.0.0-linux-amd64.aci.asc");
        assert_eq!(super::simple(&variables(name, &[("os", "linux")])), None);
    }

    #[test]
    fn pages_up_to_the_host() {
        assert_eq!(pages("example.com/a/b"), ["example.com/a/b", "example.com/a", "example.com"]);
        assert_eq!(pages("example.com"), ["example.com"]);
    }
}
