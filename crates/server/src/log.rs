//! Log lines: structured fields and a short phrase, never a message's text, a token or a password.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{LogConfig, LogFormat};

/// Starts logging to standard error. A second call changes nothing.
///
/// # Errors
/// If the filter of the configuration cannot be understood.
pub fn start(config: &LogConfig) -> Result<(), String> {
    let filter = EnvFilter::try_new(&config.filter).map_err(|error| format!("log.filter: {error}"))?;
    let registry = tracing_subscriber::registry().with(filter);
    // Already started: by a test, or by whoever embeds us.
    let _ = match config.format {
        LogFormat::Json => registry.with(fmt::layer().json().with_writer(std::io::stderr)).try_init(),
        LogFormat::Text => {
            let colour = std::io::stderr().is_terminal();
            registry.with(fmt::layer().with_ansi(colour).with_writer(std::io::stderr)).try_init()
        }
    };
    Ok(())
}
