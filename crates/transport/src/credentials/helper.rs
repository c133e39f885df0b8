//! Running `docker-credential-NAME`, the protocol of docker's credential helpers.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::Error;
use crate::message::Credentials;

/// The user name that marks the secret as a refresh token.
const TOKEN_USER: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// Asks the helper `name`, which the file `path` names, for `server`. None when it knows nothing of it.
pub(super) fn run(name: &str, path: &Path, server: &str) -> Result<Option<Credentials>, Error> {
    let helper = format!("docker-credential-{name}");
    let failed = |problem: String| Error::Helper {
        helper: helper.clone(),
        path: path.to_owned(),
        server: server.to_owned(),
        problem,
    };
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
        return Err(failed("its name is not one of a program on the PATH".to_owned()));
    }
    let mut child = Command::new(&helper)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read its question says so by its exit status.
        let _ = stdin.write_all(server.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        // The one error that the protocol fixes the words of.
        if said.contains("credentials not found") {
            return Ok(None);
        }
        return Err(failed(format!("{}: {}", output.status, said.trim())));
    }
    let answer: Answer = serde_json::from_slice(&output.stdout)
        .map_err(|error| failed(format!("its answer is not valid at line {}", error.line())))?;
    if answer.secret.is_empty() {
        return Ok(None);
    }
    if answer.username == TOKEN_USER {
        return Ok(Some(Credentials::Identity(answer.secret)));
    }
    Ok(Some(Credentials::Basic { user: answer.username, password: answer.secret }))
}
