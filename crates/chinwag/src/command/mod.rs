//! One module for each subcommand, and what they share.

mod account;
mod admin;
mod app_password;
mod backup;
mod doctor;
mod entry;
mod fetch;
mod groups;
mod import;
mod names;
mod outbox;
mod password;
mod profile;
mod read;
mod restore;
mod search;
mod send;
mod serve;
mod session;
mod udp;
mod watch;
mod who;

use std::future::Future;

pub(crate) use doctor::fdatasync_ms;

use crate::{
    args::{Args, Command},
    bench,
    exit::{Outcome, Stop},
    show::Out,
};

/// Does what the command line says.
pub(crate) fn run(args: Args) -> Outcome {
    let global = &args.global;
    let out = Out::new(global.json);
    match args.command {
        Command::Serve(serve) => serve::run(&out, &serve),
        Command::Import(args) => import::run(&out, &args),
        Command::Udp(args) => udp::run(&out, &args),
        Command::Scrub(scrub) => serve::scrub(&out, &scrub),
        Command::Backup(backup) => backup::run(&out, &backup),
        Command::Restore(restore) => restore::run(&out, &restore),
        Command::Register(register) => wait(account::register(global, &out, register)),
        Command::Login(login) => wait(account::login(global, &out, login)),
        Command::Logout => wait(account::logout(global, &out)),
        Command::Profile(args) => wait(profile::run(global, &out, args)),
        Command::AppPassword(args) => wait(app_password::run(global, &out, args)),
        Command::Send(send) => wait(send::run(global, &out, send)),
        Command::Outbox { action } => wait(outbox::run(global, &out, action)),
        Command::Fetch(fetch) => wait(fetch::run(global, &out, fetch)),
        Command::Read(read) => wait(read::run(global, &out, read)),
        Command::Watch(watch) => wait(watch::run(global, &out, watch)),
        Command::Who(who) => wait(who::run(global, &out, who)),
        Command::Search(search) => wait(search::run(global, &out, search)),
        Command::Groups(groups) => wait(groups::run(global, &out, groups)),
        Command::Admin(admin) => wait(admin::run(global, &out, admin)),
        Command::Doctor(doctor) => wait(doctor::run(global, &out, doctor)),
        Command::Bench(scenario) => bench::run(global, &out, &scenario),
    }
}

/// Runs one command on one thread; nothing here needs more.
fn wait(doing: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Stop::from)?;
    let outcome = runtime.block_on(doing);
    // A thread that still waits for standard input must not hold up the end.
    runtime.shutdown_background();
    outcome
}
