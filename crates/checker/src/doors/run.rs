//! One server with all doors open, and somebody on each wire, with the web page's connection, with the native one, and
//! at the command line: all in one group, most in another, and in private conversations from wire to wire.
//!
//! Like every [`Workload`], it is told what is done to the server, and hands over the history at the end.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chinwag_protocol::{Command, ConversationKind, History as Past, Refused, Reply, UserId};

use super::{
    PASSWORD, Way, Wire,
    command_line::CommandLine,
    person::Person as Program,
    pipe_line::{self, PipeLine},
    places::{Place, Places},
    socket_io::SocketIo,
    strange,
    tag_json::{self, TagJson},
    tcp_json::{self, TcpJson},
    udp_ack::UdpAck,
};
use crate::{
    History, Random, Record,
    client::{self, Progress, World},
    history::{What, hash},
    net,
    workload::{Person, Workload, device, entered, sign_in},
};

/// The server-wide group, of which every account is a member.
const EVERYONE: u32 = 1;
/// The user that made it.
const BOT: u32 = 1;

/// One wire tells what was missed only after three seconds, and a message a second.
const SETTLE: Duration = Duration::from_secs(50);

/// What there is, and how much is done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the server listens, through all its restarts.
    pub address: SocketAddr,
    /// Where each door does.
    pub doors: Doors,
    /// The program `chinwag`.
    pub program: PathBuf,
    /// Where people at the command line keep their things.
    pub folder: PathBuf,
    /// What all choices follow from.
    pub seed: u64,
    /// How many there are on each wire.
    pub each: u32,
    /// Actions of all of them together in a second.
    pub actions_per_s: u32,
    /// How much is said where the wire that is a second late with each message listens, in a thousand.
    pub seldom_per_mille: u64,
}

/// The addresses of the doors.
#[derive(Clone, Copy, Debug)]
pub struct Doors {
    /// `tcp_json`
    pub tcp_json: SocketAddr,
    /// `tag_json`
    pub tag_json: SocketAddr,
    /// `pipe_line`
    pub pipe_line: SocketAddr,
    /// `udp_ack`, in mode `relay`
    pub udp_ack: SocketAddr,
    /// `socket_io`
    pub socket_io: SocketAddr,
}

/// By what somebody comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Native,
    Web,
    TcpJson,
    TagJson,
    PipeLine,
    UdpAck,
    SocketIo,
    CommandLine,
}

const ALL: &[(By, &str)] = &[
    (By::Native, "nat"),
    (By::Web, "web"),
    (By::TcpJson, "tcp"),
    (By::TagJson, "tag"),
    (By::PipeLine, "pip"),
    (By::UdpAck, "udp"),
    (By::SocketIo, "sio"),
    (By::CommandLine, "cli"),
];

/// A private conversation from each to some of the next in `ALL`, so that every wire meets several others.
const APART: &[usize] = &[1, 3];

struct Somebody {
    by: By,
    handle: String,
    person: Person,
}

/// A running workload of all wires.
pub struct Run {
    workload: Workload,
    places: Arc<Places>,
    /// Who reads at the end what `chinwag read` prints.
    reader: (CommandLine, String),
}

impl Run {
    /// Makes the accounts, each on its own wire where that is possible, and the conversations. Then everybody signs in.
    pub fn start(plan: &Plan) -> io::Result<Self> {
        let mut all = Vec::new();
        for number in 0..plan.each.max(1) {
            for (by, name) in ALL {
                all.push(sign_up(plan, *by, &format!("{name}{number}-{:x}", plan.seed & 0xff_ffff))?);
            }
        }
        let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
        let history = History::default();
        for somebody in &all {
            let handle = somebody.handle.clone();
            history.note(0, somebody.person.user, 0, What::Person { handle });
        }
        let mut world = World {
            address: plan.address,
            history,
            users: all.iter().map(|somebody| somebody.person.user).collect(),
            places: Vec::new(),
            pause: Duration::from_secs(1) * count / plan.actions_per_s.max(1),
            // Nothing is said until everybody is there.
            quiet: AtomicBool::new(true),
            end: AtomicBool::new(false),
            calls: AtomicU64::new(1),
            plain: true,
            seldom: Vec::new(),
            seldom_per_mille: plan.seldom_per_mille,
            crashes: AtomicU64::new(0),
        };
        let places = Arc::new(make_places(&mut world, &all).map_err(strange)?);
        let reader = all.iter().find(|somebody| somebody.by == By::CommandLine);
        let handle = reader.map(|somebody| somebody.handle.clone()).unwrap_or_default();
        let reader = (command_line(plan, &handle), handle);
        let mut run = Self { workload: Workload::idle(Arc::new(world), SETTLE), places, reader };
        let random = Random::new(plan.seed);
        for somebody in all {
            run.bring(plan, somebody, &random)?;
        }
        run.wait_for_all()?;
        run.workload.world().quiet.store(false, Ordering::Release);
        Ok(run)
    }

    fn bring(&mut self, plan: &Plan, somebody: Somebody, random: &Random) -> io::Result<()> {
        let Somebody { by, handle, mut person } = somebody;
        let way = |address| Way { address, name: handle.clone() };
        let wire: Box<dyn Wire> = match by {
            By::Native => {
                self.workload.start_client(person, random);
                return Ok(());
            }
            By::Web => {
                person.cookie = Some(net::cookie(plan.address, &device(&handle, PASSWORD, true))?);
                self.workload.start_client(person, random);
                return Ok(());
            }
            By::TcpJson => Box::new(TcpJson(way(plan.doors.tcp_json))),
            By::TagJson => Box::new(TagJson(way(plan.doors.tag_json))),
            By::PipeLine => Box::new(PipeLine(way(plan.doors.pipe_line))),
            By::UdpAck => {
                Box::new(UdpAck { address: plan.doors.udp_ack, name: handle.clone(), known: false })
            }
            By::SocketIo => Box::new(SocketIo {
                address: plan.doors.socket_io,
                name: handle.clone(),
                token: None,
                opened: 0,
            }),
            By::CommandLine => Box::new(command_line(plan, &handle)),
        };
        let (number, progress) = (self.workload.next(), Arc::<Mutex<Progress>>::default());
        let program = Program {
            wire,
            number,
            user: person.user,
            own: handle,
            places: self.places.clone(),
            world: self.workload.world().clone(),
            random: random.fork(100 + u64::from(number)),
            progress: progress.clone(),
        };
        let thread = std::thread::Builder::new().spawn(move || program.run())?;
        self.workload.add(thread, progress, person);
        Ok(())
    }

    fn wait_for_all(&self) -> io::Result<()> {
        let until = Instant::now() + SETTLE;
        while !self.workload.is_settled() {
            if Instant::now() > until {
                return Err(strange(format!("not everybody could come in: {}", self.workload.troubles())));
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        Ok(())
    }

    /// What is done to the server is said here.
    pub fn workload(&self) -> &Workload {
        &self.workload
    }

    /// The server is well: everybody comes back and gets what is missing, then the logs are read as a whole, natively
    /// and by `chinwag read`. The history of it all.
    pub fn heal(self) -> io::Result<Vec<Record>> {
        let Self { workload, places, reader: (reader, handle), .. } = self;
        let mut records = workload.heal().map_err(strange)?;
        for place in places.0.iter().filter(|place| place.members.contains(&handle)) {
            let printed = read(&reader, place.id)?;
            let last = records.last().map_or(0, |record| record.ts_mono);
            let what = What::Printed { conversation: place.id, texts: printed };
            records.push(Record { ts_mono: last, client: 0, user: 0, session: 0, what });
        }
        Ok(records)
    }
}

/// What `chinwag read` prints of a whole conversation: numbers and hashes of texts.
fn read(reader: &CommandLine, conversation: u32) -> io::Result<Vec<(u32, String)>> {
    let mut all: Vec<(u32, String)> = Vec::new();
    loop {
        let after = all.last().map_or(0, |(seq, _)| *seq);
        let page = reader.read(conversation, after)?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page.into_iter().map(|(seq, text)| (seq, hash(&text))));
    }
}

fn command_line(plan: &Plan, handle: &str) -> CommandLine {
    CommandLine { program: plan.program.clone(), server: plan.address, home: plan.folder.join(handle) }
}

/// An account, made on its wire if the wire has a word for it; everybody's number is asked for natively.
fn sign_up(plan: &Plan, by: By, handle: &str) -> io::Result<Somebody> {
    let path = match by {
        By::Native | By::Web | By::UdpAck | By::SocketIo => "/api/register",
        By::TcpJson | By::TagJson | By::PipeLine | By::CommandLine => "/api/sign-in",
    };
    match by {
        By::TcpJson => tcp_json::sign_up(plan.doors.tcp_json, handle)?,
        By::TagJson => tag_json::sign_up(plan.doors.tag_json, handle)?,
        By::PipeLine => pipe_line::sign_up(plan.doors.pipe_line, handle)?,
        By::CommandLine => command_line(plan, handle).sign_up(handle)?,
        By::Native | By::Web | By::UdpAck | By::SocketIo => {}
    }
    let person = sign_in(plan.address, path, handle, PASSWORD).map_err(strange)?;
    Ok(Somebody { by, handle: handle.to_owned(), person })
}

fn make_places(world: &mut World, all: &[Somebody]) -> Result<Places, Refused> {
    let mut places = Places::default();
    let Some(first) = all.first() else { return Ok(places) };
    let names = |of: &[&Somebody]| of.iter().map(|one| one.handle.clone()).collect::<Vec<_>>();
    // Everybody entered it by registering.
    entered(world, EVERYONE, BOT, BOT);
    for one in all {
        entered(world, EVERYONE, one.person.user, one.person.user);
    }
    let everybody: Vec<&Somebody> = all.iter().collect();
    places.0.push(Place { id: EVERYONE, handle: Some("Everyone".to_owned()), members: names(&everybody) });
    world.places.push(client::Place { id: EVERYONE, owner: first.person.user, direct: false, public: true });
    world.seldom.push(EVERYONE);
    // Where much is said: whoever hears a second later than the others of each message is not in it.
    let handle = format!("tea-{}", first.handle);
    let drinkers: Vec<&Somebody> = all.iter().filter(|one| one.by != By::SocketIo).collect();
    let made = Command::CreateConversation {
        client_id: handle.clone(),
        kind: ConversationKind::Group,
        name: "Tea".to_owned(),
        handle: Some(handle.clone()),
        topic: String::new(),
        public: true,
        history: Past::All,
        posting: None,
        members: drinkers.iter().skip(1).map(|one| UserId(one.person.user)).collect(),
    };
    let tea = conversation(world, &first.person, &made)?;
    places.0.push(Place { id: tea, handle: Some(handle), members: names(&drinkers) });
    world.places.push(client::Place { id: tea, owner: first.person.user, direct: false, public: true });
    for one in &drinkers {
        entered(world, tea, first.person.user, one.person.user);
    }
    for (at, one) in all.iter().enumerate() {
        for apart in APART {
            let Some(other) = all.get((at + apart) % all.len()).filter(|other| other.handle != one.handle)
            else {
                continue;
            };
            let open = Command::OpenDirect { user: UserId(other.person.user) };
            let id = conversation(world, &one.person, &open)?;
            if places.0.iter().any(|place| place.id == id) {
                continue;
            }
            places.0.push(Place { id, handle: None, members: names(&[one, other]) });
            world.places.push(client::Place { id, owner: one.person.user, direct: true, public: false });
            for subject in [one, other] {
                entered(world, id, one.person.user, subject.person.user);
            }
            if [one, other].iter().any(|one| one.by == By::SocketIo) {
                world.seldom.push(id);
            }
        }
    }
    Ok(places)
}

fn conversation(world: &World, of: &Person, command: &Command) -> Result<u32, Refused> {
    match net::post(world.address, "/api/command", Some(&of.token), command)? {
        Reply::Conversation { conversation } => Ok(conversation.0),
        other => Err(crate::workload::strange(&other)),
    }
}
