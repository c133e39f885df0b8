//! Real web servers: nginx inside of the host, with certificates of an authority that the host trusts.
//!
//! Each server has an address and a name of its own, so that it can have the ports that image names imply.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::case::eventually;
use crate::host::{Host, Running};

/// How many servers there can be in one run.
const MOST: u32 = 250;

/// Where the certificates are in the host.
const TLS: &str = "/etc/test-tls";

/// Makes the authority, has the host trust it, and gives names to the addresses.
const PREPARE: &str = r#"
mkdir -p "$1" && cd "$1"
quiet() { "$@" 2>/dev/null; }
quiet openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 30 -subj "/CN=Test authority" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
cp ca.crt /usr/local/share/ca-certificates/test-authority.crt
update-ca-certificates >/dev/null
leaf() { # NAME SUBJECT-NAMES DAYS
    quiet openssl req -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.csr" -subj "/CN=$1"
    printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth\n' "$2" >"$1.ext"
    quiet openssl x509 -req -in "$1.csr" -CA "${4:-ca}.crt" -CAkey "${4:-ca}.key" -CAcreateserial -days "$3" \
        -extfile "$1.ext" -out "$1.crt"
}
leaf good 'DNS:*.web.test' 10
leaf other 'DNS:other.test' 10
quiet openssl req -x509 -newkey rsa:2048 -nodes -keyout rogue.key -out rogue.crt -days 30 -subj "/CN=Rogue" \
    -addext basicConstraints=critical,CA:TRUE
leaf stranger 'DNS:*.web.test' 10 rogue
i=1; while [ $i -le 250 ]; do echo "127.0.9.$i w$i.web.test"; i=$((i + 1)); done >>/etc/hosts
"#;

/// Which certificate a server shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certificate {
    /// For its name, by the authority that the host trusts.
    Good,
    /// By that authority, for another name.
    Other,
    /// For its name, by an authority that nobody trusts.
    Stranger,
}

impl Certificate {
    fn file(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Other => "other",
            Self::Stranger => "stranger",
        }
    }
}

/// A web server.
#[derive(Debug)]
pub struct Web {
    host: &'static Host,
    number: u32,
    running: Option<Running>,
}

/// Prepares the host for servers with names and certificates. Costs time once only.
pub fn prepare(host: &Host) {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        host.exec("sh").args(["-ec", PREPARE, "sh", TLS]).ok();
    });
}

/// A name that no other server has, and its address.
#[must_use]
pub fn reserve(host: &Host) -> (u32, String, String) {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    prepare(host);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    assert!(number <= MOST, "more than {MOST} servers");
    (number, format!("w{number}.web.test"), format!("127.0.9.{number}"))
}

/// The files of the certificate that is good for every name that [`reserve`] gives, and of its key.
#[must_use]
pub fn certificate() -> (String, String) {
    (format!("{TLS}/good.crt"), format!("{TLS}/good.key"))
}

impl Web {
    /// Starts a server of files.
    #[must_use]
    pub fn start(host: &'static Host) -> Web {
        Web::with(host, "")
    }

    /// Starts a server with more in its `server` block. `DIR` in there is its directory.
    #[must_use]
    pub fn with(host: &'static Host, configuration: &str) -> Web {
        Web::with_certificate(host, Certificate::Good, configuration)
    }

    /// Starts a server that shows this certificate.
    #[must_use]
    pub fn with_certificate(host: &'static Host, certificate: Certificate, configuration: &str) -> Web {
        let (number, _, address) = reserve(host);
        let mut web = Web { host, number, running: None };
        let dir = web.dir();
        let certificate = certificate.file();
        let text = format!(
            r#"daemon off;
master_process on;
worker_processes 1;
user root;
pid {dir}/pid;
error_log {dir}/error.log;
events {{}}
http {{
    log_format asked '$scheme $request_method $request_uri $status range=$http_range cached=$http_if_none_match who=$http_authorization by=$http_user_agent';
    access_log {dir}/access.log asked;
    client_body_temp_path {dir}/tmp; proxy_temp_path {dir}/tmp; fastcgi_temp_path {dir}/tmp;
    uwsgi_temp_path {dir}/tmp; scgi_temp_path {dir}/tmp;
    default_type application/octet-stream;
    types {{ text/html html; application/json json; }}
    server {{
        listen {address}:443 ssl;
        listen {address}:80;
        ssl_certificate {TLS}/{certificate}.crt;
        ssl_certificate_key {TLS}/{certificate}.key;
        root {dir}/www;
        index index.html;
        {}
    }}
}}
"#,
            configuration.replace("DIR", &dir)
        );
        host.write(&format!("{dir}/nginx.conf"), text);
        host.sh(&format!("mkdir -p {dir}/www {dir}/tmp")).success();
        web.resume_serving();
        web
    }

    fn dir(&self) -> String {
        format!("/run/web-{}", self.number)
    }

    /// Its name, as it can stand in an image's name.
    #[must_use]
    pub fn name(&self) -> String {
        format!("w{}.web.test", self.number)
    }

    /// The URL of something on it.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("https://{}/{path}", self.name())
    }

    /// The path in the host of something on it.
    #[must_use]
    pub fn file(&self, path: &str) -> String {
        format!("{}/www/{path}", self.dir())
    }

    /// Puts a file on it.
    pub fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        self.host.write(&self.file(path), content);
    }

    /// What it was asked, a line a request that has ended.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.host.path(format!("{}/access.log", self.dir())));
        log.unwrap_or_default()
            .lines()
            .filter(|line| !line.ends_with("by=probe"))
            .map(str::to_owned)
            .collect()
    }

    /// Forgets what it was asked.
    pub fn forget(&self) {
        self.host.sh(&format!(": >{}/access.log", self.dir())).success();
    }

    /// Stops it at once: whoever is connected loses the connection.
    pub fn stop(&mut self) {
        self.running = None;
    }

    /// Starts it after [`Web::stop`].
    pub fn resume_serving(&mut self) {
        let conf = format!("{}/nginx.conf", self.dir());
        self.running = Some(self.host.exec("nginx").args(["-c", &conf]).spawn());
        let address = format!("http://127.0.9.{}/", self.number);
        eventually("the web server to answer", || {
            let probe = ["--silent", "--output", "/dev/null", "--head", "--user-agent", "probe", &address];
            (self.host.exec("curl").args(probe).output().code == 0).then_some(())
        });
    }

    /// Makes it silent: connections stay and nothing comes.
    pub fn freeze(&self) {
        self.host.sh(&format!("kill -STOP $(cat /proc/$(cat {}/pid)/task/*/children)", self.dir())).success();
    }
}
