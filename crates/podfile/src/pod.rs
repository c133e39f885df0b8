//! What a pod file says, typed.

use std::collections::BTreeMap;
use std::time::Duration;

use appc::{
    AcIdentifier, AcName, CapabilitySet, EnvironmentVariable, ExposedPort, ImageId, Isolator, Mount, NetList,
    Quantity, Volume,
};

use crate::name::PodName;
use crate::syntax::Assignment;

/// A pod file with its drop-ins.
#[derive(Debug, Clone, PartialEq)]
pub struct PodFile {
    /// The name of the pod.
    pub name: PodName,
    /// The path of the file, for messages and `SourcePath=`.
    pub path: String,
    /// `[Pod]`
    pub pod: Pod,
    /// The sections `[App]`, in their order. Empty when a manifest takes their place.
    pub apps: Vec<App>,
    /// What systemd reads: `[Unit]`, `[Service]`, `[Install]`, `[Socket]`.
    pub handed: Handed,
}

/// The sections that are handed through to systemd, assignment by assignment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Handed {
    /// `[Unit]`
    pub unit: Vec<Assignment>,
    /// `[Service]`
    pub service: Vec<Assignment>,
    /// `[Install]`
    pub install: Vec<Assignment>,
    /// `[Socket]`
    pub socket: Vec<Assignment>,
}

/// The wall around a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// A chroot.
    Fly,
    /// A container.
    Nspawn,
    /// A virtual machine.
    Kvm,
}

impl Isolation {
    /// All, with their words.
    pub const ALL: [(&'static str, Isolation); 3] =
        [("fly", Isolation::Fly), ("nspawn", Isolation::Nspawn), ("kvm", Isolation::Kvm)];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Isolation::Fly => "fly",
            Isolation::Nspawn => "nspawn",
            Isolation::Kvm => "kvm",
        }
    }
}

/// When images are looked for outside of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pull {
    /// When the store lacks them.
    New,
    /// Never.
    Never,
    /// At each start.
    Update,
}

impl Pull {
    /// All, with their words.
    pub const ALL: [(&'static str, Pull); 3] =
        [("new", Pull::New), ("never", Pull::Never), ("update", Pull::Update)];
}

/// Where the pod's System V IPC lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ipc {
    /// In the pod.
    Private,
    /// On the host.
    Parent,
}

impl Ipc {
    /// All, with their words.
    pub const ALL: [(&'static str, Ipc); 2] = [("private", Ipc::Private), ("parent", Ipc::Parent)];
}

/// `[Pod]`
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pod {
    /// `Isolation=`
    pub isolation: Option<Isolation>,
    /// `Stage1=`
    pub stage1: Option<String>,
    /// `Service=`, without `.service`
    pub service: Option<String>,
    /// `Manifest=`
    pub manifest: Option<String>,
    /// `Network=`
    pub network: Vec<NetList>,
    /// `PublishPort=`
    pub ports: Vec<ExposedPort>,
    /// `HostName=`
    pub hostname: Option<String>,
    /// `DNS=`
    pub dns: Vec<String>,
    /// `DNSSearch=`
    pub dns_search: Vec<String>,
    /// `DNSOption=`
    pub dns_options: Vec<String>,
    /// `DNSDomain=`
    pub dns_domain: Option<String>,
    /// `AddHost=`
    pub hosts: Vec<String>,
    /// `Volume=`
    pub volumes: Vec<Volume>,
    /// `Mount=`, for all apps
    pub mounts: Vec<Mount>,
    /// `IPC=`
    pub ipc: Option<Ipc>,
    /// `PrivateUsers=`
    pub private_users: Option<bool>,
    /// `Sysctl=`, by name
    pub sysctls: BTreeMap<String, String>,
    /// `Overlay=`
    pub overlay: Option<bool>,
    /// `Pull=`
    pub pull: Option<Pull>,
    /// `InsecureOptions=`
    pub insecure: Vec<String>,
    /// `Environment=`, for all apps
    pub environment: Vec<EnvironmentVariable>,
    /// `EnvironmentFile=`, for all apps
    pub environment_files: Vec<EnvironmentFile>,
    /// `PassEnvironment=`
    pub pass_environment: Option<bool>,
    /// `Annotation=`
    pub annotations: BTreeMap<AcIdentifier, String>,
    /// `Proxy=`
    pub proxy: Option<u16>,
    /// `StopTimeout=`
    pub stop_timeout: Option<Duration>,
    /// `ReadyTimeout=`
    pub ready_timeout: Option<Duration>,
    /// `Watchdog=`
    pub watchdog: Option<Duration>,
    /// `MemoryMax=` and the like: for the unit, as systemd reads them.
    pub limits: BTreeMap<&'static str, String>,
}

/// A file with variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentFile {
    /// Absolute.
    pub path: String,
    /// `-` stood before it: it need not exist.
    pub optional: bool,
}

/// One section `[App]`.
#[derive(Debug, Clone, PartialEq)]
pub struct App {
    /// `[App NAME]` or `Name=`; the only app of a pod is called like the pod.
    pub name: AcName,
    /// `Image=`
    pub image: String,
    /// Everything else.
    pub settings: AppSettings,
}

/// When an app counts as ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// When its program runs.
    Start,
    /// When it says `READY=1`.
    Notify,
}

/// When an app that has ended starts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Never.
    No,
    /// When it failed.
    OnFailure,
    /// Whatever its status.
    Always,
}

impl Restart {
    /// All, with their words.
    pub const ALL: [(&'static str, Restart); 3] =
        [("no", Restart::No), ("on-failure", Restart::OnFailure), ("always", Restart::Always)];
}

/// What becomes of a pod whose app is not healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unhealthy {
    /// It is told only.
    None,
    /// It is killed, so that the unit fails and `Restart=` of the unit decides.
    Kill,
    /// The unit is restarted.
    Restart,
    /// The unit is stopped.
    Stop,
}

impl Unhealthy {
    /// All, with their words.
    pub const ALL: [(&'static str, Unhealthy); 4] = [
        ("none", Unhealthy::None),
        ("kill", Unhealthy::Kill),
        ("restart", Unhealthy::Restart),
        ("stop", Unhealthy::Stop),
    ];
}

/// The keys of `[App]` that may be left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AppSettings {
    /// `Name=`
    pub name: Option<AcName>,
    /// `Image=`
    pub image: Option<String>,
    /// `ImageID=`
    pub image_id: Option<ImageId>,
    /// `Signature=`
    pub signature: Option<String>,
    /// `Exec=`
    pub exec: Vec<String>,
    /// `Command=`
    pub command: Option<Vec<String>>,
    /// `Args=`
    pub args: Vec<String>,
    /// `WorkingDirectory=`
    pub working_directory: Option<String>,
    /// `User=`
    pub user: Option<String>,
    /// `Group=`
    pub group: Option<String>,
    /// `SupplementaryGroups=`
    pub supplementary_groups: Vec<u32>,
    /// `Environment=`
    pub environment: Vec<EnvironmentVariable>,
    /// `EnvironmentFile=`
    pub environment_files: Vec<EnvironmentFile>,
    /// `Mount=`
    pub mounts: Vec<Mount>,
    /// `Bind=`
    pub binds: Vec<Bind>,
    /// `Tmpfs=`
    pub tmpfs: Vec<Tmpfs>,
    /// `ReadOnly=`
    pub read_only: Option<bool>,
    /// `Capabilities=`
    pub capabilities: Option<CapabilitySet>,
    /// `AddCapability=`
    pub add_capabilities: Option<CapabilitySet>,
    /// `DropCapability=`
    pub drop_capabilities: Option<CapabilitySet>,
    /// `Seccomp=`
    pub seccomp: Option<Isolator>,
    /// `NoNewPrivileges=`
    pub no_new_privileges: Option<bool>,
    /// `Memory=`
    pub memory: Option<Quantity>,
    /// `CPU=`
    pub cpu: Option<Quantity>,
    /// `CPUShares=`
    pub cpu_shares: Option<u32>,
    /// `OOMScoreAdjust=`
    pub oom_score_adjust: Option<i32>,
    /// `PidsLimit=`
    pub pids_limit: Option<u64>,
    /// `Ulimit=`, as `--rlimit` takes it
    pub ulimits: Vec<String>,
    /// `Restart=`
    pub restart: Option<Restart>,
    /// `StopSignal=`
    pub stop_signal: Option<Signal>,
    /// `Annotation=`
    pub annotations: BTreeMap<AcIdentifier, String>,
    /// `Label=`
    pub labels: BTreeMap<String, String>,
    /// `UserAnnotation=`
    pub user_annotations: BTreeMap<String, String>,
    /// `StandardInput=`, `StandardOutput=`, `StandardError=`
    pub streams: [Option<String>; 3],
    /// `Ready=`
    pub ready: Option<Ready>,
    /// `ReadyCommand=`
    pub ready_command: Vec<String>,
    /// `ReadyInterval=`
    pub ready_interval: Option<Duration>,
    /// `HealthCommand=`
    pub health_command: Vec<String>,
    /// `HealthInterval=`
    pub health_interval: Option<Duration>,
    /// `HealthTimeout=`
    pub health_timeout: Option<Duration>,
    /// `HealthRetries=`
    pub health_retries: Option<u32>,
    /// `HealthStartPeriod=`
    pub health_start_period: Option<Duration>,
    /// `OnUnhealthy=`
    pub on_unhealthy: Option<Unhealthy>,
    /// `ReloadSignal=`
    pub reload_signal: Option<Signal>,
    /// `ReloadCommand=`
    pub reload_command: Vec<String>,
    /// `Sockets=`; `None` leaves it to the image's ports.
    pub sockets: Option<Vec<String>>,
    /// `Credentials=`; `None` gives all.
    pub credentials: Option<Vec<String>>,
}

/// A signal by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// As `SIGHUP`, or a number.
    pub name: String,
    /// Its number on Linux.
    pub number: i32,
}

/// A file or directory of the host at a path of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Absolute, on the host.
    pub source: String,
    /// Absolute, in the app.
    pub target: String,
    /// The app may only read.
    pub read_only: bool,
    /// With what is mounted below the source; the stage1 decides when absent.
    pub recursive: Option<bool>,
}

/// An empty directory at a path of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tmpfs {
    /// Absolute, in the app.
    pub target: String,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl PodFile {
    /// The name of the unit that runs it.
    pub fn unit(&self) -> String {
        match &self.pod.service {
            Some(service) => format!("{service}.service"),
            None => self.name.unit(),
        }
    }
}
