//! Doors to other chat systems: which there are, and the listeners that drive them.
//!
//! A door is a machine of `chinwag-doors`; here are its sockets and its way to the messenger. What its clients
//! may do is decided where it is for everybody: in the rules. A new wire is one row of [`ROWS`].

mod ask;
mod gate;
mod line;
mod pump;
mod socket_io;
mod tcp;
mod udp;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chinwag_doors::{Door, PipeLine, Settings, SocketIo, TagJson, TcpJson, UdpAck};
use chinwag_protocol::{DoorView, Kind, Refused};
use tokio::net::{TcpListener, UdpSocket};

use self::gate::Gate;
use crate::{config::DoorConfig, messenger::Messenger, shared::Shared};

/// How bytes get to a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    SocketIo,
    Tcp,
    Udp,
}

/// A wire that this version speaks.
struct Row {
    name: &'static str,
    transport: Transport,
    /// The machine.
    make: fn(Settings) -> Box<dyn Door>,
}

/// All wires.
const ROWS: &[Row] = &[
    Row { name: "pipe_line", transport: Transport::Tcp, make: |settings| Box::new(PipeLine::new(settings)) },
    Row {
        name: "socket_io",
        transport: Transport::SocketIo,
        make: |settings| Box::new(SocketIo::new(settings)),
    },
    Row { name: "tag_json", transport: Transport::Tcp, make: |settings| Box::new(TagJson::new(settings)) },
    Row { name: "tcp_json", transport: Transport::Tcp, make: |settings| Box::new(TcpJson::new(settings)) },
    Row { name: "udp_ack", transport: Transport::Udp, make: |settings| Box::new(UdpAck::new(settings)) },
];

/// The names of all wires.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|row| row.name)
}

/// All doors that the configuration names, open or stopped.
#[derive(Clone, Default)]
pub(crate) struct Doors(Arc<Mutex<BTreeMap<String, Place>>>);

/// One configured door.
struct Place {
    config: DoorConfig,
    /// Where it listens, in words, once it was opened: a port 0 is a real one by then.
    listens: Vec<SocketAddr>,
    open: Option<Arc<Gate>>,
}

impl Doors {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens every door of the configuration. Its sockets are bound when this returns.
    ///
    /// # Errors
    /// The address that cannot be listened on, and why.
    pub(crate) async fn open_all(&self, shared: &Shared) -> Result<(), (SocketAddr, io::Error)> {
        for (name, config) in &shared.config.doors {
            let place = Place { config: config.clone(), listens: Vec::new(), open: None };
            self.lock().insert(name.clone(), place);
            self.open(name, shared).await?;
        }
        Ok(())
    }

    async fn open(&self, name: &str, shared: &Shared) -> Result<(), (SocketAddr, io::Error)> {
        let Some(row) = ROWS.iter().find(|row| row.name == name) else { return Ok(()) };
        let Some((config, listens)) =
            self.lock().get(name).map(|place| (place.config.clone(), place.listens.clone()))
        else {
            return Ok(());
        };
        // A door that was stopped opens where it was, even if the system chose its port.
        let wanted: Vec<SocketAddr> =
            if listens.is_empty() { config.addresses().collect() } else { listens.clone() };
        let sockets = bind(row.transport, &wanted).await?;
        let listens: Vec<_> = sockets.iter().map(Socket::address).collect();
        let (messenger, shutdown) = (shared.messenger.clone(), shared.shutdown.child_token());
        let door = (row.make)(settings(&config, listens[0], shared, &messenger));
        let gate = Gate::new(row.name, config, door, messenger, shared.tasks.clone(), shutdown);
        for socket in sockets {
            socket.serve(Arc::clone(&gate), shared);
        }
        if let Some(place) = self.lock().get_mut(name) {
            place.listens = listens;
            place.open = Some(gate);
        }
        self.tell_open(shared);
        Ok(())
    }

    /// Says for which doors somebody can make an app password that works now.
    fn tell_open(&self, shared: &Shared) {
        let places = self.lock();
        let open = places.iter().filter(|(_, place)| place.open.is_some()).map(|(name, _)| name.clone());
        shared.messenger.set_doors(open.collect());
    }

    /// Every configured door, as administrators see it.
    pub(crate) fn list(&self) -> Vec<DoorView> {
        let places = self.lock();
        let view = |(name, place): (&String, &Place)| DoorView {
            name: name.clone(),
            listens: place.listens.iter().map(SocketAddr::to_string).collect(),
            open: place.open.is_some(),
            links: place.open.as_ref().map_or(0, |gate| u32::try_from(gate.links()).unwrap_or(u32::MAX)),
            exposes: exposes(&place.config),
        };
        places.iter().map(view).collect()
    }

    /// Opens or stops a configured door; stopping closes its links.
    pub(crate) async fn set(&self, name: &str, open: bool, shared: &Shared) -> Result<DoorView, Refused> {
        let is_open = match self.lock().get(name) {
            Some(place) => place.open.is_some(),
            None => return Err(Refused::not_found()),
        };
        if is_open && !open {
            let gate = self.lock().get_mut(name).and_then(|place| place.open.take());
            if let Some(gate) = gate {
                gate.stop();
            }
            self.tell_open(shared);
        } else if !is_open && open {
            self.open(name, shared).await.map_err(|(address, error)| {
                let message = format!("cannot listen on {address}: {error}");
                Refused::new(Kind::Unavailable, "cannot_listen", message)
            })?;
        }
        let view = self.list().into_iter().find(|view| view.name == name);
        view.ok_or_else(Refused::not_found)
    }
}

enum Socket {
    Http(TcpListener, SocketAddr),
    Tcp(TcpListener, SocketAddr),
    Udp(Arc<UdpSocket>, SocketAddr),
}

impl Socket {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Http(_, address) | Self::Tcp(_, address) | Self::Udp(_, address) => *address,
        }
    }

    fn serve(self, gate: Arc<Gate>, shared: &Shared) {
        let tasks = gate.tasks.clone();
        match self {
            Self::Http(listener, _) => tasks.spawn(socket_io::listen(gate, listener, shared.clone())),
            Self::Tcp(listener, _) => tasks.spawn(tcp::listen(gate, listener, shared.budget.clone())),
            Self::Udp(socket, _) => tasks.spawn(udp::listen(gate, socket)),
        };
    }
}

async fn bind(
    transport: Transport,
    addresses: &[SocketAddr],
) -> Result<Vec<Socket>, (SocketAddr, io::Error)> {
    let mut sockets = Vec::new();
    for address in addresses {
        let bound = match transport {
            Transport::SocketIo => TcpListener::bind(address)
                .await
                .and_then(|listener| listener.local_addr().map(|at| Socket::Http(listener, at))),
            Transport::Tcp => TcpListener::bind(address)
                .await
                .and_then(|listener| listener.local_addr().map(|at| Socket::Tcp(listener, at))),
            Transport::Udp => UdpSocket::bind(address)
                .await
                .and_then(|socket| socket.local_addr().map(|at| Socket::Udp(Arc::new(socket), at))),
        };
        sockets.push(bound.map_err(|error| (*address, error))?);
    }
    Ok(sockets)
}

fn settings(config: &DoorConfig, listen: SocketAddr, shared: &Shared, messenger: &Messenger) -> Settings {
    Settings {
        open: config.open,
        mode: config.mode.into(),
        trusted_networks: config.trusted_networks.iter().map(|network| network.0).collect(),
        listen: reached_at(listen),
        web: shared.config.open_at(shared.config.listen).trim_end_matches('/').to_owned(),
        started_at: messenger.now(),
        zone: jiff::tz::TimeZone::system(),
    }
}

/// The address to tell others of a listener on all addresses: the one that this machine has on its way to them.
fn reached_at(listen: SocketAddr) -> SocketAddr {
    if !listen.ip().is_unspecified() {
        return listen;
    }
    // Nothing is sent: the system only says how it would reach an address that is kept for examples.
    let far: SocketAddr = match listen {
        SocketAddr::V4(_) => ([192, 0, 2, 1], 9).into(),
        SocketAddr::V6(_) => ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 9).into(),
    };
    let way = std::net::UdpSocket::bind((listen.ip(), 0)).and_then(|socket| {
        socket.connect(far)?;
        socket.local_addr()
    });
    way.map_or(listen, |own| SocketAddr::new(own.ip(), listen.port()))
}

/// What everybody who reaches a door can do or see there.
fn exposes(config: &DoorConfig) -> String {
    let mut parts = vec!["passwords and messages unencrypted"];
    if config.register {
        parts.push("making accounts");
    }
    if config.open {
        parts.push("signing in by name alone");
    }
    parts.join(", ")
}
