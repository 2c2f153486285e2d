//! Getting a password without showing it to anybody.

use std::{
    env,
    io::{self, BufRead, IsTerminal},
};

use crate::{
    args::Password,
    exit::{Outcome, failed, usage},
};

/// Reads the password: from standard input, the environment, or the terminal. `twice` asks again for a new one.
pub(crate) fn read(from: &Password, prompt: &str, twice: bool) -> Outcome<String> {
    if from.password_stdin {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        let password = line.trim_end_matches(['\n', '\r']);
        return if password.is_empty() {
            usage("no password on standard input")
        } else {
            Ok(password.to_owned())
        };
    }
    if let Ok(password) = env::var("CHINWAG_PASSWORD") {
        return Ok(password);
    }
    if !io::stderr().is_terminal() && !io::stdin().is_terminal() {
        return usage("no terminal to ask for the password: use --password-stdin or CHINWAG_PASSWORD");
    }
    let password = rpassword::prompt_password(prompt)?;
    if twice && rpassword::prompt_password("The same again: ")? != password {
        return failed("the two are not the same");
    }
    Ok(password)
}
