//! What the listeners and routes share.

use std::{ops::Deref, sync::Arc};

use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::Config,
    http::origin::Names,
    limit::Limiter,
    listen::{Budget, doors::Doors},
    messenger::Messenger,
};

/// The parts, once. Cheap to clone.
#[derive(Clone)]
pub struct Shared(Arc<Parts>);

/// What a running server consists of, as far as its listeners know.
pub struct Parts {
    /// What is in force.
    pub config: Arc<Config>,
    /// The way to everything else.
    pub messenger: Messenger,
    /// The rates.
    pub limiter: Arc<Limiter>,
    /// How many connections there may be.
    pub budget: Budget,
    /// The names under which the server may be addressed.
    pub names: Names,
    /// Ends the listeners and asks every connection to end.
    pub shutdown: CancellationToken,
    /// Every connection, so that draining can wait for them.
    pub tasks: TaskTracker,
    /// The doors of the configuration.
    pub(crate) doors: Doors,
    /// Renders the figures of `/metrics`.
    pub metrics: Option<PrometheusHandle>,
}

impl Shared {
    /// Puts the parts together.
    pub fn new(
        config: Arc<Config>,
        messenger: Messenger,
        limiter: Arc<Limiter>,
        metrics: Option<PrometheusHandle>,
    ) -> Self {
        let budget = Budget::new(&config.limits);
        let names = config.names();
        let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
        let doors = Doors::default();
        Self(Arc::new(Parts { config, messenger, limiter, budget, names, shutdown, tasks, doors, metrics }))
    }
}

impl Deref for Shared {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
