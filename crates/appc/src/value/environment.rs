//! `--set-env`, `--environment` and `--set-env-file`.

use std::str::FromStr;

use super::{Problem, Syntax, ValueError};
use crate::{Environment, EnvironmentVariable};

impl FromStr for EnvironmentVariable {
    type Err = ValueError;

    /// Reads `KEY=VALUE`.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        const SYNTAX: Syntax = Syntax { kind: "Environment variable", syntax: "KEY=VALUE" };
        SYNTAX.parse(text, |text| {
            let (name, value) = text.split_once('=').ok_or_else(|| Problem::NoValue(text.to_owned()))?;
            if !Self::is_valid_name(name) {
                return Err(Problem::form(name, Self::NAME_RULE));
            }
            if value.contains('\0') {
                return Err(Problem::form(value, "must not contain the character NUL"));
            }
            Ok(Self { name: name.to_owned(), value: value.to_owned() })
        })
    }
}

impl Environment {
    /// Adds `variable`, which must not be there yet: on the command line a repeated name is an error.
    pub fn add(&mut self, variable: EnvironmentVariable) -> Result<(), ValueError> {
        if self.get(&variable.name).is_some() {
            return Err(ValueError {
                kind: "Environment variable",
                text: format!("{}={}", variable.name, variable.value),
                problem: Problem::Repeated(variable.name),
                syntax: "KEY=VALUE, each KEY once",
            });
        }
        self.0.push(variable);
        Ok(())
    }
}

/// Reads the text of an environment file: one `KEY=VALUE` a line, each key once. Blank lines and lines that begin
/// with `#` or `;` do not count.
pub fn parse_environment_file(text: &str) -> Result<Environment, ValueError> {
    let mut environment = Environment::new();
    for line in text.lines() {
        if line.trim().is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        environment.add(line.parse()?)?;
    }
    Ok(environment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables() {
        for (text, name, value) in [
            ("A=b", "A", "b"),
            ("_a.b-c1=", "_a.b-c1", ""),
            ("PATH=/bin:/usr/bin", "PATH", "/bin:/usr/bin"),
            ("X=a=b c", "X", "a=b c"),
        ] {
            let variable: EnvironmentVariable = text.parse().unwrap();
            assert_eq!((variable.name.as_str(), variable.value.as_str()), (name, value));
        }
        for (text, problem) in [
            ("A", "\"A\" is not KEY=VALUE"),
            ("", "\"\" is not KEY=VALUE"),
            ("=x", "is not a valid name of an environment variable"),
            ("1A=x", "is not a valid name"),
            ("A B=x", "is not a valid name"),
            ("é=x", "is not a valid name"),
            ("A=\0", "must not contain the character NUL"),
        ] {
            let error = text.parse::<EnvironmentVariable>().unwrap_err().to_string();
            assert!(error.contains(problem), "{text:?}: {error}");
        }
    }

    #[test]
    fn files() {
        let text = "# comment\n; also\n\nFOO=bar\r\n   \nBAZ=# not a comment \nEMPTY=\n";
        let environment = parse_environment_file(text).unwrap();
        let pairs: Vec<_> = environment.iter().map(|v| (v.name.as_str(), v.value.as_str())).collect();
        assert_eq!(pairs, [("FOO", "bar"), ("BAZ", "# not a comment "), ("EMPTY", "")]);
        assert!(parse_environment_file("").unwrap().is_empty());
        for (text, problem) in [
            ("A=1\nB=2\nA=3\n", "\"A\" is there more than once"),
            ("A=1\nnonsense\n", "is not KEY=VALUE"),
            (" A=1", "is not a valid name"),
        ] {
            let error = parse_environment_file(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{text:?}: {error}");
        }
    }
}
