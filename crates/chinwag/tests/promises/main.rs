//! Promises that only the real binary can break: what reaches the disk before what reaches a socket, what the kernel
//! takes away, what memory is kept. The table of all promises and their tests is `docs/promises.md`.
//!
//! Some of these tests are run against builds that are wrong on purpose (feature `canaries`) by `cargo xtask test`,
//! which wants to see them fail.

mod cursors;
mod delivery;
mod disk;
mod membership;
mod order;
mod resources;
#[path = "../support/mod.rs"]
mod support;
mod trace;

#[cfg(not(feature = "canaries"))]
#[test]
fn a_build_for_users_knows_no_canary() {
    let looked = std::process::Command::new("grep")
        .args(["--text", "--quiet", "--fixed-strings", "CHINWAG_CANARY", support::BINARY])
        .status()
        .expect("grep is there");
    assert_eq!(looked.code(), Some(1), "the binary has what only tests may have");
}
