//! A server from its start to its end: put the parts together, greet, run, drain.

use std::{
    fmt::Write as _, io, net::SocketAddr, path::PathBuf, sync::Arc, thread::JoinHandle, time::Duration,
};

use chinwag_domain::{Failed, Publish, Request, Store, bots::Poems};
use chinwag_protocol::{Millis, Refused, Registration};
use chinwag_store::{
    objects::{FolderObjects, ObjectError},
    sqlite,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;

use crate::{
    calls::watch_calls,
    chores::Chores,
    config::Config,
    files::keep_files,
    hashing::fresh_token,
    hub::{self, Clock, Hub},
    limit::Limiter,
    listen, log,
    messenger::{Messenger, Parts, Publisher, decide, restarting},
    sessions::Sessions,
    shared::Shared,
};

/// The process ends with this when the disk fails: nothing is acknowledged after that, and recovery decides.
pub const EXIT_DISK_FAILED: i32 = 74;

/// How long what was accepted may take to be answered when the server goes down.
const DRAIN_WITHIN: Duration = Duration::from_secs(6);

/// How long the last lines of the log may take when the disk has failed.
const LAST_WORDS_WITHIN: Duration = Duration::from_millis(300);

/// How long connections may take to say goodbye.
const GOODBYE_WITHIN: Duration = Duration::from_secs(2);

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder cannot be used.
    #[error(transparent)]
    Store(#[from] sqlite::OpenError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why not.
        cause: io::Error,
    },
    /// The folder of the files cannot be used.
    #[error(transparent)]
    Files(#[from] ObjectError),
    /// The poems cannot be read.
    #[error("cannot read the poems in {}: {cause}", file.display())]
    Poems {
        /// Which file.
        file: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// The store does not do as it is told.
    #[error("cannot start: {0}")]
    Refused(#[from] Refused),
    /// Our own trouble.
    #[error(transparent)]
    Failed(#[from] Failed),
}

/// A server that listens.
pub struct Server {
    shared: Shared,
    store: Arc<dyn Store>,
    hub: Hub,
    hub_thread: JoinHandle<()>,
    address: SocketAddr,
    listener: TcpListener,
    metrics_listener: Option<TcpListener>,
    setup_token: Option<String>,
    registration: Registration,
    chores: Arc<Chores>,
}

impl Server {
    /// Opens the store and listens; nothing is answered before [`Server::run`].
    pub async fn start(config: Config) -> Result<Self, StartError> {
        #[cfg(feature = "canaries")]
        let config = wrong_on_purpose(config).await?;
        let poems = poems(&config)?;
        // Listening first: a taken address is found out before the store is touched.
        let listener = bind(config.listen).await?;
        let address =
            listener.local_addr().map_err(|cause| StartError::Listen { address: config.listen, cause })?;
        // Who is told where this server is, in a link to a file for example, is told its real port.
        let config = Config { listen: address, ..config };
        let metrics_listener = match config.metrics {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let metrics = metrics_listener.as_ref().and_then(|_| recorder());

        let clock: Clock = Arc::new(wall_clock);
        let (hub, inbox) = hub::channel();
        let sessions = Arc::<Sessions>::default();
        let chores = Arc::<Chores>::default();
        let publisher: Arc<dyn Publish> = Arc::new(Publisher {
            hub: hub.clone(),
            sessions: Arc::clone(&sessions),
            chores: Arc::clone(&chores),
        });
        let mut options = sqlite::Options::new(&config.data, Arc::new(decide), Arc::clone(&clock), publisher);
        options.on_fatal = Box::new(|| {
            // It names the disk; but a reader that has stopped must not keep the process alive.
            log::flush(LAST_WORDS_WITHIN);
            std::process::exit(EXIT_DISK_FAILED)
        });
        let store = tokio::task::spawn_blocking(move || sqlite::open(options))
            .await
            .map_err(|error| Failed::new("cannot open the store", error))??;
        let store: Arc<dyn Store> = Arc::new(store);
        // After the store, which holds the lock of the folder.
        let folder = config.data.join("files");
        let objects = tokio::task::spawn_blocking(move || FolderObjects::open(&folder))
            .await
            .map_err(|error| Failed::new("cannot open the files", error))??;

        let limiter = Arc::new(Limiter::new(&config.limits));
        let messenger = Messenger::new(Parts {
            store: Arc::clone(&store),
            hub: hub.clone(),
            sessions,
            limiter: Arc::clone(&limiter),
            objects: Arc::new(objects),
            poems,
            clock: Arc::clone(&clock),
        });
        let thread_store = Arc::clone(&store);
        let limits = config.limits.clone();
        let hub_thread = tokio::task::spawn_blocking(move || inbox.start(thread_store, clock, &limits))
            .await
            .map_err(|error| Failed::new("cannot start the hub", error))??;

        let setup = fresh_token::<16>("set_");
        let found = Request::Found { registration: config.first_registration(), setup: Some(setup.hash) };
        messenger.transacted(found).await?;
        messenger.end_bound_sessions().await?;
        let info = messenger.info().await?;
        let shared = Shared::new(Arc::new(config), messenger, limiter, metrics);
        let doors = shared.doors.clone();
        doors.open_all(&shared).await.map_err(|(address, cause)| StartError::Listen { address, cause })?;
        Ok(Self {
            shared,
            store,
            hub,
            hub_thread,
            address,
            listener,
            metrics_listener,
            setup_token: info.needs_setup.then_some(setup.plain),
            registration: info.registration,
            chores,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the doors listen, by the names of their wires.
    pub fn doors(&self) -> Vec<chinwag_protocol::DoorView> {
        self.shared.doors.list()
    }

    /// Where it serves figures, if it does.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_listener.as_ref()?.local_addr().ok()
    }

    /// The secret part of the link for the first administrator, while there is none.
    pub fn setup_token(&self) -> Option<&str> {
        self.setup_token.as_deref()
    }

    /// The way to everything: for tests that look inside.
    pub fn messenger(&self) -> &Messenger {
        &self.shared.messenger
    }

    /// What a person who starts the server wants to know.
    pub fn greeting(&self) -> String {
        let config = &self.shared.config;
        let open_at = config.open_at(self.address);
        let open_at = open_at.trim_end_matches('/');
        let mut text = format!("Chinwag {}\n\n", env!("CARGO_PKG_VERSION"));
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "  {name:<14} {value}");
        };
        line("Open", &format!("{open_at}/"));
        if let Some(token) = &self.setup_token {
            line("Administrator", &format!("{open_at}/#/setup/{token}"));
            line("", "make the first account with this link; it is good once, for 30 minutes");
        }
        let reach = if self.address.ip().is_loopback() {
            "this computer only"
        } else {
            "the network of this address"
        };
        line("Reached from", reach);
        line(
            "Accounts",
            match self.registration {
                Registration::Open => "open: anybody who reaches this address may register",
                Registration::Invite => "by invitation link",
                Registration::Closed => "closed: administrators make them",
            },
        );
        let doors = self.shared.doors.list();
        if doors.is_empty() {
            line("Doors", "none open besides the web and the native protocol");
        }
        for (at, door) in doors.iter().enumerate() {
            let name = if at == 0 { "Doors" } else { "" };
            line(name, &format!("{:<10} {}: {}", door.name, door.listens.join(", "), door.exposes));
        }
        line("Data", &config.data.display().to_string());
        text
    }

    /// Serves until `stop`, then drains: answers what was accepted, tells clients when to come back, ends.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let shared = self.shared;
        let (messenger, shutdown) = (|| shared.messenger.clone(), || shared.shutdown.clone());
        shared.tasks.spawn(keep_files(messenger(), Arc::clone(&self.chores), shutdown()));
        shared.tasks.spawn(watch_calls(messenger(), self.chores, shutdown()));
        let serving = tokio::spawn(listen::run(self.listener, shared.clone()));
        if let Some(listener) = self.metrics_listener {
            tokio::spawn(listen::run_metrics(listener, shared.clone()));
            tokio::spawn(upkeep(shared.clone()));
        }
        stop.await;
        tracing::info!("stopping");
        #[cfg(feature = "canaries")]
        if chinwag_store::canary::is(chinwag_store::canary::Canary::WaitsForClients) {
            shared.tasks.close();
            shared.tasks.wait().await;
        }
        shared.shutdown.cancel();
        if serving.await.is_err() {
            tracing::error!("the listener ended early");
        }
        if tokio::time::timeout(DRAIN_WITHIN, shared.messenger.drain()).await.is_err() {
            tracing::warn!("some requests were not answered in time");
        }
        self.hub.close_all(restarting());
        shared.tasks.close();
        if tokio::time::timeout(GOODBYE_WITHIN, shared.tasks.wait()).await.is_err() {
            tracing::info!(left = shared.tasks.len(), "some connections did not end in time");
        }
        self.hub.stop();
        let thread = self.hub_thread;
        let ended = tokio::task::spawn_blocking(move || thread.join());
        if !matches!(ended.await, Ok(Ok(()))) {
            tracing::error!("the hub ended early");
        }
        // The last owner of the store writes what is in memory only and closes it.
        drop(shared);
        let store = self.store;
        let _ = tokio::task::spawn_blocking(move || drop(store)).await;
        tracing::info!("stopped");
    }
}

/// What some builds do wrong before they start.
#[cfg(feature = "canaries")]
async fn wrong_on_purpose(mut config: Config) -> Result<Config, StartError> {
    use chinwag_store::canary::{Canary, is};
    if is(Canary::NoDeadlines) {
        let http = &mut config.http;
        let deadlines = [&mut http.head_timeout_ms, &mut http.idle_timeout_ms, &mut http.write_timeout_ms];
        deadlines.into_iter().for_each(|deadline| *deadline = 600_000);
        (http.body_timeout_ms, http.body_grace_ms) = (600_000, 600_000);
    }
    if is(Canary::LimitsLifted) {
        config.limits = chinwag_domain::limits::Limits::lifted();
    }
    if is(Canary::NeedsNetwork) {
        // A way to anybody outside is enough; nothing is sent to this address, which nobody has.
        let address = SocketAddr::from(([192, 0, 2, 1], 53));
        let reach = async || tokio::net::UdpSocket::bind("0.0.0.0:0").await?.connect(address).await;
        reach().await.map_err(|cause| StartError::Listen { address, cause })?;
    }
    Ok(config)
}

/// The time of the wall: for what people read, never for order.
pub(crate) fn wall_clock() -> Millis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    #[cfg(feature = "canaries")]
    if chinwag_store::canary::is(chinwag_store::canary::Canary::SecondsIn32Bits) {
        // What does not fit is as late as can be.
        return Millis(
            i32::try_from(since.as_secs()).map_or(i64::MAX / 4, |seconds| i64::from(seconds) * 1000),
        );
    }
    Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|cause| StartError::Listen { address, cause })
}

fn poems(config: &Config) -> Result<Poems, StartError> {
    let Some(file) = &config.poems else { return Ok(Poems::built_in()) };
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Poems::parse(&text)),
        Err(cause) => Err(StartError::Poems { file: file.clone(), cause }),
    }
}

/// Starts counting; only once in a process, whoever comes first.
fn recorder() -> Option<PrometheusHandle> {
    PrometheusBuilder::new().install_recorder().ok()
}

async fn upkeep(shared: Shared) {
    let mut every = tokio::time::interval(Duration::from_secs(5));
    while shared.shutdown.run_until_cancelled(every.tick()).await.is_some() {
        if let Some(metrics) = &shared.metrics {
            metrics.run_upkeep();
        }
    }
}
