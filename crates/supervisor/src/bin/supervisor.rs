//! Process 1 of a pod; rkt starts it.

fn main() -> std::process::ExitCode {
    supervisor::main()
}
