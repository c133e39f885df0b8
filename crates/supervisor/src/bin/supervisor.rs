//! Process 1 of a pod.

fn main() {
    eprintln!("supervisor: this program is process 1 of a pod; rkt starts it");
    std::process::exit(254);
}
