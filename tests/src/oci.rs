//! OCI image layouts: by hand, for what no tool writes, and by the real buildah and skopeo.

use std::fmt::Write;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::aci::Aci;
use crate::host::Host;

/// An image layout that is being written by hand.
#[derive(Debug, Clone)]
pub struct Layout {
    config: Value,
    layers: Vec<(Vec<u8>, Value)>,
    manifest: Value,
    index: Option<Value>,
}

/// `sha256:` and the digest of `bytes`.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Layout {
    /// An image for this machine with this `config` object and no layer.
    #[must_use]
    pub fn new(config: &Value) -> Layout {
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": config,
            "rootfs": {"type": "layers", "diff_ids": []},
        });
        Layout { config, layers: Vec::new(), manifest: json!({"schemaVersion": 2}), index: None }
    }

    /// Adds a layer on top, of [`Aci::changes`].
    #[must_use]
    pub fn layer(self, changes: &Aci) -> Layout {
        let tar = changes.layer();
        self.blob(&tar, &tar, "application/vnd.oci.image.layer.v1.tar")
    }

    /// Adds a layer whose blob is `blob` and whose uncompressed archive is `tar`.
    #[must_use]
    pub fn blob(mut self, blob: &[u8], tar: &[u8], media_type: &str) -> Layout {
        if let Some(ids) = self.config["rootfs"]["diff_ids"].as_array_mut() {
            ids.push(json!(digest(tar)));
        }
        let descriptor = json!({"mediaType": media_type, "digest": digest(blob), "size": blob.len()});
        self.layers.push((blob.to_vec(), descriptor));
        self
    }

    /// Sets a field of the configuration.
    #[must_use]
    pub fn config(mut self, field: &str, value: Value) -> Layout {
        self.config[field] = value;
        self
    }

    /// Sets a field of the descriptor of the last layer.
    #[must_use]
    pub fn descriptor(mut self, field: &str, value: Value) -> Layout {
        if let Some((_, descriptor)) = self.layers.last_mut() {
            descriptor[field] = value;
        }
        self
    }

    /// Sets a field of the manifest.
    #[must_use]
    pub fn manifest(mut self, field: &str, value: Value) -> Layout {
        self.manifest[field] = value;
        self
    }

    /// Sets a field of the entry in the index.
    #[must_use]
    pub fn entry(mut self, field: &str, value: Value) -> Layout {
        self.index.get_or_insert_with(|| json!({}))[field] = value;
        self
    }

    /// Writes the layout into the directory `dir` of the host.
    pub fn write(&self, host: &Host, dir: &str) {
        self.write_with(host, dir, |text| text);
    }

    /// Like [`Layout::write`]; `change` may spoil the text of the manifest.
    pub fn write_with(&self, host: &Host, dir: &str, change: impl Fn(String) -> String) {
        let put = |bytes: &[u8]| {
            let digest = digest(bytes);
            host.write(&format!("{dir}/blobs/{}", digest.replacen(':', "/", 1)), bytes);
            digest
        };
        for (blob, _) in &self.layers {
            put(blob);
        }
        let config = self.config.to_string();
        let mut manifest = self.manifest.clone();
        let mut defaults = json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": put(config.as_bytes()), "size": config.len()},
            "layers": self.layers.iter().map(|(_, descriptor)| descriptor.clone()).collect::<Vec<_>>(),
        });
        merge(&mut defaults, &mut manifest);
        let manifest = change(defaults.to_string());
        let mut entry = json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": put(manifest.as_bytes()),
            "size": manifest.len(),
        });
        merge(&mut entry, &mut self.index.clone().unwrap_or_else(|| json!({})));
        host.write(&format!("{dir}/oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#);
        host.write(
            &format!("{dir}/index.json"),
            json!({"schemaVersion": 2, "manifests": [entry]}).to_string(),
        );
    }
}

fn merge(into: &mut Value, from: &mut Value) {
    if let (Some(into), Some(from)) = (into.as_object_mut(), from.as_object_mut()) {
        into.append(from);
    }
}

/// Where [`built`] puts its images.
pub const BUILT: &str = "/images/built";

/// Images that buildah and skopeo made in the host, once for all tests: `layout` (gzip, tag `latest`), `zstd`, `oci.tar`,
/// `docker.tar`. The lower layer is a busybox, the upper one changes it.
#[track_caller]
pub fn built(host: &Host) {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        host.exec("sh").args(["-ec", SCRIPT]).limit(Duration::from_secs(180)).ok();
    });
}

const SCRIPT: &str = r#"
set -e
top=/var/tmp/buildah; out=/images/built
mkdir -p $top/root/bin $top/root/etc $top/root/opt/old $top/root/private $out
cp /bin/busybox $top/root/bin
for name in sh cat ls stat echo id sleep kill env test; do ln -s busybox $top/root/bin/$name; done
printf 'root:x:0:0:root:/root:/bin/sh\nweb:x:1005:1006::/:/bin/sh\n' >$top/root/etc/passwd
printf 'root:x:0:\nweb:x:1006:\n' >$top/root/etc/group
echo gone >$top/root/etc/gone; echo kept >$top/root/etc/kept; echo old >$top/root/opt/old/file
echo 'echo "$GREETING $1 from $(id -un) in $(pwd)"' >$top/root/hello
chmod 711 $top/root/private; chown 1005:1006 $top/root/private
mkdir -p $top/root/var/data; echo seed >$top/root/var/data/seed; chown -R 1005:1006 $top/root/var/data
b() { buildah --storage-driver vfs --root $top/storage --runroot $top/runroot "$@"; }
export BUILDAH_ISOLATION=chroot
base=$(b from scratch)
cp -a $top/root/. $(b mount $base)
b commit --quiet $base base >/dev/null
upper=$(b from --pull=never localhost/base)
root=$(b mount $upper)
rm $root/etc/gone; rm -r $root/opt/old; mkdir $root/opt/old; echo new >$root/opt/old/other
echo inside >$root/private/file
echo copied >$top/copied; b copy --quiet $upper $top/copied /etc/copied >/dev/null
b config --entrypoint '["/bin/sh"]' --cmd '/hello there' --env GREETING=hello --user web \
  --workingdir /opt/old --port 8080/tcp --volume /var/data --label purpose=test --stop-signal SIGINT $upper
b commit --quiet $upper oci:$out/layout:latest >/dev/null
skopeo copy --quiet oci:$out/layout:latest oci-archive:$out/oci.tar:latest
skopeo copy --quiet oci:$out/layout:latest docker-archive:$out/docker.tar:example.com/team/app:1.5
skopeo copy --quiet --dest-compress --dest-compress-format zstd --dest-force-compress-format oci:$out/layout:latest oci:$out/zstd:latest 2>/dev/null ||
  skopeo copy --quiet --dest-compress --dest-compress-format zstd docker-archive:$out/docker.tar oci:$out/zstd:latest
rm -rf $top
"#;
