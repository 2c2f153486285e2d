//! The programs that tests need besides Rust and Node: found, installed by apt where that is possible, or named.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::shell;

/// A program, the Debian package that has it, and who needs it.
struct Tool {
    program: &'static str,
    package: &'static str,
    purpose: &'static str,
}

const TOOLS: &[Tool] = &[
    Tool { program: "cc", package: "gcc", purpose: "compiling SQLite" },
    Tool { program: "chromium", package: "chromium", purpose: "the browser tests" },
    Tool { program: "strace", package: "strace", purpose: "the tests of fsync before acknowledging" },
    Tool { program: "python3", package: "python3", purpose: "the small foreign clients of the doors" },
    Tool { program: "ip", package: "iproute2", purpose: "the tests with forged addresses" },
    Tool { program: "fc-list", package: "fontconfig", purpose: "finding fonts" },
];

/// Without these the browser shows boxes, and screenshots and widths mean nothing.
const FONTS: &[(&str, &str)] = &[
    (":lang=en", "fonts-dejavu-core"),
    (":lang=ja", "fonts-noto-cjk"),
    (":lang=und-zsye", "fonts-noto-color-emoji"),
];

/// Modules of the system's Python, and their packages: another Python in the way has modules of its own.
const PYTHON: &str = "/usr/bin/python3";
const MODULES: &[(&str, &str)] =
    &[("socketio", "python3-socketio"), ("requests", "python3-requests"), ("websocket", "python3-websocket")];

/// Makes sure that everything is there.
pub(super) fn provide() -> Result<()> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|(package, _)| *package).collect();
    let by_hand = format!("apt-get install -y --no-install-recommends {}", packages.join(" "));
    let (Some(mut update), Some(mut install)) = (apt(), apt()) else {
        let purposes: Vec<String> =
            missing.iter().map(|(package, why)| format!("{package} for {why}")).collect();
        bail!("missing: {}. Install them with: {by_hand}", purposes.join(", "));
    };
    println!("installing {}", packages.join(" "));
    shell::show(update.args(["update", "-qq"]))?;
    shell::show(install.args(["install", "-y", "-qq", "--no-install-recommends"]).args(&packages))?;
    if let Some((package, why)) = self::missing().first() {
        bail!("{package} is needed for {why} and is still missing; try: {by_hand}");
    }
    Ok(())
}

/// Installs a package that something can do without.
pub(crate) fn install(package: &str) -> Result<()> {
    let (Some(mut update), Some(mut install)) = (apt(), apt()) else { bail!("there is no apt-get to use") };
    println!("installing {package}");
    shell::show(update.args(["update", "-qq"]))?;
    shell::show(install.args(["install", "-y", "-qq", "--no-install-recommends", package]))
}

fn missing() -> Vec<(&'static str, &'static str)> {
    let mut missing: Vec<_> = TOOLS
        .iter()
        .filter(|tool| shell::find(tool.program).is_none())
        .map(|tool| (tool.package, tool.purpose))
        .collect();
    for (module, package) in MODULES {
        if shell::output_of(PYTHON, &["-c", &format!("import {module}")]).is_err() {
            missing.push((package, "an old client of the door socket_io"));
        }
    }
    for (pattern, package) in FONTS {
        let listed = shell::output_of("fc-list", &[pattern]).unwrap_or_default();
        if listed.trim().is_empty() {
            missing.push((package, "the browser tests"));
        }
    }
    missing
}

/// `apt-get` with the rights to install, if there are any.
fn apt() -> Option<Command> {
    shell::find("apt-get")?;
    let silent = |command: &mut Command| {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|s| s.success())
    };
    let mut apt = if shell::output_of("id", &["-u"]).is_ok_and(|id| id.trim() == "0") {
        Command::new("apt-get")
    } else if silent(Command::new("sudo").args(["-n", "true"])) {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "apt-get"]);
        sudo
    } else {
        return None;
    };
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    Some(apt)
}
