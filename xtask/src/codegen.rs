//! Generates `crates/api/src/gen` from `proto` without a system `protoc`.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

const PROTOS: [&str; 6] = [
    "mvccpb/kv.proto",
    "authpb/auth.proto",
    "etcdserverpb/rpc.proto",
    "v3lockpb/v3lock.proto",
    "v3electionpb/v3election.proto",
    "grpc/health/health.proto",
];

/// Compiles every proto to prost messages; byte fields become `bytes::Bytes`.
pub fn run() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(PathBuf::from)
        .context("xtask lives in the workspace root")?;
    let protos = root.join("proto");
    let out = root.join("crates/api/src/gen");
    let files = protox::compile(PROTOS.map(|p| protos.join(p)), [&protos])?;
    if out.exists() {
        std::fs::remove_dir_all(&out)?;
    }
    std::fs::create_dir_all(&out)?;
    prost_build::Config::new()
        .bytes(["."])
        .disable_comments(["."])
        .out_dir(&out)
        .compile_fds(files)?;
    Ok(())
}
