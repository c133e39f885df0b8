//! Real registries: Debian's `docker-registry`, filled by skopeo with what buildah built.

use crate::case::eventually;
use crate::host::{Host, Running};
use crate::web::{self, Web};

/// Who may enter a registry with [`Access::Basic`] or [`Access::Token`].
pub const USER: &str = "user";
/// The password.
pub const PASSWORD: &str = "secret";

/// How a registry lets people in.
#[derive(Debug)]
pub enum Access {
    /// With user and password.
    Basic,
    /// With a token, which a token server gives for user and password.
    Token,
    /// Anybody, over plain http.
    Plain,
}

/// A registry.
#[derive(Debug)]
pub struct Registry {
    host: &'static Host,
    dir: String,
    authority: String,
    plain: bool,
    // The registry, and its token server if it has one.
    _running: Running,
    _tokens: Option<Web>,
}

/// Makes a token for all that the tests push, which a registry takes because of who signed it.
const TOKEN: &str = r#"
b64() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
x5c=$(openssl x509 -in "$1" -outform DER | openssl base64 -A)
access='{"type":"repository","name":"team/app","actions":["pull","push"]}'
head=$(printf '{"typ":"JWT","alg":"RS256","x5c":["%s"]}' "$x5c" | b64)
body=$(printf '{"iss":"tests","sub":"user","aud":"registry","exp":4102444800,"nbf":0,"iat":0,"jti":"1","access":[%s]}' "$access" | b64)
printf '{"token":"%s.%s.%s"}' "$head" "$body" "$(printf '%s.%s' "$head" "$body" | openssl dgst -sha256 -sign "$2" -binary | b64)"
"#;

impl Registry {
    /// Starts an empty one.
    #[must_use]
    pub fn start(host: &'static Host, access: &Access) -> Registry {
        let (number, name, address) = web::reserve(host);
        let dir = format!("/run/registry-{number}");
        let (certificate, key) = web::certificate();
        let plain = matches!(access, Access::Plain);
        let mut tokens = None;
        let auth = match access {
            Access::Plain => String::new(),
            Access::Basic => {
                // The one hash that it takes, of the one tool at hand that makes it.
                let hash =
                    format!("perl -e 'print crypt(\"{PASSWORD}\", \"\\$2b\\$05\\$abcdefghijklmnopqrstuu\")'");
                host.sh(&format!("mkdir -p {dir}; echo \"{USER}:$({hash})\" >{dir}/users")).success();
                format!("auth: {{htpasswd: {{realm: tests, path: {dir}/users}}}}\n")
            }
            Access::Token => {
                let web = Web::with(
                    host,
                    "location = /token { auth_basic tokens; auth_basic_user_file DIR/users; try_files /token.json =404; }",
                );
                let hash = format!("$(openssl passwd -apr1 {PASSWORD})");
                host.sh(&format!("echo \"{USER}:{hash}\" >{}", web.file("../users"))).success();
                let token = host.exec("sh").args(["-ec", TOKEN, "sh", &certificate, &key]).ok().stdout;
                web.put("token.json", token);
                let realm = web.url("token");
                tokens = Some(web);
                let bundle = certificate.replace("good.crt", "ca.crt");
                format!(
                    "auth: {{token: {{realm: '{realm}', service: registry, issuer: tests, rootcertbundle: {bundle}}}}}\n"
                )
            }
        };
        let (port, tls) = if plain {
            (5000, String::new())
        } else {
            (443, format!(", tls: {{certificate: {certificate}, key: {key}}}"))
        };
        host.write(
            &format!("{dir}/config.yml"),
            format!(
                "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {dir}/data}}}}\n\
                 http: {{addr: '{address}:{port}'{tls}}}\n{auth}"
            ),
        );
        let running = host.exec("docker-registry").args(["serve", &format!("{dir}/config.yml")]).spawn();
        let (scheme, authority) = if plain { ("http", format!("{name}:{port}")) } else { ("https", name) };
        let url = format!("{scheme}://{authority}/v2/");
        eventually("the registry to answer", || {
            (host.exec("curl").args(["--silent", "--output", "/dev/null", &url]).output().code == 0)
                .then_some(())
        });
        Registry { host, dir, authority, plain, _running: running, _tokens: tokens }
    }

    /// Host, with the port where one must be named.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The name of an image in it, without a scheme.
    #[must_use]
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.authority)
    }

    /// Pushes `source` (as skopeo names it) to `name` with these options of `skopeo copy`.
    #[track_caller]
    pub fn push(&self, source: &str, name: &str, options: &[&str]) {
        let target = format!("docker://{}", self.image(name));
        let mut words = vec!["--insecure-policy".to_owned(), "copy".to_owned(), "--quiet".to_owned()];
        if self.plain {
            words.push("--dest-tls-verify=false".to_owned());
        } else {
            words.push(format!("--dest-creds={USER}:{PASSWORD}"));
        }
        words.extend(options.iter().map(|option| (*option).to_owned()));
        words.extend([source.to_owned(), target]);
        self.host.exec("skopeo").args(words).ok();
    }

    /// The manifest that `name` (`REPOSITORY`, `TAG`) stands for, byte for byte.
    #[track_caller]
    #[must_use]
    pub fn manifest(&self, repository: &str, tag: &str) -> String {
        let accept = "Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
        let url = self.url(&format!("{repository}/manifests/{tag}"));
        self.curl(&["--header", accept, &url]).stdout
    }

    /// Puts a manifest or index there as it is.
    #[track_caller]
    pub fn put_manifest(&self, repository: &str, tag: &str, media_type: &str, text: &str) {
        let url = self.url(&format!("{repository}/manifests/{tag}"));
        let kind = format!("Content-Type: {media_type}");
        self.curl(&["--request", "PUT", "--header", &kind, "--data-binary", text, &url]);
    }

    fn url(&self, path: &str) -> String {
        let scheme = if self.plain { "http" } else { "https" };
        format!("{scheme}://{}/v2/{path}", self.authority)
    }

    #[track_caller]
    fn curl(&self, words: &[&str]) -> crate::host::Output {
        let user = format!("{USER}:{PASSWORD}");
        self.host
            .exec("curl")
            .args(["--silent", "--show-error", "--fail", "--user", &user])
            .args(words.iter().copied())
            .ok()
    }

    /// The file in the host that holds the blob `sha256:…`.
    #[must_use]
    pub fn blob(&self, digest: &str) -> String {
        let hex = digest.trim_start_matches("sha256:");
        format!("{}/data/docker/registry/v2/blobs/sha256/{}/{hex}/data", self.dir, &hex[..2])
    }
}
