//! `cargo xtask run`: from a fresh clone to a running messenger, with progress.
//!
//! Only what changed is built again. The server replaces this process, so signals reach it directly.

use std::os::unix::process::CommandExt;

use anyhow::{Result, bail};

use crate::{
    cargo::{Workspace, cargo},
    shell::{self, Progress, program},
    web,
};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let progress = Progress::start();
    progress.say("checking the tools");
    if shell::find("cc").is_none() {
        bail!("a C compiler is needed for SQLite and was not found (Debian: package `gcc`)");
    }
    web::check_node()?;

    if web::is_installed()? {
        progress.say("the web app's packages are up to date");
    } else {
        progress.say("installing the web app's packages (about a minute)");
        web::install()?;
    }
    if web::is_built()? {
        progress.say("the web app is up to date");
    } else {
        progress.say("building the web app");
        shell::show(&mut program("npm", &web::folder(), &["run", "build"]))?;
        web::note_built()?;
    }

    progress.say("building the server (some minutes the first time)");
    let root = shell::root();
    shell::show(&mut program(cargo(), &root, &["build", "--release", "--locked", "--package", "chinwag"]))?;
    let binary = Workspace::read()?.target.join("release/chinwag");

    progress.say("starting");
    // The working folder stays the person's own: the default data folder lies there.
    let error = std::process::Command::new(&binary).arg("serve").args(arguments).exec();
    bail!("cannot start {}: {error}", binary.display())
}
