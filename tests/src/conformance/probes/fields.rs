//! Fields of an app that are no isolators.

use serde_json::json;

use super::{annotation, field};
use crate::conformance::{Ask, Control, Probe};

/// A file that only a member of the group 1003 can read.
const EXTRA_GROUP: &str = r#"mkdir /d; echo secret >/d/file; chown 0:1003 /d/file; chmod 040 /d/file
    perl -e '$> = 1001; print "$ENV{AC_APP_NAME} ", open(my $file, "<", "/d/file") ? "held" : "free", "\n"'"#;

const READ_ONLY: &str = "touch /shared/$AC_APP_NAME || v odd; touch /file 2>/dev/null && v free || v held";

/// The first time it fails.
const AGAIN: &str = "if [ -e /again ]; then v held; else touch /again; v free; exit 1; fi";

pub(super) fn probes() -> Vec<Probe> {
    let handlers = |name: &str, exec: &[&str]| json!({"eventHandlers": [{"name": name, "exec": exec}]});
    let variable = json!({"environment": [{"name": "COLOUR", "value": "blue"}]});
    let runtime = |runtime| Ask { runtime, ..Ask::default() };
    let flags = |flags| Ask { flags: Some(flags), ..Ask::default() };
    let mount = json!({"mounts": [{"volume": "spare", "path": "/spare"}]});
    vec![
        field(
            "user",
            json!({"user": "alice"}),
            &[("--user", &["--user=/home/alice"])],
            "touch /tmp/file; [ $(stat -c %u /tmp/file) = 1001 ] && v held || v free",
        ),
        field(
            "group",
            json!({"group": "staff"}),
            &[("--group", &["--group=1002"])],
            "touch /tmp/file; [ $(stat -c %g /tmp/file) = 1002 ] && v held || v free",
        ),
        field(
            "supplementaryGIDs",
            json!({"supplementaryGIDs": [1003]}),
            &[("--supplementary-gids", &["--supplementary-gids=1003"])],
            EXTRA_GROUP,
        ),
        field(
            "workingDirectory",
            json!({"workingDirectory": "/home/alice"}),
            &[("--working-dir", &["--working-dir=/home/alice"])],
            "touch here; [ -e /home/alice/here ] && v held || v free",
        ),
        field(
            "environment",
            variable,
            &[("--environment", &["--environment=COLOUR=blue"])],
            "[ \"$COLOUR\" = blue ] && v held || v free",
        ),
        Probe {
            named: "event handlers",
            ..field(
                "eventHandlers pre-start",
                handlers("pre-start", &["/bin/touch", "/early"]),
                &[],
                "[ -e /early ] && v held || v free",
            )
        },
        Probe {
            named: "event handlers",
            ..field(
                "eventHandlers post-stop",
                handlers("post-stop", &["/bin/sh", "-c", "[ -e /file ] && echo $AC_APP_NAME held"]),
                &[],
                "touch /file; v free",
            )
        },
        Probe {
            ways: vec![
                ("manifest", runtime(json!({"readOnlyRootFS": true}))),
                ("--readonly-rootfs", flags(&["--readonly-rootfs"])),
            ],
            ..field("readOnlyRootFS", json!({}), &[], READ_ONLY)
        },
        Probe {
            ways: vec![
                ("manifest", runtime(mount)),
                ("--mount", flags(&["--mount=volume=spare,target=/spare"])),
            ],
            ..field(
                "mounts",
                json!({}),
                &[],
                "grep -q ' /spare ' /proc/self/mountinfo && touch /spare/file && v held || v free",
            )
        },
        Probe {
            control: Control::OtherPod,
            ..annotation("restart", "on-failure", ("--restart", &["--restart=on-failure"]), AGAIN)
        },
    ]
}
