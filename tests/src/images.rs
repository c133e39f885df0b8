//! The images every test may use.

use std::sync::OnceLock;

use serde_json::json;

use crate::aci::Aci;
use crate::host::{Host, root};

/// Where the busybox image lies in the host.
pub const BUSYBOX_FILE: &str = "/images/busybox.aci";
/// Its name in the shared store.
pub const BUSYBOX_NAME: &str = "example.com/busybox";

/// The image with perl, for apps that make system calls of their own, in the shared store.
pub const PERL_NAME: &str = "example.com/perl";

/// Applets that the images have a name for.
const APPLETS: &[&str] = &[
    "awk", "cat", "chmod", "chown", "cp", "cut", "date", "dd", "df", "dmesg", "echo", "env", "false", "find",
    "grep", "head", "hostname", "httpd", "id", "ip", "kill", "ln", "ls", "mkdir", "mknod", "mount", "mv",
    "nc", "printenv", "ps", "pwd", "readlink", "rm", "sed", "sh", "sleep", "sort", "stat", "sync", "tail",
    "test", "touch", "tr", "true", "umount", "uname", "unshare", "wc", "wget",
];

/// The static busybox of the host.
pub fn binary() -> &'static [u8] {
    static BINARY: OnceLock<Vec<u8>> = OnceLock::new();
    BINARY.get_or_init(|| {
        let path = root::cached().unwrap_or_else(|error| panic!("{error:?}")).join("bin/busybox");
        std::fs::read(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
    })
}

/// An image `name` with a static busybox, a few users, and no app.
#[must_use]
pub fn busybox(name: &str) -> Aci {
    let binary = binary();
    let mut aci = Aci::new(name)
        .dir("rootfs/bin", 0o755)
        .file("rootfs/bin/busybox", 0o755, binary)
        .dir("rootfs/etc", 0o755)
        .file(
            "rootfs/etc/passwd",
            0o644,
            "root:x:0:0:root:/root:/bin/sh\nalice:x:1001:1002:Alice:/home/alice:/bin/sh\n",
        )
        .file("rootfs/etc/group", 0o644, "root:x:0:\nstaff:x:1002:\nextra:x:1003:alice\n")
        .dir("rootfs/home", 0o755)
        .entry(crate::aci::Entry {
            mode: 0o755,
            uid: 1001,
            gid: 1002,
            ..crate::aci::Entry::new(tar_core::EntryType::Directory, "rootfs/home/alice")
        })
        .dir("rootfs/root", 0o700)
        .dir("rootfs/tmp", 0o1777);
    for applet in APPLETS {
        aci = aci.symlink(&format!("rootfs/bin/{applet}"), "busybox");
    }
    aci
}

/// The busybox and its names as a layer of an OCI image.
#[must_use]
pub fn layer() -> Aci {
    let mut changes = Aci::changes()
        .dir("bin", 0o755)
        .file("bin/busybox", 0o755, binary())
        .dir("etc", 0o755)
        .file("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\nalice:x:1001:1002:Alice:/:/bin/sh\n")
        .file("etc/group", 0o644, "root:x:0:\nstaff:x:1002:\n")
        .dir("tmp", 0o1777);
    for applet in APPLETS {
        changes = changes.symlink(&format!("bin/{applet}"), "busybox");
    }
    changes
}

/// The busybox image with Debian's perl-base in it, and no app.
#[must_use]
pub fn perl(name: &str) -> Aci {
    let root = root::cached().unwrap_or_else(|error| panic!("{error:?}"));
    let read =
        |path: &str| std::fs::read(root.join(path)).unwrap_or_else(|error| panic!("read {path}: {error}"));
    let libraries = "usr/lib/x86_64-linux-gnu";
    let mut aci = busybox(name)
        .dir("rootfs/usr", 0o755)
        .dir("rootfs/usr/bin", 0o755)
        .dir("rootfs/usr/lib", 0o755)
        .dir("rootfs/usr/lib/x86_64-linux-gnu", 0o755)
        .symlink("rootfs/lib", "usr/lib")
        .dir("rootfs/lib64", 0o755)
        .file("rootfs/lib64/ld-linux-x86-64.so.2", 0o755, read(&format!("{libraries}/ld-linux-x86-64.so.2")))
        .file("rootfs/usr/bin/perl", 0o755, read("usr/bin/perl"));
    for library in ["libc.so.6", "libcrypt.so.1", "libm.so.6"] {
        aci = aci.file(
            &format!("rootfs/{libraries}/{library}"),
            0o644,
            read(&format!("{libraries}/{library}")),
        );
    }
    let modules = format!("{libraries}/perl-base");
    aci.dir(&format!("rootfs/{modules}"), 0o755)
        .tree(&root.join(&modules), &format!("rootfs/{modules}"))
        .unwrap_or_else(|error| panic!("{error:?}"))
}

/// The images by the names of their files.
#[must_use]
pub fn all() -> [(&'static str, Vec<u8>); 2] {
    let run_true = |image: Aci| image.app(&["/bin/true"], &json!({})).build();
    [("busybox", run_true(busybox(BUSYBOX_NAME))), ("perl", run_true(perl(PERL_NAME)))]
}

/// Puts the images into a host and stores them in its shared store.
pub fn install(host: &Host) {
    for (name, archive) in all() {
        host.write(&format!("/images/{name}.aci"), archive);
    }
    host.exec("/usr/bin/rkt")
        .args(["--insecure-options=image", "fetch", BUSYBOX_FILE, "/images/perl.aci"])
        .ok();
}
