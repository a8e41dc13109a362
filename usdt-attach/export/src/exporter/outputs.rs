//! The outputs of the exporter, and reloading of its configuration.
//!
//! A reload either applies the whole configuration or nothing: what can fail is done first, and is
//! rolled back if a later step fails.

use super::Exporter;
use super::requests::Event;
use crate::config::{Config, Otlp, Prometheus};
use crate::endpoint::address::{ListenAddress, is_exposed};
use crate::endpoint::web_config::Security;
use crate::endpoint::{Endpoint, Exports};
use crate::job::entries;
use crate::otlp;
use rustix::io::Errno;
use std::path::PathBuf;
use std::sync::Arc;
use usdt_attach::discover::DebugFile;
use usdt_attach::error::{Error, Escaped, Result};

/// What the command line sets. It takes precedence over the configuration file, also when that is
/// reloaded.
#[derive(Clone, Debug, Default)]
pub struct CommandLine {
    /// The address of the endpoint, as [`Prometheus::listen`]. `None` leaves it to the file.
    pub listen: Option<String>,
    /// The file with TLS and users, as [`Prometheus::web_config_file`]. `None` leaves it to the
    /// file.
    pub web_config_file: Option<PathBuf>,
    /// The collector. `None` leaves it to the file.
    pub otlp: Option<Otlp>,
    /// Whether the entries are those of the command line, so that a reload keeps them.
    pub entries: bool,
}

impl CommandLine {
    /// Sets what the command line sets in a configuration, except for the entries.
    ///
    /// # Errors
    ///
    /// Fails if there is a file with TLS and users, but no endpoint.
    pub fn apply(&self, config: &mut Config) -> Result<()> {
        if let Some(listen) = &self.listen {
            let web_config_file = config.prometheus.take().and_then(|p| p.web_config_file);
            config.prometheus = Some(Prometheus { listen: listen.clone(), web_config_file });
        }
        match (&mut config.prometheus, &self.web_config_file) {
            (_, None) => {}
            (Some(prometheus), file) => prometheus.web_config_file.clone_from(file),
            (None, Some(_)) => {
                return Err(Error::usage(
                    "--web.config.file needs an endpoint: pass --prometheus ADDRESS, or add [prometheus] to the configuration",
                ));
            }
        }
        if let Some(otlp) = &self.otlp {
            config.otlp = Some(otlp.clone());
        }
        Ok(())
    }
}

impl Config {
    /// Checks the file with TLS and users, the files that it names, and those with debug
    /// information.
    ///
    /// # Errors
    ///
    /// Fails if one of them cannot be read or is invalid.
    pub fn check_files(&self) -> Result<()> {
        let mut debug_files = self.target.iter().flat_map(|target| &target.debug);
        debug_files.try_for_each(|path| DebugFile::open(path).map(drop))?;
        security(self).map(drop)
    }
}

/// Reads the file with TLS and users. Without one, there are none.
fn security(config: &Config) -> Result<Arc<Security>> {
    let file = config.prometheus.as_ref().and_then(|p| p.web_config_file.as_deref());
    Ok(Arc::new(file.map(Security::read).transpose()?.unwrap_or_default()))
}

impl Exporter<'_> {
    /// Opens the outputs of the first configuration.
    pub(super) fn open_outputs(&mut self) -> Result<()> {
        let config = self.settings.config.clone();
        let security = security(&config)?;
        self.publish_snapshot()?;
        self.otlp_sender = self.start_sender(config.otlp.as_ref())?;
        self.apply_endpoint(config.prometheus.as_ref(), security)
    }

    /// Reloads the configuration from its file, and the file with TLS and users. If one of them is
    /// invalid, nothing changes.
    pub(super) fn reload(&mut self) {
        let path = self.settings.path.clone();
        let files = path.iter().chain(&self.settings.command_line.web_config_file);
        let names: Vec<String> = files.map(|file| Escaped::new(file).to_string()).collect();
        if names.is_empty() {
            return;
        }
        let names = names.join(", ");
        match self.try_reload() {
            Ok(()) => (self.report)(format!("{names}: configuration reloaded")),
            Err(error) => {
                (self.report)(format!("{error:#}; the previous configuration stays active"));
            }
        }
    }

    fn try_reload(&mut self) -> Result<()> {
        self.publish_snapshot()?;
        let old = self.settings.config.clone();
        let new = self.read_configuration(&old)?;
        let new_security = security(&new)?;
        let old_security = self.endpoint.as_ref().map(Endpoint::security).unwrap_or_default();
        let new_sender = match old.otlp == new.otlp {
            true => None,
            false => Some(self.start_sender(new.otlp.as_ref())?),
        };
        self.apply_endpoint(new.prometheus.as_ref(), new_security)?;
        if entries(&old) != entries(&new) {
            self.find_unselected(&new);
        }
        let applied = self.apply_entries(&new);
        self.close_unselected();
        self.has_attached |= self.sites() > 0;
        if let Err(error) = applied {
            self.apply_endpoint(old.prometheus.as_ref(), old_security)?;
            return Err(error);
        }
        if let Some(sender) = new_sender {
            // The old sender sends what it has, without delaying the loop.
            self.otlp_sender = sender;
        }
        self.settings.config = new;
        Ok(())
    }

    fn read_configuration(&mut self, old: &Config) -> Result<Config> {
        let Some(path) = self.settings.path.clone() else { return Ok(old.clone()) };
        let mut new = Config::read(&path)?;
        self.settings.command_line.apply(&mut new)?;
        if self.settings.command_line.entries {
            new.count.clone_from(&old.count);
            new.hist.clone_from(&old.hist);
            new.latency.clone_from(&old.latency);
            new.span.clone_from(&old.span);
        }
        if old.target != new.target {
            (self.report)(format!("{}: changing [target] requires a restart", Escaped::new(&path)));
        }
        Ok(new)
    }

    /// Starts the thread that sends to a collector, if there is one.
    fn start_sender(&self, otlp: Option<&Otlp>) -> Result<Option<otlp::Sender>> {
        let start = |otlp: &Otlp| {
            let events = self.requests.sender();
            let report = move |message| drop(events.send(Event::Report(message)));
            otlp::Sender::start(otlp, Arc::clone(&self.otlp_counts), report)
        };
        otlp.map(start).transpose()
    }

    /// Opens, closes or changes the endpoint. If that fails, the endpoint stays as it is.
    fn apply_endpoint(
        &mut self,
        prometheus: Option<&Prometheus>,
        security: Arc<Security>,
    ) -> Result<()> {
        let Some(prometheus) = prometheus else {
            self.endpoint = None;
            return Ok(());
        };
        let address = ListenAddress::parse(&prometheus.listen)
            .map_err(|problem| Error::usage(format!("prometheus: `listen`: {problem}")))?;
        match &self.endpoint {
            Some(endpoint) if *endpoint.address() == address => {
                if security.is_open() && !endpoint.security().is_open() {
                    warn_if_exposed(endpoint, &security, self.report);
                }
                endpoint.set_security(security);
                return Ok(());
            }
            _ => {}
        }
        let endpoint = match self.open(address.clone(), Arc::clone(&security)) {
            Err(error) if error.raw_os_error() == Some(Errno::ADDRINUSE.raw_os_error()) => {
                // The old endpoint may be what uses the address, as 127.0.0.1:9464 and :9464 do.
                let Some(old) = self.endpoint.take() else { return Err(error) };
                let (old_address, old_security) = (old.address().clone(), old.security());
                drop(old);
                match self.open(address, Arc::clone(&security)) {
                    Ok(new) => new,
                    Err(error) => {
                        self.endpoint = Some(self.open(old_address, old_security)?);
                        return Err(error);
                    }
                }
            }
            other => other?,
        };
        warn_if_exposed(&endpoint, &security, self.report);
        self.endpoint = Some(endpoint);
        Ok(())
    }

    fn open(&self, address: ListenAddress, security: Arc<Security>) -> Result<Endpoint> {
        let (scrapes, messages) = (self.requests.sender(), self.requests.sender());
        let exports = Exports {
            // Fails if the exporter has ended. The responder is dropped, and so the scrape fails.
            scrape: Box::new(move |responder| drop(scrapes.send(Event::Scrape(responder)))),
            snapshot: Arc::clone(&self.snapshot),
            heartbeat: Arc::clone(&self.heartbeat),
            report: Box::new(move |message| drop(messages.send(Event::Report(message)))),
        };
        Endpoint::open(address, security, exports)
    }
}

/// Warns if everybody on the network can scrape an endpoint.
fn warn_if_exposed(endpoint: &Endpoint, security: &Security, report: &mut dyn FnMut(String)) {
    let exposed = endpoint.addresses().iter().find(|address| is_exposed(address));
    if let Some(address) = exposed.filter(|_| security.is_open()) {
        report(format!(
            "warning: anybody who reaches {address} can read the metrics; set TLS or users with --web.config.file FILE (`web-config-file` in [prometheus]), or listen at 127.0.0.1:{}",
            address.port()
        ));
    }
}
