//! Taking over users and waiting messages of another system into a store whose server is stopped.
//!
//! The records go through the rules like everything else, so what comes of it is what people could have made
//! themselves, but for passwords that would be refused today. Who is in the store already is known again: if he was
//! imported before, or if his password is the one in the file. Nobody else's account is touched, and no message is
//! put into the mouth of its owner.

mod file;

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chinwag_domain::{
    Ask, Committed, Prepared, Publish, Reader, Request, Store,
    facts::Known,
    names,
    record::{Credentials, Owner},
};
use chinwag_protocol::{Refused, Reply, UserId, UserKind};
use chinwag_store::sqlite::{self, BackupError, OpenError, Want};
use sha2::{Digest, Sha256};

use self::file::{Contents, MessageRecord, UserRecord};
use crate::{
    hashing,
    messenger::{decide, reply, told},
    serve::wall_clock,
};

/// A larger file is not of this system, which keeps all in memory.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Requests under way at the same time: less than the store's queue holds.
const AT_ONCE: usize = 256;

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read, or is something else.
    #[error("cannot import {}: {why}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// A server runs in the folder.
    #[error("the server of {} is running: stop it first", folder.display())]
    Running {
        /// Which.
        folder: PathBuf,
    },
    /// There is nothing to import into.
    #[error("there is no store in {}: start a server there once", folder.display())]
    NoStore {
        /// Which.
        folder: PathBuf,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The store cannot be copied, for trying.
    #[error(transparent)]
    Copy(#[from] BackupError),
    /// The place for a copy cannot be made.
    #[error("cannot make a place for a copy: {0}")]
    Place(#[from] io::Error),
    /// The store failed in between. What was reported is done; importing again goes on.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// What sort of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// A user.
    User,
    /// A waiting message.
    Message,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the store now.
    Imported,
    /// It was there before.
    Known,
    /// It is not, and will not be.
    Refused,
}

/// What is told of each record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What sort.
    pub record: Record,
    /// Its place in its list, from 1.
    pub number: usize,
    /// The user's name; for a message from whom to whom.
    pub name: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Why, if there is something to say.
    pub why: String,
}

/// How many of each there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Now in the store.
    pub imported: usize,
    /// There before.
    pub known: usize,
    /// Not taken.
    pub refused: usize,
    /// Delivery notices in the file, of which nothing is left to tell.
    pub notices: usize,
}

/// Imports a file into a data folder; tells of each record in turn. With `dry_run` into a copy that is thrown away.
pub fn run(
    file: &Path,
    data: &Path,
    dry_run: bool,
    tell: &mut dyn FnMut(&Line),
) -> Result<Summary, ImportError> {
    let contents = load(file)?;
    if !data.join("chinwag.db").exists() {
        return Err(ImportError::NoStore { folder: data.to_owned() });
    }
    if !dry_run {
        return Importer::open(data, false, tell)?.all(&contents);
    }
    // Opened and closed: whether a server runs, and everything that would keep the import from beginning.
    drop(open(data)?);
    let place = tempfile::tempdir_in(data)?;
    let (backup, copy) = (place.path().join("copy"), place.path().join("data"));
    sqlite::backup(data, &backup, Want::NoFiles, wall_clock(), |_| {})?;
    sqlite::restore(&backup, &copy, Want::NoFiles, |_| {})?;
    Importer::open(&copy, true, tell)?.all(&contents)
}

fn load(file: &Path) -> Result<Contents, ImportError> {
    let failed = |why: String| ImportError::File { file: file.to_owned(), why };
    let length = std::fs::metadata(file).map_err(|error| failed(error.to_string()))?.len();
    if length > FILE_BYTES_MAX {
        return Err(failed(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    let bytes = std::fs::read(file).map_err(|error| failed(error.to_string()))?;
    file::read(&bytes).map_err(failed)
}

/// Nobody listens while a server is stopped: only whoever asked is told.
struct Silent;

impl Publish for Silent {
    fn publish(&self, batch: Vec<Committed>) {
        for committed in batch {
            (committed.ticket)(committed.verdict);
        }
    }
}

fn open(data: &Path) -> Result<Arc<dyn Store>, ImportError> {
    let options = sqlite::Options::new(data, Arc::new(decide), Arc::new(wall_clock), Arc::new(Silent));
    match sqlite::open(options) {
        Ok(store) => Ok(Arc::new(store)),
        Err(OpenError::Locked { folder }) => Err(ImportError::Running { folder }),
        Err(error) => Err(error.into()),
    }
}

/// Who has the name of a user in the file.
enum Holder {
    Nobody,
    /// An account; `same` if it is certainly his.
    Account {
        user: UserId,
        same: bool,
        hash: String,
    },
    Other,
}

struct Importer<'t> {
    store: Arc<dyn Store>,
    /// Nothing is kept, so nothing needs to be hashed.
    dry_run: bool,
    tell: &'t mut dyn FnMut(&Line),
    summary: Summary,
    /// The users of the file who are in the store, by folded name.
    people: HashMap<String, UserId>,
}

impl<'t> Importer<'t> {
    fn open(data: &Path, dry_run: bool, tell: &'t mut dyn FnMut(&Line)) -> Result<Self, ImportError> {
        let (store, people) = (open(data)?, HashMap::new());
        Ok(Self { store, dry_run, tell, summary: Summary::default(), people })
    }

    fn all(mut self, contents: &Contents) -> Result<Summary, ImportError> {
        self.users(contents)?;
        self.messages(contents)?;
        self.summary.notices = contents.notices;
        Ok(self.summary)
    }

    fn users(&mut self, contents: &Contents) -> Result<(), ImportError> {
        let batch = std::thread::available_parallelism().map_or(1, usize::from);
        let numbered: Vec<_> = contents.users.iter().zip(1..).collect();
        for records in numbered.chunks(batch) {
            let hashed = self.hashed(records)?;
            for ((record, number), hash) in records.iter().zip(hashed) {
                let name = record.as_ref().map_or_else(|_| String::new(), |user| user.name.clone());
                let (outcome, why) = match record {
                    Ok(user) => self.user(user, hash)?,
                    Err(why) => (Outcome::Refused, why.clone()),
                };
                self.line(&Line { record: Record::User, number: *number, name, outcome, why });
            }
        }
        Ok(())
    }

    /// The slow part for some users at once: a new hash, or a look whether the password is the account's.
    fn hashed(
        &self,
        records: &[(&file::Read<UserRecord>, usize)],
    ) -> Result<Vec<Option<Result<String, bool>>>, ImportError> {
        let mut work = Vec::with_capacity(records.len());
        for (record, _) in records {
            work.push(match record {
                Ok(user) if wrong_password(&user.password).is_none() => {
                    Some((user.password.clone(), self.holder(&user.name)?))
                }
                _ => None,
            });
        }
        let dry_run = self.dry_run;
        Ok(std::thread::scope(|scope| {
            let threads: Vec<_> = work
                .into_iter()
                .map(|work| scope.spawn(move || work.and_then(|work| hash(&work.0, &work.1, dry_run))))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or(None)).collect()
        }))
    }

    fn user(
        &mut self,
        user: &UserRecord,
        hash: Option<Result<String, bool>>,
    ) -> Result<(Outcome, String), ImportError> {
        let refused = |why: &str| Ok((Outcome::Refused, why.to_owned()));
        if let Some(why) = wrong_password(&user.password) {
            return refused(why);
        }
        // Asked again: the file may name him twice.
        match self.holder(&user.name)? {
            Holder::Account { user: id, same, .. } => {
                if same {
                    self.people.insert(names::fold(&user.name), id);
                    return Ok((Outcome::Known, "imported before".into()));
                }
                if matches!(hash, Some(Err(true))) {
                    self.people.insert(names::fold(&user.name), id);
                    return Ok((Outcome::Known, "has an account here with this password".into()));
                }
                refused("the name is taken here, by an account with another password")
            }
            Holder::Other => refused("the name is taken here"),
            Holder::Nobody => {
                let Some(Ok(password)) = hash else { return refused("the password could not be hashed") };
                // That system fills in the name where nobody gave an address.
                let about = if user.email == user.name { String::new() } else { user.email.clone() };
                let prepared = Prepared { password: Some(password), ..Prepared::default() };
                let request = Request::ImportUser { handle: user.name.clone(), about, prepared };
                match self.ask(vec![request])?.pop() {
                    Some(Ok(_)) => {}
                    Some(Err(refusal)) if refusal.is_definite() => return refused(&refusal.message),
                    Some(Err(refusal)) => return Err(refusal.into()),
                    None => return refused("nothing came of it"),
                }
                if let Holder::Account { user: id, .. } = self.holder(&user.name)? {
                    self.people.insert(names::fold(&user.name), id);
                }
                Ok((Outcome::Imported, String::new()))
            }
        }
    }

    fn holder(&self, name: &str) -> Result<Holder, ImportError> {
        let key = names::fold(name);
        self.read(move |reader| {
            let user = match reader.name(&key)?.map(|name| name.owner) {
                None => return Ok(Holder::Nobody),
                Some(Owner::Conversation(_)) => return Ok(Holder::Other),
                Some(Owner::User(id)) => reader.user(id)?,
            };
            let Some(user) = user.filter(|user| user.is_active() && user.kind == UserKind::Person) else {
                return Ok(Holder::Other);
            };
            let credentials = reader.credentials(user.id)?;
            let credentials: Credentials = credentials.map(|found| (*found).clone()).unwrap_or_default();
            Ok(Holder::Account { user: user.id, same: credentials.imported, hash: credentials.password })
        })
    }

    fn messages(&mut self, contents: &Contents) -> Result<(), ImportError> {
        let mut seen: HashMap<[u8; 32], u32> = HashMap::new();
        let numbered: Vec<_> = contents.messages.iter().zip(1..).collect();
        for records in numbered.chunks(AT_ONCE) {
            let (mut lines, mut requests) = (Vec::new(), Vec::new());
            for (record, number) in records {
                let asked = match record {
                    Ok(message) => self.request(message, &mut seen)?,
                    Err(why) => Err(why.clone()),
                };
                let name = record
                    .as_ref()
                    .map_or_else(|_| String::new(), |one| format!("{} to {}", one.from, one.to));
                lines.push((*number, name, asked.as_ref().err().cloned()));
                requests.extend(asked.ok());
            }
            let known = self.already(&requests)?;
            let mut verdicts = self.ask(requests)?.into_iter().zip(known);
            for (number, name, why) in lines {
                let (outcome, why) = match why {
                    Some(why) => (Outcome::Refused, why),
                    None => match verdicts.next() {
                        Some((Err(refusal), _)) if refusal.is_definite() => {
                            (Outcome::Refused, refusal.message)
                        }
                        Some((Err(refusal), _)) => return Err(refusal.into()),
                        Some((Ok(_), true)) => (Outcome::Known, "imported before".into()),
                        Some((Ok(_), false)) => (Outcome::Imported, String::new()),
                        None => (Outcome::Refused, "nothing came of it".into()),
                    },
                };
                self.line(&Line { record: Record::Message, number, name, outcome, why });
            }
        }
        Ok(())
    }

    /// What asks for a message, or why it cannot be asked for.
    fn request(
        &self,
        message: &MessageRecord,
        seen: &mut HashMap<[u8; 32], u32>,
    ) -> Result<Result<Request, String>, ImportError> {
        let (from, to) = (self.person(&message.from)?, self.person(&message.to)?);
        let (Some(from), Some(to)) = (from, to) else {
            let nobody = if from.is_none() { &message.from } else { &message.to };
            return Ok(Err(format!("{nobody} is not a user who was imported")));
        };
        // From what it is, not from where it stands: a file that was saved again has lost some before it.
        let mut hash = Sha256::new();
        let id = message.id.as_deref().unwrap_or_default();
        for part in [&*names::fold(&message.from), &*names::fold(&message.to), id, &message.text] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let digest: [u8; 32] = hash.finalize().into();
        let same_before = seen.entry(digest).or_default();
        *same_before += 1;
        let mut whole = Sha256::new();
        whole.update(digest);
        whole.update(same_before.to_le_bytes());
        let client_id = format!("import-{}", URL_SAFE_NO_PAD.encode(whole.finalize()));
        Ok(Ok(Request::ImportMessage { from, to, client_id, text: message.text.clone() }))
    }

    fn person(&self, name: &str) -> Result<Option<UserId>, ImportError> {
        if let Some(user) = self.people.get(&names::fold(name)) {
            return Ok(Some(*user));
        }
        Ok(match self.holder(name)? {
            Holder::Account { user, same: true, .. } => Some(user),
            _ => None,
        })
    }

    /// Which of these messages are in the store.
    fn already(&self, requests: &[Request]) -> Result<Vec<bool>, ImportError> {
        let asked: Vec<(UserId, String)> = requests
            .iter()
            .filter_map(|request| match request {
                Request::ImportMessage { from, client_id, .. } => Some((*from, client_id.clone())),
                _ => None,
            })
            .collect();
        self.read(move |reader| {
            asked.iter().map(|(user, client_id)| Ok(reader.sent(*user, client_id)?.is_some())).collect()
        })
    }

    /// Has requests decided, in order.
    fn ask(&self, requests: Vec<Request>) -> Result<Vec<Result<Reply, Refused>>, ImportError> {
        let (sender, verdicts) = mpsc::channel();
        let all = requests.len();
        for request in requests {
            let sender = sender.clone();
            let ticket = Box::new(move |verdict| {
                // Whoever asked waits for it.
                let _ = sender.send(verdict);
            });
            self.store.transact(Ask { request, ticket });
        }
        drop(sender);
        let verdicts: Vec<_> = verdicts.into_iter().map(reply).collect();
        if verdicts.len() == all { Ok(verdicts) } else { Err(gone()) }
    }

    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Reader) -> Known<T> + Send + 'static,
    ) -> Result<T, ImportError> {
        let (sender, answer) = mpsc::channel();
        self.store.read(Box::new(move |reader| {
            let _ = sender.send(reader.map_err(Into::into).and_then(read));
        }));
        Ok(answer.recv().map_err(|_| gone())?.map_err(told)?)
    }

    fn line(&mut self, line: &Line) {
        match line.outcome {
            Outcome::Imported => self.summary.imported += 1,
            Outcome::Known => self.summary.known += 1,
            Outcome::Refused => self.summary.refused += 1,
        }
        (self.tell)(line);
    }
}

fn gone() -> ImportError {
    Refused::new(chinwag_protocol::Kind::Unavailable, "failed", "the store has stopped").into()
}

/// A password that cannot be one anywhere.
fn wrong_password(password: &str) -> Option<&'static str> {
    if password.is_empty() {
        return Some("it has no password");
    }
    let long = password.chars().count() > chinwag_domain::limits::PASSWORD_CHARACTERS_MAX;
    long.then_some("the password is too long")
}

/// A new hash, or whether the password is that of the account. `None`: nothing is needed, or it failed.
fn hash(password: &str, holder: &Holder, dry_run: bool) -> Option<Result<String, bool>> {
    match holder {
        Holder::Nobody if dry_run => Some(Ok("not kept".into())),
        Holder::Nobody => hashing::hash_now(password).map(Ok),
        Holder::Account { same: false, hash, .. } => Some(Err(hashing::is_right(password, hash))),
        _ => None,
    }
}
