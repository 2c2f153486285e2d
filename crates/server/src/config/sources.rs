//! From where settings come: the defaults, a file, the environment, flags; a later one wins.
//!
//! Each source becomes a list of single settings, so that it can always be said which of them is in force. The
//! defaults are the example file itself, which a test compares with `Config::default()`.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use super::{Config, check_door};

const DEFAULTS: &str = include_str!("../../server.example.toml");
const PREFIX: &str = "CHINWAG_";

/// What was given on the command line.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--config FILE`
    pub config: Option<PathBuf>,
    /// `--data DIR`
    pub data: Option<PathBuf>,
    /// `--listen ADDR:PORT`
    pub listen: Option<String>,
    /// `--i-understand-plaintext`
    pub plaintext: bool,
    /// `--metrics ADDR:PORT`
    pub metrics: Option<String>,
    /// `--door NAME=ADDR:PORT`, each
    pub doors: Vec<String>,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// A flag.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// One setting in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Its value.
    pub value: Value,
    /// Where it came from.
    pub source: Source,
}

/// The configuration, and how it came about.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What is in force.
    pub config: Config,
    /// Every setting by its path.
    pub settings: BTreeMap<String, Setting>,
    /// What looked like a setting and was none.
    pub warnings: Vec<String>,
}

impl Loaded {
    /// Every value and where it came from, one per line; itself a configuration file.
    pub fn print(&self) -> String {
        let lines = self
            .settings
            .iter()
            .map(|(key, setting)| (format!("{key} = {}", setting.value), &setting.source));
        let width = lines.clone().map(|(line, _)| line.chars().count()).max().unwrap_or(0);
        lines.map(|(line, source)| format!("{line:width$}  # {source}\n")).collect()
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// A file is no TOML.
    #[error("{} line {line}: {message}", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Where.
        line: usize,
        /// Why.
        message: String,
    },
    /// A setting is wrong.
    #[error("{key} ({origin}): {message}")]
    Wrong {
        /// Which.
        key: String,
        /// Where it was set.
        origin: Source,
        /// What is wrong.
        message: String,
    },
}

/// Reads everything once.
///
/// # Errors
/// If a file cannot be read or a setting is unknown or wrong.
pub fn load(
    flags: &Flags,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, ConfigError> {
    let mut layers = Layers::default();
    let defaults = DEFAULTS.parse::<Table>().expect("a test reads the example");
    layers.add_table(&defaults, &Source::Default);

    let mut from_environment = Vec::new();
    for (name, text) in environment {
        if let Some(path) = name.strip_prefix(PREFIX) {
            from_environment.push((path.to_ascii_lowercase().replace("__", "."), name, text));
        }
    }
    from_environment.sort();

    let data = flags.data.clone().or_else(|| {
        let named = from_environment.iter().find(|(key, ..)| key == "data");
        named.map(|(_, _, text)| PathBuf::from(text))
    });
    layers.add_file(flags.config.as_deref(), data.as_deref())?;
    for (key, name, text) in from_environment {
        layers.add_variable(&key, name, &text);
    }
    layers.add_flags(flags)?;
    layers.finish()
}

#[derive(Default)]
struct Layers {
    settings: BTreeMap<String, Setting>,
    warnings: Vec<String>,
}

impl Layers {
    fn set(&mut self, key: &str, value: Value, source: Source) {
        self.settings.insert(key.to_owned(), Setting { value, source });
    }

    fn add_table(&mut self, table: &Table, source: &Source) {
        self.add_table_at("", table, source);
    }

    fn add_table_at(&mut self, prefix: &str, table: &Table, source: &Source) {
        for (key, value) in table {
            let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            match value {
                Value::Table(inner) => self.add_table_at(&key, inner, source),
                value => self.set(&key, value.clone(), source.clone()),
            }
        }
    }

    /// The file that was named, or the one in the data folder if there is one.
    fn add_file(&mut self, named: Option<&Path>, data: Option<&Path>) -> Result<(), ConfigError> {
        let default_data = self.settings.get("data").and_then(|data| data.value.as_str()).map(PathBuf::from);
        let data = data.map(Path::to_owned).or(default_data).unwrap_or_default();
        let path = named.map_or_else(|| data.join("chinwag.toml"), Path::to_owned);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(cause) if named.is_none() && cause.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(cause) => return Err(ConfigError::Unreadable { path, cause }),
        };
        self.add_text(&text, path, named.is_none())
    }

    fn add_text(&mut self, text: &str, path: PathBuf, in_data: bool) -> Result<(), ConfigError> {
        let mut table = text.parse::<Table>().map_err(|error| {
            let at = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = 1 + text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
            ConfigError::Malformed { path: path.clone(), line, message: error.message().to_owned() }
        })?;
        if in_data {
            // It lies in the data folder, which is therefore known.
            table.remove("data");
        }
        self.add_table(&table, &Source::File(path));
        Ok(())
    }

    fn add_variable(&mut self, key: &str, name: String, text: &str) {
        #[cfg(feature = "canaries")]
        if name == "CHINWAG_CANARY" {
            return;
        }
        let section = key.split('.').next().unwrap_or_default();
        let known = |settings: &BTreeMap<String, Setting>| {
            settings.keys().any(|known| known.split('.').next() == Some(section)) || section == "doors"
        };
        if !known(&self.settings) {
            // The clients have variables of their own.
            self.warnings.push(format!("{name} is not a setting of the server"));
            return;
        }
        let value = match self.settings.get(key).map(|setting| &setting.value) {
            Some(Value::String(_)) => Value::String(text.to_owned()),
            Some(Value::Array(_)) if !text.trim_start().starts_with('[') => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                Value::Array(parts.map(|part| Value::String(part.to_owned())).collect())
            }
            _ => text.parse().unwrap_or_else(|_| Value::String(text.to_owned())),
        };
        let source = Source::Environment(name);
        match value {
            Value::Table(table) => self.add_table_at(key, &table, &source),
            value => self.set(key, value, source),
        }
    }

    fn add_flags(&mut self, flags: &Flags) -> Result<(), ConfigError> {
        if let Some(data) = &flags.data {
            self.set("data", Value::String(data.to_string_lossy().into_owned()), Source::Flag("--data"));
        }
        if let Some(listen) = &flags.listen {
            self.set("listen", Value::String(listen.clone()), Source::Flag("--listen"));
        }
        if flags.plaintext {
            self.set("plaintext", Value::Boolean(true), Source::Flag("--i-understand-plaintext"));
        }
        if let Some(metrics) = &flags.metrics {
            self.set("metrics", Value::String(metrics.clone()), Source::Flag("--metrics"));
        }
        for door in &flags.doors {
            let Some((name, listen)) = door.split_once('=') else {
                let message = format!("{door:?} is not NAME=ADDR:PORT");
                return Err(ConfigError::Wrong {
                    key: "doors".into(),
                    origin: Source::Flag("--door"),
                    message,
                });
            };
            let key = format!("doors.{name}.listen");
            self.set(&key, Value::String(listen.to_owned()), Source::Flag("--door"));
        }
        Ok(())
    }

    fn finish(self) -> Result<Loaded, ConfigError> {
        for (key, setting) in &self.settings {
            if let Some(door) = key.strip_prefix("doors.") {
                let name = door.split('.').next().unwrap_or_default();
                check_door(name).map_err(|message| ConfigError::Wrong {
                    key: format!("doors.{name}"),
                    origin: setting.source.clone(),
                    message,
                })?;
            }
        }
        self.check_shape()?;
        let mut table = Table::new();
        for (key, setting) in &self.settings {
            insert(&mut table, key, setting.value.clone());
        }
        let config = serde_path_to_error::deserialize::<_, Config>(Value::Table(table)).map_err(|error| {
            let key = error.path().to_string();
            let message = error.inner().message().to_owned();
            self.wrong(&key, message)
        })?;
        config.check().map_err(|(key, message)| self.wrong(&key, message))?;
        Ok(Loaded { config, settings: self.settings, warnings: self.warnings })
    }

    /// A value where a section is expected, or the other way round.
    fn check_shape(&self) -> Result<(), ConfigError> {
        for (key, setting) in &self.settings {
            let borders = key.match_indices('.').map(|(at, _)| &key[..at]);
            let clash = borders.filter_map(|section| self.settings.get_key_value(section)).next();
            if let Some((section, other)) = clash {
                // One of the two is a default, and right.
                let origin = if other.source == Source::Default { &setting.source } else { &other.source };
                let message = if other.source == Source::Default {
                    "a value, not a section"
                } else {
                    "a section, not a value"
                };
                let message = format!("expected {message}");
                return Err(ConfigError::Wrong { key: section.clone(), origin: origin.clone(), message });
            }
        }
        Ok(())
    }

    fn wrong(&self, key: &str, message: String) -> ConfigError {
        // The path of an unknown field ends at the field, that of a missing one at its section.
        let inside = format!("{key}.");
        let found = self.settings.get(key).or_else(|| {
            let of_section = self.settings.iter().filter(|(other, _)| other.starts_with(&inside));
            of_section.map(|(_, setting)| setting).find(|setting| setting.source != Source::Default)
        });
        let origin = found.map_or(Source::Default, |setting| setting.source.clone());
        ConfigError::Wrong { key: key.to_owned(), origin, message }
    }
}

fn insert(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => drop(table.insert(key.to_owned(), value)),
        Some((section, rest)) => {
            let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_with(flags: &Flags, environment: &[(&str, &str)]) -> Result<Loaded, String> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        load(flags, environment).map_err(|error| error.to_string())
    }

    fn somewhere() -> Flags {
        Flags { data: Some("/no/such/folder".into()), ..Flags::default() }
    }

    #[test]
    fn the_example_is_the_default() {
        let loaded = load(&Flags::default(), []).unwrap();
        assert_eq!(loaded.config, Config::default());
        assert!(loaded.settings.values().all(|setting| setting.source == Source::Default));
    }

    #[test]
    fn a_later_source_wins_and_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("chinwag.toml");
        let text = "listen = '127.0.0.1:1'\nhosts = ['a']\n[limits]\nconnections_per_user = 3\nmessages_per_account.burst = 7\n";
        std::fs::write(&file, text).unwrap();
        let flags = Flags {
            data: Some(folder.path().into()),
            listen: Some("127.0.0.1:3".into()),
            ..Flags::default()
        };
        let environment = [
            ("CHINWAG_LISTEN", "127.0.0.1:2"),
            ("CHINWAG_HOSTS", "b, c"),
            ("CHINWAG_LOG__FILTER", "debug"),
            ("CHINWAG_LIMITS__SEARCHES_PER_ACCOUNT__BURST", "9"),
            ("CHINWAG_TOKEN", "ses_of_a_client"),
            ("PATH", "/bin"),
        ];
        let loaded = load_with(&flags, &environment).unwrap();
        assert_eq!(loaded.config.listen.port(), 3);
        assert_eq!(loaded.config.data, folder.path());
        assert_eq!(loaded.config.hosts, ["b", "c"]);
        assert_eq!(loaded.config.log.filter, "debug");
        assert_eq!(loaded.config.limits.connections_per_user, 3);
        assert_eq!(loaded.config.limits.messages_per_account.burst, 7);
        assert_eq!(loaded.config.limits.messages_per_account.per_s.to_bits(), 10.0_f64.to_bits());
        assert_eq!(loaded.config.limits.searches_per_account.burst, 9);
        assert_eq!(loaded.warnings, ["CHINWAG_TOKEN is not a setting of the server"]);
        let source = |key: &str| loaded.settings[key].source.to_string();
        assert_eq!(source("listen"), "--listen");
        assert_eq!(source("hosts"), "environment CHINWAG_HOSTS");
        assert_eq!(source("limits.connections_per_user"), file.display().to_string());
        assert_eq!(source("plaintext"), "default");
        let printed = loaded.print();
        assert!(printed.contains("listen = \"127.0.0.1:3\""), "{printed}");
        assert!(!printed.contains("ses_of_a_client"));
        assert!(printed.parse::<Table>().is_ok(), "{printed}");
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("some.toml");
        let with_file = |text: &str| {
            std::fs::write(&file, text).unwrap();
            load_with(&Flags { config: Some(file.clone()), ..Flags::default() }, &[]).unwrap_err()
        };
        let path = file.display();
        for (text, expected) in [
            ("listen = 1", format!("listen ({path}): ")),
            ("listen = 'here'", format!("listen ({path}): ")),
            ("lisen = '127.0.0.1:1'", format!("lisen ({path}): unknown field `lisen`")),
            (
                "[limits]\nconnections_per_moon = 1",
                format!("limits.connections_per_moon ({path}): unknown field"),
            ),
            ("registration = 'nobody'", format!("registration ({path}): \"nobody\" is none of auto, open")),
            (
                "public_url = 'chat.example.org'",
                format!("public_url ({path}): expected an address such as https://"),
            ),
            (
                "metrics = '0.0.0.0:9090'",
                format!("metrics ({path}): 0.0.0.0:9090 can be reached by other machines"),
            ),
            ("listen = '127.0.0.1:1'\nx = [", format!("{path} line 2: ")),
            ("[doors.irc]\nlisten = '127.0.0.1:1'", "there is no door \"irc\"".to_owned()),
            ("[doors.tcp_json]\nlisten = 'here'", format!("doors.tcp_json.listen ({path}): ")),
            (
                "[doors.tcp_json]\nlisten = '0.0.0.0:6000'",
                format!("doors.tcp_json.listen ({path}): 0.0.0.0:6000 can be reached by other machines"),
            ),
            (
                "[doors.tcp_json]\nlisten = '127.0.0.1:1'\ntrusted_networks = ['home']",
                "\"home\" is not a network".to_owned(),
            ),
            ("log = 1", format!("log ({path}): expected a section, not a value")),
            ("listen.port = 1", format!("listen ({path}): expected a value, not a section")),
        ] {
            let error = with_file(text);
            assert!(error.contains(&expected), "{text}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
        let missing = Flags { config: Some(folder.path().join("none.toml")), ..Flags::default() };
        assert!(load_with(&missing, &[]).unwrap_err().starts_with("cannot read "));
    }

    #[test]
    fn plain_text_on_a_network_must_be_meant() {
        let flags = |plaintext| Flags { listen: Some("0.0.0.0:8008".into()), plaintext, ..somewhere() };
        let error = load_with(&flags(false), &[]).unwrap_err();
        assert!(
            error.starts_with("listen (--listen): 0.0.0.0:8008 can be reached by other machines"),
            "{error}"
        );
        assert!(error.contains("--i-understand-plaintext"), "{error}");
        assert!(load_with(&flags(true), &[]).is_ok());
    }

    #[test]
    fn doors_that_are_not_there_are_named() {
        let door =
            |door: &str| load_with(&Flags { doors: vec![door.into()], ..somewhere() }, &[]).unwrap_err();
        let unknown = door("irc=127.0.0.1:1");
        assert!(unknown.contains("there is no door \"irc\""), "{unknown}");
        let known: Vec<_> = crate::listen::doors::names().collect();
        assert!(unknown.ends_with(&known.join(", ")), "{unknown}");
        assert!(door("tcp_json").contains("is not NAME=ADDR:PORT"));
    }

    #[test]
    fn registration_is_open_only_where_few_can_come() {
        use chinwag_protocol::Registration;
        let first = |listen: &str, public: &str| {
            let flags = Flags { listen: Some(listen.into()), plaintext: true, ..somewhere() };
            load_with(&flags, &[("CHINWAG_PUBLIC_URL", public)]).unwrap().config.first_registration()
        };
        assert_eq!(first("127.0.0.1:1", ""), Registration::Open);
        assert_eq!(first("192.168.1.2:1", ""), Registration::Open);
        assert_eq!(first("203.0.113.7:1", ""), Registration::Invite);
        assert_eq!(first("0.0.0.0:1", ""), Registration::Invite);
        assert_eq!(first("127.0.0.1:1", "https://chat.example.org"), Registration::Invite);
    }

    fn load_text(text: &str) -> Result<Loaded, ConfigError> {
        let mut layers = Layers::default();
        layers.add_table(&DEFAULTS.parse::<Table>().unwrap(), &Source::Default);
        layers.add_text(text, PathBuf::from("fuzzed.toml"), false)?;
        layers.finish()
    }

    /// Whatever a file says: it is refused or in force, and what is printed of it can be loaded and means the same.
    #[test]
    fn fuzz_config_toml() {
        let defaults: Vec<&str> = DEFAULTS.lines().collect();
        bolero::check!().with_type::<(String, Vec<(u8, u8, char)>)>().for_each(|(text, changes)| {
            // The example with some characters changed gets further than arbitrary text.
            let mut lines: Vec<String> = defaults.iter().map(|line| (*line).to_owned()).collect();
            for (line, at, to) in changes.iter().take(4) {
                let count = lines.len();
                let line = &mut lines[usize::from(*line) % count];
                *line = line
                    .chars()
                    .enumerate()
                    .map(|(n, c)| if n == usize::from(*at) { *to } else { c })
                    .collect();
            }
            for text in [text.clone(), lines.join("\n")] {
                let Ok(loaded) = load_text(&text) else { continue };
                let printed = loaded.print();
                let again = load_text(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
                let values = |loaded: &Loaded| {
                    loaded
                        .settings
                        .iter()
                        .map(|(key, set)| (key.clone(), set.value.to_string()))
                        .collect::<Vec<_>>()
                };
                assert_eq!(values(&again), values(&loaded));
            }
        });
    }
}
