//! The download worker.

use std::error::Error;
use std::process::ExitCode;

fn main() -> ExitCode {
    match fetcher::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let chain = std::iter::successors(Some(&error as &dyn Error), |&error| error.source());
            let texts: Vec<String> = chain.map(ToString::to_string).collect();
            eprintln!("{}", texts.join(": "));
            ExitCode::FAILURE
        }
    }
}
