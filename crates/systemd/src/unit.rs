//! The unit that this process stands in, told from its cgroup.
//!
//! systemd gives each unit a group named after it, and what a service starts stays below. So the owner is
//! read from `/proc/self/cgroup` without asking anybody.

use crate::{Error, Result};

/// A system service, and its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name, `web.service`.
    pub name: String,
    /// Its group, relative to the root of the hierarchy, without a leading slash.
    pub group: String,
}

/// Where this process stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Our group, relative to the root of the hierarchy, without a leading slash; empty for the root.
    pub group: String,
    /// The system service that started us, if one did. What a session, a scope or a user's own manager started
    /// belongs to none.
    pub service: Option<Service>,
}

/// Reads where this process stands.
///
/// # Errors
/// [`Error::NoUnifiedCgroups`] when the kernel knows no cgroup2 group for us.
pub fn own() -> Result<Standing> {
    let path = "/proc/self/cgroup";
    let text = std::fs::read_to_string(path).map_err(|error| Error::io("read", path, error))?;
    parse(&text).ok_or(Error::NoUnifiedCgroups)
}

/// Reads the text of `/proc/PID/cgroup`. `None` when it has no line for cgroup2.
pub fn parse(text: &str) -> Option<Standing> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    // The kernel says so when the group was removed while we stood in it.
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    let group = path.trim_matches('/');
    Some(Standing { group: group.to_owned(), service: service_of(group) })
}

/// Which start of its service this process belongs to: the variable `INVOCATION_ID` of systemd.exec(5).
pub fn invocation() -> Option<String> {
    std::env::var("INVOCATION_ID").ok().filter(|id| id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Whether systemd itself started this process, rather than something that it started: the variable `SYSTEMD_EXEC_PID` of
/// systemd.exec(5), since systemd 248.
pub fn is_started_by_systemd() -> bool {
    std::env::var("SYSTEMD_EXEC_PID").is_ok_and(|pid| pid == std::process::id().to_string())
}

/// The innermost system service that owns `group`.
fn service_of(group: &str) -> Option<Service> {
    let mut end = 0;
    let mut innermost = None;
    for component in group.split('/') {
        end += component.len() + usize::from(end > 0);
        let Some(name) = unit_name(component, ".service") else {
            continue;
        };
        // From here on a user's own manager decides, which may not ask for groups outside.
        if name.starts_with("user@") {
            return None;
        }
        innermost = Some(Service { name: name.to_owned(), group: group[..end].to_owned() });
    }
    innermost
}

/// The unit that a group is named after, if it is one of the type `suffix`.
///
/// systemd puts `_` before the name of a unit that would collide with a file of the kernel (`cgroup.x.service`)
/// or that itself begins with `_` or `.`.
fn unit_name<'a>(component: &'a str, suffix: &str) -> Option<&'a str> {
    let name = component.strip_prefix('_').unwrap_or(component);
    let stem = name.strip_suffix(suffix)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    (!stem.is_empty() && !stem.starts_with('@') && stem.chars().all(allowed)).then_some(name)
}

/// The name of the scope for the pod `uuid`, as machined names a machine's: `machine-rkt\x2d….scope`.
pub fn pod_scope(uuid: &str) -> String {
    format!("machine-{}.scope", escape(&format!("rkt-{uuid}")))
}

/// Escapes a text for the name of a unit; see systemd-escape(1).
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 16);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'/' => escaped.push('-'),
            b'.' if at > 0 => escaped.push('.'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' | b'_' => escaped.push(byte.into()),
            other => escaped.push_str(&format!("\\x{other:02x}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_service_that_owns_a_group() {
        let cases = [
            // path, service, its group
            ("/system.slice/web.service", Some(("web.service", "system.slice/web.service"))),
            ("/machine.slice/web.service", Some(("web.service", "machine.slice/web.service"))),
            ("/system.slice/web.service/pod-1/payload", Some(("web.service", "system.slice/web.service"))),
            ("/system.slice/web.service/.control", Some(("web.service", "system.slice/web.service"))),
            (
                "/system.slice/system-web.slice/web@a\\x2db.service",
                Some(("web@a\\x2db.service", "system.slice/system-web.slice/web@a\\x2db.service")),
            ),
            ("/system.slice/_cpu.service", Some(("cpu.service", "system.slice/_cpu.service"))),
            ("/system.slice/__odd.service", Some(("_odd.service", "system.slice/__odd.service"))),
            // A systemd inside a container, seen without a cgroup namespace.
            (
                "/system.slice/box.service/payload/system.slice/inner.service",
                Some(("inner.service", "system.slice/box.service/payload/system.slice/inner.service")),
            ),
            ("/web.service", Some(("web.service", "web.service"))),
            // Sessions, scopes, users' own managers.
            ("/user.slice/user-0.slice/session-3.scope", None),
            ("/machine.slice/machine-rkt\\x2d1.scope/payload/app-x", None),
            ("/user.slice/user-1000.slice/user@1000.service/app.slice/web.service", None),
            ("/user.slice/user-1000.slice/user@1000.service/init.scope", None),
            ("/user.slice/user-1000.slice/user@1000.service", None),
            ("/user.slice/user-1000.slice/user@1000.service/session.slice/a.service/sub", None),
            ("/init.scope", None),
            ("/", None),
            // No names of units.
            ("/system.slice/.service", None),
            ("/system.slice/@x.service", None),
            ("/system.slice/a b.service", None),
            ("/system.slice/web.service.d", None),
        ];
        for (path, service) in cases {
            let standing =
                parse(&format!("12:cpu:/x.service\n1:name=systemd:/y.service\n0::{path}\n")).unwrap();
            let found = standing.service.as_ref().map(|found| (found.name.as_str(), found.group.as_str()));
            assert_eq!(found, service, "{path}");
            assert_eq!(standing.group, path.trim_matches('/'), "{path}");
        }
    }

    #[test]
    fn a_removed_group_is_still_named() {
        let standing = parse("0::/system.slice/web.service (deleted)\n").unwrap();
        assert_eq!(standing.group, "system.slice/web.service");
        assert_eq!(standing.service.unwrap().name, "web.service");
    }

    #[test]
    fn a_host_without_the_unified_hierarchy() {
        assert_eq!(parse("4:memory:/a\n1:name=systemd:/system.slice/web.service\n"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn scopes_are_named_as_machined_does() {
        assert_eq!(pod_scope("0a-b"), "machine-rkt\\x2d0a\\x2db.scope");
        for (text, escaped) in [
            ("a/b", "a-b"),
            (".x.y", "\\x2ex.y"),
            ("ü", "\\xc3\\xbc"),
            ("a:b_c", "a:b_c"),
            ("a@b", "a\\x40b"),
        ] {
            assert_eq!(escape(text), escaped, "{text}");
        }
    }
}
