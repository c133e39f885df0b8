//! The environment of an app.

use appc::Environment;

/// What every app has, lowest priority. They are constants: nothing is derived from the app's user.
const DEFAULTS: [(&str, &str); 5] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("SHELL", "/bin/sh"),
    ("USER", "root"),
    ("LOGNAME", "root"),
    ("HOME", "/root"),
];

/// The whole environment of app `name`: defaults, the app's own, and what rkt tells it.
pub(crate) fn environment(name: &str, own: &Environment, told: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::with_capacity(DEFAULTS.len() + own.len() + told.len() + 1);
    let mut set = |name: &str, value: &str| match all.iter_mut().find(|(known, _)| known == name) {
        Some((_, old)) => value.clone_into(old),
        None => all.push((name.to_owned(), value.to_owned())),
    };
    DEFAULTS.iter().for_each(|(name, value)| set(name, value));
    own.iter().for_each(|variable| set(&variable.name, &variable.value));
    set("AC_APP_NAME", name);
    told.iter().for_each(|(name, value)| set(name, value));
    all
}

/// The environment as the file `/rkt/env/APP` has it.
pub(crate) fn to_file(environment: &[(String, String)]) -> String {
    environment.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_ones_win_in_place() {
        let mut own = Environment::new();
        own.set("HOME", "/srv");
        own.set("A", "1");
        own.set("AC_APP_NAME", "forged");
        let all = environment("web", &own, &[("AC_METADATA_URL", "http://x")]);
        let text = to_file(&all);
        assert_eq!(
            text,
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nSHELL=/bin/sh\nUSER=root\n\
             LOGNAME=root\nHOME=/srv\nA=1\nAC_APP_NAME=web\nAC_METADATA_URL=http://x\n"
        );
    }
}
