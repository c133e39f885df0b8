//! The pod directory: states, locks and the files that stage0 and stage1 exchange.
//!
//! # Layout
//!
//! ```text
//! $dir/pods/
//! ├── embryo/          just made, not locked yet
//! ├── prepare/         being filled (locked), or given up (not locked)
//! ├── prepared/        ready for `rkt run-prepared`
//! ├── run/             running (locked), or exited (not locked)
//! ├── exited-garbage/  exited, marked by `rkt gc`
//! └── garbage/         never ran, marked by `rkt gc`
//!     └── UUID/
//!         ├── pod                              pod manifest                     stage0, last to be deleted
//!         ├── pod.lck                          lock for changes of the manifest stage0
//!         ├── pod-created                      empty; mtime = time of creation  stage0
//!         ├── appsinfo/APP/manifest            image manifest of the app        stage0
//!         ├── appsinfo/APP/treeStoreID         id of its rendered tree          stage0
//!         ├── stage1/manifest                  image manifest of the stage1     stage0
//!         ├── stage1/rootfs/                   its root: a mount point, or a copy
//!         ├── stage1TreeStoreID                id of its rendered tree          stage0
//!         ├── overlay-prepared                 marker: roots are overlays       stage0
//!         ├── private-users-prepared           SHIFT:COUNT                      stage0
//!         ├── overlay/TREE/{upper,work}/[APP]  what the pod writes              stage0
//!         ├── subcgroup                        cgroup, relative to the root     stage1, before the pid
//!         ├── servicecgroup                    or: link to that of the service that it shares, as [`members`] says
//!         ├── pid | ppid                       process 1, or its parent; mtime = time of start
//!         ├── run.lck                          lock of a fly pod that runs      stage1
//!         ├── output                           fly: "inherited", or the start of its service
//!         ├── flavor                           symlink to the flavour's name    stage1
//!         ├── runtime-config, net-info.json, netns, pgid, control.sock          stage1
//!         └── sharedVolumes/NAME/              storage of `empty` volumes       stage1
//! ```
//!
//! Exit codes stand in the stage1 root, `rkt/status/APP`: seen from outside that is
//! `overlay/TREE/upper/rkt/status/APP`, or `stage1/rootfs/rkt/status/APP` when the root is a copy.
//!
//! # States
//!
//! The directory that a pod stands in, and whether somebody holds its lock, *is* its state; nothing else is
//! written down anywhere. Each arrow is one `rename(2)`. The lock is a `flock(2)` on the pod directory: it
//! follows the inode through renames and the descriptor through `exec`, and the kernel drops it when the
//! last process of the pod that has it is gone.
//!
//! ```text
//!   embryo ──► preparing ──────────────► running ──(lock falls)──► exited ──► exited garbage ──► (gone)
//!                 │   │                     ▲                                 locked: exited deleting
//!                 │   └────► prepared ──────┘
//!    (lock falls) ▼              │ (expired)
//!         aborted prepare ──► garbage ──► (gone)
//!                             locked: deleting
//! ```
//!
//! A pod counts as running while its directory is locked, **or** its `run.lck` is, **or** its recorded cgroup
//! has a process, **or** a process of its own is in the service's cgroup. fly needs the second: its app inherits the lock, and a handle on a host directory would be a
//! way out of the chroot, so the lock moves to a regular file. The third keeps `gc` away from a pod whose
//! supervisor was killed before its apps.
//!
//! Observers ask with a *shared* lock that they never wait for and give back at once. They look into the
//! directories in the order of the arrows, so a pod that moves while they look is met at least once.

#![forbid(unsafe_code)]

mod cgroup;
mod current;
mod error;
mod files;
mod lock;
pub mod members;
mod mounts;
mod pods;
mod process;
mod removal;
mod state;
mod uuid;

pub use current::Current;
pub use error::{Error, Result, Teardown};
pub use files::{AppExit, NetInfo, OverlayDirs, PidFile, PodDir};
pub use pods::{Glance, Held, Pod, Pods, Survey};
pub use process::ProcessOne;
pub use state::{Place, State};
pub use uuid::PodUuid;

/// The environment variable in which stage0 tells stage1 the number of the descriptor that holds the lock.
pub const LOCK_FD_VARIABLE: &str = "RKT_LOCK_FD";
