//! What host and guest tell each other beside the streams.

use serde::{Deserialize, Serialize};

use crate::control::WindowSize;
use crate::pod::PodSpec;

/// The version of all of this. A stage1 brings both sides, so they differ only when somebody mixes initramfs and stage1.
pub const PROTOCOL: u32 = 4;

/// The host to the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Start the supervisor. The answer to [`Report::Hello`].
    Start(Box<Start>),
    /// Say that you are there.
    Ping,
}

/// The guest to the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// The link is up.
    Hello {
        /// [`PROTOCOL`].
        protocol: u32,
    },
    /// The supervisor runs.
    Started,
    /// To [`Order::Ping`].
    Pong,
    /// The supervisor has ended, and everything it wrote is on the host. The guest's last word.
    Exited {
        /// Its exit status, as a shell says it: that of the pod.
        status: u8,
    },
    /// The supervisor cannot be started. The guest's last word, too.
    Failed {
        /// Why, as a sentence.
        message: String,
    },
}

/// What the guest needs to start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Start {
    /// The time of day, in seconds since 1970 and nanoseconds.
    pub time: (i64, u32),
    /// Randomness.
    pub seed: Vec<u8>,
    /// The pod, for the supervisor.
    pub pod: PodSpec,
    /// Files of the supervisor's own root, which become parts of the apps' views.
    pub files: Vec<OwnFile>,
    /// The stream of its [`crate::status::Record`]s.
    pub records: u32,
    /// The stream of its entries in the journal, where there is one.
    pub journal: Option<u32>,
    /// Standard input, output and error of the supervisor.
    pub stdio: [Option<u32>; 3],
    /// A terminal instead of these.
    pub terminal: Option<Terminal>,
    /// Where the supervisor's sd_notify(3) messages go.
    pub notify: Option<u32>,
    /// `/sys` can be written to.
    pub writable_sys: bool,
    /// Apps and paths in their roots of what has been mounted on the host: they become mounts of the guest.
    pub mounts: Vec<(String, String)>,
    /// The apps are in an image on a disk, with these volumes in it, and not shared by the host.
    pub image: Option<Vec<Volume>>,
    /// Network interfaces.
    pub interfaces: Vec<Interface>,
    /// Listening sockets that the supervisor inherits, in the order of their numbers.
    pub listeners: Vec<Listener>,
}

/// A file of the supervisor's root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct OwnFile {
    /// Where it is.
    pub path: String,
    /// What is in it.
    pub content: String,
    /// No app may write to it.
    pub read_only: bool,
}

/// A volume whose files are in the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Volume {
    /// The app.
    pub app: String,
    /// Where it is in the root of the app.
    pub path: String,
    /// The app may only read it.
    pub read_only: bool,
    /// It is the same as this one of those before.
    pub same_as: Option<usize>,
}

/// A listening socket of the host, whose connections are passed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Listener {
    /// The name by which the supervisor knows it.
    pub name: String,
    /// Where it listens, when that is a port: the guest's listens on the same one of its loopback interface. A unix socket
    /// otherwise.
    pub port: Option<std::net::SocketAddr>,
}

/// A terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Terminal {
    /// The stream of its bytes, both ways.
    pub stream: u32,
    /// Its size.
    pub size: WindowSize,
}

/// A network interface of the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Interface {
    /// Its hardware address, by which it is found. Those that share one are found in their order.
    pub mac: [u8; 6],
    /// Its name.
    pub name: String,
    /// Its MTU.
    pub mtu: u32,
    /// It asks for the hardware addresses of neighbours.
    pub finds_neighbours: bool,
    /// Addresses and lengths of their prefixes. With one of IPv6's link-local ones among them it makes none by itself.
    pub addresses: Vec<(std::net::IpAddr, u8)>,
    /// Routes over it.
    pub routes: Vec<Route>,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Route {
    /// Where to.
    pub destination: (std::net::IpAddr, u8),
    /// By which way; none when it is on the link.
    pub gateway: Option<std::net::IpAddr>,
}
