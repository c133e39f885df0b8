//! `--seccomp`.

use std::str::FromStr;

use super::{Problem, Syntax, ValueError};
use crate::{Isolator, SeccompSet};

/// What `--seccomp` says: [`Isolator::SeccompRetain`] or [`Isolator::SeccompRemove`].
#[derive(Debug, Clone, PartialEq)]
pub struct SeccompSpec(pub Isolator);

impl From<SeccompSpec> for Isolator {
    fn from(spec: SeccompSpec) -> Self {
        spec.0
    }
}

impl FromStr for SeccompSpec {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        const SYNTAX: Syntax =
            Syntax { kind: "Seccomp filter", syntax: "mode=retain|remove[,errno=ENAME],CALL[,@set/NAME]…" };
        SYNTAX.parse(text, |text| {
            let (mut mode, mut errno, mut set) = (None, None, Vec::new());
            for word in text.split(',') {
                let (slot, value) = match word.split_once('=') {
                    Some(("mode", value)) => (&mut mode, value),
                    Some(("errno", value)) => (&mut errno, value),
                    Some((key, _)) => return Err(Problem::UnknownKey(key.to_owned())),
                    None if word.is_empty() => return Err(Problem::Missing("the name of a system call")),
                    None => {
                        set.push(word.to_owned());
                        continue;
                    }
                };
                if slot.replace(value).is_some() {
                    return Err(Problem::Repeated(word.to_owned()));
                }
            }
            if set.is_empty() {
                return Err(Problem::Missing("the name of a system call"));
            }
            if let Some(errno) = errno.filter(|errno| !SeccompSet::is_errno(errno)) {
                return Err(Problem::form(errno, SeccompSet::ERRNO_RULE));
            }
            let set = SeccompSet { set, errno: errno.map(str::to_owned) };
            match mode {
                Some("retain") => Ok(Self(Isolator::SeccompRetain(set))),
                Some("remove") => Ok(Self(Isolator::SeccompRemove(set))),
                Some(other) => Err(Problem::form(other, "must be \"retain\" or \"remove\"")),
                None => Err(Problem::Missing("mode")),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        let set = |calls: &[&str], errno: Option<&str>| SeccompSet {
            set: calls.iter().map(|call| (*call).to_owned()).collect(),
            errno: errno.map(str::to_owned),
        };
        for (text, isolator) in [
            (
                "mode=remove,errno=ENOSYS,mount,@docker/default-blacklist",
                Isolator::SeccompRemove(set(&["mount", "@docker/default-blacklist"], Some("ENOSYS"))),
            ),
            ("read,mode=retain,write", Isolator::SeccompRetain(set(&["read", "write"], None))),
            ("mode=retain,@appc.io/all", Isolator::SeccompRetain(set(&["@appc.io/all"], None))),
        ] {
            assert_eq!(text.parse::<SeccompSpec>().map(Isolator::from), Ok(isolator));
        }
        for (text, problem) in [
            ("", "the name of a system call is missing"),
            ("mode=retain", "the name of a system call is missing"),
            ("mode=retain,read,", "the name of a system call is missing"),
            ("read", "mode is missing"),
            ("mode=keep,read", "\"keep\" must be \"retain\" or \"remove\""),
            ("mode=retain,mode=remove,read", "\"mode=remove\" is there more than once"),
            ("mode=retain,errno=perm,read", "\"perm\" is not a symbolic error number"),
            ("mode=retain,errno=E,read", "\"E\" is not a symbolic error number"),
            ("mode=retain,arch=amd64,read", "\"arch\" cannot be set here"),
        ] {
            let error = text.parse::<SeccompSpec>().unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
