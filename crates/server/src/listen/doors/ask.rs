//! What a door may ask, and where its answers come from.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use chinwag_domain::{names, reading};
use chinwag_doors::{AskId, Given, Question};
use chinwag_protocol::{
    Answer, Command, ConversationId, Device, Kind, LogId, ProfileChange, Refused, Seq, SignedIn as SessionOf,
    Snapshot, UserId,
};

use super::{
    gate::Gate,
    line::{Line, Seat},
    pump,
};
use crate::signed_in::{Began, SignedIn};

/// Asks on behalf of a link. Never waits; the answer comes by way of the link's task.
pub(super) fn ask(gate: Arc<Gate>, line: Arc<Line>, ask: AskId, question: Question) {
    line.asked();
    match question {
        Question::Command(command) => {
            let Some(seat) = line.seat() else { return line.answered(ask, Err(Refused::not_signed_in())) };
            let to = Arc::clone(&line);
            let pause = seat.command(command, move |reply| to.answered(ask, reply.map(Given::Reply)));
            line.slow_down(pause);
        }
        Question::Query(query) => {
            let Some(seat) = line.seat() else { return line.answered(ask, Err(Refused::not_signed_in())) };
            let asker = Arc::clone(&seat);
            seat.query(query, move |answer| {
                tokio::spawn(async move {
                    if let Ok(answer) = &answer {
                        introduce(&gate, &asker, answer).await;
                    }
                    line.answered(ask, answer.map(Given::Answer));
                });
            });
        }
        Question::SignOut {} => {
            line.sign_out(&gate.messenger);
            line.answered(ask, Ok(Given::Done {}));
        }
        slow => {
            gate.tasks.clone().spawn(async move {
                let result = slowly(&gate, &line, slow).await;
                match result {
                    Ok(Slow::Given(given)) => line.answered(ask, Ok(given)),
                    Ok(Slow::Seated(seat, snapshot)) => {
                        // What the door asks when it hears this it may ask already; entries come after it.
                        line.sit(seat);
                        gate.answer(line.id, ask, Ok(Given::SignedIn(snapshot)));
                        line.settled();
                        line.begin();
                    }
                    Err(refused) => line.answered(ask, Err(refused)),
                }
            });
        }
    }
}

enum Slow {
    Given(Given),
    Seated(Seat, Box<Snapshot>),
}

async fn slowly(gate: &Gate, line: &Line, question: Question) -> Result<Slow, Refused> {
    let (messenger, ip) = (&gate.messenger, line.peer.ip());
    match question {
        Question::Register { device, profile } => {
            if !gate.config.register {
                let message = "accounts are not made at this door";
                return Err(Refused::new(Kind::Forbidden, "registration_closed", message));
            }
            let made = messenger.register(device, ip, gate.name).await?;
            if let Some(token) = made.token {
                let actor = messenger.actor(&token).await?;
                // The account is made; what else was said of its owner he can say again.
                if profile != ProfileChange::default() {
                    let _ = messenger.command(&actor, Command::ChangeProfile(profile)).await;
                }
                messenger.sign_out(&actor).await?;
            }
            Ok(Slow::Given(Given::Done {}))
        }
        Question::SignIn(device) => sit(gate, sign_in(gate, device, ip, true).await?.token, false).await,
        Question::Token(device) => Ok(Slow::Given(Given::Token(sign_in(gate, device, ip, false).await?))),
        Question::Enter { token } => sit(gate, Some(token), true).await,
        Question::Upload { name, bytes } => {
            let seat = line.seat().ok_or_else(Refused::not_signed_in)?;
            Ok(Slow::Given(Given::Uploaded(messenger.upload_bytes(&seat.actor, &name, &bytes).await?)))
        }
        Question::Fetch { conversation, message, index, bytes_max } => {
            let seat = line.seat().ok_or_else(Refused::not_signed_in)?;
            let download = messenger.download(&seat.actor, conversation, message, index.into()).await?;
            Ok(Slow::Given(Given::File(download.bytes(bytes_max).await?.to_vec())))
        }
        Question::Avatar { of, file, bytes_max } => {
            let seat = line.seat().ok_or_else(Refused::not_signed_in)?;
            let download = messenger.avatar(&seat.actor, of, file).await?;
            Ok(Slow::Given(Given::File(download.bytes(bytes_max).await?.to_vec())))
        }
        Question::Time {} => {
            let user = line.seat().map(|seat| seat.actor.user);
            Ok(Slow::Given(Given::Text(messenger.time(user).await?)))
        }
        Question::Poem { number } => match messenger.poem(number) {
            Some(poem) => Ok(Slow::Given(Given::Text(poem))),
            None => Err(Refused::new(Kind::NotFound, "no_such_poem", "there is no such poem")),
        },
        Question::Guest { handle } => match messenger.guest(&handle, ip, gate.name, gate.config.open).await {
            Ok(guest) => sit(gate, guest.token, false).await,
            Err(refused) => {
                if refused.code == "handle_taken" {
                    messenger.warn_owner(&handle, ip, gate.name).await;
                }
                Err(refused)
            }
        },
        Question::Command(_) | Question::Query(_) | Question::SignOut {} => {
            unreachable!("these are answered without a task")
        }
    }
}

/// Starts a session for whoever knows the password.
///
/// Old wires have a word for "there is nobody of that name". A door where accounts are made tells as much to
/// whoever tries to take the name, so there it is said; elsewhere the two mistakes look the same.
async fn sign_in(gate: &Gate, device: Device, ip: IpAddr, bound: bool) -> Result<SessionOf, Refused> {
    let key = names::fold(&device.handle);
    let only_app = gate.config.app_passwords;
    let started = gate.messenger.sign_in_at_door(device, ip, gate.name, only_app, bound).await;
    match started {
        Err(refused) if refused.code == "wrong_password" && gate.config.register => {
            let is_taken = gate.messenger.read(move |reader| Ok(reader.name(&key)?.is_some())).await?;
            let nobody = || Refused::new(Kind::NotFound, "no_such_user", "there is no user of this name");
            Err(if is_taken { refused } else { nobody() })
        }
        started => started,
    }
}

/// Takes a place in the hub for whoever has this token.
async fn sit(gate: &Gate, token: Option<String>, keeps: bool) -> Result<Slow, Refused> {
    let token = token.ok_or_else(Refused::not_signed_in)?;
    let messenger = gate.messenger.clone();
    let known = messenger.session(&token).await?;
    let (signed_in, Began::Fresh(held) | Began::Resumed(held)) =
        SignedIn::open(messenger, &known, Arc::default(), None).await?;
    let read = signed_in
        .read(|reader, actor| Ok((reading::snapshot(reader, actor)?, reading::delivered(reader, actor)?)));
    let (snapshot, delivered) = read.await?;
    drop(held);
    let snapshot = Box::new(snapshot);
    let (told, behind) = positions(&snapshot, delivered);
    gate.refresh(&snapshot);
    snapshot.users.iter().chain([&snapshot.me]).for_each(|profile| gate.introduce(profile));
    let peers = snapshot.conversations.iter().filter_map(|view| view.direct).flat_map(|(a, b)| [a, b]);
    pump::introduce(gate, &signed_in, peers).await;
    Ok(Slow::Seated(Seat { signed_in, keeps, told, behind }, snapshot))
}

/// Where a client goes on that knows a snapshot and what was delivered, and which logs have more.
fn positions(snapshot: &Snapshot, delivered: Vec<(ConversationId, Seq)>) -> (Positions, Positions) {
    let is_conversation = |log: &LogId| matches!(log, LogId::Conversation(_));
    let mut told: Positions =
        snapshot.positions.iter().filter(|(log, _)| !is_conversation(log)).copied().collect();
    let mut behind = Positions::new();
    let delivered: BTreeMap<_, _> = delivered.into_iter().collect();
    for view in &snapshot.conversations {
        let seq = delivered.get(&view.id).copied().unwrap_or(view.head.seq);
        #[cfg(feature = "canaries")]
        let seq = match chinwag_store::canary::is(chinwag_store::canary::Canary::DoorSkipsOne) {
            true => seq.next().min(view.head.seq),
            false => seq,
        };
        told.push((LogId::Conversation(view.id), seq));
        if seq < view.head.seq {
            behind.push((LogId::Conversation(view.id), seq));
        }
    }
    (told, behind)
}

type Positions = Vec<(LogId, Seq)>;

/// Tells the door who is named in an answer.
async fn introduce(gate: &Gate, seat: &SignedIn, answer: &Answer) {
    let mut users: Vec<UserId> = Vec::new();
    match answer {
        Answer::Users(profiles) => profiles.iter().for_each(|profile| gate.introduce(profile)),
        Answer::User(profile) => gate.introduce(profile),
        Answer::Members(members) => members.iter().for_each(|member| gate.introduce(&member.profile)),
        Answer::Conversation(view) => users.extend(view.direct.iter().flat_map(|(a, b)| [*a, *b])),
        Answer::Conversations(views) => {
            users.extend(views.iter().filter_map(|view| view.direct).flat_map(|(a, b)| [a, b]));
        }
        Answer::History(page) => users.extend(page.items.iter().map(|item| item.entry.by)),
        Answer::Items(items) => users.extend(items.iter().map(|item| item.entry.by)),
        Answer::Search(page) => users.extend(page.hits.iter().map(|hit| hit.item.entry.by)),
        Answer::Entries { entries, .. } => users.extend(entries.iter().flat_map(pump::named)),
        Answer::Online(online) => users.extend(online.iter().map(|one| one.user)),
        _ => {}
    }
    pump::introduce(gate, seat, users).await;
}
