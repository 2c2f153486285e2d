//! `chinwag profile`.

use std::path::Path;

use chinwag_protocol::{Command, NewAvatar, ProfileChange};
use serde_json::json;

use super::session::Session;
use crate::{
    args::{Global, Profile},
    exit::{Outcome, usage},
    show::{self, Out},
};

/// `chinwag profile`: changes it if asked to, and says what it is.
pub(crate) async fn run(global: &Global, out: &Out, args: Profile) -> Outcome {
    let session = Session::find(global)?;
    let Profile { name, about, picture, no_picture } = args;
    let avatar = match picture {
        Some(path) => Some(NewAvatar { file: Some(session.http.upload("avatar", read(&path)?).await?.file) }),
        None => no_picture.then(NewAvatar::default),
    };
    let change = ProfileChange { name, about, avatar, ..ProfileChange::default() };
    if change != ProfileChange::default() {
        session.command(Command::ChangeProfile(change)).await?;
    }
    let me = session.snapshot().await?.me;
    out.either(
        || {
            json!({"user": me.id, "handle": me.handle, "name": me.name, "about": me.about, "hue": me.hue,
                "avatar": me.avatar})
        },
        || {
            let about =
                if me.about.is_empty() { String::new() } else { format!("\n{}", show::one_line(&me.about)) };
            let picture = if me.avatar.is_some() { "\nwith a picture" } else { "" };
            format!("{} (@{}){about}{picture}", show::one_line(&me.name), me.handle)
        },
    )
}

fn read(path: &Path) -> Outcome<Vec<u8>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(bytes),
        Err(error) => usage(format!("cannot read {}: {error}", path.display())),
    }
}
