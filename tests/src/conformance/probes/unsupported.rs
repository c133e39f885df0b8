//! Isolators that no stage1 enforces: what must not happen is silence.

use serde_json::json;

use super::isolator;
use crate::conformance::{Ask, Control, Probe};

const FREE: &str = "v free";

pub(super) fn probes() -> Vec<Probe> {
    let context = json!({"user": "system_u", "role": "system_r", "type": "container_t", "level": "s0"});
    let of_pod = |row, name: &'static str, value| {
        let pod = json!({"isolators": [{"name": name, "value": value}]});
        let ways = vec![("pod manifest", Ask { pod, ..Ask::default() })];
        Probe { row, ways, script: FREE, control: Control::OtherPod, named: name }
    };
    let unknown = isolator("example.com/unknown", &json!(1), &[], FREE);
    vec![
        isolator("resource/network-bandwidth", &json!({"default": true, "limit": "1M"}), &[], FREE),
        isolator("os/linux/selinux-context", &context, &[], FREE),
        isolator("os/linux/apparmor-profile", &json!({"profile": "strict"}), &[], FREE),
        Probe { row: "any other isolator", ..unknown },
        of_pod("any other isolator of the pod", "os/linux/oom-score-adj", json!(100)),
    ]
}
