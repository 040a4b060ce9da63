//! Trials with real processes: the product beside the real etcd, killed, cut off and compared.

fn main() {
    std::process::exit(2);
}
