//! What has to be known to start a server.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Settings that are fixed while the server runs. Everything people change at run time is in the catalogue.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The data folder.
    pub data: PathBuf,
    /// A proxy in front ends TLS: without it only loopback addresses are listened on.
    pub behind_proxy: bool,
    /// The data-encryption key, where it is not to lie in the data folder.
    pub secret: Option<[u8; 32]>,
    /// Origins, such as `https://sns.eu-west-1.amazonaws.com`, whose addresses may be asked to confirm a subscription.
    pub confirm: Vec<String>,
    /// How often one key may evaluate by OFREP, per second; none: as often as it likes.
    pub ofrep_rate: Option<u32>,
    /// Sizes and times of ingestion.
    pub ingest: crate::ingest::Settings,
}

impl Config {
    /// A server on loopback with a data folder.
    #[must_use]
    pub fn new(listen: SocketAddr, data: impl Into<PathBuf>) -> Self {
        let data = data.into();
        Self {
            listen,
            data,
            behind_proxy: false,
            secret: None,
            confirm: Vec::new(),
            ofrep_rate: None,
            ingest: Default::default(),
        }
    }
}
