//! The table of flags that belong to one image and follow it.

use anyhow::{Context, Result, bail, ensure};
use appc::extension::{self, PidsLimit, ResourceLimits, RestartPolicy};
use appc::value::SeccompSpec;
use appc::{AcIdentifier, CapabilitySet};

use super::{AppRequest, isolators};
use crate::cli::values;

/// Which of them a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PerApp {
    /// `--signature` alone.
    Signature,
    /// All.
    All,
}

/// How a flag looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Takes a value.
    Value,
    /// Is on when it is there; `=false` turns it off.
    Switch,
    /// As `Value`, in the place of the flag named; that is said.
    Deprecated(&'static str),
}

/// One flag.
pub(crate) struct AppFlag {
    pub(crate) name: &'static str,
    shape: Shape,
    help: &'static str,
    set: fn(&mut AppRequest, &str) -> Result<()>,
}

const fn flag(
    name: &'static str,
    help: &'static str,
    set: fn(&mut AppRequest, &str) -> Result<()>,
) -> AppFlag {
    AppFlag { name, shape: Shape::Value, help, set }
}

static FLAGS: [AppFlag; 29] = [
    flag("annotation", "set the app's annotations (example: '--annotation=foo=bar')", |app, text| {
        let (name, value) = pair(text)?;
        app.annotations.insert(name.parse::<AcIdentifier>()?, value.to_owned());
        Ok(())
    }),
    AppFlag { shape: Shape::Deprecated("caps-remove"), ..flag("cap-remove", "", caps_remove) },
    AppFlag { shape: Shape::Deprecated("caps-retain"), ..flag("cap-retain", "", caps_retain) },
    flag(
        "caps-remove",
        "capability to remove (example: '--caps-remove=CAP_SYS_CHROOT,CAP_MKNOD')",
        caps_remove,
    ),
    flag(
        "caps-retain",
        "capability to retain (example: '--caps-retain=CAP_SYS_ADMIN,CAP_NET_ADMIN')",
        caps_retain,
    ),
    flag("cpu", "cpu limit for the preceding image (example: '--cpu=500m')", |app, text| {
        app.cpu = Some(isolators::cpu(text)?);
        Ok(())
    }),
    flag("cpu-shares", "assign the specified cpu-shares (2 to 262144)", |app, text| {
        app.cpu_shares = Some(isolators::cpu_shares(text)?);
        Ok(())
    }),
    flag(
        "environment",
        "set the app's environment variables (example: '--environment=foo=bar')",
        |app, text| Ok(app.environment.add(text.parse()?)?),
    ),
    flag("exec", "override the exec command for the preceding image", |app, text| {
        ensure!(app.exec.is_none(), "--exec specified multiple times for the same image");
        ensure!(!text.is_empty(), "the program cannot be empty");
        app.exec = Some(text.to_owned());
        Ok(())
    }),
    flag("group", "group override for the preceding image (example: '--group=group')", |app, text| {
        app.group = Some(owner(text)?);
        Ok(())
    }),
    flag(
        "memory",
        "memory limit for the preceding image (example: '--memory=16Mi', '--memory=50M', '--memory=1G')",
        |app, text| {
            app.memory = Some(isolators::memory(text)?);
            Ok(())
        },
    ),
    flag("mount", "mount point binding a volume to a path within an app", |app, text| {
        app.mounts.push(text.parse()?);
        Ok(())
    }),
    flag(
        "name",
        "set the name of the app (example: '--name=foo'). If not set, then the app name default to the image's name",
        |app, text| {
            app.name = Some(text.parse()?);
            Ok(())
        },
    ),
    flag("oom-score-adj", "oom-score-adj isolator override (-1000 to 1000)", |app, text| {
        app.oom_score_adj = Some(isolators::oom_score_adj(text)?);
        Ok(())
    }),
    flag(
        "pids-limit",
        "the most processes and threads of the app at one time (example: '--pids-limit=100')",
        |app, text| {
            text.parse::<PidsLimit>()?;
            annotate(app, extension::PIDS_LIMIT, text)
        },
    ),
    AppFlag {
        shape: Shape::Switch,
        ..flag("readonly-rootfs", "if set, the app's rootfs will be mounted read-only", |app, text| {
            app.readonly_rootfs = values::boolean(text).map_err(anyhow::Error::msg)?;
            Ok(())
        })
    },
    flag(
        "restart",
        "start the app again when it ends: no, on-failure or always (default: no)",
        |app, text| {
            text.parse::<RestartPolicy>()?;
            annotate(app, extension::RESTART, text)
        },
    ),
    flag(
        "rlimit",
        "limits of each process of the app, soft and hard (example: '--rlimit=nofile=1024:4096,core=0')",
        |app, text| {
            let earlier = app.annotations.get(extension::RLIMITS);
            let all = earlier.map_or_else(|| text.to_owned(), |earlier| format!("{earlier},{text}"));
            all.parse::<ResourceLimits>()?;
            annotate(app, extension::RLIMITS, &all)
        },
    ),
    flag(
        "seccomp",
        "seccomp filter override (example: '--seccomp mode=retain,errno=EPERM,chmod,chown')",
        |app, text| {
            app.seccomp = Some(text.parse::<SeccompSpec>()?.into());
            Ok(())
        },
    ),
    flag("signature", "local signature file to use in validating the preceding image", |app, text| {
        ensure!(app.signature.is_none(), "--signature specified multiple times for the same image");
        ensure!(!text.is_empty(), "the file name cannot be empty");
        app.signature = Some(text.into());
        Ok(())
    }),
    flag(
        "stderr",
        "where standard error leads: null, log, interactive, or stream or tty for rkt attach",
        |app, text| stream(app, 2, text),
    ),
    flag(
        "stdin",
        "where standard input comes from: null, interactive, or stream or tty for rkt attach",
        |app, text| stream(app, 0, text),
    ),
    flag(
        "stdout",
        "where standard output leads: null, log, interactive, or stream or tty for rkt attach",
        |app, text| stream(app, 1, text),
    ),
    flag(
        "supplementary-gids",
        "supplementary group IDs override for the preceding image (examples: '--supplementary-gids=1024,2048')",
        |app, text| {
            let ids = text.split(',').map(|id| id.parse().with_context(|| format!("{id:?} is no group id")));
            app.supplementary_gids = Some(ids.collect::<Result<_>>()?);
            Ok(())
        },
    ),
    flag("user", "user override for the preceding image (example: '--user=user')", |app, text| {
        app.user = Some(owner(text)?);
        Ok(())
    }),
    flag(
        "user-annotation",
        "set the app's user annotations (example: '--user-annotation=foo=bar')",
        |app, text| {
            let (name, value) = pair(text)?;
            app.user_annotations.insert(name.to_owned(), value.to_owned());
            Ok(())
        },
    ),
    flag("user-label", "set the app's user labels (example: '--user-label=foo=bar')", |app, text| {
        let (name, value) = pair(text)?;
        app.user_labels.insert(name.to_owned(), value.to_owned());
        Ok(())
    }),
    flag("working-dir", "override the working directory of the preceding image", |app, text| {
        ensure!(text.starts_with('/'), "the directory must be an absolute path");
        app.working_dir = Some(text.to_owned());
        Ok(())
    }),
    // Kept from a document of old that spelt it so.
    AppFlag {
        shape: Shape::Deprecated("oom-score-adj"),
        ..flag("oom-score-adjust", "", |app, text| {
            app.oom_score_adj = Some(isolators::oom_score_adj(text)?);
            Ok(())
        })
    },
];

impl PerApp {
    /// The flags that the command takes.
    pub(crate) fn flags(self) -> impl Iterator<Item = &'static AppFlag> {
        FLAGS.iter().filter(move |flag| self == Self::All || flag.name == "signature")
    }

    /// Whether `--name` is one of them.
    pub(crate) fn has(self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Whether `--name` has no meaning before the first image.
    pub(crate) fn only_after_image(self, name: &str) -> bool {
        name != "mount" && self.has(name)
    }

    pub(crate) fn find(self, name: &str) -> Option<&'static AppFlag> {
        self.flags().find(|flag| flag.name == name)
    }
}

impl AppFlag {
    /// Applies the flag to `app`; `value` is what stood behind `=`.
    pub(crate) fn apply(&self, app: &mut AppRequest, value: Option<&str>) -> Result<()> {
        let name = self.name;
        let value = match (self.shape, value) {
            (_, Some(value)) => value,
            (Shape::Switch, None) => "true",
            (_, None) => bail!("flag needs an argument: --{name}"),
        };
        (self.set)(app, value).with_context(|| format!("invalid argument {value:?} for --{name}"))
    }

    /// The flag to use instead, when this one is an old spelling.
    pub(crate) fn replacement(&self) -> Option<&'static str> {
        match self.shape {
            Shape::Deprecated(name) => Some(name),
            _ => None,
        }
    }

    /// How help and completion know it.
    fn argument(&self) -> clap::Arg {
        let argument = clap::Arg::new(self.name).long(self.name).help(self.help);
        match self.shape {
            Shape::Switch => argument.action(clap::ArgAction::SetTrue),
            Shape::Value => argument.action(clap::ArgAction::Append),
            Shape::Deprecated(_) => argument.action(clap::ArgAction::Append).hide(true),
        }
    }
}

/// Adds the flags to a definition, so that help and completion know them. `--mount` has its own definition.
pub(crate) fn define(mut command: clap::Command, per_app: PerApp) -> clap::Command {
    for flag in per_app.flags().filter(|flag| flag.name != "mount") {
        command = command.arg(flag.argument());
    }
    command
}

fn pair(text: &str) -> Result<(&str, &str)> {
    let (name, value) = text.split_once('=').context("must be NAME=VALUE")?;
    ensure!(!name.is_empty(), "the name cannot be empty");
    Ok((name, value))
}

/// What the specification has no field for is an annotation.
fn annotate(app: &mut AppRequest, name: &str, value: &str) -> Result<()> {
    app.annotations.insert(name.parse()?, value.to_owned());
    Ok(())
}

/// A user or group: a name, a number, or a path whose owner is meant.
fn owner(text: &str) -> Result<String> {
    ensure!(!text.is_empty() && !text.contains([':', '\0', '\n']), "must be a name, a number or a path");
    Ok(text.to_owned())
}

fn caps_retain(app: &mut AppRequest, text: &str) -> Result<()> {
    ensure!(app.caps_remove.is_none(), "--caps-retain and --caps-remove exclude each other");
    let set = app.caps_retain.get_or_insert(CapabilitySet::EMPTY);
    *set = set.union(text.parse()?);
    Ok(())
}

fn caps_remove(app: &mut AppRequest, text: &str) -> Result<()> {
    ensure!(app.caps_retain.is_none(), "--caps-retain and --caps-remove exclude each other");
    let set = app.caps_remove.get_or_insert(CapabilitySet::EMPTY);
    *set = set.union(text.parse()?);
    Ok(())
}

fn stream(app: &mut AppRequest, number: usize, text: &str) -> Result<()> {
    let modes = ["null", "log", "stream", "tty", "interactive"];
    let modes: Vec<&str> = modes.into_iter().filter(|mode| number > 0 || *mode != "log").collect();
    ensure!(modes.contains(&text), "must be one of {}", modes.join(", "));
    app.streams[number] = Some(text.to_owned());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_stands_in_the_table_once() {
        let mut names: Vec<&str> = FLAGS.iter().map(|flag| flag.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FLAGS.len());
    }

    #[test]
    fn what_replaces_an_old_spelling_exists() {
        for flag in &FLAGS {
            if let Some(name) = flag.replacement() {
                assert!(PerApp::All.has(name), "{name}");
            }
        }
    }
}
